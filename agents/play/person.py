"""A person in a seat: what that seat may know, and what the person means by what they type.

sitting = Sitting(game, player, seat=0, seed=1)
while not (view := sitting.view()).over:
    sitting.play(understood(view.moves, input(view.text)))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from envs import REFEREE, Game, Match
from envs.core import Viewer
from envs.names import known

PERSON = "person"
"""What a record calls who sat there."""

MOST = 30
"""Moves that are listed at once."""


class Opposite(Protocol):
    """What is asked of who holds the other seats; `agents.play.players.Player` is one."""

    name: str

    def reset(self, matches: int = 1) -> None:
        """Sit down at a fresh match."""

    def act(self, observation: Any, legal: Any, seat: Any) -> Any:
        """One decision."""


class Move(NamedTuple):
    """A legal move."""

    action: int
    name: str


@dataclasses.dataclass(frozen=True)
class SeatedView:
    """What a seat may know at its own decision or at the match's end: words and numbers, no way to the match.

    There is none in between: what other seats do until it is its turn again it sees at once, if at all.
    """

    seat: int
    number: int
    """Own decisions so far."""
    moves: tuple[Move, ...]
    """Legal ones; none once it is over."""
    played: tuple[str, ...]
    """Own moves by name, in order."""
    text: str
    """The match in letters as the seat may see it; once it is over, as the referee does."""
    svg: str
    """It drawn, likewise."""
    returns: tuple[float, ...] = ()
    """Of all seats, once it is over."""

    @property
    def over(self) -> bool:
        """The match has ended."""
        return self.returns != ()

    @property
    def result(self) -> str:
        """How it ended for the seat, in a few words."""
        own, is_alone = self.returns[self.seat], len(self.returns) == 1
        if is_alone:
            return f"ended {'above 0' if own > 0 else 'below 0' if own < 0 else 'at 0'}"
        return "won" if own > 0 else "lost" if own < 0 else "drew"


class Sitting:
    """One match of a person in `seat`; the others play on by themselves until it is that seat's turn.

    Args:
        opposite: holds all other seats; it is reset.
        seed: of the match.

    Raises:
        ValueError: the game has no such seat.
    """

    def __init__(self, game: Game, opposite: Opposite, seat: int, seed: int) -> None:
        if not 0 <= seat < game.seats:
            raise ValueError(f"{game.name}: --seat must be in 0..{game.seats - 1}, got {seat}")
        self.match = Match(game, seed)
        self.seat = seat
        self._opposite = opposite
        self._played: list[str] = []
        opposite.reset(1)
        self._go_on()

    def play(self, action: int) -> None:
        """Play a legal action for the person, and what the others do then.

        Raises:
            ValueError: it is not legal; nothing has changed.
        """
        self.match.play(action)
        self._played.append(self.match.game.action_name(action))
        self._go_on()

    def view(self) -> SeatedView:
        """What the person may know now."""
        match = self.match
        viewer: Viewer = REFEREE if match.over else self.seat
        return SeatedView(
            seat=self.seat,
            number=len(self._played),
            moves=tuple(Move(action, match.game.action_name(action)) for action in match.legal()),
            played=tuple(self._played),
            text=match.text(viewer),
            svg=match.svg(viewer),
            returns=tuple(match.returns.tolist()) if match.over else (),
        )

    def _go_on(self) -> None:
        match = self.match
        while not match.over and match.seat != self.seat:
            match.play(self._opposite.act(match.observation(match.seat), match.mask(), match.seat))


def understood(moves: Sequence[Move], typed: str) -> int:
    """The legal action that `typed` means: its name, its number, or a beginning that only its name has.

    Raises:
        ValueError: there is none, or more than one; the message lists them, the nearest first.
    """
    typed = typed.strip()
    wanted = typed.casefold()
    for fits in (
        [m for m in moves if m.name.casefold() == wanted],
        [m for m in moves if typed.isdecimal() and typed == str(m.action)],
        [m for m in moves if wanted and m.name.casefold().startswith(wanted)],
    ):
        if len(fits) == 1:
            return fits[0].action
        if fits:
            raise ValueError(f"{typed!r} begins {_in_a_line([m.name for m in fits])}")
    if typed in ("", "?"):
        raise ValueError(f"legal are {listed_moves(moves, typed)}")
    raise ValueError(f"{typed!r} is not legal here; legal are {listed_moves(moves, typed)}")


def listed_moves(moves: Sequence[Move], typed: str = "") -> str:
    """Legal moves in a line with their numbers, as many as one can read; the nearest to `typed` first."""
    told = [f"{m.name} ({m.action})" if m.name != str(m.action) else m.name for m in moves]
    return _in_a_line(known(typed, told).split(", ")) if told else "none"


def _in_a_line(moves: list[str]) -> str:
    more = f", ...: {len(moves)} in all" if len(moves) > MOST else ""
    return ", ".join(moves[:MOST]) + more
