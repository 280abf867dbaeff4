"""What the tests of runs in worlds share: two small worlds, and a run of three updates."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
from gymnasium import spaces

from agents.gym.config import EpisodesConfig, WorldConfig
from agents.gym.stock import STOCK

UPDATE = 32
"""Decisions of one update: 4 worlds, 8 steps."""

ALGORITHMS = ["maskable_recurrent_ppo", *STOCK]

CROSSES = "fogbound/PhantomTicTacToe-v0"


class Masked(gymnasium.Env):
    """Four steps; the observation names the one action of three that is allowed and earns 1."""

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, bonus=0.0, render_mode=None):
        self.observation_space = spaces.Box(0.0, 2.0, (1,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.bonus, self.render_mode = bonus, render_mode

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self.left = 4
        return self._deal(), {}

    def _deal(self):
        self.good = int(self.np_random.integers(3))
        return np.array([self.good], np.float32)

    def step(self, action):
        self.left -= 1
        return self._deal_after(float(action == self.good) + self.bonus)

    def _deal_after(self, reward):
        return self._deal(), reward, self.left == 0, False, {}

    def action_masks(self):
        return np.arange(3) == self.good

    def render(self):
        return f"{self.good} is good"


class Nested(Masked):
    """Of a kind that nobody supports."""

    observation_space = spaces.Dict(hand=spaces.Dict(card=spaces.Discrete(3)))

    def __init__(self):
        self.action_space = spaces.Discrete(3)


gymnasium.register("Masked-v0", Masked)
gymnasium.register("Nested-v0", Nested)


def tiny(folder, algo="maskable_recurrent_ppo", **changes):
    """A run of three updates, evaluated and saved after each."""
    cell = {"cell": "gated", "lstm_hidden_size": 8, "features_dim": 8} if algo not in STOCK else {}
    config = WorldConfig(
        env="Masked-v0" if algo == "maskable_ppo" else "CartPole-v1",
        algo=algo,
        n_envs=4,
        normalize=True,
        total_timesteps=3 * UPDATE,
        seed=3,
        device="cpu",
        run_dir=str(folder),
        checkpoint_every=UPDATE,
        arguments={"n_steps": 8, "batch_size": 16, "n_epochs": 2},
        policy_kwargs=cell,
        eval=EpisodesConfig(every=UPDATE, episodes=4, final_episodes=6, gif=False),
    )
    return dataclasses.replace(config, **changes)


def lowest(observation, mask, seat):  # noqa: ARG001
    """The opponent plays the lowest legal action."""
    return int(np.flatnonzero(mask)[0])


class Broken(gymnasium.Env):
    """Pays 1, from the 70th decision on something that is no number."""

    observation_space, action_space = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)

    def __init__(self, pays="nan"):
        self.pays, self.t = float(pays), 0

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):  # noqa: ARG002
        self.t += 1
        return np.zeros(2, np.float32), self.pays if self.t > 70 else 1.0, self.t % 5 == 0, False, {}


gymnasium.register("Broken-v0", Broken)


def broken(folder, algo="maskable_recurrent_ppo", **changes):
    cell = {"lstm_hidden_size": 8, "features_dim": 8} if algo not in STOCK else {}
    config = WorldConfig(
        env="Broken-v0",
        algo=algo,
        n_envs=1,
        total_timesteps=256,
        seed=3,
        device="cpu",
        run_dir=str(folder),
        checkpoint_every=32,
        keep_checkpoints=1,
        arguments={"n_steps": 32, "batch_size": 32, "n_epochs": 1},
        policy_kwargs=cell,
        eval=EpisodesConfig(every=10**9, episodes=2, final_episodes=2, gif=False),
    )
    return dataclasses.replace(config, **changes)
