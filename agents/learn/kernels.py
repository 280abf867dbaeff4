"""An update's small loops on a CPU core, compiled: advantages, the loss with its gradient, clipping and Adam.

The readable forms, which tests compare with, are `agents.learn.returns.reference`,
`agents.learn.ppo.ppo_loss`, torch's `clip_grad_norm_` and torch's Adam.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numba import types
from numba.np.numpy_support import carray
from torch import Tensor

from agents.net.kernels import is_readable, usable
from agents.net.kernels.vector import floats_at
from envs.compiled import compiled

_compiled: Any = functools.partial(compiled, nogil=True, error_model="numpy")

# ---------------------------------------------------------------- advantages


def _advantages(
    reward: Any, value: Any, seat: Any, over: Any, next_value: Any, next_seat: Any, gamma: float,
    decay: float, carried: int, advantages: Any, counts: Any,
) -> None:  # fmt: skip
    """`agents.learn.returns.reference`, one match after another; `decay` is gamma lambda."""
    T, B, P = reward.shape
    zero = np.float32(0.0)
    ahead_value, ahead_advantage, earned = np.zeros((3, B, P), np.float32)
    outcome_known, counted = np.zeros((2, B, P), np.bool_)
    for b in range(B):
        ahead_value[b, next_seat[b]] = next_value[b]
        outcome_known[b, next_seat[b]] = True
    for t in range(T - 1, -1, -1):
        for b in range(B):
            if t == carried - 1:  # where the rollout before ended
                for p in range(P):
                    counted[b, p] = seat[carried, b] == p
            for p in range(P):
                if over[t, b]:
                    ahead_value[b, p], ahead_advantage[b, p], earned[b, p] = zero, zero, zero
                    outcome_known[b, p] = True
                    counted[b, p] = counted[b, p] or t < carried
                earned[b, p] += reward[t, b, p]
            p = seat[t, b]
            advantage = zero
            if outcome_known[b, p]:
                delta = earned[b, p] + gamma * ahead_value[b, p] - value[t, b]
                advantage = delta + decay * ahead_advantage[b, p]
            advantages[t, b] = advantage
            counts[t, b] = outcome_known[b, p] and not counted[b, p]
            ahead_value[b, p], ahead_advantage[b, p], earned[b, p] = value[t, b], advantage, zero
            outcome_known[b, p] = True
            counted[b, p] = counted[b, p] or t < carried


seat_advantages = _compiled(_advantages)


def _of(dtype: Any, dimensions: int) -> Any:
    return types.Array(dtype, dimensions, "C")


def _compile_advantages() -> None:
    number, whole, truth = types.float32, types.int64, types.boolean
    told = _of(number, 3), _of(number, 2), _of(whole, 2), _of(truth, 2), _of(number, 1), _of(whole, 1)
    seat_advantages.compile((*told, number, number, whole, _of(number, 2), _of(truth, 2)))


def advantages(
    reward: Tensor, value: Tensor, seat: Tensor, over: Tensor, next_value: Tensor, next_seat: Tensor,
    gamma: float, gae_lambda: float, carried: int,
) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    """See `agents.learn.returns.seat_advantages`; None if the kernel cannot tell."""
    if not all(map(is_readable, (reward, value, next_value))) or not usable(
        "advantages", _compile_advantages
    ):
        return None
    told = [x.detach().contiguous().numpy() for x in (reward, value, seat, over, next_value, next_seat)]
    found, counts = torch.empty(value.shape), torch.empty(value.shape, dtype=torch.bool)
    rates = np.float32(gamma), np.float32(gamma * gae_lambda)
    seat_advantages(*told, *rates, carried, found.numpy(), counts.numpy())
    return found, counts


# ---------------------------------------------------------------- the loss

PARTS: Final = (
    "loss", "policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction", "kl_magnet",
)  # fmt: skip
"""What the kernel tells of the loss, in its order; the last only where there is a magnet."""


def _moments(advantage: Any, counts: Any) -> tuple[float, float, float]:
    """How many decisions count, at least 1; the mean of their advantages, and 1 over the deviation."""
    count, total, spread = 0.0, 0.0, 0.0
    for i in range(advantage.shape[0]):
        if counts[i]:
            count += 1.0
            total += advantage[i]
    count = max(count, 1.0)
    mean = total / count
    for i in range(advantage.shape[0]):
        if counts[i]:
            spread += (advantage[i] - mean) ** 2
    return count, mean, 1.0 / (np.sqrt(spread / count) + 1e-8)


moments_of = _compiled(_moments)

OWN: Final = np.empty(0)
"""No moments are given: those of the decisions themselves count."""


def _policy(logits: Any, legal: Any, i: int, q: Any) -> tuple[Any, float]:
    """The probabilities q [A] of decision i; returns what its logits lie above ln q, and the entropy."""
    actions = logits.shape[1]
    top, whole, entropy = np.float32(-np.inf), np.float32(0.0), 0.0
    for k in range(actions):
        if legal[i, k] and not logits[i, k] <= top:
            top = logits[i, k]
    for k in range(actions):
        if legal[i, k]:
            q[k] = np.exp(logits[i, k] - top)
            whole += q[k]
    offset, share = top + np.log(whole), np.float32(1.0) / whole
    for k in range(actions):
        if legal[i, k]:
            q[k] *= share
            entropy -= q[k] * (logits[i, k] - offset)
    return offset, entropy


def _distance(logits: Any, legal: Any, i: int, offset: Any, q: Any, magnet: Any, below: Any) -> float:
    """KL(q || m) of decision i; writes ln q_k - ln m_k to `below` [A]. A magnet [0, A] is uniform."""
    actions, lowest = logits.shape[1], np.float32(np.finfo(np.float32).min)
    choices, distance = np.float32(0.0), 0.0
    for k in range(actions):
        choices += np.float32(legal[i, k])
    even = -np.log(choices)
    for k in range(actions):
        if legal[i, k]:
            drawn_to = even if magnet.shape[0] == 0 else max(magnet[i, k], lowest)
            below[k] = logits[i, k] - offset - drawn_to
            distance += q[k] * below[k]
    return distance


policy_of, distance_of = _compiled(_policy), _compiled(_distance)


def _loss(
    logits: Any, value: Any, legal: Any, action: Any, log_prob: Any, advantage: Any, target: Any, counts: Any,
    magnet: Any, weight: Any, clip: float, normalises: bool, ent_coef: float, vf_coef: float,
    magnet_coef: float, given: Any, d_logits: Any, d_value: Any, parts: Any,
) -> None:  # fmt: skip
    """`agents.learn.ppo.ppo_loss` of unmasked logits [N, A], and its derivatives by them and the values.

    Decision i weighs `weight[i]`, or 1 where that is empty. `given` are moments as `_moments` gives them, or
    `OWN`.

    With q the probabilities, H their entropy, m the magnet's, K the divergence KL(q || m), A the advantage, r
    the ratio and n the decisions that count:
        d loss / d logit_k = (g ([k is the action] - q_k) + ent_coef q_k (ln q_k + H)
                              + magnet_coef q_k (ln q_k - ln m_k - K)) / n
        g = -A r where A r <= A clamp(r, 1 - clip, 1 + clip), else 0.
    """
    rows, actions = logits.shape
    if given.shape[0] == 0:
        count, mean, scale = moments_of(advantage, counts)
    else:
        count, mean, scale = given[0], given[1], given[2]
    if not normalises:
        mean, scale = 0.0, 1.0
    q = np.zeros(actions, np.float32)
    gains, errors, entropies, kl, clipped, distances = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    below = np.zeros(actions, np.float32)  # ln q_k - ln m_k
    for i in range(rows):
        if not counts[i]:
            d_value[i] = 0.0
            for k in range(actions):
                d_logits[i, k] = 0.0
            continue
        offset, entropy = policy_of(logits, legal, i, q)
        distance = distance_of(logits, legal, i, offset, q, magnet, below)
        a = action[i]
        log_ratio = (logits[i, a] - offset if legal[i, a] else -np.inf) - log_prob[i]
        ratio, gain = np.exp(log_ratio), (advantage[i] - mean) * scale
        least = min(gain * ratio, gain * min(max(ratio, 1.0 - clip), 1.0 + clip))
        w = weight[i] if weight.shape[0] > 0 else np.float32(1.0)
        by_log_prob = 0.0 if gain * ratio > least else -gain * ratio / count * w
        error = value[i] - target[i]
        gains += least * w
        errors += error * error * w
        entropies += entropy * w
        distances += distance * w
        kl += ratio - 1.0 - log_ratio
        clipped += abs(ratio - 1.0) > clip
        d_value[i] = 2.0 * vf_coef * error / count * w
        for k in range(actions):
            d_logits[i, k] = 0.0
            if legal[i, k]:
                by_entropy = ent_coef / count * w * (logits[i, k] - offset + entropy)
                by_magnet = magnet_coef / count * w * (below[k] - distance)
                d_logits[i, k] = q[k] * (by_entropy + by_magnet - by_log_prob)
        d_logits[i, a] += by_log_prob
    parts[1], parts[2], parts[3] = -gains / count, errors / count, -entropies / count
    parts[4], parts[5], parts[6] = kl / count, clipped / count, distances / count
    parts[0] = parts[1] + vf_coef * parts[2] + ent_coef * parts[3] + magnet_coef * parts[6]


loss_and_derivatives = _compiled(_loss)


def _compile_loss() -> None:
    numbers, line, double = _of(types.float32, 2), _of(types.float32, 1), types.float64
    played = _of(types.boolean, 2), _of(types.int64, 1), line, line, line, _of(types.boolean, 1)
    coefficients = double, types.boolean, double, double, double
    told = _of(double, 1)
    loss_and_derivatives.compile(
        (numbers, line, *played, numbers, line, *coefficients, told, numbers, line, told)
    )


class Moments(NamedTuple):
    """Of the decisions of a minibatch that count, wherever they are computed."""

    number: float
    """How many they are, at least 1."""
    mean: float
    """Of their advantages."""
    scale: float
    """1 over the deviation of their advantages."""


class Loss(NamedTuple):
    """A loss, and how one goes back from it."""

    loss: Tensor | None  # for autograd; None: its derivatives are here
    derivatives: tuple[Tensor, Tensor] | None  # by logits and values
    parts: dict[str, Any]  # numbers, or tensors without gradient

    def is_finite(self) -> bool:
        """It is a number."""
        value = self.parts["loss"]
        return bool(torch.isfinite(value)) if isinstance(value, Tensor) else math.isfinite(value)


def clipped_loss(
    logits: Tensor,
    value: Tensor,
    played: Sequence[Tensor],
    coefficients: tuple[float, bool, float, float, float],
    moments: Moments | None = None,
) -> Loss | None:
    """`agents.learn.ppo.ppo_loss` of one choice among actions; None if the kernel cannot tell.

    Args:
        logits: [N, A], unmasked; N stands for any leading dimensions.
        value: [N].
        played: legal, action, log_prob, advantage, target, counts, magnet and weight, see
            `agents.learn.ppo.Sample`.
        coefficients: clip_range, normalize_advantage, ent_coef, vf_coef, magnet_coef.
        moments: of the minibatch that these decisions are a part of; None: they are all of it.
    """
    if not (is_readable(logits) and is_readable(value)) or not usable("loss", _compile_loss):
        return None
    derivatives = torch.empty(logits.shape), torch.empty(value.shape)

    def flat(x: Tensor, *row: int) -> Any:
        return x.detach().numpy().reshape(-1, *row)

    A, (legal, *lines, magnet, weight) = logits.shape[-1], played
    drawn_to = magnet.new_empty(0, A) if magnet.dim() == 1 else magnet
    told = flat(logits, A), flat(value), flat(legal, A), *map(flat, lines), flat(drawn_to, A), flat(weight)
    d_logits, d_value = flat(derivatives[0], A), flat(derivatives[1])
    parts = np.empty(len(PARTS))
    given = OWN if moments is None else np.array(moments)
    loss_and_derivatives(*told, *coefficients, given, d_logits, d_value, parts)
    known = PARTS if coefficients[-1] > 0.0 else PARTS[:-1]
    return Loss(None, derivatives, dict(zip(known, parts.tolist(), strict=False)))


# ---------------------------------------------------------------- clipping and Adam


def _clip(gradients: Any, most: float) -> float:
    """Their norm [*, 2] of addresses and lengths; longer than `most` they are made that long."""
    total = 0.0
    for k in range(gradients.shape[0]):
        g = carray(floats_at(gradients[k, 0]), (gradients[k, 1],))
        for i in range(g.shape[0]):
            total += np.float64(g[i]) * np.float64(g[i])
    norm = np.sqrt(total)
    shrunk = np.float32(most / (norm + 1e-6))
    if not shrunk >= 1.0:
        for k in range(gradients.shape[0]):
            g = carray(floats_at(gradients[k, 0]), (gradients[k, 1],))
            for i in range(g.shape[0]):
                g[i] *= shrunk
    return float(norm)


def _adam(table: Any, lr: float, beta1: float, beta2: float, eps: float) -> None:
    """One step; a row of the table: addresses of weights, both moments, the count of steps and the gradient,
    and the length."""
    for k in range(table.shape[0]):
        shape = (table[k, 5],)
        p, g = carray(floats_at(table[k, 0]), shape), carray(floats_at(table[k, 4]), shape)
        m, v = carray(floats_at(table[k, 1]), shape), carray(floats_at(table[k, 2]), shape)
        steps = carray(floats_at(table[k, 3]), (1,))
        steps[0] += np.float32(1.0)
        rate = np.float32(lr / (1.0 - beta1 ** steps[0]))
        spread = np.float32(1.0 / np.sqrt(1.0 - beta2 ** steps[0]))
        new, square, least = np.float32(1.0 - beta1), np.float32(1.0 - beta2), np.float32(eps)
        kept = np.float32(beta2)
        for i in range(shape[0]):
            m[i] += new * (g[i] - m[i])
            v[i] = kept * v[i] + square * g[i] * g[i]
            p[i] -= rate * m[i] / (np.sqrt(v[i]) * spread + least)


clip, adam = _compiled(_clip, fastmath={"reassoc"}), _compiled(_adam)


def _compile_descent() -> None:
    table, double = _of(types.int64, 2), types.float64
    clip.compile((table, double))
    adam.compile((table, *[double] * 4))


def clip_gradients(parameters: Sequence[Tensor], most: float) -> Tensor | float:
    """torch's `clip_grad_norm_`: the norm of all gradients together before they were clipped to `most`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients or not all(map(is_readable, gradients)) or not usable("Adam", _compile_descent):
        return torch.nn.utils.clip_grad_norm_(parameters, most)
    table = np.array([(g.data_ptr(), g.numel()) for g in gradients], np.int64)
    return float(clip(table, float(most)))


class Adam(torch.optim.Adam):
    """torch's, a step in one compiled pass where all is float32 on the CPU; what it remembers is torch's."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """See torch."""
        table = None if closure is not None else self._table()
        if table is None:
            return self._plainly(closure)
        group = self.param_groups[0]
        adam(table, group["lr"], *group["betas"], group["eps"])
        return None

    def _plainly(self, closure: Any) -> Any:
        """torch's step. Its fused one takes for granted that a weight, its gradient and its moments lie alike
        in memory, and is silently wrong where they do not; then torch makes its plain one."""
        lying = [(p, p.grad, *self._moments(p)) for group in self.param_groups for p in group["params"]]
        if all(x is None or x.stride() == p.stride() for p, *others in lying for x in others):
            return super().step(closure)
        fused = [group["fused"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["fused"] = False
            return super().step(closure)
        finally:
            for group, was in zip(self.param_groups, fused, strict=True):
                group["fused"] = was

    def _moments(self, p: Tensor) -> tuple[Tensor, ...]:
        """What is remembered of a weight, in its shape."""
        known = self.state.get(p, {})
        return tuple(known[name] for name in ("exp_avg", "exp_avg_sq") if name in known)

    def _table(self) -> Any:
        """What `_adam` reads; None if torch has to make the step."""
        group, *others = self.param_groups
        unusual = ("amsgrad", "maximize", "weight_decay", "capturable", "differentiable")
        is_unusual = others or isinstance(group["lr"], Tensor) or any(group[name] for name in unusual)
        if is_unusual or not group["params"][0].is_cpu:
            return None
        kept: list[Tensor] = []
        for p in group["params"]:
            if p.grad is None:
                return None
            moments = self.state[p]
            if not moments:  # as torch begins; its first step would depend on the number of threads
                moments |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p)}
                moments["exp_avg_sq"] = torch.zeros_like(p)
            kept += (p, moments["exp_avg"], moments["exp_avg_sq"], moments["step"], p.grad)
        # A weight is the same tensor still where its memory is another: laid anew, or of another dtype.
        lying = [(x.data_ptr(), x.dtype, x.is_contiguous()) for x in kept]
        known = vars(self).get("_known")
        if known is not None and lying == known[1] and all(map(operator.is_, known[0], kept)):
            return known[2]
        if not all(map(is_readable, kept)) or not usable("Adam", _compile_descent):
            return None
        if any(p.numel() != m.numel() for p, m in zip(kept[::5], kept[1::5], strict=True)):
            return None
        table = np.empty((len(kept) // 5, 6), np.int64)
        table[:, :5] = np.array([x.data_ptr() for x in kept], np.int64).reshape(-1, 5)
        table[:, 5] = [p.numel() for p in kept[::5]]
        vars(self)["_known"] = kept, lying, table  # torch's copies and files of an optimiser leave it out
        return table
