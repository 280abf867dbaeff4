"""The bot of goofspiel."""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.games.goofspiel import TURNED_UP


@compiled
def goofspiel_bot(observation: Any, legal: Any, _seat: int, tie: float, _columns: int, _notes: Any) -> int:
    """Bids for a point card the card of the same number or, half of the time, the one above; without it the
    next higher one, else the lowest."""
    cards, wanted = legal.shape[0], 0
    for c in range(cards):
        if observation[cards + c] == TURNED_UP:
            wanted = min(c + int(2 * tie), cards - 1)
    for step in range(cards):
        card = (wanted + step) % cards
        if legal[card]:
            return int(card)
    return -1
