"""The recurrent cells: one pure step each, the equation in the docstring and the same letters in the code.

Time, resets, seats and depth are not a cell's business; `agents.scan` owns them. A new cell is one
class and one line in `CELLS`.

Shapes: B rows, I inputs, H units, G pre-activations per row (4 H for the LSTM). The blocks of a matrix
lie in the order in which the equations are written.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

CellState = tuple[Tensor, ...]
"""The parts of a cell's state, the output h first."""


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

    blocks: ClassVar[int] = 1
    """G / H, blocks of pre-activations that the inputs make."""

    recurrent_blocks: ClassVar[int] = 1
    """Blocks of the recurrent matrix U, each H x H."""

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

    def step(self, z: Tensor, state: CellState) -> CellState:
        """One step: z = W x + b [B, G] and the state's parts [B, H] -> the new parts [B, H]."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class Elman(Cell):
    """Simple recurrent network (Elman 1990).

    h' = f(W x + U h + b),  f = tanh or relu

    Args:
        nonlinearity: "tanh" or "relu".
    """

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity

    def step(self, z: Tensor, state: CellState) -> CellState:
        (h,) = state
        f = torch.tanh if self.nonlinearity == "tanh" else torch.relu
        return (f(z + h @ self.U.t()),)


class Gated(Cell):
    """An LSTM in which **one** recurrent matrix U (H x H) serves all four gates.

    i  = sigmoid(W_i x + U h + b_i)
    f  = sigmoid(W_f x + U h + b_f)
    o  = sigmoid(W_o x + U h + b_o)
    g  =    tanh(W_g x + U h + b_g)
    c' = f * c + i * g
    h' = o * tanh(c')

    It equals an LSTM whose four recurrent blocks are tied, with a quarter of its recurrent weights.

    Args:
        forget_bias: what b_f starts at; 1 lets a fresh cell remember (Jozefowicz et al. 2015).
        chrono: if above 0, b_f starts at log(u), u uniform in 1..chrono - 1, and b_i at -b_f, so that a fresh
            cell's memories last up to about `chrono` steps (Tallec & Ollivier 2018).
    """

    parts = ("h", "c")
    blocks = 4

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 1.0, chrono: float = 0.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        with torch.no_grad():
            b_i, b_f, _, _ = self.b.chunk(4)
            b_f.copy_(_keeping(b_f, forget_bias, chrono))
            if chrono > 0.0:
                b_i.copy_(-b_f)

    def step(self, z: Tensor, state: CellState) -> CellState:
        h, c = state
        return _lstm_step(z.unflatten(-1, (4, -1)) + (h @ self.U.t()).unsqueeze(-2), c)


class LSTM(Gated):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000), as in torch.

    The equations of `Gated` with a recurrent matrix for each gate, U_i U_f U_o U_g. torch's two biases
    are one here (b = bias_ih + bias_hh), and its blocks lie in the order i, f, g, o.
    """

    recurrent_blocks = 4

    def step(self, z: Tensor, state: CellState) -> CellState:
        h, c = state
        return _lstm_step((z + h @ self.U.t()).unflatten(-1, (4, -1)), c)


def _keeping(bias: Tensor, forget_bias: float, chrono: float) -> Tensor:
    """What the bias of the gate that keeps starts at, see `Gated`."""
    if chrono == 0.0:
        return torch.full_like(bias, forget_bias)
    if chrono < 2.0:
        raise ValueError(f"chrono must be 0 (off) or at least 2 steps, got {chrono}")
    return torch.empty_like(bias).uniform_(1.0, chrono - 1.0).log()


def _lstm_step(a: Tensor, c: Tensor) -> CellState:
    """The gates of `Gated` from their pre-activations a [B, 4, H]."""
    i, f, o = torch.sigmoid(a[:, :3]).unbind(1)
    g = torch.tanh(a[:, 3])
    c = f * c + i * g
    return o * torch.tanh(c), c


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), as in torch.

    r  = sigmoid(W_r x + U_r h + b_r)
    y  = sigmoid(W_y x + U_y h + b_y)           torch calls it z
    n  =    tanh(W_n x + b_n + r * (U_n h + d))
    h' = (1 - y) * n + y * h

    torch's biases: b_r and b_y are the sums of its two, d is the last block of bias_hh. What y is to h, f is
    to the c of an LSTM, so `forget_bias` and `chrono` say what b_y starts at.

    Args:
        forget_bias: what b_y starts at.
        chrono: if above 0, b_y starts at log(u), u uniform in 1..chrono - 1, see `Gated`.
    """

    blocks = 3
    recurrent_blocks = 3

    def __init__(
        self, input_size: int, hidden_size: int, forget_bias: float = 0.0, chrono: float = 0.0
    ) -> None:
        super().__init__(input_size, hidden_size)
        with torch.no_grad():
            _, b_y, _ = self.b.chunk(3)
            b_y.copy_(_keeping(b_y, forget_bias, chrono))
        self.d = nn.Parameter(torch.zeros(hidden_size))

    def step(self, z: Tensor, state: CellState) -> CellState:
        (h,) = state
        z_r, z_y, z_n = z.chunk(3, -1)
        u_r, u_y, u_n = (h @ self.U.t()).chunk(3, -1)
        r = torch.sigmoid(z_r + u_r)
        y = torch.sigmoid(z_y + u_y)
        n = torch.tanh(z_n + r * (u_n + self.d))
        return ((1 - y) * n + y * h,)


class FeedForward(Cell):
    """No memory: what a cell is compared with to show what its memory is worth.

    h' = tanh(W x + b)
    """

    recurrent_blocks = 0

    def step(self, z: Tensor, state: CellState) -> CellState:  # noqa: ARG002
        return (torch.tanh(z),)


CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "gated": Gated,
    "lstm": LSTM,
    "gru": GRU,
    "feedforward": FeedForward,
}
"""Every cell by name. A new cell is one class above and one line here."""
