"""The board of a page: its cells, what they say, and where they lie on the drawing."""

from __future__ import annotations

import itertools
import re

import pytest
from listed import LISTED

import envs
from agents.play.person import Sitting
from agents.play.players import fixed_player
from agents.web.grid import aloud, grids_of, ground_of, placing, size_of, without_grids

VARIANTS = [
    *LISTED,
    ("battleship", {"seats": 2, "rows": 3, "cols": 4, "ships": "2"}),
    ("dark_hex", {"rows": 11}),
]
ON_BOARDS = {"phantom_tictactoe", "dark_hex", "battleship", "concentration", "minesweeper", "generals"}


def sat(game, seat=0, *moves):
    sitting = Sitting(game, fixed_player("random", game, 1), seat, seed=2)
    for move in moves:
        sitting.play(move)
    return sitting.view()


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_every_legal_move_is_offered_once(name, options):
    game = envs.make(name, **options)
    view = sat(game)
    ground = ground_of(game, view)
    assert bool(game.spots(0)) == (name in ON_BOARDS)
    cells = [cell for board in ground.boards for row in board for cell in row]
    offered = [cell.action for cell in cells if cell.action is not None] + [m.action for m in ground.moves]
    for source in [cell.source for cell in cells if cell.source is not None]:
        offered += [m.action for m in ground_of(game, view, source).moves if m.name.split()[0] != "pass"]
    assert sorted(offered) == [move.action for move in view.moves]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
@pytest.mark.parametrize("seat", [0, 1])
def test_cells_lie_side_by_side_on_the_drawing(name, options, seat):
    game = envs.make(name, **options)
    if seat >= game.seats or name not in ON_BOARDS:
        pytest.skip("no such board")
    width, height = size_of(envs.Match(game, 0).svg(seat))
    spots = {spot[:2]: spot for spot in game.spots(seat).values()}
    for spot in spots.values():
        assert spot.side / 2 <= spot.x <= width - spot.side / 2
        assert spot.side / 2 <= spot.y <= height - spot.side / 2
    for a, b in itertools.combinations(spots.values(), 2):
        assert max(abs(a.x - b.x), abs(a.y - b.y)) >= 0.99 * a.side


def test_a_cell_lies_where_the_drawing_has_its_labels():
    """The middle cell of tic-tac-toe: below the letter b, beside the number 2."""
    game = envs.make("phantom_tictactoe")
    spot = game.spots(0)[4]
    drawing = envs.Match(game, 0).svg(0)
    panel = re.search(
        r'<g transform="translate\(24 114\)">.*?<g transform="translate\(([\d.]+) 40\)">', drawing
    )
    assert panel is not None
    left = 24 + float(panel[1])
    letter = re.search(r'<text x="([\d.]+)" y="[\d.]+"[^>]*>b</text>', drawing)
    number = re.search(r'<text x="[\d.]+" y="([\d.]+)"[^>]*>2</text>', drawing)
    assert spot.x == left + float(letter[1])
    assert spot.y == pytest.approx(114 + 40 + float(number[1]), abs=6)  # the baseline of a number of size 14
    assert placing([spot], (328, 472)).splitlines()[0] == (
        ".at-0-4{left:39.0244%;top:53.3898%;width:21.9512%;height:15.2542%}"
    )


def test_cells_say_what_the_seat_knows():
    game = envs.make("phantom_tictactoe")
    (board,) = ground_of(game, sat(game, 0, 4)).boards
    assert [cell.said for cell in board[1]] == ["a2: unknown", "b2: x", "c2: unknown"]
    assert [cell.action for cell in board[1]] == [3, None, 5]


def test_moves_from_cell_to_cell():
    """The general in a1 has 2 from tick 2 on, and may go right or down."""
    game = envs.make("generals", map="A.../..../..../...B")
    view = sat(game, 0, 128, 128)
    (board,) = ground_of(game, view).boards
    assert board[0][0].said == "a1: general of A, army 2"
    assert board[0][0].source == 0
    assert board[0][2].said == "c1: fog"
    assert [move.name for move in ground_of(game, view).moves] == ["pass"]
    chosen = ground_of(game, view, 0)
    (board,) = chosen.boards
    assert board[0][0].is_chosen
    assert board[0][1].said == "b1: plain, a1 right"
    assert game.action_name(board[0][1].action) == "a1 right"
    assert game.action_name(board[1][0].action) == "a1 down"
    assert chosen.chosen == "a1"
    assert [m.name for m in chosen.moves] == [
        "a1 down",
        "a1 down (half)",
        "a1 right",
        "a1 right (half)",
        "pass",
    ]
    assert ground_of(game, view, 5) == ground_of(game, view)  # nothing may be moved from there


def test_ships_are_placed_on_the_own_board_and_shots_made_on_the_other():
    game = envs.make("battleship", seats=2, rows=3, cols=3, ships="2", shots=4)
    view = sat(game)
    (board,) = ground_of(game, view).boards
    assert board[0][0].place == "at-0-0"
    (board,) = ground_of(game, sat(game, 0, 9)).boards  # a1 across
    assert [cell.place for cell in board[2]] == ["at-1-6", "at-1-7", "at-1-8"]
    assert board[0][0].said == "a1: unknown or water"  # of the other's waters


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_grids_are_read_from_the_text(name, options):
    game = envs.make(name, **options)
    text = sat(game).text
    cells = {spot[:2] for spot in game.spots(0).values()}
    assert sum(map(len, grids_of(text))) == len(cells)
    assert len(text.splitlines()) - len(without_grids(text)) == sum(
        1 + len({game_row[1:] for game_row in grid}) for grid in grids_of(text)
    )


def test_signs_aloud():
    signs = {".": "plain", "a": "land of A, army"}
    assert [aloud(signs, sign) for sign in (".", "a12*", "a", "x", "")] == [
        *("plain", "land of A, army 12*", "land of A, army", "x", ""),
    ]
    with pytest.raises(ValueError, match="expected an SVG document"):
        size_of("<p>")
