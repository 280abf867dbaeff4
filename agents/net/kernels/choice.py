"""A choice among actions on a CPU core, compiled: mask, softmax, draw and log-probability in one pass.

The readable form is `Family.choose` in `agents.net.distributions`. The draw is the same race of exponential
clocks, with the same draws of the generator.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numba import types
from torch import Tensor

from agents.net.kernels import is_readable, is_traced, usable
from envs.compiled import compiled


def _choose(logits: Any, legal: Any, clocks: Any, log_probs: Any, action: Any, log_prob: Any) -> None:
    """Each row's log-probabilities, -inf where illegal, and the action that wins the race of the clocks; no
    clocks: the most probable one. All NaN where nothing is legal or a logit is none."""
    rows, actions = logits.shape
    none = np.float32(-np.inf)
    for n in range(rows):
        top = none
        for a in range(actions):
            if legal[n, a] and not logits[n, a] <= top:
                top = logits[n, a]
        total, best, chosen = np.float32(0.0), np.float32(-1.0), 0
        for a in range(actions):
            if legal[n, a]:
                score = np.exp(logits[n, a] - top)
                total += score
                if clocks.shape[0] > 0:
                    score /= clocks[n, a]
                if score > best:
                    best, chosen = score, a
        offset = top + np.log(total)
        for a in range(actions):
            log_probs[n, a] = logits[n, a] - offset if legal[n, a] else none
        action[n], log_prob[n] = chosen, log_probs[n, chosen]


_inline: Any = functools.partial(compiled, nogil=True, error_model="numpy")
choose = _inline(_choose)


def _compile() -> None:
    floats, truths = types.Array(types.float32, 2, "C"), types.Array(types.boolean, 2, "C")
    actions, numbers = types.Array(types.int64, 1, "C"), types.Array(types.float32, 1, "C")
    choose.compile((floats, truths, floats, floats, actions, numbers))


def can_run(logits: Tensor, legal: Tensor) -> bool:
    """The kernel can read them, and nobody wants a gradient."""
    return (
        is_readable(logits)
        and not is_traced()
        and not (logits.requires_grad and torch.is_grad_enabled())
        and legal.dtype == torch.bool
        and legal.shape == logits.shape
        and usable("choice", _compile)
    )


def run(logits: Tensor, legal: Tensor, clocks: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities [..., A], actions int64 [...] and their log-probabilities [...].

    Args:
        logits: [..., A], which `can_run` has looked at.
        legal: bool [..., A], at least one True a row.
        clocks: [..., A], draws from Exp(1); None = take the most probable action.
    """
    A, leading = logits.shape[-1], logits.shape[:-1]
    rows = logits.detach().view(-1, A)
    action, log_prob = torch.empty(leading, dtype=torch.int64), torch.empty(leading)
    log_probs = torch.empty(logits.shape)
    times = rows[:0] if clocks is None else clocks.reshape(-1, A)
    told = rows, legal.reshape(-1, A).contiguous(), times, log_probs.view(-1, A)
    choose(*(x.numpy() for x in (*told, action.view(-1), log_prob.view(-1))))
    return log_probs, action, log_prob
