"""A figure of several runs: the numbers of their records, the same bytes again, and what is refused."""

from __future__ import annotations

import json

import pytest

import curves


def run_of(folder, lines):
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_the_interval_is_the_runs_own_or_none(tmp_path):
    told = {"eval/vs/bot/mean": 0.5, "eval/vs/bot/low": 0.4, "eval/vs/bot/high": 0.7}
    run = run_of(tmp_path / "run", [{"step": 10} | told, {"step": 20, "train/loss": 0.1}])
    assert curves.points(run, "eval/vs/bot/mean") == [(10, 0.5, 0.4, 0.7)]
    assert curves.points(run, "train/loss") == [(20, 0.1, 0.1, 0.1)]


def test_the_same_runs_give_the_same_bytes(tmp_path):
    out = tmp_path / "a.svg"
    drawn = {"with": [(1, 0.0, -0.1, 0.1), (2, 1.0, 0.9, 1.1)], "without": [(1, 0.0, 0.0, 0.0)]}
    curves.draw(drawn, "loss", "title", out)
    first = out.read_bytes()
    curves.draw(drawn, "loss", "title", out)
    assert out.read_bytes() == first
    assert first.startswith(b"<?xml")


def test_a_number_that_a_run_lacks_is_named_beside_those_it_has(tmp_path):
    run = run_of(tmp_path / "run", [{"step": 10, "train/loss": 0.1}])
    with pytest.raises(ValueError, match="has no 'eval/vs/bot/mean'; it has train/loss"):
        curves.points(run, "eval/vs/bot/mean")


def test_the_headline_is_the_first_evaluation(tmp_path):
    run = run_of(tmp_path / "run", [{"step": 1, "train/loss": 0.1}, {"step": 2, "eval/vs/bot/mean": 0.5}])
    assert curves.headline(run) == "eval/vs/bot/mean"
    with pytest.raises(ValueError, match="has no evaluation yet"):
        curves.headline(run_of(tmp_path / "other", [{"step": 1, "train/loss": 0.1}]))
