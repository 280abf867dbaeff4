"""Drawings: what they show, to whom, and the way to pixels."""

from __future__ import annotations

import itertools
import math
import random
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from listed import LISTED
from PIL import Image, ImageFont

import envs
from envs import drawing
from envs.core import REFEREE
from envs.games.generals_maps import CASTLE, MOUNTAIN

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *LISTED,
    ("phantom_tictactoe", {"abrupt": True, "reveal": "turns"}),
    ("dark_hex", {"rows": 2, "cols": 2}),
    ("dark_hex", {"rows": 4, "cols": 6, "abrupt": True}),
    ("dark_hex", {"rows": 5, "cols": 3, "reveal": "turns"}),
    ("battleship", {"seats": 2, "rows": 3, "cols": 4, "ships": "3,2", "shots": 20}),
    ("concentration", {"level": "hard"}),
    ("minesweeper", {"level": "medium"}),
    ("generals", {"map": "AB../..../..0./...#", "max_ticks": 16}),
]
VIEWERS = (REFEREE, 0, 1)  # of a game for two
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
BIG = 100  # fonts are measured at this size


def states_of(game: envs.Game, seed: int) -> Iterator[envs.Match]:
    """A random match, seen before the first move and after every one."""
    chooser = random.Random(seed)
    match = envs.Match(game, seed=seed)
    yield match
    while not match.over:
        match.play(chooser.choice(match.legal()))
        yield match


def viewers(game: envs.Game) -> list[Any]:
    return [REFEREE, *range(game.seats)]


def change_a_card(state: Any, viewer: int) -> None:
    taken = set(state.card.tolist())
    state.card[1 - viewer] = next(card for card in itertools.count(1) if card not in taken)


def change_a_fleet(state: Any, viewer: int) -> None:
    """Ships where the viewer has not shot become water, water becomes ships."""
    board = len(state.ship) - 1 - viewer
    unknown = state.told[viewer] == 0
    state.ship[board, unknown] = state.ship[board, unknown] == 0


def change_cards_face_down(state: Any, _viewer: int) -> None:
    down = state.found == 0
    down[state.turned[state.turned >= 0]] = False
    state.face[down] = (state.face[down] + 1) % state.faces


def change_mines(state: Any, _viewer: int) -> None:
    """Put mines where none lie and take away the others, but for cells that a click has told of."""
    cells = np.arange(len(state.mine))
    rows, cols = cells // state.side, cells % state.side
    clicked = (state.viewed == 1) | (cells == state.last)
    away = np.maximum(abs(rows[:, None] - rows[clicked]), abs(cols[:, None] - cols[clicked]))
    far = (away > 1).all(1)
    state.mine[far] = 1 - state.mine[far]


def change_stones(state: Any, viewer: int) -> None:
    other = 1 - viewer
    unknown = state.known[viewer] == 0
    state.board[unknown] = (state.board[unknown] + 1) % 3
    state.known[other] = (state.known[other] + 1) % 3
    state.last[other] = 0 if state.last[other] < 0 else -1
    state.collided[other] = 1 - state.collided[other]
    state.mover = 1 - max(0, state.mover)
    if not state.over:
        state.seat = 1 - state.seat
    if not state.reveals_turns:
        state.attempts += 1


def change_what_lies_in_fog(state: Any, viewer: int) -> None:
    """Another army and the other one's move; mountains and castles change places."""
    planes = envs.make("generals", rows=int(state.rows), cols=int(state.cols)).observation_space.shape
    seen = np.zeros(planes, np.int16)
    envs.GAMES["generals"].observe(state, viewer, seen)
    hidden = (seen[7] + seen[8]).ravel() > 0
    structures = hidden & np.isin(state.terrain, (MOUNTAIN, CASTLE))
    state.terrain[structures] = MOUNTAIN + CASTLE - state.terrain[structures]
    state.army[hidden] += 1
    if viewer != 0:
        state.move = 0


def change_dice(state: Any, viewer: int) -> None:
    """The opponent's."""
    state.die[1 - viewer] = np.where(state.die[1 - viewer] > 0, 7 - state.die[1 - viewer], 0)


def change_bids(state: Any, viewer: int) -> None:
    """The opponent's: laid aside, or committed."""
    cards, other = len(state.prize), state.bid[1 - viewer]
    other[:] = np.where(other > 0, cards + 1 - other, 0)
    if viewer == 1 and state.committed:
        state.committed = cards + 1 - state.committed


CHANGE = {
    "liars_dice": change_dice,
    "goofspiel": change_bids,
    "kuhn_poker": change_a_card,
    "leduc_poker": change_a_card,
    "phantom_tictactoe": change_stones,
    "dark_hex": change_stones,
    "battleship": change_a_fleet,
    "concentration": change_cards_face_down,
    "minesweeper": change_mines,
    "generals": change_what_lies_in_fog,
}
"""Changes everything in a game's state that a viewer may not know."""


def texts_of(svg: str) -> Iterator[tuple[str, float, float]]:
    """Every upright text of the document with the x where it begins and ends."""

    def walk(node: ET.Element, x: float) -> Iterator[tuple[str, float, float]]:
        if "rotate" in node.get("transform", ""):
            return
        x += float(node.get("transform", "translate(0 0)").removeprefix("translate(").split()[0])
        if node.tag.endswith("text"):
            face = "DejaVuSans-Bold.ttf" if node.get("font-weight") == "bold" else "DejaVuSans.ttf"
            said = node.text or ""
            length = (
                ImageFont.truetype(FONTS / face, BIG).getlength(said) / BIG * float(node.get("font-size", 0))
            )
            start = x + float(node.get("x", 0))
            start -= {"start": 0.0, "middle": 0.5, "end": 1.0}[node.get("text-anchor", "start")] * length
            yield said, start, start + length
        for child in node:
            yield from walk(child, x)

    yield from walk(ET.fromstring(svg), 0.0)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_step_is_drawn_for_everyone_on_a_page_of_constant_size(
    name: str, options: dict[str, Any]
) -> None:
    game = envs.make(name, **options)
    sizes: dict[Any, set[tuple[str, ...]]] = {viewer: set() for viewer in viewers(game)}
    for seed in range(3):
        for match in states_of(game, seed):
            for viewer in sizes:
                root = ET.fromstring(match.svg(viewer))
                assert root.tag == "{http://www.w3.org/2000/svg}svg"
                sizes[viewer].add((root.attrib["width"], root.attrib["height"], root.attrib["viewBox"]))
    assert {len(seen) for seen in sizes.values()} == {1}


@pytest.mark.parametrize(
    ("name", "options"),
    [*VARIANTS, ("dark_hex", {"rows": 19, "cols": 19, "abrupt": True, "reveal": "turns"})],
)
def test_no_word_leaves_the_page(name: str, options: dict[str, Any]) -> None:
    *_, last = states_of(envs.make(name, **options), seed=4)
    for viewer in viewers(last.game):
        svg = last.svg(viewer)
        width = float(ET.fromstring(svg).attrib["width"])
        outside = [said for said, start, end in texts_of(svg) if start < 2 or end > width - 2]
        assert outside == []


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_seat_is_shown_nothing_that_is_hidden_from_it(name: str, options: dict[str, Any]) -> None:
    game = envs.make(name, **options)
    changes = 0
    for match, viewer in ((match, viewer) for match in states_of(game, 7) for viewer in range(game.seats)):
        twin = match.copy()
        CHANGE[name](twin.state, viewer)
        if twin.state.tobytes() == match.state.tobytes():
            continue  # nothing is hidden any more
        changes += 1
        assert twin.svg(viewer) == match.svg(viewer)
        assert twin.text(viewer) == match.text(viewer)
        assert twin.observation(viewer).tolist() == match.observation(viewer).tolist()
        if viewer == match.seat == twin.seat:
            assert twin.legal() == match.legal()
        assert twin.svg(REFEREE) != match.svg(REFEREE)
        assert twin.text(REFEREE) != match.text(REFEREE)
    assert changes > 1


def test_the_other_ones_collisions_are_invisible() -> None:
    """x takes the centre; o runs into it, tries again, and only o and the referee see the collision."""
    match = envs.Match(envs.make("phantom_tictactoe"))
    match.play(4)
    before = match.svg(0), match.text(0)
    match.play(4)
    assert (match.svg(0), match.text(0)) == before
    assert [drawing.COLLISION in match.svg(viewer) for viewer in VIEWERS] == [True, False, True]
    assert match.text(1).splitlines() == [
        "  a b c",
        "1 . . .",
        "2 . x .",
        "3 . . .",
        "seen by o   o collided on b2",
    ]
    assert match.text().splitlines()[-1] == "o to move, attempts: 2   x placed b2   o collided on b2"
    match.play(0)
    assert (match.svg(0), match.text(0)) == before
    assert match.text(1).splitlines()[-1] == "seen by o   o placed a1"


def test_the_result_is_told_to_everyone() -> None:
    """x fills the middle column, o the left one but for its last cell."""
    match = envs.Match(envs.make("phantom_tictactoe", reveal="turns"))
    for cell in (1, 0, 4, 3, 7):
        match.play(cell)
    assert match.text(1).splitlines()[-1] == "seen by o, attempts: 5, x wins   o placed a2"
    assert all("x wins" in match.svg(viewer) for viewer in VIEWERS)


def test_a_poker_hand_is_told_with_its_price() -> None:
    match = envs.Match(envs.make("kuhn_poker"), chance="ask")
    assert match.text() == "seat 0: ?   seat 1: ?   moves: -\ndealing"
    for move in (2, 0, 1, 1):  # king, jack, bet, bet
        match.play(move)
    assert match.text(1) == "seat 0: ?   seat 1: J   moves: bet bet\nseat 0 wins 2"
    assert "pot 4" in match.svg(1)
    assert "seen by seat 1: seat 0 wins 2" in match.svg(1)
    assert [">K<" in match.svg(viewer) for viewer in VIEWERS] == [True, True, False]
    assert [">J<" in match.svg(viewer) for viewer in VIEWERS] == [True, False, True]


def test_a_match_of_battleship_in_letters() -> None:
    """Two seats on 2 x 3 cells: each lays a ship of two, then seat 0 hits, seat 1 misses, seat 0 sinks."""
    match = envs.Match(envs.make("battleship", seats=2, rows=2, cols=3, ships="2", shots=3))
    assert match.text(0).splitlines()[-1] == "seen by seat 0: seat 0 places a ship of 2, shots: 0 and 0 of 3"
    for action in (6 + 0, 12 + 2, 2, 5, 5):  # across from a1, down from c1, then shots at c1, c2, c2
        match.play(action)
    assert [match.game.action_name(action) for action in match.actions] == [
        "a1 across",
        "c1 down",
        "c1",
        "c2",
        "c2",
    ]
    assert match.text(0).splitlines() == [
        "own fleet",
        "  a b c",
        "1 # # .",
        "2 . . o",
        "seat 1's waters",
        "  a b c",
        "1 . . x",
        "2 . . X",
        "seen by seat 0: seat 0 wins, shots: 2 and 1 of 3",
    ]
    assert match.text(1).splitlines()[:4] == ["own fleet", "  a b c", "1 . . x", "2 . . X"]


def test_matches_for_one_in_letters() -> None:
    """Easy minesweeper: a clear cell, then a mine. Hard concentration: two cards that do not match."""
    match = envs.Match(envs.make("minesweeper"), seed=1)
    match.state.mine[:] = 0
    match.state.mine[[1, 10]] = 1
    match.play(5)
    match.play(1)
    assert match.text(0).splitlines() == [
        "  a b c d",
        "1 . * . .",
        "2 . 2 . .",
        "3 . . . .",
        "4 . . . .",
        "1 of 14 clear, 2 clicks: hit a mine",
    ]
    assert match.text().splitlines()[3] == "3 . . * ."

    match = envs.Match(envs.make("concentration", level="hard"), seed=1)
    match.state.face[:] = np.arange(52) % 13
    match.play(0)
    match.play(25)
    assert match.text(0).splitlines()[1:3] == ["1 A . . . . . . . . . . . .", "2 . . . . . . . . . . . . K"]
    assert match.text().splitlines()[1].startswith("1 A  2. 3. 4.")
    match.play(1)
    assert match.text(0).splitlines()[1:3] == ["1 . 2 . . . . . . . . . . .", "2 . . . . . . . . . . . . ."]


def test_neighbours_in_the_rules_touch_in_the_drawing() -> None:
    """On 3 x 3 cells the manual names the neighbours of 4: 1 2 3 5 6 7. They alone are one cell away."""
    centres = drawing.hex_board(3, 3).centres
    away = [math.dist(centres[4], centre) for centre in centres]
    width = away[1]
    assert away == pytest.approx([away[0], width, width, width, 0, width, width, width, away[8]])
    assert min(away[0], away[8]) > 1.5 * width


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_pixels_are_those_of_the_page(name: str, options: dict[str, Any]) -> None:
    svg = envs.Match(envs.make(name, **options), seed=1).svg()
    root = ET.fromstring(svg)
    pixels = drawing.rasterise(svg)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (int(root.attrib["height"]), int(root.attrib["width"]), 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # paper, ink, colours and their blends
    assert drawing.rasterise(svg, width=200).shape[1:] == (200, 3)


def test_words_are_drawn_without_a_display_or_installed_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "HOME", "XDG_DATA_HOME", "FONTCONFIG_PATH"):
        monkeypatch.delenv(variable, raising=False)
    for bold in (False, True):
        drawn = drawing.rasterise(drawing.document(80, 40, drawing.words(40, 28, "fog", 24, bold=bold)))
        assert (drawn < 100).all(axis=2).sum() > 100  # pixels of ink


def test_a_match_becomes_an_endless_gif(tmp_path: Path) -> None:
    frames = [
        drawing.rasterise(match.svg(), width=300)
        for match in states_of(envs.make("phantom_tictactoe"), seed=2)
    ]
    path = tmp_path / "match.gif"
    drawing.save_gif(path, frames, frames_per_second=4)
    with Image.open(path) as gif:
        assert gif.n_frames == len(frames)  # type: ignore[attr-defined]
        assert gif.info["loop"] == 0
        assert gif.size == frames[0].shape[1::-1]
        durations = []
        for k, frame in enumerate(frames):
            gif.seek(k)
            durations.append(gif.info["duration"])
            difference = np.abs(np.asarray(gif.convert("RGB"), int) - frame)
            assert difference.mean() < 2  # 256 colours suffice
    assert durations == [250] * (len(frames) - 1) + [1000]


def test_what_stays_the_same_in_a_gif_keeps_its_colour(tmp_path: Path) -> None:
    """Shades in the upper half, all of them in every frame; a disc of another colour below in each."""
    shades = np.linspace(0, 255, 300).astype(np.uint8)
    frames = np.zeros((5, 40, 300, 3), np.uint8)
    frames[:, :20] = shades[:, None]
    for k in range(5):
        frames[k, 25:35, 50 * k : 50 * k + 20] = (200, 50 * k, 40)
    drawing.save_gif(tmp_path / "shades.gif", list(frames))
    with Image.open(tmp_path / "shades.gif") as gif:
        shown = []
        for k in range(5):
            gif.seek(k)
            shown.append(np.asarray(gif.convert("RGB"), int))
    assert all((frame[:20] == shown[0][:20]).all() for frame in shown)
    assert abs(np.stack(shown) - frames).max() < 16


def test_a_gif_needs_frames_of_one_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame"):
        drawing.save_gif(tmp_path / "none.gif", [])
    with pytest.raises(ValueError, match=r"one shape, got \[\(2, 3, 3\), \(3, 2, 3\)\]"):
        drawing.save_gif(tmp_path / "two.gif", [np.zeros((3, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)])
