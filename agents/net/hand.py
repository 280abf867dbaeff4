"""Parts of a policy's network that are called by hand, where compiled kernels make all of it.

`agents.net.replay` and `agents.net.playing` put them together. The network is that of
`agents.net.policy.RecurrentPolicy.forward`, and so are the numbers and gradients, bit for bit: the same
kernels are called in the same order, in memory that is laid once and by calls that are prepared once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from agents.net.cells import Cell
from agents.net.distributions import Categorical
from agents.net.encoders import LinearEncoder, SlotEncoder
from agents.net.kernels import fused, heads, is_plain, is_readable, slots
from agents.net.kernels.vector import COLUMNS
from agents.net.policy import Core, RecurrentPolicy


def is_known(policy: RecurrentPolicy) -> bool:
    """An encoder of slots or numbers, one core or one for each head, and the heads; nobody listens in."""
    cores = [policy.core] if policy.shared_lstm else [policy.core, policy.critic_core]
    return (
        type(policy) is RecurrentPolicy
        and type(policy.family) is Categorical
        and (type(policy.encoder), type(policy.context)) in ENCODERS
        and all(type(core) is Core and len(core.cells) == 1 for core in cores)
        and type(policy.activation) is nn.Tanh
        and not (policy.detach_critic or policy.skip_connection)
        and all(map(is_plain, policy.modules()))
        and all(p.requires_grad and not p._backward_hooks for p in policy.parameters())
    )


class Chain(NamedTuple):
    """A core and the heads that read it."""

    cell: Cell
    weights: list[Tensor]  # W and b of the heads' layers, head after head
    heads: int


def chains_of(policy: RecurrentPolicy) -> list[Chain] | None:
    """One that both heads read, or one for each; None if a kernel cannot tell."""
    both = [policy.action_head, policy.value_head]
    pairs = [(policy.core, both)] if policy.shared_lstm else [(policy.core, both[:1])]
    pairs += [] if policy.critic_core is None else [(policy.critic_core, both[1:])]
    chains = []
    for core, read_by in pairs:
        cell, weights = core.cells[0], heads.weights_of(read_by)
        assert isinstance(cell, Cell)
        is_whole = not cell.hidden_size % COLUMNS and isinstance(cell.recurrent_bias(), nn.Parameter | None)
        can = is_whole and all(map(is_readable, cell.parameters())) and heads.can_run(cell.U[:1])
        if not can or weights is None or not fused.KERNEL.fits(cell, cell.W, True):
            return None
        chains.append(Chain(cell, weights, len(read_by)))
    return chains


def cores_of(chains: list[Chain], cores: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """The parts of each chain's state out of those of a `Memory`."""
    each = iter(cores)
    return [tuple(next(each) for _ in chain.cell.parts) for chain in chains]


class Encoder(Protocol):
    """`RecurrentPolicy.features` of N decisions."""

    x: Tensor
    """[N, E], what `run` makes."""

    gradients: list[tuple[Tensor, Tensor]]
    """What `back` makes."""

    def run(self, observation: Tensor, seat: Tensor, previous: Tensor) -> None:
        """From [N, ...], [N] and [N]."""

    def back(self, dx: Tensor) -> None:
        """From the derivatives [N, E], contiguous, to those by all weights."""


class Slots:
    """Of codes: an `Encoder`."""

    def __init__(self, policy: RecurrentPolicy, N: int) -> None:
        self.tables = policy.tables()
        self.x = torch.empty(N, self.tables[0].shape[1])
        self.gradients = [(table, torch.empty_like(table)) for table in self.tables]
        told = *(table.detach() for table in self.tables), self.x, *(d for _, d in self.gradients)
        self._table, self._table_told, self._x, *self._d_tables = (x.numpy() for x in told)
        both = policy.encoder, policy.context
        self._starts = [encoder.starts.numpy() for encoder in both if isinstance(encoder, SlotEncoder)]
        self._nothing = torch.empty(N, 0, dtype=torch.int64)
        self._feeds_previous = policy.feeds_previous

    def run(self, observation: Tensor, seat: Tensor, previous: Tensor) -> None:
        """See `Encoder`.

        Raises:
            IndexError: a code is none of its slot.
        """
        codes = previous[:, None] if self._feeds_previous else self._nothing
        self._codes = [x.contiguous().numpy() for x in (observation, seat, codes)] + self._starts
        slots.check(slots.forward(*self._codes, self._table, self._table_told, True, self._x))

    def back(self, dx: Tensor) -> None:
        """See `Encoder`."""
        slots.backward(*self._codes, True, self._x, dx.numpy(), *self._d_tables)


class Numbers:
    """Of numbers, beside which codes may be told: an `Encoder`. Its few products are torch's."""

    def __init__(self, policy: RecurrentPolicy, N: int) -> None:
        assert isinstance(policy.encoder, LinearEncoder)
        self._policy, layer, self._context = policy, policy.encoder.linear, policy.context
        self._W, self._b = layer.weight.detach(), layer.bias.detach()
        self.x = torch.empty(N, len(self._b))
        weights: tuple[Tensor, ...] = layer.weight, layer.bias
        self.gradients = [(p, torch.empty_like(p)) for p in weights]
        if self._context is not None:
            assert isinstance(self._context, SlotEncoder)
            self._one_hot = torch.empty(N, self._context.codes)
            self._offset = self._context.offset
            self._told, self._table = torch.empty_like(self.x), self._context.weight.detach()
            self.gradients.append((self._context.weight, torch.empty_like(self._table)))

    def run(self, observation: Tensor, seat: Tensor, previous: Tensor) -> None:
        """See `Encoder`."""
        self._numbers = observation.reshape(len(self.x), -1).to(torch.float32)
        torch.addmm(self._b, self._numbers, self._W.t(), out=self.x)
        if self._context is not None:
            told = [seat] if self._policy.feeds_seat else []
            told += [previous] if self._policy.feeds_previous else []
            codes = torch.stack(told, 1) + self._offset
            self._one_hot.zero_().scatter_(1, codes, 1.0)
            self.x += torch.mm(self._one_hot, self._table, out=self._told)
        self.x.tanh_()

    def back(self, dx: Tensor) -> None:
        """See `Encoder`."""
        dz = torch.ops.aten.tanh_backward(dx, self.x)
        (_, dW), (_, db), *table = self.gradients
        torch.mm(dz.t(), self._numbers, out=dW)
        torch.sum(dz, 0, out=db)
        if table:
            torch.mm(self._one_hot.t(), dz, out=table[0][1])


ENCODERS: Final[dict[tuple[type, type], Callable[[RecurrentPolicy, int], Encoder]]] = {
    (SlotEncoder, SlotEncoder): Slots,
    (LinearEncoder, SlotEncoder): Numbers,
    (LinearEncoder, type(None)): Numbers,
}
"""By the kinds of a policy's encoder and context."""


def encoder_of(
    policy: RecurrentPolicy, observation: Tensor, seat: Tensor, previous: Tensor
) -> Encoder | None:
    """For decisions of the shapes and dtypes of these, [N, ...]; None if a kernel cannot tell."""
    if not observation.is_cpu or not all(map(is_readable, policy.parameters())):
        return None
    made = ENCODERS[type(policy.encoder), type(policy.context)](policy, len(seat))
    can = True
    if isinstance(made, Slots):
        can = slots.can_run(policy.codes_of(observation, seat, previous), *made.tables)
    return made if can else None
