"""A replay of many decisions that is gone back by hand, where compiled kernels make the whole network.

The network is that of `agents.net.policy.RecurrentPolicy.forward`, and so are the numbers and gradients, bit
for bit: this calls the same kernels in the same order. Autograd's bookkeeping between them took a third of a
minibatch of 64 decisions, a tenth of one of 2,048.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.net.cells import Cell
from agents.net.distributions import Categorical
from agents.net.encoders import SlotEncoder
from agents.net.kernels import Kept, fused, heads, is_plain, slots
from agents.net.kernels.vector import COLUMNS
from agents.net.policy import Core, RecurrentPolicy

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


def replay(policy: RecurrentPolicy, told: Told, by_hand: bool) -> Replay:
    """What `policy(*told)` says, ready to go back. Outputs and values want gradients, either way.

    Args:
        by_hand: `is_known` says so, which is asked once for many minibatches.
    """
    made = _by_hand(policy, told) if by_hand else None
    if made is None:
        outputs, value, _ = policy(*told)
        made = Replay(outputs, value, None)
    return made


def is_known(policy: RecurrentPolicy) -> bool:
    """It is a network of slots, one core that both heads read, and the heads, and nobody listens in."""
    parts = (policy, policy.encoder, policy.context, policy.core, policy.activation)
    return (
        type(policy) is RecurrentPolicy
        and type(policy.family) is Categorical
        and type(policy.encoder) is type(policy.context) is SlotEncoder
        and type(policy.core) is Core
        and len(policy.core.cells) == 1
        and type(policy.activation) is nn.Tanh
        and policy.shared_lstm
        and not (policy.detach_critic or policy.skip_connection)
        and all(part is not None and is_plain(part) for part in (*parts, policy.core.cells[0]))
        and all(p.requires_grad and not p._backward_hooks for p in policy.parameters())
    )


@torch.no_grad()
def _by_hand(policy: RecurrentPolicy, told: Told) -> Replay | None:
    """None if a kernel cannot tell."""
    (T, B), cell = told.seat.shape, policy.core.cells[0]
    assert isinstance(cell, Cell)
    codes, tables = policy.codes_of(told.observation, told.seat, told.previous), policy.tables()
    both = policy.action_head, policy.value_head
    weights = heads.weights_of(both)
    if weights is None or cell.hidden_size % COLUMNS or not slots.can_run(codes, *tables):
        return None

    seen = Kept([False, False, True, True])
    x = slots.Sums.forward(seen, codes, True, *tables).view(T, B, -1)
    if not fused.KERNEL.fits(cell, x, True) or not isinstance(cell.recurrent_bias(), nn.Parameter | None):
        return None
    state = tuple(part[0] for part in told.cores)
    renewed = None if told.renewed is None else (told.renewed[0], tuple(part[0] for part in told.renewed[1]))
    run = fused.arguments(cell, x, state, told.start, told.seat, renewed)
    core = Kept([False, *[True] * 5, *[False] * (3 + len(state))])
    latent = fused.Scan.forward(core, *run)[0].view(T * B, -1)
    if not heads.can_run(latent):
        return None
    said = Kept([False, *[True] * (1 + len(weights))])
    outputs, value = heads.Heads.forward(said, heads.packed_of(both[0], weights, 2), latent, *weights)

    def back(d_outputs: Tensor, d_value: Tensor) -> None:
        d_both = d_outputs.view(T * B, -1), d_value.view(T * B, 1)
        _, d_latent, *by_heads = _back(heads.Heads)(said, *d_both)
        said.saved_tensors = ()  # free before the derivatives by x come
        _, dx, *by_cell = _back(fused.Scan)(core, d_latent.view(T, B, -1), *[None] * len(state))
        *_, by_seen, by_told = _back(slots.Sums)(seen, dx.reshape(T * B, -1))
        parameters = (*weights, *run[2:6], *tables)
        for p, gradient in zip(parameters, (*by_heads, *by_cell[:4], by_seen, by_told), strict=True):
            if p is not None:
                p.grad = gradient.contiguous()

    return Replay(outputs.view(T, B, -1).requires_grad_(), value.view(T, B).requires_grad_(), back)


@functools.cache
def _back(function: type[torch.autograd.Function]) -> Callable[..., tuple[Tensor, ...]]:
    """Its way back, as a plain function of what it kept and the derivatives."""
    way: Callable[..., tuple[Tensor, ...]] = inspect.unwrap(function.backward)
    return way
