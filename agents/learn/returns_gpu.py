"""`agents.learn.returns.seat_advantages` as one Triton program on a GPU (edge: triton).

A thread walks through a match. Read the function in `agents.learn.returns` first: names, steps and their
order are the same.
"""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK: Final = 128
"""Matches of a program."""


def _walk(
    reward, value, seat, over, next_value, next_seat, advantages, counts, gamma, decay, carried, T, B,
    P: tl.constexpr, SEATS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`decay` is gamma lambda; SEATS is P or the next power of two."""
    b = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    plays = b < B
    seats = tl.arange(0, SEATS)[None, :]
    is_next = tl.load(next_seat + b, mask=plays, other=0)[:, None] == seats
    ahead_value = tl.where(is_next, tl.load(next_value + b, mask=plays, other=0.0)[:, None], 0.0)
    ahead_advantage = tl.zeros((BLOCK, SEATS), tl.float32)
    earned = tl.zeros((BLOCK, SEATS), tl.float32)
    outcome_known = is_next
    began = tl.load(seat + b + carried * B, mask=plays & (carried > 0), other=0)[:, None] == seats
    counted = is_next & (carried < 0)  # none
    for back in range(T):
        t = T - 1 - back
        here = b + t * B
        counted = tl.where(t == carried - 1, began, counted)
        ended = tl.load(over + here, mask=plays, other=0)[:, None] != 0
        ahead_value = tl.where(ended, 0.0, ahead_value)
        ahead_advantage = tl.where(ended, 0.0, ahead_advantage)
        earned = tl.where(ended, 0.0, earned) + tl.load(
            reward + here[:, None] * P + seats, mask=plays[:, None] & (seats < P), other=0.0
        )
        outcome_known = outcome_known | ended
        counted = counted | (ended & (t < carried))

        v = tl.load(value + here, mask=plays, other=0.0)[:, None]
        advantage = earned + gamma * ahead_value - v + decay * ahead_advantage
        advantage = tl.where(outcome_known, advantage, 0.0)
        mine = tl.load(seat + here, mask=plays, other=0)[:, None] == seats
        tl.store(advantages + here, tl.sum(tl.where(mine, advantage, 0.0), 1), mask=plays)
        does_count = tl.sum((mine & outcome_known & (counted == 0)).to(tl.int32), 1) > 0
        tl.store(counts + here, does_count, mask=plays)

        ahead_value = tl.where(mine, v, ahead_value)
        ahead_advantage = tl.where(mine, advantage, ahead_advantage)
        earned = tl.where(mine, 0.0, earned)
        outcome_known = outcome_known | mine
        counted = counted | (mine & (t < carried))


walk = triton.jit(_walk, do_not_specialize=["gamma", "decay", "carried", "T", "B"])


def seat_advantages(
    reward: Tensor,
    value: Tensor,
    seat: Tensor,
    over: Tensor,
    next_value: Tensor,
    next_seat: Tensor,
    gamma: float,
    gae_lambda: float,
    carried: int = 0,
) -> tuple[Tensor, Tensor]:
    """`agents.learn.returns.seat_advantages` in float32; same arguments and results."""
    T, B, P = reward.shape
    advantages, counts = value.new_empty(T, B), over.new_empty(T, B)
    given = (x.contiguous() for x in (reward, value, seat, over, next_value, next_seat))
    with torch.cuda.device_of(value):
        walk[(-(-B // BLOCK),)](
            *(*given, advantages, counts, float(gamma), float(gamma * gae_lambda), carried, T, B),
            P=P, SEATS=1 << (P - 1).bit_length(), BLOCK=BLOCK, num_warps=BLOCK // 32,
        )  # fmt: skip
    return advantages, counts
