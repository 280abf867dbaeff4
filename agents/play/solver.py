"""Solver: play that can hardly be exploited, for games whose tree fits the memory.

player = agents.solve(envs.make("leduc_poker"))
player.exploitability                     # 0.0009... (NashConv / 2)
player.save("leduc.zip")                  # sits down wherever an agent's file does

Predictive CFR+ (Farina, Kroer & Sandholm 2021) on the tree's factored payoffs: the seats take turns; at every
information set regret R and policy follow what each action would have gained, r:

    R = max(R + r, 0)          policy ~ max(R + r, 0)

as the next r is expected to be like this one. The answer is the average of all policies, iteration t with
weight t ** 2, and its exploitability is exact. Nothing is drawn: the same arguments give the same player.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.play.tables import TablePlayer, rounded
from envs import Game
from envs.compiled import compiled
from envs.tree import NoRoomError, Progress, Tree, build, gather, scatter

Array = npt.NDArray[Any]

ITERATIONS: Final = 10_000
"""At most, unless somebody asks for more. Leduc poker comes below 1e-4 in half of them, in a second."""

PAUSE: Final = 1.3
"""The average is judged at iterations 1, 2, 3, ..., 9, 11, 14, ...: that takes a small share of the time."""


def solve(
    game: Game | Tree,
    *,
    target: float = 1e-3,
    iterations: int = ITERATIONS,
    memory_limit: int | None = None,
    on_progress: Progress = lambda _: None,
    on_judged: Callable[[int, float], object] = lambda _iteration, _exploitability: None,
) -> TablePlayer:
    """A player near equilibrium; its exploitability stands in it.

    Args:
        target: the exploitability (NashConv / 2, in the game's unit of reward) at which it stops.
        iterations: after how many it stops at the latest.
        memory_limit: bytes that the tree may take; None takes what there is.
        on_progress: called with the share of the work that is done, 0..1: of the walk, then from 0 again of
            the iterations, by how far the exploitability has come down.
        on_judged: called with the iteration and its average's exploitability, whenever that is known.

    Raises:
        ValueError: `build` cannot walk the game, or the numbers are out of range.
    """
    if not target >= 0.0 or iterations < 1:
        raise ValueError(f"expected a target of at least 0 and 1 iteration, got {target} and {iterations}")
    tree = game if isinstance(game, Tree) else build(game, memory_limit, on_progress)
    if len(tree.column) == 0:
        raise NoRoomError(f"{tree.game}: is solved on a tree that keeps its products, got one without")
    learners = [_learner(tree, seat) for seat in range(2)]
    policy, work = tree.uniform(), _work(tree)
    found: float | None = None
    first, at = 0.0, 1
    for t in range(1, iterations + 1):
        for seat in (0, 1):
            _improve(tree, learners[seat], learners[1 - seat], policy, work, t)
        if t in (at, iterations):
            at = max(at + 1, int(PAUSE * at))
            table = rounded(tree, _averaged(tree, work))
            found = tree.evaluate(table).exploitability
            on_judged(t, found)
            first = first or found
            if found <= target:
                break
            on_progress(max(t / iterations, _come_down(first, found, target)))
    on_progress(1.0)
    assert found is not None
    return TablePlayer(tree, table, "solved", exploitability=found)


def _come_down(first: float, found: float, target: float) -> float:
    """The share of the way from `first` to `target`, on a logarithmic scale."""
    if target <= 0.0 or found >= first:
        return 0.0
    return float(np.log(first / found) / np.log(first / target))


class _Learner(NamedTuple):
    """One seat's part of the tree."""

    sign: float  # of the payoffs: they are seat 0's
    seat: int
    begin: int  # its sets
    end: int
    rows: Array  # int32: its rows of M


class _Work(NamedTuple):
    """Numbers per sequence, float64, and per row of M."""

    regret: Array
    reached: Array
    total: Array  # of the average
    gain: Array
    weight: Array
    worth: Array


def _work(tree: Tree) -> _Work:
    n, rows = tree.sequences, len(tree.row_begin) - 1
    work = _Work(*(np.zeros(n) for _ in range(4)), *(np.zeros(rows) for _ in range(2)))
    work.reached[:] = 1.0
    _descend(tree.parent, tree.begin, 0, tree.sets, tree.uniform(), work.reached, 0.0, work.total)
    return work


def _learner(tree: Tree, seat: int) -> _Learner:
    split = int(tree.levels[1][0])
    firsts = tree.column[tree.row_begin[:-1]]
    seats = np.where(firsts < 2, firsts, firsts >= tree.begin[split])
    begin, end = ((0, split), (split, tree.sets))[seat]
    return _Learner(1.0 - 2.0 * seat, seat, begin, end, np.flatnonzero(seats == seat).astype(np.int32))


def _improve(tree: Tree, own: _Learner, other: _Learner, policy: Array, work: _Work, t: int) -> None:
    """The seat learns from what each of its sequences gains against the other's policy."""
    gather(other.rows, tree.row_begin, tree.column, work.reached, work.weight)
    work.worth[:] = 0.0
    _pay(tree.ends, tree.pays, own.seat, own.sign, work.weight, work.worth)
    first, last = tree.begin[own.begin], tree.begin[own.end]
    work.gain[first:last] = 0.0
    scatter(own.rows, tree.row_begin, tree.column, work.worth, work.gain)
    _learn(tree.parent, tree.begin, own.begin, own.end, work.gain, policy, work.regret)
    weight = float(t) ** 2
    _descend(tree.parent, tree.begin, own.begin, own.end, policy, work.reached, weight, work.total)


def _averaged(tree: Tree, work: _Work) -> Array:
    """The average policy, float64 [sequences], at random where it never came."""
    table = tree.uniform()
    sums = np.add.reduceat(work.total[2:], tree.begin[:-1] - 2)
    sums = np.repeat(sums, np.diff(tree.begin))
    np.divide(work.total[2:], sums, out=table[2:], where=sums > 0.0)
    return table


@compiled
def _pay(ends: Array, pays: Array, seat: int, sign: float, weight: Array, worth: Array) -> None:
    """worth += T weight, of the rows of one seat."""
    for k in range(ends.shape[0]):
        worth[ends[k, seat]] += sign * pays[k] * weight[ends[k, 1 - seat]]


@compiled
def _learn(
    parent: Array, begin: Array, first: int, end: int, gain: Array, policy: Array, regret: Array
) -> None:
    """From the last set to the first: regret and policy follow the gains; their mean goes up."""
    for i in range(end - 1, first - 1, -1):
        value, total = 0.0, 0.0
        for q in range(begin[i], begin[i + 1]):
            value += policy[q] * gain[q]
        gain[parent[i]] += value
        for q in range(begin[i], begin[i + 1]):
            r = gain[q] - value
            regret[q] = max(regret[q] + r, 0.0)
            policy[q] = max(regret[q] + r, 0.0)
            total += policy[q]
        for q in range(begin[i], begin[i + 1]):
            policy[q] = policy[q] / total if total > 0.0 else 1.0 / (begin[i + 1] - begin[i])


@compiled
def _descend(
    parent: Array,
    begin: Array,
    first: int,
    end: int,
    policy: Array,
    reached: Array,
    weight: float,
    total: Array,
) -> None:
    """From the first set to the last: what each sequence is reached with, and its share of the average."""
    for i in range(first, end):
        for q in range(begin[i], begin[i + 1]):
            reached[q] = reached[parent[i]] * policy[q]
            total[q] += weight * reached[q]
