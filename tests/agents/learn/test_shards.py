"""Shards: their deals, the gradient as a sum, draws of their own, and what rank 0 sees of them."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

import envs
from agents import MaskableRecurrentPPO, Opposition, fixed_player
from agents.learn.group import ALONE
from agents.learn.kernels import Moments
from agents.learn.ppo import decisions_of, pieces_of, update
from agents.learn.rollout import TIMED, Collector
from agents.learn.settings import Moment
from agents.learn.shards import AT_THE_END, _moments, cut, in_order, looked_at, together, update_together
from envs.core import seed_from_lane

KUHN = envs.make("kuhn_poker")


def learner(**changes):
    """A model of 16 matches, its weights far from where they began, that has played twice."""
    kwargs = {"cell": "gated", "lstm_hidden_size": 8, "features_dim": 8}
    model = MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(KUHN, 16), policy_kwargs=kwargs, seed=1)
    with torch.no_grad():
        for p in model.policy.parameters():
            p.mul_(3.0)
    collector = Collector(envs.Batch(KUHN, 16), model.policy, **changes)
    generator = torch.Generator().manual_seed(5)
    collector.collect(model.policy, 8, generator)
    return model, collector.collect(model.policy, 8, generator)


def parts(rollout, shards):
    """The rollout of so many shards: equal shares of the matches, the end of the one before among it."""
    size = rollout.shape[1] // shards

    def of(one, rows):
        told = {name: getattr(one, name)[:, rows] for name in TIMED if getattr(one, name).dim() > 1}
        told |= {name: getattr(one, name)[rows] for name in AT_THE_END}
        before = None if one.before is None else of(one.before, rows)
        return dataclasses.replace(one, **told, memory=one.memory.select(rows), before=before)

    return [of(rollout, torch.arange(k * size, (k + 1) * size)) for k in range(shards)]


# ---------------------------------------------------------------- deals and draws


@pytest.mark.parametrize("seed", [0, 7, 2**63 + 11])
def test_a_shard_deals_what_its_matches_would_have_been_dealt_in_one_batch(seed):
    whole = envs.Batch(KUHN, 24, seed=seed)
    part = envs.Batch(KUHN, 8, seed=seed_from_lane(seed, 16))
    for _ in range(6):
        assert (whole.states[16:] == part.states).all()
        whole.step(whole.legal.int().argmax(-1))
        part.step(part.legal.int().argmax(-1))
    assert seed_from_lane(seed, 0) == seed


def test_the_shards_deal_the_matches_of_one_run():
    shards, whole = cut(KUHN, 16, 4, "cpu", 3, ALONE), envs.Batch(KUHN, 16)
    model = MaskableRecurrentPPO("MlpLstmPolicy", whole, seed=3)
    model.lanes.deal(3, 2)
    for shard in shards.own:
        shard.lanes.deal(3, 2)
    assert (torch.cat([shard.lanes.observation for shard in shards.own]) == whole.observation).all()


def test_every_shard_draws_for_itself():
    """Other actions, orders, opponents and dropout than the other shards; none of torch's common numbers."""
    bots = [fixed_player("random", KUHN), fixed_player("bot", KUHN)]
    shards = cut(
        KUHN, 64, 2, "cpu", 3, ALONE, lambda matches, seed: Opposition(KUHN, matches, 1.0, bots, 0, seed)
    )
    one, two = shards.own
    assert not torch.equal(one.opposition.opponent, two.opposition.opponent)
    for name in ("generator", "shuffler"):
        drawn = [torch.rand(4, generator=getattr(shard, name)) for shard in shards.own]
        assert not torch.equal(*drawn)

    policy, before = nn.Dropout(0.5), torch.get_rng_state()
    drawn = []
    for shard in (one, two, one):
        with shard.noisy(policy):
            drawn.append(policy(torch.ones(64)))
    assert len({tuple(x.tolist()) for x in drawn}) == 3
    assert torch.equal(torch.get_rng_state(), before)
    again = cut(KUHN, 64, 2, "cpu", 3, ALONE).own[0]
    torch.rand(1)  # whatever else was drawn
    with again.noisy(policy):
        assert torch.equal(policy(torch.ones(64)), drawn[0])


# ---------------------------------------------------------------- one update


@pytest.mark.parametrize(
    "changes", [{}, {"clip_range_vf": 0.2, "kl_coef": 0.1}, {"normalize_advantage": False}]
)
@pytest.mark.parametrize("is_exact", [True, False])
def test_the_gradient_is_the_sum_over_shards(changes, is_exact):
    """One minibatch of all matches, by the compiled loss and by the readable one: the same step as uncut."""
    model, rollout = learner()
    c = Moment(batch_size=None, n_epochs=1, ent_coef=0.05, magnet_coef=0.1, **changes)
    cut_policy, policy = copy.deepcopy(model.policy), model.policy
    found = []
    for one in (policy, cut_policy):
        optimizer = torch.optim.SGD(one.parameters(), 1.0)
        if one is policy:
            found.append(update(one, optimizer, rollout, c))
        else:
            shards = dataclasses.replace(cut(KUHN, 16, 4, "cpu", 3, ALONE), is_exact=is_exact)
            found.append(update_together(one, optimizer, shards, parts(rollout, 4), c))
    for (name, x), y in zip(policy.named_parameters(), cut_policy.parameters(), strict=True):
        assert torch.allclose(x, y, atol=2e-6), name
    assert found[0].keys() == found[1].keys()
    for name, x in found[0].items():
        assert found[1][name] == pytest.approx(x, abs=2e-5), name


def test_moments_are_those_of_the_whole_minibatch():
    """Two shards of two matches, one minibatch of the first match of each and one of the second."""
    _, rollout = learner()
    two = parts(rollout, 8)[:2]
    played = [decisions_of(one, 1.0, 0.95) for one in two]
    orders = [[(torch.tensor([0]), torch.tensor([1]))] for _ in two]
    shards = cut(KUHN, 4, 2, "cpu", 0, ALONE)
    moments, fit = _moments(shards, played, orders)
    assert len(moments) == 2
    for k, found in enumerate(moments):
        counted = torch.cat([p.advantage[:, k][p.counts[:, k]] for p in played]).double()
        scale = 1.0 / (counted.var(correction=0).sqrt() + 1e-8)
        assert found == pytest.approx(Moments(len(counted), float(counted.mean()), float(scale)), rel=1e-9)
    target = torch.cat([p.target[p.counts] for p in played]).double()
    error = target - torch.cat([p.value[p.counts] for p in played]).double()
    left = float(error.var(correction=0) / target.var(correction=0))
    assert fit == pytest.approx(1.0 - left, abs=1e-9)


def test_an_update_ends_early_by_what_all_shards_have_moved():
    model, rollout = learner()
    c = Moment(batch_size=32, n_epochs=8, target_kl=1e-4, learning_rate=1e-2)
    shards = cut(KUHN, 16, 4, "cpu", 3, ALONE)
    optimizer = torch.optim.Adam(model.policy.parameters(), 1e-2)
    found = update_together(model.policy, optimizer, shards, parts(rollout, 4), c)
    assert 1 <= found["steps"] < 32


def test_a_loss_that_is_not_finite_changes_no_weight():
    model, rollout = learner()
    broken = parts(rollout, 4)
    broken[2].reward[0, 0] = math.inf
    before = [p.clone() for p in model.policy.parameters()]
    optimizer = torch.optim.SGD(model.policy.parameters(), 1.0)
    with pytest.raises(FloatingPointError, match="no longer finite"):
        update_together(
            model.policy,
            optimizer,
            cut(KUHN, 16, 4, "cpu", 3, ALONE),
            broken,
            Moment(batch_size=None, n_epochs=1),
        )
    assert all(map(torch.equal, before, model.policy.parameters()))


def test_a_sum_in_order_is_in_order():
    """1e8 + 1 is 1e8 in float32: from the left the ones are lost, and no process may add them first."""
    rows = torch.tensor([[1e8], [1.0], [1.0], [-1e8]])
    assert in_order(rows).item() == 0.0


# ---------------------------------------------------------------- what rank 0 sees


def test_rank_0_sees_some_matches_of_every_shard():
    _, rollout = learner()
    shares = parts(rollout, 4)
    seen = together([looked_at(one, 16) for one in shares], torch.device("cpu"))  # two of each of four
    rows = torch.tensor([0, 2, 4, 6, 8, 10, 12, 14])
    for mine, whole in zip(pieces_of(seen), pieces_of(rollout), strict=True):
        for name in TIMED:
            if getattr(whole, name).dim() > 1:
                assert torch.equal(getattr(mine, name), getattr(whole, name)[:, rows]), name
        for x, y in zip(mine.memory.cores, whole.memory.select(rows).cores, strict=True):
            assert torch.equal(x, y)
