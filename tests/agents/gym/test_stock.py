"""The stock algorithms in a run: our cells in them, what they lack is said, and they are not loaded alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from reading import quiet
from world_runs import UPDATE, tiny

import agents
from agents.files import CheckpointError
from agents.gym.training import make_model, open_worlds, resume, train


def test_an_algorithm_without_masks_says_so(tmp_path):
    told = []
    outcome = train(tiny(tmp_path, "ppo", env="Masked-v0"), say=told.append)
    assert told[0] == "note         ppo does not use the masks of Masked-v0"
    assert outcome.results["agent"].mean < 4.0


def test_an_agent_of_a_stock_algorithm_cannot_be_loaded_alone(tmp_path):
    run = train(tiny(tmp_path, "ppo"), say=quiet).run
    with pytest.raises(CheckpointError, match="is an agent of the stock algorithm 'PPO'; it goes on"):
        agents.load(run)


@pytest.mark.parametrize("cell", agents.CELLS)
def test_the_stock_recurrent_ppo_takes_our_cells(tmp_path, cell):
    run = train(
        tiny(tmp_path, "recurrent_ppo", policy_kwargs={"cell": cell, "lstm_hidden_size": 8}), say=quiet
    ).run
    assert run.name.startswith(f"CartPole-v1__recurrent_ppo_{cell}__s3__")
    outcome = resume(run, lambda config: dataclasses.replace(config, total_timesteps=4 * UPDATE), quiet)
    assert outcome.timesteps == 4 * UPDATE


def test_an_activation_is_named_for_the_stock_too(tmp_path):
    config = tiny(tmp_path, "ppo", policy_kwargs={"activation_fn": "silu", "net_arch": [4]})
    with open_worlds(config) as worlds:
        model = make_model(config, worlds)
    assert any(isinstance(layer, torch.nn.SiLU) for layer in model.policy.modules())
