"""What an agent plays: a task, and many of them side by side, the lanes.

A task is a game or a Gymnasium world, lanes are matches or worlds stepped together. Nobody above asks which
of the two it is: what differs is said here, as data, or done by `learn.lanes` and `learn.worlds`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agents.net.distributions import Family, make_family
from agents.net.encoders import pack
from agents.net.observations import Check, checks_of, shape_checked, turned, warn_once
from envs import Game
from envs.seated import seated_space


class Task(Protocol):
    """One game or world, as an agent knows it."""

    @property
    def name(self) -> str: ...
    @property
    def seats(self) -> int:
        """P."""

    @property
    def observation_space(self) -> spaces.Space[Any]: ...
    @property
    def action_space(self) -> spaces.Space[Any]: ...
    @property
    def family(self) -> Family:
        """Of the distributions over its actions."""

    @property
    def actions(self) -> int:
        """M, entries of a mask, in MaskablePPO's flat convention; 0 for Box."""

    @property
    def plays(self) -> Game | World:
        """What errors and files name: the game, or the world."""

    @property
    def rules(self) -> Game | None:
        """The game whose matches can be dealt, saved and played again; None of a world."""

    @property
    def seated(self) -> spaces.Space[Any] | None:
        """What a world of this game with changing seats shows: the observation, ending with the seat."""

    @property
    def reward_scale(self) -> float:
        """Rewards times this lie in about -1..1 over a match, where the task says how large they can be."""

    @property
    def potential(self) -> Callable[[Tensor], Tensor] | None:
        """Phi of an observation [..., *]: [...]; None if it has none. See `envs.Game`."""

    def checked(self, observation: Any, where: str = "") -> tuple[Any, bool]:
        """Observations as the agent learned them, and whether it was a single one without B.

        Args:
            where: told in errors instead of the number of the world.

        Raises:
            ValueError: they do not fit the space, are not finite, or are codes that it does not have.
        """

    def pack(self, observation: Any) -> tuple[Tensor, bool]:
        """`checked` observations as one tensor [B, ...]."""

    def hand_out(self, actions: Tensor) -> Any:
        """Actions [B, *] as those take them who play: tensors for matches, NumPy's for worlds.

        Raises:
            ValueError: they are not finite, as those of a network whose weights are not.
        """

    def scaled_by(self, entries: frozenset[str]) -> Task:
        """The same task, of which these entries of the observations come scaled."""


class Lanes(Protocol):
    """B matches or worlds stepped together, on one device. The tensors are reused from step to step."""

    matches: int  # B
    device: torch.device
    observation: Tensor  # [B, ...] of the seat that decides
    legal: Tensor  # bool [B, M]
    seat: Tensor  # int64 [B]
    reward: Tensor  # float32 [B, P], of the last step
    over: Tensor  # bool [B], the last step ended a match and a new one has begun
    illegal: Tensor  # bool [B], by an illegal action
    tells_episodes: bool
    """`told` is how one hears what episodes gave; of a game the rollout tells."""

    @property
    def task(self) -> Task: ...
    @property
    def own_seed(self) -> int | None:
        """What they deal from where nobody else has a seed; None if nothing."""

    @property
    def truncated(self) -> Tensor | None:
        """bool [B], over by a time limit; None if none is."""

    @property
    def final(self) -> Tensor | None:
        """[B, ...], the last observation of what was truncated."""

    def step(self, actions: Tensor) -> None:
        """Play actions [B, *]."""

    def deal(self, seed: int | None, number: int) -> None:
        """Begin everywhere for the `number`-th time, dealt from `seed`; None: as they would by themselves."""

    def told(self, record: Mapping[str, Tensor], t: int, seconds: float) -> dict[str, Any]:
        """The latest step in SB3's words, which callbacks read in their `locals`.

        Args:
            record: what the rollout holds of its steps so far, by `Rollout`'s names.
            t: the step among them.
            seconds: since training began.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """What is needed to go on, as tensors; nothing where that cannot be saved."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: it is the state of something else.
        """


@dataclasses.dataclass(frozen=True)
class World:
    """What an agent of a Gymnasium world knows of it: its spaces. A `Task`."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    scaled: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    """Entries of the observations that come scaled by a `VecNormalize`, "" for those of no Dict: their bounds
    are those of the numbers before."""
    _told: set[str] = dataclasses.field(default_factory=set, compare=False, repr=False)  # see `warn_once`
    name = "world"
    seats = 1
    rules = None
    seated = None
    reward_scale = 1.0  # rewards are the user's to scale, e.g. by VecNormalize
    potential = None

    @property
    def plays(self) -> World:
        """Itself."""
        return self

    @cached_property
    def family(self) -> Family:
        """Of the distributions over its actions."""
        return make_family(self.action_space)

    @property
    def actions(self) -> int:
        """Entries of a mask, in MaskablePPO's flat convention; 0 for Box."""
        return self.family.mask

    def checked(self, observation: Any, where: str = "") -> tuple[Any, bool]:
        """See `Task`. Floats beyond the bounds of their Box are taken, with a warning, the first time."""
        seen = turned(self.observation_space, observation)
        is_single = shape_checked(self.observation_space, seen)
        for name, check in self._checks.items():
            entry = seen[name] if isinstance(self.observation_space, spaces.Dict) else seen
            message = check(entry, is_single, name in self.scaled, where)
            if message is not None:
                warn_once(self._told, name, message)
        return seen, is_single

    @cached_property
    def _checks(self) -> dict[str, Check]:
        return checks_of(self.observation_space)

    def pack(self, observation: Any) -> tuple[Tensor, bool]:
        """See `Task`. Images may come as the world gives them (see `agents.net.observations.turned`)."""
        seen, is_single = self.checked(observation)
        return pack(self.observation_space, seen), is_single

    def hand_out(self, actions: Tensor) -> Any:
        """NumPy's actions, of Box within their bounds."""
        chosen = actions.cpu().numpy()
        if isinstance(self.action_space, spaces.Box):
            if not np.isfinite(chosen).all():
                raise ValueError(f"expected finite actions, the policy gave {chosen.tolist()!r:.80}")
            return np.clip(chosen, self.action_space.low, self.action_space.high)
        return chosen

    def scaled_by(self, entries: frozenset[str]) -> World:
        """See `Task`."""
        return dataclasses.replace(self, scaled=entries)


@dataclasses.dataclass(frozen=True)
class GameTask:
    """A game of ours as a `Task`."""

    plays: Game

    @property
    def name(self) -> str:
        return self.plays.name

    @property
    def seats(self) -> int:
        """P."""
        return self.plays.seats

    @cached_property
    def observation_space(self) -> spaces.Space[Any]:
        return self.plays.observation_space

    @cached_property
    def action_space(self) -> spaces.Space[Any]:
        return spaces.Discrete(self.plays.actions)

    @cached_property
    def family(self) -> Family:
        """Categorical."""
        return make_family(self.action_space)

    @property
    def actions(self) -> int:
        """A, which is M."""
        return self.plays.actions

    @property
    def rules(self) -> Game:
        """The game."""
        return self.plays

    @property
    def seated(self) -> spaces.Space[Any]:
        """See `envs.seated`."""
        return seated_space(self.plays, "alternate")

    @property
    def reward_scale(self) -> float:
        """1 / the largest return."""
        return 1.0 / max(abs(bound) for bound in self.plays.return_range)

    @property
    def potential(self) -> Callable[[Tensor], Tensor] | None:
        """The game's."""
        return self.plays.potential

    @cached_property
    def _world(self) -> World:
        return World(self.observation_space, self.action_space)

    def checked(self, observation: Any, where: str = "") -> tuple[Any, bool]:
        """See `Task`."""
        return self._world.checked(observation, where)

    def pack(self, observation: Any) -> tuple[Tensor, bool]:
        """See `Task`; a tensor stays on its device."""
        if not isinstance(observation, Tensor):
            return self._world.pack(observation)
        _, is_single = self.checked(observation.detach().cpu())
        return (observation[None] if is_single else observation), is_single

    def hand_out(self, actions: Tensor) -> Tensor:
        """The actions as they are."""
        return actions

    def scaled_by(self, entries: frozenset[str]) -> GameTask:
        """Nothing scales what a game shows."""
        assert not entries, entries
        return self


def task_of(played: Game | World | Task) -> Task:
    """The task that somebody names by a game or a world; the only place that asks which it is."""
    return GameTask(played) if isinstance(played, Game) else played
