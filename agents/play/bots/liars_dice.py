"""The bot of liar's dice."""

from __future__ import annotations

from typing import Any

from envs.compiled import compiled
from envs.games.liars_dice import face_of, quantity_of


@compiled
def bears_out(observation: Any, dice: int, sides: int, quantity: int, face: int) -> bool:
    """Are there so many, by the own dice and the third of the other's that one may expect?"""
    count = dice // 3
    for k in range(dice):
        count += observation[k] == face or observation[k] == sides
    return bool(count >= quantity)


@compiled
def liars_bot(observation: Any, legal: Any, _seat: int, _tie: float, _columns: int, _notes: Any) -> int:
    """Calls what its own dice do not bear out, else makes the lowest bid that they do, if there is one."""
    dice, call = observation.shape[0] - 4, legal.shape[0] - 1
    sides = call // (2 * dice)
    quantity, face = observation[dice], observation[dice + 1]
    if quantity > 0 and not bears_out(observation, dice, sides, quantity, face):
        return int(call)
    for a in range(call):
        bid = a + 1
        if legal[a] and bears_out(observation, dice, sides, quantity_of(bid, sides), face_of(bid, sides)):
            return int(a)
    return int(call)
