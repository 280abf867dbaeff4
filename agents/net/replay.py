"""A replay of many decisions that is gone back by hand, where compiled kernels make the whole network.

Numbers and gradients are those of the policy and autograd, bit for bit, see `agents.net.hand`. Autograd's
bookkeeping between the kernels took a third of a minibatch of 64 decisions, a tenth of one of 2,048; memory
laid and calls prepared for each minibatch anew took half of what was left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.net import hand
from agents.net.cells import Cell
from agents.net.kernels import fused, heads, is_readable
from agents.net.kernels.vector import COLUMNS
from agents.net.policy import RecurrentPolicy
from envs.core import Array

Cores = tuple[Tensor, ...]


class Told(NamedTuple):
    """What a policy is asked along time, see `RecurrentPolicy.forward`."""

    observation: Tensor
    seat: Tensor
    previous: Tensor
    start: Tensor
    cores: Cores
    renewed: tuple[int, Cores] | None


class Replay(NamedTuple):
    """What a policy said."""

    outputs: Tensor  # [T, B, D]
    value: Tensor  # [T, B]
    back: Callable[[Tensor, Tensor], None] | None
    """From the derivatives by both to all weights' `grad`, once; None: autograd knows the way."""


class Replayer:
    """Replays of a policy, one after another: of an update's minibatches.

    Its weights may change in between, but stay where they are. What a replay said is written again by the
    next one.
    """

    def __init__(self, policy: RecurrentPolicy) -> None:
        self.policy = policy
        self._is_known = hand.is_known(policy)
        self._made: dict[Any, ByHand | None] = {}

    def __call__(self, told: Told) -> Replay:
        """What `policy(*told)` says, ready to go back. Outputs and values want gradients, either way."""
        made = self._by_hand(told) if self._is_known else None
        if made is not None:
            return made.replay(told)
        outputs, value, _ = self.policy(*told)
        return Replay(outputs, value, None)

    def _by_hand(self, told: Told) -> ByHand | None:
        """What goes by hand over so many matches; None if a kernel cannot tell."""
        seen = told.observation
        key = seen.shape, seen.dtype, None if told.renewed is None else told.renewed[0]
        if key not in self._made:
            self._made[key] = ByHand.of(self.policy, told)
        return self._made[key]


class ByHand:
    """Replays of so many decisions as `told` has, by hand; see `of`."""

    @classmethod
    @torch.no_grad()
    def of(cls, policy: RecurrentPolicy, told: Told) -> ByHand | None:
        """None if a kernel cannot tell."""
        cell, weights = hand.cell_of(policy), heads.weights_of((policy.action_head, policy.value_head))
        encoder = hand.encoder_of(policy, *_rows(told))
        if cell is None or weights is None or encoder is None or not heads.can_run(torch.empty(1, cell.hidden_size)):
            return None
        fits = fused.KERNEL.fits(cell, encoder.x, True) and all(map(is_readable, told.cores))
        return cls(cell, weights, encoder, told) if fits else None

    def __init__(self, cell: Cell, weights: list[Tensor], encoder: hand.Encoder, told: Told) -> None:
        (T, B), (_, _, P, H) = told.seat.shape, told.cores[0].shape
        self.encoder, self.shape = encoder, (T, B)
        x, at = encoder.x.view(T, B, -1), 0 if told.renewed is None else told.renewed[0]
        self.state = tuple(torch.empty(2 if at else 1, B, P, H) for _ in told.cores)
        state = tuple(part.view(-1, P, H) for part in self.state)
        self.laid = fused.Laid(cell)
        self.core = fused.Pass(self.laid.packed, x, state, at, keeps=True)
        latent = self.core.outputs
        self.packed = heads.Packed(weights, 2)
        self.said = heads.Pass(self.packed, latent.view(T * B, H), keeps=True)

        d_latent = torch.empty_like(latent)
        self.said_back = heads.Back(
            self.packed, latent.view(T * B, H), self.said.hidden, d_latent.view(T * B, H)
        )
        more = -x.shape[2] % COLUMNS
        self.wide = torch.zeros(T, B, x.shape[2] + more) if more else x
        self.dx = torch.empty_like(self.wide)
        gone = latent, self.core.saved, self.core.read
        grad = tuple(torch.empty(B, P, H) for _ in state)
        self.core_back = fused.Back(
            self.laid.packed, gone, self.laid.panels, self.wide, state, at, d_latent, grad, False, self.dx
        )
        self._lay_gradients(cell, weights)

    def _lay_gradients(self, cell: Cell, weights: list[Tensor]) -> None:
        """Where those of all weights lie, and what has to be copied there."""
        dW, *others = self.core_back.derivatives
        found = [*zip(weights, self.said_back.derivatives, strict=True), (cell.W, dW[:, : cell.input_size])]
        found += zip([cell.U, cell.b, cell.recurrent_bias()], others, strict=True)
        self.gradients, self._copied = list(self.encoder.gradients), []
        for parameter, source in found:
            if parameter is not None:
                lying = torch.empty_like(parameter)
                self.gradients.append((parameter, lying))
                self._copied.append((lying.detach().numpy(), source.numpy()))

    @torch.no_grad()
    def replay(self, told: Told) -> Replay:
        """What the policy says."""
        (T, B), start, seat = self.shape, told.start.contiguous().numpy(), told.seat.contiguous().numpy()
        for k, cores in enumerate((told.cores, () if told.renewed is None else told.renewed[1])):
            for part, given in zip(self.state, cores, strict=False):
                part[k].copy_(given[0])
        self.encoder.run(*_rows(told))
        self.laid.renew()
        self.core.run(start, seat)
        self.packed.renew()
        self.said.run()
        outputs, value = self.said.outputs

        def back(d_outputs: Tensor, d_value: Tensor) -> None:
            self._go_back(d_outputs.view(T * B, -1), d_value.view(T * B, 1), start, seat)

        ends = outputs.detach().view(T, B, -1), value.detach().view(T, B)
        return Replay(ends[0].requires_grad_(), ends[1].requires_grad_(), back)

    @torch.no_grad()
    def _go_back(self, d_outputs: Tensor, d_value: Tensor, start: Array, seat: Array) -> None:
        self.said_back.run((d_outputs, d_value))
        x, dx = self.encoder.x, self.dx.view(-1, self.dx.shape[2])
        if self.wide.shape[2] != x.shape[1]:
            self.wide.view(len(x), -1)[:, : x.shape[1]] = x
        self.core_back.run(start, seat)
        self.encoder.back(dx[:, : x.shape[1]].contiguous())
        for lying, source in self._copied:
            lying[...] = source
        for parameter, lying in self.gradients:
            if parameter.grad is not lying:
                parameter.grad = lying


def _rows(told: Told) -> tuple[Tensor, Tensor, Tensor]:
    """Observations [N, ...], seats and previous actions [N], N = T B."""
    return told.observation.flatten(0, 1), told.seat.flatten(), told.previous.flatten()
