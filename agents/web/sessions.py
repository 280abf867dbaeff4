"""Sessions: what a browser holds, and the matches behind them, which no page can reach.

A `Session` holds what its page may say: the view of one seat, and names. The match itself is kept by
`Sessions` under the session's key.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import secrets
import time
from collections.abc import Callable, Sequence

from agents.play import records
from agents.play.person import PERSON, SeatedView, Sitting, listed_moves, understood
from agents.play.story import Story, story_of
from agents.web.lobby import Lobby
from envs import Match
from envs.seeds import derived_seed

MOST_SESSIONS = 64
IDLE = 30 * 60.0
"""Seconds after which a session that nobody asks for ends."""


class TooManySessionsError(Exception):
    """There are as many sessions as there may be."""


class RefusedError(Exception):
    """A post that changes nothing, and why."""


@dataclasses.dataclass(eq=False)
class Session:
    """What one browser plays: words and numbers that its pages may show."""

    key: str
    """What the browser's cookie says."""
    csrf: str
    """What its forms say."""
    seen: float
    """When it was asked for last."""
    offer: str | None = None
    """What is played, by its name in the lobby."""
    wish: str = "random"
    """The seat that was asked for: a number, or random."""
    match: int = 0
    """Matches begun."""
    view: SeatedView | None = None
    latest: tuple[int, int, int | str] | None = None
    """Match and number of the latest move, and how it was posted."""
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class Sessions:
    """All sessions and their matches.

    Args:
        lobby: what can be played.
        seed: of all matches; None draws them from the system.
        wish: the seat that is chosen before one chooses.
        keep: is given every match that ends, and who played it, one name a seat.
        story: a match that was played already, for everybody to look at.
        clock: seconds that go on.
    """

    def __init__(
        self,
        lobby: Lobby,
        seed: int | None = None,
        wish: str = "random",
        keep: Callable[[Match, Sequence[str]], None] = lambda _match, _names: None,
        story: Story | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lobby, self._wish, self._keep, self._story = lobby, wish, keep, story
        self._seed, self._clock = seed, clock
        self._sessions: dict[str, Session] = {}
        self._sittings: dict[str, Sitting] = {}
        self._stories: dict[str, Story] = {}
        self._begun = itertools.count(1)

    def enter(self) -> Session:
        """A fresh session.

        Raises:
            TooManySessionsError: there are `MOST_SESSIONS`, none of them idle.
        """
        self._end_idle()
        if len(self._sessions) >= MOST_SESSIONS:
            raise TooManySessionsError
        session = Session(
            secrets.token_urlsafe(32), secrets.token_urlsafe(16), self._clock(), wish=self._wish
        )
        self._sessions[session.key] = session
        return session

    def find(self, key: str) -> Session | None:
        """The session of that key, if it has not ended."""
        self._end_idle()
        session = self._sessions.get(key)
        if session is not None:
            session.seen = self._clock()
        return session

    def _end_idle(self) -> None:
        now = self._clock()
        for key in [key for key, session in self._sessions.items() if now - session.seen > IDLE]:
            del self._sessions[key]
            self._sittings.pop(key, None)
            self._stories.pop(key, None)

    def begin(self, session: Session, offer: str, wish: str) -> None:
        """Begin a match: what the other seats do first is done when this returns.

        Args:
            offer: a name in the lobby.
            wish: a seat's number, or random.

        Raises:
            RefusedError: there is no such offer or seat.
        """
        if offer not in self.lobby:
            raise RefusedError("there is no such game and opponent here; choose one of the list")
        game = self.lobby[offer].game
        if wish != "random" and wish not in map(str, range(game.seats)):
            raise RefusedError(f"{game.name}: the seat must be random or in 0..{game.seats - 1}")
        seed = self._next_seed()
        seat = derived_seed(seed, "seat") % game.seats if wish == "random" else int(wish)
        opposite = self.lobby[offer].opposite(derived_seed(seed, "opposite") % 2**63)
        sitting = Sitting(game, opposite, seat, seed)
        self._sittings[session.key] = sitting
        self._stories.pop(session.key, None)
        session.offer, session.wish, session.match = offer, wish, session.match + 1
        session.view, session.latest = sitting.view(), None

    def _next_seed(self) -> int:
        begun = next(self._begun)
        return secrets.randbits(63) if self._seed is None else derived_seed(self._seed, "page", begun)

    def play(self, session: Session, match: int, number: int, said: int | str) -> None:
        """Play a move; the same one posted again is the same move.

        Args:
            match, number: of the move, as the page that posted it showed them.
            said: the move: an action, or words that `understood` takes.

        Raises:
            RefusedError: it is illegal or was meant for another moment; nothing has changed.
        """
        view = session.view
        if view is None:
            raise RefusedError("no match has begun")
        if (match, number) != (session.match, view.number):
            if session.latest == (match, number, said):
                return
            raise RefusedError(f"the match has gone on; legal now are {listed_moves(view.moves)}")
        if view.over:
            raise RefusedError("the match is over")
        action = _meant(view, said)
        sitting = self._sittings[session.key]
        sitting.play(action)
        session.view, session.latest = sitting.view(), (match, number, said)
        if session.view.over:
            self._keep(sitting.match, self._names(session))

    def _names(self, session: Session) -> list[str]:
        """Who sits where."""
        assert session.view is not None
        assert session.offer is not None
        offer = self.lobby[session.offer]
        seats = range(offer.game.seats)
        return [PERSON if seat == session.view.seat else offer.opponent for seat in seats]

    def record(self, session: Session) -> str | None:
        """The match as a line of a file of records (see `agents.play.records`); None while it goes on."""
        if session.view is None or not session.view.over:
            return None
        match = self._sittings[session.key].match
        return "".join(records.written(records.of_match(match, self._names(session))))

    def story(self, session: Session) -> Story | None:
        """The match to look back at, once it is over; or else the one that everybody may look at.

        What the opponent thought is told now, not before.
        """
        if session.view is None or not session.view.over:
            return self._story if session.view is None else None
        if session.key not in self._stories:
            assert session.offer is not None
            match, offer = self._sittings[session.key].match, self.lobby[session.offer]
            own = session.view.seat
            players = [None if seat == own else offer.player for seat in range(offer.game.seats)]
            begun = Match(match.game, match.seed)
            told = story_of(begun, match.actions, self._names(session), players)
            self._stories[session.key] = told
        return self._stories[session.key]


def _meant(view: SeatedView, said: int | str) -> int:
    """The legal action that was posted.

    Raises:
        RefusedError: there is none; the message says which are legal.
    """
    if isinstance(said, str):
        try:
            return understood(view.moves, said)
        except ValueError as error:
            raise RefusedError(str(error)) from None
    if said not in (move.action for move in view.moves):
        raise RefusedError(f"action {said} is not legal here; legal are {listed_moves(view.moves)}")
    return said
