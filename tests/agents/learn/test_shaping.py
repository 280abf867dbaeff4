"""Shaping: the advantages are those of explicitly shaped rewards, and nothing else knows of it."""

from __future__ import annotations

import copy
import dataclasses
import types

import pytest
import torch

import envs
from agents import MaskableRecurrentPPO
from agents.learn import algorithm
from agents.learn.ppo import shaped_values, update
from agents.learn.returns import seat_advantages
from agents.learn.rollout import Collector
from agents.learn.schedules import Linear
from agents.learn.settings import Moment
from agents.run.config import read_config
from agents.run.selfplay import make_model as model_of

C, GAMMA, LAMBDA = 0.5, 0.9, 0.8


def potential(observation):
    """Of an observation [..., 1]: its number."""
    return observation[..., 0].float()


def card(observation):
    """Of Kuhn poker's: 1 with the king, 0 with the queen, -1 with the jack."""
    return observation[..., 0].float() - 2.0


def shaped(reward, seat, over, phi, next_seat, next_phi):
    """Rewards [T, B, P] with F = gamma C Phi(next own decision) - C Phi(this one) added, one by one.

    A decision without a next one in the rollout and without an end keeps -C Phi alone: its outcome is not
    known.
    """
    reward = reward.clone()
    T, B, _ = reward.shape
    for b in range(B):
        for t in range(T):
            p = int(seat[t, b])
            reward[t, b, p] -= C * phi[t, b]
            for later in range(t, T):
                if over[later, b]:
                    break
                if later + 1 < T and seat[later + 1, b] == p:
                    reward[t, b, p] += GAMMA * C * phi[later + 1, b]
                    break
                if later + 1 == T and next_seat[b] == p:
                    reward[t, b, p] += GAMMA * C * next_phi[b]
    return reward


def told(numbers):
    return pytest.approx(numbers, abs=1e-6)


def test_a_match_told_backwards():
    """Seats 0 1 0 1, C = 1/2, gamma 0.9, lambda 0.8; seat 1 wins; Phi = 0.4, -0.2, 0.6, 0.8; values 0.

    Seat 0:  F_0 = 0.45 * 0.6 - 0.5 * 0.4 = 0.07 and, at its last decision, F = -0.3
        t = 2:  -1 - 0.3                         = -1.3
        t = 0:   0 + 0.07 + 0.72 * (-1.3)        = -0.866
    Seat 1:  F_0 = 0.45 * 0.8 + 0.5 * 0.2 = 0.46 and, at its last decision, F = -0.4
        t = 3:   1 - 0.4                         =  0.6
        t = 1:   0 + 0.46 + 0.72 * 0.6           =  0.892
    """
    phi = torch.tensor([[0.4], [-0.2], [0.6], [0.8]])
    rollout = types.SimpleNamespace(
        value=torch.zeros(4, 1),
        observation=phi[..., None],
        next_value=torch.zeros(1),
        next_observation=torch.full((1, 1), 7.0),  # of the next match
    )
    value, next_value = shaped_values(rollout, potential, C)
    reward = torch.zeros(4, 1, 2)
    reward[3, 0] = torch.tensor([-1.0, 1.0])
    seat, over = torch.tensor([[0], [1], [0], [1]]), torch.tensor([[False], [False], [False], [True]])
    advantage, known = seat_advantages(
        reward, value, seat, over, next_value, torch.tensor([0]), GAMMA, LAMBDA
    )
    assert advantage[:, 0].tolist() == told([-0.866, 0.892, -1.3, 0.6])
    assert known.all()


@pytest.fixture
def task():
    """A model of Kuhn poker and a rollout of 7 x 16 decisions, in which matches begin, end and go on."""
    model = MaskableRecurrentPPO(
        "MlpLstmPolicy",
        envs.Batch(envs.make("kuhn_poker"), 16),
        n_steps=7,
        batch_size=112,
        seed=1,
        policy_kwargs={"lstm_hidden_size": 8, "features_dim": 8},
    )
    collector = Collector(model.batch, model.policy)
    collector.collect(model.policy, 7, model.generator)
    return model, collector.collect(model.policy, 7, model.generator)


def test_an_update_is_that_of_explicitly_shaped_rewards(task):
    """The same rollout with F written into its rewards, and without a potential: the same advantages,
    and after two epochs the same weights. Its first decisions tell what those before it waited for."""
    model, rollout = task
    both = [torch.cat([getattr(r, n) for r in (rollout.before, rollout)]) for n in ("reward", "seat", "over")]
    phi = torch.cat([card(rollout.before.observation), card(rollout.observation)])
    reward = shaped(*both, phi, rollout.next_seat, card(rollout.next_observation))
    explicit = dataclasses.replace(
        rollout, reward=reward[-7:], before=dataclasses.replace(rollout.before, reward=reward[:-7])
    )
    assert not torch.allclose(explicit.reward, rollout.reward)
    value, next_value = shaped_values(rollout, card, C)
    both = [
        seat_advantages(r.reward, v, r.seat, r.over, n, r.next_seat, GAMMA, LAMBDA)
        for r, v, n in ((rollout, value, next_value), (explicit, explicit.value, explicit.next_value))
    ]
    assert torch.equal(both[0][1], both[1][1])
    torch.testing.assert_close(both[0][0], both[1][0])

    weights = []
    for given, potential, shaping_coef in (
        (rollout, card, C), (explicit, None, 0.0), (rollout, None, 0.0), (rollout, card, 0.0),
    ):  # fmt: skip
        policy = copy.deepcopy(model.policy)
        descent = torch.optim.SGD(policy.parameters(), lr=0.1)
        settings = Moment(
            n_epochs=2, batch_size=112, gamma=GAMMA, gae_lambda=LAMBDA, max_grad_norm=1.0,
            shaping_coef=shaping_coef,
        )  # fmt: skip
        shuffled = torch.Generator().manual_seed(0)
        update(policy, descent, given, settings, potential=potential, generator=shuffled)
        weights.append(torch.cat([x.detach().flatten() for x in policy.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-6)
    assert (weights[0] - weights[2]).abs().max() > 1e-3
    assert torch.equal(weights[2], weights[3])


def test_shaping_fades_away_and_is_kept_in_files(make_model, monkeypatch, tmp_path):
    """Linear from 0.5 over 4 updates: their weights are 3/4, 2/4, 1/4 and 0 of it. Rewards stay Kuhn's."""
    monkeypatch.setattr(envs.GAMES["kuhn_poker"], "potential", staticmethod(card))
    used = []
    monkeypatch.setattr(
        algorithm, "update", lambda *a, **k: used.append(a[3].shaping_coef) or update(*a, **k)
    )
    model = make_model(shaping_coef=Linear(0.5))
    model.learn(4 * 64)
    assert used == [0.375, 0.25, 0.125, 0.0]
    assert set(model.rollout.reward.abs().flatten().tolist()) <= {0.0, 1.0, 2.0}
    model.save(tmp_path / "model.zip")
    assert MaskableRecurrentPPO.load(tmp_path / "model.zip").shaping_coef == Linear(0.5)


def test_a_configuration_may_shape(monkeypatch, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("game: kuhn_poker\nalgo: {shaping_coef: {linear: 0.5}}\nmatches: 32", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"^kuhn_poker has no potential to shape rewards with: shaping_coef must be 0"
    ):
        model_of(read_config(path))
    monkeypatch.setattr(envs.GAMES["kuhn_poker"], "potential", staticmethod(card))
    assert model_of(read_config(path)).shaping_coef == Linear(0.5)
