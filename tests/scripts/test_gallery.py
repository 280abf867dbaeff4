"""The gallery: what `scripts/gallery.py` draws is what lies in docs/."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

import envs
import gallery

PAGE = (gallery.DOCS / "gallery.md").read_text(encoding="utf-8")


def test_every_game_has_its_picture_on_the_page():
    assert re.findall(r"^## (\w+)$", PAGE, re.M) == list(envs.GAMES)
    assert re.findall(r"\(gallery/(\w+)\.svg\)", PAGE) == list(envs.GAMES)
    assert {path.stem for path in (gallery.DOCS / "gallery").iterdir()} == set(envs.GAMES)


@pytest.mark.parametrize("name", ["kuhn_poker", "dark_hex", "minesweeper"])
def test_the_script_draws_what_lies_there(name):
    """If a drawing was changed on purpose: python scripts/gallery.py, and look at the pictures."""
    shown = gallery.draw(name)
    assert shown.svg == (gallery.DOCS / "gallery" / f"{name}.svg").read_text(encoding="utf-8")
    assert gallery.section(name, shown.caption) in PAGE


def test_an_option_is_told_with_its_default_and_its_sentence():
    assert gallery.options_of(envs.GAMES["dark_hex"])["rows = 3"] == "Of the board, 2..19."
    assert gallery.options_of(envs.GAMES["kuhn_poker"]) == {}


def test_pictures_side_by_side_are_one_picture():
    """40 x 10 beside 20 x 30, at their own sizes."""
    both = gallery.side_by_side(gallery.document(40, 10), gallery.document(20, 30))
    assert gallery.size_of(both) == (60, 30)
    inner = [(one.get("x"), one.get("width"), one.get("height")) for one in ET.fromstring(both)[1:]]
    assert inner == [("0", "40", "10"), ("40", "20", "30")]
