"""A match that was played, moment by moment."""

from __future__ import annotations

import envs
from agents.play.story import story_of
from envs import Match

TICTACTOE = envs.make("phantom_tictactoe")


def test_moments():
    """x a1, o b1, x a2, o tries a2 and then b2, x a3 and has the column."""
    moves = [0, 1, 3, 3, 4, 6]
    story = story_of(Match(TICTACTOE, 0), moves, ["one", "other"])
    assert (story.plies, story.seats) == (6, 2)
    assert story.title == "phantom_tictactoe: one (seat 0) against other (seat 1)"
    assert story.captions[0] == "before the first move"
    assert story.captions[4] == "move 4: other (seat 1) plays a2"
    assert story.captions[6] == "move 6: one (seat 0) plays a3; returns +1, -1"
    assert story.thoughts == (None,) * 7
    assert story.text(3, 1) != story.text(4, 1)  # a collision, which x does not see
    assert story.text(3, 0) == story.text(4, 0)
    assert story.svg(6, "referee") == story.matches[6].svg()
    assert [len(match.actions) for match in story.matches] == list(range(7))
