"""The recurrence with an explicit backward pass, in torch operations on any device.

Three ideas make it a faster copy of `agents.net.scan.reference`:
- All states ever written lie as rows of one table: a row of zeros, the initial states, then one row per
  (t, b). Seats and resets only decide *which row a step reads*, so they become one table of row numbers
  (`rows_read`), worked out before the loop, and cost one gather a step.
- The loop holds only the recurrent product and the pointwise gates; autograd sees one node.
- The backward loop multiplies by derivatives that were computed for all steps at once, and the gradient
  of U is one product after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from agents.net.cells import GRU, LSTM, Cell, CellState, Elman, FeedForward, Gated


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


Views = tuple[Tensor, ...]
"""The memory of one step, cut out for all steps at once before the loop: cutting inside it costs as much
as computing."""


class Pointwise:
    """The gates of one kind of cell, forward and backward, on memory that the loop provides.

    Shapes: z [T, B, G], u = U h (+ its bias) [B, G'], a part of the state [T, B, H], saved [T, S, B, H].
    """

    saved_blocks: int
    """S, what `forward` keeps for `derivatives`."""

    @staticmethod
    def forward_views(z: Tensor, old: CellState, new: CellState, saved: Tensor) -> Iterable[Views]:
        """What `forward` works on, step by step."""
        raise NotImplementedError

    @staticmethod
    def forward(views: Views, u: Tensor) -> None:
        """Write the step's new state and `saved`."""
        raise NotImplementedError

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> CellState:
        """What `backward` multiplies by, for all steps at once."""
        raise NotImplementedError

    @staticmethod
    def backward_views(factors: CellState, grad: CellState, dz: Tensor) -> Iterable[Views]:
        """What `backward` works on, step by step, from the first on. `grad`: gradients of the new parts."""
        raise NotImplementedError

    @staticmethod
    def backward(views: Views) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """One step back: write dz; return du and what reaches the old parts *beside* u (None = nothing).

        The gradients of the new parts may be overwritten.
        """
        raise NotImplementedError


class ElmanPointwise(Pointwise):
    saved_blocks = 0

    @staticmethod
    def forward_views(z: Tensor, old: CellState, new: CellState, saved: Tensor) -> Iterable[Views]:  # noqa: ARG004
        return by_step(z, new[0])

    @staticmethod
    def forward(views: Views, u: Tensor) -> None:
        z, h = views
        torch.add(z, u, out=h).tanh_()

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> CellState:  # noqa: ARG004
        return (1.0 - new[0].square(),)

    @staticmethod
    def backward_views(factors: CellState, grad: CellState, dz: Tensor) -> Iterable[Views]:
        return by_step(factors[0], grad[0], dz)

    @staticmethod
    def backward(views: Views) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        by_dh, dh, dz = views
        torch.mul(dh, by_dh, out=dz)
        return dz, (None,)


class FeedForwardPointwise(ElmanPointwise):
    @staticmethod
    def forward(views: Views, u: Tensor) -> None:  # noqa: ARG004
        z, h = views
        torch.tanh(z, out=h)

    @classmethod
    def backward(cls, views: Views) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        dz, direct = super().backward(views)
        return dz[:, :0], direct  # U has no rows


class LSTMPointwise(Pointwise):
    saved_blocks = 5  # i, f, o, g, tanh(c')

    @staticmethod
    def forward_views(z: Tensor, old: CellState, new: CellState, saved: Tensor) -> Iterable[Views]:
        return by_step(by_block(z, 4), saved[:, :4], saved[:, :3], *saved.unbind(1), old[1], *new)

    @classmethod
    def forward(cls, views: Views, u: Tensor) -> None:
        z, a, ifo, i, f, o, g, tanh_c, old_c, h, c = views
        cls.add(z, u, a)
        ifo.sigmoid_()
        g.tanh_()
        torch.mul(i, g, out=c).addcmul_(f, old_c)
        torch.mul(o, torch.tanh(c, out=tanh_c), out=h)

    @staticmethod
    def add(z: Tensor, u: Tensor, a: Tensor) -> None:
        """a = z + u, [4, B, H] but u [B, 4 H]."""
        torch.add(z, u.view(u.shape[0], 4, -1).transpose(0, 1), out=a)

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> CellState:  # noqa: ARG004
        i, f, o, g, tanh_c = saved.unbind(1)
        by_dc = torch.empty_like(saved[:, :4])  # da / dc' for i, f, g; the o block is da_o / dh'
        torch.mul(g * i, 1.0 - i, out=by_dc[:, 0])
        torch.mul(old[1] * f, 1.0 - f, out=by_dc[:, 1])
        torch.mul(tanh_c * o, 1.0 - o, out=by_dc[:, 2])
        torch.mul(i, 1.0 - g.square(), out=by_dc[:, 3])
        return by_dc, o * (1.0 - tanh_c.square()), f

    @staticmethod
    def backward_views(factors: CellState, grad: CellState, dz: Tensor) -> Iterable[Views]:
        by_dc, dc_dh, f = factors
        da = by_block(dz, 4)
        return by_step(by_dc, by_dc[:, 2], dc_dh, f, *grad, dz, da, da[:, 2])

    @classmethod
    def backward(cls, views: Views) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        by_dc, by_dh, dc_dh, f, dh, dc, dz, da, da_o = views
        dc.addcmul_(dh, dc_dh)
        torch.mul(by_dc, dc, out=da)
        torch.mul(by_dh, dh, out=da_o)
        return cls.du(dz, da), (None, dc * f)

    @staticmethod
    def du(dz: Tensor, da: Tensor) -> Tensor:  # noqa: ARG004
        """The gradient of u from that of the pre-activations, [B, 4 H] and the same as [4, B, H]."""
        return dz


class GatedPointwise(LSTMPointwise):
    """One u for all four gates, so its gradient is the sum of theirs."""

    @staticmethod
    def add(z: Tensor, u: Tensor, a: Tensor) -> None:
        torch.add(z, u, out=a)

    @staticmethod
    def du(dz: Tensor, da: Tensor) -> Tensor:  # noqa: ARG004
        return da.sum(0)


class GRUPointwise(Pointwise):
    saved_blocks = 4  # r, y, n, u_n

    @staticmethod
    def forward_views(z: Tensor, old: CellState, new: CellState, saved: Tensor) -> Iterable[Views]:
        blocks = by_block(z, 3)
        return by_step(blocks[:, :2], blocks[:, 2], saved[:, :2], *saved.unbind(1), old[0], new[0])

    @staticmethod
    def forward(views: Views, u: Tensor) -> None:
        z_ry, z_n, ry, r, y, n, u_n, old_h, h = views
        blocks = u.view(u.shape[0], 3, -1).transpose(0, 1)
        torch.add(z_ry, blocks[:2], out=ry).sigmoid_()
        u_n.copy_(blocks[2])
        torch.addcmul(z_n, r, u_n, out=n).tanh_()
        torch.lerp(n, old_h, y, out=h)  # (1 - y) n + y h

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> CellState:  # noqa: ARG004
        r, y, n, u_n = saved.unbind(1)
        by_dh = torch.empty_like(saved)  # d/dh' of the pre-activations of r, y, u_n, n, in this order
        torch.mul(1.0 - y, 1.0 - n.square(), out=by_dh[:, 3])
        torch.mul(by_dh[:, 3], r, out=by_dh[:, 2])
        torch.mul(by_dh[:, 2] * u_n, 1.0 - r, out=by_dh[:, 0])
        torch.mul((old[0] - n) * y, 1.0 - y, out=by_dh[:, 1])
        return by_dh, y

    @staticmethod
    def backward_views(factors: CellState, grad: CellState, dz: Tensor) -> Iterable[Views]:
        by_dh, y = factors
        da = by_block(dz, 3)
        return by_step(by_dh[:, :3], by_dh[:, :2], by_dh[:, 3], y, grad[0], da[:, :2], da[:, 2])

    @staticmethod
    def backward(views: Views) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        by_dh_u, by_dh_ry, by_dh_n, y, dh, da_ry, da_n = views
        torch.mul(by_dh_ry, dh, out=da_ry)
        torch.mul(by_dh_n, dh, out=da_n)
        return (by_dh_u * dh).transpose(0, 1).flatten(1), (dh * y,)


def by_block(x: Tensor, blocks: int) -> Tensor:
    """[T, B, blocks * H] seen as [T, blocks, B, H]."""
    return x.view(*x.shape[:2], blocks, -1).transpose(1, 2)


def by_step(*memory: Tensor) -> Iterable[Views]:
    """Tensors [T, ...] as T tuples of their steps."""
    return zip(*(x.unbind(0) for x in memory), strict=True)


POINTWISE: dict[type[Cell], type[Pointwise]] = {
    Elman: ElmanPointwise,
    Gated: GatedPointwise,
    LSTM: LSTMPointwise,
    GRU: GRUPointwise,
    FeedForward: FeedForwardPointwise,
}


def pointwise(cell: Cell) -> type[Pointwise] | None:
    """The gates written for this very cell, or None: then the reference runs it."""
    if isinstance(cell, Elman) and cell.nonlinearity != "tanh":
        return None
    return POINTWISE.get(type(cell))


def recurrence(
    cell: Cell, gates: type[Pointwise], z: Tensor, state: CellState, start: Tensor, seat: Tensor
) -> tuple[Tensor, CellState]:
    """`agents.net.scan.reference` by the three ideas above; same arguments, results and gradients."""
    read, final = rows_read(start, seat, state[0].shape[1])
    bias = None
    if isinstance(cell, GRU):  # d belongs to the block of n alone
        bias = torch.nn.functional.pad(cell.d, (2 * cell.hidden_size, 0))
    outputs, *parts = _Recurrence.apply(gates, z, cell.U, bias, read, final, *state)  # type: ignore[no-untyped-call]
    return outputs, tuple(parts)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gates: type[Pointwise],
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
        old = [z.new_empty(T, B, H) for _ in state]
        new = [table[first:].view(T, B, H) for table in tables]
        saved = z.new_empty(T, gates.saved_blocks, B, H)
        views = gates.forward_views(z.contiguous(), tuple(old), tuple(new), saved)
        U_t = U.t()

        for rows, *mine, at in zip(read.unbind(0), *(part.unbind(0) for part in old), views, strict=True):
            for table, part in zip(tables, mine, strict=True):
                torch.index_select(table, 0, rows, out=part)
            u = torch.mm(mine[0], U_t) if bias is None else torch.addmm(bias, mine[0], U_t)
            gates.forward(at, u)

        finals = [table[final.reshape(-1)].view_as(part) for table, part in zip(tables, state, strict=True)]
        ctx.gates, ctx.has_bias, ctx.width = gates, bias is not None, z.shape[2]
        ctx.save_for_backward(U, read, final, saved, *old, *new)
        return new[0].clone(), *finals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_finals: Tensor) -> tuple[Tensor | None, ...]:
        U, read, final, saved, *states = ctx.saved_tensors
        parts = len(d_finals)
        old, new = tuple(states[:parts]), tuple(states[parts:])
        T, B, H = old[0].shape
        first = 1 + final.numel()
        gates: type[Pointwise] = ctx.gates
        factors = gates.derivatives(saved, old, new)

        tables = [d_outputs.new_zeros(first + T * B, H) for _ in range(parts)]
        for table, d_final in zip(tables, d_finals, strict=True):
            table.index_add_(0, final.reshape(-1), d_final.reshape(-1, H))
        tables[0][first:] += d_outputs.reshape(-1, H)
        grads = [table[first:].view(T, B, H) for table in tables]

        dz = d_outputs.new_empty(T, B, ctx.width)
        du = d_outputs.new_empty(T, B, U.shape[0])
        views = gates.backward_views(factors, tuple(grads), dz)
        steps = list(zip(read.unbind(0), du.unbind(0), views, strict=True))
        for rows, du_t, at in reversed(steps):
            d_u, direct = gates.backward(at)
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
