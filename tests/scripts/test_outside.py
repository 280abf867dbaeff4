"""A game, a cell and a player of one's own, in one file outside the package, at every script."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OWN = '''
import torch
from agents.net.cells import Cell
from agents.play.players import ScriptedPlayer


class Leaky(Cell):
    """h' = (h + tanh(W x + U h + b)) / 2"""

    def step(self, z, state):
        (h,) = state
        return ((h + torch.tanh(z + h @ self.U.t())) / 2,)


class Greedy(ScriptedPlayer):
    """Takes as much as it may."""

    def choose(self, observation, legal, seat, rows):
        return legal.shape[1] - 1 - legal.flip(-1).int().argmax(-1)
'''

SIZES = (
    *("-n", 128, "--matches", 8, "--algo.n-steps", 8, "--algo.batch-size", 64, "--no-progress"),
    *("--eval.matches-per-seat", 4, "--eval.final-matches-per-seat", 4),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tutorial's nim.py, beside it a cell and a player."""
    folder = tmp_path_factory.mktemp("own")
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (game,) = re.findall(r"^```python\n(# nim\.py\n(?:.*\n)*?)```$", text, re.MULTILINE)
    (folder / "nim.py").write_text(game, encoding="utf-8")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    return folder


def typed(folder, name, *arguments):
    """A script called in the folder, in a process of its own; what it printed, and its code."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        encoding="utf-8",
        capture_output=True,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def run(folder):
    """A finished run of the game with the cell, against the player and past selves."""
    names = ("--game", "nim:Nim", "--options.most", 3, "--policy.cell", "own:Leaky")
    opponents = ("--opponents.share", 0.5, "--opponents.players", "own:Greedy", "--opponents.pool-size", 1)
    code, out, err = typed(
        folder,
        "selfplay",
        "kuhn_poker_gated",
        *names,
        *opponents,
        "--eval.players",
        "random",
        "own:Greedy",
        *SIZES,
    )
    assert code == 0, err
    (run,) = (folder / "runs").iterdir()
    return run, out


def test_trained_by_its_name_alone(run):
    """The folder has a plain name, the table the player, and the next commands name what they need."""
    path, out = run
    assert path.name.startswith("nim_Nim__own_Leaky__s0__")
    assert re.search(r"own:Greedy\s+│? *\s*8 ", out)
    words = [shlex.split(line) for line in out.partition("\nnext\n")[2].splitlines()]
    assert words[1][3:] == ["random", "own:Greedy", "--uses", "nim:Nim", "own:Leaky", "own:Greedy"]


def test_the_next_commands_work_as_they_are_printed(run, folder):
    watch, tournament, _ = (shlex.split(line) for line in run[1].partition("\nnext\n")[2].splitlines())
    assert typed(folder, "watch", *watch[2:])[0] == 0
    code, out, err = typed(folder, "tournament", *tournament[2:], "--matches-per-seat", 4)
    assert code == 0, err
    assert "own:Greedy" in out


def test_its_matches_are_recorded_and_prove_themselves(folder):
    sizes = ("--game", "nim:Nim", "--matches", 20, "--out", "records")
    code, _, err = typed(folder, "record", "own:Greedy", "random", *sizes)
    assert code == 0, err
    code, out, err = typed(folder, "records", "check", "records", "--uses", "nim:Nim")
    assert code == 0, err
    assert "records: 20 matches of Nim" in out
    replay = ("--replay", "records/matches.jsonl:20", "--render", "ansi", "--uses", "nim:Nim")
    code, out, err = typed(folder, "watch", *replay)
    assert code == 0, err
    assert re.search(r"returns: seat 0 [+-]1, seat 1 [+-]1", out)


def test_it_goes_on(run, folder):
    code, out, err = typed(folder, "selfplay", "--resume", run[0], "-n", 256, "--no-progress")
    assert code == 0, err
    assert "resumed at 128 of 256 decisions" in out


def test_its_file_alone_imports_nothing(run, folder):
    """Whoever opens it says so; the error tells how."""
    code, out, err = typed(folder, "watch", run[0])
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "unknown game 'nim:Nim'" in err
    assert "--uses nim:Nim" in err
    code, _, err = typed(folder, "watch", run[0], "--uses", "nim:Nim")
    assert code == 2
    assert "--uses own:Leaky" in err


def test_what_is_neither_is_refused(folder):
    code, _, err = typed(folder, "play", "random", "--uses", "pathlib:Path")
    assert code == 2
    assert "pathlib:Path: expected a class of a game, a cell or a player" in err
    code, _, err = typed(folder, "tournament", "random", "own:Nobody", "--game", "nim:Nim")
    assert code == 2
    assert "player 'own:Nobody': expected module:Name" in err


def test_the_id_of_a_world_may_be_used_too(folder):
    """Naming it imports its module, which registers it."""
    entry = "gymnasium.envs.classic_control:CartPoleEnv"
    text = f"import gymnasium\ngymnasium.register('Own-v0', entry_point='{entry}')"
    (folder / "own_world.py").write_text(text, encoding="utf-8")
    sizes = ("--game", "kuhn_poker", "--matches-per-seat", 2)
    code, _, err = typed(folder, "tournament", "random", "bot", *sizes, "--uses", "own_world:Own-v0")
    assert (code, err) == (0, "")
