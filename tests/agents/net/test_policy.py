"""The policy: masks that are exact, memories that come and go as arguments, and every option's effect."""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces

import envs
from agents.net.cells import CELLS
from agents.net.distributions import masked_log_softmax
from agents.net.policy import RecurrentPolicy

A, P, B = 3, 2, 4
SLOTS = spaces.MultiDiscrete([4, 3])


def make_policy(space=SLOTS, actions=A, seats=P, **arguments):
    """Small, and with an action head whose outputs differ visibly."""
    torch.manual_seed(0)
    policy = RecurrentPolicy(
        space, actions, seats, **{"lstm_hidden_size": 6, "features_dim": 5, "cell": "gated"} | arguments
    )
    with torch.no_grad():
        policy.action_head[-1].weight.mul_(100.0)
    return policy.eval()


def situation(matches=B, seat=0, start=False):
    """Arguments of `look`, `weigh` and `act` before the memory: observation, legal, seat, start."""
    return (
        torch.tensor([[b % 4, b % 3] for b in range(matches)]),
        torch.ones(matches, A, dtype=torch.bool),
        torch.full((matches,), seat),
        torch.full((matches,), start),
    )


def experienced(policy, decisions=3):
    """The memory after a few decisions of both seats."""
    memory = policy.initial_memory(B)
    generator = torch.Generator().manual_seed(0)
    for t in range(decisions * P):
        _, memory = policy.act(*situation(seat=t % P), memory, generator)
    return memory


# ---------------------------------------------------------------- one decision, and a whole replay


@pytest.mark.parametrize(
    "arguments",
    [{}, {"n_lstm_layers": 2}, {"shared_lstm": True, "enable_critic_lstm": False, "skip_connection": True}],
)
@pytest.mark.parametrize("cell", CELLS)
def test_replay_computes_what_play_computed(cell, arguments):
    """`act` step by step and `forward` over all steps, with seats, masks and starts at random."""
    policy = make_policy(cell=cell, **arguments)
    torch.manual_seed(1)
    T, memory, told = 9, policy.initial_memory(B), []
    seat, start = torch.randint(P, (T, B)), torch.rand(T, B) < 0.3
    observation = torch.stack([torch.randint(n, (T, B)) for n in (4, 3)], -1)
    legal = torch.rand(T, B, A) < 0.7
    legal[..., 1] = True
    cores = memory.cores
    for t in range(T):
        known = memory.previous.masked_fill(start[t, :, None], A)
        decision, memory = policy.act(observation[t], legal[t], seat[t], start[t], memory)
        assert legal[t].gather(1, decision.action[:, None]).all()
        told.append((known.gather(1, seat[t][:, None])[:, 0], decision))

    previous = torch.stack([row for row, _ in told])
    logits, value, last = policy(observation, seat, previous, start, cores)
    log_probs = masked_log_softmax(logits, legal)
    torch.testing.assert_close(log_probs, torch.stack([d.distribution for _, d in told]), rtol=0, atol=1e-5)
    torch.testing.assert_close(value, torch.stack([d.value for _, d in told]), rtol=0, atol=1e-5)
    for replayed, played in zip(last, memory.cores, strict=True):
        torch.testing.assert_close(replayed, played, rtol=0, atol=1e-6)


def test_a_decision_says_its_own_log_probability():
    policy = make_policy()
    decision, _ = policy.act(*situation(), policy.initial_memory(B))
    for b in range(B):
        assert decision.log_prob[b] == decision.distribution[b, decision.action[b]]


def test_deterministic_takes_the_most_probable_legal_action():
    policy = make_policy()
    observation, legal, seat, start = situation()
    free, _ = policy.act(observation, legal, seat, start, policy.initial_memory(B), deterministic=True)
    assert torch.equal(free.action, free.distribution.argmax(-1))
    legal = legal.scatter(1, free.action[:, None], False)
    second, _ = policy.act(observation, legal, seat, start, policy.initial_memory(B), deterministic=True)
    assert torch.equal(second.action, free.distribution.topk(2).indices[:, 1])


def test_weighing_changes_nothing():
    policy = make_policy()
    memory = experienced(policy)
    before = [part.clone() for part in (*memory.cores, memory.previous)]
    one, two = (policy.weigh(*situation(), memory)[0] for _ in range(2))
    assert torch.equal(one, two)
    for part, old in zip((*memory.cores, memory.previous), before, strict=True):
        assert torch.equal(part, old)


# ---------------------------------------------------------------- the one question


def looks_and_acts(policy, rounds, play):
    """What `look` says and `act` does at the same decisions, in pairs; their memories are bitwise the same.

    `play` gives observation, legal, seat and start of each round, and is told the actions.
    """
    looked, acted = policy.initial_memory(B), policy.initial_memory(B)
    generator, told = torch.Generator().manual_seed(0), []
    for _ in range(rounds):
        asked = play.send(None) if not told else play.send(told[-1][1].action)
        probabilities, looked = policy.look(*asked, looked)
        decision, acted = policy.act(*asked, acted, generator)
        looked = looked.remember(asked[2], decision.action)
        told.append((probabilities, decision))
        for mine, own in zip((*looked.cores, looked.previous), (*acted.cores, acted.previous), strict=True):
            assert torch.equal(mine, own)
    return told


def matches(game):
    """Of two seats, side by side; matches end and begin anew."""
    batch, start = envs.Batch(game, B, seed=3), torch.ones(B, dtype=torch.bool)
    while True:
        action = yield batch.observation, batch.legal, batch.seat, start
        batch.step(action)
        start = batch.over.clone()


@pytest.mark.parametrize(
    "arguments", [{}, {"cell": "gru"}, {"n_lstm_layers": 2, "enable_critic_lstm": False}]
)
def test_look_tells_the_probabilities_that_act_draws_from(arguments):
    """20 decisions in each of 4 matches of Kuhn poker, which end and begin anew on the way."""
    game = envs.make("kuhn_poker")
    policy = make_policy(game.observation_space, game.actions, game.seats, **arguments)
    for probabilities, decision in looks_and_acts(policy, 20, matches(game)):
        assert torch.equal(probabilities, decision.distribution.exp())
        torch.testing.assert_close(probabilities.sum(1), torch.ones(B))
        assert probabilities.gather(1, decision.action[:, None]).gt(0).all()


def test_whoever_looks_may_choose_another_action():
    """Its next decision is then another's: what it did itself is fed to it."""
    policy = make_policy()
    _, memory = policy.look(*situation(start=True), policy.initial_memory(B))
    assert (memory.previous == A).all()  # nobody has told it yet
    zero, seat = torch.zeros(B, dtype=torch.int64), situation()[2]
    one, other = (policy.look(*situation(), memory.remember(seat, zero + a))[0] for a in (0, 1))
    assert not torch.allclose(one, other)
    assert memory.remember(seat, zero + 1).previous[:, 1].eq(A).all()  # it is nobody else's


def test_an_illegal_action_has_probability_zero_and_every_component_its_own():
    policy = make_policy(actions=spaces.MultiDiscrete([2, 3]))
    observation, _, seat, start = situation()
    legal = torch.tensor([[True, False, True, True, True]]).expand(B, 5)
    probabilities, memory = policy.look(observation, legal, seat, start, policy.initial_memory(B))
    assert probabilities[:, :2].tolist() == [[1.0, 0.0]] * B
    torch.testing.assert_close(probabilities[:, 2:].sum(1), torch.ones(B))
    memory = memory.remember(seat, torch.tensor([[0, 2]]).expand(B, 2))
    assert memory.previous[:, 0].tolist() == [[0, 2]] * B


def test_numbers_have_no_probabilities():
    policy = make_policy(actions=spaces.Box(-1.0, 1.0, (2,)))
    observation, _, seat, start = situation()
    asked = (observation, torch.ones(B, 0, dtype=torch.bool), seat, start, policy.initial_memory(B))
    with pytest.raises(
        ValueError, match=r"Discrete and MultiDiscrete actions have, got Box \[2\]; weigh tells"
    ):
        policy.look(*asked)
    assert policy.weigh(*asked)[0].shape == (B, 4)  # means and log standard deviations


# ---------------------------------------------------------------- memory


def test_a_fresh_memory_knows_nothing():
    memory = make_policy().initial_memory(B)
    assert not any(part.any() for part in memory.cores)
    assert (memory.previous == A).all()  # A = none yet


def test_only_the_seat_that_decides_remembers():
    policy = make_policy()
    before = experienced(policy)
    decision, after = policy.act(*situation(seat=1), before)
    for part, old in zip(after.cores, before.cores, strict=True):
        assert torch.equal(part[:, :, 0], old[:, :, 0])
        assert not torch.equal(part[:, :, 1], old[:, :, 1])
    assert torch.equal(after.previous[:, 0], before.previous[:, 0])
    assert torch.equal(after.previous[:, 1], decision.action)


def test_a_start_clears_both_seats():
    """With a start in match 2 alone, its decision is a fresh match's, and seat 0 has forgotten everything."""
    policy = make_policy()
    before = experienced(policy)
    observation, legal, seat, start = situation(seat=1)
    start[2] = True
    decision, after = policy.act(observation, legal, seat, start, before)
    fresh, fresh_memory = policy.act(observation, legal, seat, start, policy.initial_memory(B))
    torch.testing.assert_close(decision.distribution[2], fresh.distribution[2])
    assert not torch.allclose(decision.distribution[1], fresh.distribution[1])
    for part, new in zip(after.cores, fresh_memory.cores, strict=True):
        assert not part[:, 2, 0].any()
        torch.testing.assert_close(part[:, 2], new[:, 2])
    assert after.previous[2].tolist() == [A, decision.action[2]]
    assert (after.previous[1] < A).all()


def test_selected_rows_are_those_matches():
    memory = experienced(make_policy())
    rows = torch.tensor([3, 1])
    picked = memory.select(rows)
    for part, whole in zip(picked.cores, memory.cores, strict=True):
        assert torch.equal(part[:, 0], whole[:, 3])
        assert torch.equal(part[:, 1], whole[:, 1])
    assert torch.equal(picked.previous, memory.previous[rows])


@pytest.mark.parametrize("matters", [True, False])
def test_the_previous_action_matters_when_it_is_fed(matters):
    policy = make_policy(previous_action=matters)
    memory = policy.initial_memory(B)
    other = memory._replace(previous=torch.zeros_like(memory.previous))
    one, two = (policy.weigh(*situation(), m)[0] for m in (memory, other))
    assert torch.equal(one, two) == (not matters)


@pytest.mark.parametrize("matters", [True, False])
def test_the_seat_matters_when_it_is_fed(matters):
    policy = make_policy(seat_input=matters)
    one, two = (policy.weigh(*situation(seat=p), policy.initial_memory(B))[0] for p in range(2))
    assert torch.equal(one, two) == (not matters)


def test_a_policy_for_one_seat_without_any_context():
    policy = make_policy(seats=1, previous_action=False)
    assert policy.context is None
    decision, memory = policy.act(*situation(), policy.initial_memory(B))
    assert decision.action.shape == (B,)
    assert memory.previous.shape == (B, 1)


# ---------------------------------------------------------------- cores


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({}, 4),  # the gated cell's h and c, for the actor and for the critic
        ({"shared_lstm": True, "enable_critic_lstm": False}, 2),
        ({"enable_critic_lstm": False}, 2),
        ({"cell": "gru"}, 2),
    ],
)
def test_the_memory_holds_the_parts_of_every_core(arguments, parts):
    memory = make_policy(n_lstm_layers=2, **arguments).initial_memory(B)
    assert [tuple(part.shape) for part in memory.cores] == [(2, B, P, 6)] * parts


def test_without_a_core_the_critic_has_no_memory():
    policy = make_policy(shared_lstm=False, enable_critic_lstm=False, previous_action=False)
    fresh, old = policy.initial_memory(B), experienced(policy)
    (one_log_probs, one, _), (two_log_probs, two, _) = (policy.weigh(*situation(), m) for m in (fresh, old))
    assert torch.equal(one, two)
    assert not torch.allclose(one_log_probs, two_log_probs)


def test_a_separate_critic_reads_its_own_core():
    """Forgetting the actor's parts changes no value, forgetting the critic's no probability."""
    policy = make_policy()
    memory = experienced(policy)
    log_probs, value, _ = policy.weigh(*situation(), memory)
    blank = tuple(torch.zeros_like(part) for part in memory.cores)
    no_actor = memory._replace(cores=blank[:2] + memory.cores[2:])
    no_critic = memory._replace(cores=memory.cores[:2] + blank[2:])
    assert torch.equal(policy.weigh(*situation(), no_actor)[1], value)
    assert not torch.allclose(policy.weigh(*situation(), no_actor)[0], log_probs)
    assert torch.equal(policy.weigh(*situation(), no_critic)[0], log_probs)
    assert not torch.allclose(policy.weigh(*situation(), no_critic)[1], value)


@pytest.mark.parametrize("detached", [True, False])
def test_detach_critic_stops_the_values_gradient_at_the_shared_core(detached):
    policy = make_policy(shared_lstm=True, enable_critic_lstm=False, detach_critic=detached)
    observation, _, seat, start = (x[None] for x in situation())
    _, value, _ = policy(observation, seat, torch.full_like(seat, A), start, policy.initial_memory(B).cores)
    value.sum().backward()
    assert policy.value_head[-1].weight.grad.any()
    reached = [
        p.grad is not None and bool(p.grad.any()) for p in (policy.core.cells[0].W, policy.encoder.weight)
    ]
    assert reached == [not detached] * 2


def replay(policy):
    observation, _, seat, start = (x[None] for x in situation())
    return policy(observation, seat, torch.full_like(seat, A), start, policy.initial_memory(B).cores)[0]


def test_dropout_lies_between_layers_and_only_in_training():
    stacked = make_policy(n_lstm_layers=2, lstm_kwargs={"dropout": 0.5})
    assert torch.equal(replay(stacked), replay(stacked))
    stacked.train()
    assert not torch.equal(replay(stacked), replay(stacked))


def test_layers_feed_each_other():
    """The upper layer's inputs are the lower one's H outputs; cutting them changes what is decided."""
    policy = make_policy(n_lstm_layers=2)
    assert [(cell.input_size, cell.hidden_size) for cell in policy.core.cells] == [(5, 6), (6, 6)]
    before = replay(policy)
    with torch.no_grad():
        policy.core.cells[1].W.zero_()
    assert not torch.allclose(replay(policy), before)


@pytest.mark.parametrize("critic", [{"enable_critic_lstm": False}, {"enable_critic_lstm": True}])
@pytest.mark.parametrize("skips", [False, True])
def test_with_a_skip_connection_the_heads_see_past_a_core_that_says_nothing(skips, critic):
    """The core gives zeros: without the connection all observations look alike to the actor."""
    policy = make_policy(skip_connection=skips, **critic)
    with torch.no_grad():
        policy.core.cells[0].W.zero_()
        policy.core.cells[0].U.zero_()
        policy.core.cells[0].b.zero_()
        policy.action_head[-1].weight.mul_(100.0)
    distribution = policy.act(*situation(), policy.initial_memory(B))[0].distribution
    _, legal, *_ = situation()
    same = torch.log_softmax(torch.zeros_like(distribution).masked_fill(~legal, -torch.inf), -1)
    assert torch.equal(distribution, same) != skips


@pytest.mark.parametrize(
    ("net_arch", "pi", "vf"),
    [
        (None, [(6, 3)], [(6, 1)]),
        ([7], [(6, 7), (7, 3)], [(6, 7), (7, 1)]),
        ({"pi": [7, 8]}, [(6, 7), (7, 8), (8, 3)], [(6, 1)]),
    ],
)
def test_the_heads_have_the_layers_of_net_arch(net_arch, pi, vf):
    policy = make_policy(net_arch=net_arch, activation_fn="relu")
    for head, widths in ((policy.action_head, pi), (policy.value_head, vf)):
        linear = [layer for layer in head if isinstance(layer, torch.nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in linear] == widths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"cell": "transformer"},
            "unknown cell 'transformer'; known are elman, feedforward, gated, gru, lstm",
        ),
        ({"n_lstm_layers": 0}, r"n_lstm_layers must be a whole number in 1\.\.1024, got 0"),
        ({"lstm_hidden_size": 0}, r"lstm_hidden_size must be a whole number in 1\.\.2147483647, got 0"),
        ({"shared_lstm": True}, "choose one of shared_lstm and enable_critic_lstm"),
        ({"activation_fn": "step"}, "unknown activation_fn 'step'; known are tanh, relu, silu"),
        ({"net_arch": {"qf": [4]}}, r"net_arch has the parts 'pi' and 'vf', got \['qf'\]"),
        ({"lstm_kwargs": {"dropout": 0.5}}, "dropout works between layers, and n_lstm_layers is 1"),
        (
            {"n_lstm_layers": 2, "lstm_kwargs": {"dropout": 1.5}},
            "dropout must be a finite number of at least 0, below 1, got 1.5",
        ),
        (
            {"cell": "gru", "lstm_kwargs": {"bias": 0.0}},
            "cell 'gru' may hold forget_bias, dropout, chrono; got bias",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        make_policy(**arguments)
    assert "\n" not in str(error.value)
