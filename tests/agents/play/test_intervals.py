"""Intervals cover what they promise, near certain outcomes, too."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from agents.gym.episodes import Episodes
from agents.play.arena import Result
from agents.play.intervals import bounds_of, mean_interval, rate_interval

RARE = 1e-6
"""Outcomes less probable than this are left out of the sums below: it counts against the coverage."""


def outcomes(n, win, loss):
    """(wins, losses, probability) of n matches; multinomial."""
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            draws = n - wins - losses
            share = (win, loss, max(0.0, 1.0 - win - loss))
            if any(p == 0.0 and k > 0 for p, k in zip(share, (wins, losses, draws), strict=True)):
                continue
            told = math.lgamma(n + 1) - sum(math.lgamma(k + 1) for k in (wins, losses, draws))
            powers = zip(share, (wins, losses, draws), strict=True)
            told += sum(k * math.log(p) for p, k in powers if k > 0)
            if told > math.log(RARE):
                yield wins, losses, math.exp(told)


def numbers(n, wins, losses):
    return np.repeat([1.0, -1.0, 0.0], [wins, losses, n - wins - losses])


def coverage(n, win, loss, seats):
    """Probability that the interval of a mean over `seats` seats of n matches each holds the true one."""
    true, total = win - loss, 0.0
    for results in itertools.product(list(outcomes(n, win, loss)), repeat=seats):
        low, high = mean_interval([numbers(n, wins, losses) for wins, losses, _ in results])
        total += math.prod(p for *_, p in results) * (low - 1e-12 <= true <= high + 1e-12)
    return total


@pytest.mark.parametrize("n", [20, 50, 200, 500])
@pytest.mark.parametrize("win", [0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.992, 0.995, 0.997, 0.999])
def test_wins_and_losses_are_covered_by_exact_sums_one_seat(n, win):
    assert coverage(n, win, 1.0 - win, 1) >= 0.94


@pytest.mark.parametrize(
    ("n", "win"),
    [(20, 0.96), (20, 0.98), (20, 0.9866), (20, 0.99), (20, 0.995), (50, 0.99), (50, 0.998), (500, 0.999)],
)
def test_wins_and_losses_are_covered_by_exact_sums_two_seats(n, win):
    """0.99 at 20 matches each is the case that the normal approximation covers by a third."""
    assert coverage(n, win, 1.0 - win, 2) >= 0.94


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize(
    ("win", "draw"), [(0.45, 0.1), (0.9, 0.1), (0.8, 0.2), (0.5, 0.5), (0.098, 0.9), (0.01, 0.98)]
)
def test_draws_are_covered_by_exact_sums(n, win, draw):
    assert coverage(n, win, max(0.0, 1.0 - win - draw), 1) >= 0.94


@pytest.mark.parametrize("n", [20, 50, 200, 500])
@pytest.mark.parametrize(
    ("pots", "chances", "bounds"),
    [
        ([-13, -3, -1, 1, 3, 13], [0.005, 0.2, 0.3, 0.3, 0.19, 0.005], (-13, 13)),
        ([-1, 1, 100], [0.6, 0.395, 0.005], (-100, 100)),
        ([1, -13], [0.99, 0.01], (-13, 13)),
        ([-1, 13], [0.9, 0.1], (-13, 13)),
    ],
)
def test_rare_big_pots_are_covered(n, pots, chances, bounds):
    """2,000 seeded evaluations of two seats: at least 93 % hold the mean (4 standard errors are 2 %)."""
    rng, true = np.random.default_rng(n), float(np.dot(pots, chances))
    drawn = rng.choice(np.array(pots, float), (2000, 2, n), p=chances)
    held = [low <= true <= high for low, high in (mean_interval([*seats], bounds) for seats in drawn)]
    assert np.mean(held) >= 0.93


def of(returns, seats, bounds=None):
    returns = torch.tensor(returns, dtype=torch.float64)
    return Result(returns, torch.tensor(seats), torch.ones(len(seats)).long(), -returns, bounds)


def test_a_thousand_wins_are_no_certainty():
    low, high = of([1.0] * 1000, [0, 1] * 500).interval
    assert 0.98 < low < 0.995
    assert high == 1.0
    assert of([-1.0] * 1000, [0, 1] * 500).interval == pytest.approx((-high, -low))
    low, high = of([0.0] * 1000, [0, 1] * 500).interval
    assert low == pytest.approx(-high)
    assert 0.001 < high < 0.01
    assert of([1.0] * 1000, [0, 1] * 500).reversed().interval[1] > -0.995


def test_bigger_pots_that_can_come_count():
    """100 folds: of a game that pays up to 13, the mean may lie further from -1 than of one that pays 2."""
    two, thirteen = (of([-1.0] * 100, [0, 1] * 50, (-b, b)).interval for b in (2.0, 13.0))
    assert thirteen[0] < two[0] < -1.0 < two[1] < thirteen[1]


def test_far_from_the_bounds_it_is_the_normal_one():
    rng = np.random.default_rng(0)
    drawn = rng.uniform(-1, 1, 5000)
    half = 1.959964 * drawn.std(ddof=1) / 5000**0.5
    low, high = mean_interval([drawn], (-1.0, 1.0))
    assert (low, high) == pytest.approx((drawn.mean() - half, drawn.mean() + half), abs=0.05 * half)


@pytest.mark.parametrize(
    "rewards", [(500.0, 500.0), (-200.0, -150.0), (7.0,), (0.0, 0.0), (1.0, 1.0), (1e-9, 2e9)]
)
def test_few_episodes_give_an_interval_that_holds_what_was_seen(rewards):
    low, high = Episodes(rewards, (1,) * len(rewards)).interval
    assert min(0.0, *rewards, *(-1.0,) * (set(rewards) <= {0.0, 1.0})) <= low <= np.mean(rewards) <= high
    assert high <= max(1.0, *rewards)
    assert low < high


def test_the_range_of_what_was_seen():
    assert bounds_of([np.array([1.0, 0.0]), np.array([1.0])]) == (-1.0, 1.0)
    assert bounds_of([np.array([200.0, 500.0])]) == (0.0, 500.0)
    assert bounds_of([np.array([-200.0]), np.array([-150.0])]) == (-200.0, 0.0)


def test_numbers_beyond_the_bounds_widen_them():
    assert mean_interval([np.array([5.0, 5.0])], (-1.0, 1.0)) == mean_interval(
        [np.array([5.0, 5.0])], (-1.0, 5.0)
    )


def test_a_rate_that_was_never_or_always_seen():
    """0 of 4: 0 .. z^2 / (4 + z^2) = 0.489890."""
    assert rate_interval(0, 4) == pytest.approx((0.0, 0.489890), abs=2e-6)
    assert rate_interval(4, 4) == pytest.approx((0.510110, 1.0), abs=2e-6)
