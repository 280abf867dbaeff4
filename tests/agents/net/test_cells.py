"""The cells are the textbook's: torch's own LSTM, GRU and RNN, in float64, outputs and all gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from agents.net.cells import CELLS, GRU, LSTM, Elman, Gated

T, B, I, H = 7, 3, 4, 5  # noqa: E741  the dimension key's letters


def doubled(cell):
    """The cell in float64, with biases that are not zero."""
    torch.manual_seed(0)
    cell = cell.double()
    for bias in (x for x in cell.parameters() if x.dim() == 1):
        nn.init.normal_(bias)
    return cell


def given(cell):
    """Inputs [T, B, I] and initial parts [B, H] that want gradients."""
    torch.manual_seed(1)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    return x, tuple(torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in cell.parts)


def unroll(cell, x, state):
    """The cell step by step: outputs [T, B, H], then the last parts."""
    outputs = []
    for z in cell.project(x):
        state = cell.step(z, state)
        outputs.append(state[0])
    return torch.stack(outputs), *state


def run_torch(module, x, state):
    """torch's module on the same: outputs [T, B, H], then the last parts."""
    start = tuple(part[None] for part in state)
    outputs, last = module(x, start if isinstance(module, nn.LSTM) else start[0])
    return outputs, *(part[0] for part in (last if isinstance(last, tuple) else (last,)))


def gradients(results, wanted):
    """Of a fixed mixture of all the results."""
    torch.manual_seed(2)
    mixed = sum((result * torch.randn_like(result)).sum() for result in results)
    return torch.autograd.grad(mixed, wanted)


def torch_order(blocks):
    """i, f, o, g <-> i, f, g, o along the first dimension."""
    i, f, third, fourth = blocks.chunk(4)
    return torch.cat([i, f, fourth, third])


def fill(module, W, U, bias_ih, bias_hh):
    """torch's module in float64 with these weights."""
    module = module.double()
    with torch.no_grad():
        module.weight_ih_l0.copy_(W)
        module.weight_hh_l0.copy_(U)
        module.bias_ih_l0.copy_(bias_ih)
        module.bias_hh_l0.copy_(bias_hh)
    return module


def assert_same(ours, theirs):
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-10)


def compare(cell, module, translate):
    """Outputs, last state and all gradients agree.

    `translate` turns torch's gradients (W, U, bias_ih, bias_hh) into those of the cell's parameters.
    """
    x, state = given(cell)
    ours, theirs = unroll(cell, x, state), run_torch(module, x, state)
    assert_same(ours, theirs)
    names = [name for name, _ in cell.named_parameters()]
    mine = gradients(ours, [x, *state, *cell.parameters()])
    reference = gradients(theirs, [x, *state, *module.parameters()])
    inputs = 1 + len(state)
    assert_same(mine[:inputs], reference[:inputs])
    expected = translate(*reference[inputs:])
    assert set(expected) == set(names)
    assert_same(mine[inputs:], [expected[name] for name in names])


def test_lstm_is_torchs():
    """Blocks i, f, o, g against i, f, g, o; our bias is the sum of torch's two."""
    cell = doubled(LSTM(I, H))
    share = torch.randn(4 * H, dtype=torch.float64)
    W, U, b = (torch_order(x.detach()) for x in (cell.W, cell.U, cell.b))
    compare(
        cell,
        fill(nn.LSTM(I, H), W, U, b - share, share),
        lambda dW, dU, db, _: {"W": torch_order(dW), "U": torch_order(dU), "b": torch_order(db)},
    )


def test_one_lstm_step_is_torchs_cell():
    cell, theirs = doubled(LSTM(I, H)), nn.LSTMCell(I, H).double()
    with torch.no_grad():
        theirs.weight_ih.copy_(torch_order(cell.W))
        theirs.weight_hh.copy_(torch_order(cell.U))
        theirs.bias_ih.copy_(torch_order(cell.b))
        theirs.bias_hh.zero_()
    x, state = given(cell)
    assert_same(cell.step(cell.project(x[0]), state), theirs(x[0], state))


def test_gru_is_torchs():
    """Blocks r, z, n as in torch; b_r and b_y are sums of its two biases, d is the last of bias_hh."""
    cell = doubled(GRU(I, H))
    share = torch.cat([torch.randn(2 * H, dtype=torch.float64), torch.zeros(H, dtype=torch.float64)])
    bias_hh = share + torch.cat([torch.zeros(2 * H, dtype=torch.float64), cell.d.detach()])
    compare(
        cell,
        fill(nn.GRU(I, H), cell.W, cell.U, cell.b.detach() - share, bias_hh),
        lambda dW, dU, db, dbh: {"W": dW, "U": dU, "b": db, "d": dbh[2 * H :]},
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_elman_is_torchs_rnn(nonlinearity):
    cell = doubled(Elman(I, H, nonlinearity))
    compare(
        cell,
        fill(nn.RNN(I, H, nonlinearity=nonlinearity), cell.W, cell.U, cell.b, torch.zeros_like(cell.b)),
        lambda dW, dU, db, _: {"W": dW, "U": dU, "b": db},
    )


def test_gated_is_an_lstm_whose_recurrent_blocks_are_tied():
    """U stacked four times; the gradient of U is the sum of the four blocks' gradients."""
    cell = doubled(Gated(I, H))
    compare(
        cell,
        fill(
            nn.LSTM(I, H),
            torch_order(cell.W),
            cell.U.detach().repeat(4, 1),
            torch_order(cell.b),
            torch.zeros_like(cell.b),
        ),
        lambda dW, dU, db, _: {"W": torch_order(dW), "U": dU.view(4, H, H).sum(0), "b": torch_order(db)},
    )


@pytest.mark.parametrize(
    ("name", "recurrent"), [("elman", 1), ("gated", 1), ("gru", 3), ("lstm", 4), ("feedforward", 0)]
)
def test_gated_keeps_a_quarter_of_the_recurrent_weights(name, recurrent):
    assert CELLS[name](I, H).U.numel() == recurrent * H * H


@pytest.mark.parametrize("name", ["gated", "lstm"])
@pytest.mark.parametrize(("arguments", "bias"), [({}, 1.0), ({"forget_bias": -2.0}, -2.0)])
def test_a_cell_without_weights_forgets_at_the_rate_of_its_forget_bias(name, arguments, bias):
    """All weights zero: i = o = sigmoid(0) = 1/2, g = tanh(0) = 0, so c' = sigmoid(bias) c."""
    cell = CELLS[name](1, 1, **arguments).double()
    nn.init.zeros_(cell.W)
    nn.init.zeros_(cell.U)
    zero, two = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 2.0, dtype=torch.float64)
    h, c = cell.step(cell.project(zero), (zero, two))
    kept = 2.0 / (1.0 + math.exp(-bias))
    assert c.item() == pytest.approx(kept, abs=1e-12)
    assert h.item() == pytest.approx(0.5 * math.tanh(kept), abs=1e-12)


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_a_gru_without_weights_keeps_the_share_its_forget_bias_says(bias):
    """All weights zero: n = tanh(0) = 0, so h' = sigmoid(bias) h."""
    cell = GRU(1, 1, forget_bias=bias).double()
    nn.init.zeros_(cell.W)
    nn.init.zeros_(cell.U)
    two = torch.full((1, 1), 2.0, dtype=torch.float64)
    (h,) = cell.step(cell.project(torch.zeros_like(two)), (two,))
    assert h.item() == pytest.approx(2.0 / (1.0 + math.exp(-bias)), abs=1e-12)


@pytest.mark.parametrize(("name", "keeps", "writes"), [("gated", 1, 0), ("lstm", 1, 0), ("gru", 1, None)])
def test_chrono_starts_with_memories_of_1_to_that_many_steps(name, keeps, writes):
    """1 / (1 - sigmoid(log u)) = 1 + u steps with u in 1..63; the gate that writes, if any, opens as far as
    the other forgets."""
    torch.manual_seed(0)
    bias = CELLS[name](1, 1000, chrono=64.0).b.detach().view(-1, 1000)
    steps = 1.0 / (1.0 - torch.sigmoid(bias[keeps]))
    assert 2.0 <= steps.min() < 3.0
    assert 62.0 < steps.max() <= 64.01
    assert steps.mean() == pytest.approx(33.0, abs=1.8)  # 3 standard errors of uniform numbers
    if writes is not None:
        torch.testing.assert_close(torch.sigmoid(bias[writes]), 1.0 - torch.sigmoid(bias[keeps]))


@pytest.mark.parametrize("chrono", [-1.0, 1.5])
def test_a_chrono_of_less_than_two_steps_is_refused(chrono):
    with pytest.raises(ValueError, match=f"chrono must be 0 .* or at least 2 steps, got {chrono}"):
        CELLS["gated"](I, H, chrono=chrono)


def test_feed_forward_sees_the_input_and_nothing_else():
    cell = CELLS["feedforward"](I, H)
    x, state = torch.randn(5, I), torch.randn(5, H)
    (h,) = cell.step(cell.project(x), (state,))
    torch.testing.assert_close(h, torch.tanh(nn.functional.linear(x, cell.W, cell.b)))


@pytest.mark.parametrize("name", CELLS)
def test_the_state_begins_at_zero_with_one_memory_per_seat(name):
    cell = CELLS[name](I, H)
    state = cell.initial_state(matches=2, seats=3)
    assert [tuple(part.shape) for part in state] == [(2, 3, H)] * len(cell.parts)
    assert not any(part.any() for part in state)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (-1, 4)])
def test_sizes_are_at_least_one(name, sizes):
    with pytest.raises(ValueError, match=f"at least 1, got input {sizes[0]} and hidden {sizes[1]}"):
        CELLS[name](*sizes)


def test_an_unknown_nonlinearity_is_refused():
    with pytest.raises(ValueError, match="'tanh' or 'relu', got 'sigmoid'"):
        Elman(I, H, "sigmoid")
