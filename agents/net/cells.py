"""The recurrent cells: one pure step each, the equation in the docstring and the same letters in the code.

Time, resets, seats and depth are not a cell's business; `agents.scan` owns them. A new cell is one class and
one line in `CELLS`, or a class of one's own anywhere, named `module:Name` (see `cell_class`). It is done with
`step`; a cell that brings its derivatives, too, trains faster (see `agents.net.kernels.explicit`).

Shapes: B rows, I inputs, H units, G pre-activations per row (4 H for the LSTM), G' numbers of u = U h. The
blocks of a matrix lie in the order in which the equations are written. In the derivatives dx stands for that
of the loss by x, and a for the pre-activations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from envs.names import find

CellState = tuple[Tensor, ...]
"""The parts of a cell's state, the output h first."""

Views = tuple[Tensor, ...]
"""The memory of one step, cut out for all steps at once before the loop: cutting inside it costs as much
as computing."""


class Trace(NamedTuple):
    """What the steps of a scan read and write, all at once; the memory is the kernel's."""

    old: CellState  # parts [T, B, H] that the steps read
    new: CellState  # parts [T, B, H] that they write
    saved: Tensor  # [T, S, B, H] what they keep for `Cell.derivatives`, in the order of `Cell.saved`


class Cell(nn.Module):
    """One step of a recurrent network.

    Args:
        input_size: I.
        hidden_size: H.

    Raises:
        ValueError: a size is below 1.
    """

    parts: ClassVar[tuple[str, ...]] = ("h",)
    """Names of the state's parts; the first is the output."""

    gates: ClassVar[tuple[str, ...]] = ()
    """Names of the gates that the curves show; `open_gates` says how far they are open."""

    keeps: ClassVar[str | None] = None
    """Which of `gates` a unit's memory is multiplied by at each step, so that it has a time constant; None =
    none."""

    blocks: ClassVar[int] = 1
    """G / H, blocks of pre-activations that the inputs make."""

    recurrent_blocks: ClassVar[int] = 1
    """G' / H, blocks of the recurrent matrix U, each H x H."""

    saved: ClassVar[tuple[str, ...]] = ()
    """Names of what a step keeps for `derivatives` beside the states."""

    fused: ClassVar[str | None] = None
    """Which of `agents.net.kernels.vector.GATES` computes `step`, written there once more; None = none."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ValueError(f"sizes must be at least 1, got input {input_size} and hidden {hidden_size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        bound = 1.0 / math.sqrt(hidden_size)  # torch's start for recurrent layers
        self.W = nn.Parameter(torch.empty(self.blocks * hidden_size, input_size).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(self.blocks * hidden_size))
        self.U = nn.Parameter(torch.empty(self.recurrent_blocks * hidden_size, hidden_size))
        for block in self.U.detach().split(hidden_size):
            nn.init.orthogonal_(block)

    def initial_state(self, matches: int, seats: int = 1) -> CellState:
        """Zeros: a tuple of [B, P, H], one per part."""
        shape = (matches, seats, self.hidden_size)
        return tuple(self.W.new_zeros(shape) for _ in self.parts)

    def project(self, x: Tensor) -> Tensor:
        """The inputs' share of the pre-activations, W x + b: [..., I] -> [..., G]."""
        return nn.functional.linear(x, self.W, self.b)

    def recurrent_bias(self) -> Tensor | None:
        """What belongs to u beside U h, [G']; None = nothing."""
        return None

    def step(self, z: Tensor, state: CellState, /) -> CellState:
        """One step: z = W x + b [B, G] and the state's parts [B, H] -> the new parts [B, H]."""
        raise NotImplementedError

    def open_gates(self, z: Tensor, state: CellState, /) -> tuple[Tensor, ...]:
        """How far each of `gates` is open, [B, H] in 0..1; the arguments are those of `step`."""
        raise NotImplementedError

    # The step again, for a loop that remembers what its derivatives need. Of the weights it may read U and
    # `recurrent_bias` alone, and those only as u: no others would get a gradient.

    @property
    def has_derivatives(self) -> bool:
        """The class that wrote `step` wrote `step_back`, too: a changed step does not inherit them."""
        return "step_back" in vars(self._author())

    @property
    def fused_gates(self) -> str | None:
        """`fused`, from the class that wrote `step`: a changed step or projection does not inherit it."""
        is_changed = type(self).project is not Cell.project
        return None if is_changed else vars(self._author()).get("fused")

    def _author(self) -> type:
        """The class that wrote `step`."""
        return next(kind for kind in type(self).__mro__ if "step" in vars(kind))

    def views(self, z: Tensor, trace: Trace, /) -> Iterable[Views]:
        """What `step_into` works on, step by step: z [T, B, G] and the trace; by default all their parts."""
        return by_step(z, *trace.old, *trace.new, *trace.saved.unbind(1))

    def step_into(self, views: Views, u: Tensor, /) -> None:
        """`step` from u = U h + `recurrent_bias` [B, G']: write the new state and what is to be saved."""
        raise NotImplementedError

    def derivatives(self, trace: Trace, /) -> tuple[Tensor, ...]:
        """The factors that `step_back` multiplies by, [T, ...], for all steps at once."""
        raise NotImplementedError

    def views_back(self, factors: tuple[Tensor, ...], grad: CellState, dz: Tensor, /) -> Iterable[Views]:
        """What `step_back` works on, step by step, from the first on; by default all of the arguments.

        Args:
            factors: from `derivatives`.
            grad: the derivatives by the new parts, [T, B, H].
            dz: [T, B, G], to be written.
        """
        return by_step(*factors, *grad, dz)

    def step_back(self, views: Views, /) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """One step back: write dz. The derivatives by the new parts may be overwritten.

        Returns:
            du [B, G'], and what reaches each of the old parts *beside* u, None = nothing.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """I and H, as torch prints them."""
        return f"{self.input_size}, {self.hidden_size}"


def by_block(x: Tensor, blocks: int) -> Tensor:
    """[T, B, blocks * H] seen as [T, blocks, B, H]."""
    return x.view(*x.shape[:2], blocks, -1).transpose(1, 2)


def by_step(*memory: Tensor) -> Iterable[Views]:
    """Tensors [T, ...] as T tuples of their steps."""
    return zip(*(x.unbind(0) for x in memory), strict=True)


class Elman(Cell):
    """Simple recurrent network (Elman 1990).

    h' = f(W x + U h + b),  f = tanh or relu

    Back, for tanh:  da = dh' * (1 - h'^2),  du = da

    Args:
        nonlinearity: "tanh" or "relu".
    """

    fused = "tanh"

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity

    def step(self, z: Tensor, state: CellState, /) -> CellState:
        (h,) = state
        f = torch.tanh if self.nonlinearity == "tanh" else torch.relu
        return (f(z + h @ self.U.t()),)

    @property
    def has_derivatives(self) -> bool:
        """Those of tanh."""
        return self.nonlinearity == "tanh" and super().has_derivatives

    @property
    def fused_gates(self) -> str | None:
        """Those of tanh."""
        return super().fused_gates if self.nonlinearity == "tanh" else None

    def step_into(self, views: Views, u: Tensor, /) -> None:
        z, _, h = views
        torch.add(z, u, out=h).tanh_()

    def derivatives(self, trace: Trace, /) -> tuple[Tensor, ...]:
        (h,) = trace.new
        return (1.0 - h.square(),)

    def step_back(self, views: Views, /) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        da_dh, dh, da = views
        torch.mul(dh, da_dh, out=da)
        return da, (None,)


class FourGates(Cell):
    """What an LSTM makes of its pre-activations a, whichever U they come from.

    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    g  = tanh(a_g)
    c' = f * c + i * g
    h' = o * tanh(c')

    Back:
    dc'  = dc' + dh' * o * (1 - tanh(c')^2)
    da_i = dc' * g * i * (1 - i)
    da_f = dc' * c * f * (1 - f)
    da_o = dh' * tanh(c') * o * (1 - o)
    da_g = dc' * i * (1 - g^2)
    dc   = dc' * f

    Args:
        forget_bias: what b_f starts at; 1 lets a fresh cell remember (Jozefowicz et al. 2015).
        chrono: if above 0, b_f starts at log(u), u uniform in 1..chrono - 1, and b_i at -b_f, so that a fresh
            cell's memories last up to about `chrono` steps (Tallec & Ollivier 2018).
    """

    parts = ("h", "c")
    gates = ("i", "f", "o")
    keeps = "f"
    blocks = 4
    saved = ("i", "f", "o", "g", "tanh(c')")
    fused = "four_gates"

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 1.0, chrono: float = 0.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        with torch.no_grad():
            b_i, b_f, _, _ = self.b.chunk(4)
            b_f.copy_(_keeping(b_f, forget_bias, chrono))
            if chrono > 0.0:
                b_i.copy_(-b_f)

    def step(self, z: Tensor, state: CellState, /) -> CellState:
        h, c = state
        a = self._pre_activations(z, h)
        i, f, o = torch.sigmoid(a[:, :3]).unbind(1)
        g = torch.tanh(a[:, 3])
        c = f * c + i * g
        return o * torch.tanh(c), c

    def open_gates(self, z: Tensor, state: CellState, /) -> tuple[Tensor, ...]:
        h, _ = state
        return torch.sigmoid(self._pre_activations(z, h)).unbind(1)[:3]

    def _pre_activations(self, z: Tensor, h: Tensor) -> Tensor:
        """a [B, 4, H]; a U of one block serves every gate."""
        blocks = (-1, self.hidden_size)
        a: Tensor = z.unflatten(-1, blocks) + (h @ self.U.t()).unflatten(-1, blocks)
        return a

    def views(self, z: Tensor, trace: Trace, /) -> Iterable[Views]:
        saved, (_, c) = trace.saved, trace.old
        return by_step(by_block(z, 4), saved[:, :4], saved[:, :3], *saved.unbind(1), c, *trace.new)

    def step_into(self, views: Views, u: Tensor, /) -> None:
        z, a, ifo, i, f, o, g, tanh_c, old_c, h, c = views
        torch.add(z, u.view(u.shape[0], -1, self.hidden_size).transpose(0, 1), out=a)
        ifo.sigmoid_()
        g.tanh_()
        torch.mul(i, g, out=c).addcmul_(f, old_c)
        torch.mul(o, torch.tanh(c, out=tanh_c), out=h)

    def derivatives(self, trace: Trace, /) -> tuple[Tensor, ...]:
        i, f, o, g, tanh_c = trace.saved.unbind(1)
        _, c = trace.old
        da_dc = torch.empty_like(trace.saved[:, :4])  # by c' for i, f, g; the block of o is by h'
        torch.mul(g * i, 1.0 - i, out=da_dc[:, 0])
        torch.mul(c * f, 1.0 - f, out=da_dc[:, 1])
        torch.mul(tanh_c * o, 1.0 - o, out=da_dc[:, 2])
        torch.mul(i, 1.0 - g.square(), out=da_dc[:, 3])
        return da_dc, o * (1.0 - tanh_c.square()), f

    def views_back(self, factors: tuple[Tensor, ...], grad: CellState, dz: Tensor, /) -> Iterable[Views]:
        da_dc, dc_dh, f = factors
        da = by_block(dz, 4)
        return by_step(da_dc, da_dc[:, 2], dc_dh, f, *grad, dz, da, da[:, 2])

    def step_back(self, views: Views, /) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        da_dc, da_o_dh, dc_dh, f, dh, dc, dz, da, da_o = views
        dc.addcmul_(dh, dc_dh)
        torch.mul(da_dc, dc, out=da)
        torch.mul(da_o_dh, dh, out=da_o)
        du = dz if self.recurrent_blocks == self.blocks else da.sum(0)
        return du, (None, dc * f)


class Gated(FourGates):
    """An LSTM in which **one** recurrent matrix U (H x H) serves all four gates.

    i  = sigmoid(W_i x + U h + b_i)
    f  = sigmoid(W_f x + U h + b_f)
    o  = sigmoid(W_o x + U h + b_o)
    g  =    tanh(W_g x + U h + b_g)
    c' = f * c + i * g
    h' = o * tanh(c')

    It equals an LSTM whose four recurrent blocks are tied, with a quarter of its recurrent weights.

    Back, from `FourGates`:  du = da_i + da_f + da_o + da_g
    """


class LSTM(FourGates):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000), as in torch.

    i  = sigmoid(W_i x + U_i h + b_i)
    f  = sigmoid(W_f x + U_f h + b_f)
    o  = sigmoid(W_o x + U_o h + b_o)
    g  =    tanh(W_g x + U_g h + b_g)
    c' = f * c + i * g
    h' = o * tanh(c')

    torch's two biases are one here (b = bias_ih + bias_hh), and its blocks lie in the order i, f, g, o.

    Back, from `FourGates`:  du = da, block by block
    """

    recurrent_blocks = 4


def _keeping(bias: Tensor, forget_bias: float, chrono: float) -> Tensor:
    """What the bias of the gate that keeps starts at, see `FourGates`."""
    if chrono == 0.0:
        return torch.full_like(bias, forget_bias)
    if chrono < 2.0:
        raise ValueError(f"chrono must be 0 (off) or at least 2 steps, got {chrono}")
    return torch.empty_like(bias).uniform_(1.0, chrono - 1.0).log()


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), as in torch.

    r  = sigmoid(W_r x + U_r h + b_r)
    y  = sigmoid(W_y x + U_y h + b_y)           torch calls it z
    n  =    tanh(W_n x + b_n + r * (U_n h + d))
    h' = (1 - y) * n + y * h

    torch's biases: b_r and b_y are the sums of its two, d is the last block of bias_hh. What y is to h, f is
    to the c of an LSTM, so `forget_bias` and `chrono` say what b_y starts at.

    Back, with u_n = U_n h + d:
    da_n = dh' * (1 - y) * (1 - n^2)
    du_n = da_n * r
    da_r = du_r = da_n * u_n * r * (1 - r)
    da_y = du_y = dh' * (h - n) * y * (1 - y)
    dh   = dh' * y, beside what comes through u

    Args:
        forget_bias: what b_y starts at.
        chrono: if above 0, b_y starts at log(u), u uniform in 1..chrono - 1, see `FourGates`.
    """

    gates = ("r", "y")
    keeps = "y"
    blocks = 3
    recurrent_blocks = 3
    saved = ("r", "y", "n", "u_n")
    fused = "gru"

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 0.0, chrono: float = 0.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        with torch.no_grad():
            _, b_y, _ = self.b.chunk(3)
            b_y.copy_(_keeping(b_y, forget_bias, chrono))
        self.d = nn.Parameter(torch.zeros(hidden_size))

    def recurrent_bias(self) -> Tensor | None:
        """d in the block of n, zeros in the others."""
        return nn.functional.pad(self.d, (2 * self.hidden_size, 0))

    def step(self, z: Tensor, state: CellState, /) -> CellState:
        (h,) = state
        z_r, z_y, z_n = z.chunk(3, -1)
        u_r, u_y, u_n = (h @ self.U.t()).chunk(3, -1)
        r = torch.sigmoid(z_r + u_r)
        y = torch.sigmoid(z_y + u_y)
        n = torch.tanh(z_n + r * (u_n + self.d))
        return ((1 - y) * n + y * h,)

    def open_gates(self, z: Tensor, state: CellState, /) -> tuple[Tensor, ...]:
        (h,) = state
        return torch.sigmoid(z + h @ self.U.t()).chunk(3, -1)[:2]

    def views(self, z: Tensor, trace: Trace, /) -> Iterable[Views]:
        blocks, saved, (old_h,) = by_block(z, 3), trace.saved, trace.old
        return by_step(blocks[:, :2], blocks[:, 2], saved[:, :2], *saved.unbind(1), old_h, *trace.new)

    def step_into(self, views: Views, u: Tensor, /) -> None:
        z_ry, z_n, ry, r, y, n, u_n, old_h, h = views
        blocks = u.view(u.shape[0], 3, -1).transpose(0, 1)
        torch.add(z_ry, blocks[:2], out=ry).sigmoid_()
        u_n.copy_(blocks[2])
        torch.addcmul(z_n, r, u_n, out=n).tanh_()
        torch.lerp(n, old_h, y, out=h)  # (1 - y) n + y h

    def derivatives(self, trace: Trace, /) -> tuple[Tensor, ...]:
        r, y, n, u_n = trace.saved.unbind(1)
        (h,) = trace.old
        by_dh = torch.empty_like(trace.saved)  # of u_r, u_y, u_n and a_n by h', in this order
        torch.mul(1.0 - y, 1.0 - n.square(), out=by_dh[:, 3])
        torch.mul(by_dh[:, 3], r, out=by_dh[:, 2])
        torch.mul(by_dh[:, 2] * u_n, 1.0 - r, out=by_dh[:, 0])
        torch.mul((h - n) * y, 1.0 - y, out=by_dh[:, 1])
        return by_dh, y

    def views_back(self, factors: tuple[Tensor, ...], grad: CellState, dz: Tensor, /) -> Iterable[Views]:
        by_dh, y = factors
        da = by_block(dz, 3)
        return by_step(by_dh[:, :3], by_dh[:, :2], by_dh[:, 3], y, *grad, da[:, :2], da[:, 2])

    def step_back(self, views: Views, /) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        du_dh, da_ry_dh, da_n_dh, y, dh, da_ry, da_n = views
        torch.mul(da_ry_dh, dh, out=da_ry)
        torch.mul(da_n_dh, dh, out=da_n)
        return (du_dh * dh).transpose(0, 1).flatten(1), (dh * y,)


class FeedForward(Cell):
    """No memory: what a cell is compared with to show what its memory is worth.

    h' = tanh(W x + b)

    Back:  da = dh' * (1 - h'^2); U has no rows, so u and du are empty
    """

    recurrent_blocks = 0

    def step(self, z: Tensor, _state: CellState, /) -> CellState:
        return (torch.tanh(z),)

    def step_into(self, views: Views, _u: Tensor, /) -> None:
        z, _, h = views
        torch.tanh(z, out=h)

    def derivatives(self, trace: Trace, /) -> tuple[Tensor, ...]:
        (h,) = trace.new
        return (1.0 - h.square(),)

    def step_back(self, views: Views, /) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        da_dh, dh, da = views
        torch.mul(dh, da_dh, out=da)
        return da[:, :0], (None,)


CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "gated": Gated,
    "lstm": LSTM,
    "gru": GRU,
    "feedforward": FeedForward,
}
"""Every cell by name. A new cell is one class above and one line here."""


def cell_class(name: str) -> type[Cell]:
    """The cell that a person names: one of `CELLS`, `module:Name` of one's own, or an installed package's.

    From then on it stands in `CELLS`, where a file that names it finds it. Files themselves import nothing,
    so what they name is looked up there alone.

    Raises:
        ValueError: there is none, or it is no cell; the message lists what is known.
    """
    return find("cell", name, CELLS, Cell, "fogbound.cells")
