"""Turns a game's verbs into kernels that step many matches: CPU cores (numba) and CUDA (numba-cuda).

Nobody else knows numba's launch rules. The functions below are templates: they name the verbs `deal`,
`legal`, `play`, `observe` and `chance` as globals, and `bind` makes a copy of each in which these
names are one game's. So a game is compiled once per machine and not once per process.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from envs.compiled import bound, compiled, once
from envs.core import CHANCE, NO_COUNTS, Array, Game, State, draw_outcome, match_seed, share_of_forfeit
from envs.threads import at_once

# Bound per game by `bind`.
deal: Any = None
legal: Any = None
play: Any = None
observe: Any = None
chance: Any = None
begin_match: Any = None
play_turn: Any = None
step_match: Any = None
step_match_if: Any = None
advance: Any = None
see: Any = None
judge: Any = None
show: Any = None
clear: Any = None
hand_out: Any = None
play_slice: Any = None
show_slice: Any = None
cuda: Any = None
OUTCOMES: Any = None

THREADS_PER_BLOCK = 128
MATCHES_PER_THREAD = 1024
"""A CPU thread is worth waking for about this many matches (some 50 us to wake, 50 ns a step)."""
SLICE = 64
"""So many matches are played before any of them is shown: few enough for the cache nearest to a core."""


# ---------------------------------------------------------------- templates: one match


def _advance(s: State, action: int, probabilities: Array, reward: Array) -> None:
    """Play `action`, then every chance outcome up to the next decision; `reward` adds up.

    The record knows its seats when this is compiled, `reward` only when it runs: with loops of a known
    length a step of 4,096 matches takes 27 ns instead of 35 (phantom tic-tac-toe), 28 instead of 41 (Kuhn).
    """
    waiting = True
    while waiting:
        for p in range(s.reward.shape[0]):
            s.reward[p] = 0.0
        play(s, action)
        for p in range(s.reward.shape[0]):
            reward[p] += s.reward[p]
        waiting = s.seat == CHANCE and not s.over
        if waiting:
            action = _outcome(s, probabilities)


def _outcome(s: State, probabilities: Array) -> int:
    """Draw the outcome of the chance node `s`."""
    for o in range(OUTCOMES):
        probabilities[o] = 0.0
    chance(s, probabilities)
    return draw_outcome(s, probabilities)


def _begin_match(
    b: int, states: Array, blank: Array, seed: Array, episode: Array, probabilities: Array, reward: Array
) -> None:
    """Begin lane b's next match: a blank record, its own seed, the set-up, the first cards."""
    states[b] = blank[0]
    s = states[b]
    s.seed = match_seed(seed[0], b, episode[b])
    episode[b] += 1
    deal(s)
    if s.seat == CHANCE:
        advance(s, _outcome(s, probabilities), probabilities, reward)


def _see(s: State, seat: int, observation: Array) -> None:
    """Write what `seat` sees into `observation`, whatever it held."""
    flat = observation.flat  # not reshape(-1), for which CUDA would have to link a helper
    for k in range(observation.size):
        flat[k] = 0
    observe(s, seat, observation)


def _judge(s: State, mask: Array) -> None:
    """Write what the seat to move may do into `mask`, whatever it held."""
    for a in range(mask.shape[0]):
        mask[a] = False
    legal(s, mask)


def _show(s: State, observation: Array, mask: Array, seat: Array) -> None:
    """Write what the seat to move sees and may do. `observation` and `seat` are the lane's slices."""
    seat[0] = s.seat
    see(s, s.seat, observation)
    judge(s, mask)


def _play_turn(
    b: int, s: State, probabilities: Array, actions: Array, low: float,
    mask: Array, reward: Array, over: Array, illegal: Array,
) -> None:  # fmt: skip
    """Play lane b's action, which `mask` allows or not."""
    seats = s.reward.shape[0]
    for p in range(seats):
        reward[b, p] = 0.0

    action = actions[b]
    is_legal = 0 <= action < mask.shape[1] and mask[b, action]
    if is_legal:
        advance(s, action, probabilities, reward[b])
    else:  # the board stays as it is; the offender loses
        for p in range(seats):
            reward[b, p] = share_of_forfeit(low, seats, p, s.seat)
        s.over = True
    illegal[b] = not is_legal
    over[b] = s.over


def _step_match(
    b: int, states: Array, blank: Array, seed: Array, episode: Array,
    probabilities: Array, actions: Array, low: float,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array,
) -> None:  # fmt: skip
    """Step lane b: play its action, begin a new match if this one ended, show the result."""
    s = states[b]
    judge(s, mask[b])  # afresh: the caller may have written into the mask it was shown
    play_turn(b, s, probabilities, actions, low, mask, reward, over, illegal)
    if s.over:
        begin_match(b, states, blank, seed, episode, probabilities, reward[b])
    show(s, observation[b], mask[b], seat[b : b + 1])


def _step_match_if(
    b: int, states: Array, blank: Array, seed: Array, episode: Array,
    probabilities: Array, actions: Array, low: float,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array,
    only: Array, final: Array,
) -> None:  # fmt: skip
    """`step_match` if lane b is marked in `only`; `final[b]` is written at a match's end."""
    s = states[b]
    if not only[b]:
        for p in range(reward.shape[1]):
            reward[b, p] = 0.0
        over[b] = False
        illegal[b] = False
        return
    judge(s, mask[b])
    play_turn(b, s, probabilities, actions, low, mask, reward, over, illegal)
    if s.over:
        for p in range(final.shape[1]):
            see(s, p, final[b, p])
        begin_match(b, states, blank, seed, episode, probabilities, reward[b])
    show(s, observation[b], mask[b], seat[b : b + 1])


# ---------------------------------------------------------------- templates: many matches


def _clear(numbers: Array) -> None:
    """All 0, of what lies in one piece."""
    for k in range(numbers.size):
        numbers[k] = 0


def _hand_out(b: int, may: Array, mask: Array) -> None:
    """Tell the caller what may be done in lane b."""
    for a in range(mask.shape[1]):
        mask[b, a] = may[b, a]


def _play_slice(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array, probabilities: Array,
    actions: Array, low: float, may: Array, reward: Array, over: Array, illegal: Array,
) -> None:  # fmt: skip
    """Play one action in each lane; begin new matches where they ended."""
    for b in range(first, last):
        s = states[b]
        play_turn(b, s, probabilities, actions, low, may, reward, over, illegal)
        if s.over:
            begin_match(b, states, blank, seed, episode, probabilities, reward[b])


def _show_slice(
    first: int, last: int, states: Array, observation: Array, may: Array, seat: Array,
    seen: Array, allowed: Array, told: Array,
) -> None:  # fmt: skip
    """`show` lanes, all of them cleared at once.

    `seen`, `allowed` and `told` are `observation`, `may` and the caller's mask, flat.
    """
    K, A = seen.size // may.shape[0], may.shape[1]
    allowed_here, told_here = allowed[first * A : last * A], told[first * A : last * A]
    clear(seen[first * K : last * K])
    clear(allowed_here)
    for b in range(first, last):
        s = states[b]
        seat[b] = s.seat
        observe(s, s.seat, observation[b])
        legal(s, may[b])
    for a in range(told_here.size):
        told_here[a] = allowed_here[a]


# On a CPU `may` holds what is allowed, and `mask` a copy for the caller, who may write into it.


def _reset_cpu(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array, may: Array,
) -> None:  # fmt: skip
    probabilities = np.empty(OUTCOMES, np.float64)
    for b in range(first, last):
        for p in range(reward.shape[1]):
            reward[b, p] = 0.0
        over[b] = False
        illegal[b] = False
        begin_match(b, states, blank, seed, episode, probabilities, reward[b])
        show(states[b], observation[b], may[b], seat[b : b + 1])
        hand_out(b, may, mask)


def _step_cpu(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array, may: Array,
    actions: Array, low: float,
) -> None:  # fmt: skip
    probabilities = np.empty(OUTCOMES, np.float64)
    seen, allowed, told = observation.reshape(-1), may.reshape(-1), mask.reshape(-1)
    for begin in range(first, last, SLICE):
        end = min(begin + SLICE, last)
        play_slice(
            begin, end, states, blank, seed, episode, probabilities,
            actions, low, may, reward, over, illegal,
        )  # fmt: skip
        show_slice(begin, end, states, observation, may, seat, seen, allowed, told)


def _step_if_cpu(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array, may: Array,
    actions: Array, low: float, only: Array, final: Array,
) -> None:  # fmt: skip
    probabilities = np.empty(OUTCOMES, np.float64)
    for b in range(first, last):
        step_match_if(
            b, states, blank, seed, episode, probabilities, actions, low,
            observation, may, seat, reward, over, illegal, only, final,
        )  # fmt: skip
        if only[b]:
            hand_out(b, may, mask)


def _reset_cuda(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array,
) -> None:  # fmt: skip
    b = first + cuda.grid(1)
    if b < last:
        probabilities = cuda.local.array(OUTCOMES, np.float64)
        for p in range(reward.shape[1]):
            reward[b, p] = 0.0
        over[b] = False
        illegal[b] = False
        begin_match(b, states, blank, seed, episode, probabilities, reward[b])
        show(states[b], observation[b], mask[b], seat[b : b + 1])


def _step_cuda(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array,
    actions: Array, low: float,
) -> None:  # fmt: skip
    b = first + cuda.grid(1)
    if b < last:
        probabilities = cuda.local.array(OUTCOMES, np.float64)
        step_match(
            b, states, blank, seed, episode, probabilities, actions, low,
            observation, mask, seat, reward, over, illegal,
        )  # fmt: skip


def _step_if_cuda(
    first: int, last: int, states: Array, blank: Array, seed: Array, episode: Array,
    observation: Array, mask: Array, seat: Array, reward: Array, over: Array, illegal: Array,
    actions: Array, low: float, only: Array, final: Array,
) -> None:  # fmt: skip
    b = first + cuda.grid(1)
    if b < last:
        probabilities = cuda.local.array(OUTCOMES, np.float64)
        step_match_if(
            b, states, blank, seed, episode, probabilities, actions, low,
            observation, mask, seat, reward, over, illegal, only, final,
        )  # fmt: skip


# ---------------------------------------------------------------- binding


class Kernels(NamedTuple):
    """A game's kernels, over the matches first..last-1."""

    reset: Any
    step: Any
    step_if: Any  # steps the matches marked in `only` and keeps what was seen at their ends


def verbs_of(game: type[Game]) -> dict[str, Any]:
    """The verbs of `game` by the templates' names."""
    return {name: getattr(game, name) for name in ("deal", "legal", "play", "observe", "chance")}


def bind(template: Callable[..., Any], game: type[Game], names: dict[str, Any]) -> Callable[..., Any]:
    """A copy of `template` in which the globals `names` are `game`'s."""
    return bound(template, f"{game.__name__}_{names['OUTCOMES']}", names)


def match_functions(game: type[Game], jit: Callable[..., Any]) -> dict[str, Any]:
    """The verbs of `game` and the functions on one match built from them, by the templates' names."""
    names = verbs_of(game)
    names["OUTCOMES"] = max(game.chance_outcomes, 1)
    for name, template in (
        ("_outcome", _outcome),
        ("advance", _advance),
        ("begin_match", _begin_match),
        ("see", _see),
        ("judge", _judge),
        ("show", _show),
        ("clear", _clear),
        ("hand_out", _hand_out),
        ("play_turn", _play_turn),
        ("play_slice", _play_slice),
        ("show_slice", _show_slice),
        ("step_match", _step_match),
        ("step_match_if", _step_match_if),
    ):
        names[name] = jit(bind(template, game, names))
    return names


@once
def cpu_kernels(game: type[Game]) -> Kernels:
    """The kernels for one CPU core; they hold no Python lock."""
    jit = functools.partial(compiled, calls=tuple(verbs_of(game).values()), nogil=True)
    # Inlined, since a call hands over every array in seven words: 4,096 matches on one core took 46 ns
    # instead of 71 a step (Kuhn poker), 57 instead of 80 (dark hex 5 x 5).
    inline = functools.partial(jit, forceinline=True, **NO_COUNTS)
    names = match_functions(game, inline)
    return Kernels(*(jit(bind(kernel, game, names)) for kernel in (_reset_cpu, _step_cpu, _step_if_cpu)))


@once
def cuda_kernels(game: type[Game]) -> Kernels:
    """The kernels for CUDA, one thread a match (needs the extra `cuda`)."""
    from numba import cuda as numba_cuda

    names = match_functions(game, numba.njit)
    names["cuda"] = numba_cuda
    jit: Any = numba_cuda.jit
    return Kernels(*(jit(bind(kernel, game, names)) for kernel in (_reset_cuda, _step_cuda, _step_if_cuda)))


def launch_cpu(kernel: Callable[..., None], matches: int, threads: int, *arguments: Any) -> None:
    """Run a CPU kernel over all matches in up to `threads` slices at once."""
    threads = max(1, min(threads, matches // MATCHES_PER_THREAD))
    edges = [matches * i // threads for i in range(threads + 1)]
    at_once([functools.partial(kernel, *slice_, *arguments) for slice_ in itertools.pairwise(edges)])


@functools.cache
def _configured(kernel: Any, blocks: int, stream: int) -> Any:
    from numba import cuda as numba_cuda

    with warnings.catch_warnings():  # numba warns of grids too small to fill a GPU: the caller's choice
        warnings.filterwarnings("ignore", "Grid size")
        return kernel[blocks, THREADS_PER_BLOCK, numba_cuda.external_stream(stream)]


def launch_cuda(kernel: Any, matches: int, stream: int, *arguments: Any) -> None:
    """Launch a CUDA kernel over all matches on the stream with handle `stream`; does not wait."""
    _configured(kernel, -(-matches // THREADS_PER_BLOCK), stream)(0, matches, *arguments)
