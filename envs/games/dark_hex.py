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
from typing import Any

import gymnasium
import numpy as np

from envs.core import REFEREE, Array, Game, State, Viewer, record, verb
from envs.drawing import cell_name, hex_board
from envs.rules import phantom
from envs.rules.grids import hex_step
from envs.rules.phantom import attempt

START, GOAL = 1, 2  # the two edges a seat has to connect, as bits; seat 1 has the next two bits
LOOSE = 16  # a stone whose group touches neither; seat 1 has the next bit


def dark_hex_record(rows: int, cols: int) -> np.dtype[Any]:
    """The state: a board of hexagons, and which edges its stones are linked with.

      a b c
    1  0 1 2
     2  3 4 5         cells of a 3 x 3 board. Beside 4 lie 1 and 2 above,
      3  6 7 8        3 and 5 in its row, 6 and 7 below
    """
    return record(
        2,
        # Edges that the group of a stone touches, or LOOSE; 0 of an empty cell. The board has a rim of one cell,
        # which holds the edges themselves.
        ("links", np.uint8, (rows + 2, cols + 2)),
        *phantom.fields(rows * cols),
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
    """Link the new stone with its neighbours; does its group now touch both edges of its seat?

    What a group touches is told by each of its stones, so that the six neighbours tell what the new stone
    touches. A loose group is told anew when it first touches an edge: at most once in a match, as the second
    edge ends it.
    """
    links, loose = s.links, LOOSE << seat
    cols = links.shape[1] - 2
    row, col = cell // cols + 1, cell % cols + 1
    around = links[row - 1, col] | links[row - 1, col + 1] | links[row, col - 1]
    around |= links[row, col + 1] | links[row + 1, col - 1] | links[row + 1, col]
    edges = around & (START | GOAL) << 2 * seat
    links[row, col] = edges if edges else loose
    if edges and around & loose:
        link_group(links, row, col, loose, edges)
    return bool(edges == (START | GOAL) << 2 * seat)


@verb
def link_group(links: Array, row: int, col: int, loose: int, edges: int) -> None:
    """Tell all loose stones that are linked with a stone: they touch `edges`.

    A walk from stone to stone: each keeps the direction, 0..5, in which the walk goes back from it, until it
    has gone back. So it needs no memory of its own.
    """
    r, c, k = row, col, 0
    while k < 6 or r != row or c != col:
        if k < 6:
            r_beside, c_beside = hex_step(r, c, k)
            if links[r_beside, c_beside] & loose:
                r, c = r_beside, c_beside
                links[r, c] = 5 - k
                k = 0
            else:
                k += 1
        else:
            back = int(links[r, c])
            links[r, c] = edges
            r, c = hex_step(r, c, back)
            k = 5 - back + 1


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
        return dark_hex_record(self.rows, self.cols)

    def blank(self) -> State:
        s = super().blank()
        s.links[0, :] |= START
        s.links[-1, :] |= GOAL
        s.links[:, 0] |= START << 2
        s.links[:, -1] |= GOAL << 2
        s.abrupt, s.reveals_turns = self.abrupt, self.reveal == "turns"
        return s

    def action_name(self, action: int) -> str:
        return cell_name(action, self.cols)

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
