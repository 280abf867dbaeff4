"""Films: one HTML file with a slider, and what a notebook shows."""

from __future__ import annotations

import html
import re

import pytest

import envs
from envs.film import Film, Frame, film_of

TICTACTOE = envs.make("phantom_tictactoe")


@pytest.fixture
def match():
    """x a1, o b1, x a2, o tries a2 and then b2."""
    one = envs.Match(TICTACTOE, 0)
    for move in (0, 1, 3, 3, 4):
        one.play(move)
    return one


def test_a_film_of_a_match(match):
    film = film_of(match)
    assert len(film.frames) == 6
    assert film.frames[4].caption == "move 4: seat 1 plays a2"
    assert film.frames[-1].svg == match.svg()
    page = film.html()
    assert page.count("<svg ") == page.count("<figure>") == 6
    assert 'max="5"' in page


def test_a_seats_film_tells_no_more_than_the_seat_knows(match):
    """x sees its own two moves, and nothing between: not even that o moved twice."""
    film = film_of(match, 0)
    assert [frame.caption for frame in film.frames] == [
        *("before the first move", "seat 0 plays a1", "seat 0 plays a2"),
    ]
    assert [frame.caption for frame in film_of(match, 1).frames] == [
        *("before the first move", "seat 1 plays b1", "seat 1 plays a2", "seat 1 plays b2"),
    ]


def test_nothing_comes_from_elsewhere_and_titles_are_escaped():
    page = Film("<b>", [Frame("<svg></svg>", "a < b")]).html()
    assert "<b>" not in page
    assert "a &lt; b" in page
    assert not re.search(r"(src|href)=", page)
    assert "default-src 'none'" in page
    with pytest.raises(ValueError, match="needs frames"):
        Film("none", [])


def test_what_a_notebook_shows(match):
    assert match._repr_svg_() == match.svg()
    film = film_of(match)
    shown = film._repr_html_()
    (inner,) = re.findall(r'srcdoc="([^"]*)"', shown)
    assert html.unescape(inner) == film.html()
    assert 'sandbox="allow-scripts"' in shown
