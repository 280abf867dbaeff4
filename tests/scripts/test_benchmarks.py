"""The comparisons: ratios formed repeat by repeat, and nothing is timed unless both sides do the same."""

from __future__ import annotations

import json
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stable_baselines3.common.env_checker import check_env

from benchmarks import cell, exploit, openspiel, play, telling
from benchmarks.learners import check_train
from benchmarks.options import All, Cell, Env, Exploit, Play, Train
from benchmarks.random_play import standard_errors
from benchmarks.telling import (
    Aim,
    Clock,
    ComparisonError,
    Interval,
    Report,
    Row,
    Table,
    as_json,
    bootstrap,
    busy,
    interleave,
)
from benchmarks.worlds import Recall

# ---------------------------------------------------------------- turns and numbers


def test_the_sides_take_turns_in_an_order_drawn_anew():
    order = []

    def side(name, *speeds):
        left = iter(speeds)
        return lambda: order.append(name) or next(left)

    def play_turns(seed):
        order.clear()
        bar = SimpleNamespace(update=lambda: order.append("|"))
        sides = {"ours": side("o", *range(8)), "peer": side("p", *range(10, 18))}
        measured = interleave(sides, 8, bar, random.Random(seed))
        assert measured == {"ours": list(range(8)), "peer": list(range(10, 18))}
        return "".join(order)

    first = play_turns(0)
    assert set(first.split("|")) == {"op", "po", ""}
    assert play_turns(0) == first
    assert play_turns(1) != first


def test_ratios_are_of_one_repeat():
    """A machine that slows down by the half changes both speeds, and the ratio hardly."""
    row = Row({}, {"ours": [60.0, 30.0, 32.0], "peer": [20.0, 10.0, 10.0]})
    assert row.ratio("ours", "peer") == (3.0, 3.0, 3.2)
    assert row.speed("ours") == (32.0, 30.0, 60.0)
    assert row.ratio("ours", "peer").text("x") == "3.00x [3.00, 3.20]"
    assert row.numbers()["ratios"]["ours/peer"] == row.ratio("ours", "peer")


def test_the_bootstrap_interval_of_known_numbers():
    """The median of 11 draws from 1..11 is at most k where 6 or more of them are, each with probability
    k / 11: 0.7 % for k = 2 and 5.1 % for 3; so 95 % of the medians lie between 3 and, mirrored, 9."""

    def at_most(k):
        p = k / 11
        return sum(math.comb(11, n) * p**n * (1 - p) ** (11 - n) for n in range(6, 12))

    assert (at_most(2), at_most(3)) == pytest.approx((0.0072, 0.0512), abs=1e-4)
    assert bootstrap([*range(1, 12)]) == (6, 3, 9)
    assert bootstrap([*range(11, 0, -1)]) == (6, 3, 9)
    assert bootstrap([2.5]) == (2.5, 2.5, 2.5)
    assert bootstrap([7.0] * 15) == (7.0, 7.0, 7.0)


def test_bars_and_goals():
    found = Interval(3.0, 2.8, 3.2)
    assert Aim("here", found, 3.0, 4.0).cells() == [
        *("here", "3.00x [2.80, 3.20]", "3.00x", "reached", "4.00x", "NOT reached")
    ]
    cost = Aim("cost", Interval(0.031, 0.02, 0.04), 0.03, None, "%", is_at_most=True)
    assert cost.cells() == ["cost", "3.1% [2.0%, 4.0%]", "at most 3.0%", "NOT reached", "-", "-"]
    assert Aim("GPU", None, bar=1.6).cells() == [*("GPU", "not measured", "1.60x", "not measured", "-", "-")]


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


# ---------------------------------------------------------------- the machine and the file


@pytest.mark.parametrize(
    ("before", "after", "threads", "is_busy"),
    [(0.1, 1.0, 1, False), (1.9, 2.3, 2, False), (1.6, 1.0, 1, True), (0.1, 3.2, 2, True)],
)
def test_a_busy_machine_is_told(before, after, threads, is_busy):
    told = busy(before, after, threads)
    assert (told is not None) == is_busy
    if told is not None:
        assert told.startswith(f"warning: the machine is busy: load {before} before and {after} after, ")


def test_which_clock_is_read():
    assert Clock(1).name == "processor time of one thread"
    assert Clock(2).name == "wall time, 2 threads"
    assert Clock(1, "cuda").name == "wall time, the GPU waited for"
    clock = Clock(2)
    clock.read = iter([1.0, 3.0]).__next__
    assert clock.speed(lambda: None, 10) == 5.0


def test_the_file_holds_every_number():
    row = Row({"game": "x"}, {"ours": [2.0, 4.0, 4.0], "peer": [1.0, 1.0, 2.0]})
    report = Report("Title", Clock(1), ("tqdm",), closing=["a note"], rows=[row])
    report.aims = [Aim("a", row.ratio("ours", "peer"), 3.0, 1.0)]
    told = json.loads(as_json([report], telling.machine(1, 0.5), ["benchmark.py", "x"]))
    assert told["command"] == ["benchmark.py", "x"]
    assert set(told["versions"]) == {"Python", "torch", "numpy", "numba", "tqdm"}
    assert {"cpu", "cores", "instructions", "gpu"} < set(told["machine"])
    assert (told["machine"]["threads"], told["machine"]["load_before"]) == (1, 0.5)
    (comparison,) = told["comparisons"]
    (found,) = comparison["rows"]
    assert found["samples"] == row.samples
    assert found["ratios"] == {"ours/peer": [2.0, 2.0, 4.0]}
    assert found["medians"]["ours"] == [4.0, 2.0, 4.0]
    assert (comparison["aims"][0]["bar_is"], comparison["aims"][0]["goal_is"]) == ("NOT reached", "reached")
    assert comparison["notes"] == ["a note"]


# ---------------------------------------------------------------- nothing is timed that differs


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


def test_a_cell_that_gives_something_else_is_not_timed(monkeypatch):
    peer = cell._peer

    def other(ours):
        layer = peer(ours)
        torch.nn.init.ones_(layer.bias_hh_l0)
        return layer

    monkeypatch.setattr(cell, "_peer", other)
    with pytest.raises(ComparisonError, match=r"^Gated\(3, 4\) and torch's layer differ in outputs by "):
        cell.measure(Cell(cells=("gated",), shapes=("2,2,3,4",)))


def test_kernels_that_play_something_else_are_not_timed(monkeypatch):
    readable = play.readable

    def other():
        torch.nn.init.ones_(policies[0].core.cells[0].b)
        return readable()

    policies = []
    policy = play._policy
    monkeypatch.setattr(play, "_policy", lambda *a: policies.append(policy(*a)) or policies[0])
    monkeypatch.setattr(play, "readable", other)
    with pytest.raises(ComparisonError, match=r"^the kernels of Gated\(27, 8\) play probabilities .* apart$"):
        play.measure(Play(cells=("gated",), matches=(2,), hidden=8, steps=8))


def test_two_exploitabilities_that_differ_are_not_timed(monkeypatch):
    pyspiel = pytest.importorskip("pyspiel")
    monkeypatch.setattr(pyspiel, "exploitability", lambda *_: 0.5)
    with pytest.raises(ComparisonError, match=r"^kuhn_poker: the exploitability is .*, OpenSpiel says 0\.5"):
        exploit.measure(Exploit(games=("kuhn_poker",), hidden=4))


# ---------------------------------------------------------------- each of them


def test_stepping_is_measured_beside_one_thread(script, tmp_path):
    pytest.importorskip("pyspiel")
    few = ["--repeats", 2, "--seconds", 0.001, "--check-matches", 64, "--matches", 8, 16, "--threads", 1]
    ended = script("benchmark", "env", "kuhn_poker", *few, "--json", tmp_path / "env.json")
    assert ended.code == 0, ended
    (comparison,) = json.loads((tmp_path / "env.json").read_text("utf-8"))["comparisons"]
    (row,) = comparison["rows"]
    assert list(row["samples"]) == ["8, CPU, 1 thread", "16, CPU, 1 thread", "list", "buffer"]
    assert all(len(speeds) == 2 for speeds in row["samples"].values())
    assert comparison["clock"] == "processor time of one thread"


def test_training_is_measured_in_a_game_and_in_worlds(script, tmp_path):
    few = ["--matches", 4, "--worlds", 2, "--hidden", 8, "--n-steps", 4, "--n-epochs", 1, "--minibatches", 2]
    files = ["--json", tmp_path / "train.json", "--plot", tmp_path / "train.svg"]
    ended = script("benchmark", "train", *few, "--repeats", 2, "--cells", "gated", *files)
    assert ended.code == 0, ended
    for where in ("4 matches", "2 x recall"):
        assert sum(line.startswith(f"gated H=8  {where}") for line in ended.out.splitlines()) == 2  # CPU, GPU
    assert "4 matches: of the peer's time" in ended.out
    assert "2 x recall: of the peer's time" not in ended.out
    (size,) = [line.split() for line in ended.out.splitlines() if line.startswith("sb3-contrib, LSTM")]
    assert size[-1] == f"{4 * 8 * 8}"  # the recurrent weights of an LSTM
    told = json.loads((tmp_path / "train.json").read_text("utf-8"))
    rows = told["comparisons"][0]["rows"]
    assert [(row["ground"], row["lanes"]) for row in rows] == [("matches", 4), ("worlds", 2)]
    assert set(rows[0]["samples"]) == {"gated", "peer", "gated, products"}
    assert (tmp_path / "train.svg").read_text("utf-8").count("decisions/s") >= 1


def test_cells_are_measured_beside_torchs_layers(script):
    few = ["--shapes", "3,4,5,6", "--repeats", 2, "--threads", 1, "--cells"]
    ended = script("benchmark", "cell", *few, "gated", "lstm", "gru", "elman")
    assert ended.code == 0, ended
    rows = [line.split("  ") for line in ended.out.splitlines() if "3, 4, 5, 6" in line]
    assert [row[0] for row in rows] == ["gated", "lstm", "gru", "elman"]
    assert all("fused" in row for row in rows)


def test_play_and_exploitability_are_measured(script):
    few = ["--cells", "gru", "--matches", 3, "--hidden", 8, "--steps", 4, "--repeats", 2, "--threads", 1]
    ended = script("benchmark", "play", *few)
    assert ended.code == 0, ended
    assert [line.split()[:2] for line in ended.out.splitlines() if line.startswith("gru")] == [
        ["gru", "3"]
    ] * 2
    ended = script("benchmark", "exploit", "--games", "kuhn_poker", "--hidden", 4, "--repeats", 2)
    assert ended.code == 0, ended
    (row,) = [line.split() for line in ended.out.splitlines() if line.startswith("kuhn_poker")]
    assert row[1:3] == ["12", "58"]  # information sets, histories


def test_all_ends_with_one_table_of_bars_and_goals(script, monkeypatch):
    """Each part is measured with small settings; what is not installed is passed over."""
    from benchmarks import memory, stepping, training

    def missing(_):
        raise ImportError("OpenSpiel is missing")

    def report(title):
        return Report(title, Clock(1), aims=[Aim(f"{title} is fast", Interval(2.0, 1.0, 3.0), 1.5, 2.5)])

    monkeypatch.setattr(stepping, "measure", missing)
    for module in (cell, play, training, exploit):
        monkeypatch.setattr(module, "measure", lambda _, name=module.__name__: [report(name)])
    monkeypatch.setattr(memory, "measure", lambda _: report("memory"))
    ended = script("benchmark", "all", "--repeats", 1)
    assert ended.code == 0, ended
    assert "not measured: OpenSpiel is missing" in ended.out
    *_, table = ended.out.split("\n\n")
    assert table.count("is fast") == 5
    assert table.count("NOT reached") == 5
    assert {type(part) for part in All().parts()} == {Env, Cell, Play, Train, Exploit}
    assert {part.repeats for part in All(repeats=3).parts()} == {3}


def test_the_world_asks_at_the_end_what_it_showed_at_the_start():
    check_env(Recall())
    world = Recall()
    observation, _ = world.reset(seed=3)
    shown = int(observation.argmax()) // 3
    assert observation.sum() == 1.0
    for step in range(1, 33):
        observation, reward, is_over, _, _ = world.step(np.int64(shown))
        assert (observation.sum(), reward, is_over) == (0.0, float(step == 32), step == 32)


# ---------------------------------------------------------------- what can be asked for


@pytest.mark.parametrize("command", ["env", "cell", "play", "train", "exploit", "all"])
def test_every_comparison_tells_what_can_be_asked_for(script, command):
    ended = script("benchmark", command, "--help")
    assert ended.code == 0
    for flag in ("--repeats", "--threads", "--json", "--markdown", "--device"):
        assert flag in ended.out


@pytest.mark.parametrize("shape", ["1,2,3", "1,2,3,0", "1,2,3,x"])
def test_a_shape_is_four_numbers(shape):
    with pytest.raises(ValueError, match=f"^a shape is four numbers T,B,I,H of at least 1, got '{shape}'$"):
        Cell(shapes=(shape,)).check()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["train", "--plot", "speed.txt"], "plot must be a .svg, .png, .pdf in a folder that is there, got "),
        (["play", "--json", "nowhere/x.json"], "json: there is no folder 'nowhere'"),
        (["play", "--json", "."], "json must be a file, '.' is a folder"),
        (["train", "--world", "nonsense"], "Environment `nonsense` doesn't exist"),
        (["cell", "--cells", "lstn"], "unknown cell 'lstn'"),
        (["cell", "--cells", "feedforward"], "torch has no layer like FeedForward"),
        (["exploit", "--games", "leduc"], "unknown game 'leduc'"),
        (["env", "--matches", "0"], "matches must be at least 1, got 0"),
        (["train", "--repeats", "0"], "repeats must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before(refused, monkeypatch, asked, told):
    monkeypatch.setattr(telling, "load", lambda: 0.0)  # or a warning stands before the error
    refused("benchmark", *asked, told=told)


def test_a_gpu_that_is_not_there_is_no_measurement(refused):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    refused("benchmark", "all", "--device", "cuda", told="torch finds no CUDA device; use --device cpu")
