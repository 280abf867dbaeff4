"""Goofspiel: bid a hand of cards for prizes, both at once; nobody sees with what the other has bid.

Rules
    Each seat holds the cards 1..cards. In every round a point card is turned up, and both seats bid one
    card of their hands for it, at once: the higher card wins it, equal ones throw it away. The bids are
    laid aside unseen; both are only told who won. The last cards play themselves. At the end the seat
    whose point cards add up to more wins.

Options (in brackets OpenSpiel's name)
    cards    4              of each hand, and as many point cards, 2..13 (num_cards)
    order    "descending"   in which point cards are turned up; or "ascending", or "random" (points_order)

Observation, uint8 [2 * cards]
    slot         codes   meaning
    0..N-1       0..1    own hand: the card slot + 1 was bid, is held
    N..2N-1      0..4    the point card slot - N + 1: in the stack, turned up, won, lost, thrown away

Actions
    card - 1; legal are the cards of the own hand. Both bid at once: seat 0 commits a card, then seat 1
    does, and until then nothing new is shown.

Rewards
    +1 for the winner and -1 for the loser, 0 for a draw, at the end.

Source of the rules: OpenSpiel `goofspiel` with two players, imp_info=True and returns_type=win_loss.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal

import gymnasium
import numpy as np

from envs.core import CHANCE, REFEREE, Array, Game, State, Viewer, codes, record, verb
from envs.drawing import (
    FELT_TEXT,
    HEADER,
    LATEST,
    MARGIN,
    MUTED,
    SEATS,
    SEATS_PALE,
    document,
    header,
    moved,
    rectangle,
    situation,
    words,
)

Order = Literal["descending", "ascending", "random"]
ORDERS: Final = ("descending", "ascending", "random")
DESCENDING, ASCENDING, RANDOM = 0, 1, 2
HELD, TURNED_UP, THROWN_AWAY = 1, 1, 4
NAMES: Final = ("seat 0", "seat 1")


def goofspiel_record(cards: int) -> np.dtype[Any]:
    """The state; rounds are counted from 0, and a card 0 is none."""
    return record(
        2,
        ("bid", np.int8, (2, cards)),  # by seat and round: the card
        ("prize", np.int8, (cards,)),  # by round: the point card
        ("winner", np.int8, (cards,)),  # by round: 0 not over, 1 + seat, 3 nobody
        ("committed", np.int8),  # by seat 0 in this round: the card
        ("rounds", np.int8),  # that are over
        ("order", np.int8),
    )


@verb
def deal(s: State) -> None:
    """Turn up the first point card."""
    turn_up(s)


@verb
def turn_up(s: State) -> None:
    """The next point card: by the order, or chance turns it."""
    s.seat = CHANCE if s.order == RANDOM else 0
    if s.order == DESCENDING:
        s.prize[s.rounds] = s.prize.shape[0] - s.rounds
    elif s.order == ASCENDING:
        s.prize[s.rounds] = s.rounds + 1


@verb
def is_turned(s: State, card: int) -> bool:
    """Was the point card turned up?"""
    times = 0
    for r in range(s.prize.shape[0]):
        times += s.prize[r] == card
    return times > 0


@verb
def holds(s: State, seat: int, card: int) -> bool:
    """Has the seat bid the card in none of the rounds that are over?"""
    times = 0
    for r in range(s.rounds):
        times += s.bid[seat, r] == card
    return times == 0


@verb
def chance(s: State, probabilities: Array) -> None:
    """Outcome o turns up point card o + 1."""
    cards = s.prize.shape[0]
    for o in range(cards):
        if not is_turned(s, o + 1):
            probabilities[o] = 1.0 / (cards - s.rounds)


@verb
def legal(s: State, mask: Array) -> None:
    """The cards that are held."""
    for a in range(mask.shape[0]):
        mask[a] = holds(s, s.seat, a + 1)


@verb
def play(s: State, action: int) -> None:
    """Turn up a point card, commit a bid, or bid and settle the round."""
    cards = s.prize.shape[0]
    if s.seat == CHANCE:
        s.prize[s.rounds] = action + 1
        s.seat = 0
    elif s.seat == 0:
        s.committed = action + 1
        s.seat = 1
    else:
        end_round(s, s.committed, action + 1)
        if s.rounds < cards - 1:
            turn_up(s)
        else:
            play_last_round(s)
            settle(s)


@verb
def end_round(s: State, first: int, second: int) -> None:
    """The higher of the two bids wins the point card."""
    r = s.rounds
    s.bid[0, r] = first
    s.bid[1, r] = second
    s.winner[r] = 1 if first > second else 2 if second > first else 3
    s.committed = 0
    s.rounds += 1


@verb
def play_last_round(s: State) -> None:
    """One card is left in each hand, and one in the stack."""
    cards = s.prize.shape[0]
    prize, first, second = 0, 0, 0
    for card in range(1, cards + 1):
        prize = prize if is_turned(s, card) else card
        first = card if holds(s, 0, card) else first
        second = card if holds(s, 1, card) else second
    s.prize[cards - 1] = prize
    end_round(s, first, second)


@verb
def points(s: State, seat: int) -> int:
    """The sum of the point cards that the seat has won."""
    total = 0
    for r in range(s.rounds):
        if s.winner[r] == seat + 1:
            total += s.prize[r]
    return total


@verb
def settle(s: State) -> None:
    """The match is over: more points win."""
    s.over = True
    first, second = points(s, 0), points(s, 1)
    if first != second:
        s.reward[0] = 1.0 if first > second else -1.0
        s.reward[1] = -s.reward[0]


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """The own hand, and where the point cards are."""
    cards = s.prize.shape[0]
    for c in range(cards):
        out[c] = HELD if holds(s, seat, c + 1) else 0
    for r in range(cards):
        if s.prize[r] != 0:
            won = s.winner[r]
            code = THROWN_AWAY if won == 3 else TURNED_UP if won == 0 else 2 if won == seat + 1 else 3
            out[cards + s.prize[r] - 1] = code


@dataclasses.dataclass(frozen=True)
class Goofspiel(Game):
    """Goofspiel for two; see the module's docstring."""

    cards: int = 4
    """Of each hand, and as many point cards, 2..13."""
    order: Order = "descending"
    """In which the point cards are turned up: descending, ascending, random."""

    name = "goofspiel"
    simultaneous = True
    chance_outcomes = 13

    deal = staticmethod(deal)
    chance = staticmethod(chance)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("cards", 2, 13)

    @property
    def actions(self) -> int:
        return self.cards

    @property
    def max_length(self) -> int:
        return 2 * (self.cards - 1)

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(*[2] * self.cards, *[5] * self.cards)

    @property
    def state(self) -> np.dtype[Any]:
        return goofspiel_record(self.cards)

    def blank(self) -> State:
        s = super().blank()
        s.order = ORDERS.index(self.order)
        return s

    def action_name(self, action: int) -> str:
        return str(action + 1)

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        lines = [
            "prizes  " + " ".join(f"{card or '.':>2}" for card in state.prize),
            *(
                f"{NAMES[p]}  " + " ".join(f"{said:>2}" for said in self._bids(state, p, viewer))
                for p in range(2)
            ),
            "won by  " + " ".join(f"{'.01-'[won]:>2}" for won in state.winner),
        ]
        return "\n".join([*lines, self._situation(state)[0]])

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        said, about = self._situation(state)
        seen = "" if viewer == REFEREE else f"seen by {NAMES[viewer]}: "
        step, left = 40.0, MARGIN + 76
        width = max(left + step * self.cards + MARGIN, 480.0)
        rows = [
            words(MARGIN, HEADER + 46 * k + 26, name, 14, MUTED, anchor="start")
            for k, name in enumerate(("prizes", *NAMES))
        ]
        for r, won in enumerate(state.winner.tolist()):
            colour = FELT_TEXT if won in (0, 3) else SEATS_PALE[won - 1]
            rim = SEATS[won - 1] if won in (1, 2) else MUTED
            prize = str(state.prize[r]) if state.prize[r] else ""
            is_open = r == state.rounds and prize != ""
            drawn = [_card(prize, LATEST if is_open else colour, rim)]
            drawn += [
                moved(0, 46 * (p + 1), _card(self._bids(state, p, viewer)[r].strip("."), "#ffffff", SEATS[p]))
                for p in range(2)
            ]
            rows.append(moved(left + step * r, HEADER, *drawn))
        title = f"Goofspiel, {self.cards} cards"
        rules = f"prizes in {self.order} order, bids are laid aside unseen"
        return document(width, HEADER + 3 * 46 + 20, header(title, rules, seen + said, about), *rows)

    def _bids(self, state: State, seat: int, viewer: Viewer) -> list[str]:
        """A seat's bids round by round, as `viewer` knows them: . is none yet, ? one unseen."""
        told = ["." if card == 0 else str(card) for card in state.bid[seat]]
        if seat == 0 and state.committed:
            told[state.rounds] = str(state.committed) if viewer == REFEREE else "."
        return [said if said == "." or viewer in (REFEREE, seat) else "?" for said in told]

    def _situation(self, state: State) -> tuple[str, int | None]:
        said, about = situation(state, NAMES)
        if not state.over and about is not None:
            said, about = "both bid", None
        return f"{said}, points: {points(state, 0)} and {points(state, 1)}", about


def _card(said: str, fill: str, rim: str) -> str:
    """A card, or its empty place."""
    style: dict[str, Any] = {"fill": fill, "stroke": rim} if said else {"fill": "none", "stroke": MUTED}
    return rectangle(0, 0, 34, 40, rx=5, stroke_width=1.4, **style) + words(17, 26, said, 16, bold=True)
