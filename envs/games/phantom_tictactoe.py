"""Phantom tic-tac-toe: tic-tac-toe in which you do not see the opponent's marks.

Rules
    Seat 0 plays x and moves first, seat 1 plays o. A move names a cell the mover does not know to be
    taken. On an empty cell the mark is placed and the turn passes. On a cell the opponent holds the
    mover learns of that mark and, in the classical game, tries again at once; in the abrupt game
    (`abrupt=True`) the turn is lost. The opponent is told nothing. Three own marks in a line win; nine
    marks without a line are a draw.

Options
    abrupt   False   a collision costs the turn
    reveal   "nothing", or "turns": both seats are told how many attempts were made in all

Observation, uint8 [9], or [10] with reveal="turns"
    slot    codes   meaning
    0..8    0..2    the cell: unknown, own mark, opponent's mark found by a collision
    9       0..127  attempts made by both seats (at most 17)

Actions
    0..8, the cell; legal are those the mover knows nothing of, truly occupied ones among them.

Rewards
    +1 for the winner and -1 for the loser, 0 for a draw, at the end.

Source of the rules: OpenSpiel `phantom_ttt` (gameversion classical / abrupt).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import gymnasium

from envs.core import REFEREE, Game, Spot, State, Viewer, record, verb
from envs.drawing import cell_name, grid_text, spots, square_board
from envs.rules import phantom
from envs.rules.phantom import attempt

#    0 1 2
#    3 4 5       cells of the board; lines are rows, columns, 0 4 8 and 2 4 6
#    6 7 8
RECORD = record(2, *phantom.fields(9))


@verb
def deal(s: State) -> None:
    """The board is empty."""
    phantom.begin(s)


@verb
def play(s: State, action: int) -> None:
    """Try a cell; a placed mark may complete a line or fill the board."""
    seat = s.seat
    if attempt(s, action):
        if has_line_through(s, action):
            s.over = True
            s.reward[seat] = 1.0
            s.reward[1 - seat] = -1.0
        elif is_full(s):
            s.over = True


@verb
def has_line_through(s: State, cell: int) -> bool:
    """Do three equal marks lie in a line with the mark on `cell`?"""
    mark, row, column = s.board[cell], cell // 3, cell % 3
    in_row, in_column, down, up = 0, 0, 0, 0
    for i in range(3):
        in_row += s.board[3 * row + i] == mark
        in_column += s.board[3 * i + column] == mark
        down += s.board[4 * i] == mark
        up += s.board[2 * i + 2] == mark
    on_down, on_up = row == column, row + column == 2
    return in_row == 3 or in_column == 3 or (on_down and down == 3) or (on_up and up == 3)


@verb
def is_full(s: State) -> bool:
    """Is no cell empty?"""
    empty = 0
    for c in range(9):
        empty += s.board[c] == 0
    return empty == 0


@dataclasses.dataclass(frozen=True)
class PhantomTicTacToe(Game):
    """Phantom tic-tac-toe; see the module's docstring."""

    abrupt: bool = False
    """A collision costs the turn."""
    reveal: phantom.Reveal = "nothing"
    """turns: both seats are told how many attempts were made in all."""

    name = "phantom_tictactoe"
    private = phantom.PRIVATE
    state = RECORD
    spoken = phantom.SIGNS

    deal = staticmethod(deal)
    legal = staticmethod(phantom.legal)
    play = staticmethod(play)
    observe = staticmethod(phantom.observe)

    @property
    def notes(self) -> tuple[str, ...]:
        return phantom.notes(self.reveal)

    @property
    def actions(self) -> int:
        return 9

    @property
    def max_length(self) -> int:
        return 17

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return phantom.space(9, self.reveal)

    def blank(self) -> State:
        s = super().blank()
        s.abrupt, s.reveals_turns = self.abrupt, self.reveal == "turns"
        return s

    def action_name(self, action: int) -> str:
        return cell_name(action, 3)

    def spots(self, seat: int) -> Mapping[int, Spot]:  # noqa: ARG002
        return spots(square_board(3, 3), ((cell, cell, None) for cell in range(self.actions)))

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        signs = [phantom.STONES[stone] for stone in phantom.seen(state, viewer)]
        return f"{grid_text(signs, 3)}\n{phantom.text(self, state, viewer)}"

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        return phantom.svg(self, "Phantom tic-tac-toe", square_board(3, 3), state, viewer)
