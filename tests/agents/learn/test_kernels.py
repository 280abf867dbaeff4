"""The compiled loops of an update beside their readable forms."""

from __future__ import annotations

import copy

import pytest
import torch
from models import weights
from torch import nn

from agents.learn import kernels, returns
from agents.learn.kernels import Adam
from agents.learn.ppo import Sample, ppo_loss
from agents.learn.settings import Moment
from agents.net import hand
from agents.net.distributions import Categorical


def near(found, exact):
    return float((found.double() - exact.double()).abs().max()) <= 1e-6 * max(1.0, float(exact.abs().max()))


# ---------------------------------------------------------------- advantages


@pytest.mark.parametrize("seed", range(20))
def test_advantages_are_the_readable_ones_bit_for_bit(seed):
    g = torch.Generator().manual_seed(seed)
    T, B, P = (int(torch.randint(1, most, (), generator=g)) for most in (12, 9, 5))
    carried = int(torch.randint(T, (), generator=g))
    told = (
        torch.randn(T, B, P, generator=g),
        torch.randn(T, B, generator=g),
        torch.randint(P, (T, B), generator=g),
        torch.rand(T, B, generator=g) < 0.2,
        torch.randn(B, generator=g),
        torch.randint(P, (B,), generator=g),
    )
    found = returns.seat_advantages(*told, 0.97, 0.9, carried)
    exact = returns.reference(*told, 0.97, 0.9, carried)
    assert all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))


# ---------------------------------------------------------------- the loss


def played(N=200, A=7, seed=1):
    """Unmasked logits, values, and decisions of which some do not count and many ratios are clipped."""
    g = torch.Generator().manual_seed(seed)
    legal = torch.rand(N, A, generator=g) < 0.5
    action = torch.randint(A, (N,), generator=g)
    legal[torch.arange(N), action] = True
    numbers = torch.randn(4, N, generator=g)
    sample = Sample(
        action=action,
        legal=legal,
        log_prob=numbers[0] - 1.5,
        distribution=torch.zeros(0),
        value=torch.zeros(0),
        magnet=torch.zeros(0),
        advantage=numbers[1],
        target=numbers[2],
        counts=torch.rand(N, generator=g) < 0.8,
    )
    return torch.randn(N, A, generator=g), numbers[3], sample


def both_losses(logits, value, s, c):
    """The kernel's parts and derivatives, and those of `ppo_loss` in float64."""
    told = s.legal, s.action, s.log_prob, s.advantage, s.target, s.counts, s.magnet, s.weight
    found = kernels.clipped_loss(
        logits, value, told, (c.clip_range, c.normalize_advantage, c.ent_coef, c.vf_coef, c.magnet_coef)
    )
    logits, value = logits.double().requires_grad_(), value.double().requires_grad_()
    s = Sample(*(x.double() if x.is_floating_point() else x for x in s))
    family = Categorical(logits.shape[1])
    loss, parts = ppo_loss(family, family.normalise(logits, s.legal), value, s, c)
    return found, parts, torch.autograd.grad(loss, [logits, value])


@pytest.mark.parametrize(
    "c", [Moment(ent_coef=0.05, vf_coef=0.7), Moment(normalize_advantage=False, clip_range=0.01)], ids=str
)
def test_the_loss_and_its_derivatives(c):
    logits, value, s = played()
    found, parts, derivatives = both_losses(logits, value, s, c)
    assert found.parts == pytest.approx({name: float(x) for name, x in parts.items()}, abs=1e-6, rel=1e-6)
    assert 0.1 < found.parts["clip_fraction"] < 1.0
    assert all(near(a, b) for a, b in zip(found.derivatives, derivatives, strict=True))
    assert not found.derivatives[0][~s.legal].any()
    assert not found.derivatives[1][~s.counts].any()


def test_decisions_weigh_as_the_readable_loss_says():
    logits, value, s = played()
    weight = 2.0 * torch.rand(len(s.counts), generator=torch.Generator().manual_seed(3))
    c = Moment(ent_coef=0.05, magnet_coef=0.3)
    found, parts, derivatives = both_losses(logits, value, s._replace(weight=weight), c)
    assert found.parts == pytest.approx({name: float(x) for name, x in parts.items()}, abs=1e-6, rel=1e-6)
    assert all(near(a, b) for a, b in zip(found.derivatives, derivatives, strict=True))
    plain, *_ = both_losses(logits, value, s, c)
    assert all(
        near(a / w, b)
        for a, b, w in zip(found.derivatives, plain.derivatives, (weight[:, None], weight), strict=True)
    )
    for name in ("approx_kl", "clip_fraction"):  # of decisions as they come
        assert found.parts[name] == plain.parts[name]


def test_what_does_not_count_may_be_anything():
    """An opponent's action that the mask forbids, and numbers that are none."""
    logits, value, s = played()
    expected, *_ = both_losses(logits, value, s, Moment())
    broken = s._replace(
        legal=s.legal & s.counts[:, None],
        log_prob=torch.where(s.counts, s.log_prob, torch.nan),
        advantage=torch.where(s.counts, s.advantage, torch.inf),
    )
    found, *_ = both_losses(logits, value, broken, Moment())
    assert found.parts == expected.parts
    assert all(torch.equal(a, b) for a, b in zip(found.derivatives, expected.derivatives, strict=True))


def test_nothing_that_counts_moves_nothing():
    logits, value, s = played()
    found, *_ = both_losses(logits, value, s._replace(counts=torch.zeros_like(s.counts)), Moment())
    assert found.parts["loss"] == 0.0
    assert not any(x.any() for x in found.derivatives)


@pytest.mark.parametrize("is_uniform", [True, False])
def test_a_magnet_draws_as_the_readable_loss_says(is_uniform):
    logits, value, s = played()
    if not is_uniform:
        g = torch.Generator().manual_seed(5)
        others = torch.randn(logits.shape, generator=g).masked_fill(~s.legal, -torch.inf)
        s = s._replace(magnet=others.log_softmax(-1))
    found, parts, derivatives = both_losses(logits, value, s, Moment(ent_coef=0.05, magnet_coef=0.3))
    assert found.parts == pytest.approx({name: float(x) for name, x in parts.items()}, abs=1e-6, rel=1e-6)
    assert found.parts["kl_magnet"] > 0.1
    assert all(near(a, b) for a, b in zip(found.derivatives, derivatives, strict=True))


def test_a_magnet_where_the_policy_is_draws_nowhere():
    logits, value, s = played()
    own = logits.masked_fill(~s.legal, -torch.inf).log_softmax(-1)
    found, *_ = both_losses(logits, value, s._replace(magnet=own), Moment(magnet_coef=0.3))
    without, *_ = both_losses(logits, value, s, Moment())
    assert found.parts["kl_magnet"] == pytest.approx(0.0, abs=1e-6)
    assert near(found.derivatives[0], without.derivatives[0])


@pytest.mark.parametrize("field", ["log_prob", "advantage", "target"])
def test_a_loss_that_is_no_number_says_so(field):
    logits, value, s = played()
    row = int(s.counts.nonzero()[0])
    getattr(s, field)[row] = torch.nan
    found, *_ = both_losses(logits, value, s, Moment())
    assert not found.is_finite()


# ---------------------------------------------------------------- clipping and Adam


def with_gradients(seed=2, scale=1.0):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 1))
    for parameter in network.parameters():
        parameter.grad = scale * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("most", [0.5, 1e9])
def test_gradients_are_clipped_as_torch_clips_them(most):
    mine, torchs = with_gradients(), with_gradients()
    norm = kernels.clip_gradients(list(mine.parameters()), most)
    expected = nn.utils.clip_grad_norm_(torchs.parameters(), most)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    for p, q in zip(mine.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=2e-6, atol=0)


def steps(network, optimizer, count, first=0):
    """So many, with gradients that depend on the step alone."""
    for k in range(first, first + count):
        torch.manual_seed(100 + k)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (1 + k)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype)
        optimizer.step()


def test_adam_steps_as_torchs_does_and_remembers_the_same():
    """Ten steps of each; then each goes on from the other's state."""
    mine, torchs = with_gradients(), with_gradients()
    ours = Adam(mine.parameters(), 1e-2, eps=1e-5, fused=True)
    theirs = torch.optim.Adam(torchs.parameters(), 1e-2, eps=1e-5, fused=True)
    steps(mine, ours, 10)
    steps(torchs, theirs, 10)
    for a, b in zip(weights(mine), weights(torchs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    told = ours.state_dict()
    assert told["state"].keys() == theirs.state_dict()["state"].keys()
    assert all(moments["step"] == 10 for moments in told["state"].values())

    other = with_gradients()
    other.load_state_dict(mine.state_dict())
    again = torch.optim.Adam(other.parameters(), 1.0, eps=1e-5, fused=True)
    again.load_state_dict(copy.deepcopy(told))
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    steps(mine, ours, 5, 10)
    steps(other, again, 5, 10)
    for a, b in zip(weights(mine), weights(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_adam_steps_rightly_when_weights_are_laid_anew_between_two_steps():
    """Column after column instead of row after row, and back: the same numbers as torch's plain Adam makes.
    torch's fused one comes to others."""

    def laid_anew(network):
        for parameter in network.parameters():
            if parameter.dim() == 2:
                parameter.data = parameter.data.t().contiguous().t()

    def laid_back(network):
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()

    mine, torchs = with_gradients(), with_gradients()
    ours = Adam(mine.parameters(), 1e-2, eps=1e-5, fused=True)
    theirs = torch.optim.Adam(torchs.parameters(), 1e-2, eps=1e-5, foreach=False)
    for k, change in enumerate((lambda _: None, laid_anew, laid_back)):
        change(mine)
        steps(mine, ours, 3, 3 * k)
        steps(torchs, theirs, 3, 3 * k)
        for a, b in zip(weights(mine), weights(torchs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert ours.param_groups[0]["fused"]


def test_adam_leaves_weights_of_another_dtype_to_torch():
    """The same tensor, now with float64 numbers: none of them is read as two of float32."""
    network = with_gradients()
    optimizer = Adam(network.parameters(), 1e-2, fused=True)
    steps(network, optimizer, 1)
    before = [p.double() for p in weights(network)]
    network.double()
    with pytest.raises(RuntimeError, match="expected scalar type Double but found Float"):  # torch's own word
        steps(network, optimizer, 1, 1)
    assert all(map(torch.equal, weights(network), before))


def test_a_copy_of_adam_moves_its_own_weights():
    network = with_gradients()
    optimizer = Adam(network.parameters(), 1e-2, fused=True)
    steps(network, optimizer, 2)
    other, twin = copy.deepcopy((network, optimizer))
    before = weights(network)
    steps(other, twin, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(weights(network), before, strict=True))
    assert not torch.equal(weights(other)[0], before[0])


# ---------------------------------------------------------------- all of an update


def test_a_compiled_update_learns_what_the_readable_one_learns(make_model, monkeypatch):
    """One update of 4 steps from the same rollout; float32's rounding is all that differs."""
    found = []
    for is_readable in (False, True):
        model = make_model("phantom_tictactoe", 16, n_steps=8, batch_size=64, n_epochs=2, ent_coef=0.05)
        with monkeypatch.context() as patch:
            if is_readable:
                patch.setattr(kernels, "is_readable", lambda _: False)
                patch.setattr(hand, "is_known", lambda _: False)
            model.learn(16 * 8)
        found.append(weights(model.policy))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)
