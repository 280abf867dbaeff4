"""Play B matches for T decisions and record them, on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from agents.policy import Memory, RecurrentPolicy
from agents.selfplay import Opposition, below
from envs import Batch


@dataclasses.dataclass(frozen=True)
class Rollout:
    """T decisions in each of B matches, as they were played."""

    observation: Tensor  # [T, B, ...] of the seat that decided
    legal: Tensor  # bool [T, B, A]
    seat: Tensor  # int64 [T, B]
    start: Tensor  # bool [T, B], first decision of a match
    previous: Tensor  # int64 [T, B], the seat's own previous action, A = none
    action: Tensor  # int64 [T, B], as played
    is_own: Tensor  # bool [T, B], decided by the learning policy, not by a player opposite
    log_prob: Tensor  # [T, B], of the policy's own choice
    log_probs: Tensor  # [T, B, A], of the policy that played
    value: Tensor  # [T, B], of the seat that decided
    magnet: Tensor  # [T, B, A], log-probabilities of the magnet; [0] if there was none
    reward: Tensor  # [T, B, P]
    over: Tensor  # bool [T, B], the decision ended the match
    illegal: Tensor  # bool [T, B], by an illegal action
    length: Tensor  # int64 [T, B], decisions of the match so far, this one included
    earned: Tensor  # [T, B, P], rewards of the match so far, this decision's included
    memory: Memory  # before the first decision
    next_seat: Tensor  # int64 [B], to decide after the last
    next_value: Tensor  # [B], of that seat

    @property
    def shape(self) -> tuple[int, int]:
        """T, B."""
        return self.seat.shape[0], self.seat.shape[1]


class Collector:
    """B matches going on, and what the learning policy remembers of them from rollout to rollout.

    Args:
        batch: the matches.
        policy: decides the shape of the memory.
        opposition: who sits opposite; None = the policy in every seat.
    """

    def __init__(self, batch: Batch, policy: RecurrentPolicy, opposition: Opposition | None = None) -> None:
        self.batch = batch
        self.opposition = opposition
        self.memory = policy.initial_memory(batch.matches)
        self.magnet_cores = self.memory.cores
        self.start = torch.ones_like(batch.over)
        self.length = torch.zeros_like(batch.seat)
        self.earned = torch.zeros_like(batch.reward)

    def collect(
        self,
        policy: RecurrentPolicy,
        n_steps: int,
        generator: torch.Generator | None = None,
        magnet: RecurrentPolicy | None = None,
        on_step: Callable[[], bool] = lambda: True,
    ) -> Rollout | None:
        """Play `n_steps` decisions in every match.

        Args:
            policy: the one that learns.
            n_steps: T.
            generator: of the policy's draws.
            magnet: a policy whose log-probabilities are recorded beside.
            on_step: called after every step; False stops at once.

        Returns:
            the record, or None if `on_step` stopped it.
        """
        batch, before = self.batch, self.memory
        r = self._empty(n_steps, magnet is not None)
        for t in range(n_steps):
            r["observation"][t], r["legal"][t], r["seat"][t] = batch.observation, batch.legal, batch.seat
            r["start"][t] = self.start
            known = self.memory.previous.masked_fill(self.start[:, None], policy.actions)
            r["previous"][t] = known.gather(1, batch.seat[:, None])[:, 0]
            if magnet is not None:
                beside = Memory(self.magnet_cores, self.memory.previous)
                r["magnet"][t], _, self.magnet_cores, _ = magnet.look(
                    batch.observation, batch.legal, batch.seat, self.start, beside
                )

            decision, self.memory = policy.act(
                batch.observation, batch.legal, batch.seat, self.start, self.memory, generator
            )
            r["log_prob"][t], r["log_probs"][t] = decision.log_prob, decision.log_probs
            r["value"][t], action = decision.value, decision.action
            if self.opposition is not None:
                action, r["is_own"][t] = self.opposition.act(batch, action)
            r["action"][t] = action

            batch.step(action)
            r["reward"][t], r["over"][t], r["illegal"][t] = batch.reward, batch.over, batch.illegal
            r["length"][t], r["earned"][t] = self.length + 1, self.earned + batch.reward
            self.start = r["over"][t]
            self.length = r["length"][t].masked_fill(self.start, 0)
            self.earned = r["earned"][t].masked_fill(self.start[:, None], 0.0)
            if self.opposition is not None:
                self.opposition.restart(batch.over)
            if not on_step():
                return None

        _, next_value, _, _ = policy.look(batch.observation, batch.legal, batch.seat, self.start, self.memory)
        return Rollout(**r, memory=before, next_seat=batch.seat.clone(), next_value=next_value)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides how the matches go on, as tensors."""
        state = {f"batch.{name}": tensor for name, tensor in self.batch.state_dict().items()}
        state |= {f"core.{k}": part for k, part in enumerate(self.memory.cores)}
        state |= {f"magnet.{k}": part for k, part in enumerate(self.magnet_cores)}
        state |= {"previous": self.memory.previous, "start": self.start}
        state |= {"length": self.length, "earned": self.earned}
        if self.opposition is not None:
            state |= {f"opposition.{name}": tensor for name, tensor in self.opposition.state_dict().items()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], policy: RecurrentPolicy) -> None:
        """Go on where `state_dict` was taken."""
        device, parts = self.batch.device, range(len(self.memory.cores))
        self.batch.load_state_dict(below(state, "batch."))
        self.memory = Memory(
            tuple(state[f"core.{k}"].to(device) for k in parts), state["previous"].to(device)
        )
        self.magnet_cores = tuple(state[f"magnet.{k}"].to(device) for k in parts)
        self.start, self.length = state["start"].to(device), state["length"].to(device)
        self.earned = state["earned"].to(device)
        if self.opposition is not None:
            self.opposition.load_state_dict(below(state, "opposition."), policy)

    def _empty(self, T: int, has_magnet: bool) -> dict[str, Tensor]:
        """Memory for a rollout's record."""
        batch, B = self.batch, self.batch.matches
        A, P = batch.game.actions, batch.game.seats

        def of(pattern: Tensor, *shape: int) -> Tensor:
            return torch.empty(T, B, *shape, dtype=pattern.dtype, device=batch.device)

        integer, number, truth = batch.seat, batch.reward, batch.over
        return {
            "observation": of(batch.observation, *batch.observation.shape[1:]),
            "legal": of(truth, A),
            "seat": of(integer),
            "start": of(truth),
            "previous": of(integer),
            "action": of(integer),
            "is_own": of(truth).fill_(True),
            "log_prob": of(number),
            "log_probs": of(number, A),
            "value": of(number),
            "magnet": of(number, A) if has_magnet else number.new_empty(0),
            "reward": of(number, P),
            "over": of(truth),
            "illegal": of(truth),
            "length": of(integer),
            "earned": of(number, P),
        }
