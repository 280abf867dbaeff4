"""Dark hex: Hex in which you do not see the opponent's stones.

Rules
    Black (seat 0, x) moves first and connects the top edge with the bottom edge; white (seat 1, o)
    connects left with right. A move names a cell the mover does not know to be taken. On an empty cell
    the stone is placed and the turn passes. On a cell the opponent holds the mover learns of that
    stone and, in the classical game, tries again at once; in the abrupt game (`abrupt=True`) the turn
    is lost. The opponent is told nothing. There is no swap rule, and no draw is possible.

Options
    rows, cols   3, 3    size of the board, 2..19 each
    abrupt       False   a collision costs the turn
    reveal       "nothing", or "turns": both seats are told how many attempts were made in all

Observation, uint8 [rows * cols], with reveal="turns" one slot more (two from 65 cells on)
    slot        codes   meaning
    0..R*C-1    0..2    the cell: unknown, own stone, opponent's stone found by a collision
    R*C ..      0..127  attempts made by both seats in base 128, low digit first

Actions
    row * cols + column; legal are the cells the mover knows nothing of, truly occupied ones among them.

Rewards
    +1 for the winner and -1 for the loser, at the end.

Source of the rules: OpenSpiel `dark_hex` (gameversion cdh / adh).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from envs.core import REFEREE, Game, Spot, State, Viewer, record, verb
from envs.drawing import cell_name, hex_board, spots
from envs.rules import phantom
from envs.rules.grids import hex_beside
from envs.rules.phantom import attempt

START, GOAL = 1, 2  # the two edges a seat has to connect, as bits


def dark_hex_record(cells: int) -> np.dtype[Any]:
    """The state: a board of hexagons, and which stones are linked.

      a b c
    1  0 1 2
     2  3 4 5         cells of a 3 x 3 board. Beside 4 lie 1 and 2 above,
      3  6 7 8        3 and 5 in its row, 6 and 7 below
    """
    return record(
        2,
        ("parent", np.int16, (cells,)),  # of each stone in its group's tree
        ("edges", np.uint8, (cells,)),  # at a root: edges its group touches, START | GOAL
        ("rows", np.int16),
        ("cols", np.int16),
        *phantom.fields(cells),
    )


@verb
def deal(s: State) -> None:
    """The board is empty."""
    phantom.begin(s)


@verb
def play(s: State, action: int) -> None:
    """Try a cell; a placed stone may connect the seat's edges."""
    seat = s.seat
    if attempt(s, action) and connects_edges(s, seat, action):
        s.over = True
        s.reward[seat] = 1.0
        s.reward[1 - seat] = -1.0


@verb
def connects_edges(s: State, seat: int, cell: int) -> bool:
    """Join the new stone with its neighbours; does its group now touch both edges of its seat?

    Groups are kept as a union-find forest: `parent` leads from every stone to its group's root, and
    the root's `edges` tell which edges the group touches.
    """
    rows, cols = s.rows, s.cols
    row, col = cell // cols, cell % cols
    s.parent[cell] = cell
    s.edges[cell] = edges_at(row, col, seat, rows, cols)
    for k in range(6):
        beside = hex_beside(row, col, k, rows, cols)
        if beside >= 0 and s.board[beside] == seat + 1:
            join(s, beside, cell)
    return bool(s.edges[root(s, cell)] == START | GOAL)


@verb
def edges_at(row: int, col: int, seat: int, rows: int, cols: int) -> int:
    """The edges of `seat` that a cell itself lies at, as bits: top and bottom, or left and right."""
    along, length = (row, rows) if seat == 0 else (col, cols)
    return (START if along == 0 else 0) | (GOAL if along == length - 1 else 0)


@verb
def root(s: State, cell: int) -> int:
    """The stone that stands for the group of `cell`."""
    while s.parent[cell] != cell:
        s.parent[cell] = s.parent[s.parent[cell]]
        cell = s.parent[cell]
    return cell


@verb
def join(s: State, a: int, b: int) -> None:
    """Make one group of the groups of two stones."""
    a, b = root(s, a), root(s, b)
    s.parent[a] = b
    s.edges[b] |= s.edges[a]


@dataclasses.dataclass(frozen=True)
class DarkHex(Game):
    """Dark hex on `rows` x `cols` cells; see the module's docstring."""

    rows: int = 3
    """Of the board, 2..19."""
    cols: int = 3
    """Of the board, 2..19."""
    abrupt: bool = False
    """A collision costs the turn."""
    reveal: phantom.Reveal = "nothing"
    """turns: both seats are told how many attempts were made in all."""

    name = "dark_hex"
    private = phantom.PRIVATE
    spoken = phantom.SIGNS

    deal = staticmethod(deal)
    legal = staticmethod(phantom.legal)
    play = staticmethod(play)
    observe = staticmethod(phantom.observe)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("rows", 2, 19)
        self._require("cols", 2, 19)

    @property
    def notes(self) -> tuple[str, ...]:
        return phantom.notes(self.reveal)

    @property
    def actions(self) -> int:
        return self.rows * self.cols

    @property
    def max_length(self) -> int:
        return 2 * self.actions - 1

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return phantom.space(self.actions, self.reveal)

    @property
    def state(self) -> np.dtype[Any]:
        return dark_hex_record(self.actions)

    def blank(self) -> State:
        s = super().blank()
        s.rows, s.cols = self.rows, self.cols
        s.abrupt, s.reveals_turns = self.abrupt, self.reveal == "turns"
        return s

    def action_name(self, action: int) -> str:
        return cell_name(action, self.cols)

    def spots(self, seat: int) -> Mapping[int, Spot]:  # noqa: ARG002
        return spots(hex_board(self.rows, self.cols), ((cell, cell, None) for cell in range(self.actions)))

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        stones = phantom.seen(state, viewer)
        head = "  " + " ".join("abcdefghijklmnopqrs"[: self.cols])
        rows = [
            f"{' ' * r}{r + 1:>2} "
            + " ".join(phantom.STONES[s] for s in stones[r * self.cols : (r + 1) * self.cols])
            for r in range(self.rows)
        ]
        return "\n".join([" " + head, *rows, phantom.text(self, state, viewer)])

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        title = f"Dark hex {self.rows} x {self.cols}"
        return phantom.svg(self, title, hex_board(self.rows, self.cols), state, viewer)
