"""The configuration: every shipped file works, and is found by its name."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from reading import refused_file

from agents import CELLS
from agents.gym import training as world_training
from agents.gym.config import WorldConfig
from agents.net.policy import BoardCore
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import (
    Config,
    read_config,
)
from agents.run.flags import read_flags
from agents.run.selfplay import make_model
from agents.run.sequence import SequenceConfig

FOLDER = Path(__file__).parents[3] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
WORLDS = [path for path in FILES if re.search(r"^env:", path.read_text(encoding="utf-8"), re.MULTILINE)]
BOARDS = [path for path in FILES if re.search(r"_\d+x\d+$", path.stem)]
SEQUENCES = [path for path in FILES if path.stem.startswith(("setups_", "clone_"))]
CONFIGS = [path for path in FILES if path not in WORLDS + BOARDS + SEQUENCES]


# ---------------------------------------------------------------- the files in configs/


def test_there_is_one_file_an_experiment_and_each_says_what_it_is_for():
    """The cell is a flag: a game or world has one file, named by the cell that it says; boards one a size."""
    assert len(FILES) == 15
    assert len(BOARDS) == 3
    for path in CONFIGS + WORLDS + SEQUENCES:
        assert path.stem.endswith("_gated")
    for path in FILES:
        comment, _, _ = path.read_text(encoding="utf-8").partition("\ngame:")
        assert comment.startswith("# ")
        assert "reaches" in comment or "Not measured" in comment or "become" in comment


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_file_makes_the_model_its_name_says(path):
    game, cell = path.stem.rsplit("_", 1)
    config = read_config(path)
    assert (config.game, config.policy.cell) == (game, cell)
    model = make_model(config)
    assert model.game.name == game
    assert [type(layer).__name__.lower() for layer in model.policy.core.cells] == [cell]
    assert model.n_steps * model.n_envs <= config.total_timesteps


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_a_flag(cell):
    """What fourteen files said that changed one to three lines: the cell, and the start of its gates."""
    path = FOLDER / "battleship_gated.yaml"
    gated = read_config(path)
    config = read_flags(Config, ["--policy.cell", cell], default=gated, choices=SELF_PLAY_CHOICES)
    start = {"chrono": 64.0} if cell in ("gated", "lstm", "gru") else {}
    policy = dataclasses.replace(gated.policy, cell=cell, lstm_kwargs=start)
    assert config == dataclasses.replace(gated, policy=policy)
    (layer,) = make_model(config).policy.core.cells
    assert type(layer) is CELLS[cell]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_file_named_by_a_board_makes_a_spatial_policy_of_that_size(path):
    game, size = path.stem.rsplit("_", 1)
    config = read_config(path)
    rows, cols = map(int, size.split("x"))
    assert (config.game, config.options["rows"], config.options["cols"]) == (game, rows, cols)
    model = make_model(config)
    assert isinstance(model.policy.core, BoardCore)
    assert model.policy.core.squares == rows * cols
    assert model.n_steps * model.n_envs <= config.total_timesteps


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_a_file_for_a_world_makes_the_model_its_name_says(path):
    world, cell = path.stem.rsplit("_", 1)
    config = read_config(path, WorldConfig)
    assert config.env.lower() == f"fogbound/{world.replace('_', '')}-v1"
    with world_training.open_worlds(config) as worlds:
        model = world_training.make_model(config, worlds)
    assert [type(layer).__name__.lower() for layer in model.policy.core.cells] == [cell]
    assert model.n_steps * model.n_envs <= config.total_timesteps


@pytest.mark.parametrize("path", SEQUENCES, ids=lambda path: path.stem)
def test_a_file_for_records_says_its_model_and_the_textbook_s_network(path):
    config = read_config(path, SequenceConfig)
    model = {"setups": "tokens", "clone": "clone"}[path.stem.split("_")[0]]
    assert (config.model, config.cell) == (model, path.stem.rsplit("_", 1)[1])
    assert (config.tokens.embedding_dim, config.tokens.lstm_hidden_size, config.tokens.n_lstm_layers) == (
        64, 128, 2,
    )  # fmt: skip
    assert (config.fit.sequences, config.fit.decay) == (128, 0.9)


# ---------------------------------------------------------------- slips of the pen


def test_a_configuration_is_found_by_its_name(tmp_path, monkeypatch):
    """From any folder, with or without its folder and ending; a file of one's own comes first."""
    monkeypatch.chdir(tmp_path)
    shipped = read_config(FOLDER / "dark_hex_gated.yaml")
    for name in (
        "dark_hex_gated",
        "dark_hex_gated.yaml",
        "configs/dark_hex_gated.yaml",
        "configs/dark_hex_gated",
    ):
        assert read_config(name) == shipped
    (tmp_path / "dark_hex_gated.yaml").write_text("seed: 4", encoding="utf-8")
    assert read_config("dark_hex_gated") == Config(seed=4)
    told = f"there is no such configuration; in {FOLDER} are dark_hex_gated, "
    for name in ("dark_hx_gated", "configs/dark_hex_gate.yaml", "elsewhere/dark_hex_gated.yml"):
        refused_file(name, told, error=FileNotFoundError)


def test_a_file_that_is_not_there(tmp_path):
    refused_file(tmp_path / "none.yaml", "there is no such configuration", error=FileNotFoundError)
    refused_file(tmp_path, "there is no such configuration", error=FileNotFoundError)


def test_a_file_for_another_command_says_for_which(tmp_path):
    path = tmp_path / "config.yaml"
    for text, kind, told in (
        ("data: x", Config, "unknown key 'data'; .*; what has 'data' is for scripts/sequence.py"),
        ("game: x", SequenceConfig, "unknown key 'game'; .*; what has 'game' is for scripts/selfplay.py"),
        ("env: x", Config, "unknown key 'env'; .*; what has 'env' is for scripts/train.py"),
        ("gme: x", Config, "unknown key 'gme'; known are [^;]*$"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=told):
            read_config(path, kind)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_has_64_bits(seed):
    with pytest.raises(ValueError, match=rf"seed must be a whole number in -2\^63\.\.2\^63 - 1, got {seed}"):
        Config(seed=seed)
