"""fit: learning from records, of models of what comes next and of clones.

Two networks learn by the same trainer, and differ in what they are told and in their loss:

    tokens   a `TokenModel`; cross-entropy of the next token
    clone    a `RecurrentPolicy`; cross-entropy of the recorded action among the legal ones, and the squared
             error of the value against what the seat earned from there on

both with the penalties of `agents.learn.penalties`, and by RMSprop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Protocol

import torch
from torch import Tensor, nn

from agents.learn.learners import Learner, Said
from agents.learn.penalties import add_penalties, penalty
from agents.learn.recorded import Layout, Piece, Recorded, lay, of_lanes, piece_at, told_of, with_lanes
from agents.learn.saving import optimizer_dict, optimizer_state
from agents.learn.schedules import at
from agents.learn.settings import Changing, Penalty, Weight
from agents.net.settings import Count, Range, a_record, check_fields
from envs.batch import fitting
from envs.seeds import derived_seed


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """The settings of learning from records."""

    learning_rate: Weight = 1e-3
    """RMSprop's step size. Usual are 3e-4 to 3e-3, falling to 0 over the run ({linear: 3e-3}) where it is
    known how long it takes."""
    decay: Annotated[float, Range(0.0, 1.0, is_high_allowed=False)] = 0.9
    """Of RMSprop's mean of squared gradients. 0.9 is the textbook's; 0.99 is steadier and slower to adapt."""
    sequences: Count = 128
    """Sequences side by side in a batch. Usual are 32 to 256: fewer learn more of each decision and take
    longer."""
    n_steps: Count = 64
    """Steps of a batch, through which gradients run; what is remembered goes on beyond them. Give it about
    the length of a sequence, where that is below a few hundred."""
    max_grad_norm: Annotated[float, Range(0.0, is_low_allowed=False)] = 1.0
    """Norm the gradient is clipped to. Usual are 0.5 to 5; lower if the loss leaps."""
    vf_coef: Annotated[float, Range(0.0)] = 0.5
    """Weight of a clone's value loss. 0.5 is usual; 0 leaves its value untrained, and self-play from the
    clone then begins with a critic that knows nothing."""
    gamma: Annotated[float, Range(0.0, 1.0)] = 1.0
    """Discount per own decision of what a clone's value tells. Give it what self-play from the clone uses."""
    l1_coef: Penalty = 0.0
    """Weight of the sum of |w| over all matrices, biases left out. Usual are 0 to 1e-5; it makes weights zero
    that are of little use."""
    l2_coef: Penalty = 0.0
    """Weight of the sum of w^2 over all matrices, biases left out. Usual are 0 to 1e-3; it keeps all weights
    small."""

    def __post_init__(self) -> None:
        """Refuse what nobody can learn by.

        Raises:
            ValueError: names the setting, what came and what is allowed.
        """
        check_fields(self)


a_record(FitSettings, Changing)


# ---------------------------------------------------------------- the trainer


class Keeps(Protocol):
    """Who keeps a run while it trains, with Stable-Baselines3's calls."""

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any], /) -> None: ...
    def on_rollout_start(self) -> None: ...
    def on_step(self) -> bool: ...
    def on_training_end(self) -> None: ...


class Logs(Protocol):
    """Where numbers go."""

    def record(self, key: str, value: Any) -> None: ...
    def dump(self, step: int = 0) -> None: ...


LOGGED: Final = ("loss", "penalty", "value_loss", "grad_norm", "decisions")
"""What is added up between two lines of the log."""

LOG_EVERY: Final = 50
"""Batches between two lines of the log."""


class Fit:
    """Learns from recorded decisions, and goes on bit for bit from what `state_dict` told.

    Args:
        learner: whose network learns, in place.
        data: to learn from.
        settings: how.
        seed: of the order of the sequences and of dropout.
    """

    logger: Logs

    def __init__(self, learner: Learner, data: Recorded, settings: FitSettings, seed: int) -> None:
        self.learner, self.data, self.settings, self.seed = learner, data, settings, seed
        self.policy = learner.network
        self.parameters = list(learner.network.parameters())
        self.device = self.parameters[0].device
        self.optimizer = torch.optim.RMSprop(
            self.parameters, at(settings.learning_rate, 1.0), alpha=settings.decay
        )
        self.has_dropout = any(isinstance(m, nn.Dropout) and m.p > 0.0 for m in self.policy.modules())
        self.num_timesteps = self.n_updates = 0
        """Decisions and batches that it has learned from."""
        self.epoch = self.at = 0
        """How often all of `data` was gone through, and the step of the layout that comes next."""
        self.layout = self._laid()
        self.cores = learner.initial_cores(self.layout.decision.shape[1])
        self.sums = torch.zeros(len(LOGGED), dtype=torch.float64)

    def set_logger(self, logger: Logs) -> None:
        """Where the numbers of training go."""
        self.logger = logger

    def learn(self, total_timesteps: int, callback: Keeps, reset_num_timesteps: bool = True) -> None:
        """Learn from so many decisions more, or until the callback ends it.

        Args:
            reset_num_timesteps: as SB3 calls it; decisions are counted on, either way.
        """
        total = self.num_timesteps + total_timesteps
        callback.on_training_start(locals(), globals())
        while self.num_timesteps < total:
            callback.on_rollout_start()
            piece = piece_at(self.layout, self.at, self.settings.n_steps)
            counts = piece.is_there & self.data.counts[piece.decision]
            self.num_timesteps += int(counts.sum())
            if not callback.on_step():
                break
            self._update(piece, counts, max(0.0, 1.0 - self.num_timesteps / total))
            self._go_on()
        callback.on_training_end()

    def _laid(self) -> Layout:
        """The sequences of this epoch, in an order of its own."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "epoch", self.epoch))
        order = torch.randperm(len(self.data), generator=generator)
        return lay(self.data.length, order, self.settings.sequences)

    def _go_on(self) -> None:
        """To the next piece."""
        self.at += self.settings.n_steps
        if self.at >= len(self.layout.decision):
            self.epoch, self.at = self.epoch + 1, 0
            self.layout = self._laid()

    def _update(self, piece: Piece, counts: Tensor, progress_remaining: float) -> None:
        """One step down the gradient of a piece's loss."""
        c = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = at(c.learning_rate, progress_remaining)
        self.policy.train()
        with torch.random.fork_rng(devices=[], enabled=self.has_dropout):
            if self.has_dropout:  # its draws are the update's own, so that none need be kept
                torch.manual_seed(derived_seed(self.seed, "dropout", self.n_updates))
            told, start = told_of(self.data, piece, self.device), piece.start.to(self.device)
            said = self.learner.say(told, start, of_lanes(self.cores, piece))
        parts = self._loss(said, piece, counts)
        if not bool(torch.isfinite(parts["total"])):
            raise FloatingPointError(
                "the loss is no longer finite; a smaller learning_rate or max_grad_norm may help"
            )
        self.optimizer.zero_grad()
        parts["total"].backward()
        add_penalties(self.parameters, c.l1_coef, c.l2_coef)
        norm = nn.utils.clip_grad_norm_(self.parameters, c.max_grad_norm)
        self.optimizer.step()
        self.cores = with_lanes(self.cores, piece, said.cores)
        self.policy.eval()
        self.n_updates += 1
        self._log(parts | {"grad_norm": norm}, int(counts.sum()))

    def _loss(self, said: Said, piece: Piece, counts: Tensor) -> dict[str, Tensor]:
        """The loss over the decisions that count, and its parts."""
        where, device = piece.decision[counts], self.device
        logits, target = said.logits[counts.to(device)], self.data.target[where].to(device)
        if self.learner.is_masked:
            logits = logits.masked_fill(~self.data.legal[where].to(device), -torch.inf)
        loss = nn.functional.cross_entropy(logits, target, reduction="sum") / max(len(where), 1)
        parts = {"loss": loss, "value_loss": torch.zeros(()), "penalty": torch.zeros(()), "total": loss}
        if said.value is not None:
            off = said.value[counts.to(device)] - self.data.told["return"][where].to(device)
            parts["value_loss"] = off.square().sum() / max(len(where), 1)
            parts["total"] = loss + self.settings.vf_coef * parts["value_loss"]
        if self.settings.l1_coef > 0.0 or self.settings.l2_coef > 0.0:
            parts["penalty"] = penalty(self.parameters, self.settings.l1_coef, self.settings.l2_coef)
        return parts

    def _log(self, parts: Mapping[str, Tensor], decisions: int) -> None:
        """Add up what an update told; every so many of them, tell the means."""
        told = dict(parts) | {"decisions": torch.tensor(1.0)}
        self.sums += decisions * torch.stack([told[name].detach().double().cpu() for name in LOGGED])
        if self.n_updates % LOG_EVERY:
            return
        *means, _ = (self.sums / self.sums[-1]).tolist()
        for name, mean in zip(LOGGED, means, strict=False):
            self.logger.record(f"train/{name}", mean)
        self.logger.record("train/learning_rate", self.optimizer.param_groups[0]["lr"])
        self.logger.record("train/epoch", self.epoch)
        self.logger.record("train/n_updates", self.n_updates)
        self.logger.dump(self.num_timesteps)
        self.sums.zero_()

    # ------------------------------------------------ its state

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the weights that decides how training goes on, as tensors."""
        state = {name: torch.tensor(getattr(self, name)) for name in COUNTERS}
        state |= {f"core.{k}": part for k, part in enumerate(self.cores)}
        state |= optimizer_state(self.optimizer, self.policy) | {"sums": self.sums}
        return {name: x.detach().clone() for name, x in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken, of the same data.

        Raises:
            ValueError: it is the state of another network, or of other data.
        """
        counters = {name: int(fitting(state, name, torch.tensor(0))) for name in COUNTERS}
        if min(counters.values()) < 0:
            raise ValueError(f"the saved counters must be 0 or more, got {counters}")
        self.optimizer.load_state_dict(optimizer_dict(self.optimizer, self.policy, state, RMSPROP))
        for name, value in counters.items():
            setattr(self, name, value)
        self.layout = self._laid()
        if self.at >= len(self.layout.decision):
            raise ValueError(f"the saved state is at step {self.at} of {len(self.layout.decision)}")
        cores = self.learner.initial_cores(self.layout.decision.shape[1])
        self.cores = tuple(fitting(state, f"core.{k}", part).to(part.device) for k, part in enumerate(cores))
        self.sums = fitting(state, "sums", self.sums).clone()


COUNTERS: Final = ("num_timesteps", "n_updates", "epoch", "at")

RMSPROP: Final = ("step", "square_avg")
"""What RMSprop remembers of a parameter."""
