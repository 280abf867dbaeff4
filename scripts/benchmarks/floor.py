"""The floor: the matrix products of the work alone, as `torch.mm` multiplies the same shapes.

No gate, activation, bias, memory, loss, optimizer step or game. A share of it above 100 % is no mistake: a
kernel may multiply faster than `torch.mm`, which is slow where a side is narrow.

Of T steps of B matches, N = T B rows: a policy has encoders [codes, E] (a slot encoder's product is that of
its one-hot codes), one core of I inputs, H units, G pre-activations and R numbers of U h (`Cell`), and heads
of linear layers [i, o]. `forward` counts

    encoder [N, codes] [codes, E] each     input [N, I] [I, G]     steps T x [B, H] [H, R]
    layer   [N, i] [i, o] each

and `backward`, where nobody asks for the gradient of what the encoders read,

    encoder [codes, N] [N, E] each         layer [o, N] [N, i] and [N, o] [o, i] each
    core    T x [B, R] [R, H],  [G, N] [N, I],  [R, N] [N, H],  [N, G] [G, I]

Training counts T + 1 forward steps of B matches one by one, the last for the value after the rollout, and,
`n_epochs` times for each minibatch of B / `minibatches` matches, forward and back along T + C steps, where C
are carried over from the rollout before (`agents.learn.rollout.CARRIED`; none where one seat plays).
The first minibatch's replay that is only compared with play (`replay_drift`) is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.net.cells import Cell
from agents.net.encoders import LinearEncoder, SlotEncoder
from agents.net.policy import RecurrentPolicy


class Product(NamedTuple):
    """`times` products of [rows, depth] by [depth, columns]."""

    rows: int
    depth: int
    columns: int
    times: int = 1


class Part(NamedTuple):
    """Products that follow each other, `repeats` times."""

    products: Sequence[Product]
    repeats: int = 1


def cell_forward(cell: Cell, T: int, B: int) -> list[Product]:
    """Of a core along T steps."""
    inputs, steps = Product(T * B, cell.input_size, len(cell.W)), Product(B, cell.hidden_size, len(cell.U), T)
    return [inputs, steps]


def cell_backward(cell: Cell, T: int, B: int, input_gradient: bool = True) -> list[Product]:
    """Of a core back along T steps."""
    N, inputs, H, G, R = T * B, cell.input_size, cell.hidden_size, len(cell.W), len(cell.U)
    found = [Product(B, R, H, T), Product(G, N, inputs), Product(R, N, H)]
    return found + ([Product(N, G, inputs)] if input_gradient else [])


def forward(policy: RecurrentPolicy, T: int, B: int) -> list[Product]:
    """Of T steps in B matches."""
    encoders, core, layers = parts_of(policy)
    N = T * B
    found = [Product(N, *sizes) for sizes in encoders] + cell_forward(core, T, B)
    return found + [Product(N, *sizes) for sizes in layers]


def backward(policy: RecurrentPolicy, T: int, B: int) -> list[Product]:
    """Of the gradients of all weights, after `forward`."""
    encoders, core, layers = parts_of(policy)
    N = T * B
    found = [Product(codes, N, E) for codes, E in encoders] + cell_backward(core, T, B)
    return found + [p for i, o in layers for p in (Product(o, N, i), Product(N, o, i))]


def training(
    policy: RecurrentPolicy, T: int, B: int, n_epochs: int, minibatches: int, carried: int
) -> list[Part]:
    """Of one rollout and its update."""
    replayed = T + carried, B // minibatches
    update = forward(policy, *replayed) + backward(policy, *replayed)
    return [Part(forward(policy, 1, B), T + 1), Part(update, n_epochs * minibatches)]


def flops(parts: Sequence[Part]) -> int:
    """Multiplications and additions."""
    return sum(
        2 * p.rows * p.depth * p.columns * p.times * part.repeats for part in parts for p in part.products
    )


def work(parts: Sequence[Part], device: str = "cpu") -> Callable[[], None]:
    """Carries the products out, on numbers drawn now."""
    outs: dict[tuple[int, int], Tensor] = {}
    runs: list[tuple[int, list[tuple[Sequence[Tensor], Tensor, Tensor]]]] = []
    for part in parts:
        operands: list[tuple[Sequence[Tensor], Tensor, Tensor]] = []
        for p in part.products:
            lefts = torch.randn(p.times, p.rows, p.depth, device=device).unbind(0)
            right = torch.randn(p.depth, p.columns, device=device)
            shape = p.rows, p.columns
            operands.append((lefts, right, outs.setdefault(shape, torch.empty(shape, device=device))))
        runs.append((part.repeats, operands))

    def run() -> None:
        for repeats, operands in runs:
            for _ in range(repeats):
                for lefts, right, out in operands:
                    for left in lefts:
                        torch.mm(left, right, out=out)

    return run


def parts_of(policy: RecurrentPolicy) -> tuple[list[tuple[int, int]], Cell, list[tuple[int, int]]]:
    """Sizes [codes, E] of the encoders, the core, and sizes [i, o] of the heads' layers.

    Raises:
        ValueError: the policy has something whose products nobody has counted.
    """
    heads: list[Any] = [*policy.action_head.modules(), *policy.value_head.modules()]
    encoders: list[Any] = [policy.encoder, policy.context, policy.previous_numbers]
    cells = list(policy.core.cells)
    is_counted = len(cells) == 1 and policy.critic_core is None and policy.critic is None
    is_counted &= all(e is None or isinstance(e, (SlotEncoder, LinearEncoder)) for e in encoders)
    if not is_counted or policy.skip_connection:
        raise ValueError("the floor is counted for linear and slot encoders, one shared core and plain heads")
    (core,) = cells
    assert isinstance(core, Cell)
    tables = [e.weight if isinstance(e, SlotEncoder) else e.linear.weight.t() for e in encoders if e]
    linear = [m for m in heads if isinstance(m, nn.Linear)]
    return (
        [(table.shape[0], table.shape[1]) for table in tables],
        core,
        [(m.in_features, m.out_features) for m in linear],
    )
