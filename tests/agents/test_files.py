"""Files one can trust: complete, atomic, and nothing in them is ever executed."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from reading import names
from saved import TICTACTOE, damage, files_of, plays, step

import envs
from agents import MaskableRecurrentPPO, load
from agents.files import (
    FILES,
    MANIFEST,
    CheckpointError,
    find,
    packed,
    point,
    prune,
    read,
    recover,
    save_folder,
    save_zip,
)
from agents.play.agent_file import load_player
from agents.play.players import Agent

# ---------------------------------------------------------------- what stands in a file


def test_parts_come_back(tmp_path):
    """NumPy's and torch's numbers as Python's own; of tensors every bit."""
    weights = {"b": torch.tensor([0.1, -0.0, 3e38]), "a": torch.tensor([[True], [False]])}
    agent = {"timesteps": np.int64(7), "share": torch.tensor(0.5), "name": "one", "none": None}
    files = packed({"agent.json": agent, "policy.safetensors": weights})
    save_folder(files, tmp_path / "a")
    stored = read(tmp_path / "a")
    assert (stored, stored.path) == (files, tmp_path / "a")
    assert stored.json("agent.json") == {"timesteps": 7, "share": 0.5, "name": "one", "none": None}
    again = stored.tensors("policy.safetensors")
    assert {name: x.numpy().tobytes() for name, x in again.items()} == {
        name: x.numpy().tobytes() for name, x in weights.items()
    }
    for reader in (stored.json, stored.tensors):
        with pytest.raises(CheckpointError, match="a: lacks training"):
            reader("training.json")
    with pytest.raises(TypeError, match="a file cannot hold <object"):
        packed({"agent.json": {"thing": object()}})


def test_what_reads_a_run_says_which_checkpoint_it_found(files, tmp_path):
    save_folder(files, step(tmp_path, 5))
    point(tmp_path, "latest", step(tmp_path, 5))
    for path in (tmp_path, str(tmp_path), step(tmp_path, 5)):
        place, stored = find(path)
        assert (place, stored) == (step(tmp_path, 5), files)
    save_zip(files, tmp_path / "a")
    assert find(tmp_path / "a") == (tmp_path / "a.zip", files)


# ---------------------------------------------------------------- names and places


@pytest.mark.parametrize(
    ("saved", "there"),
    [
        ("lr0.001_32_steps", "lr0.001_32_steps.zip"),
        ("v1.7.zip", "v1.7.zip"),
        ("v1.7", "v1.7.zip"),
        ("best.model", "best.model.zip"),
        ("agent.zip.old", "agent.zip.old.zip"),
        ("plain", "plain.zip"),
    ],
)
def test_endings_are_appended_never_replaced(make_model, tmp_path, saved, there):
    """Beside it lie files that a replaced ending would name, and a folder of the very name."""
    other = make_model("leduc_poker")
    for name in ("lr0.zip", "v1.zip", "best.zip", "agent.zip"):
        other.save(tmp_path / name)
    before = {path.name for path in tmp_path.iterdir()}
    make_model().save(tmp_path / saved)
    assert {path.name for path in tmp_path.iterdir()} - before == {there}
    for name in {saved, there, there.removesuffix(".zip")}:
        if not (tmp_path / name).exists():
            (tmp_path / name).mkdir()  # somebody's folder, no agent
        for path in (tmp_path / name, str(tmp_path / name)):
            assert MaskableRecurrentPPO.load(path, device="cpu").game == envs.make("kuhn_poker")
            agent = load(path)
            assert agent.game == envs.make("kuhn_poker")
            assert agent.name == there.removesuffix(".zip")
            assert load_player(path, None).game == agent.game
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "lr0.002_32_steps")


def test_an_open_file_does_as_well(model, tmp_path):
    memory = io.BytesIO()
    model.save(memory)
    with (tmp_path / "agent").open("wb") as file:
        model.save(file)
    assert (tmp_path / "agent").read_bytes() == memory.getvalue()
    for source in (memory, io.BytesIO(memory.getvalue()), tmp_path / "agent"):
        assert MaskableRecurrentPPO.load(source, device="cpu").num_timesteps == model.num_timesteps
        assert torch.equal(plays(load(source, seed=3)), plays(Agent(model.ema, TICTACTOE, seed=3)))
    with pytest.raises(CheckpointError, match="is not a fogbound agent"):
        load(io.BytesIO(b"nothing"))
    with pytest.raises(TypeError, match="expected a path or a file that is open for writing bytes"):
        model.save(io.StringIO())
    with pytest.raises(TypeError, match="expected a path or a file that is open for reading bytes"):
        load(3)


def test_saving_makes_the_folders_it_needs_and_leaves_no_others(model, tmp_path):
    model.save(tmp_path / "a" / "b" / "agent.zip")
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [
        "a",
        "a/b",
        "a/b/agent.zip",
    ]


def test_the_zip_is_an_ordinary_one(model, tmp_path):
    """Anyone can look inside; every entry is JSON or safetensors."""
    model.save(tmp_path / "agent.zip")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "agent.zip").read_bytes())) as archive:
        assert archive.testzip() is None
        expected = set(FILES) - {
            "normalizer.safetensors",
            "fit.safetensors",
        }  # of worlds, of models of records
        assert set(archive.namelist()) == {*expected, MANIFEST}


def test_saving_the_same_again_writes_nothing(tmp_path, files, monkeypatch):
    assert save_folder(files, tmp_path / "step_1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", None)
        assert not save_folder(files, tmp_path / "step_1")
    damage(tmp_path / "step_1")
    assert save_folder(files, tmp_path / "step_1")
    assert read(tmp_path / "step_1") == files


# ---------------------------------------------------------------- damaged and foreign files


# ---------------------------------------------------------------- interrupted saves


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_an_interrupted_save_leaves_the_old_checkpoint_and_nothing_else(
    make_model, tmp_path, monkeypatch, form
):
    """The disk fails at the n-th time it is asked to make a file durable, for every n there is."""
    old, new = make_model(seed=1), make_model(seed=2).learn(64)
    path = tmp_path / ("agent.zip" if form == "zip" else "agent")

    def save(model):
        model.save(path) if form == "zip" else save_folder(files_of(model), path)

    real, calls = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(real(descriptor)))
    save(old)
    total = len(calls)
    before = read(path)
    for n in range(1, total + 1):
        left = iter(range(n - 1))

        def fail_at_n(descriptor, left=left):
            if next(left, None) is None:
                raise OSError("no space left")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fail_at_n)
        with pytest.raises(OSError, match="no space left"):
            save(new)
        assert os.listdir(tmp_path) == [path.name]
        if n < total:  # the last one is the folder's, when the new checkpoint has taken its place
            assert read(path) == before
        load(path)
    monkeypatch.setattr(os, "fsync", real)
    save(new)
    assert read(path) == files_of(new)


class Killed(BaseException):
    """The process is no more."""


@contextlib.contextmanager
def killed_at(monkeypatch, n):
    """From the n-th file operation on nothing is done any more; yields the operations that were begun."""
    begun = []

    def dying(real, cut=False):
        def act(*arguments, **keywords):
            begun.append(real)
            if len(begun) == n and cut:  # a write of which half arrives
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if len(begun) >= n:
                raise Killed
            return real(*arguments, **keywords)

        return act

    class File(io.FileIO):
        write = dying(io.FileIO.write, cut=True)

    real_open = Path.open
    with monkeypatch.context() as patch:
        for module, name in ((os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (os, "mkdir")):
            patch.setattr(module, name, dying(getattr(module, name)))
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(
            Path,
            "open",
            lambda self, mode="r", *a, **k: (
                File(self, "w") if mode == "wb" else real_open(self, mode, *a, **k)
            ),
        )
        yield begun


def survivors(run):
    """What reading finds, before and after clearing up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = read(run)
        recover(run)
        assert read(run) == before
    assert list(run.rglob(".*")) == []
    return before


@pytest.mark.parametrize("case", ["next", "only", "same step", "damaged step"])
def test_killed_at_any_file_operation_a_whole_checkpoint_is_found_again(
    make_model, tmp_path, monkeypatch, case
):
    """`next` is a later step, which prunes 64 and leaves 60, the first above 10 ** (7/4) = 56; else the first
    there is, or the same step with other bits."""
    model = make_model()
    old, new = files_of(model.learn(64)), files_of(model.learn(64, reset_num_timesteps=False))

    def begin(run):
        if case == "only":
            (run / "checkpoints").mkdir(parents=True)
            return
        if case == "next":
            save_folder(old, step(run, 60))
        save_folder(old, step(run, 64))
        point(run, "latest", step(run, 64))
        point(run, "best", step(run, 64))
        if case == "damaged step":
            save_folder(old, step(run, 32))
            damage(step(run, 64))

    def save(run):
        path = step(run, 80 if case == "next" else 64)
        save_folder(new, path)
        point(run, "latest", path)
        point(run, "best", path)
        prune(run, path, 1)

    ended, n, seen = False, 0, []
    while not ended:
        n += 1
        begin(run := tmp_path / f"run{n}")
        with killed_at(monkeypatch, n) as begun:
            try:
                save(run)
                ended = True
            except Killed:
                pass
        if case == "only" and not list(run.glob("checkpoints/*/manifest.json")):
            recover(run)
            continue  # nothing had been saved yet
        try:
            found = survivors(run)
        except CheckpointError:
            assert case == "only", (n, names(run / "checkpoints"))
            continue
        assert found in (old, new)
        seen.append(found == new)
        save(run)  # the run that goes on ends as one that was never killed
        assert read(run) == new
        assert names(run / "checkpoints")[-1:] == [step(run, 80 if case == "next" else 64).name]
        shutil.rmtree(run)
    assert n == len(begun) + 1 > 15
    assert seen == sorted(seen)  # once the new one is found, it always is
    assert seen[-1]


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize(
    ("present", "best", "keep", "stay"),
    [
        (3, 3, 1, [3]),
        (3, 5, 1, [3, 5]),  # the best one stays even of a future that was given up
        (3, 1, 2, [1, 2, 3]),
        (3, 3, 2, [2, 3]),  # 4 and 5 go before 2
        (3, 3, 3, [1, 2, 3]),
        (5, 5, 2, [4, 5]),
        (1, 1, 9, [1, 2, 3, 4, 5]),
    ],
)
def test_a_future_that_was_given_up_goes_first_then_the_oldest(tmp_path, present, best, keep, stay):
    """Of 101 .. 105, here by their last figure; 100 is the first of all up to 10 ** (9/4) = 177: it stays."""
    for n in range(6):
        step(tmp_path, 100 + n).mkdir(parents=True)
    point(tmp_path, "latest", step(tmp_path, 100 + present))
    point(tmp_path, "best", step(tmp_path, 100 + best))
    prune(tmp_path, step(tmp_path, 100 + present), keep)
    assert names(tmp_path / "checkpoints") == [f"step_{100 + n}" for n in (0, *stay)]


def test_checkpoints_of_the_whole_run_stay(tmp_path):
    """Of one every 250,000 decisions up to 10 million, keeping the latest 3: from 1 to 10 million the first
    above 1, 1.78, 3.16 and 5.62 million, and before that those above 178, 316 and 562 thousand."""
    for thousands in range(250, 10_001, 250):
        step(tmp_path, 1_000 * thousands).mkdir(parents=True)
        prune(tmp_path, step(tmp_path, 1_000 * thousands), 3)
    kept = sorted(int(name.removeprefix("step_")) // 1_000 for name in names(tmp_path / "checkpoints"))
    assert kept == [250, 500, 750, 1_000, 2_000, 3_250, 5_750, 9_500, 9_750, 10_000]
