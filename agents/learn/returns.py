"""Advantages along each seat's own decisions.

In a match the seats take turns, so the value that follows a seat's decision is the one at its *own*
next decision, and everything it earns in between belongs to the first. With d = 0, 1, ... numbering the
decisions of one seat in one match, V_d its values and R_d what it earns from decision d up to d + 1,

    delta_d = R_d + gamma V_{d+1} - V_d          A_d = delta_d + gamma lambda A_{d+1}

(generalised advantage estimation, Schulman et al. 2016), where V and A are 0 after the match's end.

When a rollout ends, one seat is about to decide: its value there bootstraps its latest decision. All others
still wait for the outcome of theirs. It is not guessed: those decisions do not count yet, and their recorded
value bootstraps the decision before. They are carried over: put in front of the next rollout, which shows the
outcome, they count in its update; of the first `carried` decisions there the others did so before. Left out
for good they would bias what is learned, as who waits depends on how the match went on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.learn import kernels
from agents.net.kernels import gpu


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
    """Advantages of T decisions in B matches; see the module for what waits at their end.

    Args:
        reward: [T, B, P], earned by each seat through step t.
        value: [T, B], of the seat that decided.
        seat: int64 [T, B].
        over: bool [T, B], step t ended the match.
        next_value: [B], value of the seat to decide after the last step.
        next_seat: int64 [B].
        gamma, gae_lambda: discount and lambda per own decision.
        carried: so many of the T, below T, are the last ones of the rollout before.

    Returns:
        advantages [T, B] (0 where the outcome is unknown) and which of them count, bool [T, B].
    """
    told = reward, value, seat, over, next_value, next_seat
    if value.is_cuda and value.dtype == torch.float32 and gpu.is_here():
        from agents.learn import returns_gpu

        return returns_gpu.seat_advantages(*told, gamma, gae_lambda, carried)
    compiled = kernels.advantages(*told, gamma, gae_lambda, carried)
    return compiled or reference(*told, gamma, gae_lambda, carried)


def reference(
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
    """`seat_advantages` in torch's words, on any device."""
    T, _, P = reward.shape
    seats = torch.arange(P, device=seat.device)
    # What lies ahead of each seat, walking backwards: its next value and advantage, what it has earned
    # since, and whether its latest decision's outcome is known.
    is_next = next_seat[:, None] == seats  # [B, P]
    ahead_value = torch.where(is_next, next_value[:, None], 0.0)
    ahead_advantage, earned = torch.zeros_like(ahead_value), torch.zeros_like(ahead_value)
    outcome_known = is_next
    counted = torch.zeros_like(is_next)  # the rollout before knew the outcome

    advantages, counts = torch.zeros_like(value), torch.zeros_like(over)
    for t in reversed(range(T)):
        if t == carried - 1:  # where the rollout before ended
            counted = seat[carried, :, None] == seats
        ended = over[t, :, None]
        ahead_value = ahead_value.masked_fill(ended, 0.0)
        ahead_advantage = ahead_advantage.masked_fill(ended, 0.0)
        earned = earned.masked_fill(ended, 0.0) + reward[t]
        outcome_known = outcome_known | ended
        counted = counted | (ended & (t < carried))

        delta = earned + gamma * ahead_value - value[t, :, None]
        advantage = (delta + gamma * gae_lambda * ahead_advantage) * outcome_known  # [B, P]
        mine = seat[t, :, None]
        advantages[t] = advantage.gather(1, mine)[:, 0]
        counts[t] = (outcome_known & ~counted).gather(1, mine)[:, 0]

        decided = mine == seats
        ahead_value = torch.where(decided, value[t, :, None], ahead_value)
        ahead_advantage = torch.where(decided, advantage, ahead_advantage)
        earned = earned.masked_fill(decided, 0.0)
        outcome_known = outcome_known | decided
        counted = counted | (decided & (t < carried))
    return advantages, counts
