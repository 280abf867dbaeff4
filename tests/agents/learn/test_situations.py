"""Situations: what a seat can tell apart, and what decisions weigh by how often one comes."""

from __future__ import annotations

import pytest
import torch

import envs
from agents import MaskableRecurrentPPO
from agents.learn import situations
from agents.learn.ppo import decisions_of
from agents.learn.rollout import Collector
from envs.tree import build


@pytest.fixture
def rollouts(make_model):
    """Two rollouts of Leduc poker, one after another; matches run on between them."""
    model = make_model("leduc_poker", 256, n_steps=12, batch_size=12)
    collector = Collector(model.batch, model.policy)
    collector.tells_situations = True
    return [collector.collect(model.policy, 12, model.generator) for _ in range(2)]


def test_they_are_the_information_sets_of_the_tree(rollouts):
    """Of every decision the tree finds the set, by all that its seat saw and did: one number each."""
    tree = build(envs.make("leduc_poker"))
    number_of = {}
    stand = torch.arange(2).repeat(256, 1)  # each seat's own sequence
    for rollout in rollouts:
        for t in range(12):
            stand[rollout.start[t]] = torch.arange(2)
            for b, p in enumerate(rollout.seat[t].tolist()):
                found = tree.find(int(stand[b, p]), rollout.observation[t, b].numpy())
                here = int(rollout.situation[t, b])
                assert number_of.setdefault(found, here) == here
                actions = tree.action[tree.begin[found] : tree.begin[found + 1]].tolist()
                stand[b, p] = int(tree.begin[found]) + actions.index(int(rollout.action[t, b]))
    assert len(number_of) > 500
    assert len(set(number_of.values())) == len(number_of)


def test_who_sees_numbers_is_told_apart_by_them():
    stand = situations.begin(3, 1)
    seat, start = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool)
    seen = torch.tensor([[0.5, 1.0], [0.5, 1.0], [0.5, 1.0000001]])
    _, here = situations.enter(stand, seen, seat, torch.zeros(3, 2), start)
    assert here[0] == here[1] != here[2]


def test_a_decision_weighs_by_how_often_its_situation_came():
    """Of 7, 7, 7, 7, 9 the last does not count where it stands a second time: 4 ** -0.5 to 1 ** -0.5."""
    situation = torch.tensor([7, 7, 9, 7, 9, 7])
    counts = torch.tensor([True, True, True, True, False, True])
    weight = situations.weights_of(situation, counts, 0.5)
    assert weight[counts].mean() == pytest.approx(1.0)
    assert weight[2] / weight[0] == pytest.approx(2.0)
    assert torch.equal(situations.weights_of(situation, counts, 0.0), torch.ones(6))


def test_all_situations_weigh_alike_with_a_balance_of_1(rollouts):
    _, rollout = rollouts
    sample = decisions_of(rollout, 1.0, 0.5, balance=1.0)
    situation = torch.cat([rollout.before.situation, rollout.situation])[sample.counts]
    _, which = situation.unique(return_inverse=True)
    sums = torch.zeros(int(which.max()) + 1).index_add(0, which, sample.weight[sample.counts])
    assert sums.tolist() == pytest.approx([float(sums.mean())] * len(sums), rel=1e-5)


def test_nobody_pays_who_did_not_ask(make_model):
    model = make_model("kuhn_poker", 4, n_steps=8, batch_size=8)
    collector = Collector(model.batch, model.policy)
    rollout = collector.collect(model.policy, 8, model.generator)
    assert rollout.situation.numel() == 0
    assert decisions_of(rollout, 1.0, 0.9, balance=0.5).weight.numel() == 0
    assert "stand" not in collector.state_dict()
    assert "before.situation" not in collector.state_dict()


def test_training_goes_on_bit_for_bit(tmp_path):
    """Where matches stand is in the file; without it the first decisions after it would weigh otherwise."""

    def made():
        return MaskableRecurrentPPO(
            "MlpLstmPolicy", envs.Batch(envs.make("leduc_poker"), 16, seed=2), n_steps=5, batch_size=40,
            policy_kwargs={"lstm_hidden_size": 8}, balance=0.5, n_epochs=1, seed=1, device="cpu",
        )  # fmt: skip

    straight = made().learn(3 * 80)
    straight.save(tmp_path / "a.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a.zip", device="cpu")
    assert loaded.balance == 0.5
    for one in (straight, loaded):
        one.learn(2 * 80, reset_num_timesteps=False)
    assert all(map(torch.equal, straight.policy.parameters(), loaded.policy.parameters()))
    assert torch.equal(straight.rollout.situation, loaded.rollout.situation)


def test_a_balance_may_come_and_go(make_model):
    """As all settings may between two calls of learn: what was carried over without situations is dropped."""
    model = make_model("kuhn_poker", 16, n_steps=8, batch_size=64)
    told = []
    for balance in (0.0, 0.5, 0.5, 0.0):
        model.balance = balance
        model.learn(128, reset_num_timesteps=False)
        told.append((model.rollout.situation.numel(), model.rollout.before is not None))
    assert told == [(0, False), (128, False), (128, True), (0, False)]


@pytest.mark.parametrize("was", [0.0, 0.5])
def test_a_balance_that_changed_before_a_save_is_read_again(make_model, tmp_path, was):
    """The file tells another balance than the matches in it were played with."""
    model = make_model("kuhn_poker", 16, n_steps=8, batch_size=64)
    model.balance = was
    model.learn(128)
    model.balance = 0.5 - was
    model.save(tmp_path / "a.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a.zip", device="cpu")
    loaded.learn(128, reset_num_timesteps=False)
    assert loaded.rollout.situation.numel() == (128 if was == 0.0 else 0)
