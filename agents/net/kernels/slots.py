"""The encoder of slots on a CPU core as two compiled kernels: sums of rows of two tables, and tanh.

`agents.net.policy.RecurrentPolicy.features` adds two `SlotEncoder`s up: what is observed, and the seat and
its previous action. An observation has few slots and many codes, so the rows that its codes name are read and
added instead of multiplying by ones and zeros, and back only these rows change.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import types
from torch import Tensor

from agents.net.kernels import is_readable, is_traced, usable
from agents.net.kernels.fused import FLOAT
from agents.net.kernels.vector import WIDTH, add, clear, move, squash, unsquash
from envs.compiled import compiled


class Slots(NamedTuple):
    """What the kernels read of N decisions, row after row."""

    seen: Tensor  # integers [N, K], codes of what is observed
    told: Tensor  # int64 [N], the seat
    previous: Tensor  # int64 [N, J]
    starts: Tensor  # int64 [K + 1], where each slot's codes begin in the first table, and its end
    starts_told: Tensor  # int64 [(1) + J + 1], the same of the seat, if it is told, and the previous action


def _row_of(starts: Any, slot: int, code: int) -> int:
    """The row of a table that a slot's code names; below 0 if the slot has no such code."""
    if code < 0 or code >= starts[slot + 1] - starts[slot]:
        return -1
    row: int = starts[slot] + code
    return row


def _widened(table: Any, width: int) -> Any:
    """The table with so many columns, zeros behind its own; itself where it has them."""
    if table.shape[1] == width:
        return table
    wide = np.zeros((table.shape[0], width), np.float32)
    for c in range(table.shape[0]):
        for e in range(table.shape[1]):
            wide[c, e] = table[c, e]
    return wide


_inline: Any = functools.partial(compiled, nogil=True)
row_of, widened = _inline(_row_of), _inline(_widened)


def _width(E: int) -> int:
    """Columns of a table, in whole vectors."""
    return (E + WIDTH - 1) // WIDTH * WIDTH


width_of = _inline(_width)


def _forward(
    seen: Any, told: Any, previous: Any, starts: Any, starts_told: Any, table: Any, table_told: Any,
    squashes: bool, out: Any,
) -> bool:  # fmt: skip
    """False if a code is none of its slot."""
    (N, E), J = out.shape, previous.shape[1]
    width = width_of(E)
    first, second = widened(table, width), widened(table_told, width)
    at_first, at_second = first.ctypes.data, second.ctypes.data
    row = np.zeros(width, np.float32)
    at_row, at_out = row.ctypes.data, out.ctypes.data
    with_seat = starts_told.shape[0] - 1 - J
    for n in range(N):
        clear(at_row, width)
        for k in range(seen.shape[1]):
            c = row_of(starts, k, np.int64(seen[n, k]))
            if c < 0:
                return False
            add(at_first + c * width * FLOAT, at_row, width)
        for j in range(with_seat + J):
            c = row_of(starts_told, j, told[n] if j < with_seat else previous[n, j - with_seat])
            if c < 0:
                return False
            add(at_second + c * width * FLOAT, at_row, width)
        if squashes:
            squash(at_row, width)
        move(at_row, at_out + n * E * FLOAT, E)
    return True


def _backward(
    seen: Any, told: Any, previous: Any, starts: Any, starts_told: Any, squashes: bool, out: Any, d_out: Any,
    d_table: Any, d_table_told: Any,
) -> None:  # fmt: skip
    """Derivatives by the tables; the codes were looked at on the way forward."""
    (N, E), J = out.shape, previous.shape[1]
    width = width_of(E)
    first = np.zeros((d_table.shape[0], width), np.float32)
    second = np.zeros((d_table_told.shape[0], width), np.float32)
    rows = np.zeros((2, width), np.float32)
    at_first, at_second = first.ctypes.data, second.ctypes.data
    at_row, at_squashed = rows[0].ctypes.data, rows[1].ctypes.data
    with_seat = starts_told.shape[0] - 1 - J
    for n in range(N):
        move(d_out.ctypes.data + n * E * FLOAT, at_row, E)
        if squashes:
            move(out.ctypes.data + n * E * FLOAT, at_squashed, E)
            unsquash(at_row, at_squashed, width)
        for k in range(seen.shape[1]):
            add(at_row, at_first + (starts[k] + np.int64(seen[n, k])) * width * FLOAT, width)
        for j in range(with_seat + J):
            code = told[n] if j < with_seat else previous[n, j - with_seat]
            add(at_row, at_second + (starts_told[j] + code) * width * FLOAT, width)
    d_table[:, :] = first[:, :E]
    d_table_told[:, :] = second[:, :E]


forward, backward = _inline(_forward), _inline(_backward)


def _compile() -> None:
    """For the observations of most games; those of other integers follow when they come."""
    line, table = types.Array(types.int64, 1, "C"), types.Array(types.float32, 2, "C")
    codes, previous = types.Array(types.uint8, 2, "C"), types.Array(types.int64, 2, "C")
    told = codes, line, previous, line, line
    forward.compile((*told, table, table, types.boolean, table))
    backward.compile((*told, types.boolean, table, table, table, table))


def _arrays(slots: Slots) -> list[Any]:
    return [x.numpy() for x in slots]


def _run_forward(slots: Slots, squashes: bool, table: Tensor, table_told: Tensor) -> Tensor:
    out = torch.empty(slots.seen.shape[0], table.shape[1])
    tables = (x.detach().numpy() for x in (table, table_told))
    check(forward(*_arrays(slots), *tables, squashes, out.numpy()))
    return out


def check(is_known: bool) -> None:
    """What `forward` says of the codes, or IndexError."""
    if not is_known:
        raise IndexError("a code of an observation, a seat or a previous action is out of its range")


class Sums(torch.autograd.Function):
    """Slots, whether it squashes, and both tables -> [N, E]."""

    @staticmethod
    def forward(ctx: Any, slots: Slots, squashes: bool, table: Tensor, table_told: Tensor) -> Tensor:
        out = _run_forward(slots, squashes, table, table_told)
        ctx.slots, ctx.squashes, ctx.shapes = slots, squashes, (table.shape, table_told.shape)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = ctx.saved_tensors
        d_tables = [torch.empty(shape) for shape in ctx.shapes]
        numbers = (x.numpy() for x in (out, d_out.contiguous(), *d_tables))
        backward(*_arrays(ctx.slots), ctx.squashes, *numbers)
        return None, None, *d_tables


_differentiable: Callable[..., Tensor] = Sums.apply


def can_run(slots: Slots, table: Tensor, table_told: Tensor) -> bool:
    """The kernels can read these."""
    return (
        is_readable(table)
        and is_readable(table_told)
        and all(codes.is_cpu for codes in slots)
        and not slots.seen.is_floating_point()
        and not is_traced()
        and usable("encoder of slots", _compile)
    )


def run(slots: Slots, squashes: bool, table: Tensor, table_told: Tensor) -> Tensor:
    """The rows that the slots name, added up, [N, E]; tanh of it if it `squashes`.

    Raises:
        IndexError: a code is none of its slot.
    """
    call = _differentiable if torch.is_grad_enabled() else _run_forward
    return call(slots, squashes, table, table_told)
