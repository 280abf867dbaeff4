"""Penalties on weights: what keeps a network from learning its examples by heart.

    loss + l1_coef sum |w| + l2_coef sum w^2        over all numbers w of all matrices, embeddings among them

Biases and what else is no matrix are free: they are few, and a unit that is off by a constant is not complex.
The gradients, l1_coef sign(w) and 2 l2_coef w, are added once those of the loss are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

NEAR_ZERO = 1e-3
"""A weight this close to 0 counts as near zero: 1 % of what most begin with."""


def matrices(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those that are penalised."""
    return [p for p in parameters if p.dim() >= 2]


def penalty(parameters: Iterable[Tensor], l1_coef: float, l2_coef: float) -> Tensor:
    """What is added to the loss, without gradient."""
    found = matrices(parameters)
    with torch.no_grad():
        l1 = torch.stack([p.abs().sum() for p in found]).sum()
        l2 = torch.stack([p.square().sum() for p in found]).sum()
    return l1_coef * l1 + l2_coef * l2


@torch.no_grad()
def add_penalties(parameters: Sequence[Tensor], l1_coef: float, l2_coef: float) -> None:
    """Add the penalties' gradients to those that are there; with both at 0 nothing is touched."""
    if l1_coef == l2_coef == 0.0:
        return
    for p in matrices(parameters):
        if p.grad is None:
            continue
        if l1_coef > 0.0:
            p.grad.add_(p.sign(), alpha=l1_coef)
        if l2_coef > 0.0:
            p.grad.add_(p.detach(), alpha=2.0 * l2_coef)


@torch.no_grad()
def share_near_zero(parameters: Iterable[Tensor]) -> float:
    """Share of the matrices' numbers that are within `NEAR_ZERO` of 0."""
    found = matrices(parameters)
    return sum(int((p.abs() < NEAR_ZERO).sum()) for p in found) / max(sum(p.numel() for p in found), 1)
