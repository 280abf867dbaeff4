"""Families of action distributions: exact masks, and torch's own distributions as the oracle."""

from __future__ import annotations

import math

import pytest
import torch
from gymnasium import spaces

from agents.net.distributions import (
    Categorical,
    Gaussian,
    MultiCategorical,
    entropy,
    kl_divergence,
    make_family,
    masked_log_softmax,
    sample,
)

CHOICES = MultiCategorical((2, 3))


def test_a_multidiscrete_distribution_is_the_product_of_its_components():
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    distribution = CHOICES.normalise(logits, torch.ones(4, 5, dtype=torch.bool))
    parts = [torch.distributions.Categorical(logits=part) for part in logits.split((2, 3), -1)]
    action = torch.tensor([[0, 2], [1, 1], [1, 0], [0, 0]])
    torch.testing.assert_close(
        CHOICES.log_prob(distribution, action),
        parts[0].log_prob(action[:, 0]) + parts[1].log_prob(action[:, 1]),
    )
    torch.testing.assert_close(CHOICES.entropy(distribution), parts[0].entropy() + parts[1].entropy())
    assert (
        CHOICES.mode(distribution).tolist() == torch.stack([p.probs.argmax(-1) for p in parts], -1).tolist()
    )


def test_a_share_of_it_is_uniform_over_what_is_legal():
    """By hand: 0.8 p + 0.2 / n with p = 3/4, 1/4 and an illegal one; of two components each its own; a
    normal distribution has no uniform one."""
    legal = torch.tensor([True, True, False])
    p = Categorical(3).normalise(torch.tensor([math.log(3.0), 0.0, 5.0]), legal)
    expected = torch.tensor([0.7, 0.3, 0.0])
    torch.testing.assert_close(Categorical(3).mixed(p, legal, 0.2).exp(), expected)
    both = torch.tensor([True, False, True, True, False])
    q = CHOICES.normalise(torch.tensor([0.0, 0.0, math.log(3.0), 0.0, 5.0]), both)
    torch.testing.assert_close(
        CHOICES.mixed(q, both, 0.2).exp(), torch.cat([torch.tensor([1.0, 0.0]), expected])
    )
    normal = torch.tensor([1.0, 0.5])
    assert torch.equal(Gaussian((1,)).mixed(normal, legal, 0.2), normal)
    never = Categorical(3).mixed(torch.tensor([0.0, -torch.inf, -torch.inf]), legal, 0.2)
    assert float(kl_divergence(p, never)) < 3.0  # finite, where the other never does it


def test_each_component_keeps_to_its_own_mask():
    """Of 2 x 3 actions the mask leaves (1, 0) and (1, 2): over 10,000 draws nothing else, half and half."""
    legal = torch.tensor([False, True, True, False, True]).expand(10_000, 5)
    distribution = CHOICES.normalise(torch.zeros(10_000, 5), legal)
    drawn = CHOICES.sample(distribution, torch.Generator().manual_seed(0))
    assert set(map(tuple, drawn.tolist())) == {(1, 0), (1, 2)}
    assert drawn[:, 1].float().mean() == pytest.approx(1.0, abs=4 * 1.0 / 100)
    assert CHOICES.entropy(distribution)[0] == pytest.approx(math.log(2))
    assert CHOICES.most_entropy(legal)[0] == pytest.approx(math.log(2))
    assert CHOICES.log_prob(distribution[:1], torch.tensor([[0, 0]])).item() == -math.inf


def test_a_mask_must_leave_something_in_each_component():
    legal = torch.tensor([[True, False, False, True, False], [True, True, False, False, False]])
    assert CHOICES.allows_something(legal).tolist() == [True, False]
    assert Categorical(2).allows_something(torch.tensor([[True, False], [False, False]])).tolist() == [
        True,
        False,
    ]


def test_a_gaussian_is_torchs_normal():
    generator = torch.Generator().manual_seed(2)
    p, q = (torch.randn(7, 4, generator=generator) for _ in range(2))
    one, two = (torch.distributions.Normal(x[:, :2], x[:, 2:].exp()) for x in (p, q))
    family, action = Gaussian((2,)), torch.randn(7, 2, generator=generator)
    torch.testing.assert_close(family.log_prob(p, action), one.log_prob(action).sum(-1))
    torch.testing.assert_close(family.entropy(p), one.entropy().sum(-1))
    torch.testing.assert_close(
        family.kl_divergence(p, q), torch.distributions.kl_divergence(one, two).sum(-1), rtol=1e-4, atol=1e-5
    )
    assert torch.equal(family.mode(p), p[:, :2])
    many = family.sample(p[:1].expand(20_000, 4), generator)
    assert (many.mean(0) - p[0, :2]).abs().max() < 4 * p[0, 2:].exp().max() / math.sqrt(20_000)
    torch.testing.assert_close(many.std(0), p[0, 2:].exp(), rtol=0.03, atol=0.0)


def test_actions_in_a_matrix_keep_their_shape():
    family = Gaussian((2, 3))
    parameters = torch.zeros(5, 4, 12)
    action = family.sample(parameters)
    assert action.shape == (5, 4, 2, 3)
    torch.testing.assert_close(family.log_prob(parameters, action).shape, torch.Size([5, 4]))


@pytest.mark.parametrize(
    ("space", "family"),
    [
        (spaces.Discrete(4), Categorical(4)),
        (spaces.MultiDiscrete([2, 5]), MultiCategorical((2, 5))),
        (spaces.Box(-1, 1, (3,)), Gaussian((3,))),
    ],
)
def test_the_space_decides(space, family):
    assert make_family(space) == family
    assert family.no_action().shape == family.shape


@pytest.mark.parametrize(
    "space",
    [
        *(spaces.Discrete(3, start=1), spaces.MultiBinary(4), spaces.Box(-1, 1, ())),
        spaces.Dict({"a": spaces.Discrete(2)}),
    ],
)
def test_an_unknown_space_is_refused(space):
    with pytest.raises(
        ValueError, match=r"no distribution for the action space .*; known are Box, and Discrete"
    ):
        make_family(space)


def test_a_gaussian_is_drawn_to_no_uniform_distribution():
    with pytest.raises(ValueError, match="has no uniform distribution"):
        Gaussian((1,)).most_entropy(torch.ones(1, 0, dtype=torch.bool))


# ---------------------------------------------------------------- masked log-probabilities


def test_illegal_actions_have_probability_zero_exactly():
    logits = torch.tensor([1.0, 1000.0, 1.0, -1000.0])
    log_probs = masked_log_softmax(logits, torch.tensor([True, False, True, False]))
    assert log_probs.exp().tolist() == pytest.approx([0.5, 0.0, 0.5, 0.0])
    assert (log_probs.exp() == 0.0).tolist() == [False, True, False, True]


def test_a_single_legal_action_is_certain():
    log_probs = masked_log_softmax(torch.tensor([3.0, -7.0, 5.0]), torch.tensor([False, True, False]))
    assert log_probs.exp().tolist() == [0.0, 1.0, 0.0]
    assert entropy(log_probs) == 0.0


def test_with_every_action_legal_it_is_the_softmax():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(masked_log_softmax(logits, torch.ones(5, 7, dtype=torch.bool)), logits.log_softmax(-1))


@pytest.mark.parametrize("legal_actions", [1, 2, 10_000])
def test_no_number_is_nan_and_gradients_are_finite(legal_actions):
    """10,000 actions with logits up to +-1000, of which one, two or all are legal."""
    logits = torch.linspace(-1e3, 1e3, 10_000).repeat(2, 1).requires_grad_()
    legal = torch.zeros(2, 10_000, dtype=torch.bool)
    legal[0, :legal_actions], legal[1, 10_000 - legal_actions :] = True, True
    log_probs = masked_log_softmax(logits, legal)
    assert not log_probs.isnan().any()
    assert (log_probs.isneginf() == ~legal).all()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2))
    (log_probs[0, 0] + log_probs[1, -1] + entropy(log_probs).sum()).backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[~legal].any()


def test_entropy_by_hand():
    """(1/2, 1/4, 1/4, 0): 1/2 ln 2 + 2 * 1/4 ln 4 = 3/2 ln 2."""
    log_probs = torch.tensor([0.5, 0.25, 0.25, 0.0]).log()
    assert entropy(log_probs).item() == pytest.approx(1.5 * math.log(2.0), abs=1e-6)


def test_draws_are_legal_and_as_frequent_as_they_are_probable():
    """100,000 draws of (0.1, 0, 0.6, 0.3, 0): counts within 4 standard errors sqrt(n p (1 - p))."""
    n, p = 100_000, torch.tensor([0.1, 0.0, 0.6, 0.3, 0.0])
    drawn = sample(p.log().expand(n, 5), torch.Generator().manual_seed(0))
    counts = drawn.bincount(minlength=5)
    assert counts[1] == counts[4] == 0
    assert ((counts - n * p).abs() <= 4 * (n * p * (1 - p)).sqrt()).all()


def test_the_same_generator_draws_the_same():
    log_probs = torch.zeros(1000, 4).log_softmax(-1)
    one, two = (sample(log_probs, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)


def test_kl_divergence_has_no_nan_under_a_mask():
    log_p = torch.tensor([[0.0, -torch.inf]], requires_grad=True)
    kl = kl_divergence(log_p, torch.tensor([[0.0, -torch.inf]]))
    kl.sum().backward()
    assert kl.item() == 0.0
    assert log_p.grad.isfinite().all()
