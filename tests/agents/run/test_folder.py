"""A run's folder: what it holds, what a resumed run may change, and what the folder says of itself."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time

import pytest
from game_runs import UPDATE, latest, longer, quick, refused, tiny
from reading import at_decision, lines, names, numbers, quiet, run_json
from saved import damage, step
from world_runs import broken

from agents import files
from agents.files import read, save_folder
from agents.gym import training as world_training
from agents.run import folder
from agents.run import selfplay as training
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    Config,
    EvalConfig,
    OpponentsConfig,
    read_config,
    write_config,
)
from agents.run.folder import MAY_CHANGE
from agents.run.selfplay import resume, train
from agents.run.written import read_yaml, write_yaml


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    class Stopped(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(datetime, "datetime", Stopped)
    made = [folder.begin(tiny(tmp_path), "game", "") for _ in range(3)]
    assert names(tmp_path) == sorted(run.name for run in made)
    assert [run.name.removeprefix("game__s3__20260102-030405") for run in made] == ["", "-2", "-3"]
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError):
        folder.begin(tiny(tmp_path / "nowhere"), "game", "")


# ---------------------------------------------------------------- the folder


def test_a_run_leaves_the_folder_its_docstring_promises(finished):
    run = finished.run
    game, cell, seed, when = run.name.split("__")
    assert (game, cell, seed) == ("kuhn_poker", "gated", "s3")
    assert time.strptime(when, "%Y%m%d-%H%M%S")
    assert names(run) == sorted(
        [
            "best.json",
            "checkpoints",
            "command.txt",
            "config.yaml",
            "latest.json",
            "metrics.jsonl",
            "replays",
            "run.json",
            "standings",
            "tensorboard",
        ]
    )
    assert names(run / "checkpoints") == ["step_128", "step_192", "step_64"]
    assert names(run / "replays") == ["step_128.json", "step_192.gif", "step_192.json", "step_64.json"]
    assert (run / "command.txt").read_text(encoding="utf-8") == "selfplay.py config.yaml\n"
    assert read_config(run / "config.yaml") == tiny(run.parent)


def test_run_json_and_the_outcome_say_how_it_went(finished):
    told = run_json(finished.run)
    assert (told["status"], told["timesteps"], told["total_timesteps"]) == ("finished", 192, 192)
    assert not finished.was_interrupted
    assert finished.timesteps == 192
    assert list(told["results"]) == list(finished.results) == ["random", "bot"]
    for name, result in finished.results.items():
        assert result.matches == told["results"][name]["matches"] == 2 * 8
        assert (
            told["results"][name]["mean"] == result.mean == lines(finished.run)[-1][f"final/vs/{name}/mean"]
        )


# ---------------------------------------------------------------- what a resumed run may change


def test_a_finished_run_is_not_resumed(finished):
    refused(finished.run, r"is finished \(192 of 192 decisions\); ask for more with --total-timesteps")


def test_a_finished_run_asked_for_more_goes_on(copy):
    before = numbers(copy)
    outcome = resume(copy, lambda config: dataclasses.replace(config, total_timesteps=5 * UPDATE), quiet)
    assert outcome.timesteps == 5 * UPDATE
    assert numbers(copy)[: len(before)] == before
    assert {line["step"] for line in numbers(copy)[len(before) :]} == {256, 320}
    assert read_config(copy / "config.yaml").total_timesteps == 5 * UPDATE


def as_before(config):
    """The configuration as it was written when a schedule's name stood beside its number."""
    for name in ("learning_rate", "ent_coef", "magnet_coef", "shaping_coef"):
        told = config["algo"][name]
        kind, number = next(iter(told.items())) if isinstance(told, dict) else ("constant", told)
        config["algo"] |= {name: number, f"{name}_schedule": kind}
    del config["policy"]["log_std_init"]
    return config


def test_a_run_from_before_schedules_were_values_goes_on(copy):
    """In its config.yaml as in what its checkpoint says; another number in either is still told."""
    latest, stored = files.find(copy)
    training_json = stored.json("training.json")
    training_json["config"] = as_before(training_json["config"])
    save_folder(stored | {"training.json": files.json_bytes(training_json)}, latest)
    old = as_before(read_yaml((copy / "config.yaml").read_bytes()))
    (copy / "config.yaml").write_text(write_yaml(old), encoding="utf-8")
    assert "learning_rate_schedule: linear" in (copy / "config.yaml").read_text(encoding="utf-8")
    resume(copy, lambda config: dataclasses.replace(config, total_timesteps=4 * UPDATE), quiet)
    assert "learning_rate:\n    linear: 0.001" in (copy / "config.yaml").read_text(encoding="utf-8")

    old["algo"]["learning_rate"] = 0.5
    (copy / "config.yaml").write_text(write_yaml(old), encoding="utf-8")
    refused(
        copy, r"says algo.learning_rate.linear 0.5, step_\d+ was trained with 0.001; a resumed run keeps it"
    )


OTHER = {
    "game": "leduc_poker",
    "options": {"rows": 3},
    "seed": 4,
    "start_from": "elsewhere",
    "device": "cpu",
    "cuda_graph": True,
    "matches": 16,
    "shards": 2,
    "reduce": "fast",
    "total_timesteps": 5 * UPDATE,
    "run_dir": "elsewhere",
    "checkpoint_every": 7,
    "keep_checkpoints": 7,
    "progress": False,
    "policy": dataclasses.replace(SELF_PLAY_NETWORK, cell="gru"),
    "algo": dataclasses.replace(SELF_PLAY, learning_rate=0.5),
    "opponents": OpponentsConfig(share=0.5, players=["random"]),
    "eval": EvalConfig(every=10 * UPDATE, players=["random"], final_matches_per_seat=2),
}
"""Another value for every field."""


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Config)])
def test_a_resumed_run_changes_only_what_it_may(finished, monkeypatch, name):
    def change(config):
        return dataclasses.replace(config, **{"total_timesteps": 5 * UPDATE} | {name: OTHER[name]})

    if name in MAY_CHANGE:
        went_on = []
        monkeypatch.setattr(training, "_run", lambda *arguments: went_on.append(arguments[1]))
        monkeypatch.setattr(files, "write_file", lambda *_: None)
        resume(finished.run, change, quiet)
        assert getattr(went_on[0], name) == OTHER[name]
    else:
        refused(
            finished.run, rf"a resumed run keeps its {name}; only total_timesteps, .*eval may change", change
        )


def test_an_unknown_player_is_refused_before_a_resumed_run_goes_on(finished):
    def change(config):
        players = dataclasses.replace(config.eval, players=["grandmaster"])
        return dataclasses.replace(config, total_timesteps=5 * UPDATE, eval=players)

    refused(finished.run, "grandmaster", change)


def test_there_is_no_run_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no run to resume \(no config.yaml\)"):
        resume(tmp_path, say=quiet)


# ---------------------------------------------------------------- damaged, named, edited by hand, killed


def test_a_run_goes_on_from_the_newest_whole_checkpoint(run, whole):
    """The damaged one is made again: bit for bit what it was."""
    damage(step(run, 192))
    before = lines(run)
    with pytest.warns(UserWarning, match="step_128"):
        outcome = resume(run, say=quiet)
    assert outcome.timesteps == 192
    assert read(run) == read(whole)
    assert [line["step"] for line in lines(run)] == [line["step"] for line in before]
    assert run_json(run)["status"] == "finished"


def test_a_run_goes_on_from_any_checkpoint_that_is_named(run):
    """What came later is given up: the pointer, the curves, and first of all its checkpoints."""
    said = []
    before = [line for line in lines(run) if line["step"] <= 64]
    at = step(run, 64)
    outcome = resume(
        at, lambda c: dataclasses.replace(c, total_timesteps=128, keep_checkpoints=1), said.append
    )
    assert said[0] == "goes on from step_64, what came after it is given up"
    assert (outcome.run, outcome.timesteps, latest(run)) == (run, 128, "checkpoints/step_128")
    assert lines(run)[: len(before)] == before
    assert max(line["step"] for line in lines(run)) == 128
    with pytest.raises(FileNotFoundError, match="there is no run to resume"):
        resume(run / "checkpoints", say=quiet)
    with pytest.raises(FileNotFoundError, match="there is no such run, checkpoint or agent"):
        resume(step(run, 7), say=quiet)


EDITED = {
    "game": ("game", "leduc_poker", "kuhn_poker"),
    "seed": ("seed", 4, 3),
    "matches": ("matches", 16, 8),
    "policy": ("policy.cell", "gru", "gated"),
    "algo": ("algo.n_steps", 16, 8),
    "opponents": ("opponents.share", 0.5, 0.0),
    "options": ("options.rows", 5, None),
}


@pytest.mark.parametrize("field", EDITED)
def test_a_configuration_that_was_edited_by_hand_is_refused(run, field):
    key, says, was = EDITED[field]
    config = quick(run.parent)
    part = getattr(config, field)
    name = key.partition(".")[2]
    if dataclasses.is_dataclass(part):
        part = dataclasses.replace(part, **{name: says})
    else:
        part = {name: says} if name else says
    text = write_config(dataclasses.replace(config, total_timesteps=640, **{field: part}))
    (run / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.yaml: says") as error:
        resume(run, say=quiet)
    assert f"says {key} {says!r}, step_192 was trained with {was!r}" in str(error.value)
    assert "\n" not in str(error.value)
    assert (run / "config.yaml").read_text(encoding="utf-8") == text
    assert run_json(run)["status"] == "finished"


@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "recurrent_ppo", "ppo"])
def test_in_worlds_too(tmp_path, algo):
    config = broken(tmp_path, algo, total_timesteps=32)
    run = world_training.train(config, say=quiet).run
    for changes, words in (
        ({"env": "CartPole-v1"}, "says env 'CartPole-v1', step_32 was trained with 'Broken-v0'"),
        ({"normalize": True}, "says normalize True, step_32 was trained with False"),
        ({"arguments": {"n_steps": 32, "batch_size": 16}}, "says arguments.batch_size 16, "),
        ({"env_kwargs": {"pays": "1"}}, "says env_kwargs.pays '1', "),
    ):
        (run / "config.yaml").write_text(
            write_config(dataclasses.replace(config, **changes)), encoding="utf-8"
        )
        with pytest.raises(ValueError, match=words):
            world_training.resume(run, longer(64), quiet)
    (run / "config.yaml").write_text(
        write_config(dataclasses.replace(config, checkpoint_every=64)), encoding="utf-8"
    )
    assert world_training.resume(run, longer(64), quiet).timesteps == 64  # this may change


def test_every_error_is_told_and_a_kill_can_be_seen(tmp_path, monkeypatch):
    def fail():
        raise OSError("no space\nleft")

    with monkeypatch.context() as patch:
        at_decision(patch, 90, fail)
        with pytest.raises(OSError, match="no space"):
            train(quick(tmp_path), say=quiet)
    (run,) = tmp_path.iterdir()
    assert (run_json(run)["status"], run_json(run)["reason"]) == ("failed", "OSError: no space left")
    (run / "run.json").write_text(json.dumps(run_json(run) | {"status": "running"}), encoding="utf-8")
    assert folder.status(run) == folder.status(run / "checkpoints" / "step_64") == "killed"
    (run / "run.json").unlink()
    assert folder.status(run) == "killed"
    resume(run, say=quiet)
    assert folder.status(run) == "finished"
    (run / "run.json").write_text('{"status": "happy"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a status of running, .*, got 'happy'"):
        folder.status(run)
    with pytest.raises(FileNotFoundError):
        folder.status(tmp_path)
