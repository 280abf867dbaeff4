"""Gymnasium's worlds as `Lanes` with one seat, so that one rollout serves both (edge: SB3)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import EXPECTED_METHOD_NAME, is_masking_supported
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from agents.net.encoders import pack, packed
from agents.net.normalizer import scaled_entries
from agents.net.observations import check_before_casts
from agents.net.spaces import check_masks
from agents.net.task import World
from agents.play.asked import truths_of
from envs.seeds import derived_seed


class VecWorld:
    """B worlds behind SB3's `VecEnv`, stepped together: `Lanes`.

    Of them `observation` is laid out as `agents.net.encoders.pack` does, `legal` is from `action_masks()`
    where the worlds have it, else all True, `seat` is 0, and `illegal` False: what an illegal action does is
    the world's business. They cannot be saved.
    """

    own_seed = None
    tells_episodes = True

    def __init__(self, env: VecEnv, device: torch.device | str = "cpu") -> None:
        self.env, self.matches, self.device = env, env.num_envs, torch.device(device)
        check_before_casts(env)
        _copy_cheaply(env)
        self.task = World(env.observation_space, env.action_space, scaled_entries(env))
        self.family = self.task.family
        self.has_masks = is_masking_supported(env)
        shape, dtype = packed(env.observation_space)
        B = self.matches
        self.observation = torch.zeros(B, *shape, dtype=dtype, device=self.device)
        self.final = torch.zeros_like(self.observation)
        self.legal = torch.ones(B, self.family.mask, dtype=torch.bool, device=self.device)
        self.seat = torch.zeros(B, dtype=torch.int64, device=self.device)
        self.reward = torch.zeros(B, 1, device=self.device)
        self.over = torch.zeros(B, dtype=torch.bool, device=self.device)
        self.illegal = torch.zeros_like(self.over)
        self.truncated: Tensor | None = None
        self._told: dict[str, Any] = {}
        self._twins: list[tuple[Tensor, Tensor]] = []  # of another device, and where NumPy writes for it
        self._observation, self._legal = self._written(self.observation), self._written(self.legal)
        self._reward, self._over = self._written(self.reward), self._written(self.over)
        self._components = [0, *accumulate(self.family.codes)][:-1]  # where a mask's begin

    def reset(self) -> None:
        """Begin anew in all worlds."""
        self._show(self.env.reset())

    def deal(self, seed: int | None, number: int) -> None:
        """See `Lanes`."""
        if seed is not None:
            self.env.seed(derived_seed(seed, "training", number, bits=31))
        self.reset()

    def step(self, actions: Tensor) -> None:
        """Act once in every world.

        Raises:
            ValueError: an observation or reward is not a number, or a mask cannot be used.
            RuntimeError: the process of a world ended.
        """
        chosen = self.task.hand_out(actions)
        try:
            observation, rewards, dones, infos = self.env.step(chosen)
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(
                "the process of a world ended; what went wrong there stands above, in its own traceback"
            ) from error
        if not math.isfinite(sum(rewards.tolist())) and not np.isfinite(rewards).all():
            raise ValueError(
                f"expected finite rewards, got {rewards[~np.isfinite(rewards)][0]}{_where(rewards)}"
            )
        self._told = {
            "new_obs": observation, "rewards": rewards, "dones": dones, "infos": infos, "actions": chosen,
        }  # fmt: skip
        self._reward[:, 0], self._over[:] = rewards, dones
        self.truncated = None
        is_cut = [info.get("TimeLimit.truncated", False) and "terminal_observation" in info for info in infos]
        if True in is_cut:
            self.truncated = torch.tensor(is_cut, device=self.device)
            for b in np.flatnonzero(is_cut):
                last, _ = self.task.checked(infos[b]["terminal_observation"], f" in world {b} at its end")
                self.final[b] = pack(self.task.observation_space, last)[0]
        self._show(observation)

    def told(self, record: Mapping[str, Tensor], t: int, seconds: float) -> dict[str, Any]:  # noqa: ARG002
        """See `Lanes`: what the worlds told."""
        return self._told

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: worlds cannot be saved."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Refuse what nobody can have saved."""
        if state:
            raise ValueError(f"worlds cannot be saved, yet the state holds {sorted(state)[0]}")

    def _written(self, shown: Tensor) -> np.ndarray[Any, Any]:
        """Where NumPy writes what is shown: there, or into its twin on the CPU."""
        twin = shown.cpu()
        if twin is not shown:
            self._twins.append((shown, twin))
        return twin.numpy()

    def _show(self, observation: Any) -> None:
        seen, _ = self.task.checked(observation)
        if isinstance(self.task.observation_space, spaces.Dict):
            self._observation[:] = pack(self.task.observation_space, seen).numpy()
        else:
            self._observation[:] = np.asarray(seen).reshape(self._observation.shape)
        if self.has_masks and self.family.mask > 0:
            masks = truths_of(self.env.env_method(EXPECTED_METHOD_NAME), "masks by action_masks()")
            if masks.shape != self._legal.shape:
                raise ValueError(
                    f"expected masks of shape {self._legal.shape} by action_masks(), got {masks.shape}"
                )
            self._legal[:] = masks
            leaves_one = np.logical_or.reduceat(self._legal, self._components, axis=1)
            if not np.logical_and.reduce(leaves_one, axis=None):
                check_masks(self.family, torch.from_numpy(self._legal))
        for shown, twin in self._twins:
            shown.copy_(twin)


class _Infos(list[dict[str, Any]]):
    """The infos of a `DummyVecEnv`, which copies them in each step."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[dict[str, Any]]:
        return [
            {key: x if type(x) in _PLAIN else deepcopy(x, memo) for key, x in info.items()}
            if type(info) is dict
            else deepcopy(info, memo)
            for info in self
        ]


class _Observations(OrderedDict[Any, Any]):
    """The observations of a `DummyVecEnv`, which copies them in each step."""

    def __deepcopy__(self, memo: dict[int, Any]) -> OrderedDict[Any, Any]:
        return OrderedDict((key, numbers.copy()) for key, numbers in self.items())


_PLAIN = (bool, int, float, str, type(None))
"""Of what cannot change a copy is itself."""


def _copy_cheaply(worlds: VecEnv) -> None:
    """Let a `DummyVecEnv` make the copies that it hands out in a fifth of the time; they are the same."""
    inner: Any = worlds.unwrapped
    if type(inner) is DummyVecEnv:
        inner.buf_infos, inner.buf_obs = _Infos(inner.buf_infos), _Observations(inner.buf_obs)


def _where(numbers: np.ndarray[Any, Any]) -> str:
    """The first world whose numbers are not finite."""
    is_finite = np.isfinite(numbers.reshape(len(numbers), -1)).all(1)
    return f" in world {int(np.flatnonzero(~is_finite)[0])}"
