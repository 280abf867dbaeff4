"""Spaces: which observations an agent can take in, and which masks leave it an action."""

from __future__ import annotations

import math
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from agents.net.distributions import Family

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
