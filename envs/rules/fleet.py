"""What the forms of battleship share: fleets on hidden boards, shots at them, and how both are drawn.

A board is named after its owner. A place is where a ship lies: cell c in a row from c on, cells + c in a
column from c on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.core import REFEREE, Game, Spot, State, Viewer, record, verb
from envs.drawing import (
    CELL,
    INK,
    LATEST,
    LINE,
    MUTED,
    SEATS,
    Board,
    Panel,
    burst,
    cell_name,
    disc,
    grid_text,
    panels,
    spots,
    square_board,
)

UNKNOWN, WATER, HIT, SUNK = 0, 1, 2, 3  # what a shooter was told of a cell
NOWHERE = -1
SIGNS = {".": "unknown or water", "#": "ship", "o": "water, shot at", "x": "hit", "X": "sunk"}  # aloud


def fleet_record(seats: int, cells: int, ships: int) -> np.dtype[Any]:
    """The state: a fleet on a board for each seat.

    0  1  2  3
    4  5  6  7      cells of a 3 x 4 board; a ship of 3 in the place 5 covers 5 6 7,
    8  9 10 11      in the place 12 + 3 it covers 3 7 11
    """
    return record(
        seats,
        ("ship", np.int8, (seats, cells)),  # on each board: 0 water, else 1 + the ship's number
        ("place", np.int16, (seats, ships)),  # of each ship, NOWHERE before it is laid
        ("parts", np.int8, (seats, ships)),  # cells of each ship that were not hit yet
        ("afloat", np.int8, (seats,)),  # ships of each board that were not sunk yet
        ("placed", np.int8, (seats,)),  # ships of each board that were laid
        ("can_place", np.uint8, (2 * cells,)),  # 1: the next ship may be laid in this place
        ("told", np.int8, (seats, cells)),  # to each seat, of its latest shot there: UNKNOWN .. SUNK
        ("fired", np.int16, (seats,)),  # shots of each seat so far
        ("last", np.int16, (seats,)),  # cell of each seat's latest shot, NOWHERE before the first
        ("is_new_hit", np.bool_),  # the latest shot hit a ship where the seat had not shot before
        ("length", np.int8, (ships,)),
        ("value", np.int16, (ships,)),
        ("rows", np.int16),
        ("cols", np.int16),
        ("shots", np.int16),
        ("loss_multiplier", np.int16),
        ("repeats", np.bool_),  # option: allow_repeated_shots
        ("is_roomy", np.bool_),  # whatever is laid where, the rest of the ships fits
    )


# ---------------------------------------------------------------- ships


@verb
def clear_boards(s: State) -> None:
    """All ships are whole and lie nowhere yet."""
    for p in range(s.ship.shape[0]):
        s.last[p] = NOWHERE
        s.afloat[p] = s.length.shape[0]
        for k in range(s.length.shape[0]):
            s.place[p, k] = NOWHERE
            s.parts[p, k] = s.length[k]


@verb
def fits(s: State, board: int, ship: int, place: int) -> bool:
    """Does the ship lie inside the board and on free cells? One of a single cell lies in a row."""
    cells, length = s.ship.shape[1], s.length[ship]
    cell, is_column = place % cells, place >= cells
    if is_column and (length == 1 or cell // s.cols + length > s.rows):
        return False
    if not is_column and cell % s.cols + length > s.cols:
        return False
    step = s.cols if is_column else 1
    free = 0
    while free < length and s.ship[board, cell + free * step] == 0:
        free += 1
    return bool(free == length)


@verb
def put(s: State, board: int, ship: int, place: int) -> None:
    """Lay a ship on free cells."""
    cover(s, board, ship, place, ship + 1)
    s.place[board, ship] = place


@verb
def lift(s: State, board: int, ship: int) -> None:
    """Take a ship off its board again."""
    cover(s, board, ship, s.place[board, ship], 0)
    s.place[board, ship] = NOWHERE


@verb
def cover(s: State, board: int, ship: int, place: int, mark: int) -> None:
    """Write `mark` on all cells of the ship's place."""
    cells = s.ship.shape[1]
    step = s.cols if place >= cells else 1
    for k in range(s.length[ship]):
        s.ship[board, place % cells + k * step] = mark


# ---------------------------------------------------------------- shots


@verb
def shoot(s: State, board: int, cell: int) -> None:
    """The seat to move shoots at a cell of `board`."""
    seat, ship = s.seat, s.ship[board, cell] - 1
    s.is_new_hit = ship >= 0 and s.told[seat, cell] == UNKNOWN
    if s.is_new_hit:
        s.parts[board, ship] -= 1
        if s.parts[board, ship] == 0:
            s.afloat[board] -= 1
    s.told[seat, cell] = WATER if ship < 0 else HIT if s.parts[board, ship] > 0 else SUNK
    s.last[seat] = cell
    s.fired[seat] += 1


# ---------------------------------------------------------------- games


class FleetGame(Game):
    """A form of battleship: its boards, its ships, and what a viewer is told of them."""

    name = "battleship"

    @property
    @abstractmethod
    def rows(self) -> int:
        """Of every board."""

    @property
    def board(self) -> Board:
        """Where the cells of every board lie."""
        return square_board(self.rows, self.cols, 40.0)

    @property
    @abstractmethod
    def cols(self) -> int:
        """Of every board."""

    @property
    @abstractmethod
    def ships(self) -> str:
        """Lengths of the ships, such as 2,3,3,4."""

    @property
    @abstractmethod
    def values(self) -> str:
        """What sinking each of them is worth, such as 1,1,1,1."""

    @property
    @abstractmethod
    def shots(self) -> int:
        """Of each seat."""

    @property
    def cells(self) -> int:
        """Of every board."""
        return self.rows * self.cols

    @property
    def lengths(self) -> list[int]:
        """Cells of each ship."""
        return [int(part) for part in self.ships.split(",")]

    @property
    def worths(self) -> list[int]:
        """The values of the ships as numbers."""
        return [int(part) for part in self.values.split(",")]

    @property
    def is_roomy(self) -> bool:
        """Whatever the places of the ships before, will each ship find a free one?

        A ship of m cells blocks at most n + m - 1 of the places of a ship of n cells that lie along it
        and n * m of those across. If all before together block fewer than there are, one is left.
        """
        for k, n in enumerate(self.lengths):
            places = self.rows * max(self.cols - n + 1, 0) + self.cols * max(self.rows - n + 1, 0)
            blocked = sum(n + m - 1 + n * m for m in self.lengths[:k])
            if blocked >= places:
                return False
        return True

    @property
    def state(self) -> np.dtype[Any]:
        return fleet_record(self.seats, self.cells, len(self.lengths))

    def blank(self) -> State:
        s = super().blank()
        s.length, s.value = self.lengths, self.worths
        s.rows, s.cols, s.shots = self.rows, self.cols, self.shots
        s.loss_multiplier, s.repeats, s.is_roomy = 1, True, self.is_roomy
        return s

    def action_name(self, action: int) -> str:
        kind, cell = divmod(action, self.cells)
        return cell_name(cell, self.cols) + ("", " across", " down")[kind]

    def spots(self, seat: int) -> Mapping[int, Spot]:
        """A ship is placed on the own board; a shot is made at the last of those that a seat is shown."""
        places = ((a, a % self.cells, None) for a in range(self.cells, self.actions))
        shots = ((a, a, None) for a in range(self.cells))
        return spots(self.board, places) | spots(self.board, shots, len(self.headings(seat)) - 1)

    # ---------------------------------------------------------------- drawn for a viewer

    @abstractmethod
    def headings(self, viewer: Viewer) -> list[tuple[int, str]]:
        """The boards shown to `viewer`: their owners and headings."""

    @abstractmethod
    def views(self, state: State, owner: int, viewer: Viewer) -> list[tuple[bool, int]]:
        """Of each cell of a board: does `viewer` know of a ship there, and what was the shooter told."""

    @abstractmethod
    def shooter(self, owner: int) -> int:
        """Who shoots at the board of `owner`."""

    @abstractmethod
    def conditions(self) -> str:
        """The options, in words."""

    @abstractmethod
    def situation(self, state: State, viewer: Viewer) -> tuple[str, int | None]:
        """What may be said to `viewer`, and the seat it is about."""

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        """Each board: `.` nothing known or water, `#` ship, `o` water shot at, `x` hit, `X` sunk."""
        shown = []
        for owner, heading in self.headings(viewer):
            views = self.views(state, owner, viewer)
            signs = ["#" if is_ship and told == UNKNOWN else ".oxX"[told] for is_ship, told in views]
            shown.append(f"{heading}\n{grid_text(signs, self.cols)}")
        return "\n".join([*shown, self.situation(state, viewer)[0]])

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        board = self.board
        shown = [
            Panel(heading, SEATS[owner], board, self._drawn(board, state, owner, viewer))
            for owner, heading in self.headings(viewer)
        ]
        return panels("Battleship", self.conditions(), *self.situation(state, viewer), shown)

    def _drawn(self, board: Board, state: State, owner: int, viewer: Viewer) -> str:
        latest = state.last[self.shooter(owner)]
        drawn = []
        for cell, (is_ship, told) in enumerate(self.views(state, owner, viewer)):
            x, y = board.centres[cell]
            drawn.append(board.cell(cell, LATEST if cell == latest else LINE if is_ship else CELL))
            if is_ship:
                drawn.append(disc(x, y, 1.1 * board.stone, fill="none", stroke=INK, stroke_width=1.5))
            if told == WATER:
                drawn.append(disc(x, y, 0.35 * board.stone, fill=MUTED))
            elif told != UNKNOWN:
                drawn.append(burst(x, y, 0.8 * board.stone))
            if told == SUNK:
                drawn.append(disc(x, y, 0.3 * board.stone, fill=INK))
        return "".join(drawn)
