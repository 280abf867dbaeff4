"""The spatial policy: one network on every square of a board, whatever the board's size."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium import spaces

import agents
import envs
from agents import CELLS, RecurrentPolicy
from agents.learn.ppo import decisions_of, replay_drift
from agents.learn.rollout import Collector
from agents.net.encoders import Board, BoardContext, PlaneEncoder, board_of
from agents.net.policy import BoardCore, Core
from agents.play.export import onnx_model
from agents.play.players import Agent
from agents.run.memory import looked_at

SIZES = {"features_dim": 6, "lstm_hidden_size": 5, "spatial": True}
SHARED = {"shared_lstm": True, "enable_critic_lstm": False}
K, FURTHER = 8, 1  # moves on each square, and to pass
ROWS, COLS, P, B, T = 3, 4, 2, 3, 5
S = ROWS * COLS


def planes(rows=ROWS, cols=COLS):
    """Armies up to 600 and three planes of 0 and 1."""
    high = np.ones((4, rows, cols), np.int16)
    high[0] = 600
    return spaces.Box(np.zeros_like(high), high, dtype=np.int16)


def make_policy(rows=ROWS, cols=COLS, seats=P, **arguments):
    """Small, with biases that are not 0 and logits that differ visibly."""
    torch.manual_seed(0)
    actions = rows * cols * K + FURTHER
    policy = RecurrentPolicy(planes(rows, cols), actions, seats, **SIZES | arguments)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif name.startswith(("action_head.moves", "action_head.further")):
                parameter.mul_(100.0)
    return policy.eval()


def seen(*leading, rows=ROWS, cols=COLS, seed=1):
    """Observations at random."""
    random = torch.Generator().manual_seed(seed)
    drawn = (
        torch.rand(*leading, 4, rows, cols, generator=random) * torch.tensor([600, 2, 2, 2])[:, None, None]
    )
    return drawn.to(torch.int16)


def weigh(policy, observation, memory=None, seat=0, legal=None):
    """Distribution and value of one decision in each match."""
    B = len(observation)
    memory = policy.initial_memory(B) if memory is None else memory
    legal = torch.ones(B, policy.family.mask, dtype=torch.bool) if legal is None else legal
    start = torch.zeros(B, dtype=torch.bool)
    return policy.weigh(observation, legal, torch.full((B,), seat), start, memory)[:2]


# ---------------------------------------------------------------- boards and planes


@pytest.mark.parametrize(
    ("actions", "board"),
    [(12, Board(3, 4, 1, 0)), (12 * 8 + 1, Board(3, 4, 8, 1)), (12 * 2 + 11, Board(3, 4, 2, 11))],
)
def test_the_board_is_read_from_planes_and_actions(actions, board):
    assert board_of(planes(), actions) == board
    assert board.squares == 12


@pytest.mark.parametrize(
    ("space", "actions", "told"),
    [
        (spaces.MultiDiscrete([3] * 9), 9, "and 9 actions"),
        (spaces.Box(0.0, 1.0, (2, 3, 3)), 9, "Box [2, 3, 3] of float32 and 9 actions"),
        (spaces.Box(0, 5, (3, 3), np.int8), 9, "and 9 actions"),
        (planes(), 11, "and 11 actions"),
        (planes(), spaces.MultiDiscrete([12, 8]), "and 0 actions"),
        (planes(), spaces.Box(-1.0, 1.0, (12,)), "and 0 actions"),
    ],
)
def test_what_is_no_board_is_refused_in_one_line(space, actions, told):
    with pytest.raises(ValueError, match="needs integer planes") as error:
        RecurrentPolicy(space, actions, 2, **SIZES)
    assert str(error.value).endswith(told)
    assert "\n" not in str(error.value)


def test_the_encoder_of_planes_for_a_core_without_squares_scales_them_too():
    torch.manual_seed(0)
    encoder = PlaneEncoder(planes(), 8)
    assert encoder.scale.counts.flatten().tolist() == [True, False, False, False]
    assert encoder(seen(2, 3)).shape == (2, 3, 8)


def test_the_previous_action_is_told_where_it_was_made_and_the_seat_everywhere():
    """Move 3 on square 5 is told there alone; to pass (12 * 8) and none yet (one more) everywhere."""
    torch.manual_seed(0)
    context = BoardContext(Board(ROWS, COLS, K, FURTHER), P, True, 6)
    what, who = context.previous.weight, context.seat.weight
    told = context(torch.tensor([[1, 5 * K + 3], [0, S * K], [0, S * K + 1]]))
    everywhere = torch.zeros(3, S, 6)
    everywhere[0, 5] = what[3]
    everywhere[1], everywhere[2] = what[8], what[9]
    torch.testing.assert_close(told, everywhere + torch.stack([who[1], who[0], who[0]])[:, None])


def test_seat_and_previous_action_can_be_left_out():
    assert make_policy(seat_input=False).context.seat is None
    assert make_policy(previous_action=False).context.previous is None
    assert make_policy(seats=1, previous_action=False).context is None


# ---------------------------------------------------------------- the core


def situation():
    """Features, starts and seats at random."""
    torch.manual_seed(2)
    return torch.randn(T, B, S, 6), torch.rand(T, B) < 0.3, torch.randint(P, (T, B))


@pytest.mark.parametrize("cell", CELLS)
def test_every_square_has_a_core_of_its_own_with_the_same_weights(cell):
    """One run over the board equals a `Core` run on each square alone, in outputs and state."""
    arguments = (cell, 6, 5, 2, {})
    torch.manual_seed(0)
    board, alone = BoardCore(S, *arguments), Core(*arguments)
    alone.load_state_dict(board.state_dict())
    x, start, seat = situation()
    before = tuple(torch.randn_like(part) for part in board.initial_state(B, P))
    assert [tuple(part.shape) for part in before] == [(2, B, P, S * 5)] * board.parts
    outputs, after = board(x, before, start, seat)
    for s in range(S):
        mine = slice(s * 5, (s + 1) * 5)
        own, own_after = alone(x[:, :, s], tuple(part[..., mine] for part in before), start, seat)
        torch.testing.assert_close(outputs[:, :, s], own)
        for whole, part in zip(after, own_after, strict=True):
            torch.testing.assert_close(whole[..., mine], part)


def test_what_happened_on_a_square_is_remembered_there_alone():
    """Another history in the first corner: no other square's output or memory changes by a single bit."""
    torch.manual_seed(0)
    core = BoardCore(S, "gated", 6, 5, 1, {})
    x, start, seat = situation()
    other = x.clone()
    other[0, :, 0] += 1.0
    start[:] = False
    (one, states), (two, other_states) = (
        core(features, core.initial_state(B, P), start, seat) for features in (x, other)
    )
    assert torch.equal(one[:, :, 1:], two[:, :, 1:])
    assert not torch.equal(one[0, :, 0], two[0, :, 0])
    for state, changed in zip(states, other_states, strict=True):
        assert torch.equal(state[..., 5:], changed[..., 5:])
        assert not torch.equal(state[..., :5], changed[..., :5])


# ---------------------------------------------------------------- the policy


def test_illegal_actions_have_probability_zero_exactly():
    policy = make_policy()
    legal = torch.rand(B, policy.family.mask, generator=torch.Generator().manual_seed(0)) < 0.2
    legal[0], legal[:, -1] = False, True  # in match 0 there is nothing but to pass
    distribution, _ = weigh(policy, seen(B), legal=legal)
    assert distribution.shape == (B, S * K + FURTHER)
    assert torch.equal(distribution.exp() > 0.0, legal)
    assert distribution[0, -1] == 0.0


@pytest.mark.parametrize("cell", ["gated", "feedforward"])
def test_only_the_cell_without_memory_forgets(cell):
    """All that is left then is the previous action."""
    policy = make_policy(cell=cell, **SHARED)
    fresh = policy.initial_memory(B)
    old = fresh._replace(cores=tuple(torch.randn_like(part) for part in fresh.cores))
    moved = fresh._replace(previous=torch.full_like(fresh.previous, 5 * K))
    now = weigh(policy, seen(B), fresh)[0]
    assert torch.equal(weigh(policy, seen(B), old)[0], now) == (cell == "feedforward")
    assert not torch.equal(weigh(policy, seen(B), moved)[0], now)


@pytest.mark.parametrize(
    "arguments",
    [{}, SHARED | {"skip_connection": True}, {"enable_critic_lstm": False, "net_arch": [7]}],
    ids=["two cores", "shared core", "critic without memory"],
)
def test_every_weight_gets_a_gradient(arguments):
    policy = make_policy(**arguments)
    observation, start = seen(T, B), torch.zeros(T, B, dtype=torch.bool)
    seat = torch.arange(T)[:, None].expand(T, B) % P
    previous = torch.randint(policy.family.mask + 1, (T, B))
    logits, value, _ = policy(observation, seat, previous, start, policy.initial_memory(B).cores)
    (logits.square().sum() + value.square().sum()).backward()
    for name, parameter in policy.named_parameters():
        if parameter.numel() > 0:  # the cell without memory has an empty U
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_the_heads_read_past_a_core_that_says_nothing_if_they_may():
    for skips in (False, True):
        policy = make_policy(skip_connection=skips, **SHARED)
        with torch.no_grad():
            for parameter in policy.core.parameters():
                parameter.zero_()
        (one, value), (two, other_value) = (weigh(policy, seen(B, seed=seed)) for seed in (1, 2))
        assert torch.equal(one, two) == torch.equal(value, other_value) == (not skips)


def alone(row, col, size):
    """An empty board with an army of 15 on one square."""
    observation = torch.zeros(1, 4, size, size, dtype=torch.int16)
    observation[0, 0, row, col], observation[0, 1, row, col] = 15, 1
    return observation


def moves(policy, observation, row, col, size):
    """Logits [7, 7, K] of the squares up to 3 away, which is as far as the convolutions carry."""
    start, seat = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.int64)
    previous = torch.full((1, 1), policy.family.mask)
    logits, value, _ = policy(observation[None], seat, previous, start, policy.initial_memory(1).cores)
    board = logits[0, 0, :-FURTHER].view(size, size, K)
    return board[row - 3 : row + 4, col - 3 : col + 4], value


def test_what_is_moved_on_the_board_moves_the_logits_with_it():
    """From (5, 5) to (6, 7) on 13 x 13, so far from the border that it is out of sight."""
    policy = make_policy(13, 13)
    (here, value), (there, other_value) = (moves(policy, alone(*at, 13), *at, 13) for at in ((5, 5), (6, 7)))
    torch.testing.assert_close(here, there)
    torch.testing.assert_close(value, other_value)
    assert here.std() > 0.1
    assert not torch.allclose(here, moves(policy, alone(5, 5, 13), 6, 7, 13)[0])


def test_a_policy_plays_on_boards_of_another_size():
    """Its weights fit, and away from borders an army gets the same logits; mean and maximum over the
    board, in which the sizes differ, are left out here."""
    small, large = make_policy(11, 11), make_policy(13, 13)
    with torch.no_grad():
        small.encoder.whole.weight.zero_()
    large.load_state_dict(small.state_dict())
    (here, _), (there, _) = (moves(p, alone(5, 5, n), 5, 5, n) for p, n in ((small, 11), (large, 13)))
    torch.testing.assert_close(here, there)
    square = make_policy(3, 3)
    square.load_state_dict(small.state_dict())
    distribution, _ = weigh(square, seen(2, rows=3, cols=3))
    assert distribution.shape == (2, 3 * 3 * K + FURTHER)


def test_every_square_learns_of_the_whole_board():
    """The far corner changes all logits, through mean and maximum, though no convolution reaches so far."""
    policy = make_policy(9, 9)
    (few, _), (many, _) = (weigh(policy, alone(8, 8, 9) * number) for number in (1, 40))
    assert not torch.allclose(few[0, :K], many[0, :K])
    with torch.no_grad():
        policy.encoder.whole.weight.zero_()
        policy.action_head.further[-1].weight.zero_()
    (few, _), (many, _) = (weigh(policy, alone(8, 8, 9) * number) for number in (1, 40))
    torch.testing.assert_close((few - few[:, :1])[0, :K], (many - many[:, :1])[0, :K])


# ---------------------------------------------------------------- played, trained, kept and exported

GENERALS = envs.make("generals", rows=4, cols=4, max_ticks=9)


@pytest.fixture
def played(make_model, device):
    """Makes a model of Generals 4 x 4 and its third rollout; matches of 18 decisions cross its borders."""

    def play(**policy_kwargs):
        model = make_model(GENERALS, 8, SIZES | policy_kwargs, device, n_steps=7, batch_size=28)
        with torch.no_grad():
            model.policy.action_head.moves[-1].weight.mul_(100.0)
        collector = Collector(model.batch, model.policy)
        return model, [collector.collect(model.policy, 7, model.generator) for _ in range(3)][2]

    return play


@pytest.mark.parametrize("shape", [{}, SHARED | {"n_lstm_layers": 2}], ids=["two cores", "shared"])
@pytest.mark.parametrize("cell", CELLS)
def test_replay_equals_play(played, cell, shape):
    model, rollout = played(cell=cell, **shape)
    assert not rollout.start[0].any()
    assert rollout.start.any()
    assert replay_drift(model.policy, rollout, torch.arange(8, device=model.device)) <= 1e-5


def test_an_agent_plays_on_from_its_file(make_model, tmp_path):
    model = make_model(GENERALS, 8, SIZES | SHARED, n_steps=8)
    model.learn(64)
    model.save(tmp_path / "agent.zip")
    loaded, own = agents.load(tmp_path / "agent.zip"), Agent(model.policy, GENERALS)
    batch = envs.Batch(GENERALS, 4)
    for player in (loaded, own):
        player.reset(4)
    for _ in range(6):
        one, two = (player.act(batch.observation, batch.legal, batch.seat) for player in (loaded, own))
        assert torch.equal(one, two)
        batch.step(one)


def test_its_memory_is_measured(played):
    """Of a state of all squares; two seats take turns: of 7 decisions lags 0 to 3 are one's own."""
    model, _ = played(**SHARED)
    rollout = Collector(model.batch, model.policy).collect(model.policy, 7, model.generator)
    decisions = decisions_of(rollout, 1.0, 0.95)
    told = looked_at(model.policy, rollout, decisions, 8, [1], [1, 2], 2)
    layer = told.layers["layer1"]
    assert told.pairs[1] > 0
    assert told.pairs[4:].sum() == 0
    assert torch.equal((layer.gradient["policy"].values > 0.0).sum(1), told.pairs)
    assert 0.0 < layer.gates.mean["f"] < 1.0
    H = model.policy.core.cells[0].hidden_size
    assert layer.gates.time_constant.shape == (H,)
    assert all(len(values) <= 2 and bool((values > 0.0).all()) for values in layer.singular.values())


def test_the_exported_file_decides_the_same(played):
    """40 decisions in each of 3 matches, with the memory handed from call to call."""
    policy = played(skip_connection=True, **SHARED)[0].policy.cpu()
    session = onnxruntime.InferenceSession(onnx_model(Agent(policy, GENERALS)).SerializeToString())
    batch, random, start = (
        envs.Batch(GENERALS, 3),
        torch.Generator().manual_seed(0),
        torch.ones(3, dtype=torch.bool),
    )
    memory = policy.initial_memory(3)
    cores = [core.numpy() for core in memory.cores]
    for _ in range(40):
        asked = (batch.observation, batch.legal, batch.seat, start, memory.previous)
        named = dict(zip(("observation", "legal", "seat", "start", "previous"), asked, strict=True))
        fed = {name: x.numpy() for name, x in named.items()} | {f"core_{k}": x for k, x in enumerate(cores)}
        distribution, value, _, *cores = session.run(None, fed)
        decision, memory = policy.act(*asked[:4], memory, random)
        np.testing.assert_allclose(distribution, decision.distribution.numpy(), atol=1e-5)
        np.testing.assert_allclose(value, decision.value.numpy(), atol=1e-5)
        batch.step(decision.action)
        start = batch.over.clone()
