"""Replay: matches played again from what was recorded of them, many at once on the CPU's cores.

A recorded match is its deal, the seats' actions and the outcomes of chance; the rules give all the rest. So
nothing that a record says is believed: every action and outcome is looked up among those that are possible
before it is played.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch

from envs import kernels
from envs.compiled import compiled, once
from envs.core import CHANCE, NO_COUNTS, Array, Game, State, draw_outcome

# Bound per game by `envs.kernels.bind`.
deal: Any = None
play: Any = None
chance: Any = None
see: Any = None
judge: Any = None
settle: Any = None
OUTCOMES: Any = None

FINE, ILLEGAL, IMPOSSIBLE, MISSING = range(4)
"""Why a replay stopped: the match or its actions came to an end; its next action is illegal; its next outcome
cannot come; it has no next outcome."""

UNTOLD: Final = ("seed", "draws", "reward")
"""Fields of a state that tell nothing of where a match stands: how it was drawn, and what came last."""


class Script(NamedTuple):
    """What N matches are played again from, in flat arrays: match n has the entries from begins[n] on up to
    those of the next."""

    actions: Array  # int32 [*]
    begins: Array  # int64 [N + 1]
    outcomes: Array  # int32 [*]
    outcome_begins: Array  # int64 [N + 1]

    @property
    def lengths(self) -> Array:
        """Actions of each match, int64 [N]."""
        return np.diff(self.begins)

    def of(self, matches: Array) -> Script:
        """The script of some matches, in this order."""
        parts = [
            _taken(values, begins, matches)
            for values, begins in ((self.actions, self.begins), (self.outcomes, self.outcome_begins))
        ]
        return Script(*parts[0], *parts[1])


def _taken(values: Array, begins: Array, matches: Array) -> tuple[Array, Array]:
    lengths = np.diff(begins)[matches]
    ends = np.cumsum(lengths)
    at = np.repeat(begins[:-1][matches] - (ends - lengths), lengths) + np.arange(int(lengths.sum()))
    return values[at], np.concatenate([[0], ends])


@dataclasses.dataclass(frozen=True)
class Replayed:
    """How far the matches of a script came."""

    states: Array  # [N] records, as the last move left them
    returns: Array  # float64 [N, P]
    decisions: Array  # int64 [N], played
    drawn: Array  # int64 [N], outcomes used
    fault: Array  # int8 [N], FINE .. MISSING

    @property
    def over(self) -> Array:
        """bool [N], the match has ended."""
        over: Array = self.states["over"]
        return over


def dealt(game: Game, seeds: Array, texts: Sequence[str | None]) -> Array:
    """The state records [N] of matches that begin.

    Args:
        seeds: uint64 [N], of matches without a text.
        texts: of each match its set-up in letters (`Game.dealt`), or None: as the seed deals it.

    Raises:
        ValueError: a text is no set-up of the game; `at` of the error is the number of its match.
    """
    states = np.zeros(len(texts), game.state)
    states[:] = game.blank()
    by_text = np.array([text is not None for text in texts], np.bool_)
    for n in np.flatnonzero(by_text).tolist():
        try:
            states[n] = game.dealt(texts[n] or "")
        except ValueError as error:
            error.at = n  # type: ignore[attr-defined]
            raise
    states["seed"] = seeds
    _launch(_kernels(type(game)).deal, len(states), states, by_text)
    return states


def replay(game: Game, states: Array, script: Script) -> Replayed:
    """Play matches again from their deals, until they end, their actions do, or something is impossible.

    Args:
        states: [N] records as `dealt` makes them; they are not changed.
    """
    return _replayed(game, states, script, False)


def drawn(game: Game, states: Array, actions: Array, begins: Array) -> tuple[Script, Replayed]:
    """The whole script of matches whose outcomes were drawn from their own seeds, and what came of it.

    Args:
        states, actions, begins: as in `replay` and `Script`.
    """
    room = 64 if game.chance_outcomes else 0
    while True:
        N = len(states)
        outcomes, outcome_begins = np.zeros(N * room, np.int32), np.arange(N + 1) * room
        told = _replayed(game, states, Script(actions, begins, outcomes, outcome_begins), True)
        if not (told.fault == MISSING).any():
            break
        room *= 4
    is_used = np.arange(room) < told.drawn[:, None]
    used = Script(actions, begins, outcomes[is_used.reshape(-1)], np.concatenate([[0], told.drawn.cumsum()]))
    return used, told


def _replayed(game: Game, states: Array, script: Script, draws: bool) -> Replayed:
    N = len(states)
    told = Replayed(
        states.copy(), np.zeros((N, game.seats)), np.zeros(N, np.int64), np.zeros(N, np.int64),
        np.zeros(N, np.int8),
    )  # fmt: skip
    _launch(
        _kernels(type(game)).replay, N, told.states, *script, draws,
        np.zeros((1, game.actions), np.bool_), told.returns, told.decisions, told.drawn, told.fault,
    )  # fmt: skip
    return told


def told_bytes(game: Game) -> Array:
    """Bytes of a state record that tell where the match stands, bool [itemsize]: not `UNTOLD`, nor gaps."""
    told, fields = np.zeros(game.state.itemsize, np.bool_), cast(Any, game.state.fields)
    for name in game.state.names or ():
        if name not in UNTOLD:
            kind, begin = fields[name][:2]
            told[begin : begin + kind.itemsize] = True
    return told


# ---------------------------------------------------------------- laid side by side


class Columns:
    """B columns in which recorded matches follow one another, as in the lanes of a `Batch`.

    A column that has come to its queue's end waits: it shows zeros, every action as legal, and match -1.
    """

    def __init__(self, game: Game, columns: int) -> None:
        self.game, self.columns = game, columns
        self.states = np.zeros(columns, game.state)
        # Of the match going on: its number, where its next action and outcome stand, decisions left
        self.now = np.full((columns, 4), -1, np.int64)
        self.now[:, 3] = 0
        self.earned = np.zeros((columns, game.seats))
        self.previous = np.zeros((columns, game.seats), np.int64)

    def show(
        self, steps: int, script: Script, lengths: Array, queue: Array, begins: Array, states: Array
    ) -> dict[str, Array]:
        """What the seats see and do in the next `steps` decisions of every column.

        Args:
            steps: T.
            script: of all matches.
            lengths: int64 [N], so many decisions of each are shown.
            queue: int64 [n], matches that begin in these steps, those of the first column first.
            begins: int64 [B + 1], where each column's stand in the queue.
            states: [n] records of their deals.

        Returns:
            observation [T, B, ...], legal bool [T, B, A], start bool, and int64 [T, B]: seat, previous,
            action, match; earned float32 [T, B], what the seat had earned before.

        Raises:
            ValueError: the script's matches are not those of the rules.
        """
        game, T, B = self.game, steps, self.columns
        space: Any = game.observation_space
        shown = {
            "observation": np.zeros((T, B, *space.shape), space.dtype),
            "legal": np.zeros((T, B, game.actions), np.bool_),
            "start": np.zeros((T, B), np.bool_),
            **{name: np.zeros((T, B), np.int64) for name in ("seat", "previous", "action", "match")},
            "earned": np.zeros((T, B), np.float32),
        }
        fault = np.zeros(B, np.bool_)
        _launch(
            _kernels(type(game)).show, B, T, script.actions, script.begins, script.outcomes,
            script.outcome_begins, lengths, queue, begins, states, self.states, self.now, self.earned,
            self.previous, *shown.values(), fault,
        )  # fmt: skip
        if fault.any():
            raise ValueError(f"the matches are none of {game}: one of them cannot be played")
        return shown


# ---------------------------------------------------------------- templates


def _deal_cpu(first: int, last: int, states: Array, is_dealt: Array) -> None:
    for b in range(first, last):
        if not is_dealt[b]:
            deal(states[b])


def _settle(
    s: State, probabilities: Array, outcomes: Array, k: int, end: int, draws: bool, returns: Array
) -> int:
    """Play the outcomes from number `k` on up to the next decision; where they are to be drawn, write them.

    Returns:
        the number of the next outcome; -1 - k: outcome k cannot come, or there is none.
    """
    while s.seat == CHANCE and not s.over:
        if k == end:
            return -1 - k
        for o in range(OUTCOMES):
            probabilities[o] = 0.0
        chance(s, probabilities)
        if draws:
            outcomes[k] = draw_outcome(s, probabilities)
        if not (0 <= outcomes[k] < OUTCOMES) or probabilities[outcomes[k]] <= 0.0:
            return -1 - k
        for p in range(s.reward.shape[0]):
            s.reward[p] = 0.0
        play(s, outcomes[k])
        for p in range(s.reward.shape[0]):
            returns[p] += s.reward[p]
        k += 1
    return k


def _replay_cpu(
    first: int, last: int, states: Array, actions: Array, begins: Array, outcomes: Array,
    outcome_begins: Array, draws: bool, masks: Array, returns: Array, decisions: Array, drawn: Array,
    fault: Array,
) -> None:  # fmt: skip
    probabilities = np.empty(OUTCOMES, np.float64)
    mask = np.empty(masks.shape[1], np.bool_)
    for b in range(first, last):
        s = states[b]
        t, k, end = begins[b], outcome_begins[b], outcome_begins[b + 1]
        goes_on = True
        while goes_on:
            after = settle(s, probabilities, outcomes, k, end, draws, returns[b])
            k = after if after >= 0 else -1 - after
            goes_on = False
            if after < 0:
                fault[b] = MISSING if k == end else IMPOSSIBLE
            elif not s.over and t < begins[b + 1]:
                judge(s, mask)
                action = actions[t]
                if 0 <= action < mask.shape[0] and mask[action]:
                    for p in range(s.reward.shape[0]):
                        s.reward[p] = 0.0
                    play(s, action)
                    for p in range(s.reward.shape[0]):
                        returns[b, p] += s.reward[p]
                    t += 1
                    goes_on = True
                else:
                    fault[b] = ILLEGAL
        decisions[b] = t - begins[b]
        drawn[b] = k - outcome_begins[b]


def _show_cpu(
    first: int, last: int, T: int, actions: Array, begins: Array, outcomes: Array, outcome_begins: Array,
    lengths: Array, queue: Array, queue_begins: Array, dealt: Array, states: Array, now: Array, earned: Array,
    previous: Array, observation: Array, legal: Array, start: Array, seat: Array, known: Array,
    action: Array, match: Array, before: Array, fault: Array,
) -> None:  # fmt: skip
    """`now` [B, 4]: of the match going on its number, its next action and outcome, and decisions left."""
    probabilities = np.empty(OUTCOMES, np.float64)
    A = legal.shape[2]
    for b in range(first, last):
        s, q = states[b], queue_begins[b]
        for t in range(T):
            begins_now = now[b, 3] == 0
            if begins_now:
                if q == queue_begins[b + 1]:  # it waits
                    match[t, b] = -1
                    known[t, b] = A
                    start[t, b] = True
                    for a in range(A):
                        legal[t, b, a] = True
                    continue
                m = queue[q]
                states[b] = dealt[q]
                q += 1
                now[b, 0], now[b, 1], now[b, 2] = m, begins[m], outcome_begins[m]
                now[b, 3] = lengths[m]
                for p in range(earned.shape[1]):
                    earned[b, p] = 0.0
                    previous[b, p] = A
            m = now[b, 0]
            k = settle(s, probabilities, outcomes, now[b, 2], outcome_begins[m + 1], False, earned[b])
            a = actions[now[b, 1]]
            if k < 0 or s.over:
                fault[b] = True
                break
            now[b, 2] = k
            p = s.seat
            seat[t, b], start[t, b], match[t, b], action[t, b] = p, begins_now, m, a
            known[t, b], before[t, b] = previous[b, p], earned[b, p]
            see(s, p, observation[t, b])
            judge(s, legal[t, b])
            if not (0 <= a < A) or not legal[t, b, a]:
                fault[b] = True
                break
            previous[b, p] = a
            for i in range(s.reward.shape[0]):
                s.reward[i] = 0.0
            play(s, a)
            for i in range(s.reward.shape[0]):
                earned[b, i] += s.reward[i]
            now[b, 1] += 1
            now[b, 3] -= 1


# ---------------------------------------------------------------- binding


class ReplayKernels(NamedTuple):
    """A game's kernels for CPU cores, over the matches or columns first..last-1."""

    deal: Any
    replay: Any
    show: Any


@once
def _kernels(game: type[Game]) -> ReplayKernels:
    jit = functools.partial(compiled, calls=tuple(kernels.verbs_of(game).values()), nogil=True)
    inline = functools.partial(jit, forceinline=True, **NO_COUNTS)
    names = kernels.match_functions(game, inline)
    names["settle"] = inline(kernels.bind(_settle, game, names))
    return ReplayKernels(
        *(jit(kernels.bind(kernel, game, names)) for kernel in (_deal_cpu, _replay_cpu, _show_cpu))
    )


def _launch(kernel: Any, matches: int, *arguments: Any) -> None:
    kernels.launch_cpu(kernel, matches, torch.get_num_threads(), *arguments)
