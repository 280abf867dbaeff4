"""A million random ticks of Generals: the books balance, fog hides, and neither side nor seat is favoured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

import envs
from agents.play.players import RandomPlayer
from envs.core import NO_COUNTS
from envs.games import generals
from envs.games.generals import HARVEST
from envs.games.generals_maps import CASTLE, GENERAL, MOUNTAIN, NOBODY, PLAIN

ROWS, COLS = 5, 6
CELLS = ROWS * COLS
GAME = envs.make("generals", rows=ROWS, cols=COLS, castles=20, max_ticks=250)
PASS = GAME.actions - 1
TICKS = 500
EVERY = 5  # ticks between two looks into the fog
UP, DOWN, LEFT, RIGHT = range(4)


class Tick(NamedTuple):
    """One tick in every lane."""

    before: np.ndarray  # state records [B]
    moves: np.ndarray  # actions [2, B]
    after: np.ndarray  # state records [B]


@njit(cache=True, **NO_COUNTS)
def play_all(states, moves):
    for b in range(len(states)):
        generals.play(states[b], moves[0, b])
        generals.play(states[b], moves[1, b])


@njit(cache=True, **NO_COUNTS)
def show_all(states, seat, planes, masks):
    """Write what `seat` sees and may do into zeros."""
    for b in range(len(states)):
        s = states[b]
        s.seat = seat
        generals.observe(s, seat, planes[b])
        generals.legal(s, masks[b])


def played(states, moves):
    after = states.copy()
    after["reward"] = 0.0
    play_all(after, moves)
    return after


def random_ticks(lanes):
    """TICKS ticks of random play in so many lanes; matches that end are followed by new ones."""
    batch, player = envs.Batch(GAME, lanes, seed=1), RandomPlayer(GAME, seed=2)

    def records():
        return batch.states

    for _ in range(TICKS):
        before, moves = records(), []
        for _ in range(2):
            moves.append(player.choose(batch.observation, batch.legal, batch.seat, None))
            batch.step(moves[-1])
        moves = np.stack([move.numpy() for move in moves])
        after = played(before, moves)
        goes_on = ~batch.over.numpy()
        assert (after["over"] != goes_on).all()
        assert_same(records()[goes_on], after[goes_on])
        yield Tick(before, moves, after)


@pytest.mark.parametrize("lanes", [512, pytest.param(2_048, marks=pytest.mark.slow)])
def test_a_million_random_ticks(lanes):
    """A quarter of a million in the fast suite."""
    ticks = TICKS * lanes
    captures = exceptions = unlike = hidden = 0
    for number, tick in enumerate(random_ticks(lanes)):
        balance_books(tick)
        captures += tick.after["reward"].any(1).sum()
        turn_over(tick, np.arange(CELLS).reshape(ROWS, COLS)[:, ::-1], {LEFT: RIGHT, RIGHT: LEFT})
        turn_over(tick, np.arange(CELLS).reshape(ROWS, COLS)[::-1], {UP: DOWN, DOWN: UP})
        first, differ = change_seats(tick)
        exceptions, unlike = exceptions + first, unlike + differ
        if number % EVERY == 0:
            hidden += change_what_is_hidden(tick, np.random.default_rng(number))
    assert captures > ticks / 2_000
    assert 0 < unlike < exceptions
    assert hidden > ticks


# ---------------------------------------------------------------- the books


def sources_and_targets(moves):
    """Cells [2, B] that the moves lead from and to; -1 for a pass."""
    steps = np.array([-COLS, COLS, -1, 1])
    sources = np.where(moves == PASS, -1, moves // 8)
    return sources, np.where(moves == PASS, -1, sources + steps[moves // 2 % 4])


def balance_books(tick):
    """Armies grow as they should and shrink only in battles, by the same number on both sides; nothing
    else changes, and land and totals are those of the board."""
    before, moves, after = tick
    army, owner, terrain = after["army"], after["owner"], after["terrain"]
    was_army, was_owner = before["army"].astype(int), before["owner"]
    lanes, won = np.arange(len(before)), after["reward"].any(1)
    assert (terrain == before["terrain"]).all()
    assert (after["time"] == before["time"] + 1).all()
    assert (after["over"] == (won | (after["time"] == GAME.max_ticks))).all()
    assert (army >= 0).all()
    assert ((owner >= NOBODY) & (owner <= 1)).all()
    assert (owner[terrain == MOUNTAIN] == NOBODY).all()
    assert not army[(owner == NOBODY) & (terrain != CASTLE)].any()
    for seat in range(2):
        assert (after["land"][:, seat] == (owner == seat).sum(1)).all()
        assert (after["total"][:, seat] == np.where(owner == seat, army, 0).sum(1)).all()

    time = after["time"][:, None]
    growth = (time % HARVEST == 0).astype(int) + ((time % 2 == 0) & (terrain >= CASTLE))
    growth = np.where((owner != NOBODY) & ~won[:, None], growth, 0)
    change = army - growth - was_army
    lost = -change.sum(1)
    assert (lost >= 0).all()
    assert (lost % 2 == 0).all()
    sources, targets = sources_and_targets(moves)
    is_moved = moves != PASS
    is_peaceful = ~is_moved | (was_owner[lanes, targets] == np.arange(2)[:, None])
    assert not lost[is_peaceful.all(0)].any()

    is_touched, is_target = np.zeros((2, len(before), CELLS + 1), bool)
    for cells in (*sources, *targets):
        is_touched[lanes, cells] = True
    for cells in targets:
        is_target[lanes, cells] = True
    assert not change[~is_touched[:, :-1]].any()  # the last column takes the passes
    taken = (owner != was_owner) & ~won[:, None]
    assert not (taken & ~is_target[:, :-1]).any()
    assert (army[owner == NOBODY] <= 50).all()
    loser = 1 - after["reward"].argmax(1)
    assert not (won[:, None] & (owner == loser[:, None])).any()


# ---------------------------------------------------------------- neither side nor seat is favoured


def assert_same(one, two):
    for field in ("army", "owner", "terrain", "land", "total", "time", "over", "reward", "seat"):
        assert (one[field] == two[field]).all(), field


def turned_over(states, cells):
    turned = states.copy()
    for field in ("army", "owner", "terrain"):
        turned[field] = states[field][:, cells.ravel()]
    return turned


def turn_over(tick, cells, directions):
    """The mirrored moves on the mirrored board lead to the mirrored board. `cells` [rows, cols] are the
    mirrored ones' numbers, `directions` those that change."""
    turn = np.array([directions.get(d, d) for d in range(4)])
    moves = cells.ravel()[np.minimum(tick.moves // 8, CELLS - 1)] * 8
    moves += turn[tick.moves // 2 % 4] * 2 + tick.moves % 2
    moves[tick.moves == PASS] = PASS
    assert_same(played(turned_over(tick.before, cells), moves), turned_over(tick.after, cells))


def with_seats_changed(states):
    changed = states.copy()
    changed["owner"] = np.where(states["owner"] == NOBODY, NOBODY, 1 - states["owner"])
    for field in ("land", "total", "reward"):
        changed[field] = states[field][:, ::-1]
    return changed


def change_seats(tick):
    """With the seats changed the same happens, but in the cases in which seat 0 comes first: both move onto
    the cell the other comes from; or neither moves there or onto own land, both have equal armies where
    they come from, and it matters who comes first, as both move onto the same cell or a general falls.
    Returns how often that was so, and how often it made a difference."""
    sources, targets = sources_and_targets(tick.moves)
    army, owner = tick.before["army"], tick.before["owner"]
    both, lanes = (tick.moves != PASS).all(0), np.arange(len(army))
    is_chase = targets == sources[::-1]
    is_own = owner[lanes, targets] == np.arange(2)[:, None]
    is_equal = army[lanes, sources[0]] == army[lanes, sources[1]]
    matters = (targets[0] == targets[1]) | tick.after["reward"].any(1)
    is_exception = is_chase.all(0) | (~is_chase & ~is_own).all(0) & is_equal & matters
    is_exception &= both
    changed = played(with_seats_changed(tick.before), tick.moves[::-1])
    expected = with_seats_changed(tick.after)
    assert_same(changed[~is_exception], expected[~is_exception])
    differ = (changed["army"] != expected["army"]).any(1) | (changed["owner"] != expected["owner"]).any(1)
    return is_exception.sum(), differ.sum()


# ---------------------------------------------------------------- fog


def change_what_is_hidden(tick, random):
    """Whatever lies in a seat's fog, it is shown the same, and may do the same: armies and owners there
    change at random, mountains become castles and castles mountains, generals become plain cells and plain
    cells generals. Land and totals are public and stay. Returns the number of cells changed."""
    count = 0
    for seat in range(2):
        shown = shown_to(tick.after, seat)
        fog = (shown[0][:, 7] + shown[0][:, 8]).reshape(-1, CELLS) == 1
        assert (fog == ~is_near_own(tick.after, seat)).all()
        other = tick.after.copy()
        swaps = np.zeros(4, np.uint8)
        swaps[[PLAIN, MOUNTAIN, CASTLE, GENERAL]] = [GENERAL, CASTLE, MOUNTAIN, PLAIN]
        is_swapped = fog & (random.random(fog.shape) < 0.5)
        other["terrain"] = np.where(is_swapped, swaps[other["terrain"]], other["terrain"])
        other["owner"] = np.where(fog, random.choice([NOBODY, 1 - seat], fog.shape), other["owner"])
        other["army"] = np.where(fog, random.integers(0, 99, fog.shape), other["army"])
        other["move"] = random.integers(0, PASS, len(other))
        for here, there in zip(shown, shown_to(other, seat), strict=True):
            assert (here == there).all()
        for field in ("terrain", "owner"):
            count += (other[field] != tick.after[field]).sum()
    return count


def shown_to(states, seat):
    planes = np.zeros((len(states), *GAME.observation_space.shape), np.int16)
    masks = np.zeros((len(states), GAME.actions), np.bool_)
    show_all(states.copy(), seat, planes, masks)
    return planes, masks


def is_near_own(states, seat):
    """Own cells and their eight neighbours, bool [B, CELLS]."""
    own = np.pad((states["owner"] == seat).reshape(-1, ROWS, COLS), ((0, 0), (1, 1), (1, 1)))
    near = [own[:, r : r + ROWS, c : c + COLS] for r in range(3) for c in range(3)]
    return np.any(near, axis=0).reshape(-1, CELLS)
