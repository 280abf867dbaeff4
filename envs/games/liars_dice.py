"""Liar's dice: both roll unseen, and bid on what all the dice show until one calls the other a liar.

Rules
    Each seat rolls its dice unseen by the other. Seat 0 bids first. A bid names a quantity and a face: so
    many of all dice show it, where dice with the highest face count for every face. Each bid must be higher
    than the one before: a larger quantity, or the same one of a higher face. Instead of bidding a seat may
    call the latest bid a lie. Then all dice are shown: the bidder wins if it holds, else the caller.

Options (in brackets OpenSpiel's name)
    dice    1   of each seat, 1..5 (numdice)
    sides   6   faces of a die, 2..6 (dice_sides)

Observation, uint8 [dice + 4]
    slot        codes            meaning
    0..dice-1   0..sides         own dice, lowest first; 0 not rolled
    dice        0..2 * dice      quantity of the latest bid; 0 there is none
    dice + 1    0..sides         its face
    dice + 2    0..2 * dice      quantity of the bid before it
    dice + 3    0..sides         its face

Actions
    sides * (quantity - 1) + face - 1   bid; only higher ones than the latest are legal
    2 * dice * sides                    call the latest bid a lie; legal once there is one

Rewards
    +1 for the winner and -1 for the loser, at the end. With one die of six sides the game's value is -7/258
    for seat 0.

Source of the rules: OpenSpiel `liars_dice` with two players and its default bidding rule, reset-face.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import gymnasium
import numpy as np

from envs.core import CHANCE, REFEREE, Array, Game, State, Viewer, codes, record, verb
from envs.drawing import (
    FELT,
    FELT_RIM,
    HEADER,
    INK,
    LATEST,
    MARGIN,
    MUTED,
    SEATS,
    SEATS_PALE,
    disc,
    document,
    header,
    moved,
    rectangle,
    situation,
    words,
)

NAMES: Final = ("seat 0", "seat 1")
SHOWN: Final = 12
"""Of the bids, in a picture: the latest ones."""
PIPS: Final = {1: "4", 2: "08", 3: "048", 4: "0268", 5: "02468", 6: "023568"}
"""Where a face's pips lie, on cells 0 1 2 / 3 4 5 / 6 7 8."""


def liars_dice_record(dice: int, bids: int) -> np.dtype[Any]:
    """The state; a bid's number is its action + 1, so that 0 is none."""
    return record(
        2,
        ("die", np.int8, (2, dice)),  # of each seat, lowest first; 0 not rolled
        ("bidder", np.int8, (bids,)),  # of each bid that was made: 1 + seat
        ("rolled", np.int8),  # dice
        ("latest", np.int8),  # bid
        ("previous", np.int8),  # bid
        ("sides", np.int8),
    )


@verb
def deal(s: State) -> None:
    """Chance rolls first."""
    s.seat = CHANCE


@verb
def chance(s: State, probabilities: Array) -> None:
    """Outcome o is face o + 1 of the next die; all of seat 0's are rolled before seat 1's."""
    for o in range(s.sides):
        probabilities[o] = 1.0 / s.sides


@verb
def legal(s: State, mask: Array) -> None:
    """Every bid above the latest; the call, once there is one."""
    bids = s.bidder.shape[0]
    for a in range(s.latest, bids):
        mask[a] = True
    mask[bids] = s.latest > 0


@verb
def play(s: State, action: int) -> None:
    """Roll a die, bid, or call the latest bid."""
    if s.seat == CHANCE:
        roll(s, action + 1)
    elif action == s.bidder.shape[0]:
        settle(s)
    else:
        s.bidder[action] = s.seat + 1
        s.previous = s.latest
        s.latest = action + 1
        s.seat = 1 - s.seat


@verb
def roll(s: State, face: int) -> None:
    """Put the next die among its seat's, in order; after the last one seat 0 bids."""
    dice = s.die.shape[1]
    seat, place = s.rolled // dice, s.rolled % dice
    while place > 0 and s.die[seat, place - 1] > face:
        s.die[seat, place] = s.die[seat, place - 1]
        place -= 1
    s.die[seat, place] = face
    s.rolled += 1
    if s.rolled == 2 * dice:
        s.seat = 0


@verb
def quantity_of(bid: int, sides: int) -> int:
    """What a bid says: so many dice."""
    return (bid - 1) // sides + 1


@verb
def face_of(bid: int, sides: int) -> int:
    """What a bid says: of this face."""
    return (bid - 1) % sides + 1


@verb
def settle(s: State) -> None:
    """The match is over: the bidder wins if the latest bid holds, else the seat that called it."""
    face, count = face_of(s.latest, s.sides), 0
    for p in range(2):
        for k in range(s.die.shape[1]):
            count += s.die[p, k] == face or s.die[p, k] == s.sides
    winner = 1 - s.seat if count >= quantity_of(s.latest, s.sides) else s.seat
    s.over = True
    s.reward[winner] = 1.0
    s.reward[1 - winner] = -1.0


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """The own dice, and the latest two bids."""
    dice = s.die.shape[1]
    for k in range(dice):
        out[k] = s.die[seat, k]
    if s.latest > 0:
        out[dice] = quantity_of(s.latest, s.sides)
        out[dice + 1] = face_of(s.latest, s.sides)
    if s.previous > 0:
        out[dice + 2] = quantity_of(s.previous, s.sides)
        out[dice + 3] = face_of(s.previous, s.sides)


@dataclasses.dataclass(frozen=True)
class LiarsDice(Game):
    """Liar's dice for two; see the module's docstring."""

    dice: int = 1
    """Of each seat, 1..5."""
    sides: int = 6
    """Faces of a die, 2..6; the highest counts for every face."""

    name = "liars_dice"
    chance_outcomes = 6

    deal = staticmethod(deal)
    chance = staticmethod(chance)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("dice", 1, 5)
        self._require("sides", 2, 6)

    @property
    def bids(self) -> int:
        """How many there are."""
        return 2 * self.dice * self.sides

    @property
    def actions(self) -> int:
        return self.bids + 1

    @property
    def max_length(self) -> int:
        return self.bids + 1

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        bid = (2 * self.dice + 1, self.sides + 1)
        return codes(*[self.sides + 1] * self.dice, *bid, *bid)

    @property
    def state(self) -> np.dtype[Any]:
        return liars_dice_record(self.dice, self.bids)

    def blank(self) -> State:
        s = super().blank()
        s.sides = self.sides
        return s

    def action_name(self, action: int) -> str:
        bid = action + 1
        return "liar" if action == self.bids else f"{quantity_of(bid, self.sides)}x{face_of(bid, self.sides)}"

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        dice = [
            " ".join(str(die) if die and viewer in (REFEREE, p) else "?" for die in state.die[p])
            for p in range(2)
        ]
        bids = " ".join(self.action_name(a) for a in np.flatnonzero(state.bidder).tolist()) or "-"
        return f"seat 0: {dice[0]}   seat 1: {dice[1]}   bids: {bids}\n{self._situation(state)[0]}"

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        said, about = self._situation(state)
        seen = "" if viewer == REFEREE else f"seen by {NAMES[viewer]}: "
        width, height = 640.0, 152.0
        table = rectangle(
            MARGIN, 0, width - 2 * MARGIN, height, rx=60, fill=FELT, stroke=FELT_RIM, stroke_width=8
        )
        hands = [
            moved(178 + 284 * p, 0, _hand(p, state.die[p], viewer not in (REFEREE, p), p == about))
            for p in range(2)
        ]
        below = HEADER + height + 22
        label = words(MARGIN, below + 20, "bids", 14, MUTED, anchor="start")
        made = np.flatnonzero(state.bidder)[-SHOWN:]
        pills = [
            moved(84 + 92 * (k % 6), below + 38 * (k // 6), _pill(self.action_name(a), state.bidder[a] - 1))
            for k, a in enumerate(made.tolist())
        ]
        return document(
            width,
            below + 38 * 2 + 10,
            header(self._title(), "the highest face counts for every face", seen + said, about),
            moved(0, HEADER, table, *hands),
            label,
            *pills,
        )

    def _title(self) -> str:
        return f"Liar's dice, {self.dice} of {self.sides} sides each"

    def _situation(self, state: State) -> tuple[str, int | None]:
        said, about = situation(state, NAMES)
        if state.over and state.latest > 0:
            said = f"{said}: {NAMES[state.seat]} called {self.action_name(state.latest - 1)}"
        return ("rolling", None) if about is None else (said, about)


def _hand(seat: int, dice: Array, is_hidden: bool, is_marked: bool) -> str:
    """One seat at the table: its name and its dice, framed if it is about this one."""
    step, count = 50.0, len(dice)
    frame = (
        rectangle(-step * count / 2 - 4, 54, step * count + 8, 58, rx=10, fill=LATEST) if is_marked else ""
    )
    shown = (moved(step * (k - (count - 1) / 2), 83, _die(int(die), is_hidden)) for k, die in enumerate(dice))
    plate = rectangle(-36, 16, 72, 28, rx=14, fill=SEATS[seat])
    return "".join((frame, plate, words(0, 35, NAMES[seat], 14, "#ffffff", bold=True), *shown))


def _die(face: int, is_hidden: bool) -> str:
    """A die about the origin; one that is hidden, or not rolled yet, has no pips."""
    body = rectangle(-21, -21, 42, 42, rx=8, fill="#3d4a63" if is_hidden else "#ffffff", stroke=INK)
    if is_hidden:
        return body + words(0, 8, "?", 22, "#ffffff", bold=True)
    cells = (int(cell) for cell in PIPS.get(face, ""))
    return body + "".join(disc(12 * (cell % 3 - 1), 12 * (cell // 3 - 1), 4.4, fill=INK) for cell in cells)


def _pill(said: str, seat: int) -> str:
    """A bid in its seat's colour."""
    shape = rectangle(0, 0, 82, 29, rx=6, fill=SEATS_PALE[seat], stroke=SEATS[seat], stroke_width=1.2)
    return shape + words(41, 20, said, 14)
