"""The bot of Kuhn poker."""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.games.kuhn_poker import BET, PASS

QUEEN, KING = 2, 3  # as the observation tells the own card


@compiled
def kuhn_bot(observation: Any, _legal: Any, _seat: int, _tie: float, _columns: int, _notes: Any) -> int:
    """Plays its card's face: bets the king, calls with the queen, lets the jack go."""
    card = observation[0]
    was_bet = observation[1] == 1 + BET or observation[2] == 1 + BET
    return BET if card == KING or (card == QUEEN and was_bet) else PASS
