"""What is compiled anew after a change: exactly what its code stands in."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from envs.compiled import bound, compiled
from envs.sources import digest

ROOT = Path(__file__).parents[2]

NAMES = """
import envs
from envs import kernels
verbs = ("deal", "legal", "play", "observe", "chance")
for name, game in envs.GAMES.items():
    made = [getattr(game, verb).__qualname__ for verb in verbs]
    bound = kernels.cpu_kernels(game)
    print(name, *made, *(kernel.__qualname__ for kernel in bound))
"""


def names(folder):
    """By game, the names that its verbs and kernels are kept under, as the package in `folder` has them."""
    told = subprocess.run(
        [sys.executable, "-c", NAMES], cwd=folder, capture_output=True, encoding="utf-8", check=True
    )
    return {line.split()[0]: line.split()[1:] for line in told.stdout.splitlines()}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package, and the names there before a change."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "envs", folder / "envs", ignore=shutil.ignore_patterns("__pycache__"))
    return folder, names(folder)


@pytest.mark.parametrize(
    ("path", "games"),
    [
        ("rules/phantom.py", {"phantom_tictactoe", "dark_hex"}),
        ("rules/grids.py", {"generals"}),
        ("rules/fleet.py", {"battleship"}),
        ("games/battleship_duel.py", {"battleship"}),
        ("games/kuhn_poker.py", {"kuhn_poker"}),
        ("drawing.py", set()),
        ("match.py", set()),
    ],
)
def test_a_change_renames_what_is_made_of_it_and_nothing_else(copy, path, games):
    folder, before = copy
    file = folder / "envs" / path
    whole = file.read_bytes()
    file.write_bytes(whole + b"\n# changed\n")
    try:
        after = names(folder)
    finally:
        file.write_bytes(whole)
    assert {name for name in before if after[name] != before[name]} == games
    for name in games:  # its kernels among them
        assert not set(after[name][-3:]) & set(before[name][-3:])


def test_a_change_of_the_contract_renames_everything(copy):
    folder, before = copy
    file = folder / "envs" / "core.py"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\n# changed\n")
    after = names(folder)
    file.write_bytes(whole)
    assert not {one for made in before.values() for one in made} & {
        one for made in after.values() for one in made
    }


# ---------------------------------------------------------------- which files are looked into

FILES = {
    "pond/__init__.py": "from .deep import fish as carp\n",
    "pond/deep.py": "from pond.numbers import MANY\n\ndef fish(n):\n    return n * MANY\n",
    "pond/numbers.py": "MANY = 3\nFEW = 1\n",
    "pond/table.py": "import pond.numbers as n\nTABLE = [0] * 3\nfor k in range(3):\n    TABLE[k] = n.FEW\n",
    "pond/stars.py": "from pond.deep import *\n",
    "pond/unused.py": "def frog(n):\n    return n\n",
    "lake.py": """
import numpy as np
import pond.stars
from pond import carp, table, unused

def swim(n):
    return carp(n) + np.int64(1)

def dive(n):
    return swim(n)

def count(n):
    return table.TABLE[n]

def rise(n, frog=None):
    unused = n
    return pond.stars.fish(unused)

def stay(n):
    return n

def made(k):
    def inner(n):
        return carp(n) + k
    return inner
""",
}


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """Modules outside of the package; `lake.py` uses the others."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lake")
    for name in [name for name in sys.modules if name.split(".")[0] in ("lake", "pond")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("function", "files"),
    [
        ("swim", {"pond/__init__.py", "pond/deep.py", "pond/numbers.py"}),
        ("dive", {"pond/__init__.py", "pond/deep.py", "pond/numbers.py"}),
        ("count", {"pond/table.py", "pond/numbers.py"}),
        ("rise", {"pond/__init__.py", "pond/stars.py", "pond/deep.py", "pond/numbers.py"}),
        ("stay", set()),
    ],
)
def test_what_a_function_uses_is_followed_from_file_to_file(lake, tmp_path, function, files):
    for name in FILES:
        before = digest(getattr(lake, function))
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        is_followed = digest(getattr(lake, function)) != before
        assert is_followed == (name in files | {"lake.py"}), name


def is_kept(function):
    """Whether a compiled function has a place on disk."""
    return function.stats.cache_path is not None


def test_what_no_file_tells_is_not_kept(lake):
    """A function from no file, and what is bound to one, or to one that another call made with its values."""
    free = types.FunctionType(lake.stay.__code__.replace(co_filename="<input>"), {})
    assert digest(free) is None
    assert not is_kept(compiled(free))
    assert is_kept(compiled(lake.dive))
    made = compiled(lake.made(1))
    assert is_kept(made)  # numba's own key knows what a function has closed over, but not a caller's
    for called in (compiled(free), made):
        assert not is_kept(compiled(bound(lake.stay, "label", {}), calls=[called]))


def test_what_is_bound_is_told_apart_and_as_it_was_when_it_was_made(lake, tmp_path):
    """A file that is changed after its import does not give the old code a new name."""
    rise, swim = compiled(lake.rise), compiled(lake.swim)

    def name(called):
        return compiled(bound(lake.stay, "label", {}), calls=[called]).__qualname__

    before = name(swim)
    assert before.startswith("stay_label_")
    assert name(rise) != before
    with (tmp_path / "pond/numbers.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert name(swim) == before
