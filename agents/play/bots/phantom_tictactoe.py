"""The bot of phantom tic-tac-toe."""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled


@compiled
def tictactoe_bot(observation: Any, legal: Any, _seat: int, tie: float, _columns: int, _notes: Any) -> int:
    """Completes its own line, else stops one it knows of, else takes centre, corners, sides in this order."""
    for stone in (1, 2):  # own, then the opponent's
        for line in ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)):
            stones, free = 0, -1
            for c in line:
                if observation[c] == stone:
                    stones += 1
                elif observation[c] == 0:
                    free = c
            if stones == 2 and free >= 0:
                return free
    first = int(tie * 4)
    if legal[4]:
        return 4
    for cells in ((0, 2, 6, 8), (1, 3, 5, 7)):
        for k in range(4):
            c = cells[(first + k) % 4]
            if legal[c]:
                return c
    return -1
