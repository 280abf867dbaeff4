"""The bots of generals: one that takes what it can, and one that knows where it goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled
from envs.games.generals import (
    ARMIES,
    CASTLES,
    FOGGED_STRUCTURES,
    GENERALS,
    MOUNTAINS,
    NEUTRAL,
    OPPONENT,
    OWN,
    target_of,
)
from envs.rules.grids import steps_by_neighbour

FAR = 100_000


@compiled
def expander_bot(observation: Any, legal: Any, _seat: int, tie: float, columns: int, _notes: Any) -> int:
    """Takes a cell of the opponent's if it can, else one of nobody's, else moves anywhere.

    Of several moves it takes any; it never moves half an army, and passes only when it cannot move. This is
    the rule of generals-bots' `ExpanderAgent` (2.5.0).
    """
    kind = 0
    for move in range(0, len(legal) - 1, 2):
        if legal[move]:
            kind = max(kind, _worth(observation, move, columns))
    count = 0
    for move in range(0, len(legal) - 1, 2):
        count += legal[move] and _worth(observation, move, columns) == kind
    wanted = int(tie * count)
    for move in range(0, len(legal) - 1, 2):
        if legal[move] and _worth(observation, move, columns) == kind:
            if wanted == 0:
                return move
            wanted -= 1
    return len(legal) - 1


@compiled
def _worth(observation: Any, move: int, columns: int) -> int:
    """What a whole army takes by a legal move: 2 a cell of the opponent's, 1 one of nobody's, 0 nothing."""
    source, target = move // 8, target_of(move, columns)
    if observation[ARMIES].flat[source] <= observation[ARMIES].flat[target] + 1:
        return 0
    return int(2 * observation[OPPONENT].flat[target] + observation[NEUTRAL].flat[target])


@compiled
def greedy_bot(observation: Any, legal: Any, _seat: int, _tie: float, columns: int, notes: Any) -> int:
    """Takes what it can, a cell of the opponent's before one of nobody's, with its strongest army; if there
    is nothing to take that army goes to the nearest cell that is not its own. Once it has seen the
    opponent's general the strongest army marches on it.

    Notes, of the first action: 1 + the general's cell.
    """
    general = _known_general(observation, notes)
    if general < 0:
        move = _strongest_capture(observation, legal, columns)
        if move >= 0:
            return move
    return _strongest_step(observation, legal, columns, general)


@compiled
def _known_general(observation: Any, notes: Any) -> int:
    """The cell of the opponent's general, if it was seen, else -1."""
    for c in range(observation[0].size):
        if observation[GENERALS].flat[c] == 1 and observation[OPPONENT].flat[c] == 1:
            notes[0] = c + 1
    return int(notes[0] - 1)


@compiled
def _strongest_capture(observation: Any, legal: Any, columns: int) -> int:
    """The best move that takes a cell, or -1."""
    best, most = -1, 0
    for move in range(0, len(legal) - 1, 2):
        if legal[move]:
            worth = _worth(observation, move, columns)
            order = FAR * worth + observation[ARMIES].flat[move // 8]
            if worth > 0 and order > most:
                best, most = move, order
    return best


@compiled
def _strongest_step(observation: Any, legal: Any, columns: int, general: int) -> int:
    """The strongest army that can come nearer to the general, or else to a cell that is not own, does so."""
    steps = _steps(observation, columns, general)
    best, most = len(legal) - 1, 0
    for move in range(0, len(legal) - 1, 2):
        if legal[move]:
            source, target = move // 8, target_of(move, columns)
            if steps[target] < steps[source] and observation[ARMIES].flat[source] > most:
                best, most = move, observation[ARMIES].flat[source]
    return best


@compiled
def _steps(observation: Any, columns: int, general: int) -> Any:
    """Steps from every cell to the general, or if that is -1 to the nearest cell that is not own."""
    cells = observation[0].size
    steps = np.full(cells, FAR)
    for c in range(cells):
        if c == general or (general < 0 and observation[OWN].flat[c] == 0 and _is_open(observation, c)):
            steps[c] = 0
    has_changed = True
    while has_changed:
        has_changed = False
        for c in range(cells):
            if not _is_open(observation, c):
                continue
            near = steps_by_neighbour(steps, c, columns)
            if near < steps[c]:
                steps[c] = near
                has_changed = True
    return steps


@compiled
def _is_open(observation: Any, cell: int) -> bool:
    """No mountain, no castle of nobody's, and no structure in fog, which may be either."""
    is_castle = observation[CASTLES].flat[cell] == 1 and observation[NEUTRAL].flat[cell] == 1
    is_closed = observation[MOUNTAINS].flat[cell] == 1 or observation[FOGGED_STRUCTURES].flat[cell] == 1
    return not is_castle and not is_closed
