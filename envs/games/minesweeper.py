"""Minesweeper in the fog: what you uncovered is covered again, and only you remember it.

Rules
    Mines lie under some cells of a square board, every layout with the same probability. One seat
    clicks cells, one after the other, and is told how many mines lie in the 3 x 3 cells around the
    clicked one, itself included. Nothing stays uncovered and nothing opens by itself. The match ends at
    a mine, or when every clear cell was clicked (a win), or after as many clicks as there are clear
    cells.

        level    board     mines   clicks
        easy     4 x 4        2       14
        medium   6 x 6        6       30
        hard     8 x 8       10       54

Options
    level   "easy", or "medium", "hard"

Observation, uint8 [1]
    slot    codes           meaning
    0       0..2, 6 or 9    mines around the latest click (at easy, medium, hard); 0 before the first

    It does not say where that click was: a player has to remember its own actions.

Actions
    row * side + column. Every cell may be clicked at any time: clicking twice is punished, not illegal.

Rewards, with n clear cells, after each click
    +1/n             a clear cell for the first time
    -0.5/(n - 2)     a clear cell again
    -0.5 - 1/n       a mine
    A match is worth -1 to 1.

The mines are drawn by `deal` from the match's own random numbers: no chance node, as no tree of all
layouts can be walked.

Source of the rules: POPGym `MineSweeperEasy`, `MineSweeperMedium`, `MineSweeperHard` (Morad et al. 2023),
where an action is the pair (row, column) and the limit of clicks is a truncation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np

from envs.core import REFEREE, Array, Game, Spot, State, Viewer, codes, draw, record, verb
from envs.drawing import (
    CELL,
    COLLISION_PALE,
    INK,
    LATEST,
    MUTED,
    PAPER,
    SEATS,
    Board,
    Panel,
    cell_name,
    disc,
    grid_text,
    panels,
    spots,
    square_board,
    words,
)

LEVELS = {"easy": (4, 2), "medium": (6, 6), "hard": (8, 10)}  # side of the board, mines
SIGNS = {".": "covered", "*": "mine"}  # aloud


def minesweeper_record(cells: int) -> np.dtype[Any]:
    """The state: a board.

     0  1  2  3
     4  5  6  7     cells of the easy board; around 0 lie 0 1 4 5,
     8  9 10 11     around 5 lie 0 1 2 4 5 6 8 9 10
    12 13 14 15
    """
    return record(
        1,
        ("mine", np.uint8, (cells,)),  # 1: one lies under the cell
        ("viewed", np.uint8, (cells,)),  # 1: a clear cell that was clicked
        ("found", np.int16),  # how many they are
        ("clicks", np.int16),  # made so far
        ("last", np.int16),  # cell of the latest click, -1 before the first
        ("side", np.int16),
        ("mines", np.int16),
    )


@verb
def deal(s: State) -> None:
    """Go through the cells once; each gets one of the mines left with the odds mines left / cells left."""
    cells = s.mine.shape[0]
    mines = s.mines
    for c in range(cells):
        s.mine[c] = draw(s) * (cells - c) < mines
        mines -= s.mine[c]
    s.last = -1


@verb
def legal(s: State, mask: Array) -> None:
    """Every cell, at any time."""
    for c in range(s.mine.shape[0]):
        mask[c] = True


@verb
def play(s: State, action: int) -> None:
    """Click a cell."""
    clear = s.mine.shape[0] - s.mines
    s.last = action
    s.clicks += 1
    if s.mine[action]:
        s.reward[0] = -0.5 - 1.0 / clear
    elif s.viewed[action]:
        s.reward[0] = -0.5 / (clear - 2)
    else:
        s.viewed[action] = 1
        s.found += 1
        s.reward[0] = 1.0 / clear
    s.over = s.mine[action] == 1 or s.found == clear or s.clicks == clear


@verb
def mines_around(s: State, cell: int) -> int:
    """Mines in the 3 x 3 cells around `cell`, itself included."""
    row, col = cell // s.side, cell % s.side
    count = 0
    for r in range(max(row - 1, 0), min(row + 2, s.side)):
        for c in range(max(col - 1, 0), min(col + 2, s.side)):
            count += s.mine[r * s.side + c]
    return count


@verb
def observe(s: State, _seat: int, out: Array) -> None:
    """The mines around the latest click."""
    if s.last >= 0:
        out[0] = mines_around(s, s.last)


@dataclasses.dataclass(frozen=True)
class Minesweeper(Game):
    """Minesweeper for one seat; see the module's docstring."""

    level: Literal["easy", "medium", "hard"] = "easy"
    """Size of the board, and mines on it."""

    name = "minesweeper"
    seats = 1
    spoken = SIGNS

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    @property
    def side(self) -> int:
        """Rows, and columns, of the board."""
        return LEVELS[self.level][0]

    @property
    def mines(self) -> int:
        """How many there are."""
        return LEVELS[self.level][1]

    @property
    def actions(self) -> int:
        return self.side**2

    @property
    def max_length(self) -> int:
        return self.actions - self.mines

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(min(self.mines, 9) + 1)

    @property
    def state(self) -> np.dtype[Any]:
        return minesweeper_record(self.actions)

    def blank(self) -> State:
        s = super().blank()
        s.side, s.mines = self.side, self.mines
        return s

    def deal_text(self, state: State) -> str:
        """The board in rows, * a mine and . none: "..*./..../*.../....\"."""
        signs = "".join("*" if mine else "." for mine in state.mine.tolist())
        return "/".join(signs[begin : begin + self.side] for begin in range(0, self.actions, self.side))

    def dealt(self, text: str) -> State:
        rows = text.split("/")
        signs = "".join(rows)
        if (
            [len(row) for row in rows] != [self.side] * self.side
            or set(signs) - set(".*")
            or signs.count("*") != self.mines
        ):
            raise ValueError(
                f"{self.name}: expected {self.side} rows of {self.side} cells with / between them, "
                f"{self.mines} of them mines (*) and the others clear (.), got {text!r:.80}"
            )
        s = self.blank()
        s.mine[:] = [sign == "*" for sign in signs]
        s.last = -1
        return s

    def action_name(self, action: int) -> str:
        return cell_name(action, self.side)

    @property
    def board(self) -> Board:
        """Where the cells lie."""
        return square_board(self.side, self.side, 64.0)

    def spots(self, seat: int) -> Mapping[int, Spot]:  # noqa: ARG002
        return spots(self.board, ((cell, cell, None) for cell in range(self.actions)))

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        signs = [self._sign(state, cell, viewer) or "." for cell in range(self.actions)]
        return f"{grid_text(signs, self.side)}\n{self._situation(state)}"

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        board = self.board
        drawn = []
        for cell, (x, y) in enumerate(board.centres):
            sign = self._sign(state, cell, viewer)
            is_latest = cell == state.last
            face = COLLISION_PALE if sign == "*" and is_latest else LATEST if is_latest else CELL
            drawn.append(board.cell(cell, face if state.viewed[cell] or is_latest else PAPER))
            if sign == "*":
                drawn.append(disc(x, y, 0.6 * board.stone, fill=INK))
            elif sign:
                drawn.append(words(x, y + 7, sign, 20, MUTED if sign == "0" else INK, bold=True))
        heading = "the board" if viewer == REFEREE else "clicked so far"
        panel = Panel(heading, SEATS[0], board, "".join(drawn))
        options = f"{self.level}: {self.mines} mines, at most {self.max_length} clicks"
        return panels("Minesweeper", options, self._situation(state), 0, [panel])

    def _sign(self, state: State, cell: int, viewer: Viewer) -> str:
        """What `viewer` knows of a cell: the mines around it, `*` for a mine, or nothing."""
        if state.viewed[cell]:
            return str(mines_around(state, cell))
        return "*" if state.mine[cell] and (viewer == REFEREE or cell == state.last) else ""

    def _situation(self, state: State) -> str:
        said = f"{state.found} of {self.max_length} clear, {state.clicks} clicks"
        if not state.over:
            return said
        if state.found == self.max_length:
            return f"{said}: won"
        return f"{said}: {'hit a mine' if state.mine[state.last] else 'none left'}"
