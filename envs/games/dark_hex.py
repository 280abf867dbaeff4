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
from envs.rules.phantom import attempt

START, GOAL = 0, 1  # the two edges that a seat has to connect
BITS = 32  # cells in a word: half of an int64, so that what moves out of a word is not lost


def dark_hex_record(cells: int) -> np.dtype[Any]:
    """The state: a board of hexagons, and the stones that are linked with an edge.

      a b c
    1  0 1 2
     2  3 4 5         cells of a 3 x 3 board. Beside 4 lie 1 and 2 above,
      3  6 7 8        3 and 5 in its row, 6 and 7 below

    Sets of cells are bits, cell c the bit c % BITS of the word c // BITS.
    """
    words = -(-cells // BITS)
    return record(
        2,
        ("edges", np.int64, (2, 2, words)),  # the cells at START and at GOAL of each seat
        ("linked", np.int64, (2, words)),  # each seat's stones in groups that touch its START
        ("loose", np.int64, (2, words)),  # its other stones
        ("cols", np.int64),
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
    """Link the new stone with the edge its seat starts from, if it can be; is the other edge reached?"""
    word, stone = cell // BITS, 1 << cell % BITS
    if not stone & reached(s, seat, word):
        s.loose[seat, word] |= stone
        return False
    s.linked[seat, word] |= stone
    link_loose(s, seat)
    won = False
    for w in range(s.linked.shape[1]):
        won |= s.linked[seat, w] & s.edges[seat, GOAL, w] != 0
    return won


@verb
def link_loose(s: State, seat: int) -> None:
    """Link the loose stones beside linked ones, then those beside these, and so on."""
    found = True
    while found:
        found = False
        for w in range(s.linked.shape[1]):
            stones = s.loose[seat, w] & reached(s, seat, w)
            s.linked[seat, w] |= stones
            s.loose[seat, w] ^= stones
            found |= stones != 0


@verb
def reached(s: State, seat: int, word: int) -> int:
    """The cells of a word at the START of `seat` or beside a stone linked with it; and bits beyond it."""
    cells: int = s.edges[seat, START, word] | ahead(s, seat, word) | behind(s, seat, word) >> BITS
    if word > 0:
        cells |= ahead(s, seat, word - 1) >> BITS
    if word + 1 < s.linked.shape[1]:
        cells |= behind(s, seat, word + 1)
    return cells


@verb
def ahead(s: State, seat: int, word: int) -> int:
    """Beside linked stones of a word: the three cells of higher numbers, which may lie in the next word."""
    stones = s.linked[seat, word]
    not_left, not_right = stones & ~s.edges[1, START, word], stones & ~s.edges[1, GOAL, word]
    beside: int = not_right << 1 | not_left << s.cols - 1 | stones << s.cols
    return beside


@verb
def behind(s: State, seat: int, word: int) -> int:
    """Beside them: the three cells of lower numbers, counted from the word before on."""
    stones = s.linked[seat, word]
    not_left, not_right = stones & ~s.edges[1, START, word], stones & ~s.edges[1, GOAL, word]
    beside: int = not_left << BITS - 1 | not_right << BITS - s.cols + 1 | stones << BITS - s.cols
    return beside


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
        s.cols = self.cols
        for cell in range(self.actions):
            row, col = divmod(cell, self.cols)
            for seat, along, last in ((0, row, self.rows - 1), (1, col, self.cols - 1)):
                s.edges[seat, START, cell // BITS] |= (along == 0) << cell % BITS
                s.edges[seat, GOAL, cell // BITS] |= (along == last) << cell % BITS
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
