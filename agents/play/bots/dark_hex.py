"""The bot of dark hex."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled
from envs.games.dark_hex import GOAL, START
from envs.rules.grids import hex_beside


@compiled
def dark_hex_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, _notes: Any) -> int:
    """Plays on a shortest way between its edges, as far as it knows the board.

    Own stones cost nothing, unknown cells one move; cells known to be the opponent's are closed.
    """
    cells = legal.shape[0]
    from_start = _moves_from(START, observation, cells, columns, seat)
    from_goal = _moves_from(GOAL, observation, cells, columns, seat)
    shortest = 10 * cells
    for c in range(cells):
        if legal[c]:
            shortest = min(shortest, from_start[c] + from_goal[c])
    on_way = 0
    for c in range(cells):
        on_way += legal[c] and from_start[c] + from_goal[c] == shortest
    left = int(tie * on_way)
    choice = -1
    for c in range(cells):
        if legal[c] and from_start[c] + from_goal[c] == shortest:
            choice = c
            if left == 0:
                break
            left -= 1
    return choice


@compiled
def _moves_from(edge: int, observation: Any, cells: int, columns: int, seat: int) -> Any:
    """Moves needed to link each cell with an edge of the seat's, the cell's own move counted in."""
    rows = cells // columns
    far = 4 * cells
    distance = np.full(cells, far)
    changed = True
    while changed:
        changed = False
        for c in range(cells):
            if observation[c] == 2:
                continue
            row, column = c // columns, c % columns
            nearest = 0 if _edges_at(row, column, seat, rows, columns) & edge else far
            for n in range(6):
                beside = hex_beside(row, column, n, rows, columns)
                if beside >= 0:
                    nearest = min(nearest, distance[beside])
            reached = nearest + (0 if observation[c] == 1 else 1)
            if reached < distance[c]:
                distance[c] = reached
                changed = True
    return distance


@compiled
def _edges_at(row: int, column: int, seat: int, rows: int, columns: int) -> int:
    """The edges of `seat` that a cell lies at, as bits: top and bottom, or left and right."""
    along, length = (row, rows) if seat == 0 else (column, columns)
    return (START if along == 0 else 0) | (GOAL if along == length - 1 else 0)
