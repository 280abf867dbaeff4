"""A match that was played, for those who look back: every moment, every view, every thought."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from agents.play.players import Player
from agents.play.thoughts import Thought, thinker_of
from envs import Match
from envs.core import Viewer


@dataclasses.dataclass(frozen=True)
class Story:
    """Moments 0 .. plies: before the first move, and after each."""

    title: str
    matches: tuple[Match, ...]
    captions: tuple[str, ...]
    thoughts: tuple[Thought | None, ...]
    """What the mover thought before the move that led to each moment, if it has a network."""

    @property
    def plies(self) -> int:
        """Moves."""
        return len(self.matches) - 1

    @property
    def seats(self) -> int:
        """Of the game."""
        return self.matches[0].game.seats

    def svg(self, ply: int, viewer: Viewer) -> str:
        """A moment drawn."""
        return self.matches[ply].svg(viewer)

    def text(self, ply: int, viewer: Viewer) -> str:
        """A moment in letters."""
        return self.matches[ply].text(viewer)


def story_of(
    begun: Match, actions: Sequence[int], names: Sequence[str], players: Sequence[Player | None] = ()
) -> Story:
    """The story of a match.

    Args:
        begun: the match before its first move; it is played on.
        actions: all moves.
        names: of the players, one a seat.
        players: the same; None, or nobody at all, for those who are not asked what they thought.
    """
    thinkers = [thinker_of(player) for player in players] or [None] * len(names)
    matches, captions = [begun.copy()], ["before the first move"]
    told: list[Thought | None] = [None]
    for number, action in enumerate(actions, 1):
        seat = begun.seat
        thinker = thinkers[seat]
        told.append(None if thinker is None else thinker.think(begun))
        if thinker is not None:
            thinker.remember(seat, action)
        captions.append(f"move {number}: {names[seat]} (seat {seat}) plays {begun.game.action_name(action)}")
        begun.play(action)
        matches.append(begun.copy())
    if begun.over:
        captions[-1] += f"; returns {', '.join(f'{value:+.6g}' for value in begun.returns)}"
    seated = " against ".join(f"{name} (seat {seat})" for seat, name in enumerate(names))
    return Story(f"{begun.game.name}: {seated}", tuple(matches), tuple(captions), tuple(told))
