"""Training in several processes beside one, with one thread and with two; torchrun starts those of each side.

They make one update, wait for one another, and are timed over the next ones by the wall clock. The sides take
turns on one machine, which must do nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agents.learn.group import joined
from agents.run.config import SELF_PLAY, SELF_PLAY_NETWORK, Config
from agents.run.selfplay import make_model
from benchmarks.options import Scale
from benchmarks.telling import Aim, Clock, Report, Row, Table, bar_of, interleave

BAR = 1.5
"""Times as fast as one process with one thread, two are to be."""


class Side(NamedTuple):
    """How a training is started."""

    processes: int
    threads: int
    shards: int

    def name(self) -> str:
        """As in "2 processes x 1 thread, 4 shards"."""
        parts = (self.processes, "process", "es"), (self.threads, "thread", "s"), (self.shards, "shard", "s")
        one, two, three = (f"{n} {word}{more * (n > 1)}" for n, word, more in parts)
        return f"{one} x {two}, {three}"


OURS, UNCUT, THREADED = Side(2, 1, 4), Side(1, 1, 1), Side(1, 2, 1)
SIDES = (OURS, UNCUT, THREADED, Side(1, 1, 4))


def measure(options: Scale) -> list[Report]:
    """Decisions a second of all sides, by turns."""
    sides: dict[str, Callable[[], float]] = {
        side.name(): functools.partial(_speed, side, options) for side in SIDES
    }
    with bar_of(options, options.repeats) as bar:
        samples = interleave(sides, options.repeats, bar, random.Random(options.seed))
    row = Row({"what": "training", "matches": options.matches, "hidden": options.hidden}, samples)
    lines = [[name, row.speed(name).text("/s"), row.ratio(name, UNCUT.name()).text("x")] for name in samples]
    beside = [row.ratio(OURS.name(), side.name()) for side in (UNCUT, THREADED)]
    return [
        Report(
            "Training in several processes",
            Clock(2),
            opening=[
                f"Phantom tic-tac-toe by self-play, {options.matches:,} matches, {options.steps} steps, "
                f"gated with {options.hidden} units; {options.updates} updates after one that warms up."
            ],
            tables=[Table(("how", "decisions a second", "beside one with one thread"), lines)],
            rows=[row],
            aims=[
                Aim("two processes beside one with one thread", beside[0], BAR),
                Aim("two processes beside one with two threads", beside[1], None, 1.0),
            ],
        )
    ]


def _speed(side: Side, options: Scale) -> float:
    """Decisions a second of one side.

    Raises:
        ValueError: it failed.
    """
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "scripts"), os.environ.get("PYTHONPATH", "")])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    sizes = (side.shards, options.matches, options.steps, options.hidden, options.updates, options.seed)
    done = subprocess.run(
        [*torchrun, f"--nproc-per-node={side.processes}", __file__, *map(str, sizes)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(side.threads)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(f"{side.name()} failed: {(done.stdout + done.stderr).strip()[-300:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def child(shards: int, matches: int, steps: int, hidden: int, updates: int, seed: int) -> None:
    """Train, and let rank 0 print decisions a second."""
    with joined() as group, tempfile.TemporaryDirectory() as folder:
        config = Config(
            seed=seed,
            device="cpu",
            matches=matches,
            shards=shards,
            run_dir=folder,
            policy=dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=hidden),
            algo=dataclasses.replace(SELF_PLAY, n_steps=steps, batch_size=steps * max(matches // 8, shards)),
        )
        model = make_model(config, group)
        model.learn(matches * steps, log_interval=None)
        group.wait()
        began = time.perf_counter()
        model.learn(updates * matches * steps, log_interval=None, reset_num_timesteps=False)
        group.wait()
        if group.rank == 0:
            print(json.dumps(updates * matches * steps / (time.perf_counter() - began)), flush=True)


if __name__ == "__main__":
    child(*map(int, sys.argv[1:]))
