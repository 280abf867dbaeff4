"""The scan: one memory per seat, one reset rule; that its kernels agree is told in test_kernels.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.net.cells import CELLS, Cell
from agents.net.scan import scan

T, B, I, H = 6, 4, 3, 5  # noqa: E741  the dimension key's letters


class Counter(Cell):
    """h' = h + 1: its output is how many decisions this seat has made in this match."""

    def step(self, _z, state, /):
        return (state[0] + 1,)


class Scan(nn.Module):
    """scan as a module, so that gradcheck can vary the cell's parameters, too."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, start, seat, *state):
        outputs, last = scan(self.cell, x, state, start, seat)
        return outputs, *last


def only(*steps):
    start = torch.zeros(T, B, dtype=torch.bool)
    start[list(steps)] = True
    return start


def make_cell(name, inputs=I, hidden=H):
    torch.manual_seed(3)
    cell = CELLS[name](inputs, hidden).double()
    nn.init.normal_(cell.b)
    return cell


def given(cell, seats, steps=T, matches=B):
    """Inputs and a state full of memories, both of which want gradients, and who decides."""
    torch.manual_seed(4)
    x = torch.randn(steps, matches, cell.input_size, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in cell.initial_state(matches, seats))
    return x, state, torch.randint(seats, (steps, matches))


def with_gradients(cell, x, state, results):
    """The results, and the gradients of a fixed mixture of them."""
    torch.manual_seed(5)
    mixed = sum((result * torch.randn_like(result)).sum() for result in results)
    wanted = [x, *state, *cell.parameters()]
    return *results, *torch.autograd.grad(mixed, wanted, materialize_grads=True)


def assert_same(ours, theirs, atol=1e-12):
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=atol)


def count(start, seat, seats, before=0.0):
    """What the counter says at each decision of one match, and its memories afterwards."""
    cell = Counter(1, 1)
    state = (torch.full((1, seats, 1), before),)
    start, seat = torch.tensor(start, dtype=torch.bool)[:, None], torch.tensor(seat)[:, None]
    outputs, (last,) = scan(cell, torch.zeros(len(start), 1, 1), state, start, seat)
    return outputs[:, 0, 0].int().tolist(), last[0, :, 0].int().tolist()


def test_a_counter_begins_again_with_every_match():
    assert count(start=[1, 0, 1, 0, 0], seat=[0] * 5, seats=1) == ([1, 2, 1, 2, 3], [3])


def test_without_a_start_the_counter_goes_on_where_it_was():
    assert count(start=[0, 0, 1, 0, 0], seat=[0] * 5, seats=1, before=7.0) == ([8, 9, 1, 2, 3], [3])


def test_every_seat_counts_its_own_decisions():
    """Seats 0 1 1 0 1: the first counts 1 . . 2 ., the second . 1 2 . 3."""
    assert count(start=[1, 0, 0, 0, 0], seat=[0, 1, 1, 0, 1], seats=2) == ([1, 1, 2, 2, 3], [2, 3])


def test_a_start_clears_the_memories_of_all_seats():
    """Seat 0 begins the second match, yet seat 1 counts from 1 again and seat 2 is left with nothing."""
    counted, last = count(start=[0, 0, 0, 1, 0], seat=[0, 1, 2, 0, 1], seats=3, before=5.0)
    assert (counted, last) == ([6, 6, 6, 1, 1], [1, 1, 0])


@pytest.mark.parametrize("name", CELLS)
def test_two_seats_taking_turns_are_two_separate_sequences(name):
    cell = make_cell(name)
    x, state, _ = given(cell, seats=2, matches=1)
    seat = torch.tensor([0, 1, 1, 0, 1, 0])
    start = torch.zeros(T, 1, dtype=torch.bool)
    outputs, last = scan(cell, x, state, start, seat[:, None])
    for p in range(2):
        mine = seat == p
        alone, alone_last = scan(cell, x[mine], tuple(part[:, p : p + 1] for part in state), start[mine])
        assert_same([outputs[mine]], [alone])
        assert_same([part[:, p : p + 1] for part in last], alone_last)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_agree_with_finite_differences(name):
    cell = make_cell(name, inputs=2, hidden=2)
    x, state, _ = given(cell, seats=2, steps=4, matches=2)
    start = torch.tensor([[True, False], [False, False], [False, True], [False, False]])
    seat = torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0]])
    module, names = Scan(cell), [f"cell.{n}" for n, _ in cell.named_parameters()]

    def function(x, *rest):
        parts, values = rest[: len(state)], rest[len(state) :]
        return torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), (x, start, seat, *parts)
        )

    assert torch.autograd.gradcheck(function, (x, *state, *cell.parameters()))


@pytest.mark.parametrize("name", CELLS)
def test_two_halves_with_the_state_carried_over_are_the_whole(name):
    cell = make_cell(name)
    x, state, seat = given(cell, seats=2)
    start = only(0, 4)
    outputs, last = scan(cell, x, state, start, seat)
    first, between = scan(cell, x[: T // 2], state, start[: T // 2], seat[: T // 2])
    second, end = scan(cell, x[T // 2 :], between, start[T // 2 :], seat[T // 2 :])
    assert_same(
        with_gradients(cell, x, state, (torch.cat([first, second]), *end)),
        with_gradients(cell, x, state, (outputs, *last)),
    )


@pytest.mark.parametrize("name", CELLS)
def test_play_without_gradients_computes_the_same(name):
    cell = make_cell(name)
    x, state, seat = given(cell, seats=2)
    start = only(0, 3)
    outputs, last = scan(cell, x, state, start, seat)
    with torch.no_grad():
        plain, plain_last = scan(cell, x, state, start, seat)
    assert outputs.requires_grad
    assert not plain.requires_grad
    assert_same([plain, *plain_last], [outputs, *last])


def test_gradients_reach_inputs_and_weights_though_the_state_wants_none():
    cell = make_cell("gated")
    x, state, seat = given(cell, seats=2)
    outputs, _ = scan(cell, x, tuple(part.detach() for part in state), only(0), seat)
    outputs.sum().backward()
    assert x.grad is not None
    assert cell.U.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("wants_state", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_a_renewed_state_is_two_runs_in_one(name, wants_state, dtype):
    """Steps 0, 1 from one state and 2.. from another: outputs, the last state and all gradients."""
    cell = make_cell(name).to(dtype)
    x, state, seat = given(cell, 2)
    x = x.detach().to(dtype).requires_grad_()
    before = tuple(part.detach().to(dtype).requires_grad_(wants_state) for part in state)
    after = tuple((-2.0 * part).detach().requires_grad_(wants_state) for part in before)
    start = only(4)
    start[2, 1] = True  # at once

    def told(outputs, last):
        return with_gradients(cell, x, before + after if wants_state else (), (outputs, *last))

    found = told(*scan(cell, x, before, start, seat, (2, after)))
    first, _ = scan(cell, x[:2], before, start[:2], seat[:2])
    rest, last = scan(cell, x[2:], after, start[2:], seat[2:])
    assert_same(found, told(torch.cat([first, rest]), last), 1e-12 if dtype == torch.float64 else 1e-5)


def shapes(**changed):
    """Arguments of scan that fit a gated cell and two seats, but for those in `changed`."""
    cell = CELLS["gated"](I, H)
    fitting = {
        "inputs": torch.zeros(T, B, I),
        "state": cell.initial_state(B, 2),
        "start": torch.zeros(T, B, dtype=torch.bool),
        "seat": torch.zeros(T, B, dtype=torch.int64),
    }
    return {"cell": cell} | fitting | changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": torch.zeros(T, B, I + 1)}, r"inputs must be \[T >= 1, B, 3\], got \(6, 4, 4\)"),
        ({"inputs": torch.zeros(0, B, I)}, r"inputs must be \[T >= 1, B, 3\], got \(0, 4, 3\)"),
        ({"inputs": torch.zeros(T, I)}, r"inputs must be .* got \(6, 3\)"),
        ({"state": (torch.zeros(B, 2, H),)}, r"state of Gated must be 2 x \[4, P, 5\], got \[\(4, 2, 5\)\]"),
        ({"state": (torch.zeros(B, H),) * 2}, r"state of Gated must be 2 x \[4, P, 5\]"),
        ({"state": (torch.zeros(B + 1, 2, H),) * 2}, r"state of Gated must be 2 x \[4, P, 5\]"),
        ({"state": (torch.zeros(B, 2, H), torch.zeros(B, 3, H))}, r"state of Gated must be 2 x \[4, P, 5\]"),
        ({"start": torch.zeros(B, dtype=torch.bool)}, r"start must be bool \[6, 4\], got torch.bool \(4,\)"),
        ({"start": torch.zeros(T, B)}, r"start must be bool \[6, 4\], got torch.float32"),
        ({"seat": torch.zeros(T, dtype=torch.int64)}, r"seat must be \[6, 4\], got \(6,\)"),
        ({"seat": None}, r"the state has 2 seats; say with seat"),
    ],
)
def test_shapes_that_do_not_fit_are_named(changed, message):
    scan(**shapes())
    with pytest.raises(ValueError, match=message) as error:
        scan(**shapes(**changed))
    assert "\n" not in str(error.value)
