"""Proximal policy optimisation for policies with memory, masks and seats.

`ppo_loss` and `update` are plain functions on tensors. `MaskableRecurrentPPO` is the face that makes
Stable-Baselines3's `learn`, callbacks and logger work.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import (
    configure_logger,
    explained_variance,
    safe_mean,
    set_random_seed,
)
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor, nn

from agents import checkpoint, normalizer
from agents.distributions import Family
from agents.players import untold_seat
from agents.policy import ACTIVATIONS, Memory, RecurrentPolicy
from agents.returns import seat_advantages
from agents.rollout import Collector, Rollout
from agents.schedules import Schedule
from agents.selfplay import Opposition
from agents.worlds import VecWorld, World, check_masks, check_observations
from envs import Batch, Game


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """What the loss weighs with, at one moment of the run. Names are SB3's where it has them."""

    clip_range: float = 0.2
    clip_range_vf: float | None = None
    normalize_advantage: bool = True
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    kl_coef: float = 0.0  # reverse KL to the policy that played
    magnet_coef: float = 0.0  # KL to the magnet


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


def ppo_loss(
    family: Family, distribution: Tensor, value: Tensor, s: Sample, c: Coefficients
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped objective (Schulman et al. 2017) with entropy, reverse-KL and magnet terms.

    Args:
        family: of the distributions.
        distribution: [N, D] of the learning policy; for Discrete log-probabilities, -inf where illegal.
        value: [N].
        s: the decisions as they were played.
        c: the coefficients.

    Returns:
        the loss and, without gradient, its parts by SB3's names.
    """
    weight = s.counts.to(value.dtype)
    count = weight.sum().clamp(min=1.0)

    def mean(x: Tensor) -> Tensor:
        return (x * weight).sum() / count

    advantage = s.advantage
    if c.normalize_advantage:
        centred = advantage - mean(advantage)
        advantage = centred / (mean(centred.square()).sqrt() + 1e-8)

    log_ratio = family.log_prob(distribution, s.action) - s.log_prob
    log_ratio = log_ratio.masked_fill(~s.counts, 0.0)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - c.clip_range, 1.0 + c.clip_range)
    policy_loss = -mean(torch.minimum(advantage * ratio, advantage * clipped))

    if c.clip_range_vf is not None:
        value = s.value + (value - s.value).clamp(-c.clip_range_vf, c.clip_range_vf)
    value_loss = mean((s.target - value).square())

    entropy_mean = mean(family.entropy(distribution))
    loss = policy_loss + c.vf_coef * value_loss - c.ent_coef * entropy_mean
    parts = {
        "policy_gradient_loss": policy_loss,
        "value_loss": value_loss,
        "entropy_loss": -entropy_mean,
        "approx_kl": mean(ratio - 1.0 - log_ratio),
        "clip_fraction": mean(((ratio - 1.0).abs() > c.clip_range).to(value.dtype)),
    }
    if c.kl_coef > 0.0:
        parts["kl_rollout"] = mean(family.kl_divergence(distribution, s.distribution))
        loss = loss + c.kl_coef * parts["kl_rollout"]
    if c.magnet_coef > 0.0:
        if s.magnet.numel() > 0:
            parts["kl_magnet"] = mean(family.kl_divergence(distribution, s.magnet))
        else:
            parts["kl_magnet"] = mean(family.most_entropy(s.legal)) - entropy_mean
        loss = loss + c.magnet_coef * parts["kl_magnet"]
    return loss, {"loss": loss.detach()} | {name: part.detach() for name, part in parts.items()}


def evaluate(policy: RecurrentPolicy, rollout: Rollout, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Replay the matches `rows` (int64 [R]) of a rollout: distributions [T, R, D], values [T, R]."""
    outputs, value, _ = policy(
        rollout.observation[:, rows],
        rollout.seat[:, rows],
        rollout.previous[:, rows],
        rollout.start[:, rows],
        rollout.memory.select(rows).cores,
    )
    return policy.family.normalise(outputs, rollout.legal[:, rows]), value


def replay_drift(policy: RecurrentPolicy, rollout: Rollout, rows: Tensor) -> Tensor:
    """Largest difference between play and replay, of distributions (where legal) and of values.

    The replay runs as in training, with gradients, but without dropout, which play does not have.
    """
    was_training = policy.training
    distribution, value = (x.detach() for x in evaluate(policy.eval(), rollout, rows))
    policy.train(was_training)
    changed = distribution - rollout.distribution[:, rows]
    if policy.family.mask > 0:
        changed = changed.masked_fill(~rollout.legal[:, rows], 0.0)
    return torch.maximum(changed.abs().max(), (value - rollout.value[:, rows]).abs().max())


def update(
    policy: RecurrentPolicy,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    coefficients: Coefficients,
    *,
    n_epochs: int,
    batch_size: int,
    gamma: float,
    gae_lambda: float,
    max_grad_norm: float,
    target_kl: float | None = None,
    reward_scale: float = 1.0,
    potential: Callable[[Tensor], Tensor] | None = None,
    shaping_coef: float = 0.0,
    generator: torch.Generator | None = None,
    ema: RecurrentPolicy | None = None,
    ema_decay: float = 0.0,
) -> dict[str, float]:
    """Improve `policy` on one rollout, in place.

    A minibatch is a set of whole matches: gradients run through all T steps from the memory that was
    stored at the rollout's beginning.

    Args:
        batch_size: decisions in a minibatch; T times a divisor of B.
        reward_scale: rewards are multiplied by it, so that values lie in about -1..1.
        potential: Phi, of observations [..., *] -> [...], see `envs.Game`; None = 0.
        shaping_coef: c of the shaping, see `shaped_values`.
        generator: of the minibatches, on the CPU.
        ema: a copy of the policy whose weights follow with `ema_decay` per step.
        target_kl: stop early once `approx_kl` exceeds 1.5 times this (None: never).

    Returns:
        means of the loss's parts over all steps, `replay_drift` before the first, the mean gradient
        norm before clipping, `explained_variance` and how many steps were made.

    Raises:
        FloatingPointError: the loss is not finite; the weights are those of the step before.
    """
    T, B = rollout.shape
    value, next_value = rollout.value, rollout.next_value
    if potential is not None and shaping_coef > 0.0:
        value, next_value = shaped_values(rollout, potential, shaping_coef)
    advantage, known = seat_advantages(
        rollout.reward * reward_scale + gamma * rollout.bootstrap[..., None],
        value,
        rollout.seat,
        rollout.over,
        next_value,
        rollout.next_seat,
        gamma,
        gae_lambda,
    )
    counts = known & rollout.is_own
    target = advantage + rollout.value
    device = rollout.value.device

    sums: dict[str, Tensor] = {}
    drift, steps, stop = None, 0, False
    for _ in range(n_epochs):
        for shuffled in torch.randperm(B, generator=generator).split(batch_size // T):
            rows = shuffled.to(device)
            if drift is None:
                drift = replay_drift(policy, rollout, rows)
            distribution, value = evaluate(policy, rollout, rows)
            sample = Sample(
                rollout.action[:, rows],
                rollout.legal[:, rows],
                rollout.log_prob[:, rows],
                rollout.distribution[:, rows],
                rollout.value[:, rows],
                rollout.magnet[:, rows] if rollout.magnet.numel() > 0 else rollout.magnet,
                advantage[:, rows],
                target[:, rows],
                counts[:, rows],
            )
            loss, parts = ppo_loss(policy.family, distribution, value, sample, coefficients)
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    "the loss is no longer finite; a smaller learning_rate or max_grad_norm may help"
                )
            stop = target_kl is not None and bool(parts["approx_kl"] > 1.5 * target_kl)
            if stop:
                break
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            parts["grad_norm"] = nn.utils.clip_grad_norm_(policy.parameters(), max_grad_norm)
            optimizer.step()
            if ema is not None:
                follow(ema, policy, ema_decay)
            steps += 1
            for name, part in parts.items():
                sums[name] = sums[name] + part if name in sums else part
        if stop:
            break

    means = {name: float(total) / max(steps, 1) for name, total in sums.items()}
    chosen = counts.cpu().numpy()
    fit = explained_variance(rollout.value.cpu().numpy()[chosen], target.cpu().numpy()[chosen])
    return means | {
        "replay_drift": float(drift) if drift is not None else 0.0,
        "explained_variance": float(fit),
        "steps": float(steps),
    }


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


class MaskableRecurrentPPO(BaseAlgorithm):
    """PPO with memory and masks; a Stable-Baselines3 algorithm.

        model = MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(envs.make("kuhn_poker"), 64),
                                     policy_kwargs={"cell": "gated"})     # self-play
        model = MaskableRecurrentPPO("MlpLstmPolicy", "CartPole-v1")      # a Gymnasium world
        model.learn(100_000)

    Arguments, callbacks and logger are SB3's; what is new:

    Args:
        policy: "MlpLstmPolicy", "CnnLstmPolicy" or "MultiInputLstmPolicy" (the encoder follows the
            observation space whichever is named), or a subclass of `RecurrentPolicy`.
        env: a `Batch`: the policy plays all its seats, each with its own memory. Or what SB3 takes: a
            Gymnasium env, its id, or a `VecEnv`. Masks are found as MaskablePPO finds them, by
            `action_masks()`; worlds without it allow everything.
        learning_rate, clip_range, ent_coef, kl_coef, magnet_coef, shaping_coef: a number or a schedule
            (`Schedule`).
        n_steps: T, decisions of each match in a rollout.
        batch_size: decisions in a minibatch, a multiple of `n_steps` that divides the rollout.
        kl_coef: weight of the reverse KL to the policy that played.
        magnet_coef: weight of the KL to the magnet.
        magnet: "uniform" (over the legal actions), "snapshot" (the policy as it was at the latest
            multiple of `magnet_every` updates) or "ema".
        shaping_coef: weight of the game's potential in the shaping of rewards, see `shaped_values`; in units
            of the highest return. Rewards that are logged and matches that judge know nothing of it.
        ema_decay: keep `model.ema`, a copy whose weights follow with this decay per gradient step.
        opposition: gives a share of the matches to past selves or fixed players.
        snapshot_every: updates between two past selves added to the opposition's pool.
        policy_kwargs: arguments of `RecurrentPolicy`.

    One timestep is one decision, so an update uses `n_steps` times the number of matches or worlds.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {
        "MlpLstmPolicy": RecurrentPolicy,
        "CnnLstmPolicy": RecurrentPolicy,
        "MultiInputLstmPolicy": RecurrentPolicy,
    }
    policy: RecurrentPolicy  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[RecurrentPolicy],
        env: Batch | VecEnv | gymnasium.Env[Any, Any] | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 128,
        batch_size: int = 128,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | None = None,
        normalize_advantage: bool = True,
        ent_coef: float | Schedule = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
        kl_coef: float | Schedule = 0.0,
        magnet_coef: float | Schedule = 0.0,
        magnet: Literal["uniform", "snapshot", "ema"] = "uniform",
        magnet_every: int = 100,
        shaping_coef: float | Schedule = 0.0,
        ema_decay: float = 0.0,
        opposition: Opposition | None = None,
        snapshot_every: int = 50,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
    ) -> None:
        super().__init__(
            policy,  # type: ignore[arg-type]
            None,
            learning_rate,
            _with_names(policy_kwargs),
            stats_window_size,
            tensorboard_log,
            verbose,
            env.device if isinstance(env, Batch) and device == "auto" else device,
            seed=seed,
        )
        if magnet not in ("uniform", "snapshot", "ema"):
            raise ValueError(f"magnet must be 'uniform', 'snapshot' or 'ema', got {magnet!r}")
        if not 0.0 <= ema_decay < 1.0:
            raise ValueError(f"ema_decay must be in 0..1, below 1, got {ema_decay}")
        if magnet == "ema" and ema_decay == 0.0:
            raise ValueError("magnet='ema' needs an ema_decay above 0")
        self.n_steps, self.batch_size, self.n_epochs = n_steps, batch_size, n_epochs
        self.gamma, self.gae_lambda = gamma, gae_lambda
        self.clip_range, self.clip_range_vf = clip_range, clip_range_vf
        self.normalize_advantage, self.vf_coef = normalize_advantage, vf_coef
        self.ent_coef, self.kl_coef, self.magnet_coef = ent_coef, kl_coef, magnet_coef
        self.max_grad_norm, self.target_kl = max_grad_norm, target_kl
        self.magnet_kind, self.magnet_every, self.ema_decay = magnet, magnet_every, ema_decay
        self.shaping_coef = shaping_coef
        self.opposition, self.snapshot_every = opposition, snapshot_every
        self._predictions = 0  # calls of predict that began in the middle of nothing
        self.statistics: dict[str, Tensor] | None = None
        """Of a `VecNormalize`, from a file, until an env holds them."""
        self.ema: RecurrentPolicy | None = None
        self.magnet: RecurrentPolicy | None = None
        self.collector: Collector | None = None
        self.rollout: Rollout | None = None
        """The latest rollout it learned from."""
        self.game: Game | World
        """What it plays."""
        self.world: Batch | VecWorld | None = None
        if env is not None:
            self.set_env(env)

    @property
    def batch(self) -> Batch:
        """The matches it learns from."""
        if not isinstance(self.world, Batch):
            raise ValueError("the model has no matches of a game; give it a Batch with set_env")
        return self.world

    def set_env(self, env: Batch | VecEnv | gymnasium.Env[Any, Any] | str, force_reset: bool = True) -> None:
        """Learn from these; from the second time on they must be of the same game or have the same spaces."""
        is_new = not hasattr(self, "game")
        if isinstance(env, Batch):
            world: Batch | VecWorld = env
            game: Game | World = env.game
        else:
            if not isinstance(env, (VecEnv, gymnasium.Env, str)):
                raise ValueError(
                    f"env must be a Batch, a Gymnasium env, its id or a VecEnv, got {type(env).__name__}"
                )
            env = maybe_make_env(env, self.verbose)
            check_observations(env.observation_space)
            env = self._wrap_env(env, self.verbose)
            normalizer.check_wrappers(env)
            world = VecWorld(env, self.device)
            game = world.world
        if not is_new and game != self.game:
            raise ValueError(f"the model plays {self.game}, got an env of {game}")
        self._check_sizes(world.matches)
        if isinstance(world, VecWorld):
            if not is_new:
                normalizer.hand_on(self, world.env)
                self.game = game  # the same spaces; which entries come scaled is told by the env
            self._vec_normalize_env = unwrap_vec_normalize(world.env)
        self.env, self.world, self.n_envs = env, world, world.matches  # type: ignore[assignment]
        if is_new:
            self.begin(game)
        if force_reset:
            self.collector = None

    def begin(self, game: Game | World) -> None:
        """Make the networks for `game`; `set_env` does it for the first env."""
        self.game = game
        self.potential = game.potential if isinstance(game, Game) else None
        if self.potential is None and _at(self.shaping_coef, 1.0) > 0.0:
            raise ValueError(f"{game.name} has no potential to shape rewards with: shaping_coef must be 0")
        self.observation_space = game.observation_space
        self.action_space = game.action_space if isinstance(game, World) else spaces.Discrete(game.actions)
        self._setup_model()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "MaskableRecurrentPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> MaskableRecurrentPPO:
        """Train for `total_timesteps` decisions, rounded up to whole rollouts; SB3's `learn`."""
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        iteration = 0
        while self.num_timesteps < total_timesteps:
            rollout = self._collect(callback)
            if rollout is None:
                break
            self.rollout = rollout
            iteration += 1
            # The last rollout may go beyond the end; a schedule may not.
            self._update_current_progress_remaining(min(self.num_timesteps, total_timesteps), total_timesteps)
            self.train(rollout)
            if iteration % log_interval == 0:
                self._log(iteration, rollout)
        callback.on_training_end()
        return self

    def train(self, rollout: Rollout) -> None:
        """One update from one rollout."""
        progress = self._current_progress_remaining
        learning_rate = _at(self.learning_rate, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        coefficients = Coefficients(
            clip_range=_at(self.clip_range, progress),
            clip_range_vf=self.clip_range_vf,
            normalize_advantage=self.normalize_advantage,
            ent_coef=_at(self.ent_coef, progress),
            vf_coef=self.vf_coef,
            kl_coef=_at(self.kl_coef, progress),
            magnet_coef=_at(self.magnet_coef, progress),
        )
        shaping_coef = _at(self.shaping_coef, progress)
        self.policy.train()
        parts = update(
            self.policy,
            self.optimizer,
            rollout,
            coefficients,
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            max_grad_norm=self.max_grad_norm,
            target_kl=self.target_kl,
            reward_scale=self.reward_scale,
            potential=self.potential,
            shaping_coef=shaping_coef,
            generator=self.shuffler,
            ema=self.ema,
            ema_decay=self.ema_decay,
        )
        self.policy.eval()
        self._n_updates += 1
        if (
            self.magnet_kind == "snapshot"
            and self.magnet is not None
            and self._n_updates % self.magnet_every == 0
        ):
            follow(self.magnet, self.policy, 0.0)
        if self.opposition is not None and self._n_updates % self.snapshot_every == 0:
            self.opposition.add(self.policy, f"past self {self.num_timesteps}")

        parts.pop("steps")
        for name, value in parts.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/learning_rate", learning_rate)
        self.logger.record("train/clip_range", coefficients.clip_range)
        self.logger.record("train/ent_coef", coefficients.ent_coef)
        if self.potential is not None:
            self.logger.record("train/shaping_coef", shaping_coef)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]],
        state: Memory | None = None,
        episode_start: np.ndarray[Any, Any] | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray[Any, Any] | None = None,
        seat: np.ndarray[Any, Any] | int | None = None,
    ) -> tuple[np.ndarray[Any, Any], Memory]:
        """SB3's `predict`, with masks and seats. `agents.Agent` keeps the state by itself.

        Args:
            observation: [B, ...], or one without B; of a Dict space a dict of such.
            state: what the call before returned; None = nothing seen yet.
            episode_start: bool [B], a new match begins.
            action_masks: bool [B, A], of MultiDiscrete component after component; None = all legal. Each
                must leave an action, or ValueError.
            seat: int [B] or one for all, who decides; None only where there is one seat.

        Returns:
            actions [B] (or one without B; of Box within its bounds) and the next state.
        """
        world = (
            self.game if isinstance(self.game, World) else World(self.observation_space, self.action_space)
        )
        seen, is_single = world.pack(observation)
        B = len(seen)
        self._warn_of_forgotten_state(state, episode_start)
        memory = self.policy.initial_memory(B) if state is None else state
        start = torch.zeros(B, dtype=torch.bool, device=self.device)
        if episode_start is not None:
            start |= torch.as_tensor(episode_start, device=self.device).bool()
        legal = torch.ones(B, self.policy.family.mask, dtype=torch.bool, device=self.device)
        if action_masks is not None:
            masks = torch.as_tensor(np.asarray(action_masks), device=self.device).bool()
            if masks.numel() != legal.numel():
                raise ValueError(
                    f"expected action_masks of shape {tuple(legal.shape)}, got {tuple(masks.shape)}"
                )
            legal = masks.reshape(legal.shape)
            check_masks(self.policy.family, legal)
        if seat is None and self.policy.seats > 1:
            raise ValueError(untold_seat("the model", self.game))
        seats = torch.as_tensor(0 if seat is None else seat, device=self.device).long().expand(B)
        seen = seen.to(self.device)
        decision, memory = self.policy.act(seen, legal, seats, start, memory, self.generator, deterministic)
        actions = world.clip(decision.action.cpu().numpy())
        return (actions[0] if is_single else actions), memory

    def _warn_of_forgotten_state(self, state: Memory | None, episode_start: Any) -> None:
        """Warn once if `predict` is called again as if nothing had been seen, within an episode."""
        begins = episode_start is not None and bool(np.all(episode_start))
        if state is None and not begins:
            if self._predictions == 1:
                warnings.warn(
                    "predict was called again without the state it returned: the agent forgets everything "
                    "at each call. Pass state and episode_start, or use agents.load(path).act, which "
                    "remembers by itself",
                    stacklevel=3,
                )
            self._predictions += 1

    def save(self, path: str | Path, exclude: Any = None, include: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Write everything needed to go on into one `.zip` file; see `agents.checkpoint`."""
        checkpoint.save_zip(self, path)

    @classmethod
    def load(  # type: ignore[override]
        cls,
        path: str | Path,
        env: Batch | VecEnv | gymnasium.Env[Any, Any] | None = None,
        device: torch.device | str = "auto",
        **changes: Any,
    ) -> MaskableRecurrentPPO:
        """Read what `save` wrote; `changes` replace saved arguments.

        Without `env` the matches of a game go on where they were; a model of a Gymnasium world can then
        predict, and learns once it has `set_env`.
        """
        return checkpoint.load_model(path, cls, env, device, changes)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the policies' weights that decides how training goes on, as tensors."""
        state = {
            "num_timesteps": torch.tensor(self.num_timesteps),
            "n_updates": torch.tensor(self._n_updates),
            "generator": self.generator.get_state(),
            "shuffler": self.shuffler.get_state(),
            "torch": torch.get_rng_state(),
        }
        state |= checkpoint.optimizer_state(self.optimizer, self.policy)
        if self.collector is not None and isinstance(self.world, Batch):  # worlds cannot be saved
            state |= {f"collector.{name}": x for name, x in self.collector.state_dict().items()}
        return {name: x.detach().clone() for name, x in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""
        self.num_timesteps = int(state["num_timesteps"])
        self._n_updates = int(state["n_updates"])
        self.generator.set_state(state["generator"].cpu())
        self.shuffler.set_state(state["shuffler"].cpu())
        torch.set_rng_state(state["torch"].cpu())
        checkpoint.load_optimizer_state(self.optimizer, self.policy, state)
        collected = {n.removeprefix("collector."): x for n, x in state.items() if n.startswith("collector.")}
        if collected:
            self.collector = Collector(self.batch, self.policy, self.opposition)
            self.collector.load_state_dict(collected, self.policy)

    def _setup_model(self) -> None:
        game = self.game
        seed = self.seed if self.seed is not None else int(torch.seed() % 2**31)
        set_random_seed(seed)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.shuffler = torch.Generator().manual_seed(seed)
        if isinstance(game, World):
            self.reward_scale = 1.0  # rewards are the user's to scale, e.g. by VecNormalize
            if self.env is not None and self.seed is not None:
                self.env.seed(self.seed)
        else:
            self.reward_scale = 1.0 / max(abs(bound) for bound in game.return_range)
        policy_class: Any = self.policy_class
        self.policy = policy_class(
            self.observation_space, self.action_space, game.seats, **self.policy_kwargs
        ).to(self.device)
        self.policy.eval()
        # Adam's epsilon as in the reference implementations of PPO.
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(), _at(self.learning_rate, 1.0), eps=1e-5, fused=True
        )
        if self.ema_decay > 0.0:
            self.ema = copy.deepcopy(self.policy).requires_grad_(False)
        if self.magnet_kind == "snapshot":
            self.magnet = copy.deepcopy(self.policy).requires_grad_(False)
        elif self.magnet_kind == "ema":
            self.magnet = self.ema

    def _setup_learn(  # type: ignore[override]
        self,
        total_timesteps: int,
        callback: MaybeCallback,
        reset_num_timesteps: bool,
        tb_log_name: str,
        progress_bar: bool,
    ) -> tuple[int, BaseCallback]:
        if self.world is None:
            raise ValueError("the model has nothing to learn from; give it an env with set_env")
        self.start_time = time.time_ns()
        self._started = time.perf_counter()
        if self.ep_info_buffer is None or reset_num_timesteps:
            self.ep_info_buffer = deque(maxlen=self._stats_window_size)
            self.ep_success_buffer = deque(maxlen=self._stats_window_size)
        if reset_num_timesteps:
            self.num_timesteps = 0
        else:
            total_timesteps += self.num_timesteps
        if self.collector is None or reset_num_timesteps:
            self.world.reset()
            self.collector = Collector(self.world, self.policy, self.opposition)
            if self.opposition is not None:
                self.opposition.restart(torch.ones_like(self.world.over))
        self._total_timesteps = total_timesteps
        self._num_timesteps_at_start = self.num_timesteps
        if not self._custom_logger:
            self._logger = configure_logger(
                self.verbose, self.tensorboard_log, tb_log_name, reset_num_timesteps
            )
        return total_timesteps, self._init_callback(callback, progress_bar)

    def _collect(self, callback: BaseCallback) -> Rollout | None:
        """One rollout, with SB3's calls to the callback."""
        assert self.collector is not None

        def on_step() -> bool:
            self.num_timesteps += self.n_envs
            if isinstance(self.world, VecWorld):
                self._update_info_buffer(self.world.last["infos"], self.world.last["dones"])
                callback.update_locals(self.world.last)
            callback.update_locals({"self": self})
            return callback.on_step()

        callback.on_rollout_start()
        uses_magnet = self.magnet is not None and (callable(self.magnet_coef) or self.magnet_coef > 0.0)
        began = time.perf_counter()
        rollout = self.collector.collect(
            self.policy, self.n_steps, self.generator, self.magnet if uses_magnet else None, on_step
        )
        self._rollout_seconds = time.perf_counter() - began
        callback.on_rollout_end()
        return rollout

    def _log(self, iteration: int, rollout: Rollout) -> None:
        """What the rollout showed, under SB3's names and ours."""
        record = self.logger.record
        if isinstance(self.world, VecWorld):
            self._log_episodes()
        else:
            self._log_matches(rollout)
        seconds = max(time.perf_counter() - self._started, sys.float_info.epsilon)
        decisions = self.num_timesteps - self._num_timesteps_at_start
        record("time/iterations", iteration, exclude="tensorboard")
        record("time/fps", int(decisions / seconds))
        record("time/time_elapsed", int(seconds), exclude="tensorboard")
        record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        record("perf/decisions_per_second", decisions / seconds)
        record("perf/rollout_decisions_per_second", rollout.seat.numel() / self._rollout_seconds)
        self.logger.dump(self.num_timesteps)

    def _log_matches(self, rollout: Rollout) -> None:
        record, over = self.logger.record, rollout.over
        record("selfplay/own_share", float(rollout.is_own.float().mean()))
        if self.opposition is not None:
            record("selfplay/pool", len(self.opposition.pool))
        if bool(over.any()):
            length = rollout.length[over].float().mean()
            returns = rollout.earned[over]
            record("rollout/ep_len_mean", float(length))
            record("rollout/ep_rew_mean", float(returns[:, 0].mean()))  # of seat 0; about the game's value
            record("game/length", float(length))
            record("game/draws", float((returns.abs().sum(-1) == 0).float().mean()))
            record("game/illegal", float(rollout.illegal.float().mean()))

    def _log_episodes(self) -> None:
        assert self.ep_info_buffer is not None
        if len(self.ep_info_buffer) > 0:
            for tag, key in (("ep_rew_mean", "r"), ("ep_len_mean", "l")):
                self.logger.record(f"rollout/{tag}", safe_mean([info[key] for info in self.ep_info_buffer]))
        if self.ep_success_buffer:
            self.logger.record("rollout/success_rate", safe_mean(self.ep_success_buffer))

    def _check_sizes(self, matches: int) -> None:
        """The minibatches fit the rollout, or ValueError naming sizes that do."""
        T = self.n_steps
        if self.opposition is not None and self.opposition.matches != matches:
            raise ValueError(
                f"the opposition sits at {self.opposition.matches} matches, the env has {matches}"
            )
        if T < 1 or self.n_epochs < 1:
            raise ValueError(f"n_steps and n_epochs must be at least 1, got {T} and {self.n_epochs}")
        if self.batch_size % T or self.batch_size < T or matches % (self.batch_size // T):
            fitting = [T * rows for rows in range(1, matches + 1) if matches % rows == 0]
            raise ValueError(
                f"batch_size {self.batch_size} does not fit {matches} matches x n_steps {T}: a minibatch "
                f"holds whole matches, so it must be one of {', '.join(map(str, fitting))}"
            )


def _with_names(policy_kwargs: dict[str, Any] | None) -> dict[str, Any] | None:
    """An activation given as its class, SB3's way, by its name, which files can hold."""
    for name, kind in ACTIVATIONS.items():
        if policy_kwargs is not None and policy_kwargs.get("activation_fn") is kind:
            return policy_kwargs | {"activation_fn": name}
    return policy_kwargs


def _at(schedule: float | Schedule, progress_remaining: float) -> float:
    """The value of a number or schedule now."""
    return float(schedule(progress_remaining)) if callable(schedule) else float(schedule)
