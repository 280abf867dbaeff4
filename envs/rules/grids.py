"""Ways on boards of cells: what games and bots share. A cell is row * cols + column."""

from __future__ import annotations

from envs.core import Array, verb


@verb
def steps_by_neighbour(steps: Array, cell: int, cols: int) -> int:
    """The least steps to a cell of a square grid: as it is told, or 1 more than one of the four beside it."""
    cells = steps.shape[0]
    near = steps[cell] - 1
    if cell >= cols:
        near = min(near, steps[cell - cols])
    if cell < cells - cols:
        near = min(near, steps[cell + cols])
    if cell % cols > 0:
        near = min(near, steps[cell - 1])
    if cell % cols < cols - 1:
        near = min(near, steps[cell + 1])
    return int(near + 1)


@verb
def hex_beside(row: int, col: int, k: int, rows: int, cols: int) -> int:
    """The k-th of the six cells beside one of a hex board, row by row; -1 where the board ends.

    . 0 1       each row of the board lies half a cell to the right
    2 . 3       of the one above, so that 0 1 lie above and 4 5 below
    4 5 .
    """
    down, is_right = k // 2 - 1, k % 2  # of the two cells in a row the right one
    row += down
    col += is_right - (down == 1) - (down == 0 and not is_right)
    return row * cols + col if 0 <= row < rows and 0 <= col < cols else -1
