"""The algorithms of SB3 and sb3-contrib, as they are there, in checkpoints that execute nothing (edge).

SB3's own `save` writes a zip with pickles inside. A checkpoint of a run (see `agents.checkpoint`) holds the
tensors alone; what they belong to is built anew from the run's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents import checkpoint
from agents.learn.algorithm import MaskableRecurrentPPO

STOCK: dict[str, type[OnPolicyAlgorithm]] = {
    "recurrent_ppo": RecurrentPPO,
    "maskable_ppo": MaskablePPO,
    "ppo": PPO,
}


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The algorithm of that name; ours if the stock has none."""
    return STOCK.get(name, MaskableRecurrentPPO)


def files_of(model: OnPolicyAlgorithm) -> dict[str, bytes]:
    """The files of a stock model's checkpoint."""
    state = {"num_timesteps": torch.tensor(model.num_timesteps), "n_updates": torch.tensor(model._n_updates)}
    state |= checkpoint.optimizer_state(model.policy.optimizer, model.policy)
    agent = {
        "format": checkpoint.FORMAT,
        "algorithm": type(model).__name__,
        "timesteps": model.num_timesteps,
    }
    return {
        "agent.json": checkpoint.json_bytes(agent),
        "policy.safetensors": checkpoint.tensor_bytes(model.policy.state_dict()),
        "training.safetensors": checkpoint.tensor_bytes(state),
        **checkpoint.normalizer_files(model),
    }


def restore(model: OnPolicyAlgorithm, files: Mapping[str, bytes], path: str | Path) -> None:
    """Let a fresh model go on where `files_of` was called; its worlds and random numbers begin anew.

    Raises:
        CheckpointError: the files are of another model.
    """
    try:
        state = checkpoint.read_tensors(files["training.safetensors"], path)
        checkpoint.load_weights(model.policy, files["policy.safetensors"], path)
        checkpoint.load_optimizer_state(model.policy.optimizer, model.policy, state)
        model.num_timesteps, model._n_updates = int(state["num_timesteps"]), int(state["n_updates"])
    except KeyError as error:
        raise checkpoint.CheckpointError(f"{path}: its training state lacks {error}") from error
    checkpoint.restore_normalizer(model, files, path)
