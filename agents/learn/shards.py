"""Shards: the parts that a run is cut into for good, so that any number of processes can train it.

A shard has matches of its own, with the seeds that they would have in one batch of all, and draws of its own:
of the policy's actions, of who sits opposite, of minibatches and of dropout. So what it plays depends on its
number and on the weights alone. What an update takes of the whole rollout is a sum over shards, in order:

    gradient = sum_s g_s        g_s = sum over the shard's decisions / n,   n those of all shards that count

and likewise the moments of the advantages, the KL divergence that ends an update early, the parts of the loss
and the share of the variance explained. `agents.learn.group` hands each rank all the g_s; with one process
they are there already. Clipping comes once, after the sum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from agents.learn import kernels
from agents.learn.group import Group
from agents.learn.lanes import MatchLanes
from agents.learn.penalties import add_penalties
from agents.learn.ppo import (
    Minibatch,
    Order,
    Sample,
    check_finite,
    decisions_of,
    drift_of,
    follow,
    go_back,
    loss_of,
    minibatches,
    orders_of,
    warmed_up,
)
from agents.learn.rollout import TIMED, Collector, Rollout
from agents.learn.settings import Moment
from agents.net.policy import Memory, RecurrentPolicy
from agents.net.replay import Replayer
from agents.play.opposition import Opposition, below, set_generator
from envs import Batch, Game
from envs.seeds import derived_seed

LOOKED_AT: Final = 32
"""Matches, over all shards, that rank 0 sees of the latest rollout when it judges what the memory does."""


class Shard:
    """A part of a run's matches, and what is drawn for them.

    Args:
        number: 0..S - 1.
        batch: its matches.
        first: of all the run's matches these are numbers first, first + 1, ...
        seed: the run's.
        opposition: who sits opposite in them.
    """

    def __init__(
        self, number: int, batch: Batch, first: int, seed: int, opposition: Opposition | None
    ) -> None:
        self.number, self.opposition = number, opposition
        self.lanes = MatchLanes(batch, first)
        self.collector: Collector | None = None
        self.generator = torch.Generator(batch.device).manual_seed(derived_seed(seed, "draws", number))
        self.shuffler = torch.Generator().manual_seed(derived_seed(seed, "minibatches", number))
        noise = torch.Generator(batch.device).manual_seed(derived_seed(seed, "dropout", number))
        self.noise = noise.get_state()
        """Torch's own generator, as it stands for this shard."""

    @contextlib.contextmanager
    def noisy(self, policy: nn.Module) -> Iterator[None]:
        """Draw dropout from the shard's own numbers, if the policy has any."""
        if not any(isinstance(module, nn.Dropout) and module.p > 0.0 for module in policy.modules()):
            yield
            return
        device = self.lanes.device
        on_gpu = device.type == "cuda"
        before = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()
        put = (lambda x: torch.cuda.set_rng_state(x, device)) if on_gpu else torch.set_rng_state
        put(self.noise)
        try:
            yield
        finally:
            self.noise = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()
            put(before)

    def state_dict(self) -> dict[str, Tensor]:
        """How it goes on, as tensors; past selves' weights are `weights`, as all shards have the same."""
        state = {
            "generator": self.generator.get_state(),
            "shuffler": self.shuffler.get_state(),
            "noise": self.noise,
        }
        parts: dict[str, Mapping[str, Tensor]] = {"batch": self.lanes.state_dict()}
        if self.collector is not None:
            parts["collector"] = self.collector.state_dict()
        if self.opposition is not None:
            told = self.opposition.state_dict()
            parts["opposition"] = {name: x for name, x in told.items() if not name.startswith("weights.")}
        state |= {f"{part}.{name}": x for part, told in parts.items() for name, x in told.items()}
        return {name: x.detach().clone() for name, x in state.items()}

    def weights(self) -> dict[str, Tensor]:
        """Past selves' weights, by their numbers."""
        state = {} if self.opposition is None else self.opposition.state_dict()
        return below(state, "weights.")

    def load_state_dict(
        self,
        state: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        policy: RecurrentPolicy,
        collector: Collector,
        seed: int,
    ) -> bool:
        """Go on where `state_dict` was taken.

        Args:
            weights: of all past selves, by their numbers.
            policy: the pattern for the past selves.
            collector: of these matches, with nothing remembered.
            seed: of draws that cannot go on here.

        Returns:
            all draws go on.

        Raises:
            ValueError: it is the state of another shard.
        """
        self.lanes.load_state_dict(below(state, "batch."))
        self.collector = collector
        collector.load_state_dict(below(state, "collector."), policy)
        goes_on = True
        if self.opposition is not None:
            told = below(state, "opposition.")
            sitting = {name.split(".")[1] for name in told if name.startswith("player.")}
            past = {n: x for n, x in weights.items() if n.split(".")[0] in sitting}
            told |= {f"weights.{name}": x for name, x in past.items()}
            goes_on &= self.opposition.load_state_dict(
                told, policy, derived_seed(seed, "opposition", self.number)
            )
        noise = torch.Generator(self.lanes.device)
        for name, generator in (("generator", self.generator), ("shuffler", self.shuffler), ("noise", noise)):
            goes_on &= set_generator(generator, state, name, derived_seed(seed, name, self.number))
        self.noise = noise.get_state()
        return goes_on


@dataclasses.dataclass
class Shards:
    """A run that is cut into S shards, and the ones of them that this process plays."""

    number: int
    """S."""
    matches: int
    """Of all shards."""
    own: list[Shard]
    group: Group
    is_exact: bool = True
    """The shards' gradients are added in order; else in whatever order is fast."""

    def rows(self, mine: Sequence[Tensor]) -> Tensor:
        """What every shard tells, [S, n], of what the own ones do, each [n]."""
        return self.group.rows(torch.stack(list(mine)), self.number)

    def sums(self, mine: Sequence[Tensor]) -> Tensor:
        """The sum of what every shard tells, float64 [n], in order."""
        return in_order(self.rows(mine))


def in_order(rows: Tensor) -> Tensor:
    """The sum of rows [S, *], one after the other."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def cut(
    game: Game,
    matches: int,
    shards: int,
    device: str | torch.device,
    seed: int,
    group: Group,
    oppose: Callable[[int, int], Opposition | None] = lambda matches, seed: None,  # noqa: ARG005
    is_exact: bool = True,
) -> Shards:
    """Cut `matches` matches into shards, and make those of this process.

    Args:
        oppose: makes the opposition of so many matches from a seed.

    Raises:
        ValueError: the matches cannot be cut so, or there are more processes than shards.
    """
    if matches % shards:
        fits = [n for n in range(1, matches + 1) if matches % n == 0]
        raise ValueError(
            f"{matches} matches cannot be cut into {shards} shards of one size; shards must be one of "
            f"{', '.join(map(str, fits))}, or the matches a multiple of {shards}"
        )
    size, own = matches // shards, []
    for k in group.owned(shards):
        batch = Batch(game, size, device, seed)
        own.append(Shard(k, batch, k * size, seed, oppose(size, derived_seed(seed, "opponents", k))))
    group.use(own[0].lanes.device)
    return Shards(shards, matches, own, group, is_exact)


# ---------------------------------------------------------------- an update


def update_together(
    policy: RecurrentPolicy,
    optimizer: torch.optim.Optimizer,
    shards: Shards,
    rollouts: Sequence[Rollout],
    c: Moment,
    *,
    reward_scale: float = 1.0,
    potential: Callable[[Tensor], Tensor] | None = None,
    ema: RecurrentPolicy | None = None,
    ema_steps: int = 0,
) -> dict[str, float]:
    """`agents.learn.ppo.update` on the rollouts of all shards together; the same steps on every rank.

    Args:
        rollouts: of the own shards.
        c: the settings; its `batch_size` is that of all shards together.

    Raises:
        FloatingPointError: on every rank: the loss is not finite; the weights are those of the step before.
    """
    if c.batch_size is not None:
        c = dataclasses.replace(c, batch_size=c.batch_size // shards.number)
    told = c.gamma, c.gae_lambda, reward_scale, potential, c.shaping_coef, c.balance
    played = [decisions_of(rollout, *told) for rollout in rollouts]
    orders = [[*orders_of(r, c, shard.shuffler)] for r, shard in zip(rollouts, shards.own, strict=True)]
    moments, fit = _moments(shards, played, orders)
    parameters, replay = list(policy.parameters()), Replayer(policy)
    sums: dict[str, float] = {}
    drift, steps = 0.0, 0
    mine = [minibatches(r, p, o, c) for r, p, o in zip(rollouts, played, orders, strict=True)]
    for moment, batches in zip(moments, zip(*mine, strict=True), strict=True):
        gradients, parts, drifted = _go_back_together(
            replay, shards, rollouts, batches, c, moment, steps == 0
        )
        drift = max(drift, drifted)
        check_finite(kernels.Loss(None, None, parts))
        if c.target_kl is not None and parts["approx_kl"] > 1.5 * c.target_kl:
            break
        _put(parameters, gradients)
        add_penalties(parameters, c.l1_coef, c.l2_coef)
        norm = kernels.clip_gradients(parameters, c.max_grad_norm)
        optimizer.step()
        if ema is not None:
            follow(ema, policy, warmed_up(c.ema_decay, ema_steps + steps))
        steps += 1
        for name, part in (*parts.items(), ("grad_norm", float(norm))):
            sums[name] = sums.get(name, 0.0) + part
        del batches
    means = {name: total / max(steps, 1) for name, total in sums.items()}
    return means | {"replay_drift": drift, "explained_variance": fit, "steps": float(steps)}


def _moments(
    shards: Shards, played: Sequence[Sample], orders: Sequence[Sequence[Order]]
) -> tuple[list[kernels.Moments], float]:
    """Those of every minibatch, and the share of the targets' variance that the values explain.

    From sums of x and x^2 in float64: advantages and targets are of about the size of their deviations.
    """
    mine = []
    for sample, order in zip(played, orders, strict=True):
        advantage, target, value = (x.double() for x in (sample.advantage, sample.target, sample.value))
        error = target - value
        counted = sample.counts.double()
        columns = (torch.ones_like(error), advantage, advantage.square())
        by_match = torch.stack([(x * counted).sum(0) for x in columns], 1)  # [B, 3]
        all_of_it = [target, target.square(), error, error.square()]
        fits = torch.stack([(x * counted).sum() for x in all_of_it])
        batches = [by_match[rows].sum(0) for epoch in order for rows in epoch]
        mine.append(torch.cat([*batches, fits, counted.sum()[None]]))
    *batches, count = shards.sums(mine).tolist()
    t, tt, e, ee = (x / max(count, 1.0) for x in batches[-4:])
    spread, left = tt - t * t, ee - e * e
    fit = 1.0 - left / spread if spread > 0.0 else math.nan
    found = []
    for n, total, squares in zip(*(batches[k:-4:3] for k in range(3)), strict=True):
        n = max(n, 1.0)
        mean = total / n
        found.append(kernels.Moments(n, mean, 1.0 / (math.sqrt(max(squares / n - mean * mean, 0.0)) + 1e-8)))
    return found, fit


def _go_back_together(
    replay: Replayer,
    shards: Shards,
    rollouts: Sequence[Rollout],
    batches: Sequence[Minibatch],
    c: Moment,
    moments: kernels.Moments,
    is_first: bool,
) -> tuple[Tensor, dict[str, float], float]:
    """The gradient of all shards [n], the parts of their loss, and how far the first replay is off."""
    policy = replay.policy
    parameters = list(policy.parameters())
    gradients, told, names = [], [], []
    for shard, rollout, batch in zip(shards.own, rollouts, batches, strict=True):
        for parameter in parameters:
            parameter.grad = None
        with shard.noisy(policy):
            replayed = replay(batch.told)
            drift = drift_of(policy, rollout, batch, replayed) if is_first else 0.0
            loss = loss_of(policy.family, replayed, batch.sample, c, moments)
            go_back(replayed, loss)
        gradients.append(torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None]))
        names = ["drift", *loss.parts]
        numbers = [torch.as_tensor(x, dtype=torch.float64) for x in (drift, *loss.parts.values())]
        told.append(torch.stack([x.to(gradients[-1].device) for x in numbers]))
    if shards.is_exact:
        width = 8 * len(names)
        joined = [
            torch.cat([x.view(torch.uint8), g.view(torch.uint8)])
            for x, g in zip(told, gradients, strict=True)
        ]
        rows = shards.rows(joined)
        numbers_of_all = rows[:, :width].contiguous().view(torch.float64)
        gradient = in_order(rows[:, width:].contiguous().view(torch.float32))
    else:
        numbers_of_all = shards.rows(told)
        gradient = shards.group.total(in_order(torch.stack(gradients)))
    parts = dict(zip(names, in_order(numbers_of_all).tolist(), strict=True))
    del parts["drift"]
    return gradient, parts, float(numbers_of_all[:, 0].max())


def _put(parameters: Sequence[Tensor], gradient: Tensor) -> None:
    """Hand out a gradient [n] among the weights that have one."""
    begin = 0
    for p in parameters:
        if p.grad is not None:
            p.grad = gradient[begin : begin + p.numel()].view(p.shape)
            begin += p.numel()


# ---------------------------------------------------------------- what rank 0 sees of the matches


def looked_at(rollout: Rollout, shards: int) -> dict[str, Tensor]:
    """Some of a shard's matches, evenly spread, the end of the rollout before among it: tensors by name."""
    B = rollout.shape[1]
    every = math.ceil(B / max(1, LOOKED_AT // shards))
    rows = torch.arange(0, B, every, device=rollout.seat.device)
    told = _told(rollout, rows)
    if rollout.before is not None:
        told |= {f"before.{name}": x for name, x in _told(rollout.before, rows).items()}
    return told


def _told(rollout: Rollout, rows: Tensor) -> dict[str, Tensor]:
    timed = {name: getattr(rollout, name) for name in TIMED}
    told = {name: x[:, rows] if x.dim() > 1 else x for name, x in timed.items()}
    told |= {name: getattr(rollout, name)[rows] for name in AT_THE_END}
    memory = rollout.memory.select(rows)
    return told | {f"core.{k}": x for k, x in enumerate(memory.cores)} | {"remembered": memory.previous}


AT_THE_END: Final = ("next_seat", "next_value", "next_observation")


def together(told: Sequence[Mapping[str, Tensor]], device: torch.device) -> Rollout:
    """One rollout of what `looked_at` told of every shard."""
    cores = sum(name.startswith("core.") for name in told[0])

    def of(name: str, dim: int) -> Tensor:
        parts = [one[name].to(device) for one in told]
        return parts[0] if parts[0].dim() <= dim else torch.cat(parts, dim)

    plain: dict[str, Any] = {name: of(name, 1) for name in TIMED}
    plain |= {name: of(name, 0) for name in AT_THE_END}
    memory = Memory(tuple(of(f"core.{k}", 1) for k in range(cores)), of("remembered", 0))
    ends = [below(one, "before.") for one in told]
    before = together(ends, device) if ends[0] else None
    return Rollout(**plain, memory=memory, before=before)
