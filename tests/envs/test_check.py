"""The test of the contract: sound toys pass, and every breach is noticed."""

from __future__ import annotations

import dataclasses
import random
from typing import Literal

import gymnasium
import numpy as np
import pytest
from toys import both

from envs.check import check_game
from envs.core import CHANCE, REFEREE, Game, codes, record, verb

# A check that cannot fail is worthless; a sound toy first. A coin is tossed and shown to seat 0 only. Then
# the seats, seat 0 first, take one or two of four tokens in turn; whoever takes the last token wins.


@verb
def deal(s):
    s.left = 4
    s.seat = CHANCE


@verb
def chance(_s, probabilities):
    probabilities[0] = 0.5
    probabilities[1] = 0.5


@verb
def legal(s, mask):
    mask[0] = True
    mask[1] = s.left >= 2


@verb
def play(s, action):
    if s.seat == CHANCE:
        s.coin = action + 1
        s.seat = 0
        return
    s.left -= action + 1
    if s.left == 0:
        s.over = True
        s.reward[s.seat] = 1.0
        s.reward[1 - s.seat] = -1.0
    s.seat = 1 - s.seat


@verb
def observe(s, seat, out):
    out[0] = s.coin if seat == 0 else 0
    out[1] = s.left


@dataclasses.dataclass(frozen=True)
class Tokens(Game):
    name = "tokens"
    chance_outcomes = 2
    deal, chance, legal = staticmethod(deal), staticmethod(chance), staticmethod(legal)
    play, observe = staticmethod(play), staticmethod(observe)
    actions, max_length, observation_space = 2, 4, codes(3, 5)
    state = record(2, ("coin", np.int8), ("left", np.int8))

    def action_name(self, action):
        return f"take {action + 1}"

    def text(self, state, viewer=REFEREE):
        return f"coin {state.coin if viewer in (0, REFEREE) else '?'}, {state.left} left"

    def svg(self, state, viewer=REFEREE):
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{self.text(state, viewer)}</text></svg>'


@verb
def observe_planes(s, seat, out):
    out[0, s.left, 0] = 1
    out[1, s.coin if seat == 0 else 0, 0] = 1


class TokensInPlanes(Tokens):
    observation_space = gymnasium.spaces.Box(0, 1, (2, 5, 1), np.int8)
    observe = staticmethod(observe_planes)


# And one in which both move at once: each seat shows a side of its penny, twice. If the sides are the same
# seat 0 wins a half, else seat 1. Seat 0's choice waits in the record until seat 1 has chosen, too.


@verb
def begin_pennies(s):
    s.waiting = -1


@verb
def show_penny(s, action):
    if s.seat == 0:
        s.waiting = action
        s.seat = 1
        return
    winner = 0 if s.waiting == action else 1
    s.reward[winner] = 0.5
    s.reward[1 - winner] = -0.5
    s.latest = 1 + winner
    s.waiting = -1
    s.rounds += 1
    s.over = s.rounds == 2
    s.seat = 0


@verb
def see_pennies(s, _seat, out):
    out[0] = s.latest


@dataclasses.dataclass(frozen=True)
class Pennies(Game):
    name = "pennies"
    simultaneous = True
    deal, legal = staticmethod(begin_pennies), staticmethod(both)
    play, observe = staticmethod(show_penny), staticmethod(see_pennies)
    actions, max_length, observation_space = 2, 4, codes(3)
    state = record(2, ("waiting", np.int8), ("latest", np.int8), ("rounds", np.int8))

    def action_name(self, action):
        return ("heads", "tails")[action]

    def text(self, state, _viewer=REFEREE):
        return f"latest {state.latest}"

    def svg(self, state, viewer=REFEREE):
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{self.text(state, viewer)}</text></svg>'


@dataclasses.dataclass(frozen=True)
class RemembersItsOptions(Tokens):
    """One is a fact, one the size of a field; of one any other value is refused, and the last is a text."""

    most: int = 4
    size: int = 2
    coins: int = 1
    map: str = ""

    def __post_init__(self):
        super().__post_init__()
        self._require("coins", 1, 1)

    @property
    def max_length(self):
        return max(self.most, 4)

    @property
    def state(self):
        return record(2, ("more", np.int8, (self.size,)), ("coin", np.int8), ("left", np.int8))


@pytest.mark.parametrize("toy", [Tokens, TokensInPlanes, Pennies, RemembersItsOptions])
def test_a_sound_toy_passes(toy):
    check_game(toy())


# Each toy below breaks one clause; rules in plain Python suffice, as `Match` calls them just the same.
# `play` that starts like the sound one is `play(s, action)` with something done before or after it.


class NeverEnds(Tokens):
    @staticmethod
    def play(s, action):
        play(s, action)
        s.over, s.left = False, 4
        s.reward[:] = 0.0


class AsksChanceForEver(Tokens):
    @staticmethod
    def play(s, action):
        s.coin = action + 1


class HasNoLegalActions(Tokens):
    @staticmethod
    def legal(s, mask):
        if s.left > 2:
            legal(s, mask)


class LeavesItsSpace(Tokens):
    observation_space = codes(3, 4)  # but the count of tokens is 4 at first


class SeesBadlyAfterTheEnd(Tokens):
    @staticmethod
    def observe(s, seat, out):
        observe(s, seat, out)
        if s.over:
            out[1] = 5


@verb
def observe_out_of_bounds(s, seat, out):
    observe(s, seat, out)
    out[2] = 1


class WritesOutOfBounds(Tokens):
    observe = staticmethod(observe_out_of_bounds)


class SeesAtRandom(Tokens):
    @staticmethod
    def observe(s, seat, out):
        observe(s, seat, out)
        out[0] = random.getrandbits(1)


class LooksAndTouches(Tokens):
    @staticmethod
    def observe(s, seat, out):
        observe(s, seat, out)
        s.draws += 1


class MaskTouches(Tokens):
    @staticmethod
    def legal(s, mask):
        legal(s, mask)
        s.coin = 0


class StoresWideCodes(Tokens):
    observation_space = gymnasium.spaces.MultiDiscrete([3, 5])  # int64


class SeesFractions(Tokens):
    observation_space = gymnasium.spaces.Box(0.0, 5.0, (2,))


class SeatOutOfRange(Tokens):
    @staticmethod
    def play(s, action):
        play(s, action)
        s.seat = 2 if s.left == 2 else s.seat


class HasNoOdds(Tokens):
    @staticmethod
    def chance(_s, probabilities):
        probabilities[:] = 0.45


class CannotPlayAnOutcome(Tokens):
    @staticmethod
    def play(s, action):
        if s.seat == CHANCE and action == 1:
            raise IndexError("the coin fell off the table")
        play(s, action)


class PlaysTooLong(Tokens):
    max_length = 3


class PaysTooMuch(Tokens):
    @staticmethod
    def play(s, action):
        play(s, action)
        s.reward *= 2.0


class PaysBoth(Tokens):
    @staticmethod
    def play(s, action):
        play(s, action)
        s.reward[:] = np.abs(s.reward)


class PaysInfinity(Tokens):
    return_range = (-1.0, 1.0)

    @staticmethod
    def play(s, action):
        play(s, action)
        s.reward *= np.inf if s.over else 1.0


class DealsWithoutTheSeed(Tokens):
    @staticmethod
    def deal(s):
        deal(s)
        s.coin = random.randrange(3)


class PlaysWithoutTheSeed(Tokens):
    @staticmethod
    def play(s, action):
        play(s, action)
        s.coin = random.randrange(3)


class ChangesTheSeed(Tokens):
    @staticmethod
    def play(s, action):
        play(s, action)
        s.seed += np.uint64(1)


class KeepsARuleOutsideTheRecord(Tokens):
    """A Batch calls the class's verbs, so a rule that sits on the object never reaches it."""

    def __post_init__(self):
        object.__setattr__(self, "play", self.play_slowly)

    @staticmethod
    def play_slowly(s, action):
        play(s, 0 if s.seat != CHANCE else action)


class MaskTellsTheCoin(Tokens):
    @staticmethod
    def legal(s, mask):
        mask[0] = True
        mask[1] = s.left >= 2 and (s.seat == 0 or s.coin == 1)


class TextTellsTheCoin(Tokens):
    def text(self, state, _viewer=REFEREE):
        return f"coin {state.coin}"

    def svg(self, _state, _viewer=REFEREE):
        return '<svg xmlns="http://www.w3.org/2000/svg"/>'


class DrawingTellsTheCoin(Tokens):
    def svg(self, state, _viewer=REFEREE):
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{state.coin}</text></svg>'


class HasNothingToSay(Tokens):
    def text(self, _state, viewer=REFEREE):
        return "" if viewer == 1 else "tokens"


class DrawsBadly(Tokens):
    def svg(self, _state, _viewer=REFEREE):
        return '<svg xmlns="http://www.w3.org/2000/svg"><g></svg>'


class NamesActionsAlike(Tokens):
    def action_name(self, _action):
        return "take"


class MakesItsOwnState(Tokens):
    state = np.dtype([("coin", np.int8), ("left", np.int8), ("seat", np.int8), ("over", np.bool_)])


class PutsItsFieldsFirst(Tokens):
    state = np.dtype((np.record, np.dtype([("left", np.int8), *record(2).descr], align=True)))


class BeginsUnsure(Tokens):
    def blank(self):
        s = super().blank()
        s.coin = random.randrange(100)
        return s


class CountsInFloats(Tokens):
    actions = 2.0


class HasDiceButNoChance(Tokens):
    chance = Game.chance


class CanBeChanged(Game):
    name = "can_be_changed"


@dataclasses.dataclass(frozen=True)
class ForgetsAnOption(Tokens):
    """`deal` lays four tokens whatever the option says."""

    heap: int = 4


@dataclasses.dataclass(frozen=True)
class ForgetsAForm(Tokens):
    """Of two options, both with a value that the game takes, one is told nowhere."""

    seats: int = 2
    speech: Literal["plain", "polite"] = "plain"


class IsHalfSimultaneous(Pennies):
    simultaneous = 1


class LetsSeat1Begin(Pennies):
    @staticmethod
    def deal(s):
        begin_pennies(s)
        s.seat = 1


class ShowsThePenny(Pennies):
    observation_space = codes(5)

    @staticmethod
    def observe(s, seat, out):
        see_pennies(s, seat, out)
        if s.waiting >= 0:
            out[0] = 3 + s.waiting


class MaskTellsThePenny(Pennies):
    @staticmethod
    def legal(s, mask):
        mask[0] = True
        mask[1] = s.waiting != 0


class PaysTooEarly(Pennies):
    @staticmethod
    def play(s, action):
        show_penny(s, action)
        if s.seat == 1:
            s.reward[0], s.reward[1] = -0.25, 0.25


class EndsTooEarly(Pennies):
    @staticmethod
    def play(s, action):
        show_penny(s, action)
        s.over = s.over or (s.rounds == 1 and s.seat == 1)


@pytest.mark.parametrize(
    ("toy", "clause"),
    [
        (NeverEnds, "a match takes at most max_length decisions"),
        (AsksChanceForEver, "chance ends and a seat gets to decide"),
        (HasNoLegalActions, "a seat to move has a legal action"),
        (LeavesItsSpace, "an observation lies in observation_space"),
        (SeesBadlyAfterTheEnd, "an observation lies in observation_space"),
        (WritesOutOfBounds, "observe writes inside out only"),
        (SeesAtRandom, "an observation is determined by the state"),
        (LooksAndTouches, "observe leaves the state as it is"),
        (MaskTouches, "legal leaves the state as it is"),
        (StoresWideCodes, "MultiDiscrete observations are uint8"),
        (SeesFractions, "Box observations are integers"),
        (SeatOutOfRange, "s.seat is a seat"),
        (HasNoOdds, "chance probabilities sum to 1"),
        (CannotPlayAnOutcome, "a chance outcome can be played"),
        (PlaysTooLong, "a match takes at most max_length decisions"),
        (PaysTooMuch, "returns lie in return_range"),
        (PaysBoth, "two seats' returns sum to zero"),
        (PaysInfinity, "rewards are finite"),
        (DealsWithoutTheSeed, "the same seed and actions give the same bytes"),
        (PlaysWithoutTheSeed, "play is determined by the state and the action"),
        (ChangesTheSeed, "play leaves seed alone"),
        (KeepsARuleOutsideTheRecord, "a Batch plays what Match plays"),
        (MaskTellsTheCoin, "a seat's legal actions follow from what it has seen and done"),
        (TextTellsTheCoin, "a seat's text follows from what it has seen and done"),
        (DrawingTellsTheCoin, "a seat's svg follows from what it has seen and done"),
        (HasNothingToSay, "text is not empty for any viewer; got 1"),
        (DrawsBadly, "svg is a well-formed SVG document"),
        (NamesActionsAlike, "action_name is distinct for distinct actions"),
        (MakesItsOwnState, r"state is made by envs\.core\.record"),
        (PutsItsFieldsFirst, "state starts with the fields every match has"),
        (BeginsUnsure, "is the same record whenever asked"),
        (CountsInFloats, "actions is an int, at least 1; got 2.0"),
        (HasDiceButNoChance, "chance is given where there are chance outcomes"),
        (CanBeChanged, "a game is a frozen dataclass of its options"),
        (ForgetsAnOption, "an option changes the state record or a fact; got 'heap'"),
        (ForgetsAForm, "an option changes the state record or a fact; got 'speech'"),
        (IsHalfSimultaneous, "simultaneous is True or False; got 1"),
        (LetsSeat1Begin, "simultaneous moves are made in the order of the seats; got 1"),
        (ShowsThePenny, "simultaneous moves show and earn nothing until all seats have moved"),
        (MaskTellsThePenny, "simultaneous moves show and earn nothing until all seats have moved"),
        (PaysTooEarly, "simultaneous moves show and earn nothing until all seats have moved"),
        (EndsTooEarly, "a match with simultaneous moves ends when all seats have moved"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_check_game_notices(toy, clause):
    with pytest.raises(AssertionError, match=clause) as failure:
        check_game(toy(), matches=30)
    message = str(failure.value)
    assert message.startswith(f"{toy.name}: ")
    assert "\n" not in message
