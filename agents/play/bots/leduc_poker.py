"""The bot of Leduc poker."""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.games.leduc_poker import CALL, FOLD, RAISE, rank

JACK, KING = 0, 2  # ranks


@compiled
def leduc_bot(observation: Any, legal: Any, _seat: int, _tie: float, _columns: int, _notes: Any) -> int:
    """Raises with a pair or a king, calls with a queen, else folds to a raise and checks without one."""
    own, public = rank(observation[0]), rank(observation[1])
    if own == KING or (observation[1] != 0 and own == public):
        return RAISE if legal[RAISE] else CALL
    return FOLD if own == JACK and legal[FOLD] else CALL
