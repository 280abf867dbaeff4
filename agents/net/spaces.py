"""Spaces: which observations an agent can take in, which masks leave it an action, and spaces as data."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agents.files import Kind, checked
from agents.net.distributions import Family
from envs.names import known

OBSERVATIONS = (
    "Box, MultiBinary, Discrete and MultiDiscrete (one row) that begin at 0, and a Dict of these, not nested"
)
"""The observation spaces that agents know."""


def check_observations(space: spaces.Space[Any]) -> None:
    """Refuse worlds whose observations no agent can take in, before anything stumbles over them.

    Raises:
        ValueError: names the space and those that are known.
    """

    def is_known(entry: spaces.Space[Any]) -> bool:
        match entry:
            case spaces.Box():
                return math.prod(entry.shape) > 0
            case spaces.Discrete():
                return bool(entry.start == 0)
            case spaces.MultiDiscrete():
                return entry.nvec.ndim == 1 and not entry.start.any()
            case _:
                return isinstance(entry, spaces.MultiBinary)

    entries = list(space.values()) if isinstance(space, spaces.Dict) else [space]
    if not entries or not all(map(is_known, entries)):
        told = " ".join(str(space).split())
        raise ValueError(f"the observation space {told} is not supported; known are {OBSERVATIONS}")


def check_masks(family: Family, legal: Tensor) -> None:
    """Refuse masks bool [B, M] of which one leaves no action to take; of MultiDiscrete, in a component."""
    allowed = family.allows_something(legal)
    if not allowed.all():
        row = int(torch.nonzero(~allowed)[0])
        raise ValueError(f"the mask of row {row} allows no action; at least one must be allowed")


# ---------------------------------------------------------------- spaces as data


def space_data(space: spaces.Space[Any]) -> dict[str, Any]:
    """A space as JSON."""
    match space:
        case spaces.Discrete():
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "dtype": str(space.dtype)}
        case spaces.MultiBinary():
            return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
        case spaces.Box():
            return {
                "kind": "Box",
                **{name: _bound(getattr(space, name)) for name in ("low", "high")},
                "shape": list(space.shape),
                "dtype": str(space.dtype),
            }
        case spaces.Dict():
            return {"kind": "Dict", "entries": {key: space_data(entry) for key, entry in space.items()}}
        case _:
            raise ValueError(f"a checkpoint cannot hold the space {space}")


def _bound(bound: np.ndarray[Any, Any]) -> str | list[str]:
    """A Box's bound: one number if all entries are equal; as strings, because JSON has no infinity."""
    numbers = [str(number) for number in bound.ravel().tolist()]
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _read_bound(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """What `_bound` wrote."""
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, str) and len(number) <= 40 for number in numbers):
        raise ValueError(f"a bound must be numbers as strings, got {reprlib.repr(value)}")
    if isinstance(value, list) and len(value) != math.prod(shape):
        raise ValueError(f"{math.prod(shape)} bounds are needed, got {len(value)}")
    read = np.array([_read_number(number, dtype) for number in numbers], dtype)
    return np.broadcast_to(read.reshape(shape) if isinstance(value, list) else read[0], shape)


def _read_number(text: str, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return float(text)
    return text == "True" if dtype.kind == "b" else int(text)


def read_space(value: Any, most: int, entries: int) -> spaces.Space[Any]:
    """What `space_data` wrote, of at most so many numbers or codes; a Dict of at most so many entries.

    Raises:
        ValueError: it is none, or too large.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a space, got {reprlib.repr(value)}")
    kind, size = value.get("kind"), Kind(int, 1, most)
    match kind:
        case "Discrete":
            start = checked("start", value.get("start"), Kind(int, -(2**62), 2**62))
            return spaces.Discrete(checked("n", value.get("n"), size), start=start)
        case "MultiDiscrete":
            sizes = _read_sizes("nvec", value.get("nvec"), size)
            if sum(sizes) > most:
                raise ValueError(f"nvec adds up to {sum(sizes)}, allowed are {most}")
            dtype = _read_dtype(value, "iu")
            if max(sizes) - 1 > np.iinfo(dtype).max:
                raise ValueError(f"nvec of {max(sizes)} does not fit {dtype}")
            return spaces.MultiDiscrete(sizes, dtype=dtype.type)
        case "MultiBinary":
            n = value.get("n")
            if isinstance(n, list):
                return spaces.MultiBinary(_read_shape("n", n, most))
            return spaces.MultiBinary(checked("n", n, size))
        case "Box":
            shape, dtype = _read_shape("shape", value.get("shape"), most), _read_dtype(value, "iufb")
            low, high = (_read_bound(value.get(name), shape, dtype) for name in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        case "Dict" if entries > 0:
            told = value.get("entries")
            if not isinstance(told, dict) or not 0 < len(told) <= entries:
                raise ValueError(f"a Dict must have 1..{entries} entries, got {reprlib.repr(told)}")
            return spaces.Dict({key: read_space(entry, most // len(told), 0) for key, entry in told.items()})
        case _:
            raise ValueError(f"unknown kind of space {reprlib.repr(kind)} here")


def _read_sizes(name: str, value: Any, size: Kind) -> list[int]:
    if not isinstance(value, list) or len(value) > size.high:
        raise ValueError(f"{name} must be a list of sizes, got {reprlib.repr(value)}")
    return [checked(name, n, size) for n in value]


def _read_shape(name: str, value: Any, most: int) -> tuple[int, ...]:
    shape = tuple(_read_sizes(name, value, Kind(int, 1, most)))
    if len(shape) > 16 or math.prod(shape) > most:
        raise ValueError(f"{name} {reprlib.repr(value)} is too large, allowed are {most} numbers")
    return shape


def _read_dtype(value: Mapping[str, Any], kinds: str) -> np.dtype[Any]:
    name = str(value.get("dtype"))
    known_names = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
    known_names += ["float16", "float32", "float64", "bool"]
    if name not in known_names or np.dtype(name).kind not in kinds:
        raise ValueError(f"unknown dtype {reprlib.repr(name)}; known are {known(name, known_names)}")
    return np.dtype(name)
