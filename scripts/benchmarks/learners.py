"""Both sides of training with memory: built with the same sizes, and checked to have done as much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import VecEnv

import agents
import envs
from benchmarks.options import Train
from benchmarks.telling import Clock, ComparisonError


class Ground:
    """Where both sides learn.

    Attributes:
        name: as a table calls it.
        lanes: matches or worlds side by side.
        peers: the peer's environment.
    """

    def __init__(self, name: str, lanes: int, peers: VecEnv) -> None:
        self.name, self.lanes, self.peers = name, lanes, peers

    def ours(self) -> envs.Batch | VecEnv:
        """Our environment, a new one."""
        raise NotImplementedError

    def begin(self, clock: Clock) -> None:
        """What comes now is measured with this clock."""

    def notes(self, _speeds: Sequence[float], _decisions: int) -> list[str]:
        """What a reader of the peer's speeds, each measured over so many decisions, should know."""
        return []


@dataclass(frozen=True)
class Learner:
    """An algorithm of either side."""

    model: Any
    policy: torch.nn.Module
    optimizer: torch.optim.Optimizer

    def speed(self, decisions: int, clock: Clock) -> float:
        """Decisions per second while learning from so many more."""
        is_first = self.model.num_timesteps == 0
        return clock.speed(lambda: self.model.learn(decisions, reset_num_timesteps=is_first), decisions)

    def gradient_steps(self) -> int:
        """How many there were so far."""
        return max(int(state["step"]) for state in self.optimizer.state.values())


def make_ours(ground: Ground, cell: str, options: Train) -> Learner:
    """Our algorithm with the benchmark's sizes."""
    env = ground.ours()
    space = env.observation_space if isinstance(env, VecEnv) else env.game.observation_space
    model = agents.MaskableRecurrentPPO(
        "MlpLstmPolicy",
        env,
        n_steps=options.n_steps,
        batch_size=options.n_steps * ground.lanes // options.minibatches,
        n_epochs=options.n_epochs,
        policy_kwargs={
            "cell": cell,
            "features_dim": spaces.flatdim(space),  # as many inputs as the peer's core has
            **options.sizes(),
        },
        seed=options.seed,
        device=options.device,
    )
    return Learner(model, model.policy, model.optimizer)


def make_peer(env: VecEnv, options: Train) -> Learner:
    """sb3-contrib's algorithm with the same sizes, or ComparisonError if it made others."""
    peer = RecurrentPPO(
        "MlpLstmPolicy",
        env,
        n_steps=options.n_steps,
        batch_size=options.n_steps * env.num_envs // options.minibatches,
        n_epochs=options.n_epochs,
        policy_kwargs=options.sizes(),
        seed=options.seed,
        device=options.device,
    )
    policy, H = peer.policy, options.hidden
    lstms = [m for m in policy.modules() if isinstance(m, torch.nn.LSTM)]
    expected = 4 * H * (policy.features_dim + H) + 8 * H  # torch keeps two biases
    found = sum(p.numel() for lstm in lstms for p in lstm.parameters())
    if len(lstms) != 1 or lstms[0].hidden_size != H or lstms[0].num_layers != 1 or found != expected:
        raise ComparisonError(
            f"the peer should have one LSTM of {H} units, {expected} parameters; it has {lstms}"
        )
    return Learner(peer, policy, policy.optimizer)


def check_train(learners: dict[str, Learner], options: Train) -> None:
    """All sides did the same amount of work, or ComparisonError."""
    for what, count in (
        ("decisions", {name: it.model.num_timesteps for name, it in learners.items()}),
        ("gradient steps", {name: it.gradient_steps() for name, it in learners.items()}),
    ):
        if len(set(count.values())) != 1:
            raise ComparisonError(f"the sides differ in {what}: {count}")
    rollouts, rest = divmod(
        next(iter(learners.values())).gradient_steps(), options.n_epochs * options.minibatches
    )
    if rest or rollouts % options.updates:
        raise ComparisonError(f"expected {options.n_epochs} x {options.minibatches} gradient steps a rollout")
