"""PettingZoo: a game as an AEC environment (edge: pettingzoo).

env = envs.aec("dark_hex", rows=4, cols=4, render_mode="ansi")
env.reset(seed=1)
for agent in env.agent_iter():
    observation, reward, terminated, truncated, info = env.last()
    if terminated or truncated:
        env.step(None)
    else:
        env.step(env.action_space(agent).sample(observation["action_mask"]))
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Dict, Discrete
from pettingzoo import AECEnv

from envs.adapters.screen import RENDER_MODES, Screen
from envs.core import Game
from envs.match import Match


class FogboundAEC(AECEnv):  # type: ignore[misc]  # PettingZoo ships no types
    """One match after the other of `game`, with the agents `player_0`, `player_1`, ... in its seats.

    An observation is a dict, as in PettingZoo's Classic games:

        observation   what the agent sees: the game's `observation_space`, its shape and dtype
        action_mask   int8 [A], 1 = legal; all zeros for an agent that is not to move, or whose match is over

    Rewards are floats, infos are empty dicts: nothing but the observation tells an agent of the match.
    Dice and cards are played by the environment.

    Args:
        game: a game made by `envs.make`.
        render_mode: "ansi" (str), "rgb_array" (uint8 [height, width, 3]) or "human" (a window); all show
            what the referee sees.

    Raises:
        ValueError: the render mode is unknown.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": RENDER_MODES,
        "is_parallelizable": False,
        "render_fps": 2,
    }

    def __init__(self, game: Game, render_mode: str | None = None) -> None:
        super().__init__()
        self.game = game
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "name": f"{game.name}_v0"}  # type: ignore[misc]
        self.possible_agents = [f"player_{p}" for p in range(game.seats)]
        self.observation_spaces = {agent: _observation_space(game) for agent in self.possible_agents}
        self.action_spaces = {agent: Discrete(game.actions) for agent in self.possible_agents}
        self._generator = np.random.default_rng()
        self._match: Match | None = None
        self._screen = Screen(render_mode, self.metadata["name"], self.metadata["render_fps"])

    @property
    def match(self) -> Match:
        """The match being played. Reading only.

        Raises:
            RuntimeError: before the first `reset`.
        """
        if self._match is None:
            raise RuntimeError(f"{self.game.name}: no match has begun; call reset() first")
        return self._match

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Begin a new match.

        Args:
            seed: where the sequence of matches starts; None goes on with it.
            options: none are known; what is given is ignored.
        """
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self._match = Match(self.game, seed=int(self._generator.integers(2**64, dtype=np.uint64)))
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.agent_selection = self.possible_agents[self.match.seat]
        self._screen.refresh(self.match)

    def step(self, action: int | None) -> None:
        """Play a legal action for `agent_selection`; None if its match is over.

        Raises:
            TypeError: the action is no integer.
            ValueError: it is illegal (the environment stays as it was), or the match is over.
        """
        match, agent = self.match, self.agent_selection
        if not self.agents:
            raise ValueError(f"{self.game.name}: the match is over; call reset() to begin another")
        if self._is_dead(agent):
            self._was_dead_step(action)
            return
        before = match.returns.copy()
        match.play(action)  # type: ignore[arg-type]  # None for a living agent is refused there
        earned = match.returns - before
        self._cumulative_rewards[agent] = 0.0
        self.rewards = {name: float(earned[p]) for p, name in enumerate(self.possible_agents)}
        self._accumulate_rewards()
        if match.over:
            self.terminations = dict.fromkeys(self.agents, True)
        else:
            self.agent_selection = self.possible_agents[match.seat]
        self._screen.refresh(self.match)

    def observe(self, agent: str) -> dict[str, npt.NDArray[Any]]:
        """What `agent` sees now; any agent, at any time."""
        moves = agent == self.agent_selection and not self._is_dead(agent)
        mask = self.match.mask() if moves else np.zeros(self.game.actions, np.bool_)
        return {
            "observation": self.match.observation(self.possible_agents.index(agent)),
            "action_mask": mask.astype(np.int8),
        }

    def render(self) -> str | npt.NDArray[np.uint8] | None:
        """The match as the referee sees it, in the render mode: a string, pixels, or None and a window."""
        return self._screen.show(self.match)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._screen.close()

    def _is_dead(self, agent: str) -> bool:
        return agent not in self.agents or self.terminations[agent] or self.truncations[agent]


def _observation_space(game: Game) -> Dict:
    return Dict(
        {
            "observation": game.observation_space,
            "action_mask": Box(0, 1, (game.actions,), np.int8),
        }
    )
