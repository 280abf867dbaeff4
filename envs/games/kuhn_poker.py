"""Kuhn poker (Kuhn 1950): the smallest game in which bluffing pays.

Rules
    Three cards, jack < queen < king. Each seat antes 1 and is dealt one card, seat 0 first. Seat 0
    speaks first. `pass` checks or folds, `bet` bets 1 or calls. Two passes, or two bets, lead to a
    showdown that the higher card wins; a pass after a bet gives the pot to the bettor.

        pass pass       showdown for 1          bet pass        seat 0 wins 1
        pass bet pass   seat 1 wins 1           bet bet         showdown for 2
        pass bet bet    showdown for 2

Observation, uint8 [4]
    slot    codes   meaning
    0       0..3    own card: none, jack, queen, king
    1..3    0..2    the moves so far, in order: none, pass, bet

Actions
    0 pass, 1 bet; both are always legal.

Rewards
    What the seat wins or loses, once, at the end: -2, -1, +1 or +2. The game's value is -1/18 for seat 0.

Source of the rules: OpenSpiel `kuhn_poker` with two players.
"""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np

from envs.core import CHANCE, REFEREE, Array, Game, State, Viewer, codes, record, verb
from envs.drawing import poker_situation, poker_table

PASS, BET = 0, 1
CARDS = ("?", "J", "Q", "K")

RECORD = record(
    2,
    ("card", np.int8, (2,)),  # of each seat: 0 not dealt, 1 jack, 2 queen, 3 king
    ("move", np.int8, (3,)),  # 0 none, 1 pass, 2 bet
    ("moves", np.int8),  # how many were made
)


@verb
def deal(s: State) -> None:
    """Chance deals first."""
    s.seat = CHANCE


@verb
def chance(s: State, probabilities: Array) -> None:
    """Outcome o deals card o + 1; seat 0 is served first."""
    left = 3 if s.card[0] == 0 else 2
    for o in range(3):
        if s.card[0] != o + 1:
            probabilities[o] = 1.0 / left


@verb
def legal(_s: State, mask: Array) -> None:
    """Both moves, always."""
    mask[PASS] = True
    mask[BET] = True


@verb
def play(s: State, action: int) -> None:
    """Deal a card, or pass or bet; the second move in a row that is equal, or a fold, ends the match."""
    if s.seat == CHANCE:
        serve(s, action + 1)
        return
    s.move[s.moves] = action + 1
    s.moves += 1
    s.seat = 1 - s.seat
    if s.moves == 1:
        return
    before = s.move[s.moves - 2] - 1
    if before == BET and action == PASS:
        pay(s, winner=s.seat, stake=1)
    elif before == BET:
        pay(s, winner=higher_card(s), stake=2)
    elif action == PASS:
        pay(s, winner=higher_card(s), stake=1)


@verb
def serve(s: State, card: int) -> None:
    """Give `card` to the first seat that lacks one; after the second, seat 0 speaks."""
    if s.card[0] == 0:
        s.card[0] = card
    else:
        s.card[1] = card
        s.seat = 0


@verb
def higher_card(s: State) -> int:
    """The seat that wins a showdown."""
    return 0 if s.card[0] > s.card[1] else 1


@verb
def pay(s: State, winner: int, stake: int) -> None:
    """The match is over: the loser pays the stake."""
    s.over = True
    s.reward[winner] = stake
    s.reward[1 - winner] = -stake


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """The own card and all moves."""
    out[0] = s.card[seat]
    for m in range(3):
        out[1 + m] = s.move[m]


@dataclasses.dataclass(frozen=True)
class KuhnPoker(Game):
    """Kuhn poker for two; see the module's docstring."""

    name = "kuhn_poker"
    chance_outcomes = 3
    state = RECORD

    deal = staticmethod(deal)
    chance = staticmethod(chance)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    @property
    def actions(self) -> int:
        return 2

    @property
    def max_length(self) -> int:
        return 3

    @property
    def return_range(self) -> tuple[float, float]:
        return (-2.0, 2.0)

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(4, 3, 3, 3)

    def action_name(self, action: int) -> str:
        return ("pass", "bet")[action]

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        cards = [CARDS[state.card[p]] if viewer in (REFEREE, p) else "?" for p in range(2)]
        moves = " ".join(self.action_name(m - 1) for m in state.move[: state.moves]) or "-"
        return f"seat 0: {cards[0]}   seat 1: {cards[1]}   moves: {moves}\n{poker_situation(state)[0]}"

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        moves = [self.action_name(m - 1) for m in state.move[: state.moves]]
        cards = [CARDS[c] if c else None for c in state.card]
        paid = [1 + moves[p::2].count("bet") for p in range(2)]  # the ante and the bets
        return poker_table("Kuhn poker", "ante 1, bet 1", state, viewer, cards, paid, [moves])
