"""Choices: the game, the cell, the algorithm and the world bring their options, and take no others."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import tyro
from flagged import BATTLESHIP, CARTPOLE, GENERALS, HEX, read, world

import envs
from agents import CELLS, MaskableRecurrentPPO
from agents.gym.config import WorldConfig
from agents.run.choices import GAME, options_of
from agents.run.config import Config, read_config
from agents.run.flags import read_flags
from agents.run.selfplay import make_model
from envs import GAMES


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--options.castles", 10], {"castles": 10}),
        (["--options.castles=1e1", "--options.min_distance", "+3"], {"castles": 10, "min_distance": 3}),
        (["--options.castles", -3], {"castles": -3}),
        (["--options.map", "A b/\n#1"], {"map": "A b/\n#1"}),
        (["--options.rows", 8], {"rows": 8}),
        ([], {}),
    ],
)
def test_an_option_of_the_game_is_set_whether_the_file_names_it_or_not(words, options):
    config, said = read(GENERALS, *words)
    assert config == dataclasses.replace(read_config(GENERALS), options={"rows": 6, "cols": 6} | options)
    assert said == []
    assert type(config) is Config


def test_another_game_brings_its_own_options():
    config, said = read(GENERALS, "--game", "dark_hex", "--options.abrupt", "--options.rows", 5)
    assert (config.game, config.options) == ("dark_hex", {"abrupt": True, "rows": 5})
    assert said == ["note         options of generals (rows, cols) left out: the game is dark_hex"]
    with pytest.raises(ValueError, match=r"--options.castles; known are --options.(cols|rows)"):
        read(GENERALS, "--game", "dark_hex", "--options.castles", 3)
    with pytest.raises(ValueError, match="unknown game 'dark_hx'; known are dark_hex, battleship"):
        read(GENERALS, "--game", "dark_hx")


def test_a_cell_keeps_the_options_it_has_and_says_which_it_leaves_out():
    for cell in ("gru", "lstm"):
        config, said = read(BATTLESHIP, "--policy.cell", cell)
        assert (config.policy.cell, config.policy.lstm_kwargs, said) == (cell, {"chrono": 64.0}, [])
    for cell in ("feedforward", "elman"):
        config, said = read(BATTLESHIP, "--policy.cell", cell)
        assert (config.policy.cell, config.policy.lstm_kwargs) == (cell, {})
        assert said == [
            f"note         policy.lstm_kwargs of cell gated (chrono) left out: cell {cell} has none"
        ]
    config, _ = read(HEX, "--policy.lstm-kwargs.chrono", "64", "--policy.lstm-kwargs.dropout", ".5")
    assert config.policy.lstm_kwargs == {"chrono": 64.0, "dropout": 0.5}
    config, _ = read(HEX, "--policy.cell", "elman", "--policy.lstm-kwargs.nonlinearity", "relu")
    assert config.policy.lstm_kwargs == {"nonlinearity": "relu"}
    with pytest.raises(
        ValueError, match=r"--policy.lstm-kwargs.chrono; known are --policy.lstm-kwargs.dropout;"
    ):
        read(BATTLESHIP, "--policy.cell", "feedforward", "--policy.lstm-kwargs.chrono", 64)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A module of one's own in the current folder, with a game and a cell; both are forgotten afterwards."""
    (tmp_path / "my_own.py").write_text(OUTSIDE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_own", raising=False)
    yield
    for registry, name in ((envs.GAMES, "my_own:Kuhn"), (CELLS, "my_own:Slow")):
        registry.pop(name, None)
    sys.modules.pop("my_own", None)


OUTSIDE = '''
import dataclasses
from agents.net.cells import Elman
from envs.games.kuhn_poker import KuhnPoker

@dataclasses.dataclass(frozen=True)
class Kuhn(KuhnPoker):
    """Kuhn poker with an option that says nothing.

    Args:
        colour: of the cards.
    """
    colour: str = "red"
    name = "coloured_kuhn_poker"

class Slow(Elman):
    """An Elman cell with an option that does nothing.

    Args:
        patience: how slow it is.
    """
    def __init__(self, input_size, hidden_size, patience: float = 1.0):
        super().__init__(input_size, hidden_size)
'''


@pytest.mark.usefixtures("outside")
def test_a_game_and_a_cell_from_outside_bring_their_options(tmp_path, capsys):
    """Named by flags, or by a file."""
    chosen = ["--game", "my_own:Kuhn", "--policy.cell", "my_own:Slow"]
    config, _ = read(HEX, *chosen, "--options.colour", "blue", "--policy.lstm-kwargs.patience", 2)
    assert (config.options, config.policy.lstm_kwargs) == ({"colour": "blue"}, {"patience": 2.0})
    path = tmp_path / "mine.yaml"
    path.write_text("{game: 'my_own:Kuhn', policy: {cell: 'my_own:Slow'}}", encoding="utf-8")
    config, _ = read(path, "--options.colour", "green")
    assert config.options == {"colour": "green"}
    with pytest.raises(SystemExit):
        read(path, "--help")
    assert "How slow it is." in " ".join(capsys.readouterr().out.replace("│", " ").split())
    config, _ = world("--policy-kwargs.cell", "my_own:Slow", "--policy-kwargs.lstm-kwargs.patience", 3)
    assert config.policy_kwargs["lstm_kwargs"] == {"patience": 3.0}
    with pytest.raises(ValueError, match="cell 'my_own:Fast': expected module:Name of a class"):
        read(HEX, "--policy.cell", "my_own:Fast")


@pytest.mark.usefixtures("outside")
def test_a_game_and_a_cell_from_outside_are_trained(tmp_path):
    path = tmp_path / "mine.yaml"
    small = "{cell: 'my_own:Slow', lstm_hidden_size: 4, features_dim: 4, lstm_kwargs: {patience: 2}}"
    text = f"{{game: 'my_own:Kuhn', matches: 32, policy: {small}, eval: {{players: [random]}}}}"
    path.write_text(text, encoding="utf-8")
    model = make_model(read_config(path))
    assert type(model.game).__name__ == "Kuhn"
    assert type(model.policy.core.cells[0]).__name__ == "Slow"
    model = MaskableRecurrentPPO("MlpLstmPolicy", "CartPole-v1", policy_kwargs={"cell": "my_own:Slow"})
    assert type(model.policy.core.cells[0]).__name__ == "Slow"  # it is registered by now


def test_arguments_of_the_policy_and_of_the_world():
    config, _ = world("--policy-kwargs.cell", "gru", "--env-kwargs.sutton-barto-reward", "True")
    assert config.policy_kwargs == read_config(CARTPOLE, WorldConfig).policy_kwargs | {"cell": "gru"}
    assert config.env_kwargs == {"sutton_barto_reward": True}
    config, _ = world("--policy-kwargs.net-arch", 64, "--policy-kwargs.lstm-kwargs.chrono", "1e1")
    assert config.policy_kwargs["net_arch"] == [64]
    assert config.policy_kwargs["lstm_kwargs"] == {"chrono": 10.0}
    config, _ = world("--policy-kwargs.net-arch.pi", 64, 32, "--policy-kwargs.net-arch.vf", 8)
    assert config.policy_kwargs["net_arch"] == {"vf": [8], "pi": [64, 32]}
    config, _ = world("--policy-kwargs.log-std-init", "-1e-1", "--arguments.normalize-advantage", "no")
    assert (config.policy_kwargs["log_std_init"], config.arguments["normalize_advantage"]) == (-0.1, False)
    with pytest.raises(
        ValueError, match=r"unknown setting --env-kwargs.sutton; known are --env-kwargs.sutton-barto"
    ):
        world("--env-kwargs.sutton", 3)


def test_a_world_of_a_game_takes_the_games_options():
    board = ("--env-kwargs.rows", 4, "--env-kwargs.map", "#../A.B", "--env-kwargs.opponent", "expander")
    config, _ = world("--env", "fogbound/Generals-v0", *board)
    assert config.env_kwargs == {"opponent": "expander", "rows": 4, "map": "#../A.B"}
    with pytest.raises(ValueError, match=r"--env-kwargs.row; known are --env-kwargs.rows,"):
        world("--env", "fogbound/Generals-v0", "--env-kwargs.row", 4)


def test_a_world_that_tells_nothing_is_given_what_one_says():
    words = {
        "row": "4",
        "name": "a b",
        "odd": "-1e3",
        "many": "[1, x]",
        "text": "'3'",
        "flag": "yes",
        "none": "",
    }
    given = [word for name, text in words.items() for word in (f"--env-kwargs.{name}", text)]
    config, _ = world("--env", "nowhere-v0", *given, "--env-kwargs.deep.er", 2)
    assert config.env_kwargs == {
        "row": 4, "name": "a b", "odd": -1000.0, "many": [1, "x"], "text": "3", "flag": True, "none": "",
        "deep": {"er": 2},
    }  # fmt: skip


def test_the_stock_takes_its_own_policys_arguments():
    config, said = world(
        "--algo", "ppo", "--policy-kwargs.ortho-init", "False", "--policy-kwargs.optimizer-kwargs.eps", ".1"
    )
    assert config.policy_kwargs["ortho_init"] is False
    assert config.policy_kwargs["optimizer_kwargs"] == {"eps": 0.1}
    assert "cell" not in config.policy_kwargs
    assert said[0].startswith("note         policy_kwargs of maskable_recurrent_ppo (cell, lstm_hidden_size")
    config, _ = world("--algo", "recurrent_ppo", "--policy-kwargs.cell", "gated")
    assert config.policy_kwargs["cell"] == "gated"  # the default of our policy, but not the stock's


def test_every_option_of_every_game_has_its_help():
    for name in GAMES:
        for option, entry in options_of(name).items():
            assert entry.help, f"{name}.{option}"


def test_a_record_without_a_default_takes_the_options_of_the_game_it_is_told():
    @dataclasses.dataclass(frozen=True)
    class Arguments:
        players: tyro.conf.Positional[tuple[str, ...]]
        game: str | None = None
        options: dict[str, int] = dataclasses.field(default_factory=dict)
        out: Path | None = None

    words = ["a", "./-b/c", "--game", "dark_hex", "--options.rows", "4", "--out", "-x y"]
    read = read_flags(Arguments, words, choices=GAME)
    assert read == Arguments(("a", "./-b/c"), "dark_hex", {"rows": 4}, Path("-x y"))
    with pytest.raises(ValueError, match=r"unknown setting --options.rows"):
        read_flags(Arguments, ["a", "--options.rows", "4"], choices=GAME)
