"""Battleship alone: one seat shoots at a fleet that lies at random.

Rules
    Ships of 2, 3, 3 and 4 cells lie on a square board, in a row or in a column; they may touch. The seat
    shoots at cells, one after the other, and is told only whether it has hit a ship where it had not
    shot before. The match ends when all 12 ship cells are hit, or after as many shots as there are
    cells.

        level    board      shots
        easy     8 x 8         64
        medium   10 x 10      100
        hard     12 x 12      144

Options
    level    "easy", or "medium", "hard"

Observation, uint8 [1]
    slot         codes    meaning
    0            0..1     1: the latest shot hit a ship where the seat had not shot before

    It does not say where that shot was: a player has to remember its own actions.

Actions
    row * cols + column    shoot there. Every cell may be shot at any time: a second shot is punished, not
                           illegal

Rewards, after each shot, on n x n cells
    +1/12           a ship cell hit for the first time
    -1/(n*n - 12)   anything else
    A match is worth -n*n/(n*n - 12) to 1.

The fleet is drawn by `deal` from the match's own random numbers: no chance node, as no tree of all fleets
can be walked. Ship by ship in the order 2, 3, 3, 4, every place that is still free has the same probability.

Source of the rules: POPGym `BattleshipEasy`, `BattleshipMedium`, `BattleshipHard` (Morad et al. 2023), where
an action is the pair (row, column) and the limit of shots is a truncation.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import gymnasium

from envs.core import REFEREE, Array, State, Viewer, codes, draw_below, verb
from envs.rules.fleet import HIT, NOWHERE, FleetGame, clear_boards, fits, put, shoot

SIDES = {"easy": 8, "medium": 10, "hard": 12}  # of the boards


# The record is `envs.rules.fleet.fleet_record`'s for one seat: there is board 0 alone, and that seat shoots
# at it.


@verb
def deal(s: State) -> None:
    """Lay the ships at random."""
    clear_boards(s)
    for k in range(s.length.shape[0]):
        put(s, 0, k, random_place(s, k))
    s.placed[0] = s.length.shape[0]


@verb
def random_place(s: State, ship: int) -> int:
    """A free place on board 0, all with the same probability."""
    while True:
        place = draw_below(s, 2 * s.ship.shape[1])
        if fits(s, 0, ship, place):
            return place


@verb
def legal(s: State, mask: Array) -> None:
    """Every cell, at any time."""
    for c in range(s.ship.shape[1]):
        mask[c] = True


@verb
def play(s: State, action: int) -> None:
    """Shoot at a cell."""
    ship_cells = 0
    for k in range(s.length.shape[0]):
        ship_cells += s.length[k]
    shoot(s, 0, action)
    s.reward[0] = 1.0 / ship_cells if s.is_new_hit else -1.0 / (s.ship.shape[1] - ship_cells)
    s.over = s.afloat[0] == 0 or s.fired[0] == s.shots


@verb
def observe(s: State, _seat: int, out: Array) -> None:
    """Whether the latest shot was a new hit."""
    out[0] = s.is_new_hit


@dataclasses.dataclass(frozen=True)
class BattleshipAlone(FleetGame):
    """Battleship for one seat; see the module's docstring. It is listed as a form of `Battleship`."""

    level: Literal["easy", "medium", "hard"] = "easy"
    """Size of the board, and number of shots."""

    seats = 1
    ships = "2,3,3,4"
    values = "1,1,1,1"

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    @property
    def rows(self) -> int:
        return SIDES[self.level]

    @property
    def cols(self) -> int:
        return SIDES[self.level]

    @property
    def shots(self) -> int:
        return self.cells

    @property
    def actions(self) -> int:
        return self.cells

    @property
    def max_length(self) -> int:
        return self.shots

    @property
    def return_range(self) -> tuple[float, float]:
        return -self.shots / (self.cells - sum(self.lengths)), 1.0

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(2)

    def deal_text(self, state: State) -> str:
        """The board in rows, each ship by a letter, a the first: "aa....../.....b../..."."""
        signs = "".join(".abcd"[ship] for ship in state.ship[0].tolist())
        return "/".join(signs[begin : begin + self.cols] for begin in range(0, self.cells, self.cols))

    def dealt(self, text: str) -> State:
        rows = text.split("/")
        s, signs = self.blank(), "".join(rows)
        clear_boards(s)
        is_board = [len(row) for row in rows] == [self.cols] * self.rows
        for k, (letter, length) in enumerate(zip("abcd", self.lengths, strict=True)):
            cells = [c for c, sign in enumerate(signs) if sign == letter]
            for place in (cells[0], self.cells + cells[0]) if is_board and len(cells) == length else ():
                step = self.cols if place >= self.cells else 1
                if cells == [cells[0] + i * step for i in range(length)] and fits(s, 0, k, place):
                    put(s, 0, k, place)
        s.placed[0] = len(self.lengths)
        if (s.place[0] == NOWHERE).any() or self.deal_text(s) != text:
            raise ValueError(
                f"{self.name}: expected {self.rows} rows of {self.cols} cells with / between them, the ships "
                f"of {self.ships} cells as a, b, c and d in a row or column each, the others water (.), "
                f"got {text!r:.80}"
            )
        return s

    # ---------------------------------------------------------------- drawn for a viewer

    def headings(self, viewer: Viewer) -> list[tuple[int, str]]:
        return [(0, "the fleet" if viewer == REFEREE else "shots so far")]

    def views(self, state: State, owner: int, viewer: Viewer) -> list[tuple[bool, int]]:
        """The seat is not told of sinking."""
        return [
            (viewer == REFEREE and bool(ship), min(int(told), HIT))
            for ship, told in zip(state.ship[owner], state.told[0], strict=True)
        ]

    def shooter(self, _owner: int) -> int:
        return 0

    def conditions(self) -> str:
        return f"{self.level}: ships of {self.ships} cells, {self.shots} shots"

    def situation(self, state: State, _viewer: Viewer) -> tuple[str, int | None]:
        hits = sum(self.lengths) - int(state.parts.sum())
        return f"{hits} of {sum(self.lengths)} cells hit, shots: {state.fired[0]} of {self.shots}", 0
