"""The algorithm over shards, in one process: its state goes on bit for bit, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import envs
from agents import files
from agents.files import CheckpointError
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.group import ALONE, Group
from agents.learn.sharded import ShardedPPO
from agents.learn.shards import cut
from agents.play.opposition import make_opposition

KUHN = envs.make("kuhn_poker")
STEPS = 16 * 8


def learner(shards=4, matches=16, group=ALONE, **changes):
    """With all that has a state: two layers with dropout, a magnet, past selves and bots opposite."""

    def oppose(matches, seed):
        return make_opposition(KUHN, matches, 0.5, ["random", "bot"], 2, seed)

    settings = {
        "n_steps": 8, "batch_size": 64, "n_epochs": 2, "seed": 3, "snapshot_every": 1, "ema_decay": 0.9,
        "magnet": "snapshot", "magnet_coef": 0.1, "magnet_every": 2, "balance": 0.5,
    }  # fmt: skip
    kwargs = {"cell": "lstm", "lstm_hidden_size": 8, "features_dim": 8, "n_lstm_layers": 2}
    kwargs |= {"lstm_kwargs": {"dropout": 0.2}}
    pieces = cut(KUHN, matches, shards, "cpu", 3, group, oppose)
    return ShardedPPO("MlpLstmPolicy", pieces, policy_kwargs=kwargs, **settings | changes)


def stored(model):
    return files.Stored(files.packed(model.parts()), "saved")


def test_it_goes_on_bit_for_bit():
    """Whatever else was drawn from torch's common numbers meanwhile."""
    straight = learner()
    straight.learn(6 * STEPS)
    first = learner()
    first.learn(3 * STEPS)
    second = learner()
    torch.rand(5)
    second.go_on(stored(first))
    second.learn(3 * STEPS, reset_num_timesteps=False)
    found, expected = stored(second), stored(straight)
    for name in ("policy", "ema", "magnet", "training"):
        assert found[f"{name}.safetensors"] == expected[f"{name}.safetensors"], name


def test_one_shard_or_four_are_different_runs_of_the_same_matches():
    four, one = learner(), learner(shards=1)
    assert all(map(torch.equal, one.policy.parameters(), four.policy.parameters()))
    four.learn(STEPS)
    assert four.num_timesteps == STEPS
    with pytest.raises(CheckpointError, match="the saved state has 4 shards, expected 1"):
        one.go_on(stored(four))
    with pytest.raises(CheckpointError, match=r"is of 16 matches of .*, expected 32 of"):
        learner(matches=32).go_on(stored(four))


def test_past_selves_are_kept_once():
    """Four shards have the same two past selves, or what of them still sits somewhere."""
    model = learner()
    model.learn(4 * STEPS)
    kept = {name.split(".")[1] for name in model.state_dict() if name.startswith("past.")}
    assert kept >= {str(number) for number in model.opposition.pool}
    assert not [name for name in model.state_dict() if ".weights." in name]


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"batch_size 8 does not fit 16 .* it must be one of 32, 64, 128$"):
        learner(batch_size=8)
    assert learner(batch_size=None).batch_size == 128


def test_only_rank_0_has_the_state_of_all_and_only_after_gather():
    model = learner(group=Group(0, 2))
    with pytest.raises(RuntimeError, match="on rank 0 alone, and after gather"):
        model.state_dict()


def test_what_a_shard_has_not_played_is_not_learned_from():
    model = learner()
    model.learn(STEPS)
    other = MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(KUHN, 4), n_steps=8, batch_size=8)
    other.learn(32)
    with pytest.raises(ValueError, match="shards are learned from together"):
        model.train(other.rollout)
