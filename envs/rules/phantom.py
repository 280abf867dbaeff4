"""What the phantom games share: a hidden board, a view of it per seat, and attempts that may collide.

A seat names a cell. If the cell is truly empty its stone is placed. If the opponent's stone is there
already (a collision), the board stays as it is and the seat now knows that stone. Fields a phantom
game's state needs are made by `fields`.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np

from envs import drawing
from envs.core import REFEREE, Array, Game, State, Viewer, codes, verb
from envs.drawing import (
    CELL,
    COLLISION,
    COLLISION_PALE,
    INK,
    LATEST,
    MUTED,
    SEATS,
    Board,
    Panel,
    burst,
    stone,
)

Reveal = Literal["nothing", "turns"]
DIGIT = 128  # the attempts are counted in base 128, so that a digit is a uint8 code
NAMES = ("x", "o")  # of the seats
STONES = (".", *NAMES)  # in letters
SIGNS = {".": "unknown"}  # aloud
PRIVATE = ("known", "last", "collided")
"""What only the seat's own verbs read: a classical collision is no business of the other seat's."""


def fields(cells: int) -> tuple[tuple[Any, ...], ...]:
    """State fields of a phantom game on `cells` cells. A stone of seat p is p + 1, an empty cell 0."""
    return (
        ("board", np.int8, (cells,)),  # the true stones
        ("known", np.int8, (2, cells)),  # the stones each seat knows of: its own and those it hit
        ("last", np.int16, (2,)),  # cell of each seat's latest attempt, -1 before the first
        ("collided", np.uint8, (2,)),  # 1: that attempt hit an opponent's stone
        ("attempts", np.int16),  # made by both seats
        ("mover", np.int8),  # seat of the latest attempt, -1 before the first
        ("abrupt", np.bool_),  # option: a collision costs the turn
        ("reveals_turns", np.bool_),  # option: the number of attempts is public
    )


def space(cells: int, reveal: Reveal) -> gymnasium.spaces.MultiDiscrete:
    """Observation space: a code per cell, and with reveal="turns" the digits of the attempt count."""
    most = 2 * cells - 1
    digits = [DIGIT] * (1 if most < DIGIT else 2) if reveal == "turns" else []
    return codes(*[3] * cells, *digits)


def notes(reveal: Reveal) -> tuple[str, ...]:
    """Fields that decide nothing."""
    return ("mover",) if reveal == "turns" else ("mover", "attempts")


@verb
def begin(s: State) -> None:
    """Nobody has tried a cell yet."""
    for p in range(2):
        s.last[p] = -1
    s.mover = -1


@verb
def attempt(s: State, cell: int) -> bool:
    """The seat to move tries `cell`; returns whether its stone was placed. Passes the turn."""
    seat = s.seat
    placed = s.board[cell] == 0
    if placed:
        s.board[cell] = seat + 1
    s.known[seat, cell] = s.board[cell]
    s.last[seat] = cell
    s.collided[seat] = not placed
    s.attempts += 1
    s.mover = seat
    if placed or s.abrupt:
        s.seat = 1 - seat
    return bool(placed)


@verb
def legal(s: State, mask: Array) -> None:
    """The cells that the seat to move knows nothing of."""
    seat = s.seat
    for c in range(mask.shape[0]):
        mask[c] = s.known[seat, c] == 0


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """Per cell 0 unknown, 1 own stone, 2 opponent's stone; then the attempt count, low digit first."""
    cells = s.board.shape[0]
    for c in range(min(cells, out.shape[0])):  # a length unknown before, or 25 cells come one by one
        stone = s.known[seat, c] << seat  # to seat 1 a 1 is a 2, and a 2 a 4
        out[c] = (stone | stone >> 2) & 3
    if s.reveals_turns:
        out[cells] = s.attempts % DIGIT
        if out.shape[0] > cells + 1:
            out[cells + 1] = s.attempts // DIGIT


def seen(state: Any, viewer: Viewer) -> Any:
    """The stones `viewer` knows of, int8 [cells]: everything for the referee."""
    return state.board if viewer == REFEREE else state.known[viewer]


# ---------------------------------------------------------------- drawn for a viewer


def situation(state: Any, viewer: Viewer) -> tuple[str, int | None]:
    """What may be said to `viewer` of turn, attempts and result, and the seat it is about.

    A seat is not told whose turn it is: that would tell it of the other's collisions.
    """
    said, about = drawing.situation(state, NAMES)
    if viewer == REFEREE:
        return f"{said}, attempts: {state.attempts}", about
    parts = [f"seen by {NAMES[viewer]}"]
    if state.reveals_turns:
        parts.append(f"attempts: {state.attempts}")
    if state.over:
        parts.append(said)
    return ", ".join(parts), int(viewer)


def latest(game: Game, state: Any, seat: int) -> str:
    """The seat's latest attempt and what came of it."""
    if state.last[seat] < 0:
        return f"{NAMES[seat]} has made no attempt yet"
    outcome = "collided on" if state.collided[seat] else "placed"
    return f"{NAMES[seat]} {outcome} {game.action_name(int(state.last[seat]))}"


def text(game: Game, state: Any, viewer: Viewer) -> str:
    """The line of text below the board: the situation and the latest attempts `viewer` knows of."""
    seats = (0, 1) if viewer == REFEREE else (viewer,)
    return "   ".join([situation(state, viewer)[0], *(latest(game, state, p) for p in seats)])


def svg(game: Game, title: str, board: Board, state: Any, viewer: Viewer) -> str:
    """The match as a document: the referee sees the true board between the two seats' knowledge of it,
    a seat its own knowledge."""
    owners = (0, None, 1) if viewer == REFEREE else (viewer,)
    pace = "abrupt" if state.abrupt else "classical"
    options = f"{pace}, turns {'revealed' if state.reveals_turns else 'hidden'}"
    shown = [_panel(game, board, state, owner) for owner in owners]
    return drawing.panels(title, options, *situation(state, viewer), shown)


def _panel(game: Game, board: Board, state: Any, owner: int | None) -> Panel:
    """What seat `owner` knows (None: the true board), and the latest attempt."""
    mover = max(0, int(state.mover))  # before the first attempt: the seat that will make it
    seat = mover if owner is None else owner
    heading, colour = ("the board", INK) if owner is None else (f"{NAMES[owner]} knows", SEATS[owner])
    note_colour = COLLISION if state.collided[seat] else MUTED
    content = _cells(board, state, owner, seat)
    return Panel(heading, colour, board, content, latest(game, state, seat), note_colour)


def _cells(board: Board, state: Any, owner: int | None, seat: int) -> str:
    """The cells, the stones `owner` knows of, and a mark on the latest attempt of `seat`."""
    stones = state.board if owner is None else state.known[owner]
    tried, collided = int(state.last[seat]), bool(state.collided[seat])
    drawn = []
    for cell, colour in enumerate(stones):
        drawn.append(board.cell(cell, CELL if cell != tried else COLLISION_PALE if collided else LATEST))
        if colour != 0:
            found = owner is not None and colour != owner + 1
            drawn.append(stone(*board.centres[cell], board.stone, int(colour) - 1, found))
    if collided:
        x, y = board.centres[tried]
        drawn.append(burst(x + 0.85 * board.stone, y - 0.85 * board.stone, 0.6 * board.stone))
    return "".join(drawn)
