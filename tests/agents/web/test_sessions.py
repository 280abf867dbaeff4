"""Sessions: a match each, the moves they take, and the ones they refuse."""

from __future__ import annotations

import pytest
from visits import TICTACTOE, USUAL, lobby

import envs
from agents.web.sessions import IDLE, RefusedError, Sessions

TTT = "phantom_tictactoe: bot"


@pytest.fixture
def sessions():
    return Sessions(USUAL, seed=3)


def begun(sessions, offer=TTT, seat="0"):
    session = sessions.enter()
    sessions.begin(session, offer, seat)
    return session


def test_a_move(sessions):
    session = begun(sessions)
    assert (session.match, session.view.number, session.view.seat) == (1, 0, 0)
    sessions.play(session, 1, 0, "b2")
    assert session.view.played == ("b2",)
    sessions.play(session, 1, 1, session.view.moves[0].action)
    assert session.view.number == 2


def test_a_double_post_is_one_move(sessions):
    session = begun(sessions)
    sessions.play(session, 1, 0, 4)
    once = session.view
    sessions.play(session, 1, 0, 4)
    assert session.view is once
    with pytest.raises(RefusedError, match=r"^the match has gone on; legal now are a1 \(0\), "):
        sessions.play(session, 1, 0, 5)  # another move for the same moment is none
    assert session.view is once


@pytest.mark.parametrize(
    ("match", "number", "said", "told"),
    [
        (1, 1, 4, r"action 4 is not legal here; legal are a1 \(0\), b1 \(1\)"),
        (1, 1, "b2", r"'b2' is not legal here; legal are .*a1 \(0\)"),
        (1, 1, 9, "action 9 is not legal here"),
        (1, 1, "a", r"'a' begins a1, a2, a3"),
        (1, 1, "", "legal are a1"),
        (1, 0, 3, "the match has gone on; legal now are a1"),
        (1, 2, 3, "the match has gone on"),
        (0, 1, 3, "the match has gone on"),
        (2, 1, 3, "the match has gone on"),
    ],
)
def test_what_is_stale_or_illegal_changes_nothing(sessions, match, number, said, told):
    session = begun(sessions)
    sessions.play(session, 1, 0, 4)
    before = session.view
    with pytest.raises(RefusedError, match=told):
        sessions.play(session, match, number, said)
    assert session.view is before


def test_a_rematch_makes_the_old_page_stale(sessions):
    session = begun(sessions)
    sessions.begin(session, TTT, "1")
    assert (session.match, session.view.seat, session.view.played) == (2, 1, ())
    with pytest.raises(RefusedError, match="has gone on"):
        sessions.play(session, 1, 0, 4)


def test_only_what_is_offered(sessions):
    session = sessions.enter()
    with pytest.raises(RefusedError, match="no match has begun"):
        sessions.play(session, 0, 0, 0)
    with pytest.raises(RefusedError, match="choose one of the list"):
        sessions.begin(session, "dark_hex: bot", "0")
    for seat in ("2", "-1", "", "x"):
        with pytest.raises(RefusedError, match=r"must be random or in 0\.\.1"):
            sessions.begin(session, TTT, seat)
    assert session.view is None


def test_seats_are_drawn_where_asked(sessions):
    session, seats = sessions.enter(), set()
    for _ in range(20):
        sessions.begin(session, TTT, "random")
        seats.add(session.view.seat)
    assert seats == {0, 1}


def test_each_session_has_its_own_opponent():
    """Two sessions with equal seeds play equal matches, whatever a third does between."""
    offers = lobby((envs.make("dark_hex"), "random"))

    def told(between):
        sessions = Sessions(offers, seed=8)
        session = begun(sessions, "dark_hex: random", "1")
        views = []
        for number in range(2):
            if between:
                begun(sessions, "dark_hex: random", "1")
            sessions.play(session, 1, number, session.view.moves[0].action)
            views.append(session.view)
        return views, sessions._sittings[session.key].match.actions

    assert told(between=False) == told(between=True)
    assert offers["dark_hex: random"].opposite(1) is not offers["dark_hex: random"].player


def test_idle_sessions_end_with_their_matches():
    now = [0.0]
    sessions = Sessions(USUAL, seed=3, clock=lambda: now[0])
    session = begun(sessions)
    now[0] = IDLE
    assert sessions.find(session.key) is session  # asked for: not idle
    now[0] = 2 * IDLE + 1
    assert sessions.find(session.key) is None
    assert sessions._sittings == {}


def test_the_end(sessions):
    session = begun(sessions)
    while not session.view.over:
        sessions.play(session, 1, session.view.number, session.view.moves[0].action)
    assert session.view.returns in ((1.0, -1.0), (-1.0, 1.0), (0.0, 0.0))
    with pytest.raises(RefusedError, match="the match is over"):
        sessions.play(session, 1, session.view.number, 0)
    assert TICTACTOE.seats == len(session.view.returns)
