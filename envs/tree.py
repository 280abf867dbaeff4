"""The tree of a two-seat zero-sum game: its information sets, and exact values of play at all of them.

tree = build(envs.make("kuhn_poker"))
tree.counts.sets                                    # (6, 6)
told = tree.evaluate(tree.uniform())
told.exploitability                                 # 0.4583... = NashConv / 2

An information set is what its seat has seen and done, no more and no less. Sets and *sequences* (a set's
action, with all of the seat's own before it) of both seats share one numbering, in which parents come before
children, the children of a set lie side by side, and so do all sets of one seat and depth. Sequences 0 and 1
are the seats' empty ones.

The payoffs over pairs of sequences are a product of sparse matrices, A = M_0' T M_1 (see `envs.walk`):
M_p[w, q] = 1 where own sequence q of seat p fits world history w, and T holds one number per terminal of the
world, chance x payoff. So both best responses cost a pass over M, however many joint histories there are.
(The same sparsity is used for linear programs by Zhang & Sandholm 2020 and Farina & Sandholm 2022.)
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from envs import room, walk
from envs.compiled import compiled
from envs.core import Array, Game, mix
from envs.declared import check_declared, own_bytes, world_bytes
from envs.match import Match
from envs.walk import Records, Walk, walkers

SLICE: Final = 1 << 20
"""Plays between two looks at the keyboard and the progress bar, about a tenth of a second."""

PROBES: Final = 1024
PROBE_PLAYS: Final = 1 << 20
PROBE_ROOM: Final = 1 << 27
"""How often a tree is probed before it is walked, after how many plays that ends at the latest, and the bytes
that it may take: those of 3 x 3 boards, abrupt ones too, take less than one megabyte, and a single one that
takes 128 is in a tree far beyond any memory."""

SMALL: Final = 3e8
HISTORIES: Final = 1e11
"""A tree is small up to so many plays. Classical boards of nine cells take 1.5e8, abrupt ones 5e9. Where
already a few matches tell of more joint histories than that, no walk is compiled to count its plays."""

TASKS: Final = 2
TASK_DEPTH: Final = 2
"""Products on the fly are made in so many tasks, whatever the threads, so that sums come out bit for bit;
they are told apart by the nodes at this depth. Each holds a gain for every sequence."""

PER_SET: Final = 64
"""Bytes a set takes while it is numbered, beside those that it keeps."""

Progress = Callable[[float], object]


class NoRoomError(ValueError):
    """A tree does not fit the memory."""


class Counts(NamedTuple):
    """How large a tree is. Joint histories are those of the game; the walk needs those of the world only."""

    sets: tuple[int, int]  # information sets, by seat
    sequences: int  # of both seats, the empty ones among them
    joint_histories: int  # decisions, chance nodes and terminals
    joint_decisions: tuple[int, int]
    joint_terminals: int
    world_histories: int
    world_terminals: int
    plays: int  # that the walk made of the game's verbs
    entries: int  # of M that are not zero


class Evaluation(NamedTuple):
    """What play at every information set is worth, exactly."""

    exploitability: float  # NashConv / 2: the mean over the seats of what a best response gets
    best_response: tuple[float, float]  # what a best response in this seat gets against the play
    value: tuple[float, float]  # what the play gets against itself
    choice: Array  # int32 [sets]: the sequence that the best response goes on with; the first among equals


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """See the module's docstring; made by `build`."""

    game: Game
    counts: Counts
    seconds: float
    """That the walk took."""
    levels: tuple[Array, Array]
    """By seat, int64 [depths + 1]: the first set of each depth; the last number ends them."""
    parent: Array
    """int32 [sets]: the own sequence that leads here."""
    begin: Array
    """int32 [sets + 1]: sequences begin[i] .. begin[i + 1] - 1 are set i's, one per legal action."""
    sees: Array
    """int32 [sets]: which of `observations` is shown."""
    observations: Array
    """[distinct, *]: everything that any seat is ever shown at a decision."""
    action: Array
    """uint16 [sequences]: the action that ends it."""
    row_begin: Array
    """int64 [rows + 1], of M: row w is column[row_begin[w] : row_begin[w + 1]]."""
    column: Array
    """int32 [entries]: sequences."""
    ends: Array
    """int32 [terminals, 2]: rows of M, of seat 0 and of seat 1."""
    pays: Array
    """float64 [terminals]: what seat 0 gets, times the chance probabilities on the way."""
    odds: Array
    """float64 [terminals]: the product of these."""

    @property
    def sets(self) -> int:
        return len(self.parent)

    @property
    def sequences(self) -> int:
        return len(self.action)

    @property
    def bytes(self) -> int:
        """Of memory."""
        return sum(part.nbytes for part in vars(self).values() if isinstance(part, np.ndarray))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tree:
        """Itself: it never changes, and may be a gigabyte."""
        return self

    def seat(self) -> Array:
        """int8 [sets]: whose set it is."""
        seat: Array = (np.arange(self.sets) >= self.levels[1][0]).astype(np.int8)
        return seat

    def owner(self) -> Array:
        """int32 [sequences - 2]: the set of sequences 2, 3, ..."""
        owner: Array = np.repeat(np.arange(self.sets, dtype=np.int32), np.diff(self.begin))
        return owner

    def find(self, sequence: int, observation: Array) -> int:
        """The set behind `sequence` at which `observation` is shown; -1 if there is none.

        Args:
            sequence: the seat's own latest one; 0 and 1 before the seats' first decisions.
        """
        own = slice(*(self.levels[self._seat_of(sequence)][[0, -1]]))
        first, end = own.start + np.searchsorted(self.parent[own], [sequence, sequence + 1])
        shown = self.observations[self.sees[first:end]].reshape(end - first, -1)
        same = np.flatnonzero((shown == observation.reshape(-1)).all(1))
        return int(first + same[0]) if len(same) else -1

    def _seat_of(self, sequence: int) -> int:
        return sequence if sequence < 2 else int(sequence >= self.begin[self.levels[1][0]])

    def uniform(self) -> Array:
        """The table of play at random, float64 [sequences]: every legal action with the same probability."""
        actions = np.diff(self.begin)
        return np.concatenate([[1.0, 1.0], np.repeat(1.0 / actions, actions)])

    def checked(self, table: Any) -> Array:
        """A table of play, float64 [sequences]: of each the probability of its last action at its set.

        Raises:
            ValueError: it is of another tree, or a set's probabilities do not add up to 1.
        """
        told: Array = np.ascontiguousarray(table, np.float64)
        if told.shape != (self.sequences,):
            raise ValueError(
                f"{self.game}: expected one probability per sequence, shape ({self.sequences},), "
                f"got {told.shape}"
            )
        sums = np.add.reduceat(told[2:], self.begin[:-1] - 2)
        lowest = np.minimum.reduceat(told[2:], self.begin[:-1] - 2)
        is_right = (np.abs(sums - 1.0) < 1e-6) & (lowest >= 0.0)
        if not is_right.all():
            i = int(is_right.argmin())
            got = told[self.begin[i] : self.begin[i + 1]].tolist()
            raise ValueError(f"{self.game}: expected probabilities that add up to 1, set {i} has {got}")
        return told

    def evaluate(self, table: Any) -> Evaluation:
        """What the play in `table` is worth, and what best responses to it get; see `checked`."""
        table = self.checked(table)
        reached = np.ones(self.sequences)
        _reach(self.parent, self.begin, table, reached)
        value, gain = self._products(reached) if len(self.column) > 0 else _walked_again(self, reached)
        choice = np.empty(self.sets, np.int32)
        _respond(self.parent, self.begin, gain, choice)
        best = float(gain[0]), float(gain[1])
        return Evaluation((best[0] + best[1]) / 2, best, (value, -value), choice)

    def uncertain(self, table: Any, prune: float) -> float:
        """How far the exploitability of `table` may be from that of play which differs from it at sets that
        it reaches itself with a probability below `prune`.

        A best response gains by the difference no more than what it may win or lose there, times the
        probability with which it can make the play come there; both seats' are found like a best response.

        Raises:
            ValueError: the tree keeps no products.
        """
        if len(self.column) == 0:
            raise ValueError(
                f"{self.game}: only a tree that keeps its products tells how uncertain a value is"
            )
        reached, below = np.ones(self.sequences), np.zeros(self.sequences)
        _reach(self.parent, self.begin, self.checked(table), reached)
        _mark(self.parent, self.begin, reached, prune, below)
        weight, rows = np.empty(len(self.row_begin) - 1), np.arange(len(self.row_begin) - 1, dtype=np.int32)
        gather(rows, self.row_begin, self.column, below, weight)
        chance, gain = np.zeros_like(weight), np.zeros(self.sequences)
        _come_there(self.ends, self.odds, weight, chance)
        scatter(rows, self.row_begin, self.column, chance, gain)
        _respond(self.parent, self.begin, gain, np.empty(self.sets, np.int32))
        returns = self.pays / self.odds
        return float((gain[0] + gain[1]) / 2 * (returns.max() - returns.min()))

    def _products(self, reached: Array) -> tuple[float, Array]:
        """The value of seat 0, and what each sequence gets against the other seat's play."""
        rows = np.arange(len(self.row_begin) - 1, dtype=np.int32)
        weight = np.empty(len(rows))
        gather(rows, self.row_begin, self.column, reached, weight)
        worth = np.zeros_like(weight)
        value = _finish(self.ends, self.pays, weight, worth)
        gain = np.zeros(self.sequences)
        scatter(rows, self.row_begin, self.column, worth, gain)
        return value, gain


# ---------------------------------------------------------------- products

unlocked = functools.partial(compiled, nogil=True)
"""Several plays may be evaluated at once: these hold no Python lock."""


@unlocked
def _reach(parent: Array, begin: Array, table: Array, reached: Array) -> None:
    """Per sequence the product of its seat's own probabilities; `reached` arrives as ones."""
    for i in range(parent.shape[0]):
        for q in range(begin[i], begin[i + 1]):
            reached[q] = reached[parent[i]] * table[q]


@unlocked
def gather(rows: Array, row_begin: Array, column: Array, x: Array, w: Array) -> None:
    """w = M x, of these rows"""
    for r in rows:
        total = 0.0
        for k in range(row_begin[r], row_begin[r + 1]):
            total += x[column[k]]
        w[r] = total


@unlocked
def scatter(rows: Array, row_begin: Array, column: Array, v: Array, g: Array) -> None:
    """g += M' v, of these rows"""
    for r in rows:
        for k in range(row_begin[r], row_begin[r + 1]):
            g[column[k]] += v[r]


@unlocked
def _finish(ends: Array, pays: Array, w: Array, v: Array) -> float:
    """v += T w for both seats at once, rows of seat 0 and of seat 1; returns the value of seat 0."""
    value = 0.0
    for k in range(ends.shape[0]):
        a, b = ends[k, 0], ends[k, 1]
        v[a] += pays[k] * w[b]
        v[b] -= pays[k] * w[a]
        value += pays[k] * w[a] * w[b]
    return value


@unlocked
def _mark(parent: Array, begin: Array, reached: Array, prune: float, below: Array) -> None:
    """Per sequence what it is reached with, of those below sets that are reached with less than `prune`."""
    for i in range(parent.shape[0]):
        if reached[parent[i]] < prune:
            for q in range(begin[i], begin[i + 1]):
                below[q] = reached[q]


@unlocked
def _come_there(ends: Array, odds: Array, w: Array, v: Array) -> None:
    """v += T w for both seats, of a T that pays 1 everywhere."""
    for k in range(ends.shape[0]):
        v[ends[k, 0]] += odds[k] * w[ends[k, 1]]
        v[ends[k, 1]] += odds[k] * w[ends[k, 0]]


@unlocked
def _respond(parent: Array, begin: Array, gain: Array, choice: Array) -> None:
    """From the last set to the first: take the best sequence, and hand its gain to the one above."""
    for i in range(parent.shape[0] - 1, -1, -1):
        best = begin[i]
        for q in range(begin[i] + 1, begin[i + 1]):
            if gain[q] > gain[best]:
                best = q
        choice[i] = best
        gain[parent[i]] += gain[best]


# ---------------------------------------------------------------- building


def build(
    game: Game,
    memory_limit: int | None = None,
    on_progress: Progress = lambda _: None,
    keeps_products: bool = True,
) -> Tree:
    """Walk `game` and number its sets.

    Args:
        memory_limit: bytes that it may take; None takes what there is.
        on_progress: called with the share of the walk that is done, 0..1, as it was estimated.
        keeps_products: False keeps the sets alone, and every evaluation walks the game again: for trees whose
            M does not fit, such as those of the abrupt games on nine cells.

    Raises:
        ValueError: the game is not for two seats, its set-up or a move draws by itself, it is not zero-sum
            at some terminal, its declarations or its legal actions are wrong, or there is no room for it.
    """
    began = time.perf_counter()
    w, counts = _walked(game, keeps_products, memory_limit, on_progress)
    return _numbered(game, w, counts, began)


def count(game: Game, memory_limit: int | None = None, on_progress: Progress = lambda _: None) -> Counts:
    """Walk `game` for its counts alone, in less memory; arguments and errors as `build`."""
    return _walked(game, False, memory_limit, on_progress)[1]


def is_small(game: Game) -> bool:
    """Its tree can be walked in half a minute or so, as those of the classical games on nine cells."""
    if game.seats != 2 or _least_histories(game) > HISTORIES:
        return False
    try:
        check_declared(game)
        return _estimated(game)[0] <= SMALL
    except ValueError:
        return False


def _least_histories(game: Game) -> float:
    """A rough number of joint histories, from a few matches at random: it compiles no walk."""
    found = []
    for seed in range(8):
        match, many, random = Match(game, seed, chance="ask"), 1.0, np.random.default_rng(seed)
        if match.state.draws > 0:  # there is no tree
            return np.inf
        while not match.over and many <= HISTORIES:
            choices = match.legal()
            many *= len(choices)
            match.play(int(random.choice(choices)))
        found.append(many)
    return min(found)


def _walked(game: Game, keeps: bool, limit: int | None, on_progress: Progress) -> tuple[Walk, Counts]:
    """The arrays at the walk's end; without `keeps` the matrix is counted and not kept."""
    check_declared(_for_two(game))
    limit = room.room("cpu") if limit is None else limit
    plays, entries, ends = _estimated(game)
    if keeps:
        _check_room(game, 4 * entries + 24 * ends, limit, is_estimate=True)
    # Memory that is never touched costs nothing: so no time is lost by copying the largest array.
    w = _begun(game, columns=max(1 << 10, int(1.25 * entries)) if keeps else 0)
    while w.counts[walk.DEPTH] >= 0:
        w = _go_on(game, w, walkers(type(game)).walk, limit, SLICE, -1, np.zeros(4))
        on_progress(min(w.counts[walk.PLAYS] / max(plays, 1.0), 1.0))
    return w, _counts(w)


def _for_two(game: Game) -> Game:
    if game.seats != 2:
        raise ValueError(f"exact values are of zero-sum games for two seats, {game} has {game.seats}")
    return game


def _estimated(game: Game) -> tuple[float, float, float]:
    """Plays that a walk would take, entries of M and terminals of the world, from random descents."""
    found, plays, probes = np.zeros(4), 0, 0
    w, probe = _begun(game, columns=0), walkers(type(game)).walk
    while plays < PROBE_PLAYS and probes < PROBES:
        w, found[3] = _restarted(game, w), 1.0
        try:
            w = _go_on(game, w, probe, PROBE_ROOM, PROBE_PLAYS - plays, probes, found)
        except NoRoomError:
            raise NoRoomError(
                f"{game}: expected a tree that can be walked, a single way down this one takes more than "
                f"{room.size(PROBE_ROOM)}"
            ) from None
        plays, probes = plays + int(w.counts[walk.PLAYS]), probes + 1
    told = found / probes
    return float(told[0]), float(told[1]), float(told[2])


def _check_room(game: Game, needed: float, limit: int | None, is_estimate: bool = False) -> None:
    if limit is not None and needed > limit:
        told = room.size(needed) if needed < 2.0**50 else f"{needed:.0e} bytes"
        how, hint = ("about", "; with products on the fly it takes less") if is_estimate else ("at least", "")
        raise NoRoomError(
            f"{game}: its tree needs {how} {told} of memory, there are {room.size(limit)}{hint}"
        )


def _counts(w: Walk) -> Counts:
    n = [int(number) for number in w.counts]
    sets, decisions = (
        np.bincount(w.set_seat[: n[walk.SETS]], minlength=2).tolist(),
        n[walk.JOINT_DECISIONS :][:2],
    )
    return Counts(
        sets=(sets[0], sets[1]),
        sequences=n[walk.SEQUENCES],
        joint_histories=sum(decisions) + n[walk.CHANCES] + n[walk.JOINT_TERMINALS],
        joint_decisions=(decisions[0], decisions[1]),
        joint_terminals=n[walk.JOINT_TERMINALS],
        world_histories=n[walk.NODES],
        world_terminals=n[walk.TERMINALS],
        plays=n[walk.PLAYS],
        entries=n[walk.COLUMNS],
    )


# ---------------------------------------------------------------- the walk's memory

GROUPS: Final = {
    walk.NO_DEPTH: (
        *("node", "list_of", "returns", "odds", "list_weight", "list_gain", "next_child", "end_child"),
        *("first_child", "first_entry", "list_begin", "list_end", "list_row"),
    ),
    walk.NO_CHILDREN: ("child", "child_begin", "child_end", "child_odds"),
    walk.NO_ENTRIES: ("entry", "entry_private"),
    walk.NO_MOVES: ("move", "move_private", "move_child"),
    walk.NO_OWN: ("own", "own_sequence"),
    walk.NO_SETS: ("set_parent", "set_begin", "set_sibling", "set_seat", "set_seen"),
    walk.NO_SEQUENCES: ("action", "first_set"),
    walk.NO_ROWS: ("row_begin",),
    walk.NO_COLUMNS: ("column",),
    walk.NO_TERMINALS: ("ends", "pays", "chances"),
}
"""Arrays that grow together."""


def _begun(game: Game, columns: int) -> Walk:
    """A walk at its beginning."""
    own, world = own_bytes(game), world_bytes(game)
    words = game.state.itemsize // 8
    seen = -(-int(np.prod(game.observation_space.shape)) * game.observation_space.dtype.itemsize // 8)
    private = [_masked(bytes_) for bytes_ in own]
    width = max(1, *(len(at) for at, _ in private))
    world_at, world_bits = _masked(world)
    int32, int64, float64, uint64 = np.int32, np.int64, np.float64, np.uint64
    sizes: dict[str, Any] = dict.fromkeys(GROUPS[walk.NO_DEPTH], (int64, 64))
    sizes |= {"node": (uint64, 64, words), "list_of": (int64, 64, 2), "returns": (float64, 64, 2)}
    sizes |= dict.fromkeys(("odds", "list_weight", "list_gain"), (float64, 64))
    sizes |= {"child": (uint64, 256, words), "child_odds": (float64, 256)}
    sizes |= dict.fromkeys(("child_begin", "child_end"), (int64, 256))
    sizes |= {"own": (uint64, 256, words), "own_sequence": (int32, 256)}
    sizes |= {"entry": (int32, 1 << 12), "entry_private": (uint64, 1 << 12, width)}
    sizes |= {
        "move": (int32, 1 << 10),
        "move_private": (uint64, 1 << 10, width),
        "move_child": (int64, 1 << 10),
    }
    sizes |= dict.fromkeys(("set_parent", "set_begin", "set_sibling"), (int32, 1 << 12))
    sizes |= {"set_seat": (np.int8, 1 << 12), "set_seen": (uint64, 1 << 12, seen)}
    sizes |= {"action": (np.uint16, 1 << 13), "first_set": (int32, 1 << 13)}
    sizes |= {"row_begin": (int64, 1 << 10), "column": (int32, columns)}
    sizes |= {"ends": (int32, 1 << 10, 2)} | dict.fromkeys(("pays", "chances"), (float64, 1 << 10))
    sizes |= {"reached": (float64, 0), "gain": (float64, 0), "value": (float64, 1), "task": (int64, 3)}
    sizes |= {"guess": (int64, game.actions), "mask": (np.bool_, game.actions), "seen": (uint64, seen)}
    sizes |= {"counts": (int64, walk.COUNTS), "outcomes": (float64, max(game.chance_outcomes, 1))}
    arrays = {name: np.empty(shape, kind) for name, (kind, *shape) in sizes.items()}
    private_at, private_bits = np.zeros((2, width), np.int64), np.zeros((2, width), np.uint64)
    for p, (at, bits) in enumerate(private):
        private_at[p, : len(at)], private_bits[p, : len(at)] = at, bits
    w = Walk(world_at=world_at, world=world_bits, private_at=private_at, private=private_bits, **arrays)
    return _restarted(game, w)


def _restarted(game: Game, w: Walk) -> Walk:
    """The walk at its beginning again, in the same memory."""
    w.counts[:], w.node[0], w.returns[0] = 0, np.frombuffer(game.blank().tobytes(), np.uint64), 0.0
    return _go_on(game, w, walkers(type(game)).begin, None)


def _masked(bytes_: Array) -> tuple[Array, Array]:
    """Marked bytes of a record as 64-bit words: which have any, int64 [words], and their bits, uint64."""
    words = np.where(bytes_, np.uint8(255), np.uint8(0)).view(np.uint64)
    at = np.flatnonzero(words)
    return at, words[at]


def _go_on(game: Game, w: Walk, step: Callable[..., int], limit: int | None, *arguments: Any) -> Walk:
    """Call a walker until it needs no more room; returns the walk with the room it then has."""
    while True:
        told = step(w, _records(game, w), *arguments)
        if told >= walk.FINE:
            return w
        if told not in GROUPS:
            raise ValueError(f"{game.name}: {FAULTS[told]}")
        w = _grown(game, w, GROUPS[told], limit)


FAULTS: Final = {
    walk.DRAWS: "its rules draw by themselves, expected chance to be a seat: such a game has no tree to walk",
    walk.NOT_ZERO_SUM: "expected returns of both seats that sum to zero at every terminal",
    walk.NOT_LEGAL: "expected at least one legal action, the same whenever a seat has seen and done the same",
}


def _records(game: Game, w: Walk) -> Records:
    """The walk's memory as the game's verbs take it."""
    space = game.observation_space
    size = int(np.prod(space.shape)) * space.dtype.itemsize
    shown = w.seen.view(np.uint8)[:size].view(space.dtype).reshape(space.shape)
    node, child, own = (words.view(game.state).reshape(-1) for words in (w.node, w.child, w.own))
    return Records(node, child, own, shown)


def _grown(game: Game, w: Walk, group: tuple[str, ...], limit: int | None) -> Walk:
    """The walk with more room in the arrays of a group.

    Raises:
        ValueError: there is none, or the game does not end.
    """
    old = {name: getattr(w, name) for name in group}
    size = len(old[group[0]])
    size = 2 * size if size < 1 << 20 else size * 3 // 2
    most = {"node": 4 * game.max_length + 1_000, "own": 2 * game.actions * (game.max_length + 1) + 1_000}
    if size > 2 * most.get(group[0], size):
        raise ValueError(f"{game.name}: expected at most {game.max_length} decisions a match, it goes on")
    longer = sum(array.nbytes // len(array) * size for array in old.values())  # while the old ones are copied
    _check_room(game, sum(array.nbytes for array in w) + longer + PER_SET * len(w.set_parent), limit)
    return w._replace(**{name: _longer(array, size) for name, array in old.items()})


def _longer(array: Array, size: int) -> Array:
    longer = np.empty((size, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


# ---------------------------------------------------------------- products on the fly


def _walked_again(tree: Tree, reached: Array) -> tuple[float, Array]:
    """`Tree._products` without M: walks the game in tasks, whose sums are added up in their order."""
    first = np.concatenate([[True], tree.parent[1:] != tree.parent[:-1]])
    first_set = np.full(tree.sequences, -1, np.int32)
    first_set[tree.parent[first]] = np.flatnonzero(first)
    sibling = np.where(np.append(first[1:], True), -1, np.arange(1, tree.sets + 1)).astype(np.int32)
    seen = tree.observations.reshape(len(tree.observations), -1).view(np.uint8)
    words = np.zeros((len(seen), -(-seen.shape[1] // 8) * 8), np.uint8)
    words[:, : seen.shape[1]] = seen
    known = {
        "set_parent": tree.parent,
        "set_begin": tree.begin,
        "set_sibling": sibling,
        "set_seat": tree.seat(),
        "set_seen": words.view(np.uint64)[tree.sees],
        "action": tree.action,
        "first_set": first_set,
    }
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(min(TASKS, os.cpu_count() or 1)) as pool:
        try:
            parts = list(pool.map(lambda task: _task(tree, reached, known, task, stop), range(TASKS)))
        finally:
            stop.set()
    return sum(value for value, _ in parts), np.sum([gain for _, gain in parts], 0)


def _task(
    tree: Tree, reached: Array, known: dict[str, Array], task: int, stop: threading.Event
) -> tuple[float, Array]:
    """One task's share of the value and of the gains; of no worth if it was told to stop."""
    game = tree.game
    w = _begun(game, columns=0)._replace(reached=reached, gain=np.zeros(tree.sequences), **known)
    w.counts[walk.SETS], w.counts[walk.SEQUENCES] = tree.sets, tree.sequences
    w.value[0], w.task[:] = 0.0, (task, TASKS, TASK_DEPTH)
    while w.counts[walk.DEPTH] >= 0 and not stop.is_set():
        w = _go_on(game, w, walkers(type(game)).walk, None, SLICE, -1, np.zeros(4))
    assert w.counts[walk.SETS] == tree.sets
    w.gain[:2] += w.list_gain[:2]
    return float(w.value[0]), w.gain


# ---------------------------------------------------------------- numbering


def _numbered(game: Game, w: Walk, counts: Counts, began: float) -> Tree:
    """The tree that a walk has found, renumbered: what the walk met first does not show."""
    sets, sequences = sum(counts.sets), counts.sequences
    parent, begin = w.set_parent[:sets], w.set_begin[: sets + 1].astype(np.int64)
    sees, seen = distinct(w.set_seen[:sets])
    order, new, levels = _order(parent, begin, sees, len(seen), w.set_seat[:sets])
    action = np.zeros(sequences, np.uint16)
    action[new[2:]] = w.action[2:sequences]
    column = w.column[: counts.entries]
    _rename(column, new)
    actions = np.diff(begin)[order]
    size = int(np.prod(game.observation_space.shape)) * game.observation_space.dtype.itemsize
    shown = np.ascontiguousarray(seen.view(np.uint8).reshape(len(seen), -1)[:, :size])
    return Tree(
        game=game,
        counts=counts,
        levels=levels,
        parent=new[parent[order]],
        begin=np.concatenate([[2], 2 + np.cumsum(actions)]).astype(np.int32),
        sees=sees[order],
        observations=shown.view(game.observation_space.dtype).reshape(-1, *game.observation_space.shape),
        action=action,
        row_begin=w.row_begin[: w.counts[walk.ROWS] + 1 if len(column) > 0 else 1].copy(),
        column=column,
        ends=w.ends[: counts.world_terminals if len(column) > 0 else 0].copy(),
        pays=w.pays[: counts.world_terminals if len(column) > 0 else 0].copy(),
        odds=w.chances[: counts.world_terminals if len(column) > 0 else 0].copy(),
        seconds=time.perf_counter() - began,
    )


def _order(
    parent: Array, begin: Array, sees: Array, observations: int, seat: Array
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Sets in the order of seat, depth, parent and observation.

    Returns:
        the old numbers of the sets, int64 [sets]; the new ones of the sequences, int32; and `levels`.
    """
    actions = np.diff(begin)
    depth = np.empty(len(parent), np.int16)
    _measure(parent, begin, depth, np.empty(int(begin[-1]), np.int16))
    new = np.arange(int(begin[-1]), dtype=np.int32)
    order, levels, at, top = list[Array](), [[0], list[int]()], 0, 2
    for p in range(2):
        levels[p] = [at]
        for d in range(int(depth[seat == p].max(initial=-1)) + 1):
            here = np.flatnonzero((depth == d) & (seat == p))
            here = here[np.argsort(new[parent[here]].astype(np.int64) * observations + sees[here])]
            many = actions[here]
            ends = np.cumsum(many)
            inside = np.arange(ends[-1]) - np.repeat(ends - many, many)
            new[np.repeat(begin[here], many) + inside] = top + np.arange(ends[-1])
            order.append(here)
            at, top = at + len(here), top + int(ends[-1])
            levels[p].append(at)
    return np.concatenate(order), new, (np.array(levels[0]), np.array(levels[1]))


@compiled
def _measure(parent: Array, begin: Array, depth: Array, deep: Array) -> None:
    """Own decisions before each set; `deep` is scratch, of each sequence. The walk meets parents first."""
    deep[0] = deep[1] = 0
    for i in range(parent.shape[0]):
        depth[i] = deep[parent[i]]
        for q in range(begin[i], begin[i + 1]):
            deep[q] = depth[i] + 1


@compiled
def _rename(column: Array, new: Array) -> None:
    for k in range(column.shape[0]):
        column[k] = new[column[k]]


def distinct(rows: Array) -> tuple[Array, Array]:
    """Which of the distinct rows (of uint64) each row is, int32 [rows], and these, sorted."""
    which = np.empty(len(rows), np.int32)
    slots = 1 << int(2 * len(rows)).bit_length()
    first = np.empty(len(rows), np.int32)
    first = first[: _group(rows, np.full(slots, -1, np.int32), which, first)]
    order = np.lexsort(rows[first].T[::-1])
    rank = np.empty(len(first), np.int32)
    rank[order] = np.arange(len(first), dtype=np.int32)
    return rank[which], rows[first[order]]


@compiled
def _group(rows: Array, slots: Array, which: Array, first: Array) -> int:
    """Number rows by a hash table of open addresses; returns how many differ. `first` tells where each is."""
    many, last = 0, np.uint64(slots.shape[0] - 1)
    for i in range(rows.shape[0]):
        told = np.uint64(0)
        for k in range(rows.shape[1]):
            told = mix(told ^ rows[i, k])
        at = told & last
        while slots[at] >= 0 and not _is_equal(rows, i, first[slots[at]]):
            at = (at + np.uint64(1)) & last
        if slots[at] < 0:
            slots[at], first[many] = many, i
            many += 1
        which[i] = slots[at]
    return many


@compiled
def _is_equal(rows: Array, i: int, j: int) -> bool:
    k = 0
    while k < rows.shape[1] and rows[i, k] == rows[j, k]:
        k += 1
    return bool(k == rows.shape[1])
