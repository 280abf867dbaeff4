"""Walks a game of two seats from its own verbs, all choices and chance outcomes, and writes down its sets.

A joint history is a world history and one own sequence per seat. A *world move* is one that changes something
the other seat may come to know; a move that changes only fields which the mover's own verbs read (a classical
collision in a phantom game) is *silent* and belongs to the mover's own sequence alone. Given the world
history the two own sequences are independent, so the walk keeps at every world history one list of own
sequences per seat, and never visits the pairs of them.

The walk stands in arrays (`Walk`), not in a recursion: it can pause and go on with more room.
The functions that begin with an underscore and name verbs are templates, bound to a game as those of
`envs.kernels`; the others know no game. A function that may fall short returns a code below zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from envs.compiled import bound, compiled, once
from envs.core import CHANCE, NO_COUNTS, Array, Game, mix

# Bound per game by `walkers`.
deal: Any = None
legal: Any = None
play: Any = None
observe: Any = None
chance: Any = None
descend: Any = None
narrow: Any = None
enter: Any = None
follow: Any = None
expand: Any = None
expand_decision: Any = None
expand_chance: Any = None

# Places in `Walk.counts`.
DEPTH: Final = 0  # of the node the walk stands at; -1 = it has ended
ENTRIES: Final = 1  # in use, on the stack of lists
CHILDREN: Final = 2  # in use, on the stack of children
SETS: Final = 3
SEQUENCES: Final = 4
ROWS: Final = 5
COLUMNS: Final = 6
TERMINALS: Final = 7  # of the world
PLAYS: Final = 8
STANDING: Final = 9  # own histories at the mover's sets, silent moves among them
CHANCES: Final = 10  # joint chance nodes
JOINT_TERMINALS: Final = 11
JOINT_DECISIONS: Final = 12  # and 13, by seat
MOVES: Final = 14  # of the node that is expanded
NODES: Final = 15  # of the world: decisions, chance nodes, terminals
TASK_NODES: Final = 16  # met so far at the depth that tasks are told apart by
COUNTS: Final = 17

# What is told by a code below zero: which arrays are too short, or what is wrong with the game.
FINE: Final = 0
NO_DEPTH: Final = -1
NO_CHILDREN: Final = -2
NO_ENTRIES: Final = -3
NO_MOVES: Final = -4
NO_OWN: Final = -5
NO_SETS: Final = -6
NO_SEQUENCES: Final = -7
NO_ROWS: Final = -8
NO_COLUMNS: Final = -9
NO_TERMINALS: Final = -10
DRAWS: Final = -11
NOT_ZERO_SUM: Final = -12
NOT_LEGAL: Final = -13

ROUNDING: Final = 1e-5
"""Rewards are float32: so far may those of both seats be from summing to zero."""

# Rows of `Walk.own`: the own history that is asked, the one a move leads to, and those that wait.
HERE: Final = 0
AFTER: Final = 1
WAITING: Final = 2

# What an action led to, beside the number of a child.
SILENT: Final = -1
UNTRIED: Final = -2


class Walk(NamedTuple):
    """Where a walk stands and what it has found. Records are kept as their 64-bit words."""

    counts: Array  # int64 [COUNTS]
    world_at: Array  # int64 [words]: those with bits that belong to the world
    world: Array  # uint64 [words]: these bits
    private_at: Array  # int64 [2, words]: those with bits that are the seat's own
    private: Array  # uint64 [2, words]: these bits

    # the path to the node the walk stands at, by depth; lists by slot
    node: Array  # uint64 [depth, W]
    list_of: Array  # int64 [depth, 2]: slots of the seats' lists
    returns: Array  # float64 [depth, 2]
    odds: Array  # float64 [depth]: product of the chance probabilities
    list_weight: Array  # float64 [depth]: sum of `reached` over the list in this slot
    list_gain: Array  # float64 [depth]: what each of its sequences has gained
    next_child: Array  # int64 [depth]; -1 = not expanded yet
    end_child: Array  # int64 [depth]
    first_child: Array  # int64 [depth], on the stack of children
    first_entry: Array  # int64 [depth], on the stack of lists
    list_begin: Array  # int64 [depth]: of the list in this slot
    list_end: Array  # int64 [depth]
    list_row: Array  # int64 [depth]: its row of the matrix; -1 = none yet

    child: Array  # uint64 [children, W]
    child_begin: Array  # int64 [children]: its list of the mover's sequences
    child_end: Array  # int64 [children]
    child_odds: Array  # float64 [children]

    entry: Array  # int32 [entries]: an own sequence
    entry_private: Array  # uint64 [entries, words]: the seat's own bits after it

    move: Array  # int32 [moves]: an own sequence that the expanded node goes on with
    move_private: Array  # uint64 [moves, words]
    move_child: Array  # int64 [moves]

    own: Array  # uint64 [own, W], see HERE
    own_sequence: Array  # int32 [own]

    set_parent: Array  # int32 [sets]: the own sequence that leads here
    set_begin: Array  # int32 [sets + 1]: its first sequence
    set_sibling: Array  # int32 [sets]: another set with this parent; -1 = no further
    set_seat: Array  # int8 [sets]
    set_seen: Array  # uint64 [sets, words]: what is observed

    action: Array  # uint16 [sequences]
    first_set: Array  # int32 [sequences]: a set it leads to; -1 = none

    row_begin: Array  # int64 [rows + 1]
    column: Array  # int32 [columns]
    ends: Array  # int32 [terminals, 2]: rows of seat 0 and of seat 1
    pays: Array  # float64 [terminals]: what seat 0 gets, times the chance probabilities
    chances: Array  # float64 [terminals]: the product of these

    # Products on the fly, of a walk whose sets are known; else these are empty.
    reached: Array  # float64 [sequences]: product of the seat's own probabilities
    gain: Array  # float64 [sequences]: what each sequence gets against the other seat's play
    value: Array  # float64 [1]: of seat 0
    task: Array  # int64 [3]: its number, how many there are, and the depth they are told apart by

    # notes of the moment
    guess: Array  # int64 [A]: what the action led to the last time it was tried at this node
    mask: Array  # bool [A]
    outcomes: Array  # float64 [max(outcomes, 1)]
    seen: Array  # uint64 [words]


class Records(NamedTuple):
    """The same memory as records of a game, and the observation in `Walk.seen` in its shape."""

    node: Array
    child: Array
    own: Array
    shown: Array


# ---------------------------------------------------------------- words, lists and sets: no game's business


def _small(function: Any) -> Any:
    return compiled(function, forceinline=True, **NO_COUNTS)


@_small
def copy_words(source: Array, i: int, target: Array, j: int) -> None:
    """Row i of one array to row j of another."""
    for k in range(source.shape[1]):
        target[j, k] = source[i, k]


@_small
def is_same_world(w: Walk, here: Array, i: int) -> bool:
    """Does the world look after the move as in row i of `here`?"""
    for k in range(w.world_at.shape[0]):
        at = w.world_at[k]
        if (w.own[AFTER, at] ^ here[i, at]) & w.world[k]:
            return False
    return True


@_small
def sit_down(w: Walk, d: int, p: int, e: int) -> None:
    """The first own history that waits is the node at depth d, with the own bits of the list's entry e."""
    copy_words(w.node, d, w.own, WAITING)
    w.own_sequence[WAITING] = w.entry[e]
    for k in range(w.private_at.shape[1]):
        at, bits = w.private_at[p, k], w.private[p, k]
        w.own[WAITING, at] = (w.own[WAITING, at] & ~bits) | w.entry_private[e, k]


@_small
def find_set(w: Walk, q: int) -> int:
    """The set that sequence q and `w.seen` lead to; -1 = not found yet."""
    found = w.first_set[q]
    while found >= 0:
        k = 0
        while k < w.seen.shape[0] and w.set_seen[found, k] == w.seen[k]:
            k += 1
        if k == w.seen.shape[0]:
            return int(found)
        found = w.set_sibling[found]
    return -1


@_small
def add_set(w: Walk, q: int, p: int) -> int:
    """A new set of seat p behind sequence q, with the actions of `w.mask`."""
    actions = 0
    for a in range(w.mask.shape[0]):
        actions += w.mask[a]
    if actions == 0:
        return NOT_LEGAL
    new, first = int(w.counts[SETS]), w.counts[SEQUENCES]
    if new + 1 >= w.set_begin.shape[0]:
        return NO_SETS
    if first + actions > w.action.shape[0]:
        return NO_SEQUENCES
    w.set_parent[new], w.set_seat[new] = q, p
    w.set_sibling[new], w.first_set[q] = w.first_set[q], new
    for k in range(w.seen.shape[0]):
        w.set_seen[new, k] = w.seen[k]
    for a in range(w.mask.shape[0]):
        if w.mask[a]:
            w.action[first], w.first_set[first] = a, -1
            first += 1
    w.set_begin[new + 1] = first
    w.counts[SETS], w.counts[SEQUENCES] = new + 1, first
    return int(new)


@_small
def has_these_actions(w: Walk, i: int) -> bool:
    """Are the actions of set i those of `w.mask`?"""
    q, end = w.set_begin[i], w.set_begin[i + 1]
    for a in range(w.mask.shape[0]):
        if w.mask[a]:
            if q == end or w.action[q] != a:
                return False
            q += 1
    return bool(q == end)


@_small
def add_child(w: Walk) -> int:
    """One more child of the node that is expanded; its record is to be written."""
    new = w.counts[CHILDREN]
    if new == w.child.shape[0]:
        return NO_CHILDREN
    w.child_odds[new] = 1.0
    w.counts[CHILDREN] = new + 1
    return int(new)


@_small
def place(w: Walk, d: int, a: int) -> int:
    """The child that own[AFTER], reached by action a, belongs to, added if it is new; SILENT if it is none.

    Only a shortage of children is below SILENT.
    """
    last = w.guess[a]
    if last >= 0 and is_same_world(w, w.child, last):
        return int(last)
    if is_same_world(w, w.node, d):
        w.guess[a] = SILENT
        return SILENT
    for c in range(w.first_child[d], w.counts[CHILDREN]):
        if is_same_world(w, w.child, c):
            w.guess[a] = c
            return int(c)
    new = int(add_child(w))
    if new < 0:
        return new
    copy_words(w.own, AFTER, w.child, new)
    w.guess[a] = new
    return new


@_small
def note_move(w: Walk, p: int, q: int, child: int) -> None:
    """The own history AFTER, whose sequence is q, goes on in a child."""
    n = w.counts[MOVES]
    w.move[n], w.move_child[n] = q, child
    for k in range(w.private_at.shape[1]):
        w.move_private[n, k] = w.own[AFTER, w.private_at[p, k]] & w.private[p, k]
    w.counts[MOVES] = n + 1


@_small
def share_out(w: Walk, d: int) -> int:
    """Sort the moves into one list per child, on the stack of lists."""
    n, top = w.counts[MOVES], w.counts[ENTRIES]
    first, end = w.first_child[d], w.counts[CHILDREN]
    if top + n > w.entry.shape[0]:
        return NO_ENTRIES
    for c in range(first, end):
        w.child_end[c] = 0
    for k in range(n):
        w.child_end[w.move_child[k]] += 1
    for c in range(first, end):
        w.child_begin[c] = top
        top += w.child_end[c]
        w.child_end[c] = w.child_begin[c]
    for k in range(n):
        c = w.move_child[k]
        e = w.child_end[c]
        w.entry[e] = w.move[k]
        for i in range(w.entry_private.shape[1]):
            w.entry_private[e, i] = w.move_private[k, i]
        w.child_end[c] = e + 1
    w.counts[ENTRIES] = top
    return FINE


@_small
def length(w: Walk, d: int, p: int) -> int:
    """How many own sequences of seat p fit the node at depth d."""
    slot = w.list_of[d, p]
    return int(w.list_end[slot] - w.list_begin[slot])


@_small
def weigh(w: Walk, slot: int) -> None:
    """The weight of a new list, w = M x of its row."""
    total = 0.0
    for e in range(w.list_begin[slot], w.list_end[slot]):
        total += w.reached[w.entry[e]]
    w.list_weight[slot], w.list_gain[slot] = total, 0.0


@_small
def hand_out(w: Walk, slot: int) -> None:
    """Every sequence of a list that is left gains what the list has gained, g += M' v of its row."""
    gained = w.list_gain[slot]
    if gained != 0.0:
        for e in range(w.list_begin[slot], w.list_end[slot]):
            w.gain[w.entry[e]] += gained


@_small
def is_anothers(w: Walk, d: int) -> bool:
    """Does the node at depth d, about to be entered, belong to another task?"""
    if w.reached.shape[0] == 0 or d != w.task[2]:
        return False
    number = w.counts[TASK_NODES]
    w.counts[TASK_NODES] = number + 1
    return bool(number % w.task[1] != w.task[0])


@_small
def leave(w: Walk) -> None:
    """Back to the node above."""
    d = w.counts[DEPTH]
    if w.reached.shape[0] > 0 and d > 0 and (w.list_of[d, 0] == d + 1 or w.list_of[d, 1] == d + 1):
        hand_out(w, d + 1)
    if w.next_child[d] >= 0:
        w.counts[ENTRIES], w.counts[CHILDREN] = w.first_entry[d], w.first_child[d]
    w.counts[DEPTH] = d - 1


@_small
def write_row(w: Walk, slot: int) -> int:
    """Give the list in `slot` a row of the matrix, unless it has one."""
    if w.list_row[slot] >= 0:
        return FINE
    row, at = w.counts[ROWS], w.counts[COLUMNS]
    begin, end = w.list_begin[slot], w.list_end[slot]
    if w.column.shape[0] > 0:  # else they are only counted
        if row + 1 >= w.row_begin.shape[0]:
            return NO_ROWS
        if at + end - begin > w.column.shape[0]:
            return NO_COLUMNS
        for k in range(end - begin):
            w.column[at + k] = w.entry[begin + k]
        w.row_begin[row + 1] = at + end - begin
    w.list_row[slot] = row
    w.counts[ROWS], w.counts[COLUMNS] = row + 1, at + end - begin
    return FINE


@_small
def settle(w: Walk, d: int) -> None:
    """Both seats' lists gain at the terminal at depth d, v += T w."""
    if d < w.task[2] and w.task[0] > 0:  # every task comes by here
        return
    a, b = w.list_of[d, 0], w.list_of[d, 1]
    pay = w.returns[d, 0] * w.odds[d]
    w.list_gain[a] += pay * w.list_weight[b]
    w.list_gain[b] -= pay * w.list_weight[a]
    w.value[0] += pay * w.list_weight[a] * w.list_weight[b]


@_small
def end_here(w: Walk, d: int) -> int:
    """Write down the terminal at depth d."""
    if abs(w.returns[d, 0] + w.returns[d, 1]) > ROUNDING:
        return NOT_ZERO_SUM
    if w.reached.shape[0] > 0:
        settle(w, d)
        return FINE
    n = w.counts[TERMINALS]
    if w.column.shape[0] > 0 and n == w.ends.shape[0]:
        return NO_TERMINALS
    for p in range(2):
        told = write_row(w, w.list_of[d, p])
        if told < 0:
            return int(told)
        if w.column.shape[0] > 0:
            w.ends[n, p] = w.list_row[w.list_of[d, p]]
    if w.column.shape[0] > 0:
        w.pays[n], w.chances[n] = w.returns[d, 0] * w.odds[d], w.odds[d]
    w.counts[TERMINALS] = n + 1
    w.counts[NODES] += 1
    w.counts[JOINT_TERMINALS] += length(w, d, 0) * length(w, d, 1)
    return FINE


# ---------------------------------------------------------------- templates


def _begin_walk(w: Walk, r: Records) -> int:
    """Stand at the beginning; `r.node[0]` is a blank record."""
    deal(r.node[0])
    if r.node[0].draws != 0:
        return DRAWS
    for p in range(2):
        w.entry[p], w.first_set[p] = p, -1
        for k in range(w.private_at.shape[1]):
            w.entry_private[p, k] = w.node[0, w.private_at[p, k]] & w.private[p, k]
        w.list_begin[p], w.list_end[p], w.list_row[p] = p, p + 1, -1
        w.list_weight[p], w.list_gain[p] = 1.0, 0.0
        w.list_of[0, p] = p
    w.odds[0], w.next_child[0] = 1.0, -1
    w.set_begin[0], w.row_begin[0] = 2, 0
    w.counts[DEPTH], w.counts[ENTRIES], w.counts[SEQUENCES] = 0, 2, 2
    return FINE


def _enter(w: Walk, r: Records, at: int, p: int) -> int:
    """The set of the own history in row `at`, found or new."""
    for k in range(w.seen.shape[0]):
        w.seen[k] = 0
    observe(r.own[at], p, r.shown)
    for a in range(w.mask.shape[0]):
        w.mask[a] = False
    legal(r.own[at], w.mask)
    found = find_set(w, w.own_sequence[at])
    if found < 0:
        return int(add_set(w, w.own_sequence[at], p))
    return int(found) if has_these_actions(w, found) else NOT_LEGAL


def _follow(w: Walk, r: Records, d: int, p: int, i: int, waiting: int) -> int:
    """Try every action of set i from own[HERE]; returns the row behind those that wait then."""
    begin, end = w.set_begin[i], w.set_begin[i + 1]
    if w.counts[MOVES] + end - begin > w.move.shape[0]:
        return NO_MOVES
    if waiting + end - begin > w.own.shape[0]:
        return NO_OWN
    for q in range(begin, end):
        a = w.action[q]
        copy_words(w.own, HERE, w.own, AFTER)
        play(r.own[AFTER], a)
        if r.own[AFTER].draws != 0:
            return DRAWS
        child = place(w, d, a)
        if child < SILENT:
            return int(child)
        if child == SILENT:
            copy_words(w.own, AFTER, w.own, waiting)
            w.own_sequence[waiting] = q
            waiting += 1
        else:
            note_move(w, p, q, child)
    return waiting


def _expand_decision(w: Walk, r: Records, d: int, p: int) -> int:
    """Let every own history of the mover go on, and its silent moves, until the world has moved."""
    slot = w.list_of[d, p]
    w.counts[MOVES], standing, plays = 0, 0, 0
    for a in range(w.guess.shape[0]):
        w.guess[a] = UNTRIED
    for e in range(w.list_begin[slot], w.list_end[slot]):
        sit_down(w, d, p, e)
        waiting = WAITING + 1
        while waiting > WAITING:
            waiting -= 1
            standing += 1
            i = enter(w, r, waiting, p)
            if i < 0:
                return int(i)
            plays += w.set_begin[i + 1] - w.set_begin[i]
            copy_words(w.own, waiting, w.own, HERE)
            waiting = follow(w, r, d, p, i, waiting)
            if waiting < 0:
                return int(waiting)
    told = share_out(w, d)
    if told == FINE:
        w.counts[PLAYS] += plays
        w.counts[STANDING] += standing
        w.counts[JOINT_DECISIONS + p] += standing * length(w, d, 1 - p)
    return int(told)


def _expand_chance(w: Walk, r: Records, d: int) -> int:
    """One child per outcome; both seats keep their lists."""
    for o in range(w.outcomes.shape[0]):
        w.outcomes[o] = 0.0
    chance(r.node[d], w.outcomes)
    for o in range(w.outcomes.shape[0]):
        if w.outcomes[o] > 0.0:
            c = add_child(w)
            if c < 0:
                return int(c)
            copy_words(w.node, d, w.child, c)
            play(r.child[c], o)
            if r.child[c].draws != 0:
                return DRAWS
            w.child_odds[c] = w.outcomes[o]
    w.counts[CHANCES] += length(w, d, 0) * length(w, d, 1)
    return FINE


def _expand(w: Walk, r: Records, d: int) -> int:
    """Find the children of the node at depth d. What falls short leaves the stacks as they were."""
    s = r.node[d]
    s.reward[0], s.reward[1] = 0.0, 0.0
    w.first_entry[d], w.first_child[d] = w.counts[ENTRIES], w.counts[CHILDREN]
    told = expand_chance(w, r, d) if s.seat == CHANCE else expand_decision(w, r, d, s.seat)
    if told < 0:
        w.counts[ENTRIES], w.counts[CHILDREN] = w.first_entry[d], w.first_child[d]
        return int(told)
    w.next_child[d], w.end_child[d] = w.first_child[d], w.counts[CHILDREN]
    w.counts[NODES] += 1
    return FINE


def _descend(w: Walk, r: Records, d: int, c: int) -> int:
    """Stand at child c of the node at depth d."""
    if d + 3 >= w.node.shape[0]:
        return NO_DEPTH
    copy_words(w.child, c, w.node, d + 1)
    mover, reward = r.node[d].seat, r.node[d + 1].reward
    for p in range(2):
        w.list_of[d + 1, p] = w.list_of[d, p]
        w.returns[d + 1, p] = w.returns[d, p] + reward[p]
    w.odds[d + 1] = w.odds[d] * w.child_odds[c]
    if mover != CHANCE:
        slot = d + 2
        w.list_begin[slot], w.list_end[slot], w.list_row[slot] = w.child_begin[c], w.child_end[c], -1
        w.list_of[d + 1, mover] = slot
        if w.reached.shape[0] > 0:
            weigh(w, slot)
    w.next_child[d + 1] = -1
    w.counts[DEPTH] = d + 1
    return FINE


def _narrow(w: Walk, r: Records, d: int, probe: int, plays: int, found: Array) -> None:
    """Keep one child of the node at depth d, drawn with equal odds, and add up what all of them tell."""
    first, end = w.first_child[d], w.end_child[d]
    mover, ended, columns = r.node[d].seat, 0, 0
    for c in range(first, end):
        if r.child[c].over:
            ended += 1
            columns += w.child_end[c] - w.child_begin[c] if mover != CHANCE else 0
    if ended > 0:
        columns += length(w, d, 1 - mover if mover != CHANCE else 0)
    found[0] += found[3] * plays
    found[1] += found[3] * columns
    found[2] += found[3] * ended
    found[3] *= end - first
    bits = mix(mix(np.uint64(probe)) + np.uint64(d))
    w.next_child[d] = first + int((bits >> np.uint64(11)) % np.uint64(end - first))
    w.end_child[d] = w.next_child[d] + 1


def _walk(w: Walk, r: Records, plays: int, probe: int, found: Array) -> int:
    """Go on for about `plays` plays; the walk has ended where the depth is -1.

    Args:
        probe: below 0 everything is walked. Else it goes down once and stops at the first end; the number
            decides which way. What is met is weighed by the product of the numbers of children above it,
            which gives an unbiased estimate of what a walk would count (Knuth 1975).
        found: float64 [4], of a probe, to be added to: plays, columns (rather too many where a seat moves
            twice in a row), terminals; the last number is the weight, 1 at the root.
    """
    until = w.counts[PLAYS] + plays
    while w.counts[DEPTH] >= 0 and w.counts[PLAYS] < until:
        d, before = w.counts[DEPTH], w.counts[PLAYS]
        told = FINE
        if r.node[d].over:
            if probe >= 0:
                return FINE
            told = end_here(w, d)
            if told == FINE:
                leave(w)
        elif w.next_child[d] < 0:
            told = expand(w, r, d)
            if told == FINE and probe >= 0:
                narrow(w, r, d, probe, w.counts[PLAYS] - before, found)
        elif w.next_child[d] < w.end_child[d]:
            if not is_anothers(w, d + 1):
                told = descend(w, r, d, w.next_child[d])
            if told == FINE:
                w.next_child[d] += 1
        else:
            leave(w)
        if told < 0:
            return int(told)
    return FINE


# ---------------------------------------------------------------- binding


class Walkers(NamedTuple):
    """What walks a game."""

    begin: Callable[[Walk, Records], int]
    walk: Callable[[Walk, Records, int, int, Array], int]


@once
def walkers(game: type[Game]) -> Walkers:
    """The walk through games of a class; they hold no Python lock."""
    names: dict[str, Any] = {
        name: getattr(game, name) for name in ("deal", "legal", "play", "observe", "chance")
    }
    calls = tuple(names.values())
    for name, template in (
        ("enter", _enter),
        ("follow", _follow),
        ("expand_decision", _expand_decision),
        ("expand_chance", _expand_chance),
        ("expand", _expand),
        ("descend", _descend),
        ("narrow", _narrow),
    ):
        names[name] = compiled(bound(template, game.__name__, names), calls, forceinline=True, **NO_COUNTS)
    return Walkers(
        *(
            compiled(bound(template, game.__name__, names), calls, nogil=True)
            for template in (_begin_walk, _walk)
        )
    )
