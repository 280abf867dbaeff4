"""Ratings: one number a player, from matches of everyone against everyone, and how far to trust it.

A rating is a sum of what a player wins against all; where players beat each other in a circle no such number
tells who wins. So beside it stand the share of cyclic triples, which says whether to believe it, and Nash
averaging, which needs no order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.play.arena import Result
from agents.play.intervals import Z, bounds_of

Array = npt.NDArray[Any]
Results = Mapping[tuple[str, str], Result]

ANCHOR: Final = "random"
"""The player whose rating is 0."""

POINTS: Final = 400.0 / math.log(10.0)
"""Of a rating for odds of e : 1, as Elo has it: who is 400 points better scores 10 times as much."""

CYCLIC: Final = 0.1
"""A rating is flagged where more of its player's triples are cyclic. Of five players, one of whom beats all
and is beaten by all but one, it is 1 in 6."""


class Rating(NamedTuple):
    """How strong a player is, in points above the anchor; interval 95 %, an open end is infinite."""

    points: float
    low: float
    high: float


class Cycles(NamedTuple):
    """Triples of players: how many, and of which all three know who is better (their intervals exclude 0)."""

    triples: int
    decided: int
    cyclic: int  # of the decided ones: each beats the next
    share: float | None  # cyclic / decided; None where nothing is decided
    share_of: tuple[float, ...]  # the same among the triples of each player, 0 where nothing is decided
    is_flagged: tuple[bool, ...]  # more than `CYCLIC`: the player's rating does not tell whom it beats


class NashAverage(NamedTuple):
    """The mixture of players that nobody beats, of all such the one of the highest entropy."""

    mass: Array  # float64 [K], sums to 1
    payoff: Array  # float64 [K], mean return of each player against the mixture; 0 is the best there is


def payoffs(names: Sequence[str], results: Results) -> Array:
    """Mean returns, float64 [K, K], of the row's player against the column's; 0 on the diagonal."""
    told = np.zeros((len(names), len(names)))
    for (a, b), (one, other) in _pairs(names):
        told[a, b], told[b, a] = results[one, other].mean, results[other, one].mean
    return told


# ---------------------------------------------------------------- ratings


def rate(names: Sequence[str], results: Results, anchor: str = ANCHOR) -> list[Rating]:
    """Ratings of players who have all met, by the model of Bradley & Terry (1952) with an edge of seat 0.

        log odds that the one in seat 0 scores = rating of it - rating of the other + edge

    A score is what one got more than the other, as a share: 1 for the most that can be won, 1/2 for as much
    as the other, so of wins, draws and losses 1, 1/2 and 0. In poker small pots count little, as they should:
    by wins alone a bot that folds in time is worse than play at random.

    All numbers are fitted together to all matches, by Firth's (1993) penalised likelihood, with
    `scipy.optimize`: to the matches of a pair in a seating are added as many draws, each half a win and half
    a loss, as the fit leans on that pair, in sum one for every number fitted. So nothing is infinite.

    Intervals are Wald's, of the difference to the anchor, from White's (1982) sandwich: outside the model's
    curvature, inside the variance of the scores that were seen, with those draws. So draws and small pots
    count as the little luck that they are, and the interval is of the ratings that matches without end would
    give even if no ratings describe the pool. It is open upwards where no match bounds how far a player is
    above the anchor: where it left no share to the anchor, nor to one who did, nor to one who left one to
    such a one, and so on. Downwards likewise.

    Args:
        names: of K players.
        results: of each pair of them, both ways round.
        anchor: who is at 0.

    Raises:
        ValueError: the anchor is none of the players, or two have not met.
    """
    if anchor not in names:
        raise ValueError(f"ratings count from {anchor!r}, expected it among the players, got {list(names)}")
    if unmet := [pair for _, pair in _pairs(names) if pair not in results]:
        raise ValueError(f"expected a result of every pair of players, got none of {' and '.join(unmet[0])}")
    table = _edges(names, results, anchor)
    at = _fit(table)
    covariance = _covariance(table, at)
    K, zero = len(names), names.index(anchor)
    is_open = _open_ends(names, results, zero)
    ratings = []
    for k in range(K):
        points, half = POINTS * float(at[k]), POINTS * Z * math.sqrt(covariance[k, k])
        below, above = is_open[k]
        ratings.append(
            Rating(points, -math.inf if below else points - half, math.inf if above else points + half)
        )
    return ratings


class _Edges(NamedTuple):
    """The matches of E = K (K - 1) seatings of two; to be found are K ratings and the edge of seat 0."""

    design: Array  # float64 [E, K + 1]; the anchor's column is 0
    score: Array  # float64 [E], the sum of what the one in seat 0 scored
    squares: Array  # float64 [E], the sum of their squares
    matches: Array  # float64 [E]
    found: Array  # bool [K + 1], what is fitted: all but the anchor


def _edges(names: Sequence[str], results: Results, anchor: str) -> _Edges:
    K, zero = len(names), names.index(anchor)
    rows, counts = [], []
    for (a, b), pair in _pairs(names):
        result = results[pair]
        for seat, (first, second) in enumerate(((a, b), (b, a))):
            scores = _scores(result)[result.seat.numpy() == seat]
            scores = 1.0 - scores if seat == 1 else scores
            row = np.zeros(K + 1)
            row[first], row[second], row[K] = 1.0, -1.0, 1.0
            rows.append(row)
            counts.append((scores.sum(), np.square(scores).sum(), len(scores)))
    design = np.array(rows)
    design[:, zero] = 0.0
    score, squares, matches = np.array(counts, np.float64).T
    return _Edges(design, score, squares, matches, np.arange(K + 1) != zero)


def _scores(result: Result) -> Array:
    """What the player scored in each match, float64 [N] in 0..1."""
    returns = result.returns.numpy()
    opposite = -returns if result.opposite is None else result.opposite.numpy()
    low, high = bounds_of([returns, opposite]) if result.bounds is None else result.bounds
    shares: Array = np.clip(0.5 + (returns - opposite) / (2.0 * (high - low)), 0.0, 1.0)
    return shares


def _chances(edges: _Edges, at: Array) -> tuple[Array, Array, Array]:
    """Expected scores [E], the information of all matches [K, K] and the draws added [E] of found numbers."""
    X = edges.design[:, edges.found]
    p = 1.0 / (1.0 + np.exp(-np.clip(X @ at, -30.0, 30.0)))
    weight = edges.matches * p * (1.0 - p)
    information = (X.T * weight) @ X
    added = weight * np.einsum("ea,ab,eb->e", X, np.linalg.inv(information), X)
    return p, information, added


def _fit(edges: _Edges) -> Array:
    """The numbers at the maximum of the penalised likelihood, float64 [K + 1], the anchor's 0."""
    from scipy import optimize  # here and below: it takes 0.2 s to import

    X, score = edges.design[:, edges.found], edges.score

    def loss(at: Array) -> float:
        p, information, _ = _chances(edges, at)
        likelihood = score @ np.log(p) + (edges.matches - score) @ np.log1p(-p)
        return -float(likelihood + np.linalg.slogdet(information)[1] / 2.0)

    def slope(at: Array) -> Array:
        p, _, added = _chances(edges, at)
        return -X.T @ (score - edges.matches * p + added * (0.5 - p))  # type: ignore[no-any-return]

    told = optimize.minimize(loss, np.zeros(X.shape[1]), jac=slope, method="BFGS", options={"gtol": 1e-6})
    found = np.zeros(len(edges.found))
    found[edges.found] = told.x
    return found


def _covariance(edges: _Edges, at: Array) -> Array:
    """Of the numbers, float64 [K + 1, K + 1]; the anchor's rows are 0."""
    X = edges.design[:, edges.found]
    _, information, added = _chances(edges, at[edges.found])
    N = edges.matches + added
    mean = (edges.score + added / 2.0) / N
    seen = edges.matches * N / (N - 1.0) * ((edges.squares + added / 2.0) / N - mean**2)
    outside = np.linalg.inv(information)
    covariance = np.zeros((len(at), len(at)))
    covariance[np.ix_(edges.found, edges.found)] = outside @ ((X.T * seen) @ X) @ outside
    return covariance


def _open_ends(names: Sequence[str], results: Results, zero: int) -> list[tuple[bool, bool]]:
    """For each player: nothing keeps it from being any number of points below, or above, the anchor."""
    K = len(names)
    took = np.eye(K, dtype=np.bool_)  # [a, b]: b left a share to a
    for (a, b), (one, other) in _pairs(names):
        scores = _scores(results[one, other])
        took[a, b], took[b, a] = bool((scores > 0.0).any()), bool((scores < 1.0).any())
    for _ in range(K.bit_length()):  # ... or to one who left one to a, and so on
        took = (took.astype(np.int64) @ took.astype(np.int64)) > 0
    return [(not took[k, zero], not took[zero, k]) for k in range(K)]


# ---------------------------------------------------------------- what no rating tells


def cycles(names: Sequence[str], results: Results) -> Cycles:
    """Triples in which each beats the next, by mean returns whose 95 % intervals exclude 0.

    Among players of equal strength one triple in 32,000 looks cyclic by chance (0.05 ** 3 / 4).
    """
    K = len(names)
    beats = np.zeros((K, K), np.bool_)
    for (a, b), pair in _pairs(names):
        low, high = results[pair].interval
        beats[a, b], beats[b, a] = low > 0.0, high < 0.0
    decided, cyclic = np.zeros(K, np.int64), np.zeros(K, np.int64)
    for triple in itertools.combinations(range(K), 3):
        wins = beats[np.ix_(triple, triple)]
        if wins.sum() == 3:
            decided[list(triple)] += 1
            cyclic[list(triple)] += (wins.sum(1) == 1).all()
    total, around = int(decided.sum()) // 3, int(cyclic.sum()) // 3
    share_of = np.divide(cyclic, decided, out=np.zeros(K), where=decided > 0)
    return Cycles(
        math.comb(K, 3), total, around, around / total if total else None,
        tuple(share_of.tolist()), tuple((share_of > CYCLIC).tolist()),
    )  # fmt: skip


def nash_average(payoff: Array) -> NashAverage:
    """Nash averaging (Balduzzi et al. 2018) of mean returns [K, K]: copies of a player change nothing.

    Only what a player gets more than its opponent counts, (A - A') / 2, in which nobody beats the mixture p
    if A p <= 0. One linear program a player tells how much of it such a mixture may hold at most; the middle
    of them holds all who can take part, and from there the entropy rises to its maximum.
    """
    A = (payoff - payoff.T) / 2.0
    K = len(A)
    corners = np.array([_most_of(A, k) for k in range(K)])
    start = corners.mean(0)
    if np.ptp(corners, axis=0).max() > 1e-7:  # there is more than one
        start = _evened(A, start)
    mass = np.where(start > 1e-9, start, 0.0)
    mass /= mass.sum()
    return NashAverage(mass, A @ mass)


def _most_of(A: Array, k: int) -> Array:
    """A mixture that nobody beats, with as much of player `k` as can be."""
    from scipy import optimize

    K = len(A)
    told = optimize.linprog(-np.eye(K)[k], A, np.zeros(K), np.ones((1, K)), [1.0], (0.0, 1.0), "highs")
    return np.asarray(told.x, np.float64)


def _evened(A: Array, start: Array) -> Array:
    """The mixture of the highest entropy that nobody beats, from one that holds all who can take part."""
    from scipy import optimize

    part = start > 1e-9

    def chaos(p: Array) -> float:
        return float(np.sum(p * np.log(np.maximum(p, 1e-12))))

    told = optimize.minimize(
        chaos,
        start[part],
        jac=lambda p: np.log(np.maximum(p, 1e-12)) + 1.0,
        bounds=[(0.0, 1.0)] * int(part.sum()),
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1.0, "jac": lambda p: np.ones(len(p))},
            {"type": "ineq", "fun": lambda p: -A[:, part] @ p, "jac": lambda _: -A[:, part]},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    evened = np.zeros(len(A))
    evened[part] = np.clip(told.x, 0.0, 1.0)
    is_better = told.success and (A @ evened).max() < 1e-6
    return evened / evened.sum() if is_better else start


def _pairs(names: Sequence[str]) -> list[tuple[tuple[int, int], tuple[str, str]]]:
    """Numbers and names of every two players."""
    numbered = itertools.combinations(range(len(names)), 2)
    return [((a, b), (names[a], names[b])) for a, b in numbered]
