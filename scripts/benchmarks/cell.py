"""The cells along time, forward and back, beside torch's layers and the matrix products alone."""

from __future__ import annotations

import functools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from agents.net.cells import CELLS, Cell
from agents.net.kernels import explicit
from agents.net.scan import KERNELS, scan
from benchmarks import options as asked
from benchmarks.telling import (
    RATIO,
    ComparisonError,
    Table,
    bar_of,
    cpu,
    interleave,
    ratios,
    report,
    spread,
    verdict,
)

GOALS = {
    ("gated", (16, 256, 64, 128)): 2.4,
    ("gated", (64, 256, 128, 256)): 3.0,
    ("lstm", (16, 256, 64, 128)): 1.3,
    ("lstm", (64, 256, 128, 256)): 1.35,
}
"""How often as fast as nn.LSTM, with starts that it does not know."""

CLOSE = 1e-4
"""The most that two sides may differ, of the largest number: float32, summed up in another order."""

HEADER = (
    *("cell", "T, B, I, H", "kernel", "ratio to torch's layer", "to the explicit kernel", "to the products"),
    *("starts cost", "starts and a 2nd seat"),
)
Side = Callable[[], float]


def measure(options: asked.Cell) -> str:
    """The whole comparison, as text."""
    rows, verdicts = [], []
    draw = random.Random(options.seed)
    torch.manual_seed(options.seed)
    with bar_of(options, len(options.cells) * len(options.shapes) * options.repeats) as bar:
        for shape in options.sizes():
            for name in options.cells:
                bar.set_description(f"{name} {shape}")
                cell = CELLS[name](*shape[2:])
                _check_parity(cell, shape)
                sides = _sides(cell, shape, options)
                for side in (*sides.values(), *sides.values()):  # twice: compiled, and memory at hand
                    side()
                measured = interleave(sides, options.repeats, bar, draw)
                rows.append(_row(name, shape, cell, measured))
                if goal := GOALS.get((name, shape)):
                    found = ratios(measured["starts"], measured["peer"])
                    where = f"{name}, T, B, I, H = {_told(shape)}, {cpu(torch.get_num_threads())}"
                    verdicts.append(verdict(where, found, goal))
    return _tell(options, rows, verdicts)


# ---------------------------------------------------------------- the sides


def _peer(cell: Cell) -> nn.RNNBase:
    """torch's layer with the same weights; a U that serves several gates stands there once for each."""
    sizes = cell.input_size, cell.hidden_size
    layers: dict[str, Callable[..., nn.RNNBase]] = {"four_gates": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN}
    layer = layers[cell.fused_gates or ""](*sizes)
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


def _sides(cell: Cell, shape: tuple[int, int, int, int], options: asked.Cell) -> dict[str, Side]:
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
        return _speed(lambda: forward()[0].backward(weights))

    return {
        "starts": lambda: passed(cell, lambda: scan(cell, x, one, starts, alone)),
        "none": lambda: passed(cell, lambda: scan(cell, x, one, never, alone)),
        "seats": lambda: passed(cell, lambda: scan(cell, x, two, starts, seat)),
        "explicit": lambda: passed(cell, lambda: explicit.recurrence(cell, x, one, starts, alone)),
        "peer": lambda: passed(peer, lambda: peer(x)),
        "products": functools.partial(_speed, _products(cell, shape, options.input_gradient)),
    }


def _speed(work: Callable[[], object]) -> float:
    """How often a second. On one thread by the processor's time, which others do not share."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    work()
    return 1.0 / (clock() - began)


def _products(cell: Cell, shape: tuple[int, int, int, int], input_gradient: bool) -> Callable[[], None]:
    """The products of a pass forward and back alone, as torch multiplies."""
    T, B, inputs, H = shape
    G, R = len(cell.W), len(cell.U)
    x, dz, h, du = (torch.randn(T, B, n) for n in (inputs, G, H, R))
    W, U = cell.W.detach(), cell.U.detach()
    flat_x, flat_dz, flat_h, flat_du = (part.flatten(0, 1) for part in (x, dz, h, du))
    W_t, U_t = W.t().contiguous(), U.t().contiguous()

    def steps(rows: Tensor, matrix: Tensor) -> Iterator[Tensor]:
        return (torch.mm(row, matrix) for row in rows)

    def work() -> None:
        torch.mm(flat_x, W_t)
        for _ in (*steps(h, U_t), *steps(du, U)):
            pass
        torch.mm(flat_dz.t(), flat_x)
        torch.mm(flat_du.t(), flat_h)
        if input_gradient:
            torch.mm(flat_dz, W)

    return work


# ---------------------------------------------------------------- telling


def _told(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _row(name: str, shape: tuple[int, ...], cell: Cell, measured: dict[str, list[float]]) -> list[str]:
    kernel = next(kernel.name for kernel in KERNELS if kernel.fits(cell, torch.zeros(1), True))
    ours = measured["starts"]
    compared = (spread(RATIO, ratios(ours, measured[side])) for side in ("peer", "explicit", "products"))
    costs = (statistics.median(ratios(measured["none"], measured[side])) for side in ("starts", "seats"))
    return [name, _told(shape), kernel, *compared, *(f"{cost - 1.0:+.1%}" for cost in costs)]


def _tell(options: asked.Cell, rows: list[list[str]], verdicts: list[str]) -> str:
    threads = torch.get_num_threads()
    clock = "processor time of one thread" if threads == 1 else f"wall time, {threads} threads"
    return report(
        options,
        [],
        "Recurrent cells",
        [
            f"One pass forward and back along T steps of B matches, {options.starts:.0%} of our decisions "
            "begin a match; the gradients of all weights"
            f"{', and of the inputs' if options.input_gradient else ''}.",
            "torch's layer (nn.LSTM, nn.GRU, nn.RNN) has the same weights and neither starts nor seats; the "
            "products are the pass's matrix products alone, by torch.mm: no gate, no memory, no gradient of "
            "a bias.",
            f"{options.repeats} repeats by turns in an order drawn anew, {clock}; ratios of speeds, median "
            "(least..most) of the repeats. What starts and seats cost is told against ours without them.",
        ],
        [Table(HEADER, rows)],
        [
            "Checked before: outputs and input gradients of both sides agree, without starts, to "
            f"{CLOSE:g} of the largest.",
            *verdicts,
        ],
    )
