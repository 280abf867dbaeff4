"""Spaces: which observations and actions an agent knows, and what it knows of a Gymnasium world."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agents.net.distributions import Family, make_family
from agents.net.encoders import pack
from agents.net.observations import Check, checks_of, shape_checked, turned, warn_once

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


@dataclasses.dataclass(frozen=True)
class World:
    """What an agent of a Gymnasium world knows of it: its spaces. Stands where a `Game` does."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    scaled: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    """Entries of the observations that come scaled by a `VecNormalize`, "" for those of no Dict: their bounds
    are those of the numbers before."""
    _told: set[str] = dataclasses.field(default_factory=set, compare=False, repr=False)  # see `warn_once`
    name = "world"
    seats = 1

    @property
    def family(self) -> Family:
        """Of the distributions over its actions."""
        return make_family(self.action_space)

    @property
    def actions(self) -> int:
        """Entries of a mask, in MaskablePPO's flat convention; 0 for Box."""
        return self.family.mask

    def pack(self, observation: Any) -> tuple[Tensor, bool]:
        """Observations as one tensor [B, ...], and whether it was a single one without B.

        Images may come as the world gives them (see `agents.net.observations.turned`).

        Raises:
            ValueError: they do not fit the observation space.
        """
        seen, is_single = self.checked(observation)
        return pack(self.observation_space, seen), is_single

    def checked(self, observation: Any, where: str = "") -> tuple[Any, bool]:
        """Observations turned as the agent learned them, and whether it was a single one without B.

        Floats beyond the bounds of their Box are taken, with a warning, the first time.

        Args:
            where: told in errors instead of the number of the world.

        Raises:
            ValueError: they do not fit the space, are not finite, or are codes that it does not have.
        """
        seen = turned(self.observation_space, observation)
        is_single = shape_checked(self.observation_space, seen)
        for name, check in self._checks.items():
            entry = seen[name] if isinstance(self.observation_space, spaces.Dict) else seen
            message = check(entry, is_single, name in self.scaled, where)
            if message is not None:
                warn_once(self._told, name, message)
        return seen, is_single

    @cached_property
    def _checks(self) -> dict[str, Check]:
        return checks_of(self.observation_space)

    def clip(self, actions: Any) -> Any:
        """Actions as the world takes them: Box actions within their bounds.

        Raises:
            ValueError: they are not finite, as those of a network whose weights are not.
        """
        if isinstance(self.action_space, spaces.Box):
            if not np.isfinite(actions).all():
                raise ValueError(
                    f"expected finite actions, the policy gave {np.asarray(actions).tolist()!r:.80}"
                )
            return np.clip(actions, self.action_space.low, self.action_space.high)
        return actions


def check_masks(family: Family, legal: Tensor) -> None:
    """Refuse masks bool [B, M] of which one leaves no action to take; of MultiDiscrete, in a component."""
    allowed = family.allows_something(legal)
    if not allowed.all():
        row = int(torch.nonzero(~allowed)[0])
        raise ValueError(f"the mask of world {row} allows no action; at least one must be allowed")
