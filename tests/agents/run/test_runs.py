"""Runs that are killed, doubled, damaged: nothing that was whole is lost, and everything is told."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from reading import at_decision, lines, names, quiet
from saved import damage, step

import agents
from agents.files import MANIFEST, CheckpointError, point, read, read_tensors
from agents.gym import training as world_training
from agents.gym.config import EpisodesConfig, WorldConfig
from agents.gym.stock import STOCK
from agents.run import folder, keeper, lock
from agents.run import selfplay as training
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    Config,
    EvalConfig,
    write_config,
)
from agents.run.keeper import RunKeeper
from agents.run.selfplay import resume, train
from agents.run.stream import Unfailing

UPDATE = 64
"""Decisions of one update: 8 matches, 8 steps."""


def tiny(folder, **changes):
    """A run of three updates, saved after each, judged at the end."""
    config = Config(
        game="kuhn_poker",
        seed=3,
        device="cpu",
        matches=8,
        total_timesteps=3 * UPDATE,
        run_dir=str(folder),
        checkpoint_every=UPDATE,
        policy=dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=8, features_dim=8),
        algo=dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=32, n_epochs=1),
        eval=EvalConfig(every=10 * UPDATE, matches_per_seat=4, final_matches_per_seat=4),
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with the checkpoints 64, 128 and 192; not to be changed."""
    return train(tiny(tmp_path_factory.mktemp("finished")), say=quiet).run


@pytest.fixture
def run(finished, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(finished, tmp_path / "run")


def told(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def latest(run):
    return json.loads((run / "latest.json").read_text(encoding="utf-8"))["checkpoint"]


def longer(n):
    return lambda config: dataclasses.replace(config, total_timesteps=n)


# ---------------------------------------------------------------- 37: the newest checkpoint is damaged


DAMAGES = {
    "flipped": lambda folder: damage(folder),
    "truncated": lambda folder: (folder / "training.safetensors").write_bytes(b""),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "gone": lambda folder: shutil.rmtree(folder),
    "pointer of nothing": lambda folder: (folder.parents[1] / "latest.json").write_text("", encoding="utf-8"),
    "pointer astray": lambda folder: (folder.parents[1] / "latest.json").write_text(
        '{"checkpoint": "no"}', encoding="utf-8"
    ),
    "no pointer": lambda folder: (folder.parents[1] / "latest.json").unlink(),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_the_newest_whole_checkpoint_takes_the_place_of_a_damaged_one(run, how):
    DAMAGES[how](step(run, 192))
    newest = 192 if "pointer" in how else 128
    with pytest.warns(UserWarning, match=f"the newest whole one is used instead, step_{newest}"):
        files = read(run)
    assert files == read(step(run, newest))
    with pytest.warns(UserWarning, match=f"step_{newest}"):
        agents.load(run)


def test_the_best_is_replaced_in_the_same_way(run):
    point(run, "best", step(run, 64))
    damage(step(run, 64))
    with pytest.warns(UserWarning, match=r"step_64: policy.safetensors is damaged .*instead, step_192"):
        assert read(run, "best") == read(step(run, 192))
    assert read(run)  # of the latest there is nothing to say


def test_if_none_is_whole_one_error_lists_them(run):
    for n in (64, 128, 192):
        damage(step(run, n))
    with pytest.raises(CheckpointError, match="none of its checkpoints is whole") as error:
        read(run)
    assert "\n" not in str(error.value)
    assert all(f"step_{n}: policy.safetensors is damaged" in str(error.value) for n in (64, 128, 192))


def test_nothing_outside_the_run_takes_its_place(run, tmp_path):
    """Of another run's checkpoints neither a pointer nor a link leads to one."""
    other = shutil.copytree(step(run, 192), tmp_path / "step_999")
    (run / "checkpoints" / "step_999").symlink_to(other)
    (run / "latest.json").write_text('{"checkpoint": "../step_999"}', encoding="utf-8")
    with pytest.warns(UserWarning, match="names no checkpoint of this run.*instead, step_192"):
        read(run)


def test_a_run_goes_on_from_the_newest_whole_checkpoint(run, finished):
    """The damaged one is made again: bit for bit what it was."""
    damage(step(run, 192))
    before = lines(run)
    with pytest.warns(UserWarning, match="step_128"):
        outcome = resume(run, say=quiet)
    assert outcome.timesteps == 192
    assert read(run) == read(finished)
    assert [line["step"] for line in lines(run)] == [line["step"] for line in before]
    assert told(run)["status"] == "finished"


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


# ---------------------------------------------------------------- 24: what is kept


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
    run = train(tiny(tmp_path / "runs", keep_checkpoints=1, total_timesteps=UPDATE), say=quiet).run
    for path in folder.iterdir():
        shutil.move(path, run / "checkpoints" / path.name)
    resume(run, longer(3 * UPDATE), quiet)
    kept = {*names(run / "checkpoints")} - {"step_192", "step_64"}
    assert kept == {*strange, "step_5", "step_6"}


# ---------------------------------------------------------------- 38: numbers that are none


class Broken(gymnasium.Env):
    """Pays 1, from the 70th decision on something that is no number."""

    observation_space, action_space = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)

    def __init__(self, pays="nan"):
        self.pays, self.t = float(pays), 0

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):  # noqa: ARG002
        self.t += 1
        return np.zeros(2, np.float32), self.pays if self.t > 70 else 1.0, self.t % 5 == 0, False, {}


gymnasium.register("Broken-v0", Broken)


def world(folder, algo="maskable_recurrent_ppo", **changes):
    cell = {"lstm_hidden_size": 8, "features_dim": 8} if algo not in STOCK else {}
    config = WorldConfig(
        env="Broken-v0",
        algo=algo,
        n_envs=1,
        total_timesteps=256,
        seed=3,
        device="cpu",
        run_dir=str(folder),
        checkpoint_every=32,
        keep_checkpoints=1,
        arguments={"n_steps": 32, "batch_size": 32, "n_epochs": 1},
        policy_kwargs=cell,
        eval=EpisodesConfig(every=10**9, episodes=2, final_episodes=2, gif=False),
    )
    return dataclasses.replace(config, **changes)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # VecNormalize's, of infinity
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pays", ["nan", "inf"])
@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "recurrent_ppo", "ppo"])
def test_a_reward_that_is_no_number_ends_a_run_and_the_good_checkpoint_stays(tmp_path, algo, pays, normalize):
    config = world(tmp_path, algo, env_kwargs={"pays": pays}, normalize=normalize)
    with pytest.raises((FloatingPointError, ValueError), match=r"expected finite rewards, got (nan|inf)"):
        world_training.train(config, say=quiet)
    (run,) = tmp_path.iterdir()
    assert told(run)["status"] == folder.status(run) == "failed"
    assert "expected finite rewards" in told(run)["reason"]
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
        train(tiny(tmp_path, keep_checkpoints=1), say=quiet)
    (run,) = tmp_path.iterdir()
    assert names(run / "checkpoints") == ["step_64"]
    assert told(run)["status"] == "failed"
    assert told(run)["reason"] == f"FloatingPointError: {error.value}"
    agents.load(run)


# ---------------------------------------------------------------- 39: signals and closed pipes


class Closed(io.StringIO):
    """A reader that has gone."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):  # noqa: ARG002
        raise self.error

    def isatty(self):
        return True


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "I/O error"), ValueError("closed file")]
)
def test_nobody_needs_to_listen(tmp_path, monkeypatch, error):
    """Standard output and the progress bar's terminal are gone: the run does not care."""
    monkeypatch.setattr(sys, "stdout", Closed(error))
    monkeypatch.setattr(sys, "stderr", Closed(error))
    at_decision(monkeypatch, 20, lambda: signal.raise_signal(signal.SIGTERM))
    outcome = train(tiny(tmp_path))
    assert (outcome.timesteps, outcome.signal, outcome.exit_code) == (UPDATE, signal.SIGTERM, 143)


def test_what_a_stream_cannot_write_is_written_in_its_letters():
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert Unfailing(narrow).write("\u2660 wins") == 11
    narrow.flush()
    assert narrow.buffer.getvalue() == b"\\u2660 wins"
    Unfailing(None).write("nobody")
    assert not Unfailing(None).isatty()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_after_the_update_a_second_one_at_once(tmp_path, monkeypatch, number, code):
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_decision(patch, 20, lambda: signal.raise_signal(number))
        outcome = train(tiny(tmp_path / "one"), say=quiet)
    assert (outcome.was_interrupted, outcome.exit_code, outcome.timesteps) == (True, code, UPDATE)
    assert told(outcome.run)["status"] == folder.status(outcome.run) == "interrupted"
    with monkeypatch.context() as patch:
        at_decision(patch, 90, lambda: (signal.raise_signal(number), signal.raise_signal(number)))
        with pytest.raises(keeper.Stopped) as stopped:
            train(tiny(tmp_path / "two"), say=quiet)
    assert 128 + stopped.value.number == code
    assert signal.getsignal(number) == before
    (run,) = (tmp_path / "two").iterdir()
    assert (told(run)["status"], names(run / "checkpoints")) == ("interrupted", ["step_64"])


def test_a_handler_says_and_does_nothing(tmp_path):
    """It comes between any two lines, in the middle of another line's printing for one."""
    said = []
    keeper = training.SelfPlayKeeper(tiny(tmp_path), tmp_path, said.append)
    keeper._interrupt(signal.SIGTERM, None)
    assert (keeper.signal, said, list(tmp_path.iterdir())) == (signal.SIGTERM, [], [])


def test_nohup_is_respected(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            at_decision(patch, 20, lambda: signal.raise_signal(signal.SIGHUP))
            assert not train(tiny(tmp_path, total_timesteps=UPDATE), say=quiet).was_interrupted
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# ---------------------------------------------------------------- 36: one process at a time

HOLD = """
import sys, time
from pathlib import Path
from agents.run import lock
with lock.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(run):
    """Another process that trains the run."""
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_readers_are_not(run, other):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(RuntimeError, match=f"run: process {other.pid} is training this run") as error:
        resume(run, longer(640), quiet)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert folder.status(run) == "running"
    agents.load(run)

    other.kill()
    other.wait()
    assert (run / lock.NAME).exists()  # a dead process's lock is none
    assert folder.status(run) == "finished"
    assert resume(run, longer(4 * UPDATE), quiet).timesteps == 4 * UPDATE
    assert not (run / lock.NAME).exists()


def test_the_lock_is_held_from_beginning_to_end(tmp_path, monkeypatch):
    """Also within one process: two models, one folder."""
    seen = []

    def look():
        (run,) = tmp_path.iterdir()
        seen.extend([lock.holder(run), folder.status(run)])
        with pytest.raises(RuntimeError, match=str(os.getpid())):
            resume(run, say=quiet)

    at_decision(monkeypatch, 20, look)
    run = train(tiny(tmp_path, total_timesteps=UPDATE), say=quiet).run
    assert seen == [os.getpid(), "running"]
    assert lock.holder(run) is None


# ---------------------------------------------------------------- 40: what a run says of itself


OTHERS = {
    "game": ("game", "leduc_poker", "kuhn_poker"),
    "seed": ("seed", 4, 3),
    "matches": ("matches", 16, 8),
    "policy": ("policy.cell", "gru", "gated"),
    "algo": ("algo.n_steps", 16, 8),
    "opponents": ("opponents.share", 0.5, 0.0),
    "options": ("options.rows", 5, None),
}


@pytest.mark.parametrize("field", OTHERS)
def test_a_configuration_that_was_edited_by_hand_is_refused(run, field):
    key, says, was = OTHERS[field]
    config = tiny(run.parent)
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
    assert told(run)["status"] == "finished"


@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "recurrent_ppo", "ppo"])
def test_in_worlds_too(tmp_path, algo):
    config = world(tmp_path, algo, total_timesteps=32)
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
            train(tiny(tmp_path), say=quiet)
    (run,) = tmp_path.iterdir()
    assert (told(run)["status"], told(run)["reason"]) == ("failed", "OSError: no space left")
    (run / "run.json").write_text(json.dumps(told(run) | {"status": "running"}), encoding="utf-8")
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


@pytest.mark.parametrize("where", ["evaluate", "judge_anchors"])
def test_killed_around_its_last_evaluation_a_run_makes_it_and_ends(finished, tmp_path, monkeypatch, where):
    """Nothing is left to train, the last evaluation is; its line stands in the record once."""

    def die(*_, **__):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(training.SelfPlayKeeper, where, die)
        with pytest.raises(SystemExit):
            train(tiny(tmp_path), say=quiet)
    (run,) = tmp_path.iterdir()
    said = []
    outcome = resume(run, say=said.append)
    assert said[:2] == ["resumed at 192 of 192 decisions", "only the last evaluation is left"]
    assert (outcome.timesteps, outcome.was_interrupted, set(outcome.results)) == (
        192,
        False,
        {"random", "bot"},
    )
    assert told(run)["status"] == "finished"
    judged = [line for line in lines(run) if "eval/vs/random/mean" in line]
    assert [line["step"] for line in judged] == [192]
    assert judged[0]["eval/vs/random/mean"] == next(
        line["eval/vs/random/mean"] for line in lines(finished) if "eval/vs/random/mean" in line
    )
    assert read(run)["policy.safetensors"] == read(finished)["policy.safetensors"]
    with pytest.raises(ValueError, match=r"is finished \(192 of 192 decisions\)"):
        resume(run, say=quiet)


def test_a_record_that_was_damaged_loses_the_damaged_lines_only(run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'\x00\x00\xff\n[1]\n{"step": "x"}\n{"step": 5')
    resume(run, longer(4 * UPDATE), quiet)
    assert [line["step"] for line in lines(run)] == sorted(line["step"] for line in lines(run))
