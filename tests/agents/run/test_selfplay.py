"""A run from its folder to its last curve: complete, honest, and resumed as if nothing had happened."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import shutil
import signal
import time

import pytest
import torch
from PIL import Image
from reading import at_decision, curves, lines, names, numbers, quiet
from saved import KUHN, same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import agents
import envs
from agents import files, fixed_player
from agents.files import read, save_folder
from agents.learn.schedules import Linear, Power
from agents.play.arena import Result, tournament
from agents.run import folder, keeper
from agents.run import selfplay as training
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    Config,
    EvalConfig,
    OpponentsConfig,
    read_config,
)
from agents.run.curves import JSONLines, memory_statistics
from agents.run.folder import MAY_CHANGE
from agents.run.keeper import RunKeeper
from agents.run.selfplay import SelfPlayKeeper, copy_weights, resume, train
from agents.run.written import read_yaml, write_yaml

UPDATE = 64
"""Decisions of one update: 8 matches, 8 steps."""


def tiny(folder, **changes):
    """A run of three updates, evaluated and saved after each."""
    config = Config(
        game="kuhn_poker",
        seed=3,
        matches=8,
        total_timesteps=3 * UPDATE,
        run_dir=str(folder),
        checkpoint_every=UPDATE,
        policy=dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=8, features_dim=8),
        algo=dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=32, n_epochs=2),
        eval=EvalConfig(every=UPDATE, matches_per_seat=4, final_matches_per_seat=8),
    )
    return dataclasses.replace(config, **changes)


EVERYTHING = {
    "policy": dataclasses.replace(
        SELF_PLAY_NETWORK,
        cell="lstm",
        lstm_hidden_size=8,
        features_dim=8,
        n_lstm_layers=2,
        lstm_kwargs={"dropout": 0.2},
    ),
    "algo": dataclasses.replace(
        SELF_PLAY,
        n_steps=8,
        batch_size=32,
        n_epochs=2,
        learning_rate=Linear(1e-2),
        magnet="snapshot",
        magnet_coef=Power(0.1),
        magnet_every=2,
        ema_decay=0.9,
    ),
    "opponents": OpponentsConfig(share=0.75, players=["random", "bot"], pool_size=2, snapshot_every=1),
}
"""Two layers with dropout, a snapshot magnet, past selves and fixed players: all that has a state."""


def newest(run):
    """The bytes of the latest checkpoint: weights, moving average, optimiser, generators, matches."""
    return read(run)


def status(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def pull_the_plug():
    raise SystemExit("killed")


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


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three updates that ended by itself; not to be changed."""
    return train(tiny(tmp_path_factory.mktemp("finished")), "selfplay.py config.yaml", quiet)


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run, to be changed."""
    return shutil.copytree(finished.run, tmp_path / "copy")


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
            "tensorboard",
        ]
    )
    assert names(run / "checkpoints") == ["step_128", "step_192", "step_64"]
    assert names(run / "replays") == ["step_128.json", "step_192.gif", "step_192.json", "step_64.json"]
    assert (run / "command.txt").read_text(encoding="utf-8") == "selfplay.py config.yaml\n"
    assert read_config(run / "config.yaml") == tiny(run.parent)


def test_run_json_and_the_outcome_say_how_it_went(finished):
    told = status(finished.run)
    assert (told["status"], told["timesteps"], told["total_timesteps"]) == ("finished", 192, 192)
    assert not finished.was_interrupted
    assert finished.timesteps == 192
    assert list(told["results"]) == list(finished.results) == ["random", "bot"]
    for name, result in finished.results.items():
        assert result.matches == told["results"][name]["matches"] == 2 * 8
        assert (
            told["results"][name]["mean"] == result.mean == lines(finished.run)[-1][f"final/vs/{name}/mean"]
        )


def test_a_game_for_one_is_judged_alone_beside_the_fixed_players(tmp_path):
    """Nobody sits opposite: the agent's own return is the curve, the fixed players' returns the anchors."""
    run = train(tiny(tmp_path, game="minesweeper"), say=quiet)
    last = lines(run.run)[-1]
    assert list(run.results) == ["nobody"]
    assert list(run.anchors) == ["random", "bot"]
    assert {result.matches for result in (*run.results.values(), *run.anchors.values())} == {8}
    assert last["final/vs/nobody/mean"] == run.results["nobody"].mean
    for group in ("eval", "final"):
        told = {tag for line in lines(run.run) for tag in line if tag.startswith(f"{group}/")}
        assert told == {
            *(f"{group}/vs/nobody/mean", f"{group}/vs/nobody/low", f"{group}/vs/nobody/high"),
            *(f"{group}/by_seat/nobody/0", f"{group}/raw_vs/nobody/mean"),
        }
    config = dataclasses.replace(read_config(run.run / "config.yaml"), total_timesteps=4 * UPDATE)
    assert resume(run.run, lambda _: config, say=quiet).timesteps == 4 * UPDATE


def test_the_replay_is_a_match_that_can_be_played_again(finished):
    told = json.loads((finished.run / "replays" / "step_192.json").read_text(encoding="utf-8"))
    match = envs.Match(envs.make(told["game"], **told["options"]), told["seed"])
    for action in told["actions"]:
        match.play(action)
    assert match.over
    assert match.returns.tolist() == told["returns"]
    with Image.open(finished.run / "replays" / "step_192.gif") as gif:
        assert gif.n_frames == len(told["actions"]) + 1


def test_the_agent_of_a_run_is_its_latest_its_best_or_any_of_its_checkpoints(finished):
    run = finished.run
    latest = run / json.loads((run / "latest.json").read_text(encoding="utf-8"))["checkpoint"]
    best = run / json.loads((run / "best.json").read_text(encoding="utf-8"))["checkpoint"]
    scores = {
        line["step"]: line["eval/vs/random/mean"] + line["eval/vs/bot/mean"]
        for line in lines(run)
        if "eval/vs/bot/mean" in line
    }
    assert latest.name == "step_192"
    assert best.name == f"step_{max(scores, key=scores.get)}"  # the first of equals

    def weights(agent):
        return torch.cat([x.flatten() for x in agent.policy.state_dict().values()])

    by_step = {step: weights(agents.load(run / "checkpoints" / f"step_{step}")) for step in (64, 128, 192)}
    assert torch.equal(weights(agents.load(run)), by_step[192])
    assert torch.equal(weights(agents.load(run, which="best")), by_step[int(best.name[5:])])
    assert not torch.equal(by_step[64], by_step[192])


# ---------------------------------------------------------------- whose deals


@pytest.fixture
def deals(monkeypatch):
    """Seeds of all matches that are dealt, by what they are for; every match has one of its own."""
    seen, purpose = collections.defaultdict(set), ["training"]
    launch, judge = envs.Batch._launch, SelfPlayKeeper.judge
    anchors = SelfPlayKeeper.judge_anchors

    def launching(batch, kernel, *arguments):
        launch(batch, kernel, *arguments)
        seen[purpose[-1]] |= set(batch._views[0]["seed"].tolist())

    def judging(keeper, is_final):
        purpose.append("final" if is_final else keeper.model.num_timesteps)
        try:
            return judge(keeper, is_final)
        finally:
            purpose.pop()

    def judging_anchors(keeper):
        purpose.append("anchors")
        try:
            return anchors(keeper)
        finally:
            purpose.pop()

    monkeypatch.setattr(envs.Batch, "_launch", launching)
    monkeypatch.setattr(SelfPlayKeeper, "judge", judging)
    monkeypatch.setattr(SelfPlayKeeper, "judge_anchors", judging_anchors)
    return seen


@pytest.mark.parametrize("game", ["kuhn_poker", "minesweeper"])
def test_no_evaluation_uses_anothers_deals_nor_trainings_nor_another_runs(deals, tmp_path, game):
    """Two runs with neighbouring seeds, and a tournament with the seed of the first."""
    told = {}
    for seed in (0, 1):
        train(tiny(tmp_path, game=game, seed=seed), say=quiet)
        told |= {(seed, purpose): seeds for purpose, seeds in deals.items()}
        deals.clear()
    players = [fixed_player(name, envs.make(game)) for name in ("random", "bot")]
    tournament(envs.make(game), players, 8, seed=0)
    told["tournament"] = deals.pop("training")
    assert {purpose for seed, purpose in set(told) - {"tournament"}} >= {"training", 64, 128, 192, "final"}
    for seed in (0, 1):
        if game == "minesweeper":
            assert told[seed, "final"] == told.pop((seed, "anchors"))  # the agent's own deals
    assert all(len(seeds) >= 8 for seeds in told.values())
    assert sum(map(len, told.values())) == len(set().union(*told.values()))


def test_the_final_evaluation_does_not_choose_the_best(tmp_path, monkeypatch):
    """It alone finds the last agent good, and the curve that a resumed run reads keeps to the others."""
    scores = iter([0.1, 0.3, 0.2, 0.9])  # at 64, 128, 192, and at last

    def judge(keeper, is_final):
        score = next(scores)
        assert is_final == (score == 0.9)
        group = "final" if is_final else "eval"
        for name in ("random", "bot"):
            keeper.logger.record(f"{group}/vs/{name}/mean", score / 2)
        returns = torch.full((2,), score, dtype=torch.float64)
        return {"random": Result(returns, torch.tensor([0, 1]), torch.ones(2))}

    monkeypatch.setattr(SelfPlayKeeper, "judge", judge)
    outcome = train(tiny(tmp_path), say=quiet)
    assert outcome.results["random"].mean == 0.9
    assert (
        json.loads((outcome.run / "best.json").read_text(encoding="utf-8"))["checkpoint"]
        == "checkpoints/step_128"
    )
    assert keeper._best_score(outcome.run, ("eval/vs/random/mean", "eval/vs/bot/mean")) == 0.3


# ---------------------------------------------------------------- the curves

GROUPS = {
    "rollout/": {"ep_len_mean", "ep_rew_mean"},
    "train/": {
        *("loss", "policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction"),
        *("grad_norm", "replay_drift", "explained_variance", "learning_rate", "clip_range", "ent_coef"),
    },
    "eval/vs/random/": {"win", "draw", "loss", "low", "high", "mean"},
    "eval/vs/bot/": {"win", "draw", "loss", "low", "high", "mean"},
    "eval/by_seat/": {"random/0", "random/1", "bot/0", "bot/1"},
    "game/": {"length", "draws", "illegal"},
    "rnn/": {
        *("hidden_norm", "gate_saturation", "gate_mean/i", "gate_mean/f", "gate_mean/o"),
        *("grad_norm_by_lag/1", "grad_norm_by_lag/2", "grad_norm_by_lag/4"),
    },
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
    assert read.Tags()["images"] == ["eval/match"]
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


# ---------------------------------------------------------------- interrupted and resumed


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, changes):
    """Three updates in one go, and three with a Ctrl-C in the middle of the second one's rollout."""
    straight = train(tiny(tmp_path / "straight", **changes), say=quiet)

    with monkeypatch.context() as patch:
        at_decision(patch, UPDATE + 20, press_ctrl_c)
        told = []
        first = train(tiny(tmp_path / "broken", **changes), say=told.append)
    assert told[-1] == "stopping after this update; once more stops at once"
    assert first.was_interrupted
    assert first.results == {}
    assert first.timesteps == 2 * UPDATE
    assert (status(first.run)["status"], status(first.run)["timesteps"]) == ("interrupted", 2 * UPDATE)

    second = resume(first.run, say=quiet)
    assert second.run == first.run
    assert not second.was_interrupted
    assert newest(second.run) == newest(straight.run)
    assert numbers(second.run) == numbers(straight.run)
    assert names(second.run / "replays") == names(straight.run / "replays")
    for name in ("best.json", "latest.json", "run.json"):
        assert (second.run / name).read_text(encoding="utf-8") == (straight.run / name).read_text(
            encoding="utf-8"
        )
    raw, ema = (agents.load(second.run, weights=kind).policy.state_dict() for kind in ("raw", "ema"))
    assert any(not torch.equal(raw[name], ema[name]) for name in raw)


def test_a_killed_run_forgets_what_came_after_its_checkpoint(tmp_path, monkeypatch):
    """Saved after 2 of 4 updates, killed in the 4th: the third one's numbers were logged, and go."""
    plan = {"total_timesteps": 4 * UPDATE, "checkpoint_every": 2 * UPDATE}
    plan |= {"eval": EvalConfig(every=10 * UPDATE, final_matches_per_seat=4)}
    straight = train(tiny(tmp_path / "straight", **plan), say=quiet)
    with monkeypatch.context() as patch:
        at_decision(patch, 3 * UPDATE + 20, pull_the_plug)
        with pytest.raises(SystemExit):
            train(tiny(tmp_path / "killed", **plan), say=quiet)
    (run,) = (tmp_path / "killed").iterdir()
    assert [line["step"] for line in lines(run)] == [64, 128, 192]
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 2')  # the line it was writing
    time.sleep(1.0 - time.time() % 1.0)  # TensorBoard reads event files in the order of their seconds

    resume(run, say=quiet)
    assert [line["step"] for line in lines(run)] == [64, 128, 192, 256, 256, 256]
    assert numbers(run) == numbers(straight.run)
    assert newest(run) == newest(straight.run)
    again, once = curves(run), curves(straight.run)
    assert [step for step, _ in again["train/loss"]] == [64, 128, 192, 256]
    assert again["train/loss"] == once["train/loss"]
    assert again.keys() == once.keys()


def test_ctrl_c_in_the_last_update_lets_the_run_finish(tmp_path, monkeypatch):
    at_decision(monkeypatch, 2 * UPDATE + 20, press_ctrl_c)
    outcome = train(tiny(tmp_path), say=quiet)
    assert not outcome.was_interrupted
    assert status(outcome.run)["status"] == "finished"
    assert json.loads((outcome.run / "latest.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_192"
    }


def test_ctrl_c_in_the_last_evaluation_lets_the_run_finish(tmp_path, monkeypatch):
    original = RunKeeper.finish
    monkeypatch.setattr(RunKeeper, "finish", lambda self: (press_ctrl_c(), original(self)))
    outcome = train(tiny(tmp_path), say=quiet)
    assert not outcome.was_interrupted
    assert set(outcome.results) == {"random", "bot"}
    assert status(outcome.run)["status"] == "finished"


def test_a_second_ctrl_c_stops_at_once_and_the_latest_checkpoint_stands(tmp_path, monkeypatch):
    at_decision(monkeypatch, 2 * UPDATE + 20, lambda: (press_ctrl_c(), press_ctrl_c()))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path), say=quiet)
    assert signal.getsignal(signal.SIGINT) is before
    (run,) = tmp_path.iterdir()
    assert status(run)["status"] == "interrupted"
    assert names(run / "checkpoints") == ["step_128", "step_64"]
    assert resume(run, say=quiet).timesteps == 3 * UPDATE


# ---------------------------------------------------------------- what a resumed run may change


def refused(run, message, change=lambda config: config, error=ValueError):
    before = {name: (run / name).read_bytes() for name in ("config.yaml", "metrics.jsonl", "run.json")}
    with pytest.raises(error, match=message) as caught:
        resume(run, change, quiet)
    assert "\n" not in str(caught.value)
    assert {name: (run / name).read_bytes() for name in before} == before


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
    "matches": 16,
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


# ---------------------------------------------------------------- checkpoints that stay


def test_the_latest_checkpoints_stay_and_the_best_one(tmp_path, monkeypatch):
    """Six updates, of which the second is made the best: it outlives the others."""
    original = SelfPlayKeeper._against

    def against(self, name, policy, matches_per_seat):
        result = original(self, name, policy, matches_per_seat)
        wins = self.model.num_timesteps == 2 * UPDATE
        return dataclasses.replace(result, returns=torch.full_like(result.returns, 1.0 if wins else -1.0))

    monkeypatch.setattr(SelfPlayKeeper, "_against", against)
    run = train(tiny(tmp_path, total_timesteps=6 * UPDATE, keep_checkpoints=2), say=quiet).run
    assert names(run / "checkpoints") == ["step_128", "step_320", "step_384"]
    assert json.loads((run / "best.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_128"
    }
    assert json.loads((run / "latest.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_384"
    }


def test_a_resumed_run_remembers_its_best(tmp_path, monkeypatch):
    """A later, worse evaluation does not become the best because the run was resumed before it."""
    original = SelfPlayKeeper._against

    def against(self, name, policy, matches_per_seat):
        result = original(self, name, policy, matches_per_seat)
        wins = self.model.num_timesteps == UPDATE
        return dataclasses.replace(result, returns=torch.full_like(result.returns, 1.0 if wins else -1.0))

    monkeypatch.setattr(SelfPlayKeeper, "_against", against)
    with monkeypatch.context() as patch:
        at_decision(patch, UPDATE + 20, press_ctrl_c)
        run = train(tiny(tmp_path), say=quiet).run
    resume(run, say=quiet)
    assert json.loads((run / "best.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_64"
    }


# ---------------------------------------------------------------- beginning with an agent's weights


def test_other_weights_begin_another_average(made, make_model, tmp_path):
    save_folder(made[1], tmp_path / "a")
    kwargs = {"lstm_hidden_size": 4, "features_dim": 4}
    model = make_model(KUHN, ema_decay=0.9, policy_kwargs=kwargs).learn(64)
    copy_weights(tmp_path / "a", model)
    assert model.ema_steps == 0
    assert same(model.ema, made[0].ema)


def test_a_run_begins_with_the_averaged_weights_of_an_agent_and_nothing_else_of_it(finished, tmp_path):
    algo = dataclasses.replace(tiny(tmp_path).algo, magnet="snapshot", magnet_coef=0.1)
    model = training.make_model(tiny(tmp_path, algo=algo, start_from=str(finished.run)))
    fresh = training.make_model(tiny(tmp_path, algo=algo))
    expected = agents.load(finished.run, weights="ema").policy.state_dict()
    for policy in (model.policy, model.ema, model.magnet):
        assert all(torch.equal(x, expected[name]) for name, x in policy.state_dict().items())
    assert any(not torch.equal(x, expected[name]) for name, x in fresh.policy.state_dict().items())
    assert (model.num_timesteps, model.optimizer.state_dict()["state"]) == (0, {})


def test_an_agent_of_one_size_of_board_begins_on_another(tmp_path):
    policy = dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=4, features_dim=4, spatial=True)
    boards = {"game": "generals", "policy": policy, "options": {"rows": 4, "cols": 5}}
    small = training.make_model(tiny(tmp_path, **boards))
    small.save(tmp_path / "small.zip")
    large = boards | {"options": {"rows": 6, "cols": 6}, "start_from": str(tmp_path / "small.zip")}
    model = training.make_model(tiny(tmp_path, **large))
    expected = small.policy.state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in model.policy.state_dict().items())
    model.learn(UPDATE)


def test_another_network_is_no_beginning(finished, tmp_path):
    policy = dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=16, features_dim=8)
    with pytest.raises(ValueError, match="its network is not the one to train") as error:
        training.make_model(tiny(tmp_path, policy=policy, start_from=str(finished.run)))
    assert str(error.value).endswith(
        "5 of the tensors differ: expected action_head.0.weight of shape [2, 16], got [2, 8]"
    )
    with pytest.raises(FileNotFoundError, match="nowhere"):
        training.make_model(tiny(tmp_path, start_from=str(tmp_path / "nowhere")))


# ---------------------------------------------------------------- refused before a folder is made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "chess"}, "unknown game 'chess'; known are .*dark_hex"),
        ({"options": {"cards": 3}}, "kuhn_poker: unknown option 'cards'; known are none"),
        ({"game": "dark_hex", "options": {"rows": 1}}, "rows"),
        (
            {"policy": dataclasses.replace(SELF_PLAY_NETWORK, cell="warp")},
            "unknown cell 'warp'; known are elman, feedforward, gated",
        ),
        (
            {"algo": dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=33)},
            "batch_size 33 does not fit .* 8, 16, 32, 64",
        ),
        ({"eval": EvalConfig(players=["grandmaster"])}, "grandmaster"),
        ({"opponents": OpponentsConfig(share=0.5)}, "matches against others need opponents"),
        ({"opponents": OpponentsConfig(share=1.5, pool_size=1)}, "must be in 0..1, got 1.5"),
        ({"device": "tpu"}, "device must be cpu or cuda, got tpu"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        train(tiny(tmp_path / "runs", **changes), say=quiet)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_the_model_is_what_the_configuration_says(tmp_path):
    model = training.make_model(tiny(tmp_path, **EVERYTHING))
    assert model.batch.matches == 8
    assert model.policy.core.cells[1].hidden_size == 8
    assert [player.name for player in model.opposition.players.values()] == ["random", "bot"]
    assert model.learning_rate(0.5) == pytest.approx(0.5e-2)  # linear
    assert model.ent_coef == 0.05
    assert model.magnet_coef(0.5) < model.magnet_coef(1.0) == pytest.approx(0.1)  # power
    assert model.ema is not None
    assert model.magnet_kind == "snapshot"


@pytest.mark.parametrize(("cell", "gates"), [("elman", ""), ("gated", "ifo"), ("lstm", "ifo"), ("gru", "ry")])
def test_every_cell_shows_the_gates_it_has(make_model, cell, gates):
    model = make_model(policy_kwargs={"cell": cell}).learn(UPDATE)
    shown = memory_statistics(model.policy, model.rollout)
    saturation = {"rnn/gate_saturation"} if gates else set()
    assert shown.keys() == {"rnn/hidden_norm", *(f"rnn/gate_mean/{gate}" for gate in gates)} | saturation
    assert all(0.0 < shown[f"rnn/gate_mean/{gate}"] < 1.0 for gate in gates)
