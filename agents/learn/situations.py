"""Situations: what a seat can tell apart, all that it has seen and done in a match, as one number.

Matches come to some situations a thousand times as often as to others, and to whoever leads it there a policy
is as good as its rare ones. With `Settings.balance` a decision weighs

    n ** -balance,        n the decisions of the rollout, or of a shard's, in its situation,

scaled so that decisions weigh 1 on average (cf. the class-balanced loss of Cui et al. 2019: a situation is
what a class is there). What is learned in a situation stays what it was, as its decisions all weigh the same;
how much it counts against others changes. Where no situation comes twice nothing does.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import torch
from torch import Tensor

FIRST: Final = 0
"""The situation before a match begins."""


def begin(matches: int, seats: int, device: torch.device | str = "cpu") -> Tensor:
    """Where each seat stands before its first decision, int64 [B, P]."""
    return torch.full((matches, seats), FIRST, dtype=torch.int64, device=device)


def enter(
    stand: Tensor, observation: Tensor, seat: Tensor, previous: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """The situations in which a decision is made now.

    Args:
        stand: int64 [B, P], of each seat's latest decision, see `begin`.
        observation: [B, *] of the seat that decides.
        seat: int64 [B].
        previous: [B, *], the seat's own previous action.
        start: bool [B], first decision of a match.

    Returns:
        `stand` with them, and the situations themselves, int64 [B].
    """
    stand = stand.masked_fill(start[:, None], FIRST)
    told = torch.cat([seat[:, None], _whole(previous), _whole(observation)], 1)
    seen = (told * _factors(told.shape[1], told.device)).sum(1)
    here = _stirred(stand.gather(1, seat[:, None])[:, 0] * MULTIPLIER + seen)
    return stand.scatter(1, seat[:, None], here[:, None]), here


def weights_of(situation: Tensor, counts: Tensor, balance: float) -> Tensor:
    """What decisions weigh, float32 [N]; see the module. N stands for any leading dimensions.

    Args:
        situation: int64 [N].
        counts: bool [N], the decisions that are learned from.
    """
    _, which, often = situation[counts].unique(return_inverse=True, return_counts=True)
    weight = often.double()[which] ** -balance
    spread = torch.ones(counts.shape, device=counts.device)
    spread[counts] = (weight * (len(weight) / weight.sum())).float()
    return spread


def _whole(x: Tensor) -> Tensor:
    """int64 [B, n] that differ where x [B, *] does."""
    flat = x.reshape(len(x), -1)
    return (flat.float().view(torch.int32) if x.is_floating_point() else flat).to(torch.int64)


MULTIPLIER: Final = -7046029254386353131
"""2^64 over the golden ratio, odd, as a signed number: products wrap around."""


def _stirred(x: Tensor) -> Tensor:
    """The same with every bit depending on all (Vigna's splitmix64, shifts with sign)."""
    x = (x ^ (x >> 30)) * -4658895280553007687
    x = (x ^ (x >> 27)) * -7723592293110705685
    return x ^ (x >> 31)


@functools.lru_cache(maxsize=64)
def _factors(n: int, device: torch.device) -> Tensor:
    """int64 [n], odd and as good as random."""
    steps = torch.from_numpy(np.arange(1, n + 1)).to(torch.int64)
    return (_stirred(steps * MULTIPLIER) | 1).to(device)
