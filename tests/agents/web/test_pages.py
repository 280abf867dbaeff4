"""The pages: what they are made of."""

from __future__ import annotations

import re
from pathlib import Path

from visits import Visitor, usual_app

import agents.web
from agents.web.pages import STATIC, static

WEB = Path(agents.web.__file__).parent


def test_our_own_script_is_short():
    assert sum(len(static(name).splitlines()) for name in STATIC if name.endswith(".js")) <= 200


def test_nothing_comes_from_elsewhere():
    for path in [*WEB.glob("templates/*"), *WEB.glob("static/*")]:
        assert not re.search(r"https?:|//[a-z]", path.read_text(encoding="utf-8").replace("// ", ""))


def test_no_template_has_a_style_or_a_script_of_its_own():
    """The policy that browsers are told would not let them run."""
    for path in WEB.glob("templates/*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<style|\bstyle=|\son\w+=|<script(?! type=\"module\" src=)", text)
        assert text.count("|safe") <= 1  # the drawing


def test_no_two_things_have_one_id():
    visitor = Visitor(usual_app())
    for text in (visitor.get("/").text, visitor.begin("phantom_tictactoe: bot")):
        ids = re.findall(r'\sid="([^"]*)"', text)
        assert len(ids) == len(set(ids)) >= 3


def test_the_board_is_the_drawing_that_is_everywhere():
    visitor = Visitor(usual_app())
    text = visitor.begin("kuhn_poker: bot")
    (shown,) = re.findall(r"<svg .*?</svg>", text, re.S)
    assert shown.startswith(
        '<svg role="img" aria-label="the board, drawn" xmlns="http://www.w3.org/2000/svg"'
    )
    assert "Kuhn poker" in shown
