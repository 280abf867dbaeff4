"""The recurrence with an explicit backward pass, in torch operations on any device.

Three ideas make it a faster copy of `agents.net.scan.reference`:
- All states ever written lie as rows of one table: a row of zeros, the initial states, then one row per
  (t, b). Seats and resets only decide *which row a step reads*, so they become one table of row numbers
  (`rows_read`), worked out before the loop, and cost one gather a step.
- The loop holds only the recurrent product and what the cell does with it; autograd sees one node.
- The backward loop multiplies by derivatives that were computed for all steps at once, and the gradient
  of U is one product after it.

It knows no cell: what a step and its derivatives are, the cell says (`Cell.step_into`, `Cell.step_back`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from agents.net.cells import Cell, CellState, Trace
from agents.net.kernels import Kernel


def rows_read(start: Tensor, seat: Tensor, seats: int) -> tuple[Tensor, Tensor]:
    """Which row of the table each step reads, and which rows hold the final state.

    Rows: 0 zeros, 1 + b P + p the initial state of seat p of match b, 1 + B P + t B + b what step t wrote.

    Args:
        start: bool [T, B].
        seat: int64 [T, B].
        seats: P.

    Returns:
        int64 [T, B] and int64 [B, P].
    """
    T, B = start.shape
    device = start.device
    time = torch.arange(T, device=device)[:, None]
    match = torch.arange(B, device=device)
    begun = torch.where(start, time, -1).cummax(0).values  # step at which the running match began
    plays = seat[:, :, None] == torch.arange(seats, device=device)
    played = torch.where(plays, time[:, :, None], -1).cummax(0).values  # [T, B, P] latest decision so far
    before = torch.cat([torch.full_like(played[:1], -1), played[:-1]])

    def row(latest: Tensor, began: Tensor, p: Tensor, b: Tensor) -> Tensor:
        initial = torch.where(began < 0, 1 + b * seats + p, 0)
        return torch.where((latest >= 0) & (latest >= began), 1 + B * seats + latest * B + b, initial)

    read = row(before.gather(2, seat[:, :, None])[:, :, 0], begun, seat, match)
    final = row(played[-1], begun[-1][:, None], torch.arange(seats, device=device), match[:, None])
    return read, final


def recurrence(
    cell: Cell, inputs: Tensor, state: CellState, start: Tensor, seat: Tensor
) -> tuple[Tensor, CellState]:
    """`agents.net.scan.reference` by the three ideas above; same arguments, results and gradients."""
    z = cell.project(inputs)  # one product for all steps
    read, final = rows_read(start, seat, state[0].shape[1])
    outputs, *parts = _differentiable(cell, z, cell.U, cell.recurrent_bias(), read, final, *state)
    return outputs, tuple(parts)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        z: Tensor,
        U: Tensor,
        bias: Tensor | None,
        read: Tensor,
        final: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        T, B, _ = z.shape
        H = U.shape[1]
        first = 1 + final.numel()  # row of step 0
        tables = [z.new_empty(first + T * B, H) for _ in state]
        for table, part in zip(tables, state, strict=True):
            table[0] = 0.0
            table[1:first] = part.reshape(-1, H)
        old = tuple(z.new_empty(T, B, H) for _ in state)
        new = tuple(table[first:].view(T, B, H) for table in tables)
        saved = z.new_empty(T, len(cell.saved), B, H)
        views = cell.views(z.contiguous(), Trace(old, new, saved))
        U_t = U.t()

        for rows, *mine, at in zip(read.unbind(0), *(part.unbind(0) for part in old), views, strict=True):
            for table, part in zip(tables, mine, strict=True):
                torch.index_select(table, 0, rows, out=part)
            u = torch.mm(mine[0], U_t) if bias is None else torch.addmm(bias, mine[0], U_t)
            cell.step_into(at, u)

        finals = [table[final.reshape(-1)].view_as(part) for table, part in zip(tables, state, strict=True)]
        ctx.cell, ctx.has_bias, ctx.width = cell, bias is not None, z.shape[2]
        ctx.save_for_backward(U, read, final, saved, *old, *new)
        return new[0].clone(), *finals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_finals: Tensor) -> tuple[Tensor | None, ...]:
        U, read, final, saved, *states = ctx.saved_tensors
        parts = len(d_finals)
        trace = Trace(tuple(states[:parts]), tuple(states[parts:]), saved)
        old = trace.old
        T, B, H = old[0].shape
        first = 1 + final.numel()
        cell: Cell = ctx.cell
        factors = cell.derivatives(trace)

        tables = [d_outputs.new_zeros(first + T * B, H) for _ in range(parts)]
        for table, d_final in zip(tables, d_finals, strict=True):
            table.index_add_(0, final.reshape(-1), d_final.reshape(-1, H))
        tables[0][first:] += d_outputs.reshape(-1, H)
        grads = [table[first:].view(T, B, H) for table in tables]

        dz = d_outputs.new_empty(T, B, ctx.width)
        du = d_outputs.new_empty(T, B, U.shape[0])
        views = cell.views_back(factors, tuple(grads), dz)
        steps = list(zip(read.unbind(0), du.unbind(0), views, strict=True))
        for rows, du_t, at in reversed(steps):
            d_u, direct = cell.step_back(at)
            du_t.copy_(d_u)
            dh = torch.mm(d_u, U) if direct[0] is None else torch.addmm(direct[0], d_u, U)
            for table, d_old in zip(tables, (dh, *direct[1:]), strict=True):
                if d_old is not None:
                    table.index_put_((rows,), d_old, accumulate=True)

        flat = du.view(T * B, -1)
        d_U = flat.t() @ old[0].view(T * B, H)
        d_bias = flat.sum(0) if ctx.has_bias else None
        d_state = [
            table[1:first].view(*final.shape, H) if needed else None
            for table, needed in zip(tables, ctx.needs_input_grad[6:], strict=True)
        ]
        return None, dz, d_U, d_bias, None, None, *d_state


_differentiable: Callable[..., tuple[Tensor, ...]] = _Recurrence.apply


def _fits(cell: Cell, _inputs: Tensor, needs_gradient: bool) -> bool:
    return needs_gradient and cell.has_derivatives


KERNEL = Kernel("explicit", _fits, recurrence)
"""For cells that bring their derivatives, where a gradient is wanted; on any device."""
