"""Leduc poker (Southey et al. 2005): two betting rounds, one private card each and one public card.

Rules
    Six cards: jack, queen and king in two suits. Each seat antes 1 and is dealt one card, seat 0
    first. A betting round follows, then one public card is turned, then a second round; seat 0 opens
    both. A raise is 2 chips in the first round and 4 in the second, at most two raises a round. A
    round ends when both seats checked or a raise was called. At the showdown a card of the public
    card's rank wins, else the higher rank; equal ranks split the pot. Folding gives the pot away.

Observation, uint8 [10]
    slot    codes   meaning
    0       0..6    own card: none, then 1 + 2 * rank + suit (rank 0 jack, 1 queen, 2 king)
    1       0..6    public card, the same way
    2..5    0..3    moves of the first round, in order: none, fold, call (or check), raise
    6..9    0..3    moves of the second round

Actions
    0 fold (legal only against a raise), 1 call or check, 2 raise (legal while fewer than two raises
    were made in the round).

Rewards
    Chips won or lost, once, at the end: -13..13. The game's value is -0.085606424 for seat 0.

Source of the rules: OpenSpiel `leduc_poker` with two players.
"""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np

from envs.core import CHANCE, REFEREE, Array, Game, State, Viewer, codes, record, verb
from envs.drawing import poker_situation, poker_table

FOLD, CALL, RAISE = 0, 1, 2
PUBLIC = 2  # index of the public card in `card`
CARDS = ("?", "Js", "Jh", "Qs", "Qh", "Ks", "Kh")

RECORD = record(
    2,
    ("card", np.int8, (3,)),  # seat 0's, seat 1's, the public one; 0 not dealt, else 1..6
    ("paid", np.int8, (2,)),  # chips each seat has put into the pot
    ("move", np.int8, (2, 4)),  # of each round: 0 none, 1 fold, 2 call, 3 raise
    ("betting_round", np.int8),  # 0 or 1
    ("moves", np.int8),  # made in this round
    ("raises", np.int8),  # made in this round
)


@verb
def deal(s: State) -> None:
    """Take the antes; chance deals first."""
    s.paid[0] = 1
    s.paid[1] = 1
    s.seat = CHANCE


@verb
def chance(s: State, probabilities: Array) -> None:
    """Outcome o turns card o + 1."""
    left = 6
    for c in range(3):
        if s.card[c] != 0:
            left -= 1
    for o in range(6):
        if s.card[0] != o + 1 and s.card[1] != o + 1:
            probabilities[o] = 1.0 / left


@verb
def legal(s: State, mask: Array) -> None:
    """Fold against a raise only; call; raise twice a round at most."""
    mask[FOLD] = s.paid[s.seat] < s.paid[1 - s.seat]
    mask[CALL] = True
    mask[RAISE] = s.raises < 2


@verb
def play(s: State, action: int) -> None:
    """Turn a card, or make a move; a call of a raise, or a second check, ends the round."""
    if s.seat == CHANCE:
        serve(s, action + 1)
        return
    other = 1 - s.seat
    s.move[s.betting_round, s.moves] = action + 1
    s.moves += 1
    if action == FOLD:
        pay(s, winner=other)
    elif action == RAISE:
        s.paid[s.seat] = s.paid[other] + 2 + 2 * s.betting_round
        s.raises += 1
        s.seat = other
    else:
        answers_a_raise = s.raises > 0
        s.paid[s.seat] = s.paid[other]
        s.seat = other
        if answers_a_raise or s.moves == 2:
            end_round(s)


@verb
def serve(s: State, card: int) -> None:
    """Give `card` to the first who lacks one: seat 0, seat 1, the table."""
    place = 0
    while s.card[place] != 0:
        place += 1
    s.card[place] = card
    if place != 0:
        s.seat = 0


@verb
def end_round(s: State) -> None:
    """After the first round chance turns the public card, after the second comes the showdown."""
    if s.betting_round == 0:
        s.betting_round = 1
        s.moves = 0
        s.raises = 0
        s.seat = CHANCE
    else:
        showdown(s)


@verb
def rank(card: int) -> int:
    """Of a card that is dealt: 0 jack, 1 queen, 2 king."""
    return (card - 1) // 2


@verb
def strength(s: State, seat: int) -> int:
    """A pair with the public card beats every single card."""
    own = rank(s.card[seat])
    return own + 3 if own == rank(s.card[PUBLIC]) else own


@verb
def showdown(s: State) -> None:
    """The stronger hand wins; equal ones split the pot."""
    first, second = strength(s, 0), strength(s, 1)
    if first == second:
        s.over = True
    else:
        pay(s, winner=0 if first > second else 1)


@verb
def pay(s: State, winner: int) -> None:
    """The match is over: the winner gets what the other has paid."""
    s.over = True
    s.reward[winner] = s.paid[1 - winner]
    s.reward[1 - winner] = -s.paid[1 - winner]


@verb
def observe(s: State, seat: int, out: Array) -> None:
    """The own card, the public one, and the moves of both rounds."""
    out[0] = s.card[seat]
    out[1] = s.card[PUBLIC]
    for r in range(2):
        for m in range(4):
            out[2 + 4 * r + m] = s.move[r, m]


@dataclasses.dataclass(frozen=True)
class LeducPoker(Game):
    """Leduc poker for two; see the module's docstring."""

    name = "leduc_poker"
    chance_outcomes = 6
    state = RECORD

    deal = staticmethod(deal)
    chance = staticmethod(chance)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    @property
    def actions(self) -> int:
        return 3

    @property
    def max_length(self) -> int:
        return 8

    @property
    def return_range(self) -> tuple[float, float]:
        return (-13.0, 13.0)

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(7, 7, *[4] * 8)

    def action_name(self, action: int) -> str:
        return ("fold", "call", "raise")[action]

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        cards = [CARDS[state.card[p]] if viewer in (REFEREE, p) else "?" for p in range(2)]
        rounds = [" ".join(self.action_name(m - 1) for m in moves if m) or "-" for moves in state.move]
        return (
            f"seat 0: {cards[0]}, paid {state.paid[0]}   seat 1: {cards[1]}, paid {state.paid[1]}   "
            f"public: {CARDS[state.card[PUBLIC]]}\nround 1: {rounds[0]}   round 2: {rounds[1]}\n"
            f"{poker_situation(state)[0]}"
        )

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        *cards, public = [CARDS[c] if c else None for c in state.card]
        rounds = [[self.action_name(m - 1) for m in moves if m] for moves in state.move]
        return poker_table(
            "Leduc poker", "ante 1, raises 2 then 4", state, viewer, cards, state.paid, rounds, [public]
        )
