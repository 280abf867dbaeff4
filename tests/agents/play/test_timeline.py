"""What agents expected along a match, drawn."""

from __future__ import annotations

import re

import pytest
from models import model_of
from saved import TICTACTOE

import envs
from agents.play.agent_file import load_player
from agents.play.story import story_of
from agents.play.timeline import BOTTOM, LEFT, TOP, timeline, values_of
from envs import Match
from envs.drawing import SEATS, rasterise

MOVES = [0, 1, 3, 3, 4, 6]
"""x a1, o b1, x a2, o tries a2 and then b2, x a3 and has the column."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    path = tmp_path_factory.mktemp("agent") / "one.zip"
    model_of(envs.Batch(TICTACTOE, 8)).save(path)
    return load_player(path, None)


def points(svg, colour):
    """The points of the line of that colour."""
    (told,) = re.findall(rf'<polyline [^>]*points="([^"]+)"[^>]*stroke="{colour}"', svg)
    return [tuple(map(float, point.split(","))) for point in told.split()]


def test_the_values_are_those_of_the_thoughts_seat_by_seat(agent):
    story = story_of(Match(TICTACTOE, 0), MOVES, ["one", "other"], [agent, agent])
    told = values_of(story)
    assert {seat: [move for move, _ in line] for seat, line in told.items()} == {0: [1, 3, 6], 1: [2, 4, 5]}
    assert all(value == story.thoughts[move].value for line in told.values() for move, value in line)


def test_the_line_of_one_agent(agent):
    """The returns, +1 and -1, are the ends of the scale: 0 lies in the middle."""
    story = story_of(Match(TICTACTOE, 0), MOVES, ["person", "agent"], [None, agent])
    svg = timeline(story, 2)
    found = points(svg, SEATS[1])
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    assert all(x > LEFT for x, _ in found)
    for (_, y), move in zip(found, (2, 4, 5), strict=True):
        value = story.thoughts[move].value
        assert abs(value) < 1
        assert y == pytest.approx((TOP + BOTTOM) / 2 - value * (BOTTOM - TOP) / 2, abs=0.06)
    assert ">+1</text>" in svg
    assert "seat 1" in svg
    assert "seat 0" not in svg
    assert timeline(story, 3) != svg
    assert rasterise(svg).shape[2] == 3


def test_nobody_thought():
    story = story_of(Match(TICTACTOE, 0), MOVES, ["one", "other"])
    assert timeline(story, 0) is None
