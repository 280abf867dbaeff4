"""The bot of dark hex."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled
from envs.rules.grids import hex_beside


@compiled
def dark_hex_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, _notes: Any) -> int:
    """Plays on a shortest way between its edges, as far as it knows the board.

    Own stones cost nothing, unknown cells one move; cells known to be the opponent's are closed.
    """
    cells = legal.shape[0]
    from_start = _moves_from(0, observation, cells, columns, seat)
    from_goal = _moves_from(1, observation, cells, columns, seat)
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
    """Moves needed to link each cell with the seat's edge 0 or 1, the cell's own move counted in."""
    rows = cells // columns
    last = rows - 1 if seat == 0 else columns - 1
    far = 4 * cells
    distance = np.full(cells, far)
    changed = True
    while changed:
        changed = False
        for c in range(cells):
            if observation[c] == 2:
                continue
            row, column = c // columns, c % columns
            nearest = 0 if (row if seat == 0 else column) == edge * last else far
            for n in range(6):
                beside = hex_beside(row, column, n, rows, columns)
                if beside >= 0:
                    nearest = min(nearest, distance[beside])
            reached = nearest + (0 if observation[c] == 1 else 1)
            if reached < distance[c]:
                distance[c] = reached
                changed = True
    return distance
