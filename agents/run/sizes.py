"""Sizes: what training will take of memory, estimated from its configuration before any is asked for."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from gymnasium import spaces

from agents.net.cells import CELLS
from envs.batch import usable_device
from envs.room import check_room, room, size

FLOAT = 4
"""Bytes of a number in the network."""

COPIES = 6
"""Of the weights: themselves, their gradient, Adam's two moments, the average and the magnet."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What decides how much memory training takes. Letters as everywhere: T, B, H, L, E, P, A."""

    matches: int  # B, or worlds
    n_steps: int  # T
    batch_size: int
    hidden: int  # H
    layers: int  # L
    features: int  # E
    widths: tuple[int, ...]  # of the layers behind the core
    observation: int  # bytes of one
    inputs: int  # numbers that the encoder reads, on each square
    squares: int = 1
    actions: int = 1  # A
    seats: int = 1  # P
    parts: int = 2  # of the cell's state
    blocks: int = 4  # of the cell's pre-activations
    recurrent_blocks: int = 4
    match: int = 0  # bytes of a match or world itself
    cores: int = 1

    @property
    def needed(self) -> int:
        """Bytes, rather too few than too many."""
        H, E, L, S = self.hidden, self.features, self.layers, self.squares
        layer = (self.blocks + self.recurrent_blocks) * H * H
        first = self.blocks * H * E + self.recurrent_blocks * H * H
        tower = [H, *self.widths, self.actions]
        heads = 2 * sum(a * b for a, b in itertools.pairwise(tower)) // (S if S > 1 else 1)
        weights = COPIES * FLOAT * (self.inputs * E + self.cores * (first + (L - 1) * layer) + heads)
        decision = self.observation + self.actions * (1 + FLOAT) + 32  # as the rollout keeps it
        memory = FLOAT * self.cores * self.parts * L * self.seats * S * H
        inner = FLOAT * (S * (E + self.cores * L * (self.blocks + self.parts) * H + 2 * sum(self.widths)))
        inner += FLOAT * self.actions
        kept = self.matches * (self.n_steps * decision + self.match + 2 * memory + inner)
        return weights + kept + self.batch_size * inner


def check_fits(sizes: Sizes, keys: Mapping[str, tuple[str, int]], device: str | torch.device) -> None:
    """Refuse sizes for which there is no memory.

    Args:
        keys: for each field of `sizes` that somebody sets: what the setting is called, and its usual value.

    Raises:
        ValueError: names the setting, what it needs, what there is, and the largest value that would fit.
    """
    there = room(device)
    numbers = (x for x in dataclasses.astuple(sizes) if isinstance(x, int))
    if there is None or min((*numbers, *sizes.widths)) < 0:  # who takes the numbers tells what is wrong
        return
    if sizes.needed <= there:
        return
    field = max(keys, key=lambda name: _value(sizes, name) / max(keys[name][1], 1))  # the most unusual one
    key, given = keys[field][0], _value(sizes, field)
    most = _largest(lambda value: _with(sizes, field, value).needed <= there, given)
    fitting = f"up to {most:,} would fit" if most > 0 else "not even 1 would fit beside the rest"
    raise ValueError(
        f"{key} {given:,} needs at least {size(sizes.needed)} of memory, there are {size(there)} on "
        f"{torch.device(device)}: {fitting}"
    )


def check_judged(key: str, matches: int, seats: int, device: str | torch.device) -> None:
    """Refuse so many matches in each seating that not even what they give can be kept.

    Raises:
        ValueError: see `envs.room.check_room`.
    """
    check_room(
        key, matches, 2 * seats * 8 * (2 + seats), usable_device(device)
    )  # seat, length and returns, and once more


def _value(sizes: Sizes, field: str) -> int:
    value = getattr(sizes, field)
    return max(value, default=0) if isinstance(value, tuple) else int(value)


def _with(sizes: Sizes, field: str, value: int) -> Sizes:
    """`sizes` with another value; of widths none is above it. A minibatch is no larger than the rollout."""
    if field == "widths":
        return dataclasses.replace(sizes, widths=tuple(min(width, value) for width in sizes.widths))
    other: dict[str, Any] = {field: value}
    changed = dataclasses.replace(sizes, **other)
    most = changed.matches * changed.n_steps
    return dataclasses.replace(changed, batch_size=min(changed.batch_size, most))


def _largest(fits: Callable[[int], bool], beyond: int) -> int:
    """The largest number below `beyond` that fits; 0 if not even 1 does."""
    low, high = 0, beyond
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def sizes_of(
    observations: spaces.Space[Any],
    actions: int,
    policy: Mapping[str, Any],
    *,
    matches: int,
    n_steps: int,
    batch_size: int,
    seats: int = 1,
    match: int = 0,
) -> Sizes:
    """The sizes of training a policy made with the arguments `policy`, all of them given."""
    cell = CELLS.get(policy["cell"])
    net_arch = policy["net_arch"] or []
    parts: Sequence[Any] = list(net_arch.values()) if isinstance(net_arch, Mapping) else [net_arch]
    deepest = max(map(len, parts), default=0)
    widths = tuple(max(part[k] for part in parts if k < len(part)) for k in range(deepest))
    entries = list(observations.values()) if isinstance(observations, spaces.Dict) else [observations]
    observation = sum(math.prod(e.shape or (1,)) * (e.dtype.itemsize if e.dtype else 1) for e in entries)
    inputs = sum(_inputs(entry) for entry in entries)
    squares, shape = 1, observations.shape
    if policy.get("spatial") and shape is not None and len(shape) == 3:
        squares, inputs = shape[1] * shape[2], 9 * shape[0]
    return Sizes(
        matches=matches,
        n_steps=n_steps,
        batch_size=min(batch_size, matches * n_steps),
        hidden=policy["lstm_hidden_size"],
        layers=policy["n_lstm_layers"],
        features=policy["features_dim"],
        widths=widths,
        observation=observation,
        inputs=inputs,
        squares=squares,
        actions=actions,
        seats=seats,
        parts=len(cell.parts) if cell is not None else 1,
        blocks=cell.blocks if cell is not None else 1,
        recurrent_blocks=cell.recurrent_blocks if cell is not None else 0,
        match=match,
        cores=2 if policy["enable_critic_lstm"] else 1,
    )


def _inputs(space: spaces.Space[Any]) -> int:
    """Numbers that an encoder reads, codes as one of each."""
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum(dtype=int))
    return int(space.n) if isinstance(space, spaces.Discrete) else math.prod(space.shape or (1,))
