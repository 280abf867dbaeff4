"""Minds: what a player would do at every information set of a tree, its memory rolled down level by level.

A mind is asked for exact probabilities where a player draws. The sets of a tree come in chunks of one depth,
each with the memory that the mind has there; a *situation* is what can be computed once for many sets: what
is shown, what is legal, the seat and its own previous action. Phantom tic-tac-toe has 26,000 of them at its
6 million sets.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.net.policy import BoardCore, RecurrentPolicy
from agents.play.bots import Rules, batched
from envs.tree import Progress, Tree, distinct

Array = npt.NDArray[Any]

CHUNK: Final = 1024
"""Sets asked at once: 512 and 2,048 took as long, larger ones fall out of the processor's cache."""

CHUNK_ON_GPU: Final = 1 << 16
"""The same on a GPU, which would wait for its next kernel most of the time; not measured yet."""


class Situations(NamedTuple):
    """The distinct situations of a tree, C of them."""

    shown: Array  # [C, *]
    legal: Array  # bool [C, A]
    seat: Array  # int64 [C]
    previous: Array  # int64 [C], the seat's own previous action; A = none yet


class Mind(Protocol):
    """A player that is asked at information sets; R sets at once."""

    device: torch.device

    def meet(self, situations: Situations) -> None:
        """Compute what depends on the situation alone."""

    def begin(self, situation: Array) -> Any:
        """The memory at R sets at which nothing has been decided yet."""

    def decide(self, situation: Array, memory: Any) -> tuple[Array, Any]:
        """Probabilities, float64 [R, A], 0 where illegal, at sets with these situations (int64 [R]) and
        memories; and the memories after it."""

    def remember(self, after: Any, rows: Array, action: Array) -> Any:
        """The memory of those among the sets just asked (`rows`) that went on with these own actions."""


_TOLD: Final[weakref.WeakKeyDictionary[Tree, tuple[Situations, Array]]] = weakref.WeakKeyDictionary()
"""The situations of trees that are there still: those of nine cells take seconds to tell apart."""

_LOCK: Final = threading.Lock()


def situations_of(tree: Tree) -> tuple[Situations, Array]:
    """The distinct situations of a tree, and the one of each set, int32 [sets]."""
    with _LOCK:
        if tree not in _TOLD:
            _TOLD[tree] = _situations_of(tree)
        return _TOLD[tree]


def _situations_of(tree: Tree) -> tuple[Situations, Array]:
    A = tree.game.actions
    owner = tree.owner()
    legal = np.zeros((tree.sets, -(-A // 64) * 8), np.uint8)
    for a in range(A):
        legal[owner[tree.action[2:] == a], a // 8] |= np.uint8(1 << a % 8)
    seat = tree.seat()
    previous = np.where(tree.parent < 2, A, tree.action[tree.parent]).astype(np.uint64)
    told = np.column_stack(
        [2 * tree.sees.astype(np.uint64) + seat.astype(np.uint64), previous, legal.view(np.uint64)]
    )
    which, rows = distinct(told)
    masks = np.unpackbits(np.ascontiguousarray(rows[:, 2:]).view(np.uint8), axis=1, bitorder="little")
    shown = tree.observations[(rows[:, 0] >> np.uint64(1)).astype(np.int64)]
    seats = (rows[:, 0] & np.uint64(1)).astype(np.int64)
    return Situations(shown, masks[:, :A].astype(np.bool_), seats, rows[:, 1].astype(np.int64)), which


class _Waiting(NamedTuple):
    """Sets of one depth that are to be asked."""

    depth: int
    sets: Array  # int32, R of them, ascending
    after: Any  # what the chunk above remembers
    rows: Array  # int64 [R]: of that chunk


def roll(
    tree: Tree,
    mind: Mind,
    chunk: int | None = None,
    on_progress: Progress = lambda _: None,
    prune: float = 0.0,
) -> Array:
    """The mind's probabilities at every set, float64 [sequences], see `Tree.checked`.

    It goes down in chunks of one depth, deepest first, so that only the memories of one chunk per depth are
    held. The children of a chunk are neighbours. Sets with a single legal action and none of the seat's own
    behind them need no question: of boards of nine cells these are three in ten.

    Args:
        chunk: sets asked at once; None takes as many as suit the mind's device.
        on_progress: called with the share of the sets that have been asked, 0..1.
        prune: sets that its own decisions lead to with a smaller probability are not asked, as little
            depends on them (`Tree.uncertain` tells how little): there every action is as probable.
    """
    situations, which = situations_of(tree)
    mind.meet(situations)
    chunk = chunk or (CHUNK if mind.device.type == "cpu" else CHUNK_ON_GPU)
    table, owner, asked, decides = tree.uniform(), tree.owner(), 0, _decides(tree)
    reached = np.where(np.arange(tree.sequences) < 2, 1.0, 0.0) if prune > 0.0 else None
    for levels in tree.levels:
        first = np.arange(levels[0], levels[1], dtype=np.int32)
        first = first[decides[first]]
        waiting = [_Waiting(0, first, None, np.empty(0, np.int64))] if len(first) > 0 else []
        while waiting:
            depth, sets, after, rows = waiting.pop()
            if len(sets) > chunk:
                waiting.append(_Waiting(depth, sets[chunk:], after, rows[chunk:]))
                sets, rows = sets[:chunk], rows[:chunk]
            here = which[sets]
            action = tree.action[tree.parent[sets]].astype(np.int64)
            memory = mind.begin(here) if depth == 0 else mind.remember(after, rows, action)
            probabilities, after = mind.decide(here, memory)
            told, row = _sequences_of(tree, sets)
            table[told] = probabilities[row, tree.action[told]]
            if reached is not None:
                reached[told] = reached[tree.parent[sets]][row] * table[told]
            asked += len(sets)
            on_progress(asked / tree.sets)
            if depth + 2 < len(levels):
                level = levels[depth + 1 : depth + 3]
                below = _below(tree, level, sets, told, owner, decides, reached, prune)
                if len(below[0]) > 0:
                    waiting.append(_Waiting(depth + 1, below[0], after, below[1]))
    on_progress(1.0)
    return table


def _sequences_of(tree: Tree, sets: Array) -> tuple[Array, Array]:
    """The sequences of some sets, one after the other, and the row among `sets` of each; int64."""
    begin, many = tree.begin[sets].astype(np.int64), tree.begin[sets + 1] - tree.begin[sets]
    row = np.repeat(np.arange(len(sets)), many)
    return begin[row] + np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many), row


def _decides(tree: Tree) -> Array:
    """bool [sets]: there is something to decide, here or, for the same seat, behind it."""
    decides: Array = np.diff(tree.begin) > 1
    leads_on = np.zeros(tree.sequences, np.bool_)
    leads_on[tree.parent] = True
    decides |= np.logical_or.reduceat(leads_on[2:], tree.begin[:-1] - 2)
    return decides


def _below(
    tree: Tree,
    level: Array,
    sets: Array,
    told: Array,
    owner: Array,
    decides: Array,
    reached: Array | None,
    prune: float,
) -> tuple[Array, Array]:
    """The sets of the next depth that `sets` lead to and that are to be asked, and their rows in `sets`."""
    parents = tree.parent[level[0] : level[1]]
    ends = np.array([told[0], told[-1] + 1], parents.dtype)  # of another, all parents would be converted
    first, end = level[0] + np.searchsorted(parents, ends)
    below, parent = np.arange(first, end, dtype=np.int32), tree.parent[first:end]
    is_asked = decides[first:end]
    if reached is not None:  # 0 behind sets that are not asked
        is_asked = is_asked & (reached[parent] >= prune)
    below, parent = below[is_asked], parent[is_asked]
    return below, np.searchsorted(sets, owner[parent - 2])


# ---------------------------------------------------------------- policies


class PolicyMind:
    """A trained policy; in float64 its probabilities do not depend on the chunk beyond 1e-12.

    Only what decides is computed: the encoder and the first layer's share of the inputs once per situation,
    then one cell step per set and layer.

    Args:
        policy: is copied.
        deterministic: all on its most probable action.
        read: what is shown [C, *] and the seats [C] as the policy reads them.
        is_exact: compute in float64; in float32, which takes half of the time, probabilities are off by
            about a millionth.

    Raises:
        ValueError: its class is another one, which may compute what it does in its own way.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        deterministic: bool,
        read: Callable[[Array, Tensor], tuple[Tensor, Tensor]],
        is_exact: bool = True,
    ) -> None:
        if type(policy) is not RecurrentPolicy:
            raise ValueError(
                f"exact probabilities are told of the class RecurrentPolicy, got {type(policy).__name__}"
            )
        self.policy = copy.deepcopy(policy).eval().requires_grad_(False)
        self.policy = self.policy.double() if is_exact else self.policy
        self.cells: list[Any] = list(self.policy.core.cells)
        self.deterministic, self.read = deterministic, read
        self.device = policy.no_action.device

    @torch.no_grad()
    def meet(self, situations: Situations) -> None:
        shown, seat = self.read(situations.shown, torch.from_numpy(situations.seat))
        previous = torch.from_numpy(situations.previous)
        parts = [part.to(self.device).split(CHUNK) for part in (shown, seat, previous)]
        self.legal = torch.from_numpy(situations.legal).to(self.device)
        self.features = torch.cat([self.policy.features(*part) for part in zip(*parts, strict=True)])
        # A spatial policy has so many inputs per situation that their share is made when it is asked for.
        self.is_spatial = isinstance(self.policy.core, BoardCore)
        self.share = None if self.is_spatial else self.cells[0].project(self.features)

    def begin(self, situation: Array) -> Any:
        squares = self.features.shape[1] if self.is_spatial else 1
        return [
            tuple(self.features.new_zeros(len(situation), squares, cell.hidden_size) for _ in cell.parts)
            for cell in self.cells
        ]

    @torch.no_grad()
    def decide(self, situation: Array, memory: Any) -> tuple[Array, Any]:
        here = torch.from_numpy(situation.astype(np.int64)).to(self.device)
        policy, after = self.policy, []
        reads_features = self.share is None or policy.skip_connection
        x = self.features[here] if reads_features else self.features[:0]
        h = x.flatten(0, -2)
        for layer, (cell, state) in enumerate(zip(self.cells, memory, strict=True)):
            z = self.share[here] if layer == 0 and self.share is not None else cell.project(h)
            new = cell.step(z, tuple(part.flatten(0, 1) for part in state))
            h = new[0]
            after.append(tuple(part.unflatten(0, (len(here), -1)) for part in new))
        h = after[-1][0] if self.is_spatial else h
        outputs = policy.action_head(torch.cat([h, x], -1) if policy.skip_connection else h)
        told = policy.family.normalise(outputs, self.legal[here])
        if self.deterministic:
            chosen = torch.nn.functional.one_hot(policy.family.mode(told), told.shape[-1])
            return chosen.double().cpu().numpy(), after
        return told.exp().cpu().numpy(), after

    def remember(self, after: Any, rows: Array, action: Array) -> Any:  # noqa: ARG002 - it is in the situation
        kept = torch.from_numpy(rows.astype(np.int64)).to(self.device)
        return [tuple(part[kept] for part in state) for state in after]


# ---------------------------------------------------------------- bots


class BotMind:
    """A bot's exact choice: the share of [0, 1) from which its ties draw each action.

    Rules may compare `tie` with fractions k / n up to n = max(A, 8), as `int(tie * n)` does.

    Args:
        rules: of the bot, see `agents.play.bots`.
        columns: the game's option `cols`.

    Raises:
        ValueError: from `remember`: what the bot notes depends on more than on what it has seen and done.
    """

    def __init__(self, name: str, rules: Rules, actions: int, columns: int) -> None:
        self.name, self.decide_all, self.columns = name, batched(rules), columns
        self.device = torch.device("cpu")
        most = max(actions, 8)
        edges = np.unique([k / n for n in range(1, most + 1) for k in range(n + 1)])
        self.shares = np.diff(edges)
        self.ties = ((edges[:-1] + edges[1:]) / 2).astype(np.float32)

    def meet(self, situations: Situations) -> None:
        self.situations = situations
        every = np.arange(len(situations.seat))
        blank = np.zeros(situations.legal.shape, np.int16)
        told = [self._ask(part, blank[part]) for part in np.array_split(every, -(-len(every) // CHUNK))]
        # One that writes no note anywhere never reads any: it decides by the situation alone.
        takes_notes = any(notes.any() for _, _, notes in told)
        self.table = None if takes_notes else np.concatenate([part[0] for part in told])

    def begin(self, situation: Array) -> Any:
        return np.zeros((len(situation), self.situations.legal.shape[1]), np.int16)

    def decide(self, situation: Array, memory: Any) -> tuple[Array, Any]:
        if self.table is not None:
            return self.table[situation], (memory, None, None)
        probabilities, actions, notes = self._ask(situation, memory)
        return probabilities, (memory, actions, notes)

    def remember(self, after: Any, rows: Array, action: Array) -> Any:
        before, actions, notes = after
        if actions is None:
            return before[rows]
        led = actions[rows] == action[:, None]  # [R, ties]
        told, first = notes[rows], led.argmax(1)
        kept = told[np.arange(len(rows)), first]
        differs = (told != kept[:, None]).any(2) & led
        if differs.any():
            raise ValueError(
                f"{self.name}: expected notes that follow from what a seat has seen and done, got two after "
                "the same action"
            )
        kept[~led.any(1)] = before[rows][~led.any(1)]  # it never goes there
        return kept

    def _ask(self, situation: Array, notes: Array) -> tuple[Array, Array, Array]:
        """With every tie: probabilities [R, A], the actions [R, ties], and the notes after [R, ties, A]."""
        R, T, s = len(situation), len(self.ties), self.situations
        each = np.repeat(situation, T)
        seat = s.seat[each]
        paper = np.zeros((R * T, 2, s.legal.shape[1]), np.int16)
        rows = np.arange(R * T)
        paper[rows, seat] = np.repeat(notes, T, axis=0)
        actions = np.empty(R * T, np.int64)
        shown, legal = np.ascontiguousarray(s.shown[each]), s.legal[each]
        self.decide_all(shown, legal, seat, np.tile(self.ties, R), self.columns, paper, rows, actions)
        probabilities = np.zeros((R, s.legal.shape[1]))
        np.add.at(probabilities, (np.repeat(np.arange(R), T), actions), np.tile(self.shares, R))
        return probabilities, actions.reshape(R, T), paper[rows, seat].reshape(R, T, -1)
