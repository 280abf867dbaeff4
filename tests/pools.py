"""Pools of players that only their results tell of: simulated, or counted by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from agents.play.arena import Result


def result(by_seat):
    """From the returns [n] in seat 0 and in seat 1."""
    returns = torch.tensor(np.concatenate(by_seat), dtype=torch.float64)
    seat = torch.repeat_interleave(torch.arange(2), torch.tensor([len(part) for part in by_seat]))
    return Result(returns, seat, torch.ones(len(seat)).long(), -returns, (-1.0, 1.0))


def both_ways(results):
    return results | {(b, a): one.reversed() for (a, b), one in results.items()}


def counted(*won_drawn_lost):
    """A result with as many wins, draws and losses in each seat."""
    return result([np.repeat([1.0, 0.0, -1.0], counts) for counts in won_drawn_lost])


def simulated(strengths, matches_per_seat, edge, draws, seed):
    """A pool whose scores follow the model: a match scores 1 with probability p - d / 2 and 1/2 with d."""
    rng = np.random.default_rng(seed)
    names = ["random", *(f"player {k}" for k in range(1, len(strengths)))]
    results = {}
    for a, b in itertools.combinations(range(len(strengths)), 2):
        by_seat = []
        for sign in (1, -1):
            p = 1.0 / (1.0 + math.exp(strengths[b] - strengths[a] - sign * edge))
            d = draws * 2.0 * min(p, 1.0 - p)
            by_seat.append(rng.choice([1.0, 0.0, -1.0], matches_per_seat, p=[p - d / 2, d, 1 - p - d / 2]))
        results[names[a], names[b]] = result(by_seat)
    return names, both_ways(results)


RPS = [("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")]


def circle():
    """Rock, paper, scissors, 95 of 100 in each seat; all three win 80 of 100 against `random`."""
    beats = {pair: counted((95, 0, 5), (95, 0, 5)) for pair in RPS}
    beats |= {(name, "random"): counted((80, 0, 20), (80, 0, 20)) for name, _ in RPS}
    return ["rock", "paper", "scissors", "random"], both_ways(beats)
