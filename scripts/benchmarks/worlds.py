"""Training in Gymnasium worlds: one agent, in the same ones on both sides."""

from __future__ import annotations

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.learners import Ground
from benchmarks.options import Train


class Worlds(Ground):
    """`lanes` worlds."""

    def __init__(self, options: Train, lanes: int) -> None:
        self.options = options
        super().__init__(f"{lanes} x {options.world}", lanes, worlds_of(options, lanes))

    def ours(self) -> VecEnv:
        return worlds_of(self.options, self.lanes)


def worlds_of(options: Train, lanes: int) -> VecEnv:
    return make_vec_env(options.world, lanes, seed=options.seed)
