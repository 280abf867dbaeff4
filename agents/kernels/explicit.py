"""The recurrence with an explicit backward pass, in torch operations on any device.

Three ideas make it a faster copy of `agents.scan.reference`:
- All states ever written lie as rows of one table: a row of zeros, the initial states, then one row per
  (t, b). Seats and resets only decide *which row a step reads*, so they become one table of row numbers
  (`rows_read`), worked out before the loop, and cost one gather a step.
- The loop holds only the recurrent product and the pointwise gates; autograd sees one node.
- The backward loop multiplies by derivatives that were computed for all steps at once, and the gradient
  of U is one product after it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.cells import GRU, LSTM, Cell, CellState, Elman, Gated


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


class Pointwise:
    """The gates of one kind of cell, forward and backward, on memory that the loop provides.

    Shapes: z [B, G], u = U h (+ its bias) [B, G'], a part of the state [B, H], saved S x B x H numbers in
    an order of its own (the GRU's is [B, S, H]).
    """

    saved_blocks: int
    """S, what `forward` keeps for `derivatives`."""

    @staticmethod
    def forward(z: Tensor, u: Tensor, old: CellState, new: CellState, saved: Tensor) -> None:
        """Write the new state and `saved`."""
        raise NotImplementedError

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> tuple[Tensor, ...]:
        """What `backward` multiplies by, for all steps at once; arguments and results are [T, B, ...]."""
        raise NotImplementedError

    @staticmethod
    def backward(
        factors: tuple[Tensor, ...], grad: CellState, dz: Tensor
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """One step back: write dz; return du and what reaches the old parts *beside* u (None = nothing).

        `grad` holds the gradients of the new parts and may be overwritten.
        """
        raise NotImplementedError


class ElmanPointwise(Pointwise):
    saved_blocks = 0

    @staticmethod
    def forward(z: Tensor, u: Tensor, old: CellState, new: CellState, saved: Tensor) -> None:  # noqa: ARG004
        torch.add(z, u, out=new[0]).tanh_()

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> tuple[Tensor, ...]:  # noqa: ARG004
        return (1.0 - new[0].square(),)

    @staticmethod
    def backward(
        factors: tuple[Tensor, ...], grad: CellState, dz: Tensor
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        torch.mul(grad[0], factors[0], out=dz)
        return dz, (None,)


class LSTMPointwise(Pointwise):
    """Blocks lie outermost, [S, B, H] a step: torch's tanh is three times faster on contiguous memory."""

    saved_blocks = 5  # i, f, o, g, tanh(c')

    @classmethod
    def forward(cls, z: Tensor, u: Tensor, old: CellState, new: CellState, saved: Tensor) -> None:
        h, c = new
        blocks = saved.view(5, *h.shape)
        cls.add(by_block(z, 4), u, blocks[:4])
        blocks[:3].sigmoid_()
        blocks[3].tanh_()
        i, f, o, g, tanh_c = blocks.unbind(0)
        torch.mul(i, g, out=c).addcmul_(f, old[1])
        torch.mul(o, torch.tanh(c, out=tanh_c), out=h)

    @staticmethod
    def add(z: Tensor, u: Tensor, a: Tensor) -> None:
        """a = z + u, [4, B, H] but u [B, 4 H]."""
        torch.add(z, by_block(u, 4), out=a)

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> tuple[Tensor, ...]:
        T, B, H = new[0].shape
        i, f, o, g, tanh_c = saved.view(T, 5, B, H).unbind(1)
        by_dc = saved.new_empty(T, 4, B, H)  # da / dc' for i, f, g; the o block is da_o / dh'
        torch.mul(g * i, 1.0 - i, out=by_dc[:, 0])
        torch.mul(old[1] * f, 1.0 - f, out=by_dc[:, 1])
        torch.mul(tanh_c * o, 1.0 - o, out=by_dc[:, 2])
        torch.mul(i, 1.0 - g.square(), out=by_dc[:, 3])
        return by_dc, o * (1.0 - tanh_c.square()), f

    @classmethod
    def backward(
        cls, factors: tuple[Tensor, ...], grad: CellState, dz: Tensor
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        by_dc, dc_dh, f = factors
        dh, dc = grad
        dc.addcmul_(dh, dc_dh)
        da = by_block(dz, 4)
        torch.mul(by_dc, dc, out=da)
        torch.mul(by_dc[2], dh, out=da[2])
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


def by_block(x: Tensor, blocks: int) -> Tensor:
    """[B, blocks * H] seen as [blocks, B, H]."""
    return x.view(x.shape[0], blocks, -1).transpose(0, 1)


class GRUPointwise(Pointwise):
    saved_blocks = 4  # r, y, n, u_n

    @staticmethod
    def forward(z: Tensor, u: Tensor, old: CellState, new: CellState, saved: Tensor) -> None:
        H = u.shape[1] // 3
        r, y, n, u_n = saved.unbind(1)
        torch.add(z.view(-1, 3, H)[:, :2], u.view(-1, 3, H)[:, :2], out=saved[:, :2]).sigmoid_()
        u_n.copy_(u[:, 2 * H :])
        torch.addcmul(z[:, 2 * H :], r, u_n, out=n).tanh_()
        torch.lerp(n, old[0], y, out=new[0])  # (1 - y) n + y h

    @staticmethod
    def derivatives(saved: Tensor, old: CellState, new: CellState) -> tuple[Tensor, ...]:  # noqa: ARG004
        r, y, n, u_n = saved.unbind(2)
        by_dh = torch.empty_like(saved)  # d/dh' of the pre-activations of r, y, n, and of u_n
        torch.mul(1.0 - y, 1.0 - n.square(), out=by_dh[:, :, 2])
        torch.mul(by_dh[:, :, 2], r, out=by_dh[:, :, 3])
        torch.mul(by_dh[:, :, 3] * u_n, 1.0 - r, out=by_dh[:, :, 0])
        torch.mul((old[0] - n) * y, 1.0 - y, out=by_dh[:, :, 1])
        return by_dh, y

    @staticmethod
    def backward(
        factors: tuple[Tensor, ...], grad: CellState, dz: Tensor
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        by_dh, y = factors
        da = by_dh * grad[0].unsqueeze(1)
        dz.copy_(da[:, :3].flatten(1))
        return da[:, (0, 1, 3)].flatten(1), (grad[0] * y,)


POINTWISE: dict[type[Cell], type[Pointwise]] = {
    Elman: ElmanPointwise,
    Gated: GatedPointwise,
    LSTM: LSTMPointwise,
    GRU: GRUPointwise,
}


def pointwise(cell: Cell) -> type[Pointwise] | None:
    """The gates written for this very cell, or None: then the reference runs it."""
    if isinstance(cell, Elman) and cell.nonlinearity != "tanh":
        return None
    return POINTWISE.get(type(cell))


def recurrence(
    cell: Cell, gates: type[Pointwise], z: Tensor, state: CellState, start: Tensor, seat: Tensor
) -> tuple[Tensor, CellState]:
    """`agents.scan.reference` by the three ideas above; same arguments, results and gradients."""
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
        saved = z.new_empty(T, B, gates.saved_blocks, H)
        z = z.contiguous()

        for t in range(T):
            for k in range(len(state)):
                torch.index_select(tables[k], 0, read[t], out=old[k][t])
            u = old[0][t] @ U.t() if bias is None else torch.addmm(bias, old[0][t], U.t())
            gates.forward(z[t], u, tuple(o[t] for o in old), tuple(n[t] for n in new), saved[t])

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
        factors = ctx.gates.derivatives(saved, old, new)

        tables = [d_outputs.new_zeros(first + T * B, H) for _ in range(parts)]
        for table, d_final in zip(tables, d_finals, strict=True):
            table.index_add_(0, final.reshape(-1), d_final.reshape(-1, H))
        tables[0][first:] += d_outputs.reshape(-1, H)
        grads = [table[first:].view(T, B, H) for table in tables]

        dz = d_outputs.new_empty(T, B, ctx.width)
        du = d_outputs.new_empty(T, B, U.shape[0])
        for t in reversed(range(T)):
            du[t], direct = ctx.gates.backward(
                tuple(f[t] for f in factors), tuple(g[t] for g in grads), dz[t]
            )
            through_u = du[t] @ U
            dh = through_u if direct[0] is None else through_u.add_(direct[0])
            for table, d_old in zip(tables, (dh, *direct[1:]), strict=True):
                if d_old is not None:
                    table.index_put_((read[t],), d_old, accumulate=True)

        flat = du.view(T * B, -1)
        d_U = flat.t() @ old[0].view(T * B, H)
        d_bias = flat.sum(0) if ctx.has_bias else None
        d_state = [
            table[1:first].view(*final.shape, H) if needed else None
            for table, needed in zip(tables, ctx.needs_input_grad[6:], strict=True)
        ]
        return None, dz, d_U, d_bias, None, None, *d_state
