"""The nearest names come first; and a game from outside works everywhere a name does."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

import envs
from envs.adapters.gymnasium import FogboundEnv, game_played
from envs.adapters.sb3 import BatchVecEnv
from envs.check import check_game
from envs.names import find, known, registered

ROOT = Path(__file__).parents[2]

NIM = '''
"""Nim: take one to three of the heap; whoever takes the last one wins."""

import dataclasses
import numpy as np
from envs.core import REFEREE, Game, codes, record, verb


@verb
def deal(s):
    s.left = s.heap


@verb
def legal(s, mask):
    for a in range(3):
        mask[a] = a < s.left


@verb
def play(s, action):
    s.left -= action + 1
    if s.left == 0:
        s.over = True
        s.reward[s.seat] = 1.0
        s.reward[1 - s.seat] = -1.0
    s.seat = 1 - s.seat


@verb
def observe(s, _seat, out):
    out[0] = s.left


@dataclasses.dataclass(frozen=True)
class Nim(Game):
    heap: int = 7

    name = "nim"
    deal, legal = staticmethod(deal), staticmethod(legal)
    play, observe = staticmethod(play), staticmethod(observe)
    actions = 3

    def __post_init__(self):
        super().__post_init__()
        self._require("heap", 1, 20)

    @property
    def max_length(self):
        return self.heap

    @property
    def observation_space(self):
        return codes(self.heap + 1)

    @property
    def state(self):
        return record(2, ("heap", np.int8), ("left", np.int8))

    def blank(self):
        s = super().blank()
        s.heap = self.heap
        return s

    def action_name(self, action):
        return f"take {action + 1}"

    def text(self, state, _viewer=REFEREE):
        return f"{state.left} left"

    def svg(self, state, viewer=REFEREE):
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{self.text(state, viewer)}</text></svg>'


class Undecided(Game):
    name = "undecided"


@dataclasses.dataclass(frozen=True)
class Nameless(Game):
    pass


@dataclasses.dataclass(frozen=True)
class Kuhn(Nim):
    name = "kuhn_poker"
'''


def test_the_nearest_name_comes_first():
    games = ["kuhn_poker", "leduc_poker", "dark_hex", "generals"]
    assert known("darkhex", games) == "dark_hex, kuhn_poker, leduc_poker, generals"
    assert known("leduc", games) == "leduc_poker, kuhn_poker, dark_hex, generals"


def test_without_a_near_one_the_order_stays():
    assert known("zzz", ["b", "a"]) == "b, a"
    assert known("x", []) == "none"


# ---------------------------------------------------------------- names of classes from outside


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a game in the file `my_game.py`; what it registers is forgotten again."""
    (tmp_path / "my_game.py").write_text(NIM, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    games, ids, modules = dict(envs.GAMES), set(gymnasium.registry), set(sys.modules)
    yield tmp_path
    envs.GAMES.clear()
    envs.GAMES.update(games)
    for id in set(gymnasium.registry) - ids:
        del gymnasium.registry[id]
    for module in set(sys.modules) - modules:
        if module.startswith("my_"):
            del sys.modules[module]


def test_a_class_is_found_in_the_current_folder_which_is_not_left_on_the_path(folder):
    path = list(sys.path)
    assert str(folder) not in path
    found = envs.find_game("my_game:Nim")
    assert found is sys.modules["my_game"].Nim
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def (", "SyntaxError: "),
        ("{}['a']", "KeyError: 'a'"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_is_told_in_one_line(folder, text, told):
    (folder / "my_broken.py").write_text(text, encoding="utf-8")
    with pytest.raises(
        ValueError, match=f"^game 'my_broken:Nim': expected module:Name of .*{told}"
    ) as refusal:
        envs.make("my_broken:Nim")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["./my_game:Nim", ".my_game:Nim", "..:Nim", "a b:Nim", "x" * 5000 + "/:Nim"])
def test_what_is_no_modules_name_is_not_looked_for(name):
    with pytest.raises(ValueError, match=r"expected module:Name of a class on the path") as refusal:
        envs.make(name)
    assert len(str(refusal.value)) < 400


def test_what_was_on_the_path_stays_there(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    path = list(sys.path)
    envs.find_game("my_game:Nim")
    assert sys.path == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "my_game:Nimm",
            "game 'my_game:Nimm': expected module:Name of a class .*no attribute",
        ),
        ("my_gam:Nim", "expected module:Name of a class on the path or in .*No module named 'my_gam'"),
        (":Nim", "expected module:Name of a class"),
        ("my_game:", "expected module:Name of a class"),
        ("my_game:deal", "game 'my_game:deal': expected a class of Game, got CPUDispatcher"),
        ("my_game:np.ndarray", "expected a class of Game, got <class 'numpy.ndarray'>"),
        ("my_game:Undecided", "game 'my_game:Undecided': expected a frozen dataclass of its options"),
        ("my_game:Nameless", "game 'my_game:Nameless': expected a class with a name"),
        ("my_game:Kuhn", "game 'my_game:Kuhn': expected a name of its own, got 'kuhn_poker'"),
        ("nim", "unknown game 'nim'; known are .*minesweeper.*, or module:Name of one of your own"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_such_game_is_refused_in_one_line_and_not_registered(name, message):
    with pytest.raises(ValueError, match=message) as refusal:
        envs.make(name)
    assert "\n" not in str(refusal.value)
    assert name not in envs.GAMES


def test_a_listed_name_is_never_looked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: pytest.fail("asked"))
    assert find("game", "dark_hex", envs.GAMES, envs.Game, "fogbound.games") is envs.GAMES["dark_hex"]


def offer(monkeypatch, **points):
    """An installed package whose entry points of games are these."""
    offered = [importlib.metadata.EntryPoint(n, v, "fogbound.games") for n, v in points.items()]

    def entry_points(group):
        return offered if group == "fogbound.games" else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_an_installed_packages_game_is_known_by_its_entry_point(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    offer(
        monkeypatch,
        nim="my_game:Nim",
        gone="my_game:Gone",
        lost="my_lost:Lost",
        wrong="my_game:deal",
        kuhn_poker="my_game:Nim",
    )
    game = envs.make("nim", heap=3)
    assert envs.name_of(game) == "nim"
    assert envs.registered("nim", heap=3) == game
    assert type(envs.make("kuhn_poker")) is not type(game)
    with pytest.raises(
        ValueError, match="game 'gone': the installed package's my_game:Gone cannot be imported"
    ):
        envs.make("gone")
    with pytest.raises(ValueError, match=r"'lost': .* cannot be imported .*: No module named 'my_lost'"):
        envs.make("lost")
    with pytest.raises(ValueError, match="game 'wrong': expected a class of Game, got CPUDispatcher"):
        envs.make("wrong")
    with pytest.raises(ValueError, match="unknown game 'gon'; known are gone, "):
        envs.make("gon")


def test_a_file_imports_nothing(folder, monkeypatch):
    """Neither a module of one's own nor an installed package's; the message says what to do."""
    monkeypatch.syspath_prepend(folder)
    offer(monkeypatch, installed_nim="my_game:Nim")
    for name in ("my_game:Nim", "installed_nim"):
        hint = f"unknown game '{name}'; known are .*; name it yourself first, so that it is imported: {name}"
        with pytest.raises(ValueError, match=hint):
            envs.registered(name)
        with pytest.raises(ValueError, match=hint):
            game_played("fogbound/KuhnPoker-v0", {"game": name})
    with pytest.raises(ValueError, match=r"unknown game 'nimm'; known are [a-z_, ]*$"):
        envs.registered("nimm")
    with pytest.raises(ValueError, match=r"unknown cell 'my_game:Cell'.*name it yourself first"):
        registered("cell", "my_game:Cell", {"gated": type})
    assert "my_game" not in sys.modules


# ---------------------------------------------------------------- a game from outside


@pytest.mark.usefixtures("folder")
def test_what_a_file_holds_finds_the_game_again():
    game = envs.make("my_game:Nim", heap=3)
    assert (game.name, envs.name_of(game), game.options) == ("nim", "my_game:Nim", {"heap": 3})
    assert envs.registered(envs.name_of(game), **game.options) == game
    for made in (envs.registered, envs.make):
        with pytest.raises(ValueError, match="my_game:Nim: unknown option 'heaps'; known are heap"):
            made("my_game:Nim", heaps=3)
        with pytest.raises(ValueError, match=r"nim: option 'heap' must be in 1\.\.20, got 0"):
            made("my_game:Nim", heap=0)


@pytest.mark.parametrize("name", envs.GAMES)
def test_a_listed_game_is_found_again_by_its_own_name(name):
    assert envs.name_of(envs.make(name)) == name


def test_a_class_that_nobody_named_is_told_by_where_it_lies(folder, monkeypatch):
    """Also one that calls itself like a listed game."""
    monkeypatch.syspath_prepend(folder)
    import my_game

    assert envs.name_of(my_game.Nim()) == "my_game:Nim"
    assert envs.name_of(my_game.Kuhn()) == "my_game:Kuhn"


@pytest.mark.usefixtures("folder")
def test_a_game_from_outside_plays():
    """Nim with 4: seat 0 takes 3, seat 1 the last one."""
    match = envs.Match(envs.make("my_game:Nim", heap=4))
    for action in (2, 0):
        match.play(action)
    assert match.over
    assert match.returns.tolist() == [-1.0, 1.0]
    check_game(envs.make("my_game:Nim"), matches=10)  # a Batch beside Matches


@pytest.mark.usefixtures("folder")
def test_the_adapters_take_a_game_from_outside():
    aec = envs.aec("my_game:Nim", heap=4)
    aec.reset(seed=1)
    for action in (2, 0):
        aec.step(action)
    assert aec.rewards == {"player_0": -1.0, "player_1": 1.0}

    env = gymnasium.make("fogbound/Nim-v0", heap=5)  # its id came with its name
    assert env.reset(seed=1)[0].tolist() == [5]
    assert gymnasium.make_vec("fogbound/Nim-v0", num_envs=2, heap=5).reset(seed=1)[0].tolist() == [[5], [5]]
    assert FogboundEnv("my_game:Nim", heap=3).game == envs.make("my_game:Nim", heap=3)
    assert BatchVecEnv("my_game:Nim", 2, heap=3).reset().tolist() == [[3], [3]]


def test_an_id_that_is_taken_stays_as_it_is(folder):
    (folder / "my_other.py").write_text(NIM.replace('"nim"', '"other_nim"'), encoding="utf-8")
    envs.make("my_game:Nim")
    envs.make("my_other:Nim")
    assert gymnasium.spec("fogbound/Nim-v0").kwargs == {"game": "my_game:Nim"}


PLAY = """

import envs, torch
game = envs.make("__main__:Nim", heap=2)
assert type(game) is Nim and envs.name_of(game) == "__main__:Nim"
batch = envs.Batch(Nim(2), 3)
batch.step(torch.tensor([1, 1, 1]))
print(batch.reward.tolist(), batch._kernels.step.stats.cache_path is not None)
"""


def test_a_class_of_words_on_standard_input_plays(tmp_path):
    """What comes from no file is compiled anew, and nobody is warned."""
    told = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=NIM + PLAY,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout == "[[1.0, -1.0], [1.0, -1.0], [1.0, -1.0]] False\n"


def test_a_class_of_a_script_plays_and_its_changed_rule_is_compiled_anew(tmp_path):
    """It is kept on disk; the same name in the same file with another rule is not what was kept."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = []
    for winner in ("1.0", "0.5"):
        rules = NIM.replace("s.reward[s.seat] = 1.0", f"s.reward[s.seat] = {winner}")
        (tmp_path / "script.py").write_text(rules + PLAY, encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-W", "error", "script.py"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        told.append(run.stdout)
    assert told == [f"{[[winner, -1.0]] * 3} True\n" for winner in (1.0, 0.5)]
