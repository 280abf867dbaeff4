"""Two games for the adapters' tests: one is played alone, one pays at every move and may end at once."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np

from envs.core import CHANCE, REFEREE, Game, record, verb


@verb
def deal(s):
    s.seat = CHANCE


@verb
def third(_s, probabilities):
    for o in range(3):
        probabilities[o] = 1.0 / 3.0


@verb
def untried(s, mask):
    for a in range(3):
        mask[a] = s.tried[a] == 0


@verb
def guess(s, action):
    if s.seat == CHANCE:
        s.card = action
        s.seat = 0
        return
    s.tried[action] = 1
    s.over = action == s.card
    s.reward[0] = 1.0 if s.over else -0.25


@verb
def see_tried(s, _seat, out):
    for a in range(3):
        out[0, a, 0] = s.tried[a]


class Drawn(Game):
    def action_name(self, action):
        return str(action)

    def text(self, state, _viewer=REFEREE):
        return str(state)

    def svg(self, state, viewer=REFEREE):
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{self.text(state, viewer)}</text></svg>'


@dataclasses.dataclass(frozen=True)
class Guess(Drawn):
    """Name the hidden card, 0..2: a right guess earns 1 and ends the match, a wrong one costs 0.25."""

    name, seats, chance_outcomes = "guess", 1, 3
    deal, chance, legal = staticmethod(deal), staticmethod(third), staticmethod(untried)
    play, observe = staticmethod(guess), staticmethod(see_tried)
    actions, max_length = 3, 3
    observation_space = gymnasium.spaces.Box(0, 1, (2, 3, 1), np.int8)
    state = record(1, ("card", np.int8), ("tried", np.int8, (3,)))


STOP, GO = 0, 1


@verb
def half(_s, probabilities):
    probabilities[0] = 0.5
    probabilities[1] = 0.5


@verb
def both(_s, mask):
    mask[0] = True
    mask[1] = True


@verb
def move_on(s, action):
    if s.seat == CHANCE:
        s.seat = action
        return
    s.reward[s.seat] = 1.0
    s.reward[1 - s.seat] = 0.5
    s.moves += 1
    s.over = action == STOP or s.moves == 4
    s.seat = 1 - s.seat


@verb
def see_moves(s, _seat, out):
    out[0, 0, 0] = s.moves


@dataclasses.dataclass(frozen=True)
class Hurry(Drawn):
    """A coin says who begins. A move earns its seat 1 and the other 0.5; STOP or the 4th ends the match."""

    name, chance_outcomes = "hurry", 2
    deal, chance, legal = staticmethod(deal), staticmethod(half), staticmethod(both)
    play, observe = staticmethod(move_on), staticmethod(see_moves)
    actions, max_length, return_range = 2, 4, (0.0, 4.0)
    observation_space = gymnasium.spaces.Box(0, 4, (1, 1, 2), np.int8)
    state = record(2, ("moves", np.int8))
