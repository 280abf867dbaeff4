"""The comparisons: ratios formed repeat by repeat, and nothing is timed unless both sides do the same."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import cell, openspiel
from benchmarks.learners import check_train
from benchmarks.options import Cell, Env, Train
from benchmarks.play import standard_errors
from benchmarks.telling import RATIO, ComparisonError, Table, interleave, ratios, spread, verdict


def test_the_sides_take_turns_and_ratios_are_of_one_repeat():
    """A machine that slows down by the half changes both speeds, and the ratio hardly."""
    order = []

    def side(name, *speeds):
        left = iter(speeds)
        return lambda: order.append(name) or next(left)

    bar = SimpleNamespace(update=lambda: order.append("|"))
    measured = interleave({"ours": side("o", 60, 30, 32), "peer": side("p", 20, 10, 10)}, 3, bar)
    assert "".join(order) == "op|op|op|"
    found = ratios(measured["ours"], measured["peer"])
    assert found == [3.0, 3.0, 3.2]
    assert spread(RATIO, found) == "3.00x (3.00..3.20)"
    assert verdict("here", found, 3.0) == "Goal 3x, here: 3.00x (3.00..3.20), reached."
    assert verdict("here", found, 4.0) == "Goal 4x, here: 3.00x (3.00..3.20), NOT reached."


def test_a_table_as_text_and_as_markdown():
    table = Table(["game", "speed"], [["dark_hex:5", "9"], ["-", "10"]])
    assert table.text(False) == "game        speed\n----------  -----\ndark_hex:5  9\n-           10"
    assert table.text(True) == "| game | speed |\n| --- | --- |\n| dark_hex:5 | 9 |\n| - | 10 |"


def test_how_far_two_means_lie_apart():
    """Variances of 1 in 4 each: the difference has a standard error of sqrt(1/4 + 1/4)."""
    a = np.array([0.0, 0.0, math.sqrt(3.0), math.sqrt(3.0)])
    assert standard_errors(a, a + 2.0) == pytest.approx(2.0 / math.sqrt(0.5))
    assert standard_errors(np.zeros(3), np.zeros(3)) == 0.0
    assert standard_errors(np.zeros(3), np.ones(3)) == math.inf


def test_two_games_that_differ_are_not_timed(monkeypatch):
    """Kuhn poker beside itself with all chips paid twice: as long, but its returns are not the same."""
    pytest.importorskip("pyspiel")

    class Doubled(openspiel.OpenSpiel):
        def play_match(self):
            decisions, _ = super().play_match()
            return decisions, SimpleNamespace(returns=lambda: [2.0])

    monkeypatch.setattr(openspiel, "OpenSpiel", Doubled)
    with pytest.raises(ComparisonError, match=r"mean return of seat 0 is .*, OpenSpiel's 2\.0000; they lie"):
        openspiel.measure(Env(games=("kuhn_poker",), check_matches=64, seconds=0.01), ["kuhn_poker"])


def test_two_trainings_that_differ_are_not_compared():
    def learner(decisions, steps):
        return SimpleNamespace(model=SimpleNamespace(num_timesteps=decisions), gradient_steps=lambda: steps)

    options = Train(n_epochs=2, minibatches=2, updates=3)  # 12 gradient steps a turn
    check_train({"gated": learner(96, 24), "peer": learner(96, 24)}, options)
    for ours, told in ((learner(95, 24), "decisions"), (learner(96, 23), "gradient steps")):
        with pytest.raises(ComparisonError, match=f"the sides differ in {told}"):
            check_train({"gated": ours, "peer": learner(96, 24)}, options)
    with pytest.raises(ComparisonError, match="expected 2 x 2 gradient steps a rollout"):
        check_train({"peer": learner(96, 26)}, options)


def test_training_is_measured_in_a_game_and_in_worlds(script):
    few = ["--matches", 4, "--worlds", 2, "--hidden", 8, "--n-steps", 4, "--n-epochs", 1, "--minibatches", 2]
    ended = script("benchmark", "train", *few, "--updates", 1, "--repeats", 1, "--cells", "gated")
    assert ended.code == 0, ended
    for where in ("4 matches", "2 x CartPole-v1"):
        assert sum(line.startswith(f"gated H=8  {where}") for line in ended.out.splitlines()) == 2  # CPU, GPU
    assert "4 matches: of the peer's time" in ended.out
    assert "2 x CartPole-v1: of the peer's time" not in ended.out
    (size,) = [line.split() for line in ended.out.splitlines() if line.startswith("sb3-contrib, LSTM")]
    assert size[-1] == f"{4 * 8 * 8}"  # the recurrent weights of an LSTM


def test_cells_are_measured_beside_torchs_layers(script):
    few = ["--shapes", "3,4,5,6", "--repeats", 2, "--threads", 1, "--cells"]
    ended = script("benchmark", "cell", *few, "gated", "lstm", "gru", "elman")
    assert ended.code == 0, ended
    rows = [line.split("  ") for line in ended.out.splitlines() if "3, 4, 5, 6" in line]
    assert [row[0] for row in rows] == ["gated", "lstm", "gru", "elman"]
    assert all("fused" in row for row in rows)


def test_a_cell_that_gives_something_else_is_not_timed(monkeypatch):
    peer = cell._peer

    def other(ours):
        layer = peer(ours)
        torch.nn.init.ones_(layer.bias_hh_l0)
        return layer

    monkeypatch.setattr(cell, "_peer", other)
    with pytest.raises(ComparisonError, match=r"^Gated\(3, 4\) and torch's layer differ in outputs by "):
        cell.measure(Cell(cells=("gated",), shapes=("2,2,3,4",)))


@pytest.mark.parametrize("shape", ["1,2,3", "1,2,3,0", "1,2,3,x"])
def test_a_shape_is_four_numbers(shape):
    with pytest.raises(ValueError, match=f"^a shape is four numbers T,B,I,H of at least 1, got '{shape}'$"):
        Cell(shapes=(shape,)).check()
