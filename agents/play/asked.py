"""What a decision is asked of: observations, masks, seats, starts and memory, each checked and as a tensor.

`MaskableRecurrentPPO.predict` and `Player.act` look at what they are given here, and nowhere else.

Every function raises a ValueError of one line that says what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.net.distributions import Family
from agents.net.policy import Memory, RecurrentPolicy
from agents.net.spaces import check_masks

Shape = tuple[int, ...]


def observation_of(observation: Any) -> Any:
    """What was seen; `Task.pack` checks it, but for the pair that reset() returns."""
    if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], Mapping):
        raise ValueError(
            "expected an observation, got the pair (observation, info) that reset() returns; unpack it: "
            "observation, info = env.reset()"
        )
    return observation


def masks_of(family: Family, masks: Any, B: int, is_single: bool, what: str = "action_masks") -> Tensor:
    """Masks bool [B, M], each of which leaves an action; [M] will do for one observation without B."""
    M = family.mask
    if masks is None:
        return torch.ones(B, M, dtype=torch.bool)
    is_ready = isinstance(masks, Tensor) and masks.dtype == torch.bool
    legal = masks if is_ready else torch.from_numpy(truths_of(masks, what))
    shape = tuple(legal.shape)
    if is_single and legal.dim() == 1:
        legal = legal[None]
    if legal.shape != (B, M) or M == 0:
        expected = f"{what} of shape {(B, M)}" if M > 0 else f"no {what} for Box actions"
        raise ValueError(f"expected {expected}, got {shape}")
    check_masks(family, legal)
    return legal


def seats_of(P: int, seat: Any, B: int) -> Tensor:
    """Seats int64 [B], from one for all or B of them; None is seat 0 where there is only that one."""
    if seat is None:
        if P > 1:
            raise ValueError(
                f"say who decides, seat=0..{P - 1}: there are {P} seats, and nobody guesses (a Batch, an "
                'environment and its info have "seat")'
            )
        return torch.zeros(B, dtype=torch.int64)
    seats = _numbers(seat, "seat")
    if seats.dtype.kind not in "iu" or seats.shape not in ((), (B,)):
        raise ValueError(
            f"expected seat as a whole number or {B} of them, got {seats.dtype} of shape {seats.shape}"
        )
    wrong = (seats < 0) | (seats >= P)
    if wrong.any():
        raise ValueError(f"expected seats in 0..{P - 1}, got {np.atleast_1d(seats)[np.atleast_1d(wrong)][0]}")
    return torch.from_numpy(seats.astype(np.int64)).expand(B)


def starts_of(episode_start: Any, B: int, is_single: bool) -> Tensor:
    """Where a match begins, bool [B]; a single truth value will do for one observation without B."""
    if episode_start is None:
        return torch.zeros(B, dtype=torch.bool)
    starts = truths_of(episode_start, "episode_start")
    if is_single and starts.ndim == 0:
        starts = starts[None]
    if starts.shape != (B,):
        raise ValueError(f"expected episode_start of shape {(B,)}, got {starts.shape}")
    return torch.from_numpy(starts)


def memory_of(policy: RecurrentPolicy, state: Any, B: int) -> Memory:
    """The memory of B matches that `state` is; a fresh one if it is None."""
    fresh = policy.initial_memory(B)
    if state is None:
        return fresh
    if not isinstance(state, Memory):
        raise ValueError(
            f"expected state as predict returned it (a Memory) or None, got {type(state).__name__}"
        )
    expected, got = ([tuple(part.shape) for part in (*m.cores, m.previous)] for m in (fresh, state))
    if expected != got:
        raise ValueError(f"expected the state of {B} matches, its parts {expected}, got {got}")
    device = fresh.previous.device
    return Memory(tuple(part.to(device) for part in state.cores), state.previous.to(device))


def _numbers(value: Any, what: str) -> np.ndarray[Any, Any]:
    """`value` as an array of numbers."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise ValueError(
            f"expected {what} as an array of numbers, got {type(value).__name__} ({error})"
        ) from None
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"expected {what} as an array of numbers, got {type(value).__name__} of dtype {array.dtype}"
        )
    return array


def truths_of(value: Any, what: str) -> np.ndarray[Any, Any]:
    """`value` as an array of truth values; 0 and 1 stand for them, and nothing else does."""
    array = _numbers(value, what)
    if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        wrong = array[~np.isin(array, (0, 1))][0]
        raise ValueError(f"expected {what} of True and False, got {wrong}; 0 and 1 stand for them")
    return array.astype(bool)
