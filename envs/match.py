"""Match: one match of a game, for people, tests and tools."""

from __future__ import annotations

import copy
import operator
import secrets
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from envs.core import CHANCE, REFEREE, Game, Viewer, draw_outcome, listed, named


class Match:
    """One match, played move by move.

        match = envs.Match(envs.make("kuhn_poker"), seed=1)
        while not match.over:
            match.play(random.choice(match.legal()))
        print(match.returns)

    Args:
        game: a game made by `envs.make`.
        seed: the match's 64-bit seed; None draws one from the system. The same seed and the same
            actions give the same match, here and in a `Batch`.
        chance: "draw" plays dice and cards by itself; "ask" treats chance as a seat (`CHANCE`), whose
            outcomes are played like actions and whose odds are `chance()`; a list of outcomes plays those
            by itself, one after the other.
        deal: the set-up in letters, of a game that has such (`Game.dealt`); None = as the seed deals it.

    Raises:
        ValueError: `chance` is none of these, one of its outcomes cannot come or they end before the match
            does, or `deal` is no set-up of the game.
    """

    def __init__(
        self,
        game: Game,
        seed: int | None = None,
        chance: Literal["draw", "ask"] | Sequence[int] = "draw",
        deal: str | None = None,
    ) -> None:
        if isinstance(chance, str) and chance not in ("draw", "ask"):
            raise ValueError(f"chance must be 'draw', 'ask' or a list of outcomes, got {chance!r}")
        self.game = game
        self.seed = secrets.randbits(64) if seed is None else operator.index(seed)
        self.actions: list[int] = []
        """Everything played so far, in order; with chance="ask" the outcomes too."""
        self.returns = np.zeros(game.seats)
        """Total reward of each seat so far, float64 [P]."""
        self._asks = chance == "ask"
        self._outcomes = None if isinstance(chance, str) else list(chance)
        self._drawn = 0
        self._states = np.zeros(1, game.state)
        self._states[0] = game.blank() if deal is None else game.dealt(deal)
        self._states[0].seed = self.seed & 0xFFFF_FFFF_FFFF_FFFF
        if deal is None:
            game.deal(self.state)
        self._draw_chance()

    @property
    def state(self) -> Any:
        """The state record (see the game's file for its fields). Reading only."""
        return self._states[0]

    @property
    def seat(self) -> int:
        """Who decides next: 0..P-1, or CHANCE."""
        return int(self.state.seat)

    @property
    def over(self) -> bool:
        """Whether the match has ended."""
        return bool(self.state.over)

    def mask(self, seat: int | None = None) -> npt.NDArray[np.bool_]:
        """Legal actions of the seat to move as a mask, bool [A]; none when the match is over.

        Args:
            seat: another seat, where all move at once (`game.simultaneous`).

        Raises:
            ValueError: it is not this seat's turn.
        """
        mask = np.zeros(self.game.actions, np.bool_)
        if self.over or self.seat == CHANCE:
            return mask
        states = self._states
        if seat is not None and seat != self.seat:
            if not self.game.simultaneous or seat not in range(self.game.seats):
                raise ValueError(f"{self.game.name}: seat {self.seat} is to move, not {seat}")
            states = states.copy()
            states[0].seat = seat
        self.game.legal(states[0], mask)
        return mask

    def legal(self) -> list[int]:
        """Legal actions of the seat to move, ascending; at a chance node its possible outcomes."""
        if self.over:
            return []
        choices = self.chance() if self.seat == CHANCE else self.mask()
        return [int(a) for a in np.flatnonzero(choices)]

    def chance(self) -> npt.NDArray[np.float64]:
        """Probabilities of the outcomes at a chance node, float64 [chance_outcomes]."""
        if self.over or self.seat != CHANCE:
            raise ValueError(f"{self.game.name}: chance() asked, but it is not chance's turn")
        probabilities = np.zeros(self.game.chance_outcomes)
        self.game.chance(self.state, probabilities)
        return probabilities

    def play(self, action: int) -> None:
        """Play a legal action for the seat to move.

        Raises:
            TypeError: `action` is no integer.
            ValueError: the match is over, or the action is not legal. The match stays as it was.
        """
        action = self.check(action)
        self.actions.append(action)
        self._apply(action)
        self._draw_chance()

    def check(self, action: int, seat: int | None = None) -> int:
        """The action, if it may be played now; `seat` as in `mask`.

        Raises:
            TypeError, ValueError: as `play`.
        """
        try:
            action = operator.index(action)
        except TypeError:
            raise TypeError(f"{self.game.name}: an action is an integer, got {action!r}") from None
        if self.over:
            raise ValueError(f"{self.game.name}: the match is over, action {action} came too late")
        choices = self.chance() if self.seat == CHANCE else self.mask(seat)
        if not 0 <= action < len(choices) or not choices[action]:
            who = "chance" if self.seat == CHANCE else f"seat {self.seat if seat is None else seat}"
            what = f"action {action}" if self.seat == CHANCE else named(self.game, action)
            legal = listed(np.flatnonzero(choices).tolist())
            raise ValueError(f"{self.game.name}: {what} of {who} is illegal; legal are {legal}")
        return action

    def observation(self, seat: int) -> npt.NDArray[Any]:
        """What `seat` sees now, in the game's observation space; any seat, at any time."""
        if not 0 <= seat < self.game.seats:
            raise ValueError(f"{self.game.name}: seat must be in 0..{self.game.seats - 1}, got {seat}")
        space = self.game.observation_space
        out = np.zeros(space.shape, space.dtype)
        self.game.observe(self.state, seat, out)
        return out

    def text(self, viewer: Viewer = REFEREE) -> str:
        """The match in letters, as `viewer` (a seat or "referee") may see it."""
        return self.game.text(self.state, self._viewer(viewer))

    def svg(self, viewer: Viewer = REFEREE) -> str:
        """The match drawn as an SVG document, as `viewer` (a seat or "referee") may see it."""
        return self.game.svg(self.state, self._viewer(viewer))

    def _repr_svg_(self) -> str:
        """The match as the referee sees it, which is what a notebook shows of it."""
        return self.svg()

    def _viewer(self, viewer: Viewer) -> Viewer:
        if viewer != REFEREE and viewer not in range(self.game.seats):
            raise ValueError(
                f"{self.game.name}: viewer must be {REFEREE!r} or a seat in 0..{self.game.seats - 1}, "
                f"got {viewer!r}"
            )
        return viewer

    def copy(self) -> Match:
        """An independent match at the same point."""
        return copy.deepcopy(self)

    def _apply(self, action: int) -> None:
        self.state.reward[:] = 0.0
        self.game.play(self.state, action)
        self.returns += self.state.reward

    def _draw_chance(self) -> None:
        while not self._asks and not self.over and self.seat == CHANCE:
            self._apply(self._outcome(self.chance()))

    def _outcome(self, odds: npt.NDArray[np.float64]) -> int:
        """The next outcome of chance, drawn or as it was given."""
        if self._outcomes is None:
            return int(draw_outcome(self.state, odds))
        if self._drawn == len(self._outcomes):
            raise ValueError(
                f"{self.game.name}: {self._drawn} outcomes of chance were given, one more is due"
            )
        outcome = self._outcomes[self._drawn]
        if not 0 <= outcome < len(odds) or odds[outcome] <= 0.0:
            possible = listed(np.flatnonzero(odds).tolist())
            raise ValueError(f"{self.game.name}: outcome {outcome} cannot come; possible are {possible}")
        self._drawn += 1
        return outcome
