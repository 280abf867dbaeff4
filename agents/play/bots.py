"""Bots: plain players that know the rules and follow a few of them, one function per game and bot.

A bot's function decides once, compiled: `rules(observation, legal, seat, tie, columns, notes) -> action`,
with `tie` uniform in [0, 1) and `columns` the game's option `cols`. `notes` (int16 [A], zeros at a match's
start) is all that the seat remembers of the match, one number an action; the rules read it and write into it
what they like. `agents.play.players.Bot` makes players of them.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.compiled import compiled

Rules = Callable[[Any, Any, int, float, int, Any], int]

rules: Any = None  # bound by `batched`


def _decide_all(
    observation: Any, legal: Any, seat: Any, tie: Any, columns: int, notes: Any, rows: Any, actions: Any
) -> None:
    """One decision in each of the matches `rows` [R]; `notes` [B, P, A] are those of all matches."""
    for k in range(len(rows)):
        own = notes[rows[k], seat[k]]
        actions[k] = rules(observation[k], legal[k], seat[k], tie[k], columns, own)


@functools.cache
def batched(rules: Rules) -> Callable[..., None]:
    """`_decide_all` by these rules, compiled. Like a game's kernel it has them for a plain global, so that
    numba's disk cache finds it again (see `envs.kernels`)."""
    bound = types.FunctionType(_decide_all.__code__, {**globals(), "rules": rules}, _decide_all.__name__)
    bound.__qualname__ = f"{_decide_all.__name__}_{rules.__name__}"
    bound.__module__ = __name__
    return compiled(bound, nogil=True)


@compiled
def kuhn_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
    """Plays its card's face: bets the king, calls with the queen, lets the jack go."""
    card = observation[0]
    was_bet = observation[1] == 2 or observation[2] == 2
    return 1 if card == 3 or (card == 2 and was_bet) else 0


@compiled
def leduc_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
    """Raises with a pair or a king, calls with a queen, else folds to a raise and checks without one."""
    fold, call, raise_ = 0, 1, 2
    rank, public = (observation[0] - 1) // 2, (observation[1] - 1) // 2
    if rank == 2 or (observation[1] != 0 and rank == public):
        return raise_ if legal[raise_] else call
    return fold if rank == 0 and legal[fold] else call


@compiled
def tictactoe_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
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


@compiled
def dark_hex_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
    """Plays on a shortest way between its edges, as far as it knows the board.

    Own stones cost nothing, unknown cells one move; cells known to be the opponent's are closed.
    """
    cells = legal.shape[0]
    from_start = _hex_distance(observation, cells, columns, seat, False)
    from_goal = _hex_distance(observation, cells, columns, seat, True)
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
def _hex_distance(observation: Any, cells: int, columns: int, seat: int, from_goal: bool) -> Any:
    """Moves needed to link each cell with one of the seat's edges, the cell's own move counted in."""
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
            along, length = (row, rows) if seat == 0 else (column, columns)
            nearest = 0 if along == (length - 1 if from_goal else 0) else far
            for down in range(-1, 2):
                for right in range(-1, 2):
                    r, k = row + down, column + right
                    if down != right and 0 <= r < rows and 0 <= k < columns:
                        nearest = min(nearest, distance[r * columns + k])
            reached = nearest + (0 if observation[c] == 1 else 1)
            if reached < distance[c]:
                distance[c] = reached
                changed = True
    return distance


@compiled
def new_action_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
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


UNSEEN, GONE, NAMED, OPEN = 0, -1, -2, 100


@compiled
def concentration_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
    """Forgets no card: takes a pair it knows, else turns a card it has not seen, and then that one's
    match if it knows it, else another card it has not seen.

    Notes of a card: UNSEEN; 1 + its face; OPEN + 1 + its face while its turn waits for the second card;
    GONE when its match is found; NAMED by the latest action.
    """
    first = _note_what_was_turned(observation, notes)
    card = _match_of(notes, notes[first] - OPEN) if first >= 0 else _card_with_a_match(notes)
    if card < 0:
        card = _any_unseen(notes, tie)
    notes[card] = NAMED
    return card


@compiled
def _note_what_was_turned(observation: Any, notes: Any) -> int:
    """Returns the card whose turn waits for a second one, or -1."""
    first, latest = -1, -1
    for card in range(notes.shape[0]):
        if notes[card] == NAMED:
            latest = card
        elif notes[card] > OPEN:
            first = card
    if latest < 0:  # the match begins
        return -1
    face = 1 + np.int16(observation[latest])
    if first < 0:
        notes[latest] = OPEN + face
        return latest
    is_pair = notes[first] == OPEN + face
    notes[first] = GONE if is_pair else notes[first] - OPEN
    notes[latest] = GONE if is_pair else face
    return -1


@compiled
def _match_of(notes: Any, note: int, after: int = -1) -> int:
    """The next card with this note, or -1."""
    for card in range(after + 1, notes.shape[0]):
        if notes[card] == note:
            return card
    return -1


@compiled
def _card_with_a_match(notes: Any) -> int:
    """A card that is known as well as its match, or -1."""
    for card in range(notes.shape[0]):
        if notes[card] > UNSEEN and _match_of(notes, notes[card], card) >= 0:
            return card
    return -1


@compiled
def _any_unseen(notes: Any, tie: float) -> int:
    """One of the cards not seen yet. There is one: of the cards that are left and known, two match."""
    count = 0
    for card in range(notes.shape[0]):
        count += notes[card] == UNSEEN
    wanted = int(tie * count)
    card = _match_of(notes, UNSEEN)
    for _ in range(wanted):
        card = _match_of(notes, UNSEEN, card)
    return card


# ---------------------------------------------------------------- generals

ARMIES, GENERALS, CASTLES, MOUNTAINS, NEUTRAL, OWN, OPPONENT, FOG, FOGGED_STRUCTURES = range(9)  # its planes
FAR = 100_000


@compiled
def expander_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
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
    source, target = move // 8, _target(move, columns)
    if observation[ARMIES].flat[source] <= observation[ARMIES].flat[target] + 1:
        return 0
    return 2 * observation[OPPONENT].flat[target] + observation[NEUTRAL].flat[target]  # type: ignore[no-any-return]


@compiled
def _target(move: int, columns: int) -> int:
    """The cell a legal move leads to."""
    direction = move // 2 % 4
    if direction < 2:
        return move // 8 + (columns if direction == 1 else -columns)
    return move // 8 + (1 if direction == 3 else -1)


@compiled
def greedy_bot(observation: Any, legal: Any, seat: int, tie: float, columns: int, notes: Any) -> int:  # noqa: ARG001
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
    return notes[0] - 1  # type: ignore[no-any-return]


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
            source, target = move // 8, _target(move, columns)
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
            near = steps[c] - 1
            if c >= columns:
                near = min(near, steps[c - columns])
            if c < cells - columns:
                near = min(near, steps[c + columns])
            if c % columns > 0:
                near = min(near, steps[c - 1])
            if c % columns < columns - 1:
                near = min(near, steps[c + 1])
            if near < steps[c] - 1:
                steps[c] = near + 1
                has_changed = True
    return steps


@compiled
def _is_open(observation: Any, cell: int) -> bool:
    """No mountain, no castle of nobody's, and no structure in fog, which may be either."""
    is_castle = observation[CASTLES].flat[cell] == 1 and observation[NEUTRAL].flat[cell] == 1
    is_closed = observation[MOUNTAINS].flat[cell] == 1 or observation[FOGGED_STRUCTURES].flat[cell] == 1
    return not is_castle and not is_closed


BOTS: dict[str, dict[str, Rules]] = {
    "kuhn_poker": {"bot": kuhn_bot},
    "leduc_poker": {"bot": leduc_bot},
    "phantom_tictactoe": {"bot": tictactoe_bot},
    "dark_hex": {"bot": dark_hex_bot},
    "battleship": {"bot": new_action_bot},
    "concentration": {"bot": concentration_bot},
    "minesweeper": {"bot": new_action_bot},
    "generals": {"bot": greedy_bot, "expander": expander_bot, "greedy": greedy_bot},
}
"""Per game its bots by the names the scripts take; `bot` is the strongest one."""
