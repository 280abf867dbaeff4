"""What the phantom games share: a hidden board, a view of it per seat, and attempts that may collide.

A seat names a cell. If the cell is truly empty its stone is placed. If the opponent's stone is there
already (a collision), the board stays as it is and the seat now knows that stone. Fields a phantom
game's state needs are made by `fields`.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np

from envs.core import Array, State, Viewer, codes, verb

Reveal = Literal["nothing", "turns"]
DIGIT = 128  # the attempts are counted in base 128, so that a digit is a uint8 code


def fields(cells: int) -> tuple[tuple[Any, ...], ...]:
    """State fields of a phantom game on `cells` cells. A stone of seat p is p + 1, an empty cell 0."""
    return (
        ("board", np.int8, (cells,)),  # the true stones
        ("known", np.int8, (2, cells)),  # the stones each seat knows of: its own and those it hit
        ("last", np.int16, (2,)),  # cell of each seat's latest attempt, -1 before the first
        ("collided", np.uint8, (2,)),  # 1: that attempt hit an opponent's stone
        ("attempts", np.int16),  # made by both seats
        ("mover", np.int8),  # seat of the latest attempt, -1 before the first
        ("abrupt", np.bool_),  # option: a collision costs the turn
        ("reveals_turns", np.bool_),  # option: the number of attempts is public
    )


def space(cells: int, reveal: Reveal) -> gymnasium.spaces.MultiDiscrete:
    """Observation space: a code per cell, and with reveal="turns" the digits of the attempt count."""
    most = 2 * cells - 1
    digits = [DIGIT] * (1 if most < DIGIT else 2) if reveal == "turns" else []
    return codes(*[3] * cells, *digits)


@verb
def begin(s: State) -> None:
    for p in range(2):
        s.last[p] = -1
    s.mover = -1


@verb
def attempt(s: State, cell: int) -> bool:
    """The seat to move tries `cell`; returns whether its stone was placed. Passes the turn."""
    seat = s.seat
    placed = s.board[cell] == 0
    if placed:
        s.board[cell] = seat + 1
    s.known[seat, cell] = s.board[cell]
    s.last[seat] = cell
    s.collided[seat] = not placed
    s.attempts += 1
    s.mover = seat
    if placed or s.abrupt:
        s.seat = 1 - seat
    return placed


@verb
def legal(s: State, mask: Array) -> None:
    for c in range(mask.shape[0]):
        mask[c] = s.known[s.seat, c] == 0


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """Per cell 0 unknown, 1 own stone, 2 opponent's stone; then the attempt count, low digit first."""
    cells = s.board.shape[0]
    for c in range(cells):
        stone = s.known[seat, c]
        if stone != 0:
            out[c] = 1 if stone == seat + 1 else 2
    if s.reveals_turns:
        out[cells] = s.attempts % DIGIT
        if out.shape[0] > cells + 1:
            out[cells + 1] = s.attempts // DIGIT


def seen(state: Any, viewer: Viewer) -> Any:
    """The stones `viewer` knows of, int8 [cells]: everything for the referee."""
    return state.board if isinstance(viewer, str) else state.known[viewer]
