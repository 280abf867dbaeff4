"""Battleship for two: place a fleet unseen, then shoot at the other's in turns.

Rules
    First both place their ships, unseen by the other: one ship each in turn, seat 0 first, in the order
    of the option `ships`. Ships may touch; a place from which the rest would no longer fit is not legal.
    Then they shoot in turns, seat 0 first. The shooter is told whether it hit water, hit a ship or sank
    it (a later shot at a sunk ship says so again); the other sees the cell that was shot at. The match
    ends when a fleet is sunk or both have used up their shots.

Options (in brackets OpenSpiel's name)
    rows, cols             10, 10         size of both boards, 1..10 each (board_height, board_width)
    ships                  "2,3,3,4,5"    lengths of up to 26 ships (ship_sizes); on a board of more than
                                          36 cells they may cover half of it
    values                 "1,1,1,1,1"    what sinking them is worth, 0..1000 each (ship_values)
    shots                  50             of each seat, 1..1000 (num_shots)
    allow_repeated_shots   True           a cell may be shot at again (allow_repeated_shots)
    loss_multiplier        1              weight of own losses, 0..100 (loss_multiplier)

Observation, uint8 [2 * cells + 2]
    slot         codes    meaning
    0..N-1       0..3     own board: water, own ship, water that was shot at, own ship that was hit
    N..2N-1      0..3     the other's board, by what the seat was told last: nothing, water, hit, sunk
    2N           0..      cells of the ship to be placed now; 0 when all are placed
    2N+1         0..N     1 + the cell the other shot at last; 0 if it has not shot yet

Actions
    row * cols + column    shoot there
    cells + c              place the ship in a row whose left end is cell c
    2 * cells + c          place the ship in a column whose upper end is cell c; a ship of one cell is
                           placed in a row

Rewards, at the end
    Values of the other's ships that were sunk, less `loss_multiplier` times those of the own ones; with
    1 the game is zero-sum.

Source of the rules: OpenSpiel `battleship` (Farina et al. 2019).
"""

from __future__ import annotations

import dataclasses

import gymnasium

from envs.core import REFEREE, Array, State, Viewer, codes, verb
from envs.drawing import situation
from envs.rules.fleet import NOWHERE, SUNK, UNKNOWN, FleetGame, clear_boards, fits, lift, put, shoot

SMALL = 36
"""Cells of a board that may be packed full. On a larger one the search for what still fits, whose time
grows exponentially, is kept short by room."""
NAMES = ("seat 0", "seat 1")


# The record is `envs.rules.fleet.fleet_record`'s for two seats: each owns a board and shoots at the other's.


@verb
def deal(s: State) -> None:
    """Both boards are empty; seat 0 is to place its first ship."""
    clear_boards(s)
    find_places(s)


@verb
def legal(s: State, mask: Array) -> None:
    """First the places of the next ship, then the cells to shoot at."""
    cells = s.ship.shape[1]
    if s.placed[s.seat] < s.length.shape[0]:
        for place in range(2 * cells):
            mask[cells + place] = s.can_place[place] != 0
    else:
        for c in range(cells):
            mask[c] = s.repeats or s.told[s.seat, c] == UNKNOWN


@verb
def play(s: State, action: int) -> None:
    """Place a ship, or shoot."""
    cells = s.ship.shape[1]
    if action >= cells:
        place_ship(s, action - cells)
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
    return bool(ship == ships)


# ---------------------------------------------------------------- shooting


@verb
def shoot_in_turn(s: State, cell: int) -> None:
    """Shoot at the other's board; passes the turn, or settles the match."""
    other = 1 - s.seat
    shoot(s, other, cell)
    if s.afloat[other] == 0 or s.fired[1] == s.shots:  # seat 1 is the last to shoot
        settle(s)
    else:
        s.seat = other


@verb
def settle(s: State) -> None:
    """The match is over: pay for what was sunk."""
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


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """The own board, what the seat was told of the other's, the ship to place, the other's latest shot."""
    cells, other = s.ship.shape[1], 1 - seat
    for c in range(cells):
        out[c] = (s.ship[seat, c] != 0) + 2 * (s.told[other, c] != UNKNOWN)
        out[cells + c] = s.told[seat, c]
    if s.placed[seat] < s.length.shape[0]:
        out[2 * cells] = s.length[s.placed[seat]]
    out[2 * cells + 1] = s.last[other] + 1


@dataclasses.dataclass(frozen=True)
class BattleshipDuel(FleetGame):
    """Battleship for two seats; see the module's docstring. It is listed as a form of `Battleship`."""

    rows: int = 10
    """Of both boards, 1..10."""
    cols: int = 10
    """Likewise."""
    ships: str = "2,3,3,4,5"
    """Lengths of up to 26 ships."""
    values: str = ""
    """What sinking each is worth, such as 1,1,1,1,1; left open it is 1 each."""
    shots: int = 50
    """Of each seat, 1..1000."""
    allow_repeated_shots: bool = True
    """A cell may be shot at again."""
    loss_multiplier: int = 1
    """Weight of own losses, 0..100."""

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, low, high in (("rows", 1, 10), ("cols", 1, 10), ("shots", 1, 1000)):
            self._require(option, low, high)
        self._require("loss_multiplier", 0, 100)
        if not self.allow_repeated_shots and self.shots > self.cells:
            self._refuse("shots", f"must be at most {self.cells}, the cells, as none may be shot at again")
        self._settle_fleet()

    def _settle_fleet(self) -> None:
        """Lengths and values of the ships, and whether they fit on the cells."""
        lengths, cells = self._numbers("ships", 1, max(self.rows, self.cols)), self.cells
        if len(lengths) > 26:
            self._refuse("ships", "may name 26 ships")
        object.__setattr__(self, "values", self.values or ",".join("1" for _ in lengths))
        values = self._numbers("values", 0, 1000)
        if len(values) != len(lengths) or not any(values):
            self._refuse("values", f"must name {len(lengths)} values, one for each ship and not all 0")
        if cells > SMALL and 2 * sum(lengths) > cells:
            self._refuse("ships", f"may cover {cells // 2} of {cells} cells")
        if sum(lengths) > cells or not (self.is_roomy or self._can_begin()):
            self._refuse("ships", f"must fit on {self.rows} x {self.cols} cells together")

    def _numbers(self, option: str, low: int, high: int) -> list[int]:
        """The whole numbers that a text like "2,3,3" lists."""
        try:
            numbers = [int(part) for part in getattr(self, option).split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(low <= number <= high for number in numbers):
            self._refuse(option, f'must list whole numbers in {low}..{high} like "2,3,3"')
        return numbers

    def _can_begin(self) -> bool:
        """Is there a way to place all ships?"""
        s = self.blank()
        self.deal(s)
        return bool(s.can_place.any())

    @property
    def actions(self) -> int:
        return 3 * self.cells

    @property
    def max_length(self) -> int:
        return 2 * (len(self.lengths) + self.shots)

    @property
    def return_range(self) -> tuple[float, float]:
        total = sum(self.worths)
        return float(-self.loss_multiplier * total), float(total)

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(*[4] * (2 * self.cells), max(self.lengths) + 1, self.cells + 1)

    def blank(self) -> State:
        s = super().blank()
        s.loss_multiplier, s.repeats = self.loss_multiplier, self.allow_repeated_shots
        return s

    # ---------------------------------------------------------------- drawn for a viewer

    def headings(self, viewer: Viewer) -> list[tuple[int, str]]:
        if viewer == REFEREE:
            return [(p, f"{NAMES[p]}'s fleet") for p in range(2)]
        return [(int(viewer), "own fleet"), (1 - int(viewer), f"{NAMES[1 - int(viewer)]}'s waters")]

    def views(self, state: State, owner: int, viewer: Viewer) -> list[tuple[bool, int]]:
        return [
            (viewer in (REFEREE, owner) and bool(ship), min(int(told), SUNK))
            for ship, told in zip(state.ship[owner], state.told[1 - owner], strict=True)
        ]

    def shooter(self, owner: int) -> int:
        return 1 - owner

    def conditions(self) -> str:
        again = "" if self.allow_repeated_shots else ", none at a cell again"
        return f"ships of {self.ships} cells, {self.shots} shots each{again}"

    def situation(self, state: State, viewer: Viewer) -> tuple[str, int | None]:
        said, about = situation(state, NAMES)
        seen = "" if viewer == REFEREE else f"seen by {NAMES[viewer]}: "
        if not state.over and state.placed[state.seat] < len(self.lengths):
            said = f"{NAMES[state.seat]} places a ship of {state.length[state.placed[state.seat]]}"
        return f"{seen}{said}, shots: {state.fired[0]} and {state.fired[1]} of {self.shots}", about
