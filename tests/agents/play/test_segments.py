"""Exact values by segment sums: the numbers of the compiled loops, on a CPU and, where it is, a GPU."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

import envs
from agents.play import exploit
from agents.play.segments import _THERE, Segments, segments_of
from envs.tree import build

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no such GPU")
    ),
]


@pytest.fixture(scope="module")
def trees():
    games = {"kuhn_poker": {}, "leduc_poker": {}, "dark_hex": {"rows": 2}, "liars_dice": {"sides": 3}}
    return [build(envs.make(name, **options)) for name, options in games.items()]


def random_table(tree, seed):
    table = np.random.default_rng(seed).exponential(size=tree.sequences)
    table[:2] = 1.0
    table[2:] /= np.repeat(np.add.reduceat(table[2:], tree.begin[:-1] - 2), np.diff(tree.begin))
    return table


def steady(tree):
    """One action at each set, so that a third of what is there is never reached."""
    table = np.zeros(tree.sequences)
    table[:2] = table[tree.begin[:-1]] = 1.0
    return table


@pytest.mark.parametrize("device", DEVICES)
def test_values_and_best_responses_are_those_of_the_loops(trees, device):
    for tree in trees:
        there = segments_of(tree, torch.device(device))
        for table in (tree.uniform(), random_table(tree, 0), random_table(tree, 1), steady(tree)):
            told, expected = there.evaluate(table), tree.evaluate(table)
            assert told.exploitability == pytest.approx(expected.exploitability, abs=1e-12)
            assert told.best_response == pytest.approx(expected.best_response, abs=1e-12)
            assert told.value == pytest.approx(expected.value, abs=1e-12)
            best = np.zeros(tree.sequences)
            best[:2] = best[told.choice] = 1.0
            against = [
                np.where(np.arange(tree.sequences) < tree.begin[tree.levels[1][0]], *pair)
                for pair in ((best, table), (table, best))
            ]
            for table_of, seat in zip(against, (0, 1), strict=True):
                table_of[:2] = 1.0
                assert tree.evaluate(table_of).value[seat] == pytest.approx(
                    expected.best_response[seat], abs=1e-12
                )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("prune", [1e-3, 0.1, 0.5, 1.5])
def test_the_error_is_that_of_the_loops(trees, device, prune):
    for tree in trees:
        there = segments_of(tree, torch.device(device))
        for table in (random_table(tree, 0), steady(tree)):
            expected = tree.uncertain(table, prune)
            assert there.uncertain(table, prune) == pytest.approx(expected, abs=1e-12)


def test_equal_choices_are_settled_by_the_first():
    """Where nothing is at stake every best response takes the first action, as the loops do."""
    tree = build(envs.make("kuhn_poker"))
    told = Segments(tree, torch.device("cpu"))
    gain = torch.zeros(tree.sequences, dtype=torch.float64)
    assert told._respond(gain).tolist() == tree.begin[:-1].tolist()


def test_a_tree_lies_there_once_and_goes_with_the_tree():
    tree, cpu = build(envs.make("kuhn_poker")), torch.device("cpu")
    assert segments_of(tree, cpu) is segments_of(tree, cpu)
    before = len(_THERE)
    del tree
    gc.collect()
    assert len(_THERE) == before - 1


def test_a_tree_without_products_is_refused():
    tree = build(envs.make("kuhn_poker"), keeps_products=False)
    with pytest.raises(ValueError, match="only a tree that keeps its products can be copied to cpu"):
        segments_of(tree, torch.device("cpu"))


def test_a_wrong_table_is_refused(trees):
    with pytest.raises(ValueError, match="expected one probability per sequence"):
        segments_of(trees[0], torch.device("cpu")).evaluate(np.ones(3))


def test_exploitability_goes_by_the_device(trees, monkeypatch):
    """Another than a CPU finds best responses by segments, unless the tree keeps no products."""
    tree, asked = trees[0], []
    lean = build(tree.game, keeps_products=False)
    monkeypatch.setattr(exploit, "usable_device", torch.device)
    monkeypatch.setattr(
        exploit,
        "segments_of",
        lambda tree, device: asked.append(device) or segments_of(tree, torch.device("cpu")),
    )
    values = [
        exploit.exploitability(here, "random", device=device).exploitability
        for here, device in ((tree, "cpu"), (tree, "cuda"), (lean, "cuda"))
    ]
    assert values == pytest.approx([11 / 24] * 3, abs=1e-12)
    assert asked == [torch.device("cuda")]
