"""Cells that the package does not know: what somebody writes in a file of their own."""

from __future__ import annotations

import torch
from torch import nn

from agents.net.cells import Cell, Gated


class Leaky(Cell):
    """Units that keep what they have and take up something new, at a rate of their own.

    y  = sigmoid(W_y x + U h + b_y)
    n  =    tanh(W_n x + U h + b_n)
    h' = y * h + (1 - y) * n

    Back:
    da_y = dh' * (h - n) * y * (1 - y)
    da_n = dh' * (1 - y) * (1 - n^2)
    du   = da_y + da_n
    dh   = dh' * y, beside what comes through u

    Args:
        keeping: what b_y starts at.
    """

    gates = ("y",)
    keeps = "y"
    blocks = 2
    saved = ("y", "n")

    def __init__(self, input_size, hidden_size, keeping: float = 0.0):
        super().__init__(input_size, hidden_size)
        nn.init.constant_(self.b[:hidden_size], keeping)

    def step(self, z, state, /):
        (h,) = state
        (y,), n = self.open_gates(z, state), torch.tanh(z.chunk(2, -1)[1] + h @ self.U.t())
        return (y * h + (1 - y) * n,)

    def open_gates(self, z, state, /):
        (h,) = state
        return (torch.sigmoid(z.chunk(2, -1)[0] + h @ self.U.t()),)

    def step_into(self, views, u, /):
        z, h, new_h, y, n = views
        z_y, z_n = z.chunk(2, -1)
        torch.add(z_y, u, out=y).sigmoid_()
        torch.add(z_n, u, out=n).tanh_()
        torch.lerp(n, h, y, out=new_h)

    def derivatives(self, trace, /):
        y, n = trace.saved.unbind(1)
        (h,) = trace.old
        return (h - n) * y * (1 - y), (1 - y) * (1 - n.square()), y

    def step_back(self, views, /):
        da_y_dh, da_n_dh, y, dh, dz = views
        da_y, da_n = dz.chunk(2, -1)
        torch.mul(da_y_dh, dh, out=da_y)
        torch.mul(da_n_dh, dh, out=da_n)
        return da_y + da_n, (dh * y,)


class Peephole(Gated):
    """A gated cell whose gate o sees the new c, with a weight for each unit; it brings no derivatives."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.p = nn.Parameter(torch.ones(hidden_size))

    def step(self, z, state, /):
        h, c = state
        z_i, z_f, z_o, z_g = (z.unflatten(-1, (4, -1)) + (h @ self.U.t()).unsqueeze(-2)).unbind(-2)
        c = torch.sigmoid(z_f) * c + torch.sigmoid(z_i) * torch.tanh(z_g)
        return torch.sigmoid(z_o + self.p * c) * torch.tanh(c), c
