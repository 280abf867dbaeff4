"""What the tests of opponents and adapters share: opponents by rule, random play, and what is the same."""

from __future__ import annotations

import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from toys import GO, STOP

PASS, BET = 0, 1  # in Kuhn poker


def first(_observation, mask, _seat):
    """The lowest legal action."""
    return int(np.flatnonzero(mask)[0])


def last(_observation, mask, _seat):
    """The highest legal action."""
    return int(np.flatnonzero(mask)[-1])


def stop(_observation, _mask, _seat):
    return STOP


def go(_observation, _mask, _seat):
    return GO


def same(one, two):
    """What two environments told is equal: arrays, numbers and infos."""
    return data_equivalence(one, two, exact=True)


def played(env, chooser, episodes):
    """Everything the environment tells in so many episodes of random legal play; no seed is given."""
    told = []
    for _ in range(episodes):
        told.append(env.reset())
        over = False
        while not over:
            told.append(env.step(chooser.choice(np.flatnonzero(env.action_masks()))))
            over = told[-1][2]
    return told
