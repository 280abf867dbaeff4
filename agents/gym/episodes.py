"""Episodes: what a player earns in a Gymnasium world, and how it looks (edge: SB3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from agents.gym import evaluation
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.net import normalizer
from agents.play.asked import truths_of
from agents.play.intervals import mean_interval
from agents.play.players import Agent, frozen
from envs import Game

MAX_FRAMES = 300
"""Of a GIF, per episode; of longer ones every second, fourth, ... picture is kept."""


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What episodes gave."""

    rewards: tuple[float, ...]
    """Sum of each episode's rewards, as the world gives them."""
    lengths: tuple[int, ...]
    """Decisions of each."""
    bounds: tuple[float, float] | None = None
    """What the sum can be, where the world says so: in a game of ours its range of returns."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.rewards))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean (see `agents.play.intervals`).

        Of a world that does not say what its sums can be it holds for those between the lowest and the
        highest one seen and 0: nothing tells how rare others are.
        """
        return mean_interval([np.array(self.rewards)], self.bounds)

    @property
    def mean_length(self) -> float:
        return float(np.mean(self.lengths))


def play(player: Any, worlds: VecEnv, episodes: int, deterministic: bool = False, seed: int = 0) -> Episodes:
    """Play episodes, shared out evenly to the worlds, under their masks if the player takes any.

    Args:
        player: a model of SB3, or anything with its `predict`.
        seed: of what the player draws from torch's own generator, which is left as it was.
    """
    is_told = takes_masks(player) and (is_masking_supported(worlds) or hasattr(player, "task"))
    evaluate: Any = evaluation.evaluate_policy if is_told else evaluate_policy
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rewards, lengths = evaluate(player, worlds, episodes, deterministic, return_episode_rewards=True)
    return Episodes(tuple(map(float, rewards)), tuple(map(int, lengths)), _return_range(worlds))


def _return_range(worlds: VecEnv) -> tuple[float, float] | None:
    """Of the returns of a game of ours."""
    game = worlds.get_attr("game", [0])[0] if worlds.has_attr("game") else None
    return game.return_range if isinstance(game, Game) else None


def takes_masks(player: Any) -> bool:
    """It chooses among the legal actions."""
    return isinstance(player, (MaskableRecurrentPPO, MaskablePPO, Recalling, Random))


def player_of(model: BaseAlgorithm, deterministic: bool, seed: int, use_raw: bool = False) -> Any:
    """What decides for a model in episodes: the agent as `agents.load` would give it, or the stock model.

    Args:
        use_raw: of ours, the raw weights also where averaged ones are kept.
    """
    if not isinstance(model, MaskableRecurrentPPO):
        return model
    policy = model.policy if use_raw or model.ema is None else model.ema
    return Recalling(Agent(frozen(policy), model.game, deterministic=deterministic, seed=seed))


def seen_by(model: BaseAlgorithm, worlds: VecEnv) -> VecEnv:
    """Worlds to play in, scaled and turned as those that the model learns in."""
    state = normalizer.known_to(model)
    return model._wrap_env(worlds if state is None else normalizer.like(state, worlds))


class Recalling:
    """An agent, which remembers by itself, where SB3 expects a model: what `evaluate_policy` asks of one."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.task = agent, agent.task

    def predict(
        self,
        observation: Any,
        state: None = None,  # noqa: ARG002
        episode_start: Any = None,
        deterministic: bool = False,  # noqa: ARG002
        action_masks: Any = None,
        seat: Any = None,
    ) -> tuple[Any, None]:
        """Actions [B]; the agent's own setting decides whether they are drawn."""
        if self.agent.matches != len(episode_start):
            self.agent.reset(len(episode_start))
        self.agent.restart(torch.as_tensor(episode_start))
        return self.agent.act(observation, action_masks, seat), None


class Random:
    """Every legal action with the same probability; of Box anywhere within the bounds."""

    def __init__(self, space: spaces.Space[Any], seed: int) -> None:
        self.space = space
        self.space.seed(seed)

    def predict(
        self,
        observation: Any,  # noqa: ARG002
        episode_start: Any = None,
        action_masks: Any = None,
        **_: Any,
    ) -> tuple[Any, None]:
        """Actions [B]."""
        masks = [None] * len(episode_start)
        if action_masks is not None:
            masks = [self._mask(mask) for mask in action_masks]
        return np.stack([self.space.sample(mask) for mask in masks]), None

    def _mask(self, mask: Any) -> Any:
        """MaskablePPO's flat mask in Gymnasium's form."""
        mask = truths_of(mask, "action_masks").astype(np.int8)
        if isinstance(self.space, spaces.MultiDiscrete):
            return tuple(np.split(mask, np.cumsum(self.space.nvec)[:-1]))
        if isinstance(self.space, spaces.MultiBinary):  # off and on of each bit; Gymnasium: 0, 1, 2 = either
            off, on = mask.reshape(-1, 2).T
            return np.where(off & on, 2, on).astype(np.int8)
        return mask


class Film(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps pictures of a world's first episode, at most `most`, evenly spread, and its end.

    A world in a window (render mode "human") shows itself: of it nothing is kept.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], most: float = MAX_FRAMES) -> None:
        super().__init__(env)
        self.most = most
        self.frames: list[Any] = []
        self.every = 1
        self._seen = 0
        self._is_over = False

    def go_on(self) -> None:
        """Add the next episode; `most` is of all together."""
        self._is_over = False

    @property
    def pace(self) -> float:
        """Pictures a second, as fast as the world goes."""
        return float(self.metadata.get("render_fps", 30)) / self.every

    def reset(self, **arguments: Any) -> Any:
        seen = self.env.reset(**arguments)
        self._look(True)
        return seen

    def step(self, action: Any) -> Any:
        seen = self.env.step(action)
        ends = bool(seen[2] or seen[3])
        self._look(ends)
        self._is_over |= ends
        return seen

    def _look(self, is_kept: bool) -> None:
        if self._is_over or self.render_mode == "human":
            return
        if is_kept or self._seen % self.every == 0:
            self.frames.append(self.env.render())
        self._seen += 1
        if len(self.frames) > self.most:
            self.frames = self.frames[::2]
            self.every *= 2
