"""Maps of generals: what lies on a cell, maps that are written down, and random ones.

A written map has the letters `.` plain, `#` mountain, `0`..`9` castle with an army of 40 + digit, `x` castle
with 50, `A` `B` generals of seat 0 and 1. Random maps are drawn until one is fit for play: from one general
to the other there is a way of `min_distance` steps or more, and both reach about as many cells.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from typing import NoReturn

from envs.core import State, draw, draw_below, verb
from envs.rules.grids import steps_by_neighbour

NOBODY = -1
PLAIN, MOUNTAIN, CASTLE, GENERAL = 0, 1, 2, 3
MOST = 32_767  # an int16 holds no more
FAR = MOST
CASTLE_ARMY = 40
CASTLE_MORE = 10  # a castle's army is up to so much more
ATTEMPTS = 64
"""So many random maps are drawn until one is fit for play, before one is made that always is. At the default
densities that happened in 34 of 40,000 matches on 4 x 4 cells, in 4 on 8 x 8."""
SLACK = 8  # one general may reach an eighth more cells than the other
CASTLE_LETTERS = "0123456789x"  # by what an army has above CASTLE_ARMY
LETTERS = f".#{CASTLE_LETTERS}AB"
NAMES = ("A", "B")  # of the seats


# ---------------------------------------------------------------- written maps


def rows_of(text: str, refuse: Callable[[str, str], NoReturn]) -> list[str]:
    """The rows of a written map; `refuse("map", what it must be)` is called if they are not in order."""
    text = "\n".join(line.strip() for line in text.strip().splitlines())
    rows = re.split(r"\s*/\s*|\n", text)
    width = statistics.mode(map(len, rows))
    for number, row in enumerate(rows, 1):
        if not row:
            refuse("map", f"must have no empty rows; row {number} is one")
        if len(row) != width:
            refuse("map", f"must have rows of one length; row {number} has {len(row)}, not {width}")
        for letter in row:
            if letter not in LETTERS:
                refuse(
                    "map",
                    f"must be written in {LETTERS}, with / or line breaks between rows; "
                    f"row {number} has {letter!r}",
                )
    return rows


def lay_map(s: State, text: str) -> None:
    """Write a map, rows with / between them, into a blank record."""
    for c, letter in enumerate(text.replace("/", "")):
        s.owner[c] = NAMES.index(letter) if letter in NAMES else NOBODY
        if letter == "#":
            s.terrain[c] = MOUNTAIN
        elif letter in NAMES:
            s.terrain[c], s.army[c] = GENERAL, 1
        elif letter != ".":
            s.terrain[c], s.army[c] = CASTLE, CASTLE_ARMY + CASTLE_LETTERS.index(letter)


def map_letters(s: State) -> str:
    """What `lay_map` lays a record's cells from, before anything has moved."""
    letters = []
    for kind, owner, army in zip(s.terrain.tolist(), s.owner.tolist(), s.army.tolist(), strict=True):
        sign = {PLAIN: ".", MOUNTAIN: "#", GENERAL: NAMES[owner]}
        letters.append(CASTLE_LETTERS[army - CASTLE_ARMY] if kind == CASTLE else sign[kind])
    return "".join(letters)


# ---------------------------------------------------------------- random maps
#
# The record is `envs.games.generals.generals_record`'s. While a map is drawn, `army` holds distances.


@verb
def draw_map(s: State) -> None:
    """Draw maps until one is fit for play."""
    for _ in range(ATTEMPTS):
        draw_terrain(s)
        if draw_generals(s):
            return
    draw_terrain(s)
    make_fit(s)


@verb
def draw_terrain(s: State) -> None:
    """Go through the cells once; each gets one of the mountains and castles left with the same odds."""
    cells = s.terrain.shape[0]
    mountains, castles = s.mountains, s.castles
    for c in range(cells):
        lot = draw(s) * (cells - c)
        if lot < mountains:
            s.terrain[c] = MOUNTAIN
            mountains -= 1
        elif lot < mountains + castles:
            s.terrain[c] = CASTLE
            castles -= 1
        else:
            s.terrain[c] = PLAIN


@verb
def draw_generals(s: State) -> bool:
    """Place the generals, one on any plain cell and one on any far enough from it; is the map fair?"""
    first = draw_plain(s, 0)
    flood(s, first)
    reach = count_within(s, s.min_distance // 2)
    second = draw_plain(s, s.min_distance)
    if second < 0:
        return False
    flood(s, second)
    other_reach = count_within(s, s.min_distance // 2)
    if SLACK * abs(reach - other_reach) > min(reach, other_reach):
        return False
    settle(s, first, second)
    return True


@verb
def draw_plain(s: State, distance: int) -> int:
    """Draw one of the plain cells that are `distance` or more steps away, all with the same probability.

    Without a distance it is any plain cell. Returns -1 if there is none.
    """
    number = 0
    for c in range(s.terrain.shape[0]):
        number += is_away(s, c, distance)
    left = draw_below(s, number)
    for c in range(s.terrain.shape[0]):
        if is_away(s, c, distance):
            if left == 0:
                return c
            left -= 1
    return -1


@verb
def is_away(s: State, cell: int, distance: int) -> bool:
    """Is it a plain cell that lies `distance` or more steps away, whatever they are without one?"""
    return s.terrain[cell] == PLAIN and (distance == 0 or distance <= s.army[cell] < FAR)


@verb
def flood(s: State, start: int) -> None:
    """Write the steps from `start` to every plain cell into `army`; FAR where none lead."""
    cells, cols = s.terrain.shape[0], s.cols
    for c in range(cells):
        s.army[c] = FAR
    s.army[start] = 0
    has_changed = True
    while has_changed:
        has_changed = False
        for k in range(2 * cells):  # there and back, as steps lead both ways
            c = k if k < cells else 2 * cells - 1 - k
            if MOUNTAIN <= s.terrain[c] <= CASTLE:
                continue
            steps = steps_by_neighbour(s.army, c, cols)
            if steps < s.army[c]:
                s.army[c] = steps
                has_changed = True


@verb
def count_within(s: State, distance: int) -> int:
    """Plain cells at most `distance` steps away."""
    number = 0
    for c in range(s.army.shape[0]):
        number += s.army[c] <= distance
    return number


@verb
def make_fit(s: State) -> None:
    """Turn any terrain into a map fit for play: generals in two corners, a plain rim, and inside of it the
    second half of the cells is the first one turned by 180 degrees."""
    cells, cols = s.terrain.shape[0], s.cols
    for c in range(cells):
        if c < cols or c >= cells - cols or c % cols == 0 or c % cols == cols - 1:
            s.terrain[c] = PLAIN
        elif c >= cells // 2:
            s.terrain[c] = s.terrain[cells - 1 - c]
    settle(s, 0, cells - 1)


@verb
def settle(s: State, first: int, second: int) -> None:
    """A coin says whose general lies on which cell; all armies are drawn up."""
    coin = draw_below(s, 2)
    for c in range(s.terrain.shape[0]):
        s.owner[c] = NOBODY
        s.army[c] = CASTLE_ARMY + draw_below(s, CASTLE_MORE + 1) if s.terrain[c] == CASTLE else 0
    for cell, seat in ((first, coin), (second, 1 - coin)):
        s.terrain[cell] = GENERAL
        s.owner[cell] = seat
        s.army[cell] = 1
