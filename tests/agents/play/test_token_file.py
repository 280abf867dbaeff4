"""A token model's file: what was written is read again, and a stranger's is not trusted."""

from __future__ import annotations

import json

import pytest
import torch

import agents
from agents.files import CheckpointError, Stored, packed, read, save_folder
from agents.net.settings import TokenNetwork
from agents.net.tokens import TokenModel
from agents.play.token_file import load_tokens, read_tokens, token_parts

NETWORK = TokenNetwork(embedding_dim=4, lstm_hidden_size=6, lstm_kwargs={"forget_bias": 2.0}, dropout=0.1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TokenModel(5, **vars(NETWORK))


@pytest.fixture
def parts(model):
    return packed(token_parts(model, NETWORK, {"kind": "setups"}, 7))


def test_what_was_written_is_read_again(model, parts, tmp_path):
    save_folder(parts, tmp_path / "model")
    again = load_tokens(tmp_path / "model")
    assert (again.about, again.timesteps, again.model.training) == ({"kind": "setups"}, 7, False)
    for name, x in model.state_dict().items():
        assert torch.equal(x, again.model.state_dict()[name])


def test_it_is_no_player(parts, tmp_path):
    save_folder(parts, tmp_path / "model")
    with pytest.raises(CheckpointError, match="a model of what comes next, which plays nothing"):
        agents.load(tmp_path / "model")


def test_an_agent_is_no_token_model(run):
    with pytest.raises(CheckpointError, match="holds no model of what comes next, but 'RecurrentPolicy'"):
        read_tokens(read(run))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("tokens", 0, "tokens must be int in 1..1.04858e"),
        ("tokens", 6, "do not fit the policy they claim: expected 'embedding.weight'"),
        ("timesteps", -1, "timesteps must be int"),
        ("about", None, "about must be an object, got None"),
        ("policy", [], "policy must be an object"),
        ("policy", {"lstm_hidden_size": 10**9}, "do not fit the policy they claim: lstm_hidden_size is 10"),
        ("policy", {"embedding_dim": 10**9}, "do not fit the policy they claim: embedding_dim is 10"),
        ("policy", {"cell": "os:system"}, "does not fit this version"),
        ("policy", {"net_arch": []}, "does not fit this version"),
        ("policy", {"dropout": 2.0}, "does not fit this version"),
    ],
)
def test_what_no_model_can_be_is_refused_and_not_built(parts, key, value, told):
    agent = json.loads(parts["agent.json"]) | {key: value}
    stored = Stored(parts | {"agent.json": json.dumps(agent).encode()}, "file")
    with pytest.raises(CheckpointError, match=told):
        read_tokens(stored)
