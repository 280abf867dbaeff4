"""Runs that learn from records: resumed as if nothing had happened, ended early, the best kept."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from made_setups import made_lines
from reading import at_decision, lines, names, numbers, quiet, run_json

import agents
from agents.files import pointed, read
from agents.learn.schedules import Linear
from agents.learn.sequence import FitSettings
from agents.net.settings import TokenNetwork
from agents.play.token_file import load_tokens
from agents.run import sequence
from agents.run.config import read_config
from agents.run.sequence import FitEval, FitKeeper, SequenceConfig, resume, score_run, train
from agents.run.source import read_source, to_learn_from

EPOCH = 46 * 40
"""Decisions of the made training part: 46 of 60 arrangements."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("setups") / "made.txt"
    path.write_text("".join(made_lines(60)), encoding="utf-8")
    return path


def tiny(folder, path, **changes):
    """Three epochs, judged and saved after each."""
    config = SequenceConfig(
        seed=3,
        data=str(path),
        device="cpu",
        total_timesteps=3 * EPOCH,
        run_dir=str(folder),
        checkpoint_every=EPOCH,
        tokens=TokenNetwork(embedding_dim=8, lstm_hidden_size=8, dropout=0.2),
        fit=FitSettings(sequences=16, n_steps=20, learning_rate=Linear(1e-2)),
        eval=FitEval(every=EPOCH),
    )
    return dataclasses.replace(config, **changes)


def test_a_run_has_what_every_run_has(tmp_path, data):
    outcome = train(tiny(tmp_path, data), "sequence.py fit", quiet)
    run = outcome.run
    assert run.name.startswith("setups__gated__s3__")
    assert names(run) == [
        "best.json", "checkpoints", "command.txt", "config.yaml", "latest.json", "metrics.jsonl",
        "replays", "run.json", "tensorboard",
    ]  # fmt: skip
    assert read_config(run / "config.yaml", SequenceConfig) == tiny(tmp_path, data)
    told = run_json(run)
    assert (told["status"], told["timesteps"]) == ("finished", 3 * EPOCH)
    assert told["results"]["validation"]["perplexity"] == outcome.results["validation"].perplexity
    evaluations = [line for line in lines(run) if "eval/validation/loss" in line]
    assert [line["step"] for line in evaluations] == [EPOCH, 2 * EPOCH, 3 * EPOCH]
    losses = [line["eval/validation/loss"] for line in evaluations]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < math.log(13) - 0.1
    for tag in ("perplexity", "top1", "top3", "illegal", "by_ply/000-002"):
        assert all(f"eval/{part}/{tag}" in evaluations[0] for part in ("validation", "training"))
    assert "eval/near_zero" in evaluations[0]
    assert load_tokens(run).timesteps == 3 * EPOCH


@pytest.mark.parametrize("stop", [EPOCH, EPOCH + 700])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path, data, monkeypatch, stop):
    """With dropout, in the middle of an epoch: the curves and the last bytes are those of a run in one go."""
    straight = train(tiny(tmp_path / "straight", data), say=quiet).run
    keeper = []
    monkeypatch.setattr(FitKeeper, "__init__", kept(FitKeeper.__init__, keeper))
    at_decision(monkeypatch, stop, lambda: keeper[0]._interrupt(2, None))
    outcome = train(tiny(tmp_path / "stopped", data), say=quiet)
    assert outcome.was_interrupted
    assert outcome.exit_code == 130
    assert run_json(outcome.run)["status"] == "interrupted"
    again = resume(outcome.run, say=quiet)
    assert not again.was_interrupted
    assert numbers(again.run) == numbers(straight)
    mine, other = read(again.run), read(straight)
    assert mine["policy.safetensors"] == other["policy.safetensors"]
    assert mine["fit.safetensors"] == other["fit.safetensors"]


def kept(original, found):
    def init(self, *arguments):
        found.append(self)
        original(self, *arguments)

    return init


def test_it_ends_where_validation_no_longer_falls_and_the_best_is_restored(tmp_path, data, monkeypatch):
    """Losses 3, 1, 2, 2: after two in vain it ends, at the fourth evaluation, with the second's weights."""
    losses = iter([3.0, 1.0, 2.0, 2.0, 1.5, 1.5])
    judged = FitKeeper.judge

    def judge(keeper, is_final):
        results = judged(keeper, is_final)
        if is_final:
            return results
        loss = next(losses)
        keeper.logger.record("eval/validation/loss", loss)
        return results | {"validation": dataclasses.replace(results["validation"], loss=loss)}

    monkeypatch.setattr(FitKeeper, "judge", judge)
    said = []
    config = tiny(tmp_path, data, total_timesteps=9 * EPOCH, eval=FitEval(every=EPOCH, patience=2))
    outcome = train(config, say=said.append)
    assert outcome.timesteps == 2 * EPOCH
    assert [line["step"] for line in lines(outcome.run) if "eval/validation/loss" in line] == [
        EPOCH, 2 * EPOCH, 3 * EPOCH, 4 * EPOCH,
    ]  # fmt: skip
    assert pointed(outcome.run, "latest") == pointed(outcome.run, "best")
    assert f"restored     step_{2 * EPOCH}, the lowest validation loss of {4 * EPOCH:,} decisions" in said
    expected = score_run(outcome.run, data)[1]
    assert outcome.results["validation"] == expected


def test_patience_is_counted_on_where_a_run_goes_on(tmp_path):
    told = [{"step": k, "eval/validation/loss": x} for k, x in enumerate([3.0, 1.0, 2.0, 2.0])]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, told)), encoding="utf-8")
    assert sequence.in_vain(tmp_path, "eval/validation/loss") == 2
    assert sequence.in_vain(tmp_path, "eval/other") == 0


def test_fewer_examples_and_mirrored_ones(data):
    source = read_source(data, "tokens")
    few, both = to_learn_from(source, 10, False, 3), to_learn_from(source, 10, True, 3)
    assert (len(source.part("train")), len(source.part("validation")), len(few), len(both)) == (
        46,
        14,
        10,
        20,
    )
    assert not set(few.group.tolist()) & set(source.part("validation").group.tolist())
    with pytest.raises(ValueError, match="examples must be at most the 46 there are, got 47"):
        to_learn_from(source, 47, False, 3)


def test_what_is_scored_of_its_own_file_is_what_was_held_out(tmp_path, data):
    outcome = train(tiny(tmp_path, data), say=quiet)
    part, told, counted = score_run(outcome.run, data)
    assert (part, told) == ("validation", outcome.results["validation"])
    assert counted["every order alike"] == pytest.approx(6.741, abs=1e-3)
    other = tmp_path / "other.txt"
    other.write_text("".join(made_lines(30, seed=1)), encoding="utf-8")
    part, told, counted = score_run(outcome.run, other)
    assert (part, told.decisions, counted) == ("all", 1200, {})


def test_other_data_are_refused_where_a_run_goes_on(tmp_path, data):
    run = train(tiny(tmp_path, data), say=quiet).run
    other = tmp_path / "other.txt"
    other.write_text("".join(made_lines(60, seed=1)), encoding="utf-8")
    with pytest.raises(ValueError, match="holds other data than step_5520 learned from"):
        resume(run, lambda c: dataclasses.replace(c, data=str(other), total_timesteps=4 * EPOCH), quiet)
    moved = tmp_path / "moved.txt"
    moved.write_bytes(data.read_bytes())
    more = resume(run, lambda c: dataclasses.replace(c, data=str(moved), total_timesteps=4 * EPOCH), quiet)
    assert more.timesteps == 4 * EPOCH


def test_a_run_of_sequences_is_no_agent(tmp_path, data):
    run = train(tiny(tmp_path, data, total_timesteps=EPOCH), say=quiet).run
    with pytest.raises(ValueError, match="plays nothing"):
        agents.load(run)


def test_arrangements_are_of_one_army(tmp_path):
    path = tmp_path / "two.txt"
    path.write_text("".join(made_lines(9)) + f"9 {'B' * 40}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"two.txt: expected arrangements of one army, got 2 different"):
        train(tiny(tmp_path / "runs", path), say=quiet)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": ""}, "say with --data which records to learn from"),
        ({"model": "clone"}, "holds arrangements, which nobody plays"),
        ({"player": "bot"}, "holds arrangements, which nobody plays"),
        ({"examples": 1000}, "examples must be at most the 46 there are"),
        ({"tokens": TokenNetwork(cell="gatd")}, "unknown cell 'gatd'"),
    ],
)
def test_what_cannot_be_learned_is_refused_before_there_is_a_run(tmp_path, data, changes, told):
    with pytest.raises(ValueError, match=told):
        train(tiny(tmp_path / "runs", data, **changes), say=quiet)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "changes", [{"examples": 0}, {"eval": FitEval(patience=-1)}, {"eval": FitEval(memory_every=9)}]
)
def test_a_configuration_that_cannot_be_is_refused(tmp_path, data, changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))}"):
        tiny(tmp_path, data, **changes)
