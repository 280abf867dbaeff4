"""What the tests of learning share: a small world, small models, and what they are asked."""

from __future__ import annotations

import io

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from saved import TICTACTOE
from stable_baselines3.common import callbacks
from stable_baselines3.common.logger import KVWriter

from agents import MaskableRecurrentPPO
from agents.learn.rollout import Collector
from agents.net.policy import RecurrentPolicy
from agents.play.players import Agent

SMALL = {"lstm_hidden_size": 8, "features_dim": 8}
BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
EASY = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 1, "device": "cpu"}


class World(gymnasium.Env):
    """Random observations; episodes of 5 steps, a reward of 1 each. Keeps the seeds it was reset with."""

    def __init__(self, space=BOX, actions=spaces.Discrete(3)):  # noqa: B008
        self.observation_space, self.action_space = space, actions
        self.resets, self.seeds = 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.seeds.append(seed)
            self.observation_space.seed(seed)
        self.resets, self.t = self.resets + 1, 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t >= 5, False, {}


class Kept(KVWriter):
    """Counts what a logger wrote."""

    def __init__(self):
        self.written = []

    def write(self, key_values, key_excluded, step=0):  # noqa: ARG002
        self.written.append((step, dict(key_values)))


def model_of(env=None, **arguments):
    kwargs = SMALL | arguments.pop("policy_kwargs", {})
    return MaskableRecurrentPPO("MlpLstmPolicy", env or World(), policy_kwargs=kwargs, **EASY | arguments)


def saved(model):
    file = io.BytesIO()
    model.save(file)
    return file


def weights_of(policy):
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def cards(model, learns=1):
    """The first observations of each `learn` that begins anew."""

    class First(callbacks.BaseCallback):
        def _on_rollout_start(self):
            shown.append(model.lanes.observation.clone())

        def _on_step(self):
            return True

    shown = []
    for _ in range(learns):
        model.learn(1, callback=First())
    return torch.stack(shown)


def sharpened(policy):
    """Action probabilities that depend on the memory visibly; a fresh head is nearly uniform."""
    with torch.no_grad():
        policy.action_head[-1].weight.mul_(50.0)
    return policy


def consecutive(model, number=3):
    """Consecutive rollouts, so that matches cross their borders and the longest ones end."""
    collector = Collector(model.batch, sharpened(model.policy), model.opposition)
    steps = max(7, model.game.max_length // 2 + 1)
    return [collector.collect(model.policy, steps, model.generator) for _ in range(number)]


def weights(policy):
    return [p.detach().clone() for p in policy.parameters()]


def make_agent(deterministic=False, seed=0, matches=1, game=TICTACTOE):
    """The same weights every time, with a head that makes decisions differ."""
    torch.manual_seed(0)
    policy = RecurrentPolicy(
        game.observation_space, game.actions, game.seats, lstm_hidden_size=8, features_dim=8
    )
    with torch.no_grad():
        policy.action_head[-1].weight.mul_(100.0)
    agent = Agent(policy, game, "agent", deterministic, seed)
    agent.reset(matches)
    return agent
