"""Battleship: find the ships of a hidden fleet by shooting at cells.

The game comes in two forms: one seat against a fleet that lies at random, or two seats that place their
fleets themselves and then shoot in turns.

Rules, one seat (seats=1)
    Ships of 2, 3, 3 and 4 cells lie on a square board, in a row or in a column; they may touch. The seat
    shoots at cells, one after the other, and is told only whether it has hit a ship where it had not
    shot before. The match ends when all 12 ship cells are hit, or after as many shots as there are
    cells.

        level    board      shots
        easy     8 x 8         64
        medium   10 x 10      100
        hard     12 x 12      144

Rules, two seats (seats=2)
    First both place their ships, unseen by the other: one ship each in turn, seat 0 first, in the order
    of the option `ships`. Ships may touch; a place from which the rest would no longer fit is not legal.
    Then they shoot in turns, seat 0 first. The shooter is told whether it hit water, hit a ship or sank
    it (a later shot at a sunk ship says so again); the other sees the cell that was shot at. The match
    ends when a fleet is sunk or both have used up their shots.

         0  1  2  3
         4  5  6  7      cells of a 3 x 4 board, as shots
         8  9 10 11

Options, one seat
    level                  "easy"         or "medium", "hard"

Options, two seats (in brackets OpenSpiel's name)
    rows, cols             10, 10         size of both boards, 1..10 each (board_height, board_width)
    ships                  "2,3,3,4,5"    lengths of up to 26 ships (ship_sizes); on a board of more than
                                          36 cells they may cover half of it
    values                 "1,1,1,1,1"    what sinking them is worth, 0..1000 each (ship_values)
    shots                  50             of each seat, 1..1000 (num_shots)
    allow_repeated_shots   True           a cell may be shot at again (allow_repeated_shots)
    loss_multiplier        1              weight of own losses, 0..100 (loss_multiplier)

    Left open (0 or ""), an option takes its form's value; one that is not its form's is refused.

Observation, one seat, uint8 [1]
    slot         codes    meaning
    0            0..1     1: the latest shot hit a ship where the seat had not shot before

    It does not say where that shot was: a player has to remember its own actions.

Observation, two seats, uint8 [2 * cells + 2]
    slot         codes    meaning
    0..N-1       0..3     own board: water, own ship, water that was shot at, own ship that was hit
    N..2N-1      0..3     the other's board, by what the seat was told last: nothing, water, hit, sunk
    2N           0..      cells of the ship to be placed now; 0 when all are placed
    2N+1         0..N     1 + the cell the other shot at last; 0 if it has not shot yet

Actions
    row * cols + column    shoot there. With one seat every cell may be shot at any time: a second
                           shot is punished, not illegal
    cells + c              place the ship in a row whose left end is cell c (two seats)
    2 * cells + c          place the ship in a column whose upper end is cell c (two seats); a ship of
                           one cell is placed in a row

Rewards, one seat, after each shot, on n x n cells
    +1/12           a ship cell hit for the first time
    -1/(n*n - 12)   anything else
    A match is worth -n*n/(n*n - 12) to 1.

Rewards, two seats, at the end
    Values of the other's ships that were sunk, less `loss_multiplier` times those of the own ones; with
    1 the game is zero-sum.

The fleet of the one-seat form is drawn by `deal` from the match's own random numbers: no chance node, as
no tree of all fleets can be walked. Ship by ship in the order 2, 3, 3, 4, every place that is still free
has the same probability.

Source of the rules: POPGym `BattleshipEasy`, `BattleshipMedium`, `BattleshipHard` (Morad et al. 2023), where
an action is the pair (row, column) and the limit of shots is a truncation; OpenSpiel `battleship`
(Farina et al. 2019).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NoReturn

import gymnasium
import numpy as np

from envs.core import REFEREE, Array, Game, State, Viewer, codes, draw_below, record, verb
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
    situation,
    square_board,
)

SIDES = {"easy": 8, "medium": 10, "hard": 12}  # of the one-seat form's boards
FLEET = "2,3,3,4"  # of the one-seat form
SMALL = 36
"""Cells of a board that may be packed full. On a larger one the search for what still fits, whose time
grows exponentially, is kept short by room."""
UNKNOWN, WATER, HIT, SUNK = 0, 1, 2, 3
NOWHERE = -1
NAMES = ("seat 0", "seat 1")


# A place is where a ship lies: cell c in a row from c on, cells + c in a column from c on. A board is
# named after its owner; with one seat there is board 0 alone, and that seat shoots at it.


@verb
def deal(s: State) -> None:
    for p in range(s.ship.shape[0]):
        s.last[p] = NOWHERE
        s.afloat[p] = s.length.shape[0]
        for k in range(s.length.shape[0]):
            s.place[p, k] = NOWHERE
            s.parts[p, k] = s.length[k]
    if is_alone(s):
        for k in range(s.length.shape[0]):
            put(s, 0, k, random_place(s, k))
        s.placed[0] = s.length.shape[0]
    else:
        find_places(s)


@verb
def is_alone(s: State) -> bool:
    return s.ship.shape[0] == 1  # type: ignore[no-any-return]


@verb
def random_place(s: State, ship: int) -> int:
    """A free place on board 0, all with the same probability."""
    while True:
        place = draw_below(s, 2 * s.ship.shape[1])
        if fits(s, 0, ship, place):
            return place


@verb
def legal(s: State, mask: Array) -> None:
    cells = s.ship.shape[1]
    if s.placed[s.seat] < s.length.shape[0]:
        for place in range(2 * cells):
            mask[cells + place] = s.can_place[place] != 0
    else:
        for c in range(cells):
            mask[c] = s.repeats or s.told[s.seat, c] == UNKNOWN


@verb
def play(s: State, action: int) -> None:
    cells = s.ship.shape[1]
    if action >= cells:
        place_ship(s, action - cells)
    elif is_alone(s):
        shoot_alone(s, action)
    else:
        shoot_in_turn(s, action)


# ---------------------------------------------------------------- placing


@verb
def place_ship(s: State, place: int) -> None:
    """Lay the next ship of the seat to move; passes the turn."""
    put(s, s.seat, s.placed[s.seat], place)
    s.placed[s.seat] += 1
    s.seat = 1 - s.seat
    if s.placed[s.seat] < s.length.shape[0]:
        find_places(s)


@verb
def find_places(s: State) -> None:
    """Mark where the seat to move may lay its next ship: where it fits, and the rest will fit too."""
    board, ship = s.seat, s.placed[s.seat]
    for place in range(s.can_place.shape[0]):
        can = fits(s, board, ship, place)
        if can and not s.is_roomy:
            put(s, board, ship, place)
            can = rest_fits(s, board, ship + 1)
            lift(s, board, ship)
        s.can_place[place] = can


@verb
def rest_fits(s: State, board: int, first: int) -> bool:
    """Can the ships from `first` on be placed beside those on the board?

    They are tried in order; when one fits nowhere, the one before it is moved on. Of two equal ships in
    a row the second is tried behind the first. All are taken away again at the end.
    """
    ships = s.length.shape[0]
    ship = first
    while first <= ship < ships:
        place = s.place[board, ship]
        if place != NOWHERE:
            lift(s, board, ship)
        elif ship > first and s.length[ship] == s.length[ship - 1]:
            place = s.place[board, ship - 1]
        place += 1
        while place < s.can_place.shape[0] and not fits(s, board, ship, place):
            place += 1
        if place < s.can_place.shape[0]:
            put(s, board, ship, place)
            ship += 1
        else:
            ship -= 1
    for k in range(first, ships):
        if s.place[board, k] != NOWHERE:
            lift(s, board, k)
    return ship == ships  # type: ignore[no-any-return]


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
    for k in range(length):  # noqa: SIM110
        if s.ship[board, cell + k * step] != 0:
            return False
    return True


@verb
def put(s: State, board: int, ship: int, place: int) -> None:
    cover(s, board, ship, place, ship + 1)
    s.place[board, ship] = place


@verb
def lift(s: State, board: int, ship: int) -> None:
    cover(s, board, ship, s.place[board, ship], 0)
    s.place[board, ship] = NOWHERE


@verb
def cover(s: State, board: int, ship: int, place: int, mark: int) -> None:
    """Write `mark` on all cells of the ship's place."""
    cells = s.ship.shape[1]
    step = s.cols if place >= cells else 1
    for k in range(s.length[ship]):
        s.ship[board, place % cells + k * step] = mark


# ---------------------------------------------------------------- shooting


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


@verb
def shoot_alone(s: State, cell: int) -> None:
    ship_cells = 0
    for k in range(s.length.shape[0]):
        ship_cells += s.length[k]
    shoot(s, 0, cell)
    s.reward[0] = 1.0 / ship_cells if s.is_new_hit else -1.0 / (s.ship.shape[1] - ship_cells)
    s.over = s.afloat[0] == 0 or s.fired[0] == s.shots


@verb
def shoot_in_turn(s: State, cell: int) -> None:
    other = 1 - s.seat
    shoot(s, other, cell)
    if s.afloat[other] == 0 or s.fired[1] == s.shots:  # seat 1 is the last to shoot
        settle(s)
    else:
        s.seat = other


@verb
def settle(s: State) -> None:
    s.over = True
    lost_first, lost_second = value_sunk(s, 0), value_sunk(s, 1)
    s.reward[0] = lost_second - s.loss_multiplier * lost_first
    s.reward[1] = lost_first - s.loss_multiplier * lost_second


@verb
def value_sunk(s: State, board: int) -> int:
    """Values of the board's ships that were sunk."""
    total = 0
    for k in range(s.length.shape[0]):
        if s.parts[board, k] == 0:
            total += s.value[k]
    return total


# ---------------------------------------------------------------- observing


@verb
def observe(s: State, seat: int, out: Array) -> None:
    if is_alone(s):
        out[0] = s.is_new_hit
    else:
        observe_boards(s, seat, out)


@verb
def observe_boards(s: State, seat: int, out: Array) -> None:
    cells, other = s.ship.shape[1], 1 - seat
    for c in range(cells):
        out[c] = (s.ship[seat, c] != 0) + 2 * (s.told[other, c] != UNKNOWN)
        out[cells + c] = s.told[seat, c]
    if s.placed[seat] < s.length.shape[0]:
        out[2 * cells] = s.length[s.placed[seat]]
    out[2 * cells + 1] = s.last[other] + 1


@dataclasses.dataclass(frozen=True)
class Battleship(Game):
    """Battleship for one seat or two; see the module's docstring."""

    seats: int = 1
    """1 or 2."""
    level: Literal["", "easy", "medium", "hard"] = ""
    """With one seat, which it decides everything of; left open it is easy."""
    rows: int = 0
    """Of both boards with two seats, 1..10; left open (0) they are 10."""
    cols: int = 0
    """Likewise."""
    ships: str = ""
    """With two seats, lengths of up to 26 ships, such as 2,3,3,4,5."""
    values: str = ""
    """With two seats, what sinking each is worth, such as 1,1,1,1,1."""
    shots: int = 0
    """Of each of two seats, 1..1000; left open (0) they are 50."""
    allow_repeated_shots: bool = True
    """A cell may be shot at again, with two seats."""
    loss_multiplier: int = 1
    """Weight of own losses, 0..100, with two seats."""

    name = "battleship"

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("seats", 1, 2)
        if self.seats == 1:
            self._settle_one_seat()
        else:
            self._settle_two_seats()

    def _settle_one_seat(self) -> None:
        """The level decides everything."""
        object.__setattr__(self, "level", self.level or "easy")
        side = SIDES[self.level]
        fixed = {"rows": side, "cols": side, "ships": FLEET, "values": "1,1,1,1", "shots": side**2}
        for option, value in fixed.items():
            if getattr(self, option) not in (0, "", value):
                self._refuse(option, f"is {value!r} with one seat at level {self.level!r}")
            object.__setattr__(self, option, value)
        for option in ("allow_repeated_shots", "loss_multiplier"):
            if getattr(self, option) != getattr(type(self), option):
                self._refuse(option, "is for two seats (seats=2)")

    def _settle_two_seats(self) -> None:
        """Fill in what was left open, and judge what was given."""
        if self.level:
            self._refuse("level", "is for one seat; with seats=2 give rows, cols, ships and shots")
        for option, value in {"rows": 10, "cols": 10, "ships": "2,3,3,4,5", "shots": 50}.items():
            object.__setattr__(self, option, getattr(self, option) or value)
        for option, low, high in (("rows", 1, 10), ("cols", 1, 10), ("shots", 1, 1000)):
            self._require(option, low, high)
        self._require("loss_multiplier", 0, 100)
        cells = self.rows * self.cols
        if not self.allow_repeated_shots and self.shots > cells:
            self._refuse("shots", f"must be at most {cells}, the cells, as none may be shot at again")
        self._settle_fleet(cells)

    def _settle_fleet(self, cells: int) -> None:
        """Lengths and values of the ships, and whether they fit on `cells` cells."""
        lengths = self._numbers("ships", 1, max(self.rows, self.cols))
        if len(lengths) > 26:
            self._refuse("ships", "may name 26 ships")
        object.__setattr__(self, "values", self.values or ",".join("1" for _ in lengths))
        values = self._numbers("values", 0, 1000)
        if len(values) != len(lengths) or not any(values):
            self._refuse("values", f"must name {len(lengths)} values, one for each ship and not all 0")
        if cells > SMALL and 2 * sum(lengths) > cells:
            self._refuse("ships", f"may cover {cells // 2} of {cells} cells")
        if sum(lengths) > cells or not (self._is_roomy() or self._can_begin()):
            self._refuse("ships", f"must fit on {self.rows} x {self.cols} cells together")

    def _refuse(self, option: str, expected: str) -> NoReturn:
        raise ValueError(f"{self.name}: option {option!r} {expected}, got {getattr(self, option)!r}")

    def _numbers(self, option: str, low: int, high: int) -> list[int]:
        """The whole numbers that a text like "2,3,3" lists."""
        try:
            numbers = [int(part) for part in getattr(self, option).split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(low <= number <= high for number in numbers):
            self._refuse(option, f'must list whole numbers in {low}..{high} like "2,3,3"')
        return numbers

    def _is_roomy(self) -> bool:
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

    def _can_begin(self) -> bool:
        """Is there a way to place all ships?"""
        s = self.blank()
        self.deal(s)
        return bool(s.can_place.any())

    @property
    def lengths(self) -> list[int]:
        """Cells of each ship."""
        return [int(part) for part in self.ships.split(",")]

    @property
    def actions(self) -> int:
        return self.rows * self.cols * (1 if self.seats == 1 else 3)

    @property
    def max_length(self) -> int:
        return self.shots if self.seats == 1 else 2 * (len(self.lengths) + self.shots)

    @property
    def return_range(self) -> tuple[float, float]:
        if self.seats == 1:
            return -self.shots / (self.actions - sum(self.lengths)), 1.0
        total = sum(int(value) for value in self.values.split(","))
        return float(-self.loss_multiplier * total), float(total)

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        if self.seats == 1:
            return codes(2)
        cells = self.rows * self.cols
        return codes(*[4] * (2 * cells), max(self.lengths) + 1, cells + 1)

    @property
    def state(self) -> np.dtype[Any]:
        P, cells, ships = self.seats, self.rows * self.cols, len(self.lengths)
        return record(
            P,
            ("ship", np.int8, (P, cells)),  # on each board: 0 water, else 1 + the ship's number
            ("place", np.int16, (P, ships)),  # of each ship, NOWHERE before it is laid
            ("parts", np.int8, (P, ships)),  # cells of each ship that were not hit yet
            ("afloat", np.int8, (P,)),  # ships of each board that were not sunk yet
            ("placed", np.int8, (P,)),  # ships of each board that were laid
            ("can_place", np.uint8, (2 * cells,)),  # 1: the next ship may be laid in this place
            ("told", np.int8, (P, cells)),  # to each seat, of its latest shot there: UNKNOWN .. SUNK
            ("fired", np.int16, (P,)),  # shots of each seat so far
            ("last", np.int16, (P,)),  # cell of each seat's latest shot, NOWHERE before the first
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

    def blank(self) -> State:
        s = super().blank()
        s.length, s.value = self.lengths, [int(value) for value in self.values.split(",")]
        s.rows, s.cols, s.shots = self.rows, self.cols, self.shots
        s.loss_multiplier, s.repeats = self.loss_multiplier, self.allow_repeated_shots
        s.is_roomy = self._is_roomy()
        return s

    def action_name(self, action: int) -> str:
        kind, cell = divmod(action, self.rows * self.cols)
        return cell_name(cell, self.cols) + ("", " across", " down")[kind]

    # ---------------------------------------------------------------- drawn for a viewer

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        """Each board: `.` nothing known or water, `#` ship, `o` water shot at, `x` hit, `X` sunk."""
        shown = []
        for owner, heading in self._boards(viewer):
            views = self._views(state, owner, viewer)
            signs = ["#" if is_ship and told == UNKNOWN else ".oxX"[told] for is_ship, told in views]
            shown.append(f"{heading}\n{grid_text(signs, self.cols)}")
        return "\n".join([*shown, self._situation(state, viewer)[0]])

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        board = square_board(self.rows, self.cols, 40.0)
        shown = [
            Panel(heading, SEATS[owner], board, self._drawn(board, state, owner, viewer))
            for owner, heading in self._boards(viewer)
        ]
        if self.seats == 1:
            options = f"{self.level}: ships of {self.ships} cells, {self.shots} shots"
        else:
            again = "" if self.allow_repeated_shots else ", none at a cell again"
            options = f"ships of {self.ships} cells, {self.shots} shots each{again}"
        return panels("Battleship", options, *self._situation(state, viewer), shown)

    def _boards(self, viewer: Viewer) -> list[tuple[int, str]]:
        """The boards shown to `viewer`: their owners and headings."""
        if self.seats == 1:
            return [(0, "the fleet" if viewer == REFEREE else "shots so far")]
        if viewer == REFEREE:
            return [(p, f"{NAMES[p]}'s fleet") for p in range(2)]
        return [(int(viewer), "own fleet"), (1 - int(viewer), f"{NAMES[1 - int(viewer)]}'s waters")]

    def _views(self, state: State, owner: int, viewer: Viewer) -> list[tuple[bool, int]]:
        """Of each cell of a board: does `viewer` know of a ship there, and what was the shooter told."""
        sees_ships = viewer == REFEREE or (self.seats == 2 and viewer == owner)
        most = HIT if self.seats == 1 else SUNK  # one seat alone is not told of sinking
        told = state.told[self._shooter(owner)]
        return [
            (sees_ships and bool(state.ship[owner, c]), min(int(told[c]), most)) for c in range(len(told))
        ]

    def _shooter(self, owner: int) -> int:
        """Who shoots at the board of `owner`."""
        return 0 if self.seats == 1 else 1 - owner

    def _drawn(self, board: Board, state: State, owner: int, viewer: Viewer) -> str:
        latest = state.last[self._shooter(owner)]
        drawn = []
        for cell, (is_ship, told) in enumerate(self._views(state, owner, viewer)):
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

    def _situation(self, state: State, viewer: Viewer) -> tuple[str, int | None]:
        """What may be said to `viewer`, and the seat it is about."""
        if self.seats == 1:
            hits = sum(self.lengths) - int(state.parts.sum())
            return f"{hits} of {sum(self.lengths)} cells hit, shots: {state.fired[0]} of {self.shots}", 0
        said, about = situation(state, NAMES)
        seen = "" if viewer == REFEREE else f"seen by {NAMES[viewer]}: "
        if not state.over and state.placed[state.seat] < len(self.lengths):
            said = f"{NAMES[state.seat]} places a ship of {state.length[state.placed[state.seat]]}"
        return f"{seen}{said}, shots: {state.fired[0]} and {state.fired[1]} of {self.shots}", about
