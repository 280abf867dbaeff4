"""Stable-Baselines3: a batch of matches as a `VecEnv` (edge: stable-baselines3).

env = BatchVecEnv("dark_hex", 256, opponent="bot", seat="alternate", rows=4)
MaskablePPO("MlpPolicy", env).learn(100_000)
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from envs.adapters.gymnasium import game_of
from envs.batch import Batch
from envs.core import Array, Game
from envs.names import known
from envs.opponents import OpponentChoice
from envs.seated import IllegalRule, SeatChoice, SeatedBatch, copied


class BatchVecEnv(VecEnv):
    """B matches as one `VecEnv`: a `Batch` seen from the agent's seat, without processes.

    For stock PPO, MaskablePPO (masks are found where it looks for them) and RecurrentPPO. Arrays are
    copies. A match that ends is replaced in the same step; its info holds

        terminal_observation   what the agent saw at the end
        episode                {"r": return, "l": the agent's decisions, "t": seconds}, as `Monitor` tells
        illegal                bool, the match was lost by an illegal action

    and every info `action_mask` (bool [A], of the next decision), `seat` (int, of the next decision) and
    `TimeLimit.truncated`, False. Without infos, after a reset, `get_attr("seat")` tells the seats.

    Args:
        game: a game, its name in `envs.GAMES` with the game's options as keyword arguments, or a `Batch`,
            which brings its own number of matches, device and seed.
        matches: B.
        opponent, seat, illegal: as in `envs.adapters.gymnasium.FogboundEnv`; with "alternate" lane b
            begins in seat b modulo P.
        device: where the matches and the opponent's network are computed, "cpu" by default.
        seed: of everything that happens here, 0 by default; an algorithm's `seed` replaces it.

    Raises:
        TypeError, ValueError: an argument does not fit the game; the message says what would.
    """

    def __init__(
        self,
        game: str | Game | Batch,
        matches: int | None = None,
        opponent: OpponentChoice = "random",
        seat: SeatChoice = 0,
        illegal: IllegalRule = "lose",
        device: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        batch = _batch_of(game, matches, device, seed, options)
        self._seated = SeatedBatch(batch, opponent, seat, illegal)
        self.game = batch.game
        self._actions: Array = np.zeros(batch.matches, np.int64)
        self._began = time.time()
        self._forget()
        super().__init__(batch.matches, self._seated.observation_space, spaces.Discrete(self.game.actions))
        self.seed(batch.seed)

    def reset(self) -> VecEnvObs:
        """Begin new matches in all lanes; after `seed`, those that the seed decides."""
        self._seated.reset(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self._forget()
        return copied(self._seated.observation)

    def step_async(self, actions: Array) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Play the agent's action in every match and what follows until it is to move again.

        Raises:
            TypeError, ValueError: as `SeatedBatch.step`.
        """
        self._seated.step(self._actions)
        rewards, over = copied(self._seated.reward), copied(self._seated.over)
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [
            {"action_mask": mask, "seat": seat, "TimeLimit.truncated": False}
            for mask, seat in zip(self._masks(), self._seated.seat.tolist(), strict=True)
        ]
        if over.any():
            self._tell_ends(over, infos)
        return copied(self._seated.observation), rewards, over, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """What each match has of this name: `action_masks` (see `env_method`), `seat` (the agent's, now),
        `game`, `render_mode`.

        Raises:
            AttributeError: another name.
        """
        lanes = self._get_indices(indices)
        if attr_name == "action_masks":
            return [functools.partial(self._mask, b) for b in lanes]
        if attr_name == "seat":
            seats = self._seated.seat.tolist()
            return [seats[b] for b in lanes]
        told = {"game": self.game, "render_mode": None}
        if attr_name not in told:
            raise AttributeError(
                f"a match of {self.game.name} has no {attr_name!r}; "
                f"known are {known(attr_name, ['action_masks', 'seat', *told])}"
            )
        return [told[attr_name] for _ in lanes]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ARG002
        """Refused: the matches of a batch have no attributes of their own."""
        raise AttributeError(f"a match of {self.game.name} has no {attr_name!r} that could be set")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """`action_masks`: the agent's legal actions, bool [A] for each match.

        Raises:
            AttributeError: another method.
            TypeError: it got arguments.
        """
        if method_name != "action_masks":
            raise AttributeError(
                f"a match of {self.game.name} has no method {method_name!r}; known is action_masks"
            )
        if method_args or method_kwargs:
            raise TypeError(f"action_masks takes no arguments, got {(*method_args, *method_kwargs)}")
        masks = self._masks()
        return [masks[b] for b in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """False but for `Monitor`, whose infos it gives."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _masks(self) -> npt.NDArray[np.bool_]:
        return copied(self._seated.legal)

    def _mask(self, b: int) -> Array:
        mask: Array = self._masks()[b]
        return mask

    def _forget(self) -> None:
        """Begin the running sums of the episodes anew."""
        self._returns = np.zeros(len(self._actions))
        self._lengths = np.zeros(len(self._actions), np.int64)

    def _tell_ends(self, over: npt.NDArray[np.bool_], infos: list[dict[str, Any]]) -> None:
        """Write what is to say of the matches marked in `over` into their infos."""
        final, illegal = copied(self._seated.final), copied(self._seated.illegal)
        seconds = round(time.time() - self._began, 6)
        for b in np.flatnonzero(over):
            infos[b]["terminal_observation"] = final[b]
            infos[b]["illegal"] = bool(illegal[b])
            infos[b]["episode"] = {
                "r": round(float(self._returns[b]), 6),
                "l": int(self._lengths[b]),
                "t": seconds,
            }
        self._returns[over], self._lengths[over] = 0.0, 0


def _batch_of(
    game: str | Game | Batch,
    matches: int | None,
    device: str | None,
    seed: int | None,
    options: dict[str, Any],
) -> Batch:
    """The batch that the arguments of `BatchVecEnv` mean."""
    if not isinstance(game, Batch):
        if matches is None:
            raise ValueError("say how many matches run side by side: BatchVecEnv(game, matches)")
        return Batch(game_of(game, options), matches, device or "cpu", seed or 0)
    given = {"matches": matches, "device": device, "seed": seed} | options
    extra = [name for name, value in given.items() if value is not None]
    if extra:
        raise ValueError(f"a Batch brings its own {', '.join(extra)}; leave that out")
    return game
