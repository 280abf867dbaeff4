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
        chains, encoder = hand.chains_of(policy), hand.encoder_of(policy, *_rows(told))
        if chains is None or encoder is None or not all(map(is_readable, told.cores)):
            return None
        return cls(chains, encoder, told)

    def __init__(self, chains: list[hand.Chain], encoder: hand.Encoder, told: Told) -> None:
        T, B = told.seat.shape
        x = encoder.x.view(T, B, -1)
        more = -x.shape[2] % COLUMNS
        self.wide = torch.zeros(T, B, x.shape[2] + more) if more else x
        """x in whole tiles, as is read on the way back."""
        self.chains, self.encoder = chains, encoder
        at = 0 if told.renewed is None else told.renewed[0]
        seats = told.cores[0].shape[2]
        self.ways = [_Way(chain, x, self.wide, seats, at) for chain in chains]
        self.gradients = list(encoder.gradients)
        for way in self.ways:
            self.gradients += way.gradients

    @torch.no_grad()
    def replay(self, told: Told) -> Replay:
        """What the policy says."""
        (T, B, _), start, seat = self.wide.shape, told.start.contiguous(), told.seat.contiguous()
        tables = start.numpy(), seat.numpy()
        both = [told.cores] if told.renewed is None else [told.cores, told.renewed[1]]
        states = [hand.cores_of(self.chains, cores) for cores in both]
        self.encoder.run(*_rows(told))
        for way, *parts in zip(self.ways, *states, strict=True):
            way.run(parts, *tables)
        outputs, value = (y for way in self.ways for y in way.said.outputs)

        def back(d_outputs: Tensor, d_value: Tensor) -> None:
            self._go_back([d_outputs.view(T * B, -1), d_value.view(T * B, 1)], *tables)

        ends = outputs.detach().view(T, B, -1), value.detach().view(T, B)
        return Replay(ends[0].requires_grad_(), ends[1].requires_grad_(), back)

    @torch.no_grad()
    def _go_back(self, derivatives: list[Tensor], start: Array, seat: Array) -> None:
        N, I = self.encoder.x.shape  # noqa: E741
        if self.wide.shape[2] != I:
            self.wide.view(N, -1)[:, :I] = self.encoder.x
        dx, *others = [way.back(derivatives, start, seat) for way in self.ways]
        for other in others:
            dx += other
        self.encoder.back(dx.view(N, -1)[:, :I].contiguous())
        for parameter, lying in self.gradients:
            if parameter.grad is not lying:
                parameter.grad = lying


class _Way:
    """A chain over [T, B] decisions, there and back.

    Args:
        chain: its weights may change, but stay where they are.
        x: [T, B, I].
        wide: the same in whole tiles, on the way back.
        seats: P.
        at: the step at which other memories come, 0 = none.
    """

    def __init__(self, chain: hand.Chain, x: Tensor, wide: Tensor, seats: int, at: int) -> None:
        (T, B, _), cell, H = x.shape, chain.cell, chain.cell.hidden_size
        self.state = tuple(torch.empty(2 if at else 1, B, seats, H) for _ in cell.parts)
        state = tuple(part.view(-1, seats, H) for part in self.state)
        self.laid, self.packed = fused.Laid(cell), heads.Packed(chain.weights, chain.heads)
        self.core = core = fused.Pass(self.laid.packed, x, state, at, keeps=True)
        latent, d_latent = core.outputs.view(T * B, H), torch.empty(T, B, H)
        self.said = heads.Pass(self.packed, latent, keeps=True)
        self.said_back = heads.Back(self.packed, latent, self.said.hidden, d_latent.view(T * B, H))
        self.dx, grad = torch.empty_like(wide), tuple(torch.empty(B, seats, H) for _ in state)
        self.core_back = fused.Back(
            self.laid.packed, (core.outputs, core.saved, core.read), self.laid.panels, wide, state, at,
            d_latent, grad, False, self.dx,
        )  # fmt: skip
        dW, *others = self.core_back.derivatives
        by_cell = zip(
            [cell.W, cell.U, cell.b, cell.recurrent_bias()], [dW[:, : x.shape[2]], *others], strict=True
        )
        by_heads = zip(chain.weights, self.said_back.derivatives, strict=True)
        found = [(p, source) for p, source in [*by_heads, *by_cell] if p is not None]
        self.gradients: list[tuple[Tensor, Tensor]] = [(p, torch.empty_like(p)) for p, _ in found]
        written = [source.numpy() for _, source in found]
        self._copied = list(zip([d.numpy() for _, d in self.gradients], written, strict=True))

    def run(self, states: list[tuple[Tensor, ...]], start: Array, seat: Array) -> None:
        """There, from memories [1, B, P, H] and those that come later, with the weights as they are now."""
        for k, parts in enumerate(states):
            for mine, given in zip(self.state, parts, strict=True):
                mine[k].copy_(given[0])
        self.laid.renew()
        self.core.run(start, seat)
        self.packed.renew()
        self.said.run()

    def back(self, derivatives: list[Tensor], start: Array, seat: Array) -> Tensor:
        """From the derivatives of this chain's heads, which it takes from the front, to those by `wide`."""
        mine = [derivatives.pop(0) for _ in self.said.outputs]
        self.said_back.run(mine)
        self.core_back.run(start, seat)
        for lying, source in self._copied:
            lying[...] = source
        return self.dx


def _rows(told: Told) -> tuple[Tensor, Tensor, Tensor]:
    """Observations [N, ...], seats and previous actions [N], N = T B."""
    return told.observation.flatten(0, 1), told.seat.flatten(), told.previous.flatten()
