"""Generals: two armies under fog, moved at the same time; whoever takes the other's general wins.

Rules
    Each seat begins with one cell, its general, and an army of 1 on it. A move takes all but 1 of the army
    of an own cell, or half of it (rounded down), one cell up, down, left or right. On an own cell the armies
    add up. On any other cell the smaller army is taken off both; if some of the moving army is left, the
    cell becomes the mover's, else it keeps its owner, be it with an army of 0. Mountains are closed. Castles
    are held by neutral armies of 40 to 50.

    A tick is one move of each seat, chosen blindly. They are carried out one after the other:
    the one that moves onto the cell the other comes from, else the one that moves onto its own land, else
    the one with the larger army where it comes from; seat 0 if none of this tells. The second move finds
    the board as the first left it: its army may be smaller, or its cell lost, and then nothing moves.
    Then time goes on by 1. Where time is a multiple of 50 every owned cell grows by 1, where it is even
    every general and every owned castle grows by 1.

    Taking the other's general ends the match at once, without the second move and without growth; all
    cells of the other become the winner's. After `max_ticks` ticks it is a draw.

    A seat sees its own cells and the eight around each.

Options
    rows, cols     8, 8    size of the board, 4..21 each
    max_ticks      500     ticks after which it is a draw; so few that no army can grow beyond 32,767
    map            ""      a fixed map: its rows from top to bottom, "/" or line breaks between them, in the
                           letters `.` plain, `#` mountain, `0`..`9` castle with an army of 40 + digit, `x`
                           castle with 50, `A` `B` generals of seat 0 and 1. Such as "A..#/.#0./..../#..B".
                           It has its own size; rows and cols may be left out
    without a map every match has another one, drawn from these:
    mountains      20      per cent of the cells, 0..40, rounded down
    castles        5       per cent of the cells, 0..20, rounded down
    min_distance   0       steps between the generals at least, on plain cells, 1..rows + cols - 2; 0 takes
                           (rows + cols) // 2

    From one general to the other there is always a way on plain cells. Random maps are fair within a
    bound: of the plain cells that each general reaches in half of min_distance steps (rounded down), one
    has at most an eighth more than the other. Both seats are equally likely to have the better place.

Observation, int16 [14, rows, cols]
    plane    numbers    meaning, of what the seat sees since the last tick; 0 elsewhere
    0        0..        armies
    1 2 3    0, 1       generals, castles, mountains
    4 5 6    0, 1       neutral cells (no mountains), own cells, the opponent's cells
    7        0, 1       fog: cells it does not see, but for those of the next plane
    8        0, 1       structures in fog: mountains and castles it does not see. Which they are is hidden
    9 10     0..        own land (cells), own army, in every cell the same number
    11 12    0..        the opponent's land and army, likewise: both are public
    13       0..        ticks so far, likewise

Actions
    (row * cols + col) * 8 + direction * 2 + half   move from there; direction 0 up, 1 down, 2 left, 3 right;
                                                    half 1 moves half of the army
    rows * cols * 8                                 pass
    Legal are moves from own cells with an army above 1 to a cell of the board that is no mountain. The
    mover sees all eight cells around, so this tells it nothing new.

Rewards
    +1 for the winner and -1 for the loser, at the end; 0 each in a draw.

The map is drawn by `deal` from the match's own random numbers: no chance node, as no tree of all maps can
be walked.

Source of the rules: generals-bots 2.5.0 (Straka & Schmid 2025), where the draw is a truncation and castles
are called cities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from envs.core import REFEREE, Array, Game, Spot, State, Viewer, record, verb
from envs.drawing import cell_name, spots
from envs.games import generals_picture
from envs.games.generals_maps import (
    CASTLE,
    CASTLE_ARMY,
    CASTLE_LETTERS,
    CASTLE_MORE,
    FAR,
    GENERAL,
    MOST,
    MOUNTAIN,
    NAMES,
    NOBODY,
    draw_map,
    flood,
    lay_map,
    map_letters,
    rows_of,
)

ARMIES, GENERALS, CASTLES, MOUNTAINS, NEUTRAL, OWN, OPPONENT, FOG, FOGGED_STRUCTURES = range(9)  # planes
OWN_LAND, OWN_ARMY, OPPONENT_LAND, OPPONENT_ARMY, TIME = range(9, 14)
PLANES = 14
HARVEST = 50  # ticks between two of all land


def generals_record(cells: int) -> np.dtype[Any]:
    """The state: a board, and the tick that is being chosen.

     0  1  2  3
     4  5  6  7     cells of a 4 x 4 board. A seat sees its own cells and the eight around each,
     8  9 10 11     here of 5: 0 1 2 4 5 6 8 9 10
    12 13 14 15
    """
    return record(
        2,
        ("army", np.int16, (cells,)),
        ("land", np.int16, (2,)),  # cells of each seat
        ("total", np.int16, (2,)),  # army of each seat
        ("time", np.int16),  # ticks so far
        ("move", np.int16),  # seat 0's, while seat 1 is to move
        ("rows", np.int16),
        ("cols", np.int16),
        ("max_ticks", np.int16),
        ("mountains", np.int16),  # of a random map, as many
        ("castles", np.int16),
        ("min_distance", np.int16),
        ("owner", np.int8, (cells,)),  # of each cell, NOBODY or a seat
        ("terrain", np.uint8, (cells,)),  # PLAIN .. GENERAL
        ("has_map", np.bool_),  # a fixed one: terrain, owner and army are options
    )


# A move of a seat is its action.


@verb
def deal(s: State) -> None:
    """Draw the map, unless there is a fixed one."""
    if not s.has_map:
        draw_map(s)
    count(s)


@verb
def legal(s: State, mask: Array) -> None:
    """Moves of own armies above 1 to cells that are no mountains; to pass, always."""
    rows, cols, seat = s.rows, s.cols, s.seat
    for row in range(rows):
        for col in range(cols):
            c = row * cols + col
            if s.owner[c] == seat and s.army[c] > 1:
                up = row > 0 and s.terrain[c - cols] != MOUNTAIN
                down = row < rows - 1 and s.terrain[c + cols] != MOUNTAIN
                left = col > 0 and s.terrain[c - 1] != MOUNTAIN
                right = col < cols - 1 and s.terrain[c + 1] != MOUNTAIN
                mask[8 * c] = mask[8 * c + 1] = up
                mask[8 * c + 2] = mask[8 * c + 3] = down
                mask[8 * c + 4] = mask[8 * c + 5] = left
                mask[8 * c + 6] = mask[8 * c + 7] = right
    mask[8 * rows * cols] = True


# ---------------------------------------------------------------- a tick


@verb
def play(s: State, action: int) -> None:
    """Seat 0's move is kept until seat 1 has moved, too."""
    if s.seat == 0:
        s.move = action
        s.seat = 1
    else:
        s.seat = 0
        play_tick(s, s.move, action)


@verb
def play_tick(s: State, move_0: int, move_1: int) -> None:
    """Carry out the moves of seat 0 and seat 1."""
    if is_second_seat_first(s, move_0, move_1):
        march(s, 1, move_1)
        if not s.over:
            march(s, 0, move_0)
    else:
        march(s, 0, move_0)
        if not s.over:
            march(s, 1, move_1)
    s.time += 1
    if not s.over:
        grow(s)
        s.over = s.time == s.max_ticks
    count(s)


@verb
def is_second_seat_first(s: State, move_0: int, move_1: int) -> bool:
    """Is seat 1's move carried out before seat 0's?"""
    if is_pass(s, move_0) or is_pass(s, move_1):
        return False
    source_0, target_0 = move_0 // 8, target_of(move_0, s.cols)
    source_1, target_1 = move_1 // 8, target_of(move_1, s.cols)
    if target_0 == source_1:
        return False
    if target_1 == source_0:
        return True
    if s.owner[target_0] == 0:
        return False
    if s.owner[target_1] == 1:
        return True
    return bool(s.army[source_1] > s.army[source_0])


@verb
def is_pass(s: State, move: int) -> bool:
    """Does the seat not move at all?"""
    return bool(move == 8 * s.army.shape[0])


@verb
def target_of(move: int, cols: int) -> int:
    """The cell a legal move leads to."""
    direction = move // 2 % 4
    if direction < 2:
        return move // 8 + (cols if direction == 1 else -cols)
    return move // 8 + (1 if direction == 3 else -1)


@verb
def march(s: State, seat: int, move: int) -> None:
    """Carry out a move of `seat`, if it can still be carried out."""
    if is_pass(s, move):
        return
    source, target = move // 8, target_of(move, s.cols)
    army = s.army[source]
    moved = army // 2 if move % 2 == 1 else army - 1
    if s.owner[source] != seat or moved < 1:
        return
    s.army[source] = army - moved
    if s.owner[target] == seat:
        s.army[target] += moved
    else:
        left = moved - s.army[target]
        s.army[target] = abs(left)
        if left > 0:
            s.owner[target] = seat
            if s.terrain[target] == GENERAL:
                win(s, seat)


@verb
def win(s: State, seat: int) -> None:
    """The other's general has fallen: all of its cells become the seat's, and the match is over."""
    for c in range(s.owner.shape[0]):
        if s.owner[c] == 1 - seat:
            s.owner[c] = seat
    s.over = True
    s.reward[seat] = 1.0
    s.reward[1 - seat] = -1.0


@verb
def grow(s: State) -> None:
    """Armies grow with time."""
    is_harvest, is_even = s.time % HARVEST == 0, s.time % 2 == 0
    for c in range(s.army.shape[0]):
        if s.owner[c] != NOBODY:
            s.army[c] += is_harvest + (is_even and s.terrain[c] >= CASTLE)


@verb
def count(s: State) -> None:
    """Count both seats' land and army."""
    for p in range(2):
        s.land[p] = 0
        s.total[p] = 0
    for c in range(s.army.shape[0]):
        if s.owner[c] != NOBODY:
            s.land[s.owner[c]] += 1
            s.total[s.owner[c]] += s.army[c]


# ---------------------------------------------------------------- observing


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """The planes: what the seat sees, row by row, fog elsewhere, and what is public."""
    rows, cols = s.rows, s.cols
    above, here = 0, near_own(s, seat, 0)
    for row in range(rows):
        below = near_own(s, seat, row + 1)
        seen = above | here | below
        above, here = here, below
        for col in range(cols):
            c = row * cols + col
            terrain, owner = s.terrain[c], s.owner[c]
            if (seen >> col) & 1:
                out[ARMIES, row, col] = s.army[c]
                out[GENERALS, row, col] = terrain == GENERAL
                out[CASTLES, row, col] = terrain == CASTLE
                out[MOUNTAINS, row, col] = terrain == MOUNTAIN
                out[NEUTRAL, row, col] = owner == NOBODY and terrain != MOUNTAIN
                out[OWN, row, col] = owner == seat
                out[OPPONENT, row, col] = owner == 1 - seat
            elif MOUNTAIN <= terrain <= CASTLE:
                out[FOGGED_STRUCTURES, row, col] = 1
            else:
                out[FOG, row, col] = 1
    fill(out[OWN_LAND], s.land[seat])
    fill(out[OWN_ARMY], s.total[seat])
    fill(out[OPPONENT_LAND], s.land[1 - seat])
    fill(out[OPPONENT_ARMY], s.total[1 - seat])
    fill(out[TIME], s.time)


@verb
def near_own(s: State, seat: int, row: int) -> int:
    """The seat's cells of a row and their neighbours in it, as bits by column."""
    bits = 0
    if row < s.rows:
        for col in range(s.cols):
            if s.owner[row * s.cols + col] == seat:
                bits |= 7 << col
    return bits >> 1


@verb
def fill(plane: Array, number: int) -> None:
    """Write the same number everywhere."""
    for row in range(plane.shape[0]):
        for col in range(plane.shape[1]):
            plane[row, col] = number


def potential(observation: Any) -> Any:
    """How well a seat stands, -1..1: the mean of its leads in land and in army, each as a share of both's.

    All four totals are public.
    """
    land, army, other_land, other_army = observation[..., OWN_LAND:TIME, 0, 0].float().unbind(-1)
    return 0.5 * (land - other_land) / (land + other_land) + 0.5 * (army - other_army) / (army + other_army)


@dataclasses.dataclass(frozen=True)
class Generals(Game):
    """Generals on `rows` x `cols` cells; see the module's docstring."""

    rows: int = 0
    """Of the board, 4..21; left open (0) they are 8, or the map's."""
    cols: int = 0
    """Likewise."""
    max_ticks: int = 500
    """Ticks after which it is a draw."""
    map: str = ""
    """A fixed map, such as "A..#/.#0./..../#..B": . plain, # mountain, 0..9 and x castles, A and B generals;
    / or a line break between its rows."""
    mountains: int = 20
    """Of random maps, per cent of the cells, 0..40."""
    castles: int = 5
    """Of random maps, per cent of the cells, 0..20."""
    min_distance: int = 0
    """Steps between the generals of random maps at least; left open (0) (rows + cols) // 2."""

    name = "generals"
    simultaneous = True
    spoken = generals_picture.SIGNS

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)
    potential = staticmethod(potential)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.map.strip():
            self._settle_map()
        else:
            object.__setattr__(self, "map", "")
            self._settle_random_maps()
        self._require("max_ticks", 1, MOST)
        if self.most_army > MOST:
            self._refuse("max_ticks", f"must be so low that no army grows beyond {MOST}")

    def _settle_map(self) -> None:
        """Judge the map; its size is the board's."""
        for option in ("mountains", "castles", "min_distance"):
            if getattr(self, option) != getattr(type(self), option):
                self._refuse(option, "is for random maps, not beside a map")
        rows = rows_of(self.map, self._refuse)
        object.__setattr__(self, "map", "/".join(rows))
        for option, size in (("rows", len(rows)), ("cols", len(rows[0]))):
            if getattr(self, option) not in (0, size):
                self._refuse(option, f"is {size} on the given map")
            object.__setattr__(self, option, size)
            self._require(option, 4, 21)
        generals = [self.map.count(letter) for letter in NAMES]
        if generals != [1, 1]:
            self._refuse("map", f"must have one A and one B, not {generals[0]} and {generals[1]}")
        s = self.blank()
        first, second = np.flatnonzero(s.terrain == GENERAL)
        flood(s, int(first))
        if s.army[second] == FAR:
            self._refuse("map", "must have a way from A to B without mountains and castles")

    def _settle_random_maps(self) -> None:
        """Fill in what was left open, and judge what was given."""
        for option in ("rows", "cols"):
            object.__setattr__(self, option, getattr(self, option) or 8)
            self._require(option, 4, 21)
        object.__setattr__(self, "min_distance", self.min_distance or (self.rows + self.cols) // 2)
        self._require("min_distance", 1, self.rows + self.cols - 2)
        self._require("mountains", 0, 40)
        self._require("castles", 0, 20)

    @property
    def cells(self) -> int:
        """Of the board."""
        return self.rows * self.cols

    def _share(self, per_cent: int) -> int:
        """So many cells of a random map."""
        return 0 if self.map else self.cells * per_cent // 100

    @property
    def most_army(self) -> int:
        """No army, and not both seats' together, ever grows beyond this."""
        castles = sum(letter in CASTLE_LETTERS for letter in self.map) or self._share(self.castles)
        begun = 2 + castles * (CASTLE_ARMY + CASTLE_MORE)
        return begun + (2 + castles) * (self.max_ticks // 2) + self.cells * (self.max_ticks // HARVEST)

    @property
    def actions(self) -> int:
        return 8 * self.cells + 1

    @property
    def max_length(self) -> int:
        return 2 * self.max_ticks

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        high = np.ones((PLANES, self.rows, self.cols), np.int16)
        high[[ARMIES, OWN_ARMY, OPPONENT_ARMY]] = self.most_army
        high[[OWN_LAND, OPPONENT_LAND]] = self.cells
        high[TIME] = self.max_ticks
        return gymnasium.spaces.Box(np.zeros_like(high), high, dtype=np.int16)

    @property
    def state(self) -> np.dtype[Any]:
        return generals_record(self.cells)

    def blank(self) -> State:
        s = super().blank()
        s.rows, s.cols, s.max_ticks = self.rows, self.cols, self.max_ticks
        s.has_map = self.map != ""
        if s.has_map:
            lay_map(s, self.map)
        else:
            s.mountains, s.castles = self._share(self.mountains), self._share(self.castles)
            s.min_distance = self.min_distance
        return s

    def deal_text(self, state: State) -> str | None:
        """The map, as the option `map` writes it; None where it is an option."""
        if self.map:
            return None
        letters = map_letters(state)
        return "/".join(letters[begin : begin + self.cols] for begin in range(0, self.cells, self.cols))

    def dealt(self, text: str) -> State:
        if self.map:
            raise ValueError(f"{self.name}: the map is an option, none is dealt, got {text!r:.80}")
        judged = Generals(map=text, max_ticks=self.max_ticks)
        if (judged.rows, judged.cols) != (self.rows, self.cols) or judged.most_army > self.most_army:
            raise ValueError(
                f"{self.name}: expected a map of {self.rows} x {self.cols} cells with at most "
                f"{self._share(self.castles)} castles, got {text!r:.80}"
            )
        s = self.blank()
        lay_map(s, judged.map)
        count(s)
        return s

    def action_name(self, action: int) -> str:
        cell, move = divmod(action, 8)
        if cell == self.cells:
            return "pass"
        half = " (half)" if move % 2 else ""
        return f"{cell_name(cell, self.cols)} {('up', 'down', 'left', 'right')[move // 2]}{half}"

    def spots(self, seat: int) -> Mapping[int, Spot]:  # noqa: ARG002
        """A move goes from cell to cell; one off the board, which is never legal, leads nowhere."""

        def arrival(cell: int, direction: int) -> int | None:
            row, col = cell // self.cols, cell % self.cols
            row, col = row + (-1, 1, 0, 0)[direction], col + (0, 0, -1, 1)[direction]
            on_board = 0 <= row < self.rows and 0 <= col < self.cols
            return row * self.cols + col if on_board else None

        moves = (divmod(action, 8) for action in range(8 * self.cells))
        made = ((8 * cell + move, cell, arrival(cell, move // 2)) for cell, move in moves)
        return spots(generals_picture.board_of(self), made)

    def seen(self, state: State, viewer: Viewer) -> list[bool]:
        """Of each cell: does `viewer` see it?"""
        planes = np.zeros((PLANES, self.rows, self.cols), np.int16)
        if viewer != REFEREE:
            observe(state, viewer, planes)
        return [not fog for fog in (planes[FOG] + planes[FOGGED_STRUCTURES]).flat]

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        """Each cell: `a` `b` land of a seat and its army, `A` `B` its general, `*` a castle, `.` plain,
        `#` mountain, `~` fog, `?` a mountain or castle in fog."""
        return generals_picture.text(self, state, viewer)

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        return generals_picture.svg(self, state, viewer)
