"""Gymnasium worlds in the form of a `Batch` with one seat, so that one rollout serves both (edge: SB3)."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.distributions import Family, make_family
from agents.encoders import pack, packed
from agents.normalizer import scaled_entries
from agents.observations import Check, check_before_casts, checks_of, shape_checked, turned, warn_once

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

        Images may come as the world gives them (see `agents.observations.turned`).

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


class VecWorld:
    """B worlds behind SB3's `VecEnv`, stepped together.

    Attributes as `envs.Batch`'s, on `device`:

        observation  [B, ...]  as `agents.encoders.pack` lays it out
        legal        [B, M]    bool, from `action_masks()` where the worlds have it, else all True
        seat         [B]       int64, 0
        reward       [B, 1]    float32, of the last step
        over         [B]       bool, the last step ended an episode and a new one has begun
        illegal      [B]       bool, False: what an illegal action does is the world's business

    and what only worlds have:

        truncated    [B]       bool, over by a time limit
        final        [B, ...]  the last observation of an episode that was truncated
    """

    def __init__(self, env: VecEnv, device: torch.device | str = "cpu") -> None:
        self.env, self.matches, self.device = env, env.num_envs, torch.device(device)
        check_before_casts(env)
        self.world = World(env.observation_space, env.action_space, scaled_entries(env))
        self.family = self.world.family
        self.has_masks = is_masking_supported(env)
        shape, dtype = packed(env.observation_space)
        B = self.matches
        self.observation = torch.zeros(B, *shape, dtype=dtype, device=self.device)
        self.final = torch.zeros_like(self.observation)
        self.legal = torch.ones(B, self.family.mask, dtype=torch.bool, device=self.device)
        self.seat = torch.zeros(B, dtype=torch.int64, device=self.device)
        self.reward = torch.zeros(B, 1, device=self.device)
        self.over = torch.zeros(B, dtype=torch.bool, device=self.device)
        self.illegal, self.truncated = torch.zeros_like(self.over), torch.zeros_like(self.over)
        self.last: dict[str, Any] = {}
        """The last step in SB3's words, which callbacks read: new_obs, rewards, dones, infos, actions."""

    def reset(self) -> None:
        """Begin anew in all worlds."""
        self._show(self.env.reset())

    def step(self, actions: Tensor) -> None:
        """Act once in every world.

        Raises:
            ValueError: an observation or reward is not a number, or a mask cannot be used.
            RuntimeError: the process of a world ended.
        """
        chosen = self.world.clip(actions.cpu().numpy())
        try:
            observation, rewards, dones, infos = self.env.step(chosen)
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(
                "the process of a world ended; what went wrong there stands above, in its own traceback"
            ) from error
        if not np.isfinite(rewards).all():
            raise ValueError(
                f"expected finite rewards, got {rewards[~np.isfinite(rewards)][0]}{_where(rewards)}"
            )
        self.last = {
            "new_obs": observation, "rewards": rewards, "dones": dones, "infos": infos, "actions": chosen,
        }  # fmt: skip
        self.reward[:, 0] = torch.as_tensor(rewards, dtype=torch.float32)
        self.over.copy_(torch.as_tensor(dones))
        is_cut = [info.get("TimeLimit.truncated", False) and "terminal_observation" in info for info in infos]
        self.truncated.copy_(torch.as_tensor(is_cut))
        for b in np.flatnonzero(is_cut):
            last, _ = self.world.checked(infos[b]["terminal_observation"], f" in world {b} at its end")
            self.final[b] = pack(self.world.observation_space, last)[0]
        self._show(observation)

    def _show(self, observation: Any) -> None:
        self.observation.copy_(self.world.pack(observation)[0])
        if self.has_masks and self.family.mask > 0:
            masks = np.asarray(get_action_masks(self.env))
            if masks.shape != self.legal.shape:
                raise ValueError(
                    f"expected masks of shape {tuple(self.legal.shape)} by action_masks(), got {masks.shape}"
                )
            self.legal.copy_(torch.as_tensor(masks))
            check_masks(self.family, self.legal)


def check_masks(family: Family, legal: Tensor) -> None:
    """Refuse masks bool [B, M] of which one leaves no action to take; of MultiDiscrete, in a component."""
    allowed = family.allows_something(legal)
    if not allowed.all():
        row = int(torch.nonzero(~allowed)[0])
        raise ValueError(f"the mask of world {row} allows no action; at least one must be allowed")


def _where(numbers: np.ndarray[Any, Any]) -> str:
    """The first world whose numbers are not finite."""
    is_finite = np.isfinite(numbers.reshape(len(numbers), -1)).all(1)
    return f" in world {int(np.flatnonzero(~is_finite)[0])}"
