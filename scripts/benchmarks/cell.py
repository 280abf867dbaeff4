"""The cells along time, forward and back, beside torch's layers and the matrix products alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from agents.net.cells import Cell, cell_class
from agents.net.kernels import explicit
from agents.net.scan import KERNELS, scan
from benchmarks import floor
from benchmarks import options as asked
from benchmarks.telling import (
    Aim,
    Clock,
    ComparisonError,
    Interval,
    Report,
    Row,
    Table,
    bar_of,
    clock_of,
    cpu,
    interleave,
)

RATIOS = {
    ("gated", (16, 256, 64, 128)): (1.8, 2.4),
    ("gated", (64, 256, 128, 256)): (2.3, 3.0),
    ("lstm", (16, 256, 64, 128)): (1.1, 1.3),
    ("lstm", (64, 256, 128, 256)): (1.1, 1.35),
}
"""Bar and goal: how often as fast as nn.LSTM, with starts that it does not know."""

SEATS_COST = 0.03
"""The most that starts and a second seat should cost, at these shapes."""

CLOSE = 1e-4
"""The most that two sides may differ, of the largest number: float32, summed up in another order."""

HEADER = (
    *(
        "cell",
        "T, B, I, H",
        "kernel",
        "ratio to torch's layer",
        "to the explicit kernel",
        "share of the floor",
    ),
    *("starts cost", "starts and a 2nd seat"),
)
Side = Callable[[], float]


def measure(options: asked.Cell) -> list[Report]:
    """The whole comparison."""
    clock, draw = clock_of(options), random.Random(options.seed)
    report = Report("Recurrent cells", clock, opening=_opening(options))
    torch.manual_seed(options.seed)
    sizes = options.sizes()
    kinds = {name: cell_class(name) for name in options.cells}
    torch.backends.cudnn.allow_tf32 = False  # float32 on both sides
    total = len(options.cells) * len(sizes) * options.repeats
    with torch.device(options.device), bar_of(options, total) as bar:
        for shape in sizes:
            for name in options.cells:
                bar.set_description(f"{name} {shape}")
                cell = kinds[name](*shape[2:])
                _check_parity(cell, shape)
                sides = _sides(cell, shape, options, clock)
                for side in (*sides.values(), *sides.values()):  # twice: compiled, and memory at hand
                    side()
                kernel = next(kernel.name for kernel in KERNELS if kernel.fits(cell, torch.zeros(1), True))
                what = {"cell": name, "shape": shape, "kernel": kernel}
                row = Row(what, interleave(sides, options.repeats, bar, draw))
                report.rows.append(row)
                report.aims += _aims(row, name, shape, options)
    report.tables = [Table(HEADER, [_told(row) for row in report.rows])]
    report.closing = [
        "Checked before: outputs and input gradients of both sides agree, without starts, to "
        f"{CLOSE:g} of the largest."
    ]
    return [report]


# ---------------------------------------------------------------- the sides


def _peer(cell: Cell) -> nn.RNNBase:
    """torch's layer with the same weights; a U that serves several gates stands there once for each."""
    sizes = cell.input_size, cell.hidden_size
    layers: dict[str, Callable[..., nn.RNNBase]] = {"four_gates": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN}
    if cell.fused_gates not in layers:
        raise ValueError(f"torch has no layer like {cell}; it has one like elman, gated, lstm and gru")
    layer = layers[cell.fused_gates](*sizes)
    order = [0, 1, 3, 2] if isinstance(layer, nn.LSTM) else range(cell.blocks)

    def blocks(matrix: Tensor) -> Tensor:
        parts = matrix.split(cell.hidden_size)
        return torch.cat([parts[k] if len(parts) > 1 else parts[0] for k in order])

    bias = cell.recurrent_bias()
    beside = torch.zeros(cell.blocks * cell.hidden_size) if bias is None else bias
    weights = blocks(cell.W), blocks(cell.U), blocks(cell.b), beside
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    layer.load_state_dict(dict(zip(names, weights, strict=True)))
    return layer


def _check_parity(cell: Cell, shape: tuple[int, int, int, int]) -> None:
    """Both sides give the same outputs and the same gradients of the inputs, or ComparisonError."""
    T, B, inputs, H = shape
    x = torch.randn(T, B, inputs, requires_grad=True)
    weights, never = torch.randn(T, B, H), torch.zeros(T, B, dtype=torch.bool)
    ours, _ = scan(cell, x, cell.initial_state(B), never)
    theirs, _ = _peer(cell)(x)
    by_ours, by_theirs = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (ours, theirs))
    for what, mine, right in (("outputs", ours, theirs), ("gradients", by_ours, by_theirs)):
        apart = float((mine - right).detach().abs().max() / right.detach().abs().max())
        if not apart <= CLOSE:
            raise ComparisonError(f"{cell} and torch's layer differ in {what} by {apart:.1e} of the largest")


def _sides(
    cell: Cell, shape: tuple[int, int, int, int], options: asked.Cell, clock: Clock
) -> dict[str, Side]:
    """What takes turns, each as its passes per second."""
    T, B, inputs, H = shape
    x = torch.randn(T, B, inputs, requires_grad=options.input_gradient)
    weights, peer = torch.randn(T, B, H), _peer(cell)
    never, starts = torch.zeros(T, B, dtype=torch.bool), torch.rand(T, B) < options.starts
    alone, seat = torch.zeros(T, B, dtype=torch.int64), torch.randint(2, (T, B))
    one, two = cell.initial_state(B), cell.initial_state(B, 2)

    def passed(module: nn.Module, forward: Callable[[], tuple[Tensor, Any]]) -> float:
        for parameter in (x, *module.parameters()):
            parameter.grad = None
        return 1.0 / clock.seconds(lambda: forward()[0].backward(weights))

    products = floor.cell_forward(cell, T, B) + floor.cell_backward(cell, T, B, options.input_gradient)
    multiply = floor.work([floor.Part(products)], device=options.device)
    return {
        "starts": lambda: passed(cell, lambda: scan(cell, x, one, starts, alone)),
        "none": lambda: passed(cell, lambda: scan(cell, x, one, never, alone)),
        "seats": lambda: passed(cell, lambda: scan(cell, x, two, starts, seat)),
        "explicit": lambda: passed(cell, lambda: explicit.recurrence(cell, x, one, starts, alone)),
        "peer": lambda: passed(peer, lambda: peer(x)),
        "products": lambda: 1.0 / clock.seconds(multiply),
    }


# ---------------------------------------------------------------- telling


def _told(row: Row) -> list[str]:
    """A line of the table."""
    costs = (_cost(row, side).text("%") for side in ("starts", "seats"))
    compared = [row.ratio("starts", side).text("x") for side in ("peer", "explicit")]
    share = row.ratio("starts", "products").text("%")
    shape = ", ".join(map(str, row.name["shape"]))
    return [row.name["cell"], shape, row.name["kernel"], *compared, share, *costs]


def _cost(row: Row, side: str) -> Interval:
    """How much longer it takes than without starts and with one seat."""
    return Interval(*(x - 1.0 for x in row.ratio("none", side)))


def _aims(row: Row, name: str, shape: tuple[int, int, int, int], options: asked.Cell) -> list[Aim]:
    """Of the shapes that have some, on a CPU."""
    aims = RATIOS.get((name, shape))
    if aims is None or options.device == "cuda":
        return []
    where = f"{name}, T, B, I, H = {', '.join(map(str, shape))}, {cpu(torch.get_num_threads())}"
    cost = Aim(f"{where}: starts and a 2nd seat cost", _cost(row, "seats"), SEATS_COST, None, "%", True)
    return [Aim(f"{where}: beside nn.LSTM", row.ratio("starts", "peer"), *aims), cost]


def _opening(options: asked.Cell) -> list[str]:
    return [
        f"One pass forward and back along T steps of B matches, {options.starts:.0%} of our decisions "
        "begin a match; the gradients of all weights"
        f"{', and of the inputs' if options.input_gradient else ''}.",
        "torch's layer (nn.LSTM, nn.GRU, nn.RNN) has the same weights and neither starts nor seats; the "
        "floor is the pass's matrix products alone, by torch.mm in the same turns (`benchmarks/floor.py` "
        "counts them). What starts and seats cost is told against ours without them.",
    ]
