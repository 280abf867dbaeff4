"""Play B matches for T decisions and record them, on the device."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from agents.learn import situations
from agents.learn.lanes import lanes_of
from agents.learn.record import Room, StepGraph, warn_of_launches
from agents.net.playing import Playing
from agents.net.policy import Memory, RecurrentPolicy
from agents.net.task import Lanes
from agents.play.opposition import Opposition, below
from envs import Batch
from envs.batch import fitting

CARRIED = 4
"""So many decisions at a rollout's end may still count in the next update, where several seats take turns.
A decision waits longer only where the other seat tries again and again: of dark hex's at the end of a rollout
of 4 decisions 1 in 1,000 does (`docs/rollout-ends.md`)."""


MANY = 256
"""From so many matches on what decides by hand is made anew for each rollout: it takes a millisecond, and of
4,096 matches and 256 units its memory is 40 MB, which an update can use."""

UNIFORM = 0.015
"""Share of the uniform distribution in the magnet that a policy began with: a clone hardly ever does what
nobody showed it, and the KL to it would know no bounds there. With 1.5 % an action among ten legal ones costs
at most log(10 / 0.015) = 6.5 nats."""


@dataclasses.dataclass(frozen=True)
class Rollout:
    """T decisions in each of B matches, as they were played.

    Its memory serves the rollout after the next once nobody has this object any more: whoever keeps only a
    tensor of it keeps a copy.
    """

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
    situation: Tensor  # int64 [T, B], see `agents.learn.situations`; [0] if nobody asked
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


def _tensors(rollout: Rollout) -> dict[str, Tensor]:
    """All of a rollout but what came before it, by name."""
    plain = [*TIMED, "next_seat", "next_value", "next_observation"]
    told = {name: getattr(rollout, name) for name in plain} | _tensors_of(rollout.memory)
    if rollout.situation.numel() == 0:  # files say nothing of what nobody asked for
        del told["situation"]
    return told


def _flat(value: Tensor | tuple[Any, ...]) -> list[Tensor]:
    """The tensors of which a value consists."""
    return [value] if isinstance(value, Tensor) else [x for part in value for x in _flat(part)]


def _tensors_of(memory: Memory) -> dict[str, Tensor]:
    cores = {f"core.{k}": part for k, part in enumerate(memory.cores)}
    return cores | {"remembered": memory.previous}


class Collector:
    """B matches going on, and what the learning policy remembers of them from rollout to rollout.

    Args:
        lanes: the matches, of a game or of Gymnasium worlds.
        policy: decides the shape of the memory.
        opposition: who sits opposite; None = the policy in every seat.
        cuda_graph: capture a step of matches on a GPU as one graph and replay it, so that it is launched at
            once; where that cannot be, a warning says why.
        mixed: share of the uniform distribution that is mixed into what the magnet would do.

    Raises:
        ValueError: the policy is on another kind of device than the matches.
    """

    def __init__(
        self,
        lanes: Batch | Lanes,
        policy: RecurrentPolicy,
        opposition: Opposition | None = None,
        cuda_graph: bool = False,
        mixed: float = 0.0,
    ) -> None:
        self.mixed = mixed
        self.tells_situations = False
        """Record in which situation each decision is made; may change between two rollouts."""
        self.lanes = lanes = lanes_of(lanes)
        if policy.no_action.device.type != lanes.device.type:
            raise ValueError(
                f"the policy computes on {policy.no_action.device}, the matches lie on {lanes.device}; both "
                "must be on one device"
            )
        self.opposition = opposition
        if opposition is not None:
            opposition.to(lanes.device)
        self.cuda_graph = cuda_graph
        self._room: Room | None = None
        self._graph: StepGraph | None = None
        self._playing: Playing | None = None
        """Makes the decisions by hand, where that can be."""
        self.memory = policy.initial_memory(lanes.matches)
        self.magnet_cores = self.memory.cores
        self.start = torch.ones_like(lanes.over)
        self.length = torch.zeros_like(lanes.seat)
        self.earned = torch.zeros_like(lanes.reward)
        self.stand = situations.begin(lanes.matches, lanes.reward.shape[1], lanes.device)
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
        carried = min(CARRIED, n_steps) if self.lanes.reward.shape[1] > 1 else 0
        before, self.before = self.before, None
        if before is not None and (before.magnet.numel() > 0) != (magnet is not None):
            before = None  # a magnet came or went in between
        if before is not None and (before.situation.numel() > 0) != self.tells_situations:
            before = None
        room = self._begin(n_steps, policy, magnet is not None)
        step = self._stepper(room, policy, generator, magnet)
        self._play_by_hand(policy)
        memory = late = self._remembered()
        for t in range(n_steps):
            if t == n_steps - carried:
                late = self._remembered()
            step()
            self.latest = t, room.now
            if not on_step():
                return None
        return self._finish(room, policy, memory, before, late, carried)

    def _play_by_hand(self, policy: RecurrentPolicy) -> None:
        """Prepare the decisions of a rollout, where that can be; until its end the weights stay."""
        shown = self.lanes.observation, self.lanes.legal, self.lanes.seat, self.start
        if self._graph is not None:
            self._playing = None
        elif self._playing is None or not self._playing.renew(policy, *shown):
            self._playing = Playing.of(policy, *shown, self.memory)

    def _begin(self, n_steps: int, policy: RecurrentPolicy, has_magnet: bool) -> Room:
        """Where to write a rollout: where the one before the last stood, if nobody has it any more."""
        room, key = self._room, (n_steps, has_magnet, self.tells_situations)
        if room is None or room.key != key or not room.turn():
            room = Room(self._empty(2 * n_steps, policy, has_magnet), n_steps, key)
            room.begin()
        self._room = room
        return room

    def _finish(
        self,
        room: Room,
        policy: RecurrentPolicy,
        memory: Memory,
        before: Rollout | None,
        late: Memory,
        carried: int,
    ) -> Rollout:
        """The rollout that was written, with what the seat to decide next expects."""
        lanes = self.lanes
        if self._playing is not None:
            next_value = self._playing.value(self.memory)
        else:
            shown = lanes.observation, lanes.legal, lanes.seat, self.start
            _, next_value, _ = policy.weigh(*shown, self.memory)
        if lanes.matches >= MANY:
            self._playing = None
        rollout = Rollout(
            **room.now,
            memory=memory,
            next_seat=lanes.seat.clone(),
            next_value=next_value,
            next_observation=lanes.observation.clone(),
            before=before,
        )
        room.give(rollout)
        if carried > 0:
            self.before = rollout.end(carried, late)
        return rollout

    def _stepper(
        self,
        room: Room,
        policy: RecurrentPolicy,
        generator: torch.Generator | None,
        magnet: RecurrentPolicy | None,
    ) -> Callable[[], None]:
        """What makes a step."""
        step = functools.partial(self._step, room, policy, generator, magnet)
        if not self._captures():
            self._graph = room.counter = None
            return step
        opposite = self.opposition
        players = () if opposite is None else tuple(opposite.players.values())
        key = (room, policy, generator, magnet, *players)
        if self._graph is None or not self._graph.is_of(key):
            generators = [] if generator is None else [generator]
            generators += [] if opposite is None else opposite.generators()
            self._stay(room)
            self._graph = StepGraph(step, generators, key)
        return self._graph

    def _captures(self) -> bool:
        """A step is to be a graph, and can be; else a warning, once."""
        if not self.cuda_graph:
            return False
        why = None
        if self.lanes.tells_episodes:
            why = "Gymnasium's worlds are no kernels"
        elif self.lanes.device.type != "cuda":
            why = f"the matches lie on {self.lanes.device}"
        elif self.opposition is not None and not self.opposition.decides_on(self.lanes.device):
            why = "a player opposite decides on the CPU"
        if why is not None:
            self.cuda_graph = False
            warn_of_launches(why)
        return self.cuda_graph

    def _stay(self, room: Room) -> None:
        """From now on everything that goes on from step to step stays where it is in memory."""
        self.memory = self._copied(self.memory)
        self.magnet_cores = tuple(part.clone() for part in self.magnet_cores)
        room.counter = torch.full((1,), room.at * room.steps, device=self.lanes.device)

    def _remembered(self) -> Memory:
        """What is remembered now, whatever comes."""
        stays = self._graph is None and self._playing is None
        return self.memory if stays else self._copied(self.memory)

    @staticmethod
    def _copied(memory: Memory) -> Memory:
        return Memory(tuple(part.clone() for part in memory.cores), memory.previous.clone())

    def _keep(self, **values: Any) -> None:
        """Go on with these attributes, tensors or tuples of them; for a graph they keep their places."""
        for name, value in values.items():
            if self._graph is None:
                setattr(self, name, value)
                continue
            for mine, new in zip(_flat(getattr(self, name)), _flat(value), strict=True):
                mine.copy_(new)

    def _step(
        self,
        room: Room,
        policy: RecurrentPolicy,
        generator: torch.Generator | None,
        magnet: RecurrentPolicy | None,
    ) -> None:
        """See, decide, play and hear once in every match."""
        self._see(room, magnet)
        self.lanes.step(self._decide(room, policy, generator))
        self._hear(room, policy)
        room.next()

    def _see(self, room: Room, magnet: RecurrentPolicy | None) -> None:
        """Record what the seats that decide see, and what the magnet would do."""
        lanes = self.lanes
        room.put(observation=lanes.observation, legal=lanes.legal, seat=lanes.seat, start=self.start)
        if magnet is not None:
            beside = Memory(self.magnet_cores, self.memory.previous)
            told, _, (cores, _) = magnet.weigh(lanes.observation, lanes.legal, lanes.seat, self.start, beside)
            if self.mixed > 0.0:
                told = magnet.family.mixed(told, lanes.legal, self.mixed)
            room.put(magnet=told)
            self._keep(magnet_cores=cores)

    def _decide(self, room: Room, policy: RecurrentPolicy, generator: torch.Generator | None) -> Tensor:
        """The actions [B, *] of a step, the policy's or those of the players opposite."""
        lanes = self.lanes
        if self._playing is not None:
            decision, memory = self._playing.act(self.memory, generator)
        else:
            decision, memory = policy.act(
                lanes.observation, lanes.legal, lanes.seat, self.start, self.memory, generator
            )
        room.put(log_prob=decision.log_prob, distribution=decision.distribution, value=decision.value)
        room.put(previous=decision.previous)
        if self.tells_situations:
            told = lanes.observation, lanes.seat, decision.previous, self.start
            stand, situation = situations.enter(self.stand, *told)
            room.put(situation=situation)
            self._keep(stand=stand)
        self._keep(memory=memory)
        action = decision.action
        if self.opposition is not None:
            action, is_own = self.opposition.act(lanes, action)
            room.put(is_own=is_own)
        room.put(action=action)
        return action

    def _hear(self, room: Room, policy: RecurrentPolicy) -> None:
        """Record what came of a step, and begin anew where a match has ended."""
        lanes = self.lanes
        self.start.copy_(lanes.over)
        self.length += 1
        self.earned += lanes.reward
        room.put(reward=lanes.reward, over=lanes.over, illegal=lanes.illegal)
        room.put(length=self.length, earned=self.earned)
        if lanes.truncated is not None:
            room.put(bootstrap=self._value_of_cut_off(policy, lanes.truncated))
        self.length.masked_fill_(self.start, 0)
        self.earned.masked_fill_(self.start[:, None], 0.0)
        if self.opposition is not None:
            self.opposition.restart(lanes.over)

    def state_dict(self) -> dict[str, Tensor]:
        """What the policy remembers of the matches, as tensors; `lanes` and `opposition` tell their own."""
        state = {f"core.{k}": part for k, part in enumerate(self.memory.cores)}
        state |= {f"magnet.{k}": part for k, part in enumerate(self.magnet_cores)}
        state |= {"previous": self.memory.previous, "start": self.start}
        state |= {"length": self.length, "earned": self.earned}
        state |= {"stand": self.stand} if self.tells_situations else {}
        if self.before is not None:
            state |= {f"before.{name}": x for name, x in _tensors(self.before).items()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], policy: RecurrentPolicy) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: it does not fit the matches or `policy`.
        """
        self.tells_situations = "stand" in state
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
        self.stand = told.get("stand", self.stand)
        self.before = self._end(end, policy) if end else None
        self._room = self._graph = None

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
        silent = {} if self.tells_situations else {"situation": expected.pop("situation")}
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
        return Rollout(**plain | silent, memory=Memory(tuple(cores), previous))

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
            "situation": of(integer) if self.tells_situations else integer.new_empty(0),
            "reward": of(number, P),
            "over": of(truth),
            "illegal": of(truth),
            "bootstrap": of(number).zero_(),
            "length": of(integer),
            "earned": of(number, P),
        }
