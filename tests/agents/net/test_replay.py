"""A network's compiled kernels beside the readable forms: heads, slots, choice, and a replay by hand."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from agents.net.distributions import Categorical, Family, masked_log_softmax
from agents.net.encoders import SlotEncoder
from agents.net.heads import make_head
from agents.net.kernels import choice, heads, slots
from agents.net.policy import RecurrentPolicy
from agents.net.replay import Replayer, Told

NEAR = 2e-6
"""Of the largest number of a result in float64."""


def assert_near(found, exact):
    """Every number of `found` lies within NEAR of the largest of `exact`, which is float64."""
    error = (found.double() - exact).abs().max() / exact.abs().max()
    assert error <= NEAR, float(error)


def threads(monkeypatch, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    monkeypatch.setattr(heads, "WORK", 1)


# ---------------------------------------------------------------- heads


def two_heads(widths, activation=nn.Tanh):
    """Of 9 and 1 outputs, on 64 numbers, with weights that are no longer orthogonal."""
    torch.manual_seed(1)
    both = [make_head([64, *widths, outputs], activation, 1.0) for outputs in (9, 1)]
    for parameter in nn.ModuleList(both).parameters():
        parameter.data += 0.1 * torch.rand_like(parameter)
    return both


def backwards(run, both, x, weights):
    """Outputs, and the gradients by x and by all parameters of weighted sums of them."""
    x = x.detach().requires_grad_()
    outputs = run(both, x)
    parameters = [p for head in both for p in head.parameters()]
    total = sum((y * w).sum() for y, w in zip(outputs, weights, strict=True))
    return [*outputs, *torch.autograd.grad(total, [x, *parameters])]


@pytest.mark.parametrize("widths", [[], [64], [40, 24]], ids=str)
@pytest.mark.parametrize("rows", [1, 25, 1100])
def test_heads_and_their_gradients(widths, rows):
    both, x = two_heads(widths), torch.rand(rows, 64)
    weights = [torch.rand(rows, 9), torch.rand(rows, 1)]
    found = backwards(heads.run, both, x, weights)
    exact = backwards(
        lambda told, x: [head(x) for head in told],
        [copy.deepcopy(head).double() for head in both],
        x.double(),
        [w.double() for w in weights],
    )
    for mine, theirs in zip(found, exact, strict=True):
        assert_near(mine, theirs)


def test_a_row_of_heads_comes_from_that_row_alone():
    both, x = two_heads([64]), torch.rand(6, 7, 64)
    whole = heads.run(both, x)
    with torch.no_grad():
        for t in range(6):
            for part, alone in zip(whole, heads.run(both, x[t, 2:3]), strict=True):
                assert torch.equal(part[t, 2:3], alone)


def test_threads_change_no_bit_of_the_heads(monkeypatch):
    both, x = two_heads([64]), torch.rand(5000, 64)
    weights = [torch.rand(5000, 9), torch.rand(5000, 1)]
    one = backwards(heads.run, both, x, weights)
    threads(monkeypatch, 3)
    three = backwards(heads.run, both, x, weights)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def test_heads_see_every_change_of_a_weight():
    """Also one that torch counts nowhere."""
    both, x = two_heads([64]), torch.rand(3, 64)
    with torch.no_grad():
        for parameter in (both[0][2].weight, both[1][0].bias):
            heads.run(both, x)
            parameter.data.view(-1)[-1] += 1.0
            for found, expected in zip(heads.run(both, x), (head(x) for head in both), strict=True):
                torch.testing.assert_close(found, expected)


def test_heads_write_only_where_they_may(monkeypatch):
    """Every piece of memory lies between guards; it is no number until it is written."""
    made = []

    def guarded(*shape):
        whole = torch.full((torch.Size(shape).numel() + 256,), torch.nan)
        made.append(whole)
        return whole[128:-128].view(shape)

    for widths, rows in (([64], 25), ([40, 24], 33), ([], 1)):
        both, x = two_heads(widths), torch.rand(rows, 64)
        weights = [torch.rand(rows, 9), torch.rand(rows, 1)]
        expected = backwards(heads.run, both, x, weights)
        with monkeypatch.context() as patch:
            patch.setattr(heads, "_empty", guarded)
            threads(patch, 2)
            found = backwards(heads.run, both, x, weights)
            heads.run(both, x.detach())
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(made) > 15
    assert all(whole[:128].isnan().all() and whole[-128:].isnan().all() for whole in made)


@pytest.mark.parametrize("change", ["relu", "hook", "double", "a width of no tile", "depths"])
def test_other_heads_compute_for_themselves(change):
    both, x = two_heads([64], nn.ReLU if change == "relu" else nn.Tanh), torch.rand(3, 64)
    if change == "hook":
        both[0][1].register_forward_hook(lambda *_: None)
    elif change == "double":
        both, x = [head.double() for head in both], x.double()
    elif change == "a width of no tile":
        both, x = [make_head([33, 64, 9], nn.Tanh, 1.0)], torch.rand(3, 33)
    elif change == "depths":
        both[1] = make_head([64, 1], nn.Tanh, 1.0)
    assert heads.run(both, x) is None


# ---------------------------------------------------------------- slots


def slot_problem(features=27, N=50):
    """Two encoders, and codes of theirs."""
    torch.manual_seed(2)
    seen, told = SlotEncoder([3, 2, 5], features), SlotEncoder([2, 10], features)
    codes = [torch.stack([torch.randint(n, (N,)) for n in sizes], -1) for sizes in ([3, 2, 5], [2, 10])]
    of = slots.Slots(
        codes[0].to(torch.int8), codes[1][:, 0].clone(), codes[1][:, 1:].clone(), seen.starts, told.starts
    )
    return seen, told, codes, of


@pytest.mark.parametrize("features", [1, 27, 64])
@pytest.mark.parametrize("squashes", [True, False])
def test_slots_and_their_gradients(features, squashes):
    seen, told, codes, of = slot_problem(features)
    weight = torch.rand(50, features)
    found = slots.run(of, squashes, seen.weight, told.weight)
    grads = torch.autograd.grad((found * weight).sum(), [seen.weight, told.weight])
    seen, told = seen.double(), told.double()
    exact = seen(codes[0]) + told(codes[1])
    exact = exact.tanh() if squashes else exact
    assert_near(found, exact)
    for mine, theirs in zip(
        grads, torch.autograd.grad((exact * weight.double()).sum(), [seen.weight, told.weight]), strict=True
    ):
        assert_near(mine, theirs)


@pytest.mark.parametrize(("field", "code"), [("seen", -1), ("seen", 3), ("told", 2), ("previous", 10)])
def test_a_code_that_a_slot_does_not_have_is_refused(field, code):
    seen, told, _, of = slot_problem()
    getattr(of, field).view(50, -1)[7, 0] = code
    with pytest.raises(IndexError, match="out of its range"):
        slots.run(of, True, seen.weight, told.weight)


# ---------------------------------------------------------------- choice


def logits_and_masks(N=400, A=9):
    generator = torch.Generator().manual_seed(3)
    legal = torch.rand(N, A, generator=generator) < 0.4
    legal[torch.arange(N), torch.randint(A, (N,), generator=generator)] = True
    return 3.0 * torch.randn(N, A, generator=generator), legal


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_choice_is_that_of_the_readable_family(deterministic):
    """The same draws make the same actions; what is illegal has probability 0 exactly."""
    logits, legal = logits_and_masks()
    family, seeds = Categorical(9), [torch.Generator().manual_seed(4) for _ in range(2)]
    distribution, action, log_prob = family.choose(logits, legal, seeds[0], deterministic)
    exact = masked_log_softmax(logits.double(), legal)
    assert (distribution[~legal] == -torch.inf).all()
    assert_near(distribution[legal], exact[legal])
    assert torch.equal(log_prob, distribution.gather(1, action[:, None])[:, 0])
    logits.requires_grad_()  # which the kernel does not take
    _, expected, _ = Family.choose(family, logits, legal, seeds[1], deterministic)
    assert torch.equal(action, expected)


def test_draws_come_as_often_as_their_probabilities_say():
    """Of 100,000 draws each action's share lies within 4 standard errors; the illegal one never comes."""
    logits = torch.tensor([0.0, 1.0, 5.0, -1.0]).expand(100_000, 4).contiguous()
    legal = torch.tensor([True, True, False, True]).expand(100_000, 4).contiguous()
    _, action, _ = Categorical(4).choose(logits, legal, torch.Generator().manual_seed(5), False)
    share = torch.bincount(action, minlength=4) / 100_000
    p = masked_log_softmax(logits[0], legal[0]).exp()
    assert share[2] == 0.0
    assert ((share - p).abs() <= 4.0 * (p * (1.0 - p) / 100_000).sqrt()).all()


def test_a_gradient_goes_through_the_readable_form():
    logits, legal = logits_and_masks()
    assert not choice.can_run(logits.requires_grad_(), legal)
    Categorical(9).normalise(logits, legal)[legal].sum().backward()
    assert logits.grad.isfinite().all()


# ---------------------------------------------------------------- a replay by hand


def network(**changed):
    """A policy of two seats on 5 slots of 4 codes, and 6 steps of 5 matches, the first two carried."""
    torch.manual_seed(6)
    arguments = {"lstm_hidden_size": 64, "shared_lstm": True, "enable_critic_lstm": False, "net_arch": [32]}
    policy = RecurrentPolicy(spaces.MultiDiscrete([4] * 5), 9, 2, features_dim=27, **(arguments | changed))
    T, B = 6, 5
    cores = [tuple(torch.randn_like(x) for x in policy.initial_memory(B).cores) for _ in range(2)]
    told = Told(
        torch.randint(4, (T, B, 5), dtype=torch.int8),
        torch.randint(2, (T, B)),
        torch.randint(10, (T, B)),
        torch.rand(T, B) < 0.2,
        cores[0],
        (2, cores[1]),
    )
    return policy, told


def numbers(seats, features, **changed):
    """The same of a policy that sees 4 numbers, and of two cores unless it is told otherwise."""
    torch.manual_seed(8)
    space = spaces.Box(-1.0, 1.0, (4,))
    policy = RecurrentPolicy(space, 3, seats, lstm_hidden_size=32, features_dim=features, **changed)
    _, told = network()
    T, B = told.seat.shape
    cores = [tuple(torch.randn_like(x) for x in policy.initial_memory(B).cores) for _ in range(2)]
    return policy, told._replace(
        observation=torch.randn(T, B, 4),
        seat=told.seat % seats,
        previous=torch.randint(4, (T, B)),
        cores=cores[0],
        renewed=(2, cores[1]),
    )


def replay(policy, told):
    return Replayer(policy)(told)


def gradients(policy, made):
    """By hand or by autograd, of the same sums."""
    generator = torch.Generator().manual_seed(7)
    ends = made.outputs, made.value
    derivatives = [torch.rand(x.shape, generator=generator).to(x.dtype) for x in ends]
    policy.zero_grad()
    if made.back is not None:
        made.back(*derivatives)
    else:
        torch.autograd.backward(ends, derivatives)
    return [p.grad for p in policy.parameters()]


NETWORKS = {
    **{cell: functools.partial(network, cell=cell) for cell in ("gated", "lstm", "elman")},
    "two cores": functools.partial(network, shared_lstm=False, enable_critic_lstm=True),
    "numbers": functools.partial(numbers, 1, 40),
    "numbers in a match": functools.partial(numbers, 2, 27, cell="lstm", net_arch={"vf": [32]}),
    "numbers alone": functools.partial(numbers, 1, 32, previous_action=False),
}


@pytest.mark.parametrize("made", NETWORKS)
def test_a_replay_by_hand_is_that_of_the_policy(made):
    """Outputs, values and gradients bit for bit; and near a network in float64, which no kernel takes."""
    policy, told = NETWORKS[made]()
    made = replay(policy, told)
    assert made.back is not None
    found = [made.outputs, made.value, *gradients(policy, made)]
    outputs, value, _ = policy(*told)
    plain = made._replace(outputs=outputs, value=value, back=None)
    same = [outputs, value, *gradients(policy, plain)]
    assert all(torch.equal(a, b) for a, b in zip(found, same, strict=True))

    exact = policy.double()
    cores, (k, later) = (x.double() for x in told.cores), told.renewed
    asked = told._replace(cores=tuple(cores), renewed=(k, tuple(x.double() for x in later)))
    if told.observation.is_floating_point():
        asked = asked._replace(observation=told.observation.double())
    made = replay(exact, asked)
    assert made.back is None
    for mine, theirs in zip(found, [made.outputs, made.value, *gradients(exact, made)], strict=True):
        assert_near(mine, theirs)


@pytest.mark.parametrize(
    "changed",
    [
        {"shared_lstm": False, "enable_critic_lstm": False},
        {"detach_critic": True},
        {"skip_connection": True},
        {"activation_fn": "relu"},
        {"n_lstm_layers": 2},
        {"cell": "gru"},  # a bias of its own, which is made of a shorter one
        {"lstm_hidden_size": 40},
        {"net_arch": {"pi": [32], "vf": [32, 32]}},
    ],
    ids=str,
)
def test_other_networks_go_back_by_autograd(changed):
    policy, told = network(**changed)
    made = replay(policy, told)
    assert made.back is None
    assert all(gradient.isfinite().all() for gradient in gradients(policy, made))


def test_nobody_who_listens_is_left_out():
    policy, told = network()
    heard = []
    policy.core.register_forward_hook(lambda *_: heard.append("core"))
    assert replay(policy, told).back is None
    assert heard == ["core"]
    frozen, told = network()
    frozen.encoder.weight.requires_grad_(False)
    made = replay(frozen, told)
    assert made.back is None
    assert gradients(frozen, made)[0] is None


def test_what_is_asked_stays_numpys_and_torchs():
    """Codes of other integer types, and not one row after the other."""
    policy, told = network()
    plain = replay(policy, told).outputs
    wide = told.observation.to(torch.int64).transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(replay(policy, told._replace(observation=wide)).outputs, plain)
    assert np.isfinite(plain.detach().numpy()).all()
