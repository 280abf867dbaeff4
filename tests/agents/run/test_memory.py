"""What a run shows of its memory: when, under which names, on which page; and that training is none the
wiser."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re

import pytest
import torch
from game_runs import EVERYTHING, UPDATE, longer, newest, tiny
from reading import curves, lines, quiet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from agents.net.probe import ByLag, Diagnosis, Gates, LayerMemory
from agents.run.config import SELF_PLAY
from agents.run.memory import histograms_of, lags_below, lags_in_time, medians, numbers_of
from agents.run.selfplay import resume, train


def looking(folder, every, **changes):
    """A run that shows its memory every so many decisions."""
    config = tiny(folder, **changes)
    paced = dataclasses.replace(config.eval, memory_every=every, exploitability="never")
    return dataclasses.replace(config, eval=paced)


def shown_at(run):
    """The steps whose line tells of the memory."""
    return [line["step"] for line in lines(run) if "rnn/hidden_norm/layer1" in line]


def found(gradient=(4.0, 2.0, 1.0, 0.5), keeps=True):
    """A diagnosis of two matches, one of which lacks lag 3."""
    by_lag = ByLag(torch.tensor([gradient, gradient]).T.clone())
    by_lag.values[3, 1] = torch.nan
    gates = Gates(
        {"f": 0.75}, {"f": 0.25}, {"f": 0.5}, {"f": torch.rand(5000, 2)}, torch.tensor([1.0, 100.0])
    )
    none = Gates({}, {}, {}, {}, None)
    singular = {1: torch.tensor([3.0]), 2: torch.tensor([4.0])}
    layer = LayerMemory(0.5, gates if keeps else none, {"policy": by_lag}, singular)
    return Diagnosis({"layer1": layer}, by_lag, torch.tensor([2, 2, 2, 1]), torch.tensor([0, 0, 0, 1]))


# ---------------------------------------------------------------- names and numbers


def test_lags_that_have_curves_double():
    assert lags_below(32) == [1, 2, 4, 8, 16]
    assert lags_below(33) == [1, 2, 4, 8, 16, 32]
    assert lags_below(1) == []


def test_the_curves_numbers_by_their_names():
    """Lags 1 and 2 of four; 2, 1, 0.5 halves at each lag; sqrt(4) = 2 a step over two steps."""
    told = numbers_of(found())
    bands = {f"rnn/gradient/policy/layer1/lag{k}/{what}": x for k, x in ((1, 2.0), (2, 1.0))
             for what in ("median", "low", "high")}  # fmt: skip
    constants = {"median": 50.5, "low": 10.9, "high": 90.1}
    assert told == pytest.approx(
        bands
        | {f"rnn/time_constant/layer1/{what}": x for what, x in constants.items()}
        | {
            "rnn/half_life/policy/layer1": 1.0,
            "rnn/hidden_norm": 0.5,
            "rnn/gate_mean/f": 0.75,
            "rnn/gate_saturation": 0.75,
            "rnn/hidden_norm/layer1": 0.5,
            "rnn/gate_mean/layer1/f": 0.75,
            "rnn/gate_closed/layer1/f": 0.25,
            "rnn/gate_open/layer1/f": 0.5,
            "rnn/recall/lag0": 4.0,
            "rnn/recall/lag1": 2.0,
            "rnn/recall/lag2": 1.0,
            "rnn/singular_value/layer1/lag1": 3.0,
            "rnn/singular_value/layer1/lag2": 4.0,
            "rnn/growth/layer1/lag1": 3.0,
            "rnn/growth/layer1/lag2": 2.0,
            "rnn/pairs/lag1": 2.0,
            "rnn/pairs/lag2": 2.0,
            "rnn/absent/lag1": 0.0,
            "rnn/absent/lag2": 0.0,
        },
        rel=1e-6,
    )


def test_histograms_hold_a_share_of_many_gates():
    told = histograms_of(found())
    assert told["rnn/gates/layer1/f"].numel() == math.ceil(10_000 / 3)
    assert told["rnn/log10_time_constant/layer1"].tolist() == [0.0, 2.0]


def test_a_cell_without_gates_shows_none():
    assert not any("gate" in tag or "constant" in tag for tag in numbers_of(found(keeps=False)))


def test_the_image_is_blue_where_the_gradient_is_and_white_where_it_is_not():
    """A third of the way to white for each power of ten; a dot where no match had the lag."""
    tags = medians("layer1", 16)
    line = {"step": 64, tags[0]: 2.0, tags[1]: 0.2, tags[2]: 0.0002}
    drawn = lags_in_time([line], ["layer1"], 16)
    assert re.findall(r'fill="(#[0-9a-f]{6})"[^>]*width="24"|width="24"[^>]*fill="(#[0-9a-f]{6})"', drawn)
    for colour, count in (("#1f5fae", 1), ("#6a94c9", 1), ("#ffffff", 1)):
        assert drawn.count(colour) == count
    assert drawn.count("·") == 1
    many = lags_in_time([line | {"step": k} for k in range(1, 101)], ["layer1"], 16)
    assert many.count("#1f5fae") == 32
    assert "1 to 100 decisions" in many


# ---------------------------------------------------------------- in a run


def test_training_is_the_same_bit_by_bit_with_it_and_without(tmp_path):
    """Dropout, past selves, a magnet, two layers; weights, averages, optimiser and generators by digest."""
    told = {}
    for every in (0, 1):
        run = train(looking(tmp_path / str(every), every, **EVERYTHING), "", quiet).run
        assert shown_at(run) == ([] if every == 0 else [64, 128, 192])
        parts = {name: x for name, x in newest(run).items() if name.endswith(".safetensors")}
        told[every] = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    assert {"policy.safetensors", "ema.safetensors", "magnet.safetensors"} < told[0].keys()
    assert told[0] == told[1]


def test_it_is_shown_as_often_as_asked_and_at_the_end(tmp_path):
    config = looking(tmp_path, 2 * UPDATE, total_timesteps=5 * UPDATE)
    run = train(config, "", quiet).run
    assert shown_at(run) == [2 * UPDATE, 4 * UPDATE, 5 * UPDATE]
    images = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    images.Reload()
    assert [event.step for event in images.Images("rnn/gradient_by_lag")] == shown_at(run)


def test_a_resumed_run_goes_on_with_the_image(tmp_path, monkeypatch):
    """Of the columns before, metrics.jsonl tells."""
    drawn = []
    monkeypatch.setattr(
        "agents.run.memory.lags_in_time",
        lambda told, *rest: drawn.append([line["step"] for line in told]) or lags_in_time(told, *rest),
    )
    run = train(looking(tmp_path, UPDATE), "", quiet).run
    resume(run, longer(4 * UPDATE), quiet)
    assert drawn == [[64], [64, 128], [64, 128, 192], [64, 128, 192, 256]]


def test_the_page_begins_with_the_headline_and_shows_the_memory(tmp_path):
    algo = dataclasses.replace(SELF_PLAY, n_steps=16, batch_size=64, n_epochs=1)
    run = train(looking(tmp_path, UPDATE, game="phantom_tictactoe", algo=algo), "", quiet).run
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    layout = layout_pb2.Layout.FromString(
        read.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    )
    headline, memory = layout.category
    assert (headline.title, memory.title) == ("Headline", "Memory")
    bands = {chart.title: chart.margin.series[0] for chart in headline.chart}
    assert list(bands) == ["mean return against random", "mean return against bot"]
    tags = curves(run)
    for chart in (*headline.chart, *memory.chart):
        for band in chart.margin.series:
            assert {band.value, band.lower, band.upper} <= tags.keys()
        for pattern in chart.multiline.tag:
            assert any(re.fullmatch(pattern, tag) for tag in tags), pattern
    told = read.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    game: phantom_tictactoe" in told


def test_no_page_of_a_memory_that_is_not_looked_at(tmp_path):
    run = train(looking(tmp_path, 0), "", quiet).run
    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    layout = layout_pb2.Layout.FromString(
        read.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    )
    assert [category.title for category in layout.category] == ["Headline"]
    assert not any(tag.startswith("rnn/") for tag in curves(run))
