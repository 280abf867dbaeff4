"""What every process does in the tests of runs in several: started by torchrun, it plays one of stories.

torchrun --nproc-per-node=2 ranks.py STORY FOLDER
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from reading import at_decision, quiet

from agents.learn.group import joined
from agents.learn.settings import Settings
from agents.net.settings import Network
from agents.play import arena
from agents.run import cli
from agents.run.config import Config, EvalConfig, OpponentsConfig
from agents.run.selfplay import resume, train

UPDATE = 128
"""Decisions of one update: 16 matches, 8 steps."""

PLAYED = ("kuhn_poker", "phantom_tictactoe")
CELLS = ("gated", "lstm")


def of(folder, game="kuhn_poker", cell="gated", opposed=False, updates=20, every=10, **changes):
    """A small run in four shards; judged and saved after every ten updates, or so many."""
    config = Config(
        game=game,
        seed=3,
        device="cpu",
        matches=16,
        shards=4,
        total_timesteps=updates * UPDATE,
        run_dir=str(folder),
        checkpoint_every=every * UPDATE,
        progress=False,
        policy=Network(
            cell=cell, lstm_hidden_size=8, features_dim=8, shared_lstm=True, enable_critic_lstm=False
        ),
        algo=Settings(n_steps=8, batch_size=64, n_epochs=2, learning_rate=1e-2, ent_coef=0.05, ema_decay=0.9),
        eval=EvalConfig(
            every=every * UPDATE,
            matches_per_seat=9,  # 18 matches: 5, 5, 5 and 3
            final_matches_per_seat=2,
            rating_matches_per_seat=3,
            memory_every=every * UPDATE,
            players=["random"],
            exploitability="never",
        ),
    )
    if opposed:
        opponents = OpponentsConfig(share=0.5, players=["random", "bot"], pool_size=2, snapshot_every=3)
        config = dataclasses.replace(config, opponents=opponents)
    return dataclasses.replace(config, **changes)


def games(folder):
    """The runs that are compared, by name."""
    return {
        f"{game}-{cell}-{opposed}": of(folder / f"{game}-{cell}-{opposed}", game, cell, opposed)
        for game in PLAYED
        for cell in CELLS
        for opposed in (False, True)
    }


act_at = functools.partial(at_decision, pytest.MonkeyPatch())
"""`at_decision`, for as long as the process lives."""


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def talk(folder, group):  # noqa: ARG001
    """Whatever one rank says, the others hear: three shards on two ranks, words of different lengths."""
    assert group.world == 2
    mine = torch.tensor([[k, 10.0 * k] for k in group.owned(3)], dtype=torch.float64)
    assert group.rows(mine, 3).tolist() == [[0.0, 0.0], [1.0, 10.0], [2.0, 20.0]]
    assert group.total(torch.tensor([1.0, group.rank])).tolist() == [2.0, 1.0]
    assert group.tell({"said": [1, None]} if group.rank == 0 else None) == {"said": [1, None]}
    assert group.send(b"" if group.rank == 0 else b"unheard") == b""
    told = group.collect(b"x" * (3 + group.rank))
    assert told == ([b"xxx", b"xxxx"] if group.rank == 0 else [])
    assert group.first(None) is None
    assert group.first(15 if group.rank == 1 else None) == (1, 15)
    with contextlib.suppress(ValueError):
        group.owned(1)
        raise AssertionError("one shard was shared by two")


SHORT = {"cell": "lstm", "opposed": True, "updates": 5, "every": 2}
"""Its second evaluation meets the first's checkpoint."""

SOLITARY = {"game": "minesweeper", "updates": 1, "every": 1}
"""A run of a game for one seat."""


def short(folder, group):
    """One run to its end, its gradients added in order and not; one that is played alone; and one that rank
    1 is told to stop in."""
    talk(folder, group)
    changes = SHORT
    train(of(folder / "alone", **SOLITARY), say=quiet, group=group)
    train(of(folder / "exact", **changes), say=quiet, group=group)
    train(of(folder / "fast", **changes, reduce="fast"), say=quiet, group=group)
    if group.rank == 1:
        act_at(2 * UPDATE + 20, terminate)
    lines = []
    outcome = train(of(folder / "stopped", **changes), say=lines.append, group=group)
    assert outcome.was_interrupted
    assert outcome.timesteps == 3 * UPDATE
    assert group.rank == 1 or "stopping after this update: rank 1 got SIGTERM" in lines


def equal(folder, group):
    """All the games, from beginning to end."""
    for config in games(folder).values():
        train(config, say=quiet, group=group)


def broken_off(folder, group):
    """A run that rank 1 is told to stop in."""
    if group.rank == 1:
        act_at(7 * UPDATE + 20, terminate)
    outcome = train(of(folder, cell="lstm", opposed=True), say=quiet, group=group)
    assert outcome.was_interrupted
    assert outcome.timesteps == 8 * UPDATE


def gone_on(folder, group):
    """The run in the folder, to its end."""
    (run,) = folder.iterdir()
    assert resume(run, say=quiet, group=group).timesteps == 20 * UPDATE


def stopped(folder, group):
    """Twenty runs; now one rank, now the other is told to stop, at whatever moment it is."""
    for k in range(20):
        timer = threading.Timer(0.05 + 0.03 * k, terminate)
        if group.rank == k % 2:
            act_at(UPDATE * (k + 1), timer.start)
        train(of(folder / str(k), updates=10_000), say=quiet, group=group)
        group.wait()


def killed(folder, group):
    """Rank 1 is killed in the middle, once."""
    if group.rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        act_at(14 * UPDATE, lambda: os.kill(os.getpid(), signal.SIGKILL))
    train(of(folder, opposed=True), say=quiet, group=group)


def raised(folder, group):
    """Rank 1 fails in the middle."""

    def fail():
        raise ValueError("a map cannot be made")

    if group.rank == 1:
        act_at(7 * UPDATE, fail)
    train(of(folder), say=quiet, group=group)


def raised_while_judged(folder, group):
    """Rank 1 fails at its part of the matches that judge the agent; rank 0 plays a minute at its own."""

    def fail(*_):
        if group.rank == 1:
            raise ValueError("a map cannot be made")
        for _ in range(600):
            time.sleep(0.1)

    arena.play_lanes = fail
    train(of(folder), say=quiet, group=group)


def halfway(folder, group):  # noqa: ARG001
    """The run in the folder, begun by two, in one process, which is told to stop."""
    act_at(14 * UPDATE + 20, terminate)
    (run,) = folder.iterdir()
    outcome = resume(run, say=quiet)
    assert outcome.was_interrupted
    assert outcome.timesteps == 15 * UPDATE


STORIES = (talk, short, equal, broken_off, halfway, gone_on, stopped, killed, raised, raised_while_judged)


def started(story, folder, *flags, processes=2):
    """Starts it, waits for its end, and returns how it ended, what was written and how long it took."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", *flags]
    words = [*torchrun, f"--nproc-per-node={processes}", __file__, story.__name__, str(folder)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    began = time.perf_counter()
    told = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=told, capture_output=True, encoding="utf-8", timeout=900, check=False)
    return done.returncode, done.stdout + done.stderr, time.perf_counter() - began


def main():
    warnings.simplefilter("error")
    arena.ENOUGH = 1  # a few matches are worth a part
    story = next(story for story in STORIES if story.__name__ == sys.argv[1])
    with joined() as group:
        story(Path(sys.argv[2]), group)


if __name__ == "__main__":
    cli.run(main)
