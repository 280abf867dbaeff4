"""The keeper of a run: stopped and resumed as if nothing had happened; what stays and what is never saved."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from game_runs import (
    BY_MATCHES,
    EVERYTHING,
    UPDATE,
    latest,
    longer,
    newest,
    press_ctrl_c,
    pull_the_plug,
    quick,
    tiny,
)
from reading import at_decision, curves, lines, names, numbers, quiet, run_json
from saved import step
from world_runs import broken

import agents
from agents.files import point, read, read_tensors
from agents.gym import training as world_training
from agents.play.arena import Result
from agents.run import folder, keeper
from agents.run import selfplay as training
from agents.run.config import (
    EvalConfig,
)
from agents.run.keeper import RunKeeper
from agents.run.selfplay import SelfPlayKeeper, resume, train

# ---------------------------------------------------------------- whose deals


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
    outcome = train(tiny(tmp_path, eval=BY_MATCHES), say=quiet)
    assert outcome.results["random"].mean == 0.9
    assert (
        json.loads((outcome.run / "best.json").read_text(encoding="utf-8"))["checkpoint"]
        == "checkpoints/step_128"
    )
    assert keeper._best_score(outcome.run, ("eval/vs/random/mean", "eval/vs/bot/mean")) == 0.3


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
    assert (run_json(first.run)["status"], run_json(first.run)["timesteps"]) == ("interrupted", 2 * UPDATE)

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
    assert run_json(outcome.run)["status"] == "finished"
    assert json.loads((outcome.run / "latest.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_192"
    }


def test_ctrl_c_in_the_last_evaluation_lets_the_run_finish(tmp_path, monkeypatch):
    original = RunKeeper.finish
    monkeypatch.setattr(RunKeeper, "finish", lambda self: (press_ctrl_c(), original(self)))
    outcome = train(tiny(tmp_path), say=quiet)
    assert not outcome.was_interrupted
    assert set(outcome.results) == {"random", "bot"}
    assert run_json(outcome.run)["status"] == "finished"


def test_a_second_ctrl_c_stops_at_once_and_the_latest_checkpoint_stands(tmp_path, monkeypatch):
    at_decision(monkeypatch, 2 * UPDATE + 20, lambda: (press_ctrl_c(), press_ctrl_c()))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path), say=quiet)
    assert signal.getsignal(signal.SIGINT) is before
    (run,) = tmp_path.iterdir()
    assert run_json(run)["status"] == "interrupted"
    assert names(run / "checkpoints") == ["step_128", "step_64"]
    assert resume(run, say=quiet).timesteps == 3 * UPDATE


# ---------------------------------------------------------------- checkpoints that stay


def test_the_latest_checkpoints_stay_and_the_best_one(tmp_path, monkeypatch):
    """Eight updates, of which the fourth is made the best: it outlives the others. Those of 64, 128, 192 and
    320 decisions are the first above 10 ** (7/4) = 56, 100, 178 and 316, and stay for the curve."""
    original = SelfPlayKeeper._against

    def against(self, name, policy, matches_per_seat):
        result = original(self, name, policy, matches_per_seat)
        wins = self.model.num_timesteps == 4 * UPDATE
        return dataclasses.replace(result, returns=torch.full_like(result.returns, 1.0 if wins else -1.0))

    monkeypatch.setattr(SelfPlayKeeper, "_against", against)
    config = tiny(tmp_path, total_timesteps=8 * UPDATE, keep_checkpoints=2, eval=BY_MATCHES)
    run = train(config, say=quiet).run
    kept = {*names(run / "checkpoints")}
    assert kept == {f"step_{step}" for step in (64, 128, 192, 320, 256, 448, 512)}
    assert json.loads((run / "best.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_256"
    }
    assert json.loads((run / "latest.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_512"
    }


def test_a_resumed_run_remembers_the_lowest_exploitability(tmp_path, monkeypatch):
    """0.2 at the first update, and what is found after it was resumed, 0.3 and 0.25, is more."""
    told = {64: 0.2, 128: 0.3, 192: 0.25}
    original = training.exploitability

    def exploited(tree, agent, **kwargs):
        return original(tree, agent, **kwargs)._replace(exploitability=told[now[0]])

    now = [0]
    judge = SelfPlayKeeper.judge

    def judged(self, is_final):
        now[0] = self.model.num_timesteps
        return judge(self, is_final)

    monkeypatch.setattr(training, "exploitability", exploited)
    monkeypatch.setattr(SelfPlayKeeper, "judge", judged)
    with monkeypatch.context() as patch:
        at_decision(patch, UPDATE + 20, press_ctrl_c)
        run = train(tiny(tmp_path), say=quiet).run
    resume(run, say=quiet)
    assert {
        line["step"]: line["eval/exploitability"] for line in lines(run) if "eval/exploitability" in line
    } == told
    assert json.loads((run / "best.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_64"
    }


@pytest.mark.parametrize("bad", ["NaN", "-Infinity", '"low"', "null", "[0.0]"])
def test_what_is_no_number_is_never_the_best(tmp_path, bad):
    text = '{"step": 1, "eval/exploitability": %s}\n', '{"step": 2, "eval/exploitability": 0.25}'
    (tmp_path / "metrics.jsonl").write_text("".join(text) % bad, encoding="utf-8")
    assert keeper._best_score(tmp_path, ("eval/exploitability",), -1) == -0.25


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
        run = train(tiny(tmp_path, eval=BY_MATCHES), say=quiet).run
    resume(run, say=quiet)
    assert json.loads((run / "best.json").read_text(encoding="utf-8")) == {
        "checkpoint": "checkpoints/step_64"
    }


# ---------------------------------------------------------------- what is kept, what is never, and signals


def test_rolled_back_and_stopped_at_once_everything_loads(run):
    """latest.json is set back to 64, the run goes on and is stopped: what was just written stays."""
    point(run, "latest", step(run, 64))
    point(run, "best", step(run, 64))
    with pytest.MonkeyPatch.context() as patch:
        at_decision(patch, 64 + 20, lambda: signal.raise_signal(signal.SIGINT))
        change = lambda c: dataclasses.replace(c, keep_checkpoints=1, total_timesteps=640)  # noqa: E731
        outcome = resume(run, change, quiet)
    assert outcome.was_interrupted
    assert (latest(run), names(run / "checkpoints")) == ("checkpoints/step_128", ["step_128", "step_64"])
    agents.load(run)
    agents.load(run, which="best")


def test_what_has_another_name_is_left_alone(tmp_path):
    strange = ["step_1024_mine", "step_", "step_-3", "step_007", "step_x", "Step_9", "backup"]
    folder = tmp_path / "checkpoints"
    for name in strange:
        (folder / name).mkdir(parents=True)
    (folder / "step_5").write_text("a file", encoding="utf-8")
    (folder / "step_6").symlink_to(folder / "backup")
    run = train(quick(tmp_path / "runs", keep_checkpoints=1, total_timesteps=UPDATE), say=quiet).run
    for path in folder.iterdir():
        shutil.move(path, run / "checkpoints" / path.name)
    resume(run, longer(3 * UPDATE), quiet)
    kept = {*names(run / "checkpoints")} - {"step_192", "step_128", "step_64"}
    assert kept == {*strange, "step_5", "step_6"}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # VecNormalize's, of infinity
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pays", ["nan", "inf"])
@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "recurrent_ppo", "ppo"])
def test_a_reward_that_is_no_number_ends_a_run_and_the_good_checkpoint_stays(tmp_path, algo, pays, normalize):
    config = broken(tmp_path, algo, env_kwargs={"pays": pays}, normalize=normalize)
    with pytest.raises((FloatingPointError, ValueError), match=r"expected finite rewards, got (nan|inf)"):
        world_training.train(config, say=quiet)
    (run,) = tmp_path.iterdir()
    assert run_json(run)["status"] == folder.status(run) == "failed"
    assert "expected finite rewards" in run_json(run)["reason"]
    assert names(run / "checkpoints") == ["step_32", "step_64"]  # the best one and the latest
    for file, content in read(run).items():
        if file.endswith(".safetensors"):
            tensors = read_tensors(content, run).values()
            assert all(bool(torch.isfinite(x).all()) for x in tensors)


@pytest.mark.parametrize("part", ["weights", "ema", "moments"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_never_saved(tmp_path, monkeypatch, part, bad):
    """Whatever made it so: the run ends, and keeps what it has."""

    def spoil(model):
        weights = next(iter((model.ema if part == "ema" else model.policy).parameters()))
        moments = model.optimizer.state[weights]["exp_avg"] if part == "moments" else weights
        with torch.no_grad():
            moments.view(-1)[0] = bad

    original = RunKeeper._on_rollout_start

    def on_rollout_start(self):
        if self.model.num_timesteps == 2 * UPDATE:
            spoil(self.model)
        original(self)

    monkeypatch.setattr(RunKeeper, "_on_rollout_start", on_rollout_start)
    with pytest.raises(FloatingPointError, match="no longer finite") as error:
        train(quick(tmp_path, keep_checkpoints=1), say=quiet)
    (run,) = tmp_path.iterdir()
    assert names(run / "checkpoints") == ["step_64"]
    assert run_json(run)["status"] == "failed"
    assert run_json(run)["reason"] == f"FloatingPointError: {error.value}"
    agents.load(run)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_after_the_update_a_second_one_at_once(tmp_path, monkeypatch, number, code):
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_decision(patch, 20, lambda: signal.raise_signal(number))
        outcome = train(quick(tmp_path / "one"), say=quiet)
    assert (outcome.was_interrupted, outcome.exit_code, outcome.timesteps) == (True, code, UPDATE)
    assert run_json(outcome.run)["status"] == folder.status(outcome.run) == "interrupted"
    with monkeypatch.context() as patch:
        at_decision(patch, 90, lambda: (signal.raise_signal(number), signal.raise_signal(number)))
        with pytest.raises(keeper.Stopped) as stopped:
            train(quick(tmp_path / "two"), say=quiet)
    assert 128 + stopped.value.number == code
    assert signal.getsignal(number) == before
    (run,) = (tmp_path / "two").iterdir()
    assert (run_json(run)["status"], names(run / "checkpoints")) == ("interrupted", ["step_64"])


def test_a_handler_says_and_does_nothing(tmp_path):
    """It comes between any two lines, in the middle of another line's printing for one."""
    said = []
    keeper = training.SelfPlayKeeper(quick(tmp_path), tmp_path, said.append)
    keeper._interrupt(signal.SIGTERM, None)
    assert (keeper.signal, said, list(tmp_path.iterdir())) == (signal.SIGTERM, [], [])


def test_nohup_is_respected(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            at_decision(patch, 20, lambda: signal.raise_signal(signal.SIGHUP))
            assert not train(quick(tmp_path, total_timesteps=UPDATE), say=quiet).was_interrupted
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("where", ["evaluate", "judge_anchors"])
def test_killed_around_its_last_evaluation_a_run_makes_it_and_ends(whole, tmp_path, monkeypatch, where):
    """Nothing is left to train, the last evaluation is; its line stands in the record once."""

    def die(*_, **__):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(training.SelfPlayKeeper, where, die)
        with pytest.raises(SystemExit):
            train(quick(tmp_path), say=quiet)
    (run,) = tmp_path.iterdir()
    said = []
    outcome = resume(run, say=said.append)
    assert said[:2] == ["resumed at 192 of 192 decisions", "only the last evaluation is left"]
    assert (outcome.timesteps, outcome.was_interrupted, set(outcome.results)) == (
        192,
        False,
        {"random", "bot"},
    )
    assert run_json(run)["status"] == "finished"
    judged = [line for line in lines(run) if "eval/vs/random/mean" in line]
    assert [line["step"] for line in judged] == [192]
    assert judged[0]["eval/vs/random/mean"] == next(
        line["eval/vs/random/mean"] for line in lines(whole) if "eval/vs/random/mean" in line
    )
    assert read(run)["policy.safetensors"] == read(whole)["policy.safetensors"]
    with pytest.raises(ValueError, match=r"is finished \(192 of 192 decisions\)"):
        resume(run, say=quiet)
