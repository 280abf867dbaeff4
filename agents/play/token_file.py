"""A token model's file: what it says of itself as data, and the model that is made from it.

It lies in the same checkpoints as an agent's (see `agents.files`), and is as little trusted. It plays
nothing: `agents.load` refuses it.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from agents.files import FORMAT, Kind, Source, Stored, Which, checked, read
from agents.net.settings import TokenNetwork
from agents.net.tokens import TokenModel
from agents.play.agent_file import TOKENS, built, load_weights

ARGUMENTS: dict[str, Kind] = {
    "cell": Kind(str),
    "embedding_dim": Kind(int, 1),
    "lstm_hidden_size": Kind(int, 1),
    "n_lstm_layers": Kind(int, 1),
    "dropout": Kind(float),
}
"""Arguments of `TokenModel` but for `lstm_kwargs`, and what a file may say of them."""

MOST = 2**20
"""No vocabulary is larger."""


class Tokens(NamedTuple):
    """A token model, and what its tokens stand for."""

    model: TokenModel
    about: dict[str, Any]
    """What its sequences are of, as data."""
    timesteps: int
    """Tokens that it has learned from."""


def token_parts(
    model: TokenModel, network: TokenNetwork, about: Mapping[str, Any], timesteps: int
) -> dict[str, Mapping[str, Any]]:
    """The parts of a token model's file.

    Args:
        network: what `model` was made with.
        about: what its sequences are of, as data.
        timesteps: tokens that it has learned from.
    """
    told = {
        "format": FORMAT,
        "policy_class": TOKENS,
        "tokens": model.tokens,
        "about": dict(about),
        "policy": dataclasses.asdict(network),
        "timesteps": timesteps,
    }
    return {"agent.json": told, "policy.safetensors": model.state_dict()}


def is_tokens(stored: Stored) -> bool:
    """It is the file of a token model."""
    return stored.json("agent.json").get("policy_class") == TOKENS


def read_tokens(stored: Stored) -> Tokens:
    """The token model of a file.

    Raises:
        CheckpointError: it holds none, or not what it says.
    """
    told = stored.json("agent.json")
    if not is_tokens(stored):
        raise stored.error(f"holds no model of what comes next, but {reprlib.repr(told.get('policy_class'))}")
    try:
        tokens = checked("tokens", told.get("tokens"), Kind(int, 1, MOST))
        timesteps = checked("timesteps", told.get("timesteps"), Kind(int, 0, 2**53))
        if not isinstance(told.get("about"), dict):
            raise ValueError(f"about must be an object, got {reprlib.repr(told.get('about'))}")
    except ValueError as error:
        raise stored.error(error) from error
    model = built(stored, told.get("policy"), ARGUMENTS, lambda: TokenModel(tokens, **told["policy"]))
    load_weights(model, stored, "policy.safetensors")
    return Tokens(model.eval(), told["about"], timesteps)


def load_tokens(path: Source, which: Which = "latest") -> Tokens:
    """The token model of a run or a checkpoint.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: it is not a whole checkpoint of one.
    """
    return read_tokens(read(path, which))
