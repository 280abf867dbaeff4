"""The curves: in TensorBoard as in metrics.jsonl, every one that was promised."""

from __future__ import annotations

import json

import pytest
from game_runs import UPDATE, longer
from reading import curves, lines, quiet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.run.curves import JSONLines
from agents.run.selfplay import resume

GROUPS = {
    "rollout/": {"ep_len_mean", "ep_rew_mean"},
    "train/": {
        *("loss", "policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction"),
        *("grad_norm", "replay_drift", "explained_variance", "learning_rate", "clip_range", "ent_coef"),
    },
    "eval/vs/random/": {"win", "draw", "loss", "low", "high", "mean"},
    "eval/vs/bot/": {"win", "draw", "loss", "low", "high", "mean"},
    "eval/by_seat/": {"random/0", "random/1", "bot/0", "bot/1"},
    "selfplay/rating/": {
        *("agent/points", "agent/low", "agent/high", "bot/points", "bot/low", "bot/high"),
    },
    "game/": {"length", "draws", "illegal"},
    "perf/": {"decisions_per_second", "rollout_decisions_per_second"},
    "time/": {"fps"},
}


@pytest.mark.parametrize("group", GROUPS)
def test_tensorboard_shows_every_promised_curve(finished, group):
    shown = {tag: curve for tag, curve in curves(finished.run).items() if tag.startswith(group)}
    assert {tag.removeprefix(group) for tag in shown} == GROUPS[group]
    assert {tuple(step for step, _ in curve) for curve in shown.values()} == {(64, 128, 192)}


def test_tensorboard_shows_a_match_at_each_evaluation_and_the_settings(finished):
    read = EventAccumulator(str(finished.run / "tensorboard"))
    read.Reload()
    assert set(read.Tags()["images"]) == {"eval/match", "selfplay/payoffs", "rnn/gradient_by_lag"}
    assert [event.step for event in read.Images("eval/match")] == [64, 128, 192]
    assert min(read.Images("eval/match")[0].width, read.Images("eval/match")[0].height) > 100
    assert read.summary_metadata["_hparams_/experiment"].plugin_data.plugin_name == "hparams"


def test_metrics_jsonl_is_the_same_record(finished):
    shown, told = curves(finished.run), lines(finished.run)
    steps = [line["step"] for line in told]
    assert steps == sorted(steps)
    for line in told:
        for tag, value in line.items():
            if tag in shown:
                assert dict(shown[tag])[line["step"]] == pytest.approx(value, rel=1e-6)  # it keeps float32
    assert all(tag in {tag for line in told for tag in line} for tag in shown)


def test_the_replay_of_a_rollout_equals_its_play(finished):
    drift = [line["train/replay_drift"] for line in lines(finished.run) if "train/replay_drift" in line]
    assert len(drift) == 3
    assert max(drift) <= 1e-5


def test_what_is_no_number_becomes_null(tmp_path):
    writer = JSONLines(tmp_path / "metrics.jsonl", None)
    writer.write({"a": float("nan"), "b": float("inf"), "c": 1.5, "d": "words"}, {}, step=7)
    writer.close()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {"step": 7, "a": None, "b": None, "c": 1.5}


def test_a_record_that_was_damaged_loses_the_damaged_lines_only(run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'\x00\x00\xff\n[1]\n{"step": "x"}\n{"step": 5')
    resume(run, longer(4 * UPDATE), quiet)
    assert [line["step"] for line in lines(run)] == sorted(line["step"] for line in lines(run))
