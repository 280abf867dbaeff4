"""The algorithm over shards: what `MaskableRecurrentPPO` does, in one process or in several of a `Group`.

Every rank has the same weights and optimiser, plays its own shards, and makes the same steps. What files,
curves and evaluations need, rank 0 has after `gather`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents import files
from agents.learn import saving
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.rollout import UNIFORM, Collector, Rollout
from agents.learn.settings import Moment
from agents.learn.shards import Shard, Shards, looked_at, together, update_together
from agents.net.policy import RecurrentPolicy
from agents.net.task import Lanes, Task
from agents.play.opposition import below

PLAYED = ("decisions", "own", "ended", "length", "earned", "draws", "illegal")
"""What is counted of a rollout for the curves."""


class ShardedPPO(MaskableRecurrentPPO):
    """Self-play cut into shards, see `agents.learn.shards`.

    Made with `seed`, the same run on any number of processes; `begin_alike` makes sure that all have the same
    weights. A file of it goes on by `go_on`, on another number of processes as well; it is read by
    `MaskableRecurrentPPO.load`, too, with which matches begin anew.

    Args:
        policy: as of `MaskableRecurrentPPO`; so are `settings`, but for `env`, `device` and `opposition`.
        shards: what is played.
    """

    def __init__(self, policy: str | type[RecurrentPolicy], shards: Shards, **settings: Any) -> None:
        self.shards = shards
        first = shards.own[0]
        super().__init__(policy, first.lanes.batch, opposition=first.opposition, **settings)
        self.n_envs = shards.matches
        self.played: list[Rollout] = []
        """The latest rollouts, of the own shards."""
        self._gathered: tuple[tuple[int, int], dict[str, Tensor]] | None = None

    def _lanes_of(self, env: Any) -> tuple[Lanes, None]:  # noqa: ARG002
        return self.shards.own[0].lanes, None

    def _check_sizes(self, matches: int) -> None:  # noqa: ARG002  those of a shard
        """The minibatches fit the rollout of every shard, or ValueError naming sizes that do."""
        S, B, T = self.shards.number, self.shards.matches, self.n_steps
        if self.batch_size is None:
            self.batch_size = T * B
        fits = [T * rows for rows in range(S, B + 1, S) if B % rows == 0]
        if self.batch_size not in fits:
            raise ValueError(
                f"batch_size {self.batch_size} does not fit {B} matches x n_steps {T} in {S} shards: a "
                "minibatch holds as many whole matches of each shard, so it must be one of "
                f"{', '.join(map(str, fits))}"
            )

    def begin_alike(self) -> None:
        """From now on every rank has the weights that rank 0 has."""
        parts = {name: part for name, part in self._parts().items() if name != "optimizer"}
        told = {f"{name}/{key}": x for name, part in parts.items() for key, x in part.state_dict().items()}
        content = self.shards.group.send(files.tensor_bytes(told))
        given = files.read_tensors(content, "rank 0")
        for name, part in parts.items():
            part.load_state_dict(below(given, f"{name}/"))

    # ---------------------------------------------------------------- playing

    def _deal(self) -> None:
        number = self._beginnings
        self._beginnings += 1
        for shard in self.shards.own:
            shard.lanes.deal(self.seed, number)
        self._sit_down()

    def _sit_down(self) -> None:
        for shard in self.shards.own:
            shard.collector = self._seated_at(shard)
            if shard.opposition is not None:
                shard.opposition.restart(torch.ones_like(shard.lanes.over))
        self.collector = self.shards.own[0].collector

    def _seated_at(self, shard: Shard) -> Collector:
        """Who plays what a shard shows, with nothing remembered."""
        mixed = UNIFORM if self.magnet_kind == "start" else 0.0
        return Collector(shard.lanes, self.policy, shard.opposition, self.cuda_graph, mixed)

    def _collect(self, callback: Any) -> Rollout | None:
        """A rollout of every own shard, that of the first returned; the callback is called in it alone."""

        def on_step() -> bool:
            self.num_timesteps += self.n_envs
            callback.update_locals({"self": self})
            return bool(callback.on_step())

        callback.on_rollout_start()
        uses_magnet = self.magnet is not None and (callable(self.magnet_coef) or self.magnet_coef > 0.0)
        magnet = self.magnet if uses_magnet else None
        began, self.played = time.perf_counter(), []
        for k, shard in enumerate(self.shards.own):
            assert shard.collector is not None
            shard.collector.tells_situations = self.balance > 0.0
            asks = {"on_step": on_step} if k == 0 else {}
            rollout = shard.collector.collect(self.policy, self.n_steps, shard.generator, magnet, **asks)
            if rollout is None:
                return None
            self.played.append(rollout)
        self._rollout_seconds = time.perf_counter() - began
        callback.on_rollout_end()
        return self.played[0]

    def _improve(self, rollout: Rollout, now: Moment) -> dict[str, float]:
        """One update of all shards' latest rollouts."""
        if not self.played or rollout is not self.played[0]:
            raise ValueError(
                "shards are learned from together: train takes the rollouts that learn has just made"
            )
        return update_together(
            self.policy,
            self.optimizer,
            self.shards,
            self.played,
            now,
            reward_scale=self.reward_scale,
            potential=self.potential,
            ema=self.ema,
            ema_steps=self.ema_steps,
        )

    def _keep_past_self(self) -> None:
        for shard in self.shards.own:
            if shard.opposition is not None:
                shard.opposition.add(self.policy, f"past self {self.num_timesteps}")

    def _log_matches(self, rollout: Rollout) -> None:  # noqa: ARG002  one of them
        record, mine = self.logger.record, [_counted(one) for one in self.played]
        told = dict(zip(PLAYED, self.shards.sums(mine).tolist(), strict=True))
        record("selfplay/own_share", told["own"] / told["decisions"])
        if self.opposition is not None:
            record("selfplay/pool", len(self.opposition.pool))
        if (ended := told["ended"]) > 0:
            record("rollout/ep_len_mean", told["length"] / ended)
            record("rollout/ep_rew_mean", told["earned"] / ended)
            record("game/length", told["length"] / ended)
            record("game/draws", told["draws"] / ended)
            record("game/illegal", told["illegal"] / told["decisions"])

    # ---------------------------------------------------------------- its state

    def gather(self) -> None:
        """Let rank 0 have every shard's state, and some matches of the latest rollouts; all ranks call it."""
        now = self.num_timesteps, self._n_updates
        if self._gathered is not None and self._gathered[0] == now:
            return
        shards = self.shards
        told: dict[str, Tensor] = {}
        for k, shard in enumerate(shards.own):
            parts = {"shard": shard.state_dict(), "past": shard.weights()}
            if self.played:
                parts["seen"] = looked_at(self.played[k], shards.number)
            told |= {
                f"{part}.{shard.number}.{name}": x for part, of in parts.items() for name, x in of.items()
            }
        state: dict[str, Tensor] = {}
        for content in shards.group.collect(files.tensor_bytes(told)):
            state |= files.read_tensors(content, "a rank")
        if state:
            if self.played:
                seen = [below(state, f"seen.{k}.") for k in range(shards.number)]
                self.rollout = together(seen, self.device)
            past = {n: x for k in range(shards.number) for n, x in below(state, f"past.{k}.").items()}
            state = {name: x for name, x in state.items() if name.startswith("shard.")}
            state |= {f"past.{name}": x for name, x in past.items()}
        self._gathered = now, state

    def state_dict(self) -> dict[str, Tensor]:
        """See `MaskableRecurrentPPO`; of all shards on rank 0, where `gather` has told of this moment.

        Raises:
            RuntimeError: it has not.
        """
        group = self.shards.group
        if group.world == 1:
            self._gathered = None
            self.gather()
        if self._gathered is None or self._gathered[0] != (self.num_timesteps, self._n_updates) or group.rank:
            raise RuntimeError("the state of all shards is known on rank 0 alone, and after gather")
        own = self._counts() | saving.optimizer_state(self.optimizer, self.policy)
        return {name: x.detach().clone() for name, x in (own | self._gathered[1]).items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken, with the shards that this process plays.

        Raises:
            ValueError: it is the state of another model, or of other shards.
        """
        self._load_counts(state)
        numbers = {name.split(".")[1] for name in state if name.startswith("shard.")}
        if numbers != {str(k) for k in range(self.shards.number)}:
            raise ValueError(f"the saved state has {len(numbers)} shards, expected {self.shards.number}")
        goes_on, past = True, below(state, "past.")
        seed = self._seed_again("shards")
        for shard in self.shards.own:
            told = below(state, f"shard.{shard.number}.")
            goes_on &= shard.load_state_dict(told, past, self.policy, self._seated_at(shard), seed)
        self.collector, self._gathered = self.shards.own[0].collector, None
        if not goes_on:
            warnings.warn(saving.ANEW, stacklevel=3)

    def go_on(self, stored: files.Stored) -> None:
        """Take the weights and the state of a file, which a model of the same settings has written.

        Raises:
            CheckpointError: it is none of such a model.
        """
        saved = saving.read_saved(stored, RecurrentPolicy)
        mine: tuple[Task, int] = self.task, self.shards.matches
        if (saved.task.plays, saved.matches) != (mine[0].plays, mine[1]):
            raise stored.error(
                f"is of {saved.matches} matches of {saved.task.plays}, expected {mine[1]} of {mine[0].plays}"
            )
        self._take_weights(saved)
        try:
            self.load_state_dict(saved.state)
        except ValueError as error:
            raise stored.error(f"its training state does not fit: {error}") from error
        self._total_timesteps = saved.total_timesteps


def _counted(rollout: Rollout) -> Tensor:
    """`PLAYED` of a shard, float64 [7]."""
    over, earned = rollout.over, rollout.earned[rollout.over]
    told = (
        torch.tensor(over.numel()),
        rollout.is_own.sum(),
        over.sum(),
        rollout.length[over].sum(),
        earned[:, 0].double().sum(),
        (earned.abs().sum(-1) == 0).sum(),
        rollout.illegal.sum(),
    )
    return torch.stack([x.to(over.device, torch.float64) for x in told])
