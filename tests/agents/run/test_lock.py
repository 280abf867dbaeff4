"""One process at a time trains a run; who only reads it does not wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from game_runs import UPDATE, longer, quick
from reading import at_decision, quiet

import agents
from agents.run import folder, lock
from agents.run.selfplay import resume, train

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
    run = train(quick(tmp_path, total_timesteps=UPDATE), say=quiet).run
    assert seen == [os.getpid(), "running"]
    assert lock.holder(run) is None
