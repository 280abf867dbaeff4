"""Ratings: what is known by hand, what simulated pools say, and when not to believe them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from pools import RPS, both_ways, circle, counted, result, simulated

from agents.play.ratings import POINTS, Z, cycles, nash_average, payoffs, rate

# ---------------------------------------------------------------- by hand


def test_of_two_players_it_is_the_logarithm_of_their_odds():
    """75 of 100 in both seats, and as many draws added as numbers are found, one a seating:

    odds (75 + 1/2) / (25 + 1/2) = 2.960784, 400 log10 of it = 188.5572 points; its variance
    1 / 100 / (p (1 - p)) for each seating, p = 75.5 / 101, once more 101 / 100 for N - 1, and half for two.
    """
    names = ["random", "better"]
    zero, better = rate(names, both_ways({("better", "random"): counted((75, 0, 25), (75, 0, 25))}))
    assert zero == (0.0, 0.0, 0.0)
    assert better.points == pytest.approx(400 * math.log10(75.5 / 25.5), abs=1e-3)
    p = 75.5 / 101
    half = Z * POINTS * math.sqrt(1.01 / (100 * p * (1 - p)) / 2)
    assert (better.low, better.high) == pytest.approx((better.points - half, better.points + half), abs=1e-2)


def test_what_seat_0_is_worth_is_no_strength():
    """Two who win 90 of 100 in seat 0 and 10 in seat 1 are equals. One who wins 30 in seat 1 is better by
    half of the logarithm of the product of both odds: log odds are r + edge and r - edge."""
    names = ["random", "other"]
    _, equal = rate(names, both_ways({("random", "other"): counted((90, 0, 10), (10, 0, 90))}))
    assert equal.points == pytest.approx(0.0, abs=1e-6)
    _, better = rate(names, both_ways({("other", "random"): counted((90, 0, 10), (30, 0, 70))}))
    odds = (90.5 / 10.5) * (30.5 / 70.5)
    assert better.points == pytest.approx(200 * math.log10(odds), abs=1e-3)


def test_a_draw_is_half_a_win_and_less_luck():
    """75 wins and 25 losses score as much as 50 wins and 50 draws, which tell it more surely."""
    names = ["random", "other"]
    _, wins = rate(names, both_ways({("other", "random"): counted((75, 0, 25), (75, 0, 25))}))
    _, draws = rate(names, both_ways({("other", "random"): counted((50, 50, 0), (50, 50, 0))}))
    assert draws.points == pytest.approx(wins.points, abs=1e-3)
    assert draws.high - draws.low < 0.65 * (wins.high - wins.low)


def test_what_a_pot_weighs_counts():
    """Of pots up to 4, one who wins 1 in 60 of 100 and loses 4 in 40 is the worse one: -1 a match."""
    pots = [np.repeat([1.0, -4.0], [60, 40])] * 2
    one = dataclasses.replace(result(pots), bounds=(-4.0, 4.0))
    _, rating = rate(["random", "folds late"], both_ways({("folds late", "random"): one}))
    score = (100 * (0.5 - 1.0 / 8.0) + 0.5) / 101
    assert rating.points == pytest.approx(400 * math.log10(score / (1.0 - score)), abs=1e-3)
    assert rating.high < 0.0


def test_who_never_lost_a_point_is_better_by_any_number():
    """`first` lost no point to anybody, `second` to `first` alone; `random` took none."""
    names = ["first", "second", "random"]
    results = {
        ("first", "second"): counted((50, 0, 0), (50, 0, 0)),
        ("second", "random"): counted((50, 0, 0), (50, 0, 0)),
        ("first", "random"): counted((50, 0, 0), (50, 0, 0)),
    }
    first, second, zero = rate(names, both_ways(results))
    assert first.points > second.points > zero.points == 0.0
    assert first.high == second.high == math.inf
    assert 0.0 < second.low < second.points < math.inf
    results["second", "random"] = counted((49, 1, 0), (50, 0, 0))  # one draw
    first, second, _ = rate(names, both_ways(results))
    assert second.high < math.inf
    assert first.high == math.inf


def test_ratings_need_their_anchor_and_every_pair():
    names, results = simulated([0, 1, 2], 5, 0.0, 0.0, 0)
    with pytest.raises(ValueError, match=r"ratings count from 'random', expected it among the players, got"):
        rate(["player 1", "player 2"], results)
    del results["random", "player 2"]
    with pytest.raises(ValueError, match="of every pair of players, got none of random and player 2"):
        rate(names, results)


# ---------------------------------------------------------------- simulated pools


@pytest.mark.parametrize(
    ("players", "gap", "matches", "edge", "draws"),
    [
        (6, 0.5, 50, 0.3, 0.0),
        (6, 0.5, 50, 0.3, 0.5),
        (6, 0.5, 50, 0.3, 0.9),  # nine of ten of the points that could be drawn are
        (6, 1.5, 50, 1.0, 0.3),  # 1,300 points from the weakest to the strongest
        (10, 0.7, 100, 0.5, 0.5),
        (4, 0.7, 200, 3.0, 0.1),  # seat 0 wins 95 of 100 among equals
    ],
)
def test_of_transitive_pools_the_order_comes_back_and_the_intervals_hold_the_truth(
    players, gap, matches, edge, draws
):
    """Of 100 pools at least 90 hold the truth in the interval of each player, 93 over all of them."""
    strengths = gap * np.arange(players)
    held, ordered = np.zeros(players), 0
    for seed in range(100):
        ratings = np.array(rate(*simulated(strengths, matches, edge, draws, seed)))
        held += (ratings[:, 1] <= POINTS * strengths) & (POINTS * strengths <= ratings[:, 2])
        ordered += bool((np.diff(ratings[:, 0]) > 0).all())
    assert held.min() >= 90
    assert held[1:].mean() >= 93
    assert ordered >= 98


def test_a_rating_is_the_same_whatever_the_order_of_the_players():
    names, results = simulated([0.0, 0.4, 0.8, 1.6], 30, 0.5, 0.2, 0)
    told = dict(zip(names, rate(names, results), strict=True))
    turned = names[::-1]
    for name, rating in zip(turned, rate(turned, results), strict=True):
        assert rating == pytest.approx(told[name], abs=1e-3)


# ---------------------------------------------------------------- circles


def test_rock_paper_scissors_is_flagged_and_rated_alike():
    names, results = circle()
    told = cycles(names[:3], results)
    assert (told.triples, told.decided, told.cyclic, told.share) == (1, 1, 1, 1.0)
    assert told.is_flagged == (True, True, True)
    whole = cycles(names, results)  # three of four triples have `random` at their end
    assert (whole.triples, whole.decided, whole.cyclic, whole.share) == (4, 4, 1, 0.25)
    assert whole.is_flagged == (True, True, True, False)
    ratings = rate(names, results)
    assert [r.points for r in ratings[:3]] == pytest.approx([ratings[0].points] * 3, abs=1e-3)


def test_a_transitive_pool_is_not_flagged():
    for seed in range(20):
        told = cycles(*simulated([0.0, 1.0, 2.0, 3.0], 50, 0.3, 0.2, seed))
        assert (told.cyclic, any(told.is_flagged)) == (0, False)
        assert told.decided > 0
    assert told.share == 0.0


def test_where_nothing_is_decided_there_is_no_share():
    """Equals: 40 matches tell nothing, and a circle of chance counts for nothing."""
    results = {pair: counted((11, 0, 9), (11, 0, 9)) for pair in RPS}
    told = cycles(["rock", "paper", "scissors"], both_ways(results))
    assert (told.decided, told.cyclic, told.share, any(told.is_flagged)) == (0, 0, None, False)


# ---------------------------------------------------------------- Nash averaging


def test_nash_averaging_of_a_circle_is_even_and_copies_change_nothing():
    names, results = circle()
    told = nash_average(payoffs(names, results))
    assert told.mass == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0], abs=1e-6)
    assert told.payoff == pytest.approx([0.0, 0.0, 0.0, -0.6], abs=1e-6)
    A = payoffs(names, results)
    twice = np.vstack([A, A[:1]])
    twice = np.hstack([twice, twice[:, :1]])  # rock once more
    copied = nash_average(twice)
    assert copied.mass == pytest.approx([1 / 6, 1 / 3, 1 / 3, 0.0, 1 / 6], abs=1e-6)
    assert copied.payoff[:4] == pytest.approx(told.payoff, abs=1e-6)


def test_nash_averaging_of_an_order_is_the_best_player():
    told = nash_average(np.array([[0.0, -0.1, -0.5], [0.1, 0.0, -0.2], [0.5, 0.2, 0.0]]))
    assert told.mass.tolist() == pytest.approx([0.0, 0.0, 1.0])
    assert told.payoff.tolist() == pytest.approx([-0.5, -0.2, 0.0])


def test_nash_averaging_of_equals_is_even():
    assert nash_average(np.zeros((5, 5))).mass == pytest.approx([0.2] * 5)


def test_nobody_beats_the_mixture():
    """Random antisymmetric payoffs of 12 players."""
    for seed in range(5):
        drawn = np.random.default_rng(seed).normal(size=(12, 12))
        told = nash_average(drawn - drawn.T)
        assert told.mass.sum() == pytest.approx(1.0)
        assert told.payoff.max() < 1e-8
        assert told.payoff[told.mass > 1e-6] == pytest.approx(0.0, abs=1e-8)


def test_only_what_one_gets_more_than_the_other_counts():
    """Both win 1 whatever they do: nobody beats anybody."""
    told = nash_average(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert told.mass == pytest.approx([0.5, 0.5])
    assert told.payoff == pytest.approx([0.0, 0.0])
