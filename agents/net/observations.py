"""What a world or a caller shows, before a network sees it: turned as it learned it, and checked (edge: SB3).

A code beyond its space would be read as another slot's, an integer beyond its dtype wraps around, and one NaN
stays in the memory for ever: so everything is looked at before it is cast and before memory is touched.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import maybe_transpose
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from envs.core import Array

LARGEST = float(np.finfo(np.float32).max)
"""Networks compute with float32: what lies beyond becomes infinite."""


def turned(space: spaces.Space[Any], observation: Any) -> Any:
    """Images [H, W, C], as worlds give them, as [C, H, W], where the agent learned them so; one or many.

    SB3 wraps such worlds by itself (`VecTransposeImage`) and turns in `predict` by the same rule: an image
    that fits the space stays as it is, one that fits it once turned is turned.
    """
    if isinstance(space, spaces.Dict) and isinstance(observation, Mapping):
        return {
            key: turned(space[key], entry) if key in space.spaces else entry
            for key, entry in observation.items()
        }
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return observation
    numbers = np.asarray(observation)
    fits = space.shape in (numbers.shape, numbers.shape[1:])
    return numbers if fits else maybe_transpose(numbers, space)


def shape_checked(space: spaces.Space[Any], observation: Any) -> bool:
    """Whether it is one observation of `space`, not B of them.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping) or set(observation) != set(space.spaces):
            raise ValueError(f"expected a dict with the keys {sorted(space.spaces)}, got {observation!r:.80}")
        are_single = {key: shape_checked(entry, observation[key]) for key, entry in space.items()}
        if len(set(are_single.values())) > 1:
            raise ValueError(f"expected one observation or B of every entry, got one alone of {are_single}")
        return all(are_single.values())
    try:
        shape: tuple[int, ...] = np.shape(observation)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"expected observations of shape [B, {space.shape}], got {observation!r:.80}"
        ) from error
    if shape != space.shape and shape[1:] != space.shape:
        raise ValueError(f"expected observations of shape [B, {space.shape}], got {shape}")
    return len(shape) == len(space.shape or ())


@dataclasses.dataclass(frozen=True)
class Check:
    """What the numbers of one entry may be."""

    name: str  # of a Dict's entry, else ""
    is_integer: bool
    low: Array
    high: Array
    lowest: float  # the greatest of `low` and the least of `high`: what lies between is within all bounds
    highest: float
    is_bounded: bool
    dtype: np.dtype[Any]

    def __call__(self, observation: Any, is_single: bool, is_scaled: bool, where: str) -> str | None:
        """Refuse what the space does not know; returns what a float exceeds, which is only worth a word.

        Raises:
            ValueError: names the entry, the world, what came and what is allowed.
        """
        numbers = np.asarray(observation)
        if numbers.dtype.kind not in "iufb":
            told = " ".join(str(numbers.tolist()).split())
            raise ValueError(f"expected numbers{self._entry}, got {numbers.dtype}: {told:.80}")
        if numbers.size == 0:
            return None
        if not self.is_integer or is_scaled:
            return self._check_floats(numbers, is_single, is_scaled, where)
        if numbers.dtype.kind == "f":
            is_whole = np.isfinite(numbers) & (numbers == np.round(numbers))
            if not is_whole.all():
                raise ValueError(self._told(numbers, ~is_whole, is_single, where))
        if not self.is_bounded and numbers.dtype == self.dtype:
            return None
        is_outside = self._outside(numbers)
        if is_outside is not None:
            raise ValueError(self._told(numbers, is_outside, is_single, where))
        return None

    def _check_floats(self, numbers: Array, is_single: bool, is_scaled: bool, where: str) -> str | None:
        low, high = np.minimum.reduce(numbers, None), np.maximum.reduce(numbers, None)  # NaN if one is
        if not (float(low) >= -LARGEST and float(high) <= LARGEST):
            is_wrong = ~(np.abs(numbers) <= LARGEST)
            index, value = _first(numbers, is_wrong)
            world = where or ("" if is_single else f" in world {index[0]}")
            raise ValueError(
                f"expected finite observations, got NaN or infinity{world}: {value}"
                f"{_at(index, is_single)}{self._entry} (float32 holds up to {LARGEST:.4g})"
            )
        if not self.is_bounded or is_scaled or (low >= self.lowest and high <= self.highest):
            return None
        is_outside = self._outside(numbers)
        return None if is_outside is None else self._told(numbers, is_outside, is_single, where)

    def _outside(self, numbers: Array) -> Array | None:
        """Which numbers are beyond their bounds, if any is."""
        if numbers.min() >= self.lowest and numbers.max() <= self.highest:
            return None
        is_outside: Array = (numbers < self.low) | (numbers > self.high)
        return is_outside if is_outside.any() else None

    @property
    def _entry(self) -> str:
        return f" in the entry {self.name!r}" if self.name else ""

    def _told(self, numbers: Array, is_wrong: Array, is_single: bool, where: str) -> str:
        index, value = _first(numbers, is_wrong)
        inner = index if is_single else index[1:]
        low, high = self.low[inner], self.high[inner]
        world = where or ("" if is_single else f" in world {index[0]}")
        kind = "integers" if self.is_integer else "numbers"
        return f"expected {kind} in {low}..{high}{self._entry}, got {value}{_at(index, is_single)}{world}"


def _first(numbers: Array, is_wrong: Array) -> tuple[tuple[int, ...], Any]:
    """Index and value of the first number that is wrong."""
    index = tuple(int(k) for k in np.argwhere(is_wrong)[0])
    return index, numbers[index]


def _at(index: tuple[int, ...], is_single: bool) -> str:
    inner = index if is_single else index[1:]
    return f" at {list(inner)}" if inner else ""


def checks_of(space: spaces.Space[Any], name: str = "") -> dict[str, Check]:
    """The checks of a space's entries, by name; of a space that is no Dict one, named ""."""
    match space:
        case spaces.Dict():
            return {key: check for key, entry in space.items() for check in checks_of(entry, key).values()}
        case spaces.Box():
            low, high, dtype = space.low, space.high, np.dtype(space.dtype)
        case spaces.MultiDiscrete():
            low, high, dtype = space.start, space.start + space.nvec - 1, np.dtype(np.int64)
        case spaces.Discrete():
            low, high = np.array(space.start), np.array(space.start + space.n - 1)
            dtype = np.dtype(np.int64)
        case spaces.MultiBinary():
            low, high = np.zeros(space.shape, np.int8), np.ones(space.shape, np.int8)
            dtype = np.dtype(np.int8)
        case _:
            return {}
    is_integer = dtype.kind in "iub"
    if is_integer and dtype.kind != "b":
        info = np.iinfo(dtype)
        is_bounded = bool((low != info.min).any() or (high != info.max).any())
    else:
        is_bounded = is_integer or bool(np.isfinite(low).any() or np.isfinite(high).any())
    lowest, highest = (low.max(), high.min()) if low.size else (0, 0)
    return {name: Check(name, is_integer, low, high, lowest, highest, is_bounded, dtype)}


def check_before_casts(worlds: VecEnv) -> None:
    """Let a `DummyVecEnv` look at integers before its buffer, of the space's dtype, wraps them around."""
    inner: Any = worlds.unwrapped
    checks = {name: check for name, check in checks_of(inner.observation_space).items() if check.is_integer}
    if not isinstance(inner, DummyVecEnv) or not checks or "_save_obs" in vars(inner):
        return
    save = inner._save_obs

    def save_checked(env_idx: int, obs: Any) -> None:
        for name, check in checks.items():
            entry = obs[name] if name else obs
            if np.asarray(entry).dtype != check.dtype:
                check(entry, is_single=True, is_scaled=False, where=f" in world {env_idx}")
        save(env_idx, obs)

    inner._save_obs = save_checked  # type: ignore[method-assign]


def warn_once(told: set[str], name: str, message: str | None) -> None:
    """Say once per entry that a world exceeds the bounds it declares; many good ones do, by a little."""
    if message is not None and name not in told:
        told.add(name)
        warnings.warn(f"{message}; it is taken as it is, and this is said once", stacklevel=5)
