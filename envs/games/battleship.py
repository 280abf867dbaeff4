"""Battleship: find the ships of a hidden fleet by shooting at cells.

The game comes in two forms, each with its own rules, observations, actions and rewards:

    seats=1    against a fleet that lies at random: `battleship_alone.py`
    seats=2    two seats place their fleets themselves and then shoot in turns: `battleship_duel.py`

Options, one seat
    level                  "easy"         or "medium", "hard"

Options, two seats
    rows, cols             10, 10         size of both boards
    ships                  "2,3,3,4,5"    lengths of the ships
    values                 "1,1,1,1,1"    what sinking them is worth
    shots                  50             of each seat
    allow_repeated_shots   True           a cell may be shot at again
    loss_multiplier        1              weight of own losses

    Left open (0 or ""), an option takes its form's value; one that is not its form's is refused.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np

from envs.core import REFEREE, Array, Game, Spot, State, Viewer, verb
from envs.games import battleship_alone as alone
from envs.games import battleship_duel as duel
from envs.games.battleship_alone import BattleshipAlone
from envs.games.battleship_duel import BattleshipDuel
from envs.rules.fleet import SIGNS, FleetGame

LEFT_OPEN = ("rows", "cols", "ships", "values", "shots")
"""Options that take their form's value where they are left open."""


# Both forms have the record `envs.rules.fleet.fleet_record`, with a board for each seat.


@verb
def is_alone(s: State) -> bool:
    """Is it the form for one seat?"""
    return bool(s.ship.shape[0] == 1)


@verb
def deal(s: State) -> None:
    """Clear the boards; with one seat, lay the fleet."""
    if is_alone(s):
        alone.deal(s)
    else:
        duel.deal(s)


@verb
def legal(s: State, mask: Array) -> None:
    """The form's legal actions."""
    if is_alone(s):
        alone.legal(s, mask)
    else:
        duel.legal(s, mask)


@verb
def play(s: State, action: int) -> None:
    """Shoot, or place a ship."""
    if is_alone(s):
        alone.play(s, action)
    else:
        duel.play(s, action)


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """What the form shows."""
    if is_alone(s):
        alone.observe(s, seat, out)
    else:
        duel.observe(s, seat, out)


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
    spoken = SIGNS

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    def __post_init__(self) -> None:
        """Fill in what was left open, and judge what was given."""
        super().__post_init__()
        self._require("seats", 1, 2)
        if self.seats == 1:
            self._refuse_what_is_for_two()
        elif self.level:
            self._refuse("level", "is for one seat; with seats=2 give rows, cols, ships and shots")
        for option in ("level", *LEFT_OPEN):
            object.__setattr__(self, option, getattr(self.form, option, ""))

    def _refuse_what_is_for_two(self) -> None:
        """With one seat the level decides everything; what it decides may be said again."""
        for option in LEFT_OPEN:
            value = getattr(self.form, option)
            if getattr(self, option) not in (0, "", value):
                self._refuse(option, f"is {value!r} with one seat at level {self.level or 'easy'!r}")
        for option in ("allow_repeated_shots", "loss_multiplier"):
            if getattr(self, option) != getattr(type(self), option):
                self._refuse(option, "is for two seats (seats=2)")

    @functools.cached_property
    def form(self) -> FleetGame:
        """The game that is played, with its own options."""
        if self.seats == 1:
            return BattleshipAlone(self.level or "easy")
        given: dict[str, Any] = {option: getattr(self, option) for option in LEFT_OPEN}
        given = {option: value for option, value in given.items() if value}
        return BattleshipDuel(
            **given, allow_repeated_shots=self.allow_repeated_shots, loss_multiplier=self.loss_multiplier
        )

    @property
    def actions(self) -> int:
        return self.form.actions

    @property
    def max_length(self) -> int:
        return self.form.max_length

    @property
    def return_range(self) -> tuple[float, float]:
        return self.form.return_range

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete | gymnasium.spaces.Box:
        return self.form.observation_space

    @property
    def state(self) -> np.dtype[Any]:
        return self.form.state

    def blank(self) -> State:
        return self.form.blank()

    def deal_text(self, state: State) -> str | None:
        return self.form.deal_text(state)

    def dealt(self, text: str) -> State:
        return self.form.dealt(text)

    def action_name(self, action: int) -> str:
        return self.form.action_name(action)

    def spots(self, seat: int) -> Mapping[int, Spot]:
        return self.form.spots(seat)

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        return self.form.text(state, viewer)

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        return self.form.svg(state, viewer)
