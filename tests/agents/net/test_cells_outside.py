"""A cell from outside the package: one class in a file of one's own, which does all that ours do.

Its gradients are tested in test_kernels.py, among all others.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys

import leaky
import pytest
from gymnasium import spaces
from saved import agent_files
from sb3_contrib import RecurrentPPO

from agents import CELLS, MaskableRecurrentPPO, load
from agents.files import CheckpointError, save_folder
from agents.gym.sb3 import RecurrentCellPolicy
from agents.learn.ppo import decisions_of
from agents.net.cells import cell_class
from agents.net.policy import RecurrentPolicy
from agents.run import folder
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import SELF_PLAY_NETWORK, Config, read_config
from agents.run.flags import read_flags
from agents.run.memory import looked_at

NAME = "leaky:Leaky"


@pytest.fixture(autouse=True)
def _nothing_named_yet(monkeypatch):
    """Whatever a test registers is forgotten after it."""
    for name in (NAME, "leaky", "evil:Cell"):
        monkeypatch.setitem(CELLS, name, leaky.Leaky)
        del CELLS[name]


def test_it_learns_and_shows_its_gates_by_its_name_alone(make_model):
    """y starts at sigmoid(2) = 0.881: its bias is what the weights, small as yet, move a little."""
    model = make_model(policy_kwargs={"cell": NAME, "lstm_kwargs": {"keeping": 2.0}}).learn(64)
    assert [type(cell) for cell in model.policy.core.cells] == [leaky.Leaky]
    decisions = decisions_of(model.rollout, 1.0, 0.95)
    gates = looked_at(model.policy, model.rollout, decisions, 8, [], [1], 1).layers["layer1"].gates
    assert gates.mean == {"y": pytest.approx(0.881, abs=0.05)}
    assert gates.time_constant.mean() == pytest.approx(-1.0 / math.log(0.881), rel=0.5)


def test_its_options_are_those_of_its_constructor(make_model):
    with pytest.raises(
        ValueError, match="lstm_kwargs of cell 'leaky:Leaky' may hold dropout, keeping; got chrono"
    ):
        make_model(policy_kwargs={"cell": NAME, "lstm_kwargs": {"chrono": 4.0}})


def test_a_configuration_and_a_flag_name_it(tmp_path):
    """The YAML names it, the flags know its options and what they mean."""
    path = tmp_path / "own.yaml"
    path.write_text(
        f"game: kuhn_poker\npolicy: {{cell: '{NAME}', lstm_kwargs: {{keeping: 1}}}}\n", encoding="utf-8"
    )
    config = read_config(path, Config)
    assert read_flags(Config, [], default=config, choices=SELF_PLAY_CHOICES) == config
    changed = read_flags(
        Config, ["--policy.lstm-kwargs.keeping", "2"], default=config, choices=SELF_PLAY_CHOICES
    )
    assert changed.policy.lstm_kwargs == {"keeping": 2.0}
    named = read_flags(
        Config, ["--policy.cell", NAME], default=Config(game="kuhn_poker"), choices=SELF_PLAY_CHOICES
    )
    assert named.policy.cell == NAME


def test_the_folder_of_a_run_has_a_plain_name(tmp_path):
    config = Config(
        game="kuhn_poker", run_dir=str(tmp_path), policy=dataclasses.replace(SELF_PLAY_NETWORK, cell=NAME)
    )
    run = folder.begin(config, f"kuhn_poker__{NAME}", "")
    assert run.name.startswith("kuhn_poker__leaky_Leaky__s")
    assert read_config(run / "config.yaml").policy.cell == NAME


def test_the_stock_recurrent_ppo_takes_it_too():
    stock = RecurrentPPO(
        RecurrentCellPolicy,
        "CartPole-v1",
        n_steps=8,
        batch_size=8,
        policy_kwargs={"cell": NAME, "lstm_hidden_size": 4, "lstm_kwargs": {"keeping": 1.0}},
        device="cpu",
    )
    assert type(stock.policy.lstm_actor.cells[0]) is leaky.Leaky
    stock.learn(8)


def test_an_installed_package_may_bring_it(tmp_path, monkeypatch, make_model):
    """By an entry point of the group fogbound.cells, as its pyproject.toml would say."""
    package = tmp_path / "leaky_cells-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: leaky-cells\nVersion: 1.0\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[fogbound.cells]\nleaky = leaky:Leaky\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert type(make_model(policy_kwargs={"cell": "leaky"}).policy.core.cells[0]) is leaky.Leaky


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leaky:Leeky", r"cell 'leaky:Leeky': expected module:Name of a class .*Leeky"),
        ("leaky:torch", "cell 'leaky:torch': expected a class of Cell, got <module 'torch'"),
        ("leeky", "unknown cell 'leeky'; known are .*, or module:Name of one of your own"),
    ],
)
def test_what_is_no_cell_is_refused(name, message):
    with pytest.raises(ValueError, match=message) as error:
        cell_class(name)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- files import nothing


def test_a_file_finds_it_once_a_person_has_named_it(make_model, tmp_path):
    make_model(policy_kwargs={"cell": NAME}).save(tmp_path / "agent.zip")
    del CELLS[NAME]  # another day
    with pytest.raises(
        CheckpointError, match=r"unknown cell 'leaky:Leaky'; .* name it yourself first"
    ) as error:
        load(tmp_path / "agent.zip")
    assert "\n" not in str(error.value)
    cell_class(NAME)
    assert type(load(tmp_path / "agent.zip").policy.core.cells[0]) is leaky.Leaky


class Careless(RecurrentPolicy):
    """Takes no notice of the cell that it is told."""

    def __init__(self, *task, **arguments):
        super().__init__(*task, **arguments | {"cell": "gated"})


def test_a_file_that_names_a_module_does_not_get_it_imported(make_model, tmp_path, monkeypatch):
    """Though it lies beside the file, in the current folder, where a person's word would find it."""
    files = agent_files(make_model())
    agent = json.loads(files["agent.json"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("from leaky import Leaky as Cell\n", encoding="utf-8")
    for policy in (RecurrentPolicy, Careless):
        told = agent | {"policy": agent["policy"] | {"cell": "evil:Cell"}, "policy_class": policy.__name__}
        save_folder(files | {"agent.json": json.dumps(told).encode()}, tmp_path / policy.__name__)
        for read in (load, MaskableRecurrentPPO.load):
            with pytest.raises(CheckpointError) as error:
                read(tmp_path / policy.__name__, policy=policy)
            assert "\n" not in str(error.value)
        with pytest.raises(CheckpointError, match="so that it is imported: evil:Cell"):
            load(tmp_path / policy.__name__, policy=policy)
    assert "evil" not in sys.modules
    assert "evil:Cell" not in CELLS


def test_a_policy_itself_only_looks_a_cell_up():
    """Files reach its constructor, too."""
    with pytest.raises(ValueError, match=r"unknown cell 'leaky:Leaky'; known are .*; name it yourself first"):
        RecurrentPolicy(spaces.MultiDiscrete([3]), 2, cell=NAME)
    cell_class(NAME)
    assert type(RecurrentPolicy(spaces.MultiDiscrete([3]), 2, cell=NAME).core.cells[0]) is leaky.Leaky
