"""Matches played again: a record gives every game's match back, and nothing impossible is played."""

from __future__ import annotations

import numpy as np
import pytest
from listed import LISTED

import envs
from envs.core import CHANCE
from envs.replay import FINE, ILLEGAL, IMPOSSIBLE, MISSING, Columns, Script, dealt, drawn, replay, told_bytes

OTHERS = [
    ("battleship", {"seats": 2, "rows": 4, "cols": 4, "ships": "2,3", "shots": 8}),
    ("battleship", {"level": "hard"}),
    ("concentration", {"level": "hard"}),
    ("dark_hex", {"abrupt": True, "reveal": "turns"}),
    ("generals", {"map": "A.../..../..../...B", "max_ticks": 12}),
    ("goofspiel", {"order": "random"}),
    ("minesweeper", {"level": "medium"}),
]
GAMES = [*LISTED, *OTHERS]
KUHN = envs.make("kuhn_poker")


def random_matches(game, count):
    """Matches to their ends, seeds 0, 1, ..., and all their actions."""
    random, matches = np.random.default_rng(0), []
    for seed in range(count):
        match = envs.Match(game, seed)
        while not match.over:
            match.play(int(random.choice(match.legal())))
        matches.append(match)
    return matches


def flat(rows):
    """Rows of integers as a script has them."""
    return np.array([x for row in rows for x in row], np.int32), np.cumsum([0, *map(len, rows)])


def script(actions, outcomes):
    return Script(*flat(actions), *flat(outcomes))


@pytest.mark.parametrize(("name", "options"), GAMES)
def test_actions_outcomes_and_the_deal_give_the_match_back(name, options):
    """The outcomes that the seeds drew, found again; then without any seed, the deal in its letters."""
    game = envs.make(name, **options)
    matches = random_matches(game, 12)
    begun = dealt(game, np.arange(12, dtype=np.uint64), [None] * 12)
    found, told = drawn(game, begun, *flat([match.actions for match in matches]))
    assert (told.fault == FINE).all()
    assert told.over.all()
    for n, match in enumerate(matches):
        assert all((told.states[n][field] == match.state[field]).all() for field in game.state.names)
        assert told.returns[n].tolist() == match.returns.tolist()
        assert told.decisions[n] == len(match.actions)
    texts = [game.deal_text(state) for state in begun]
    assert (texts[0] is None) == (begun["draws"] == 0).all()
    again = replay(game, dealt(game, np.zeros(12, np.uint64), texts), found)
    is_told = told_bytes(game)
    for n, match in enumerate(matches):
        mine, its = (np.frombuffer(state.tobytes(), np.uint8) for state in (again.states[n], match.state))
        assert (mine[is_told] == its[is_told]).all()
        given = found.outcomes[found.outcome_begins[n] : found.outcome_begins[n + 1]].tolist()
        one = envs.Match(game, 0, given, texts[n])
        for action in match.actions:
            one.play(action)
        assert one.text() == match.text()
        assert one.returns.tolist() == match.returns.tolist()


def test_why_a_replay_stops():
    """Kuhn poker, cards 1 (king to seat 0) and 0: bet, bet is a showdown that pays 2."""
    begun = dealt(KUHN, np.zeros(6, np.uint64), [None] * 6)
    actions = [[1, 1], [1, 2], [1], [1, 1, 0], [1, 1], [1, 1]]
    outcomes = [[1, 0], [1, 0], [1, 0], [1, 0], [1, 1], [1]]
    told = replay(KUHN, begun, script(actions, outcomes))
    assert told.fault.tolist() == [FINE, ILLEGAL, FINE, FINE, IMPOSSIBLE, MISSING]
    assert told.over.tolist() == [True, False, False, True, False, False]
    assert told.decisions.tolist() == [2, 1, 1, 2, 0, 0]
    assert told.drawn.tolist() == [2, 2, 2, 2, 1, 1]
    assert told.returns[0].tolist() == [2.0, -2.0]
    assert (begun["seat"] == CHANCE).all()  # what was given stays as it was


@pytest.mark.parametrize(
    ("name", "options", "text", "told"),
    [
        ("minesweeper", {}, "..../..../..*./....", "2 of them mines"),
        ("minesweeper", {}, "..../..../.**./...", "4 rows of 4 cells"),
        ("concentration", {}, "b" * 52, "26 of each of br"),
        ("battleship", {}, "/".join(["........"] * 8), "the ships of 2,3,3,4 cells"),
        (
            "battleship",
            {},
            "aabbb.../" + "/".join(["ccc....."] + ["d......."] * 3 + ["........"] * 3),
            "cells",
        ),
        ("generals", {"rows": 4, "cols": 4}, "A..../...../...../....B", "4 x 4 cells"),
        ("generals", {"rows": 4, "cols": 4}, "A.../..../..../....", "one A and one B"),
        ("generals", {"rows": 4, "cols": 4}, "A0../.x../..../...B", "at most 0 castles"),
        ("generals", {"rows": 4, "cols": 4}, "A#../#.../..../...B", "a way from A to B"),
        ("generals", {"map": "A.../..../..../...B"}, "A.../..../..../...B", "the map is an option"),
        ("dark_hex", {}, "...", "no set-up in letters"),
    ],
)
def test_a_set_up_that_is_none_is_refused(name, options, text, told):
    game = envs.make(name, **options)
    with pytest.raises(ValueError, match=told) as refused:
        dealt(game, np.zeros(2, np.uint64), [None, text])
    assert refused.value.at == 1
    with pytest.raises(ValueError, match=told):
        envs.Match(game, deal=text)


def test_a_ship_that_is_bent_or_broken_is_none():
    rows = ["aa......", "bbb.....", "ccc.....", "dddd....", *["........"] * 4]
    game = envs.make("battleship")
    assert game.deal_text(game.dealt("/".join(rows))) == "/".join(rows)
    for k, bad in ((3, "ddd....d"), (2, "cc...c.."), (0, "a.a....."), (1, "bbbb....")):
        with pytest.raises(ValueError, match="the ships of"):
            game.dealt("/".join([*rows[:k], bad, *rows[k + 1 :]]))


def test_outcomes_that_are_given_to_a_match_are_looked_at():
    assert envs.Match(KUHN, 0, [2, 0]).text().startswith("seat 0: K   seat 1: J")
    with pytest.raises(ValueError, match=r"outcome 2 cannot come; possible are \[0, 1\]"):
        envs.Match(KUHN, 0, [2, 2])
    with pytest.raises(ValueError, match="1 outcomes of chance were given, one more is due"):
        envs.Match(KUHN, 0, [2])
    with pytest.raises(ValueError, match="'draw', 'ask' or a list"):
        envs.Match(KUHN, 0, "ak")


def test_columns_refuse_a_script_that_is_none():
    begun = dealt(KUHN, np.zeros(1, np.uint64), [None])
    columns, lengths = Columns(KUHN, 1), np.array([2])
    with pytest.raises(ValueError, match="one of them cannot be played"):
        columns.show(2, script([[1, 3]], [[1, 0]]), lengths, np.array([0]), np.array([0, 1]), begun)
