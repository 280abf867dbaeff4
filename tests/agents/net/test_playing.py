"""Decisions by hand beside those of the policy."""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces

from agents.net.playing import Playing
from agents.net.policy import RecurrentPolicy

B, A = 5, 9
CODES, NUMBERS = spaces.MultiDiscrete([4] * 3), spaces.Box(-1.0, 1.0, (3,))
SHARED = {"shared_lstm": True, "enable_critic_lstm": False}


class Match:
    """What B matches show, anew after each `go_on`; tensors that stay."""

    def __init__(self, space, seats):
        self.random = torch.Generator().manual_seed(2)
        dtype = torch.float32 if space is NUMBERS else torch.int8
        self.observation, self.legal = torch.zeros(B, 3, dtype=dtype), torch.ones(B, A, dtype=torch.bool)
        self.seat, self.start = torch.zeros(B, dtype=torch.int64), torch.ones(B, dtype=torch.bool)
        self.seats = seats

    def shown(self):
        return self.observation, self.legal, self.seat, self.start

    def go_on(self):
        self.observation.copy_(torch.randint(4, (B, 3), generator=self.random))
        self.legal.copy_(torch.rand(B, A, generator=self.random) < 0.5)
        self.legal[:, 3] = True
        self.seat.copy_(torch.randint(self.seats, (B,), generator=self.random))
        self.start.copy_(torch.rand(B, generator=self.random) < 0.2)


def policy_of(space, seats, **changed):
    torch.manual_seed(1)
    sizes = {"lstm_hidden_size": 32, "features_dim": 24, "net_arch": [16]}
    return RecurrentPolicy(space, A, seats, **(sizes | changed))


def both(policy, match, memory, made, steps=6):
    """Decisions of the policy and by hand, step by step, from the same draws; and the memories after them."""
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    mine = memory
    for _ in range(steps):
        decision, memory = policy.act(*match.shown(), memory, seeds[0])
        by_hand, mine = made.act(mine, seeds[1])
        yield (*decision, *memory.cores, memory.previous), (*by_hand, *mine.cores, mine.previous)
        match.go_on()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("space", [CODES, NUMBERS], ids=["codes", "numbers"])
@pytest.mark.parametrize(
    ("seats", "changed"),
    [(2, SHARED), (2, {}), (1, {"cell": "elman", "net_arch": {"vf": [16]}}), (2, {"previous_action": False})],
    ids=str,
)
def test_decisions_by_hand_are_those_of_the_policy(space, seats, changed):
    """Bit for bit, memories too."""
    policy, match = policy_of(space, seats, **changed), Match(space, seats)
    memory = policy.initial_memory(B)
    made = Playing.of(policy, *match.shown(), memory)
    assert made is not None
    assert all(equal(*pair) for pair in both(policy, match, memory, made))


def test_weights_are_looked_at_when_it_is_renewed():
    policy, match = policy_of(CODES, 2, **SHARED), Match(CODES, 2)
    memory = policy.initial_memory(B)
    made = Playing.of(policy, *match.shown(), memory)
    for parameter in policy.parameters():
        parameter.data.view(-1)[0] += 0.5
    assert not all(equal(*pair) for pair in both(policy, match, memory, made))
    assert made.renew(policy, *match.shown())
    assert all(
        equal(*pair) for pair in both(policy, match, memory, made)
    )  # from a memory that is not its own

    assert not made.renew(policy_of(CODES, 2, **SHARED), *match.shown())
    assert not made.renew(policy, *Match(CODES, 2).shown())
    policy.action_head[0].weight.data = policy.action_head[0].weight.data.clone()
    assert not made.renew(policy, *match.shown())


def test_to_ask_for_the_value_changes_nothing():
    policy, match = policy_of(CODES, 2, **SHARED), Match(CODES, 2)
    memory = policy.initial_memory(B)
    made = Playing.of(policy, *match.shown(), memory)
    *_, (after, mine) = both(policy, match, memory, made)
    assert equal(after, mine)
    match.start[:] = True
    memory = made.memories[made.turn]
    before = [part.clone() for part in (*memory.cores, memory.previous)]
    _, value, _ = policy.weigh(*match.shown(), memory)
    assert torch.equal(made.value(memory), value)
    assert equal(before, (*memory.cores, memory.previous))


def test_what_was_decided_stays_the_callers():
    """The action alone: the rest is written again."""
    policy, match = policy_of(CODES, 2, **SHARED), Match(CODES, 2)
    memory = policy.initial_memory(B)
    made = Playing.of(policy, *match.shown(), memory)
    first, memory = made.act(memory, None)
    action = first.action.clone()
    match.go_on()
    second, _ = made.act(memory, None)
    assert torch.equal(first.action, action)
    assert second.action is not first.action
    assert second.value.data_ptr() != first.value.data_ptr()  # of the turn before


@pytest.mark.parametrize(
    "changed",
    [
        {"n_lstm_layers": 2},
        {"activation_fn": "relu"},
        {"lstm_hidden_size": 20},
        {"enable_critic_lstm": False},
    ],
    ids=str,
)
def test_other_policies_decide_for_themselves(changed):
    policy, match = policy_of(CODES, 2, **changed), Match(CODES, 2)
    assert Playing.of(policy, *match.shown(), policy.initial_memory(B)) is None


def test_nobody_who_listens_is_left_out():
    policy, match = policy_of(CODES, 2, **SHARED), Match(CODES, 2)
    made = Playing.of(policy, *match.shown(), policy.initial_memory(B))
    policy.value_head.register_forward_hook(lambda *_: None)
    assert not made.renew(policy, *match.shown())
    assert Playing.of(policy, *match.shown(), policy.initial_memory(B)) is None
