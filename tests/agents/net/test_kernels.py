"""Every kernel over every cell, those of one's own too, every start and seat pattern: all give the same."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from leaky import Leaky, Peephole
from torch import nn

from agents.net import scan as scanning
from agents.net.cells import CELLS, Elman
from agents.net.kernels import Kernel
from agents.net.kernels.explicit import rows_read
from agents.net.scan import KERNELS, reference, scan

T, B, H, INPUTS = 6, 4, 5, 3

MADE = {
    **CELLS,
    "elman of relu": functools.partial(Elman, nonlinearity="relu"),
    "leaky, of one's own": Leaky,
    "peephole, of one's own": Peephole,
}
"""What makes each cell."""

FITS = {
    "gpu": set(),  # on CUDA alone, see test_gpu.py
    "fused": {"elman", "gated", "lstm", "gru"},
    "explicit": {"elman", "gated", "lstm", "gru", "feedforward", "leaky, of one's own"},
    "reference": set(MADE),
}
"""The cells that each kernel takes where a gradient is wanted; the others have no derivatives, or do not name
their gates."""

DTYPES = {"fused": [torch.float32]}
"""Of the kernels that do not take both."""


def only(*steps):
    start = torch.zeros(T, B, dtype=torch.bool)
    start[list(steps)] = True
    return start


STARTS = {
    "none": only,
    "at 0": lambda: only(0),
    "at T-1": lambda: only(T - 1),
    "consecutive": lambda: only(2, 3),
    "everywhere": lambda: only(*range(T)),
    "random": lambda: torch.rand(T, B) < 0.4,
}

SEATS = {
    "one": (1, lambda: torch.zeros(T, B, dtype=torch.int64)),
    "two take turns": (2, lambda: (torch.arange(T)[:, None] + torch.arange(B)) % 2),
    "three at random": (3, lambda: torch.randint(3, (T, B))),
}
"""P, and who decides."""


def make_cell(name, dtype=torch.float64):
    torch.manual_seed(3)
    cell = MADE[name](INPUTS, H).to(dtype)
    for bias in (x for x in cell.parameters() if x.dim() == 1):
        nn.init.normal_(bias)
    return cell


def match_by_match(cell, inputs, state, start, seat):
    """The rule of `scan` once more, on one match and seat at a time: what every kernel has to give."""
    z = cell.project(inputs)
    B, P, _ = state[0].shape
    mine = [[tuple(part[b, p][None] for part in state) for p in range(P)] for b in range(B)]
    outputs = []
    for t, b in itertools.product(range(len(z)), range(B)):
        if start[t, b]:
            mine[b] = [tuple(torch.zeros_like(part) for part in seated) for seated in mine[b]]
        mine[b][seat[t, b]] = cell.step(z[t, b][None], mine[b][seat[t, b]])
        outputs.append(mine[b][seat[t, b]][0])
    last = [torch.cat([seated[k] for seats in mine for seated in seats]) for k in range(len(state))]
    return torch.cat(outputs).view(len(z), B, -1), [part.view(B, P, -1) for part in last]


def everything(run, cell, x, state, start, seat):
    """What a kernel gives: outputs, last state, and all gradients of a fixed mixture of them."""
    outputs, last = run(cell, x, state, start, seat)
    torch.manual_seed(5)
    mixed = sum((result * torch.randn_like(result)).sum() for result in (outputs, *last))
    wanted = [x, *state, *cell.parameters()]
    return outputs, *last, *torch.autograd.grad(mixed, wanted, materialize_grads=True)


@pytest.mark.parametrize("seats", SEATS)
@pytest.mark.parametrize("starts", STARTS)
@pytest.mark.parametrize(
    ("kernel", "name", "dtype"),
    [
        (kernel, name, dtype)
        for kernel in KERNELS
        for name in sorted(FITS[kernel.name])
        for dtype in DTYPES.get(kernel.name, [torch.float64, torch.float32])
    ],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_a_kernel_gives_what_the_rule_gives(kernel, name, starts, seats, dtype):
    """Outputs, last state and the gradients of inputs, state and every parameter."""
    cell, (P, decides) = make_cell(name, dtype), SEATS[seats]
    torch.manual_seed(4)
    x = torch.randn(T, B, INPUTS, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in cell.initial_state(B, P))
    start, seat = STARTS[starts](), decides()
    told = everything(kernel.run, cell, x, state, start, seat)
    expected = everything(match_by_match, cell, x, state, start, seat)
    for mine, right in zip(told, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=0, atol=1e-10 if dtype == torch.float64 else 2e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MADE)
def test_which_kernels_fit_a_cell(name, dtype):
    """The explicit one has no use where no gradient is wanted: the fused one is asked then, or the readable
    loop."""
    cell, x = make_cell(name, dtype), torch.zeros(T, B, INPUTS, dtype=dtype)
    known = {k for k in FITS if name in FITS[k] and dtype in DTYPES.get(k, [dtype])}
    assert {k.name for k in KERNELS if k.fits(cell, x, True)} == known
    assert {k.name for k in KERNELS if k.fits(cell, x, False)} == known - {"explicit"}


def test_the_first_kernel_that_fits_runs_the_cell(monkeypatch):
    """A new one, of LSTMs alone, stands in front; the last of all is the readable loop."""
    asked = []

    def run(*arguments):
        asked.append(arguments[0])
        return reference(*arguments)

    lstms = Kernel("of LSTMs", lambda cell, *_: isinstance(cell, CELLS["lstm"]), run)
    monkeypatch.setattr(scanning, "KERNELS", [lstms, *KERNELS])
    lstm, gru = make_cell("lstm"), make_cell("gru")
    for cell in (gru, lstm):
        scan(cell, torch.zeros(T, B, INPUTS, dtype=torch.float64), cell.initial_state(B), only(0))
    assert asked == [lstm]
    assert KERNELS[-1] == Kernel("reference", KERNELS[-1].fits, reference)


def test_derivatives_belong_to_the_step_that_they_were_written_for():
    """Options and starting values change no step; whoever writes another one does not inherit them."""

    class Started(Leaky):
        def __init__(self, inputs, hidden):
            super().__init__(inputs, hidden, keeping=3.0)

    class Doubled(Leaky):
        def step(self, z, state, /):
            return super().step(2 * z, state)

    assert Started(INPUTS, H).has_derivatives
    assert not Doubled(INPUTS, H).has_derivatives
    assert not Peephole(INPUTS, H).has_derivatives


def test_named_gates_belong_to_the_step_that_they_compute():
    """The fused kernel knows a step by its name alone, so a step or a projection of one's own has none."""

    class Started(CELLS["gru"]):
        pass

    class Doubled(CELLS["gru"]):
        def project(self, x):
            return 2 * super().project(x)

    assert Started(INPUTS, H).fused_gates == "gru"
    assert Doubled(INPUTS, H).fused_gates is None
    assert Peephole(INPUTS, H).fused_gates is None
    assert Elman(INPUTS, H, nonlinearity="relu").fused_gates is None


def test_the_rows_of_the_table_that_a_step_reads():
    """One match, two seats. Rows: 0 zeros; 1, 2 the initial memories; 3, 4, 5, 6 what steps 0..3 wrote."""
    start = torch.tensor([[False], [False], [True], [False]])
    seat = torch.tensor([[0], [0], [1], [1]])
    read, last = rows_read(start, seat, 2)
    # Step 0 reads the initial memory of seat 0, step 1 what step 0 wrote; a match begins at step 2, so it
    # reads zeros; step 3 what step 2 wrote. Afterwards seat 0 remembers nothing, seat 1 has row 6.
    assert read[:, 0].tolist() == [1, 3, 0, 5]
    assert last[0].tolist() == [0, 6]
