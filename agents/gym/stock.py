"""The algorithms of SB3 and sb3-contrib, as they are there, in checkpoints that execute nothing (edge).

SB3's own `save` writes a zip with pickles inside. A checkpoint of a run (see `agents.files`) holds the
tensors alone; what they belong to is built anew from the run's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.files import FORMAT, Stored
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.saving import optimizer_dict, optimizer_state
from agents.net import normalizer
from agents.play.agent_file import load_weights

STOCK: dict[str, type[OnPolicyAlgorithm]] = {
    "recurrent_ppo": RecurrentPPO,
    "maskable_ppo": MaskablePPO,
    "ppo": PPO,
}


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The algorithm of that name; ours if the stock has none."""
    return STOCK.get(name, MaskableRecurrentPPO)


def parts(model: OnPolicyAlgorithm) -> dict[str, Mapping[str, Any]]:
    """The parts of a stock model's checkpoint; the tensors are the model's own."""
    state = {"num_timesteps": torch.tensor(model.num_timesteps), "n_updates": torch.tensor(model._n_updates)}
    statistics = normalizer.known_to(model)
    return {
        "agent.json": {
            "format": FORMAT,
            "algorithm": type(model).__name__,
            "timesteps": model.num_timesteps,
        },
        "policy.safetensors": model.policy.state_dict(),
        "training.safetensors": state | optimizer_state(model.policy.optimizer, model.policy),
        **({} if statistics is None else {"normalizer.safetensors": statistics}),
    }


def restore(model: OnPolicyAlgorithm, stored: Stored) -> None:
    """Let a fresh model go on where `parts` was called; its worlds and random numbers begin anew.

    Raises:
        CheckpointError: the files are of another model, or only one of the two has a `VecNormalize`.
    """
    try:
        state, optimizer = stored.tensors("training.safetensors"), model.policy.optimizer
        load_weights(model.policy, stored, "policy.safetensors")
        optimizer.load_state_dict(optimizer_dict(optimizer, model.policy, state))
        model.num_timesteps, model._n_updates = int(state["num_timesteps"]), int(state["n_updates"])
    except KeyError as error:
        raise stored.error(f"its training state lacks {error}") from error
    worlds, is_scaled = model.get_vec_normalize_env(), "normalizer.safetensors" in stored
    if (worlds is not None) != is_scaled:
        have, lack = ("has one", "without") if worlds is not None else ("has none", "with")
        raise stored.error(f"was trained {lack} VecNormalize, the env {have}")
    if worlds is not None:
        statistics = stored.tensors("normalizer.safetensors")
        try:
            normalizer.check_state(statistics)
            normalizer.restore(worlds, statistics)
        except (KeyError, ValueError) as error:
            raise stored.error(error) from error
