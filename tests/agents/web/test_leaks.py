"""Hidden means hidden: situations that are alike for a seat give the same bytes, whatever lies behind them.

Two matches with other seeds and other draws of the opponents go on side by side, the person plays the same
moves in both. As long as the seat has been shown the same observations and the same legal moves it cannot
know which of the two it is in. So every answer must be the same in both; sessions' secrets are made equal.
"""

from __future__ import annotations

import dataclasses
import random

import pytest
from listed import PLAIN
from visits import Visitor, app_for, lobby

import envs
from agents.play.person import Sitting
from agents.web import server
from agents.web.sessions import Sessions

FORMS = [
    *(
        (envs.make(name), seat)
        for name in ("kuhn_poker", "leduc_poker", "phantom_tictactoe")
        for seat in (0, 1)
    ),
    *((envs.make("liars_dice", sides=3), seat) for seat in (0, 1)),
    *((envs.make("goofspiel"), seat) for seat in (0, 1)),
    *((envs.make("phantom_tictactoe", abrupt=True, reveal="turns"), seat) for seat in (0, 1)),
    *((envs.make("dark_hex", rows=3, cols=4), seat) for seat in (0, 1)),
    *((envs.make("battleship", seats=2, rows=3, cols=3, ships="2,1", shots=4), seat) for seat in (0, 1)),
    *((PLAIN, seat) for seat in (0, 1)),
    (envs.make("battleship"), 0),
    (envs.make("concentration"), 0),
    (envs.make("minesweeper"), 0),
]
"""Games and seats; generals on a map, as random maps are told apart at once."""


@dataclasses.dataclass
class Found:
    """What a probe came to."""

    pairs: int = 0
    different: int = 0


class Side:
    """One of the two: a visitor, and the match behind its page."""

    def __init__(self, game, seed):
        offers = lobby((game, "random"))
        (self.offer,) = offers
        self.sessions = Sessions(offers, seed)
        self.visitor = Visitor(app_for(self.sessions))

    @property
    def match(self):
        return next(iter(self.sessions._sittings.values())).match

    def known(self, seat):
        """What the seat is shown, by the rules; None once it is over."""
        if self.match.over:
            return None
        return self.match.observation(seat).tolist(), self.match.mask().tolist()

    def hidden(self):
        return self.match.text(), self.match.actions

    def answers(self, seat, illegal):
        """All that can be asked for now, whole: bodies, headers, statuses."""
        visitor, fields = self.visitor, self.visitor.fields()
        asked = [
            visitor.get(path)
            for path in ("/match", "/match?from=0", "/match?from=5", f"/boards/{seat}.css", "/")
        ]
        asked.append(visitor.post("/moves", **fields, move=str(illegal)))
        asked.append(visitor.post("/moves", **(fields | {"number": "999"}), move="0"))
        return [(answer.status_code, answer.headers.raw, answer.content) for answer in asked]


def probe(game, seat, wanted, seed=0):
    """Go through matches side by side until so many pairs alike for the seat, different behind, were met."""
    sides, choose, found = (Side(game, 2 * seed), Side(game, 2 * seed + 1)), random.Random(seed), Found()
    for _ in range(200 * wanted):
        begun = [
            side.visitor.post("/matches", **side.visitor.fields(), offer=side.offer, seat=str(seat))
            for side in sides
        ]
        moved = [(answer.status_code, answer.headers.raw, answer.content) for answer in begun]
        while True:
            known = [side.known(seat) for side in sides]
            if known[0] is None or known[0] != known[1]:
                break
            legal = sides[0].match.legal()
            illegal = next((a for a in range(game.actions) if a not in legal), game.actions)
            answers = [[one, *side.answers(seat, illegal)] for one, side in zip(moved, sides, strict=True)]
            if sides[0].hidden() != sides[1].hidden():
                found.pairs += 1
                found.different += answers[0] != answers[1]
            if found.pairs == wanted:
                return found
            action = str(choose.choice(legal))
            played = [side.visitor.post("/moves", **side.visitor.fields(), move=action) for side in sides]
            moved = [(answer.status_code, answer.headers.raw, answer.content) for answer in played]
    raise AssertionError(f"{game}, seat {seat}: only {found.pairs} of {wanted} pairs were found")


@pytest.fixture(autouse=True)
def equal_secrets(monkeypatch):
    """What is random in each session, and tells nothing of a match, is the same in all."""
    monkeypatch.setattr("agents.web.sessions.secrets.token_urlsafe", lambda size: "s" * size)


@pytest.mark.parametrize("wanted", [4, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("game", "seat"), FORMS, ids=str)
def test_the_bytes_of_every_answer_are_equal(game, seat, wanted):
    assert {form.name for form, _ in FORMS} == set(envs.GAMES)
    assert probe(game, seat, wanted) == Found(wanted, 0)


def test_the_long_probe_takes_a_thousand_pairs():
    assert 60 * len(FORMS) >= 1_000


# ---------------------------------------------------------------- and it finds what is there

TICTACTOE = envs.make("phantom_tictactoe")


def test_a_board_that_shows_too_much_is_found(monkeypatch):
    whole = Sitting.view
    monkeypatch.setattr(
        Sitting, "view", lambda self: dataclasses.replace(whole(self), svg=self.match.svg("referee"))
    )
    assert probe(TICTACTOE, 0, 5).different == 5


def test_a_number_that_counts_the_others_attempts_is_found(monkeypatch):
    whole = Sitting.view
    monkeypatch.setattr(
        Sitting, "view", lambda self: dataclasses.replace(whole(self), number=len(self.match.actions))
    )
    assert 1 <= probe(TICTACTOE, 0, 20).different < 20  # only where one has collided more often


def test_a_header_is_found(monkeypatch):
    change = server.Desk._changed

    async def counting(self, session, form, *rest):
        answer = await change(self, session, form, *rest)
        answer.headers["x-attempts"] = str(len(self.sessions._sittings[session.key].match.actions))
        return answer

    monkeypatch.setattr(server.Desk, "_changed", counting)
    assert probe(TICTACTOE, 0, 20).different >= 1
