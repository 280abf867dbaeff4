"""What the tests of files share: the files of a model, ways to change them, and that they are refused."""

from __future__ import annotations

import json

import pytest
import torch

import envs
from agents import MaskableRecurrentPPO, load
from agents.files import CheckpointError, packed, read_tensors, save_folder, tensor_bytes

KUHN = envs.make("kuhn_poker")
TICTACTOE = envs.make("phantom_tictactoe")

TRAIN = (MaskableRecurrentPPO.load,)


def files_of(model):
    """The files of a model's checkpoint."""
    return packed(model.parts())


def agent_files(model):
    """The files of its agent alone."""
    return packed(model.agent_parts())


def plays(agent, steps=20):
    """The agent's draws in both seats of 8 matches."""
    batch, told = envs.Batch(TICTACTOE, 8), []
    agent.reset(8)
    for _ in range(steps):
        told.append(agent.act(batch.observation, batch.legal, batch.seat).clone())
        batch.step(told[-1])
        agent.restart(batch.over)
    return torch.stack(told)


def weights(model):
    """All weights by name: the policy's, the moving average's, the magnet's and the optimiser's moments."""
    policies = {"policy": model.policy, "ema": model.ema, "magnet": model.magnet}
    named = {f"{name}.{k}": x for name, policy in policies.items() for k, x in policy.state_dict().items()}
    named = {name: x.clone() for name, x in named.items()}
    return named | {k: x for k, x in model.state_dict().items() if k.startswith("optimizer")}


def refused(path, error=CheckpointError, match=None, reader=load):
    """`load` says in one line that this is no agent."""
    with pytest.raises(error, match=match) as caught:
        reader(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def same(one, two):
    return all(torch.equal(x, two.state_dict()[name]) for name, x in one.state_dict().items())


def told(files, name, **changed):
    """The files with other entries in a JSON file; a name with a dot is of the object inside."""
    value = json.loads(files[name])
    for key, entry in changed.items():
        value[key] = {**value[key], **entry} if isinstance(entry, dict) and key in value else entry
    return files | {name: json.dumps(value).encode()}


def stated(files, **changed):
    """The files with other tensors in the training state; None takes one out, a number fills it."""
    state = read_tensors(files["training.safetensors"], "")
    for name, x in changed.items():
        name = name.replace("__", ".")
        if x is None:
            del state[name]
        else:
            state[name] = x if isinstance(x, torch.Tensor) else torch.full_like(state[name], x)
    return files | {"training.safetensors": tensor_bytes(state)}


def refused_when_saved(files, path, match, readers=(load, MaskableRecurrentPPO.load), **how):
    save_folder(files, path)
    for reader in readers:
        with pytest.raises(CheckpointError, match=match) as caught:
            reader(path, **how)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1_000


def step(run, n):
    return run / "checkpoints" / f"step_{n}"


def damage(folder, name="policy.safetensors"):
    """One bit of a file."""
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
