"""The scan on a GPU: one program launched forward and one back, whatever the number of steps.

Four ideas make it a faster copy of `agents.net.scan.reference`:
- A program takes a block of matches through all of time: rows of a batch do not know each other, so nothing
  is launched and nothing waits between steps (`agents.net.kernels.gpu_code`).
- Starts and seats are a walking table of latest rows inside it; they cost nothing.
- U stays on the multiprocessor as long as the program runs where it fits there, otherwise near it.
- Input products and weight gradients are products over all steps at once, by torch, before and after it.

It takes cells with an LSTM's gates (`Cell.fused`), in float32. What the products multiply is torch's setting,
`torch.set_float32_matmul_precision`: "highest" float32, "high" TF32, "medium" bfloat16. Sums are float32.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from agents.net.cells import Cell, CellState
from agents.net.kernels import Kernel


class Operands(NamedTuple):
    """What products multiply."""

    precision: str  # as Triton calls it
    is_rounded: bool  # to bfloat16
    size: int  # bytes of shared memory that a number takes


PRECISIONS: Final = {
    "highest": Operands("tf32x3", False, 8),
    "high": Operands("tf32", False, 4),
    "medium": Operands("ieee", True, 2),
}
"""By torch's setting. "tf32x3" is three TF32 products, which together keep what float32 keeps."""

RESIDENT: Final = 128 * 128
"""The most numbers of U that stay with a program."""

SHARED: Final = 227 * 1024
"""Bytes of an H100's shared memory that a program may have."""


class Tile(NamedTuple):
    """How a program cuts its work."""

    BLOCK: int  # matches
    N: int  # columns at a time
    K: int  # of the sums
    STAGES: int  # tiles of U that are fetched ahead, where it does not stay
    num_warps: int


@functools.cache
def is_here() -> bool:
    """Triton can be imported; it comes with torch for CUDA."""
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _properties(device: torch.device) -> Any:
    return torch.cuda.get_device_properties(device)


def tile_for(hidden: int, own: int, size: int, shared: int = SHARED) -> Tile:
    """How to cut `own` blocks of U with `hidden` rows, of `size` bytes a number.

    Args:
        shared: bytes of shared memory that a program may have.
    """
    padded = max(16, 1 << (hidden - 1).bit_length())
    if (own * padded + 16) * padded * size <= shared and own * padded * padded <= RESIDENT:
        return Tile(16, padded, padded, 1, 8 if padded > 64 else 4)
    return Tile(16, 128, 32, 3, 8)


def recurrence(
    cell: Cell, inputs: Tensor, state: CellState, start: Tensor, seat: Tensor
) -> tuple[Tensor, CellState]:
    """`agents.net.scan.reference` by the ideas above; same arguments, results and gradients."""
    h0, c0 = state
    keeps = torch.is_grad_enabled() and any(x.requires_grad for x in (inputs, h0, c0, *cell.parameters()))
    outputs, h, c = _differentiable(inputs, cell.W, cell.b, cell.U, start, seat, h0, c0, keeps)
    return outputs, (h, c)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        W: Tensor,
        b: Tensor,
        U: Tensor,
        start: Tensor,
        seat: Tensor,
        h0: Tensor,
        c0: Tensor,
        keeps: bool,
    ) -> tuple[Tensor, ...]:
        from agents.net.kernels import gpu_code

        T, B, _ = x.shape
        P, H = h0.shape[1:]
        x, h0, c0, U = x.contiguous(), h0.contiguous(), c0.contiguous(), U.contiguous()
        start, seat = start.contiguous(), seat.contiguous()
        gates = torch.addmm(b, x.view(T * B, -1), W.t())  # z, until the program has been there
        h, c = x.new_empty(T, B, H), x.new_empty(T, B, H)
        h_old = torch.empty_like(h) if keeps else h
        read = torch.empty_like(seat) if keeps else seat
        last_h, last_c = torch.empty_like(h0), torch.empty_like(c0)
        own = U.shape[0] // H
        precision, is_rounded, size = PRECISIONS[torch.get_float32_matmul_precision()]
        shared = _properties(x.device).shared_memory_per_block_optin if x.is_cuda else SHARED
        tile = tile_for(H, own, size, shared)
        with _on(x):
            gpu_code.forward[(-(-B // tile.BLOCK),)](
                *(gates, U, start, seat, h0, c0, h, c, h_old, read, last_h, last_c, T, B),
                H=H, P=P, SEATS=1 << (P - 1).bit_length(), OWN=own, KEEPS=keeps, PRECISION=precision,
                BF16=is_rounded, num_stages=1, **tile._asdict(),
            )  # fmt: skip
        ctx.set_materialize_grads(False)
        if keeps:
            ctx.save_for_backward(x, W, U, start, seat, c0, gates, h_old, c, read)
            ctx.how = tile, precision, is_rounded
        return h, last_h, last_c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, d_h: Tensor | None, d_last_h: Tensor | None, d_last_c: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        from agents.net.kernels import gpu_code

        x, W, U, start, seat, c0, gates, h_old, c, read = ctx.saved_tensors
        tile, precision, is_rounded = ctx.how
        T, B, H = h_old.shape
        P, own = c0.shape[1], U.shape[0] // H
        d_h = torch.zeros_like(h_old) if d_h is None else d_h.contiguous()
        dh, dc = _copied(d_last_h, c0), _copied(d_last_c, c0)
        dz = torch.empty_like(gates)
        du = torch.empty_like(h_old) if own == 1 else dz
        with _on(x):
            gpu_code.backward[(-(-B // tile.BLOCK),)](
                *(gates, U, start, seat, read, c0, c, d_h, dh, dc, dz, du, T, B),
                H=H, P=P, OWN=own, PRECISION=precision, BF16=is_rounded, num_stages=1, **tile._asdict(),
            )  # fmt: skip
        flat = dz.view(T * B, -1)
        dx = (flat @ W).view_as(x) if ctx.needs_input_grad[0] else None
        d_W = flat.t() @ x.view(T * B, -1)
        d_U = du.view(T * B, -1).t() @ h_old.view(T * B, H)
        return dx, d_W, flat.sum(0), d_U, None, None, dh, dc, None


_differentiable: Callable[..., tuple[Tensor, ...]] = _Recurrence.apply


def _copied(x: Tensor | None, like: Tensor) -> Tensor:
    """A copy to be written into, of zeros if there is nothing."""
    return torch.zeros_like(like) if x is None else x.clone(memory_format=torch.contiguous_format)


def _on(x: Tensor) -> Any:
    """Where Triton launches: on the device of `x`."""
    return torch.cuda.device_of(x)


def _fits(cell: Cell, inputs: Tensor, _needs_gradient: bool) -> bool:
    if not (inputs.is_cuda and inputs.dtype == torch.float32 == cell.U.dtype and is_here()):
        return False
    is_known = torch.version.hip is None and _properties(inputs.device).major >= 8  # from there on with TF32
    return is_known and cell.fused_gates == "four_gates"


KERNEL = Kernel("gpu", _fits, recurrence)
"""For gated cells and LSTMs in float32 on CUDA, with and without gradients."""
