"""The CPU kernels' threads, where a process is forked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORKED = """
import os, numpy as np, torch, envs
torch.set_num_threads(2)

def play(batch):
    for _ in range(9):
        batch.step(torch.from_numpy(batch.legal.numpy().argmax(-1)))
    return int(batch._episode.numpy().sum()), float(batch.reward.numpy()[:, 0].sum())

matches = {matches}
def new():
    return envs.Batch(envs.make("kuhn_poker"), matches, seed=3)

before, expected = new(), play(new())
for depth in range(3):  # each child forks the next
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    assert play(new()) == expected
    assert play(before) == expected
    before.reset()
    print("a child at depth", depth, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.parametrize("matches", [2048, 40_000])
def test_a_forked_process_steps_matches_with_threads_of_its_own(matches):
    """40,000 matches are so many that torch would set its own threads to work, too, and wait for them."""
    told = subprocess.run(
        [sys.executable, "-c", FORKED.format(matches=matches)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.split("\n")[:3] == [f"a child at depth {depth}" for depth in range(3)]
