"""Proximal policy optimisation for policies with memory, masks and seats: the loss, and one update by it.

Plain functions on tensors; they know nothing of who calls them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from agents.learn import kernels, situations
from agents.learn.penalties import add_penalties
from agents.learn.returns import seat_advantages
from agents.learn.rollout import Rollout
from agents.learn.settings import Moment
from agents.net.distributions import Categorical, Family
from agents.net.policy import RecurrentPolicy
from agents.net.replay import Replay, Replayer, Told
from envs.core import Array


class Sample(NamedTuple):
    """Decisions the loss is taken over; N stands for any leading dimensions."""

    action: Tensor  # [N, *]
    legal: Tensor  # bool [N, M]
    log_prob: Tensor  # [N], when it was played
    distribution: Tensor  # [N, D], when it was played
    value: Tensor  # [N], when it was played
    magnet: Tensor  # [N, D], of the magnet; [0] = uniform over the legal actions
    advantage: Tensor  # [N]
    target: Tensor  # [N], of the value
    counts: Tensor  # bool [N], takes part in the loss
    weight: Tensor = torch.empty(0)  # [N], of the decisions that do, 1 on average; [0] = all weigh 1


def ppo_loss(
    family: Family,
    distribution: Tensor,
    value: Tensor,
    s: Sample,
    c: Moment,
    moments: kernels.Moments | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped objective (Schulman et al. 2017) with entropy, reverse-KL and magnet terms.

    Args:
        family: of the distributions.
        distribution: [N, D] of the learning policy; for Discrete log-probabilities, -inf where illegal.
        value: [N].
        s: the decisions as they were played.
        c: the settings at this moment of the run.
        moments: of the minibatch that these decisions are a part of; None: they are all of it. The losses of
            the parts add up to that of the whole.

    Returns:
        the loss and, without gradient, its parts by SB3's names.
    """
    counts = s.counts.to(value.dtype)
    weight = counts * s.weight if s.weight.numel() > 0 else counts
    count = counts.sum().clamp(min=1.0) if moments is None else moments.number

    def mean(x: Tensor) -> Tensor:
        return (x * counts).sum() / count

    def weighted(x: Tensor) -> Tensor:
        return (x * weight).sum() / count

    advantage = s.advantage
    if c.normalize_advantage and moments is not None:
        advantage = (advantage - moments.mean) * moments.scale
    elif c.normalize_advantage:
        centred = advantage - mean(advantage)
        advantage = centred / (mean(centred.square()).sqrt() + 1e-8)

    log_ratio = family.log_prob(distribution, s.action) - s.log_prob
    log_ratio = log_ratio.masked_fill(~s.counts, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - c.clip_range, 1.0 + c.clip_range)
    policy_loss = -weighted(torch.minimum(advantage * ratio, advantage * clipped))

    if c.clip_range_vf is not None:
        value = s.value + (value - s.value).clamp(-c.clip_range_vf, c.clip_range_vf)
    value_loss = weighted((s.target - value).square())

    entropy_mean = weighted(family.entropy(distribution))
    loss = policy_loss + c.vf_coef * value_loss - c.ent_coef * entropy_mean
    parts = {
        "policy_gradient_loss": policy_loss,
        "value_loss": value_loss,
        "entropy_loss": -entropy_mean,
        "approx_kl": mean(ratio - 1.0 - log_ratio),
        "clip_fraction": mean(((ratio - 1.0).abs() > c.clip_range).to(value.dtype)),
    }
    if c.kl_coef > 0.0:
        parts["kl_rollout"] = weighted(family.kl_divergence(distribution, s.distribution))
        loss = loss + c.kl_coef * parts["kl_rollout"]
    if c.magnet_coef > 0.0:
        if s.magnet.numel() > 0:
            parts["kl_magnet"] = weighted(family.kl_divergence(distribution, s.magnet))
        else:
            parts["kl_magnet"] = weighted(family.most_entropy(s.legal)) - entropy_mean
        loss = loss + c.magnet_coef * parts["kl_magnet"]
    return loss, {"loss": loss.detach()} | {name: part.detach() for name, part in parts.items()}


def evaluate(policy: RecurrentPolicy, rollout: Rollout, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Replay the matches `rows` (int64 [R]) of a rollout: distributions [T, R, D], values [T, R]."""
    outputs, value = _replay(policy, rollout, rows)
    return policy.family.normalise(outputs, rollout.legal[:, rows]), value


def _replay(policy: RecurrentPolicy, rollout: Rollout, rows: Tensor) -> tuple[Tensor, Tensor]:
    told = (getattr(rollout, name)[:, rows] for name in REPLAYED)
    outputs, value, _ = policy(*told, rollout.memory.select(rows).cores)
    return outputs, value


def replay_drift(policy: RecurrentPolicy, rollout: Rollout, rows: Tensor) -> Tensor:
    """Largest difference between play and replay, of distributions (where legal) and of values.

    The replay runs as in training, with gradients, but without dropout, which play does not have.
    """
    was_training = policy.training
    outputs, value = _replay(policy.eval(), rollout, rows)
    policy.train(was_training)
    was = (x[:, rows] for x in (rollout.distribution, rollout.value, rollout.legal))
    return _difference(policy.family, outputs, value, *was)


@torch.no_grad()
def _difference(
    family: Family, outputs: Tensor, value: Tensor, was: Tensor, value_was: Tensor, legal: Tensor
) -> Tensor:
    """The largest between distributions and values now and those that were, [...] of them, where legal."""
    changed = family.normalise(outputs, legal) - was
    if family.mask > 0:
        changed = changed.masked_fill(~legal, 0.0)
    return torch.maximum(changed.abs().max(), (value - value_was).abs().max())


def update(
    policy: RecurrentPolicy,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    c: Moment,
    *,
    reward_scale: float = 1.0,
    potential: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
    ema: RecurrentPolicy | None = None,
    ema_steps: int = 0,
) -> dict[str, float]:
    """Improve `policy` on one rollout, in place.

    A minibatch is a set of whole matches: gradients run through all T steps from the memory that was
    stored at the rollout's beginning. Decisions of the rollout before whose outcome shows only in this one
    count here, with the probabilities and values of the policy that played them; they are replayed from the
    memory of that time.

    Args:
        c: the settings at this moment of the run. A minibatch's `batch_size` is T times a divisor of B (None:
            all of it); carried decisions come on top.
        reward_scale: rewards are multiplied by it, so that values lie in about -1..1.
        potential: Phi, of observations [..., *] -> [...], see `envs.Game`; None = 0.
        generator: of the minibatches, on the CPU.
        ema: a copy of the policy whose weights follow with `c.ema_decay` per step, see `warmed_up`.
        ema_steps: gradient steps that it has followed before.

    Returns:
        means of the loss's parts over all steps, `replay_drift` before the first, the mean gradient
        norm before clipping, `explained_variance` and how many steps were made.

    Raises:
        FloatingPointError: the loss is not finite; the weights are those of the step before.
    """
    told = c.gamma, c.gae_lambda, reward_scale, potential, c.shaping_coef, c.balance
    played = decisions_of(rollout, *told)
    parameters, replay = list(policy.parameters()), Replayer(policy)
    sums: dict[str, Tensor | float] = {}
    drift, steps = None, 0
    for batch in minibatches(rollout, played, orders_of(rollout, c, generator), c):
        replayed = replay(batch.told)
        if drift is None:
            drift = drift_of(policy, rollout, batch, replayed)
        loss = check_finite(loss_of(policy.family, replayed, batch.sample, c))
        if c.target_kl is not None and bool(loss.parts["approx_kl"] > 1.5 * c.target_kl):
            break
        norm = _descend(parameters, optimizer, replayed, loss, c)
        if ema is not None:
            follow(ema, policy, warmed_up(c.ema_decay, ema_steps + steps))
        steps += 1
        for name, part in (*loss.parts.items(), ("grad_norm", norm)):
            sums[name] = sums[name] + part if name in sums else part
        del batch, replayed, loss  # before the next minibatch's come

    means = {name: float(total) / max(steps, 1) for name, total in sums.items()}
    chosen = played.counts.cpu().numpy()
    fit = explained_variance(played.value.cpu().numpy()[chosen], played.target.cpu().numpy()[chosen])
    drifted = float(drift) if drift is not None else 0.0
    return means | {"replay_drift": drifted, "explained_variance": float(fit), "steps": float(steps)}


LAID: Final = 2**16
"""Decisions that are laid in an epoch's order at once, or those of one minibatch: of a small record all, as
calls cost more there than memory."""


Order = tuple[Tensor, ...]
"""The matches of minibatches, each int64 [R]."""


class Minibatch(NamedTuple):
    """Whole matches [T, R, ...] of what an update looks at, the pieces one after the other in time."""

    rows: Tensor  # int64 [R], which of the matches
    told: Told
    sample: Sample


def orders_of(rollout: Rollout, c: Moment, generator: torch.Generator | None) -> Iterator[Order]:
    """The matches of the minibatches, shuffled anew for each epoch when it is asked for."""
    B = rollout.shape[1]
    size = (c.batch_size or rollout.shape[0] * B) // rollout.shape[0]
    for _ in range(c.n_epochs):
        yield torch.randperm(B, generator=generator).to(rollout.value.device).split(size)


def minibatches(rollout: Rollout, played: Sample, orders: Iterable[Order], c: Moment) -> Iterator[Minibatch]:
    """One after another, epoch by epoch; `LAID` says how many are laid in their order at once.

    The next ones stand where these stood: who keeps one keeps a copy.
    """
    pieces = pieces_of(rollout)
    T, B = played.value.shape
    size = (c.batch_size or rollout.shape[0] * B) // rollout.shape[0]
    many = max(1, LAID // (T * size))
    laid: _Laid | None = None
    for order in orders:
        for k in range(0, len(order), many):
            some = order[k : k + many]
            if laid is None or laid.sizes != [len(rows) for rows in some]:
                laid = _Laid(pieces, played, [len(rows) for rows in some])
            laid.lay(some)
            for rows, batch in zip(some, laid.minibatches, strict=True):
                yield batch._replace(rows=rows)


class _Laid:
    """Minibatches of so many matches each, side by side in memory."""

    def __init__(self, pieces: Sequence[Rollout], played: Sample, sizes: list[int]) -> None:
        self.sizes, rows = sizes, sum(sizes)
        (T, B), device = played.value.shape, played.value.device
        self._first = torch.arange(0, T * B, B, device=device)[:, None]
        self._copies: list[tuple[Tensor, Tensor]] = []  # decisions, from and to
        self._memories: list[tuple[Tensor, Tensor]] = []  # matches

        def cut(x: Tensor) -> list[Tensor]:
            if x.numel() == 0:  # no magnet, or a family without a mask
                return [x.new_empty(T, n, *x.shape[2:]) if x.dim() > 1 else x for n in sizes]
            whole = x.flatten(0, 1)
            self._copies.append((whole, laid := whole.new_empty(T * rows, *x.shape[2:])))
            parts = laid.split([T * n for n in sizes])
            return [part.view(T, -1, *x.shape[2:]) for part in parts]

        def cut_memory(x: Tensor) -> tuple[Tensor, ...]:
            laid = x.new_empty(x.shape[0], rows, *x.shape[2:])
            self._memories.append((x, laid))
            parts: tuple[Tensor, ...] = laid.split(sizes, 1)
            return parts

        told = [cut(torch.cat([getattr(piece, name) for piece in pieces])) for name in REPLAYED]
        samples = zip(*map(cut, played), strict=True)
        memories = [zip(*map(cut_memory, piece.memory.cores), strict=True) for piece in pieces]
        self.minibatches = []
        for asked, sample, *states in zip(zip(*told, strict=True), samples, *memories, strict=True):
            (observation, seat, previous, start), (cores, *later) = asked, states
            renewed = (len(pieces[0].seat), later[0]) if later else None
            what = Told(observation, seat, previous, start, cores, renewed)
            self.minibatches.append(Minibatch(self._first, what, Sample(*sample)))

    def lay(self, order: Sequence[Tensor]) -> None:
        """The minibatches of these matches, each int64 [R]."""
        index = torch.cat([(self._first + rows).flatten() for rows in order])
        for x, laid in self._copies:
            torch.index_select(x, 0, index, out=laid)
        shuffled = torch.cat(tuple(order))
        for x, laid in self._memories:
            torch.index_select(x, 1, shuffled, out=laid)


REPLAYED = ("observation", "seat", "previous", "start")
"""What a policy is told of a rollout's decisions."""


def drift_of(policy: RecurrentPolicy, rollout: Rollout, batch: Minibatch, replayed: Replay) -> Tensor:
    """`replay_drift` over the rollout's decisions, from the replay just made where that shows it."""
    if any(isinstance(module, nn.Dropout) and module.p > 0.0 for module in policy.modules()):
        return replay_drift(policy, rollout, batch.rows)
    s, k = batch.sample, 0 if batch.told.renewed is None else batch.told.renewed[0]
    now = replayed.outputs[k:], replayed.value[k:]
    return _difference(policy.family, *now, s.distribution[k:], s.value[k:], s.legal[k:])


def loss_of(
    family: Family, replayed: Replay, s: Sample, c: Moment, moments: kernels.Moments | None = None
) -> kernels.Loss:
    """The loss over a minibatch, or over the part of one with these `moments`."""
    outputs, value, found = replayed.outputs, replayed.value, None
    if type(family) is Categorical and c.clip_range_vf is None and c.kl_coef == 0.0:
        played = s.legal, s.action, s.log_prob, s.advantage, s.target, s.counts, s.magnet, s.weight
        coefficients = c.clip_range, c.normalize_advantage, c.ent_coef, c.vf_coef, c.magnet_coef
        found = kernels.clipped_loss(outputs, value, played, coefficients, moments)
    if found is None:
        loss, parts = ppo_loss(family, family.normalise(outputs, s.legal), value, s, c, moments)
        found = kernels.Loss(loss, None, parts)
    return found


def check_finite(loss: kernels.Loss) -> kernels.Loss:
    """The loss itself.

    Raises:
        FloatingPointError: it is not finite.
    """
    if not loss.is_finite():
        raise FloatingPointError(
            "the loss is no longer finite; a smaller learning_rate or max_grad_norm may help"
        )
    return loss


def _descend(
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    replayed: Replay,
    loss: kernels.Loss,
    c: Moment,
) -> Tensor | float:
    """One gradient step, penalties added; returns the gradient's norm before it was clipped."""
    if replayed.back is None:  # else all are written anew
        for parameter in parameters:
            parameter.grad = None
    go_back(replayed, loss)
    add_penalties(parameters, c.l1_coef, c.l2_coef)
    norm = kernels.clip_gradients(parameters, c.max_grad_norm)
    optimizer.step()
    return norm


def go_back(replayed: Replay, loss: kernels.Loss) -> None:
    """The gradients of all weights."""
    ends, derivatives = (replayed.outputs, replayed.value), loss.derivatives
    if loss.loss is not None:
        loss.loss.backward()
        if replayed.back is not None:  # the ends are leaves
            outputs, value = (torch.zeros_like(x) if x.grad is None else x.grad for x in ends)
            derivatives = outputs, value
    if replayed.back is not None and derivatives is not None:
        replayed.back(*derivatives)
    elif derivatives is not None:
        torch.autograd.backward(ends, derivatives)


def pieces_of(rollout: Rollout) -> list[Rollout]:
    """What an update looks at: the end of the rollout before, if there was one, and the rollout."""
    return [rollout] if rollout.before is None else [rollout.before, rollout]


def decisions_of(
    rollout: Rollout,
    gamma: float,
    gae_lambda: float,
    reward_scale: float = 1.0,
    potential: Callable[[Tensor], Tensor] | None = None,
    shaping_coef: float = 0.0,
    balance: float = 0.0,
) -> Sample:
    """The decisions of `pieces_of(rollout)`, one piece after the other, with what `update` learns from them.

    Over all updates a decision counts once: as soon as its outcome is known, and if it is the policy's own.
    """
    pieces = pieces_of(rollout)

    def all_of(name: str) -> Tensor:
        return torch.cat([getattr(piece, name) for piece in pieces])

    value, next_value = all_of("value"), rollout.next_value
    shaped = value
    if potential is not None and shaping_coef > 0.0:
        both = [shaped_values(piece, potential, shaping_coef) for piece in pieces]
        shaped, next_value = torch.cat([values for values, _ in both]), both[-1][1]
    advantage, counts = seat_advantages(
        all_of("reward") * reward_scale + gamma * all_of("bootstrap")[..., None],
        shaped,
        all_of("seat"),
        all_of("over"),
        next_value,
        rollout.next_seat,
        gamma,
        gae_lambda,
        carried=len(value) - len(rollout.value),
    )
    counts = counts & all_of("is_own")
    situation = all_of("situation")
    is_balanced = balance > 0.0 and situation.numel() > 0
    return Sample(
        all_of("action"),
        all_of("legal"),
        all_of("log_prob"),
        all_of("distribution"),
        value,
        all_of("magnet"),
        advantage,
        advantage + value,
        counts,
        situations.weights_of(situation, counts, balance) if is_balanced else value.new_empty(0),
    )


def shaped_values(
    rollout: Rollout, potential: Callable[[Tensor], Tensor], shaping_coef: float
) -> tuple[Tensor, Tensor]:
    """Values with the potential added, for advantages as if the rewards were shaped.

    Shaping (Ng, Harada & Russell 1999) adds to what a seat earns from its decision d up to its next one

        F_d = gamma c Phi(o_{d+1}) - c Phi(o_d),        Phi = 0 after the match's end,

    where o_d is what it sees there: over a match its sum telescopes to -c Phi(o_0) (gamma = 1), which no
    decision changes, so the best policies stay the best. With values V of the shaped rewards,

        delta_d = R_d + F_d + gamma V_{d+1} - V_d = R_d + gamma (V_{d+1} + c Phi_{d+1}) - (V_d + c Phi_d):

    the advantages of the rewards as they are, with V + c Phi in place of V (Wiewiora 2003). So nothing else
    needs to know: rewards and returns stay what the game pays.

    Returns:
        `value` [T, B] and `next_value` [B] of the rollout, c Phi added.
    """
    value = rollout.value + shaping_coef * potential(rollout.observation)
    return value, rollout.next_value + shaping_coef * potential(rollout.next_observation)


@torch.no_grad()
def follow(ema: RecurrentPolicy, policy: RecurrentPolicy, decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * policy, weight by weight."""
    torch._foreach_lerp_(list(ema.parameters()), list(policy.parameters()), 1.0 - decay)


def warmed_up(decay: float, steps: int) -> float:
    """The decay of an average that has followed `steps` gradient steps: min(decay, (1 + t) / (5 + t)).

    So an average forgets the random weights it began with: it is about that of the latest fifth of all
    steps, until at t = (5 decay - 1) / (1 - decay) (3,995 for 0.999) it becomes the plain one.
    """
    return min(decay, (1.0 + steps) / (5.0 + steps))


def explained_variance(value: Array, target: Array) -> float:
    """Share of the targets' variance that the values [N] explain: 1 all, 0 none; NaN if there is none."""
    variance = target.var()
    return float(1.0 - (target - value).var() / variance) if variance > 0.0 else math.nan
