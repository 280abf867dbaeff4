"""The API reference: pages that show signatures and docstrings, and fetch nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import reference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every page by its path, built as `make docs` builds them."""
    folder = tmp_path_factory.mktemp("reference")
    told = subprocess.run(
        [sys.executable, "scripts/reference.py", str(folder)],
        cwd=ROOT,
        encoding="utf-8",
        capture_output=True,
        check=True,
    )
    warned = [line for line in told.stderr.splitlines() if "Warning: " in line]
    assert [line for line in warned if "type annotation" not in line] == []
    found = {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in folder.rglob("*.html")}
    assert told.stdout.startswith(f"{len(found)} pages in {folder}; begin with ")
    return found


def test_every_public_module_has_a_page(pages):
    assert {f"{name.replace('.', '/')}.html" for name in reference.PUBLIC} <= set(pages)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (
            "agents.html",
            ['id="MaskableRecurrentPPO.learn"', "total_timesteps", "rounded up to whole rollouts"],
        ),
        ("agents.html", ['id="load"', 'id="scan"', 'id="Agent.act"', 'id="CELLS"']),
        (
            "envs.html",
            [
                'id="make"',
                'id="Match.play"',
                'id="Batch.step"',
                "side by side; a match that ends is replaced",
            ],
        ),
        (
            "envs/games/kuhn_poker.html",
            ['id="KuhnPoker"', "slot    codes   meaning\n0       0..3    own card"],
        ),
    ],
)
def test_a_page_shows_names_signatures_and_docstrings(pages, page, told):
    assert [words for words in told if words not in pages[page]] == []


def test_nothing_is_fetched_from_elsewhere(pages):
    loaded = r'<(script|img|iframe|link)[^>]*\b(src|href)=["\']?https?:|@import|url\(["\']?https?:'
    assert [name for name, text in pages.items() if re.search(loaded, text)] == []


def test_what_is_indented_keeps_its_form():
    """Only below a line of text; lists and the sections of a docstring are pdoc's own business."""
    kept = "Args:\n    game: which.\n\n- a list\n    goes on\n\nText.\n\n    code"
    assert reference.preformatted(kept) == kept
    assert reference.preformatted("Rules\n    slot  codes\n    0     0..3\n") == (
        "Rules\n\n    slot  codes\n    0     0..3\n"
    )
