"""What `import envs` needs: neither torch nor a folder that can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import envs

ROOT = Path(__file__).parents[2]

WITHOUT_TORCH = """
import sys
for name in ("torch", "stable_baselines3", "sb3_contrib"):
    sys.modules[name] = None  # importing it raises

import envs
match = envs.Match(envs.make("{game}"), seed=1)
while not match.over:
    match.play(match.legal()[-1])
    match.observation(0), match.text(), match.svg(0)
print(match.returns)
assert "Batch" in envs.__all__
try:
    envs.Batch
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("game", ["kuhn_poker", "phantom_tictactoe", "minesweeper"])
def test_the_rules_on_one_match_need_no_torch(game):
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(game=game)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert told.returncode == 0, told.stderr
    returns, missing = told.stdout.splitlines()
    assert returns.startswith("[")
    assert "torch" in missing


def test_names_that_are_none_are_refused_as_ever():
    assert envs.Batch is sys.modules["envs.batch"].Batch
    with pytest.raises(AttributeError, match="module 'envs' has no attribute 'Bacth'"):
        envs.Bacth  # noqa: B018
    with pytest.raises(ImportError, match="Matches"):
        from envs import Matches  # noqa: F401


PLAY = """
import envs, torch
from agents.play.players import fixed_player
game = envs.make("kuhn_poker")
match, batch = envs.Match(game, seed=1), envs.Batch(game, 4)
for name in ("random", "bot"):
    player = fixed_player(name, game)
    player.reset(4)
    batch.step(player.act(batch.observation, batch.legal, batch.seat))
while not match.over:
    match.play(match.legal()[0])
print("played")
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can make itself somebody who may write nothing",
)
def test_somebody_without_a_home_plays_from_files_that_cannot_be_written(tmp_path):
    """A copy of the packages owned by root, read by user 65534 whose home does not exist."""
    for name in ("envs", "agents"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "XDG", "PYTHON"))}
    told = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", PLAY],
        cwd=tmp_path,
        env=kept | {"HOME": "/nonexistent", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if "Permission denied" in told.stderr and "played" not in told.stdout:
        pytest.skip("the interpreter itself is closed to others")
    assert told.stdout == "played\n", told.stderr
    assert told.stderr.count("RuntimeWarning: no folder for compiled games") == 1
