"""Play B matches for T decisions and record them, on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from agents.learn.lanes import lanes_of
from agents.net.policy import Memory, RecurrentPolicy
from agents.net.task import Lanes
from agents.play.opposition import Opposition, below
from envs import Batch
from envs.batch import fitting

CARRIED = 4
"""So many decisions at a rollout's end may still count in the next update, where several seats take turns.
A decision waits longer only where the other seat tries again and again: of dark hex's at the end of a rollout
of 4 decisions 1 in 1,000 does (`docs/rollout-ends.md`)."""


@dataclasses.dataclass(frozen=True)
class Rollout:
    """T decisions in each of B matches, as they were played."""

    observation: Tensor  # [T, B, ...] of the seat that decided
    legal: Tensor  # bool [T, B, M]
    seat: Tensor  # int64 [T, B]
    start: Tensor  # bool [T, B], first decision of a match
    previous: Tensor  # [T, B, *], the seat's own previous action, `RecurrentPolicy.no_action` = none
    action: Tensor  # [T, B, *], as played
    is_own: Tensor  # bool [T, B], decided by the learning policy, not by a player opposite
    log_prob: Tensor  # [T, B], of the policy's own choice
    distribution: Tensor  # [T, B, D] of the policy that played, for Discrete its log-probabilities
    value: Tensor  # [T, B], of the seat that decided
    magnet: Tensor  # [T, B, D], of the magnet; [0] if there was none
    reward: Tensor  # [T, B, P]
    over: Tensor  # bool [T, B], the decision ended the match
    illegal: Tensor  # bool [T, B], by an illegal action
    bootstrap: Tensor  # [T, B], value of the state in which a time limit cut the match off, else 0
    length: Tensor  # int64 [T, B], decisions of the match so far, this one included
    earned: Tensor  # [T, B, P], rewards of the match so far, this decision's included
    memory: Memory  # before the first decision
    next_seat: Tensor  # int64 [B], to decide after the last
    next_value: Tensor  # [B], of that seat
    next_observation: Tensor  # [B, ...], of that seat
    before: Rollout | None = None  # the end of the one before, whose last outcomes show in this one

    @property
    def shape(self) -> tuple[int, int]:
        """T, B."""
        return self.seat.shape[0], self.seat.shape[1]

    def end(self, steps: int, memory: Memory) -> Rollout:
        """Its last `steps` decisions alone, before which `memory` was remembered."""
        last = {name: getattr(self, name)[-steps:].clone() for name in TIMED}
        return dataclasses.replace(self, **last, memory=memory, before=None)


TIMED = tuple(
    field.name
    for field in dataclasses.fields(Rollout)
    if field.name not in ("memory", "next_seat", "next_value", "next_observation", "before")
)
"""What a rollout holds of each decision."""

SEEN, HEARD = ("observation", "legal", "seat", "start"), ("reward", "over", "illegal", "length", "earned")
"""What is known before a decision, and what came of it."""


def _array(x: Tensor) -> Any:
    """Where rows are written: on the CPU NumPy's array of the same memory, in a fifth of the time."""
    return x.numpy() if x.device.type == "cpu" else x


def _tensors(rollout: Rollout) -> dict[str, Tensor]:
    """All of a rollout but what came before it, by name."""
    plain = [*TIMED, "next_seat", "next_value", "next_observation"]
    return {name: getattr(rollout, name) for name in plain} | _tensors_of(rollout.memory)


def _tensors_of(memory: Memory) -> dict[str, Tensor]:
    cores = {f"core.{k}": part for k, part in enumerate(memory.cores)}
    return cores | {"remembered": memory.previous}


class Collector:
    """B matches going on, and what the learning policy remembers of them from rollout to rollout.

    Args:
        lanes: the matches, of a game or of Gymnasium worlds.
        policy: decides the shape of the memory.
        opposition: who sits opposite; None = the policy in every seat.
    """

    def __init__(
        self, lanes: Batch | Lanes, policy: RecurrentPolicy, opposition: Opposition | None = None
    ) -> None:
        self.lanes = lanes = lanes_of(lanes)
        self.opposition = opposition
        self.memory = policy.initial_memory(lanes.matches)
        self.magnet_cores = self.memory.cores
        self.start = torch.ones_like(lanes.over)
        self.length = torch.zeros_like(lanes.seat)
        self.earned = torch.zeros_like(lanes.reward)
        self.latest: tuple[int, dict[str, Tensor]] = (0, {})
        """The latest step and the record it is in, while it is being made."""
        self.before: Rollout | None = None
        """The end of the rollout before, in which decisions may wait for their outcome."""

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
        lanes, memory = self.lanes, self.memory
        late = memory
        carried = min(CARRIED, n_steps) if lanes.reward.shape[1] > 1 else 0
        before, self.before = self.before, None
        if before is not None and (before.magnet.numel() > 0) != (magnet is not None):
            before = None  # a magnet came or went in between
        r = self._empty(n_steps, policy, magnet is not None)
        rows = {name: _array(x) for name, x in r.items()}
        now = {
            name: _array(getattr(self if name in ("start", "length", "earned") else lanes, name))
            for name in SEEN + HEARD
        }
        for t in range(n_steps):
            if t == n_steps - carried:
                late = self.memory
            for name in SEEN:
                rows[name][t] = now[name]
            if magnet is not None:
                self._ask(r, t, magnet)
            action = self._decide(r, t, policy, generator)
            lanes.step(action)
            self._hear(rows, now, t, policy)
            self.latest = t, r
            if not on_step():
                return None

        _, next_value, _ = policy.weigh(lanes.observation, lanes.legal, lanes.seat, self.start, self.memory)
        rollout = Rollout(
            **r,
            memory=memory,
            next_seat=lanes.seat.clone(),
            next_value=next_value,
            next_observation=lanes.observation.clone(),
            before=before,
        )
        if carried > 0:
            self.before = rollout.end(carried, late)
        return rollout

    def _ask(self, r: dict[str, Tensor], t: int, magnet: RecurrentPolicy) -> None:
        """Record what the magnet would do at step t."""
        lanes, beside = self.lanes, Memory(self.magnet_cores, self.memory.previous)
        r["magnet"][t], _, (self.magnet_cores, _) = magnet.weigh(
            lanes.observation, lanes.legal, lanes.seat, self.start, beside
        )

    def _decide(
        self, r: dict[str, Tensor], t: int, policy: RecurrentPolicy, generator: torch.Generator | None
    ) -> Tensor:
        """The actions [B, *] of step t, the policy's or those of the players opposite, and what it was told
        of the one before."""
        lanes = self.lanes
        decision, self.memory = policy.act(
            lanes.observation, lanes.legal, lanes.seat, self.start, self.memory, generator
        )
        r["log_prob"][t], r["distribution"][t] = decision.log_prob, decision.distribution
        r["value"][t], r["previous"][t] = decision.value, decision.previous
        action = decision.action
        if self.opposition is not None:
            action, r["is_own"][t] = self.opposition.act(lanes, action)
        r["action"][t] = action
        return action

    def _hear(self, rows: dict[str, Any], now: dict[str, Any], t: int, policy: RecurrentPolicy) -> None:
        """Record what came of step t, and begin anew where a match has ended."""
        start, length, earned = now["start"], now["length"], now["earned"]
        start[:] = now["over"]
        length += 1
        earned += now["reward"]
        for name in HEARD:
            rows[name][t] = now[name]
        if self.lanes.truncated is not None:
            rows["bootstrap"][t] = _array(self._value_of_cut_off(policy, self.lanes.truncated))
        length[start], earned[start] = 0, 0.0
        if self.opposition is not None:
            self.opposition.restart(self.lanes.over)

    def state_dict(self) -> dict[str, Tensor]:
        """What the policy remembers of the matches, as tensors; `lanes` and `opposition` tell their own."""
        state = {f"core.{k}": part for k, part in enumerate(self.memory.cores)}
        state |= {f"magnet.{k}": part for k, part in enumerate(self.magnet_cores)}
        state |= {"previous": self.memory.previous, "start": self.start}
        state |= {"length": self.length, "earned": self.earned}
        if self.before is not None:
            state |= {f"before.{name}": x for name, x in _tensors(self.before).items()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], policy: RecurrentPolicy) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: it does not fit the matches or `policy`.
        """
        end = below(state, "before.")  # none before the first rollout
        mine, state = (
            {name: x for name, x in told.items() if not name.startswith("before.")}
            for told in (self.state_dict(), state)
        )
        if state.keys() != mine.keys():
            raise ValueError(f"the saved memory holds {sorted(state)}, expected {sorted(mine)}")
        told = {name: fitting(state, name, like).to(like.device, copy=True) for name, like in mine.items()}
        policy.family.check_known(told["previous"])
        if (told["length"] < 0).any():
            raise ValueError(
                f"the saved length of a match is {int(told['length'].min())}, expected 0 or more"
            )
        parts = range(len(self.memory.cores))
        self.memory = Memory(tuple(told[f"core.{k}"] for k in parts), told["previous"])
        self.magnet_cores = tuple(told[f"magnet.{k}"] for k in parts)
        self.start, self.length, self.earned = told["start"], told["length"], told["earned"]
        self.before = self._end(end, policy) if end else None

    def _end(self, tensors: Mapping[str, Tensor], policy: RecurrentPolicy) -> Rollout:
        """The end of the rollout before, from its `_tensors`.

        Raises:
            ValueError: they are not of these matches and this policy.
        """
        remembered = _tensors_of(self.memory)
        steps = min(max(len(tensors.get("seat", ())), 1), CARRIED)
        has_magnet = tensors.get("magnet", torch.zeros(0)).numel() > 0
        expected = remembered | self._empty(steps, policy, has_magnet)
        expected |= {"next_seat": self.lanes.seat, "next_value": self.lanes.reward[:, 0]}
        expected |= {"next_observation": self.lanes.observation}
        if tensors.keys() != expected.keys():
            raise ValueError(f"the saved end of a rollout holds {sorted(tensors)}, not {sorted(expected)}")
        illegal = torch.finfo(torch.float32).min  # log-probabilities are -inf where an action is
        numbers = {
            name: x.clamp(min=illegal) if name in ("distribution", "magnet") and x.is_floating_point() else x
            for name, x in tensors.items()
        }
        for name, like in expected.items():
            fitting(numbers, name, like)
        seats = self.lanes.reward.shape[1]
        for name in ("seat", "next_seat"):
            if bool(((tensors[name] < 0) | (tensors[name] >= seats)).any()):
                raise ValueError(f"the saved end of a rollout: {name} must be in 0..{seats - 1}")
        for name in ("previous", "action", "remembered"):
            policy.family.check_known(tensors[name])
        *cores, previous = (tensors[name].to(self.lanes.device) for name in remembered)
        plain: dict[str, Any] = {
            name: tensors[name].to(self.lanes.device) for name in expected if name not in remembered
        }
        return Rollout(**plain, memory=Memory(tuple(cores), previous))

    def _value_of_cut_off(self, policy: RecurrentPolicy, truncated: Tensor) -> Tensor:
        """Values [B] of the states in which a time limit has just ended matches, 0 elsewhere; one call."""
        lanes = self.lanes
        assert lanes.final is not None
        rows = torch.nonzero(truncated)[:, 0]
        seat, goes_on = lanes.seat[rows], torch.zeros_like(lanes.over[rows])
        _, value, _ = policy.weigh(
            lanes.final[rows], lanes.legal[rows], seat, goes_on, self.memory.select(rows)
        )
        return torch.zeros_like(lanes.reward[:, 0]).index_put((rows,), value)

    def _empty(self, T: int, policy: RecurrentPolicy, has_magnet: bool) -> dict[str, Tensor]:
        """Memory for a rollout's record."""
        lanes, B = self.lanes, self.lanes.matches
        A, P, D = lanes.legal.shape[1], lanes.reward.shape[1], policy.family.parameters

        def of(pattern: Tensor, *shape: int) -> Tensor:
            return torch.empty(T, B, *shape, dtype=pattern.dtype, device=lanes.device)

        integer, number, truth, action = lanes.seat, lanes.reward, lanes.over, policy.no_action
        return {
            "observation": of(lanes.observation, *lanes.observation.shape[1:]),
            "legal": of(truth, A),
            "seat": of(integer),
            "start": of(truth),
            "previous": of(action, *action.shape),
            "action": of(action, *action.shape),
            "is_own": of(truth).fill_(True),
            "log_prob": of(number),
            "distribution": of(number, D),
            "value": of(number),
            "magnet": of(number, D) if has_magnet else number.new_empty(0),
            "reward": of(number, P),
            "over": of(truth),
            "illegal": of(truth),
            "bootstrap": of(number).zero_(),
            "length": of(integer),
            "earned": of(number, P),
        }
