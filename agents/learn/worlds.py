"""Gymnasium's worlds as `Lanes` with one seat, so that one rollout serves both (edge: SB3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.net.encoders import pack, packed
from agents.net.normalizer import scaled_entries
from agents.net.observations import check_before_casts
from agents.net.spaces import check_masks
from agents.net.task import World
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
        self.truncated = torch.zeros_like(self.over)
        self._told: dict[str, Any] = {}

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
        if not np.isfinite(rewards).all():
            raise ValueError(
                f"expected finite rewards, got {rewards[~np.isfinite(rewards)][0]}{_where(rewards)}"
            )
        self._told = {
            "new_obs": observation, "rewards": rewards, "dones": dones, "infos": infos, "actions": chosen,
        }  # fmt: skip
        self.reward[:, 0] = torch.as_tensor(rewards, dtype=torch.float32)
        self.over.copy_(torch.as_tensor(dones))
        is_cut = [info.get("TimeLimit.truncated", False) and "terminal_observation" in info for info in infos]
        self.truncated.copy_(torch.as_tensor(is_cut))
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

    def _show(self, observation: Any) -> None:
        self.observation.copy_(self.task.pack(observation)[0])
        if self.has_masks and self.family.mask > 0:
            masks = np.asarray(get_action_masks(self.env))
            if masks.shape != self.legal.shape:
                raise ValueError(
                    f"expected masks of shape {tuple(self.legal.shape)} by action_masks(), got {masks.shape}"
                )
            self.legal.copy_(torch.as_tensor(masks))
            check_masks(self.family, self.legal)


def _where(numbers: np.ndarray[Any, Any]) -> str:
    """The first world whose numbers are not finite."""
    is_finite = np.isfinite(numbers.reshape(len(numbers), -1)).all(1)
    return f" in world {int(np.flatnonzero(~is_finite)[0])}"
