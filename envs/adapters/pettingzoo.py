"""PettingZoo: a game as an AEC environment, or as a parallel one (edge: pettingzoo).

env = envs.aec("dark_hex", rows=4, cols=4, render_mode="ansi")
env.reset(seed=1)
for agent in env.agent_iter():
    observation, reward, terminated, truncated, info = env.last()
    if terminated or truncated:
        env.step(None)
    else:
        env.step(env.action_space(agent).sample(observation["action_mask"]))

env = envs.parallel("generals", rows=4, cols=4)      # where all move at once
observations, infos = env.reset(seed=1)
while env.agents:
    actions = {a: env.action_space(a).sample(observations[a]["action_mask"]) for a in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Dict, Discrete
from pettingzoo import AECEnv, ParallelEnv

import envs
from envs.adapters.screen import RENDER_MODES, Screen
from envs.core import Game
from envs.match import Match
from envs.seated import ILLEGAL_RULES, IllegalRule

Observation = dict[str, npt.NDArray[Any]]


class Table:
    """What both kinds of environment share: one match of `game` after the other, with the agents
    `player_0`, `player_1`, ... in its seats.

    An observation is a dict, as in PettingZoo's Classic games:

        observation   what the agent sees: the game's `observation_space`, its shape and dtype
        action_mask   int8 [A], 1 = legal; all zeros for an agent that is not to move, or whose match is over

    Rewards are floats. Dice and cards are played by the environment.

    Args:
        game: a game made by `envs.make`.
        render_mode: "ansi" (str), "rgb_array" (uint8 [height, width, 3]) or "human" (a window); all show
            what the referee sees.

    Raises:
        ValueError: the render mode is unknown.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": RENDER_MODES, "render_fps": 2}

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
        """What an agent is shown; the same for all."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        """The actions an agent may name; the same for all."""
        return self.action_spaces[agent]

    def render(self) -> str | npt.NDArray[np.uint8] | None:
        """The match as the referee sees it, in the render mode: a string, pixels, or None and a window."""
        return self._screen.show(self.match)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._screen.close()

    def _begin(self, seed: int | None) -> None:
        """A new match with all agents; `seed` decides where the sequence of matches starts, None goes on."""
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self._match = Match(self.game, seed=int(self._generator.integers(2**64, dtype=np.uint64)))
        self.agents = list(self.possible_agents)
        self._screen.refresh(self.match)

    def _shown(self, seat: int, can_move: bool) -> Observation:
        mask = self.match.mask(seat) if can_move else np.zeros(self.game.actions, np.bool_)
        return {"observation": self.match.observation(seat), "action_mask": mask.astype(np.int8)}


class FogboundAEC(Table, AECEnv):  # type: ignore[misc]  # PettingZoo ships no types
    """A game in which one agent moves after the other; see `Table`.

    Infos are empty dicts: nothing but the observation tells an agent of the match. Where moves are
    simultaneous each agent commits its own, unseen by the others.
    """

    metadata: ClassVar[dict[str, Any]] = {**Table.metadata, "is_parallelizable": False}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Begin a new match.

        Args:
            seed: where the sequence of matches starts; None goes on with it.
            options: none are known; what is given is ignored.
        """
        self._begin(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.agent_selection = self.possible_agents[self.match.seat]

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

    def observe(self, agent: str) -> Observation:
        """What `agent` sees now; any agent, at any time."""
        moves = agent == self.agent_selection and not self._is_dead(agent)
        return self._shown(self.possible_agents.index(agent), moves)

    def _is_dead(self, agent: str) -> bool:
        return agent not in self.agents or self.terminations[agent] or self.truncations[agent]


class FogboundParallel(Table, ParallelEnv):  # type: ignore[misc]  # PettingZoo ships no types
    """A game in which all agents move at once; see `Table`.

    After a step an info holds `illegal` (bool): the agent lost the match by an illegal action. If several
    agents name one, the first of them loses, as in a `Batch`.

    Args:
        game, render_mode: as in `Table`; moves are simultaneous.
        illegal: an illegal action "lose"s the match for its agent, or "raise"s ValueError. PettingZoo's own
            tests, which do without masks here and there, need "lose".

    Raises:
        ValueError: the game is played in turns, or an argument is unknown; the message says what is known.
    """

    metadata: ClassVar[dict[str, Any]] = {**Table.metadata, "is_parallelizable": True}

    def __init__(self, game: Game, render_mode: str | None = None, illegal: IllegalRule = "lose") -> None:
        if not game.simultaneous:
            known = ", ".join(name for name, listed in envs.GAMES.items() if listed.simultaneous)
            raise ValueError(f"{game.name} is played in turns, by envs.aec; all move at once in {known}")
        if illegal not in ILLEGAL_RULES:
            raise ValueError(f"{game.name}: illegal must be 'lose' or 'raise', got {illegal!r}")
        super().__init__(game, render_mode)
        self._raises = illegal == "raise"
        self.agents: list[str] = []

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Begin a new match.

        Args:
            seed: where the sequence of matches starts; None goes on with it.
            options: none are known; what is given is ignored.

        Returns:
            observations and infos by agent.
        """
        self._begin(seed)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, Observation],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play one move of every agent.

        Returns:
            observations, rewards, terminations, truncations (none) and infos by agent.

        Raises:
            TypeError: an action is no integer; nothing was played.
            ValueError: the match is over, an agent's action is missing or, with illegal="raise", illegal;
                nothing was played.
        """
        match, agents = self.match, self.possible_agents
        if not self.agents:
            raise ValueError(f"{self.game.name}: the match is over; call reset() to begin another")
        if set(actions) != set(agents):
            raise ValueError(
                f"{self.game.name}: actions of {', '.join(agents)} are needed, got those of {sorted(actions)}"
            )
        offender = self._first_illegal(actions)
        if offender is None:
            before = match.returns.copy()
            for agent in agents:
                match.play(actions[agent])
            earned = match.returns - before
        else:
            earned = self.game.forfeit(offender)
        over = match.over or offender is not None
        if over:
            self.agents = []
        self._screen.refresh(match)
        return (
            self._observations(),
            {agent: float(earned[p]) for p, agent in enumerate(agents)},
            dict.fromkeys(agents, over),
            dict.fromkeys(agents, False),
            {agent: {"illegal": p == offender} for p, agent in enumerate(agents)},
        )

    def _first_illegal(self, actions: Mapping[str, Any]) -> int | None:
        """The first seat whose action is illegal, if there is one and it is not to raise."""
        for seat, agent in enumerate(self.possible_agents):
            try:
                self.match.check(actions[agent], seat)
            except ValueError:
                if self._raises:
                    raise
                return seat
        return None

    def _observations(self) -> dict[str, Observation]:
        return {agent: self._shown(p, bool(self.agents)) for p, agent in enumerate(self.possible_agents)}


def _observation_space(game: Game) -> Dict:
    return Dict(
        {
            "observation": game.observation_space,
            "action_mask": Box(0, 1, (game.actions,), np.int8),
        }
    )
