"""Training in a game: by self-play on our side; the peer sees one stream in which the seats are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

import envs
from agents.play.players import RandomPlayer
from benchmarks.learners import Ground
from benchmarks.options import Train
from benchmarks.telling import Clock


class SelfPlay(Ground):
    """`lanes` matches of phantom tic-tac-toe."""

    def __init__(self, options: Train, lanes: int) -> None:
        self.game = envs.make("phantom_tictactoe")
        if options.device == "cuda":
            envs.Batch(self.game, 1, "cuda")  # says so if there is no GPU
        self.options = options
        self.stream = MixedStream(self.game, lanes, options.seed)
        super().__init__(f"{lanes} matches", lanes, self.stream)

    def ours(self) -> envs.Batch:
        return envs.Batch(self.game, self.lanes, self.options.device, self.options.seed)

    def begin(self, clock: Clock) -> None:
        self.stream.clear(clock)

    def notes(self, speeds: Sequence[float], decisions: int) -> list[str]:
        stream = self.stream
        return [
            f"{self.name}: of the peer's time {stream.share(speeds, decisions):.1%} went to the environment, "
            f"and {stream.illegal / stream.decisions:.1%} of its choices were illegal."
        ]


class MixedStream(VecEnv):
    """A `Batch` as SB3 users without masks and seats see it: each match is one stream of decisions.

    The observation is that of whoever moves, the reward that of whoever moved. An illegal action is
    replaced by a random legal one.
    """

    def __init__(self, game: envs.Game, matches: int, seed: int) -> None:
        self.batch = envs.Batch(game, matches, seed=seed)
        self.player = RandomPlayer(game, seed=seed)
        self.rows = torch.arange(matches)
        self.chosen = torch.zeros(matches, dtype=torch.int64)
        self.clear(Clock(1))
        # One-hot already here: SB3 takes the sum of a MultiDiscrete's sizes, a NumPy integer, for the LSTM's
        # input size, which torch refuses.
        codes = game.observation_space
        assert isinstance(codes, spaces.MultiDiscrete)
        self.sizes = codes.nvec.astype(np.int64)
        self.offset = np.cumsum(self.sizes) - self.sizes
        width = int(self.sizes.sum())
        super().__init__(matches, spaces.MultiBinary(width), spaces.Discrete(game.actions))

    def clear(self, clock: Clock) -> None:
        """Begin counting anew."""
        self.clock = clock
        self.spent, self.illegal, self.decisions = 0.0, 0, 0

    def share(self, speeds: Sequence[float], decisions: int) -> float:
        """The environment's share of the time that the peer took at `speeds`."""
        return self.spent / sum(decisions / speed for speed in speeds)

    def reset(self) -> np.ndarray[Any, Any]:
        self.batch.reset()
        return self.one_hot()

    def one_hot(self) -> np.ndarray[Any, Any]:
        """The observation of whoever moves, int8 [B, sum of codes]."""
        seen = np.zeros((self.num_envs, int(self.sizes.sum())), np.int8)
        np.put_along_axis(seen, self.batch.observation.numpy() + self.offset, 1, axis=1)
        return seen

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        self.chosen = torch.from_numpy(actions)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        began = self.clock.read()
        batch, mover = self.batch, self.batch.seat.clone()
        is_legal = batch.legal[self.rows, self.chosen]
        instead = self.player.choose(batch.observation, batch.legal, mover, None)
        batch.step(torch.where(is_legal, self.chosen, instead))
        self.illegal += self.num_envs - int(is_legal.sum())
        self.decisions += self.num_envs
        reward = batch.reward[self.rows, mover].numpy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        result = self.one_hot(), reward, batch.over.numpy().copy(), infos
        self.spent += self.clock.read() - began
        return result

    def close(self) -> None:
        """Nothing to free."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the matches have no attributes of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("the matches have no methods of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        return [False] * len(list(self._get_indices(indices)))
