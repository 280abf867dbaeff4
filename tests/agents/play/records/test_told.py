"""What is told of records: counts and returns that one can check by hand, and rows of CSV."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import envs
from agents.play import records
from agents.play.records import told

GAME = envs.make("dark_hex")


@pytest.fixture
def matches():
    """x wins by a1 a2 a3, o wins by a2 b2 c2, and one match is stopped; ann is x twice, bob once."""
    actions = [[0, 1, 3, 4, 6], [0, 3, 1, 4, 2, 2, 5], [8]]
    return records.played(
        GAME,
        [None] * 3,
        np.array([a for row in actions for a in row], np.int32),
        np.cumsum([0, *map(len, actions)]),
        ["ann", "bob"],
        np.array([[0, 1], [0, 1], [1, 0]]),
    )


def test_returns_by_player(matches):
    """ann won one of two as x, bob one of two as o; the match that was stopped counts for neither."""
    ann, bob = told.standings(matches)
    assert (ann.name, ann.matches, ann.win, ann.draw, ann.loss, ann.by_seat) == (
        "ann",
        2,
        0.5,
        0,
        0.5,
        {0: 0},
    )
    assert (bob.name, bob.matches, bob.mean, bob.by_seat) == ("bob", 2, 0.0, {1: 0})
    assert -1.0 <= ann.interval[0] < 0.0 < ann.interval[1] <= 1.0
    assert told.ends(matches) == {"over": 2, "forfeit": 0, "stopped": 1}


def test_the_most_frequent_moves(matches):
    """Of 13 decisions a1, b1, c1, a2 and b2 are two each."""
    moves = told.moves(matches)
    assert moves[0] == ("a1", 2, 2 / 13)
    assert {name for name, count, _ in moves if count == 2} == {"a1", "b1", "c1", "a2", "b2"}
    assert sum(count for _, count, _ in moves) == 13
    assert len(told.moves(matches, 3)) == 3


def test_a_decision_is_a_row(matches, tmp_path):
    path = tmp_path / "matches.csv"
    assert told.export(matches, path) == 13
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {
        "match": "0",
        "decision": "1",
        "seat": "1",
        "player": "bob",
        "action": "1",
        "name": "b1",
        "return": "-1.0",
    }
    assert [row["name"] for row in rows[5:12]] == ["a1", "a2", "b1", "b2", "c1", "c1", "c2"]
    assert [row["seat"] for row in rows[5:12]] == ["0", "1", "0", "1", "0", "1", "1"]
    assert rows[12]["player"] == "bob"
