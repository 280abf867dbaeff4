"""Families of action distributions: exact masks, and torch's own distributions as the oracle."""

from __future__ import annotations

import math

import pytest
import torch
from gymnasium import spaces

from agents.net.distributions import Categorical, Gaussian, MultiCategorical, make_family

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
