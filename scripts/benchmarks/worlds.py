"""Training in Gymnasium worlds: one agent, in the same ones on both sides."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.learners import Ground
from benchmarks.options import RECALL, Train
from envs.core import Array


class Worlds(Ground):
    """`lanes` worlds."""

    def __init__(self, options: Train, lanes: int) -> None:
        self.options = options
        super().__init__(f"{lanes} x {options.world}", lanes, worlds_of(options, lanes))

    def ours(self) -> VecEnv:
        return worlds_of(self.options, self.lanes)


def worlds_of(options: Train, lanes: int) -> VecEnv:
    """Of either side, all in one process."""
    world = Recall if options.world == RECALL else options.world
    return make_vec_env(world, lanes, seed=options.seed)


class Recall(gymnasium.Env[Array, np.int64]):
    """Which of 9 was shown at the start? It is asked for at the end, 32 decisions later.

    Observations are 27 numbers, all 0 but one of them, at 3 x what is to be recalled, at the start. A last
    action that names it earns 1.
    """

    STEPS = 32

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (27,))
        self.action_space = gymnasium.spaces.Discrete(9)
        self.nothing = np.zeros(27, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.shown, self.steps = int(self.np_random.integers(9)), 0
        observation = self.nothing.copy()
        observation[3 * self.shown] = 1.0
        return observation, {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        is_over = self.steps >= self.STEPS
        return self.nothing, float(is_over and int(action) == self.shown), is_over, False, {}
