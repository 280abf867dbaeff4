"""scan: the cell run along time. The only time loop and the only reset rule of the package.

In a match the seats take turns and each sees only its own observations, so each has its own memory: the
state is [B, P, H] per part. At step t, match b,

    if start[t, b]:  the memories of *all* seats of b become zero      (a new match begins)
    the memory of seat[t, b] is read, stepped and written back         (the others stay)

Everything stays [T, B]: no padding, no splitting of sequences, static shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.net.cells import Cell, CellState
from agents.net.kernels import Kernel, explicit, fused, gpu


def scan(
    cell: Cell,
    inputs: Tensor,
    state: CellState,
    start: Tensor,
    seat: Tensor | None = None,
    renewed: tuple[int, CellState] | None = None,
) -> tuple[Tensor, CellState]:
    """Run `cell` along time.

    Args:
        cell: of `agents.CELLS`, or of one's own.
        inputs: [T, B, I].
        state: parts [B, P, H], as `cell.initial_state(B, P)` makes them.
        start: bool [T, B]; the decision is the first of a new match.
        seat: int64 [T, B] in 0..P-1; None for P = 1.
        renewed: a step above 0 and the state from there on, whatever was remembered before: two runs, one
            after the other, in one.

    Returns:
        outputs [T, B, H] and the state after the last step, parts [B, P, H]. Gradients flow to the
        inputs, to the state and to the cell's parameters.

    Raises:
        ValueError: shapes do not fit.
    """
    seat = _check(cell, inputs, state, start, seat)
    needs_gradient = torch.is_grad_enabled()
    kernel = next(kernel for kernel in KERNELS if kernel.fits(cell, inputs, needs_gradient))
    if renewed is None:
        return kernel.run(cell, inputs, state, start, seat)
    k, later = renewed
    _check(cell, inputs[k:], later, start[k:], seat[k:])
    if kernel.renews and not any(part.requires_grad for part in (*state, *later)):
        return kernel.run(cell, inputs, state, start, seat, renewed)
    first, _ = kernel.run(cell, inputs[:k], state, start[:k], seat[:k])
    rest, last = kernel.run(cell, inputs[k:], later, start[k:], seat[k:])
    return torch.cat([first, rest]), last


def reference(
    cell: Cell, inputs: Tensor, state: CellState, start: Tensor, seat: Tensor
) -> tuple[Tensor, CellState]:
    """The rule above, word for word; what every faster copy is checked against."""
    z = cell.project(inputs)  # one product for all steps
    matches = torch.arange(z.shape[1], device=z.device)
    outputs = []
    for t in range(z.shape[0]):
        state = tuple(part.masked_fill(start[t, :, None, None], 0.0) for part in state)
        mine = tuple(part[matches, seat[t]] for part in state)
        mine = cell.step(z[t], mine)
        state = tuple(part.index_put((matches, seat[t]), new) for part, new in zip(state, mine, strict=True))
        outputs.append(mine[0])
    return torch.stack(outputs), state


KERNELS: list[Kernel] = [
    gpu.KERNEL,
    fused.KERNEL,
    explicit.KERNEL,
    Kernel("reference", lambda *_: True, reference),
]
"""Asked in this order which of them fits; the last is the readable one, which fits everything. A new kernel
is one file in `agents.net.kernels` and one entry here."""


def _check(cell: Cell, inputs: Tensor, state: CellState, start: Tensor, seat: Tensor | None) -> Tensor:
    """Shapes fit, or ValueError; returns the seats."""
    if inputs.dim() != 3 or inputs.shape[0] < 1 or inputs.shape[2] != cell.input_size:
        raise ValueError(f"inputs must be [T >= 1, B, {cell.input_size}], got {tuple(inputs.shape)}")
    T, B, _ = inputs.shape
    shape = (B, state[0].shape[1] if state[0].dim() == 3 else 1, cell.hidden_size)
    if len(state) != len(cell.parts) or any(part.shape != shape for part in state):
        raise ValueError(
            f"the state of {type(cell).__name__} must be {len(cell.parts)} x [{B}, P, {cell.hidden_size}], "
            f"got {[tuple(part.shape) for part in state]}"
        )
    if start.shape != (T, B) or start.dtype != torch.bool:
        raise ValueError(f"start must be bool [{T}, {B}], got {start.dtype} {tuple(start.shape)}")
    if seat is None:
        if shape[1] != 1:
            raise ValueError(f"the state has {shape[1]} seats; say with seat [T, B] who decides")
        return torch.zeros(T, B, dtype=torch.int64, device=inputs.device)
    if seat.shape != (T, B):
        raise ValueError(f"seat must be [{T}, {B}], got {tuple(seat.shape)}")
    return seat
