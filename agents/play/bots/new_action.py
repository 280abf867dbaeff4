"""The bot of games in which naming an action twice is worth nothing: battleship and minesweeper."""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled


@compiled
def new_action_bot(_observation: Any, legal: Any, _seat: int, tie: float, _columns: int, notes: Any) -> int:
    """Names no action twice in a match while there are others, and is not choosy among those.

    Notes: 1 = named.
    """
    fewest = 1
    for a in range(legal.shape[0]):
        if legal[a]:
            fewest = min(fewest, notes[a])
    count = 0
    for a in range(legal.shape[0]):
        count += legal[a] and notes[a] == fewest
    wanted = int(tie * count)
    for a in range(legal.shape[0]):
        if legal[a] and notes[a] == fewest:
            if wanted == 0:
                notes[a] = 1
                return a
            wanted -= 1
    return -1
