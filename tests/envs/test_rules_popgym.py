"""Our rules against POPGym's, step for step on the same hidden set-up, and against exact random play."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest

import envs

popgym = pytest.importorskip("popgym.envs")

EPISODES = 500
LEVELS = ("easy", "medium", "hard")
VARIANTS = [(name, level) for name in ("battleship", "concentration", "minesweeper") for level in LEVELS]
THEIRS = {"battleship": "Battleship", "concentration": "Concentration", "minesweeper": "MineSweeper"}


def make_theirs(name, level):
    return getattr(popgym, THEIRS[name] + level.capitalize())()


# ---------------------------------------------------------------- the same hidden set-up
#
# Battleship takes our fleet, as POPGym's board does not tell which ship a cell belongs to; the others
# take POPGym's cards and mines.


def share_battleship(theirs, state):
    theirs.board[:] = (state.ship[0] != 0).reshape(theirs.board.shape)


def share_concentration(theirs, state):
    state.face[:] = theirs.state


def share_minesweeper(theirs, state):
    state.mine[:] = theirs.hidden_grid.ravel() == 1


SHARE = {
    "battleship": share_battleship,
    "concentration": share_concentration,
    "minesweeper": share_minesweeper,
}


# ---------------------------------------------------------------- players who peek
#
# Random play alone never wins. A share of the actions, from none to all, are good ones.


def good_battleship(state):
    return np.flatnonzero((state.ship[0] != 0) & (state.told[0] == 0))


def good_concentration(state):
    """The first card's match, or any card that is not found."""
    left = state.found == 0
    if state.is_open:
        first = state.turned[0]
        left &= state.face == state.face[first]
        left[first] = False
    return np.flatnonzero(left)


def good_minesweeper(state):
    return np.flatnonzero((state.mine == 0) & (state.viewed == 0))


GOOD = {
    "battleship": good_battleship,
    "concentration": good_concentration,
    "minesweeper": good_minesweeper,
}


def as_popgym(theirs, action):
    """Our action in POPGym's action space: a number, or (row, column)."""
    nvec = getattr(theirs.action_space, "nvec", None)
    return action if nvec is None else np.array(divmod(action, nvec[1]))


@pytest.mark.parametrize("matches", [60, pytest.param(EPISODES, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "level"), VARIANTS)
def test_lockstep(name, level, matches):
    """So many matches: what is seen, paid and over is the same at every step; returns agree to 1e-6."""
    game, theirs = envs.make(name, level=level), make_theirs(name, level)
    choose, best, reached_cap = random.Random(1), -1.0, False
    for episode in range(matches):
        seen, _ = theirs.reset(seed=episode)
        match = envs.Match(game, seed=episode)
        SHARE[name](theirs, match.state)
        skill, total, is_over = (0.0, 0.5, 0.9, 1.0)[episode % 4], 0.0, False
        assert match.legal() == list(range(game.actions))
        while not is_over:
            assert not match.over
            assert match.observation(0).tolist() == np.atleast_1d(seen).tolist()
            good = GOOD[name](match.state) if choose.random() < skill else range(game.actions)
            action = int(choose.choice(good))
            match.play(action)
            seen, reward, won, capped, _ = theirs.step(as_popgym(theirs, action))
            is_over, total = won or capped, total + reward
            assert match.state.reward[0] == pytest.approx(reward, rel=1e-6)
        assert match.over
        assert match.observation(0).tolist() == np.atleast_1d(seen).tolist()
        assert match.returns[0] == pytest.approx(total, abs=1e-6)
        best, reached_cap = max(best, total), reached_cap or capped
    assert best == pytest.approx(1.0)
    assert reached_cap


@pytest.mark.parametrize(("name", "level"), VARIANTS)
def test_the_sizes_are_popgyms(name, level):
    game, theirs = envs.make(name, level=level), make_theirs(name, level)
    codes = getattr(theirs.observation_space, "nvec", getattr(theirs.observation_space, "n", None))
    actions = getattr(theirs.action_space, "nvec", getattr(theirs.action_space, "n", None))
    cap = theirs.episode_length if name == "concentration" else theirs.max_episode_length
    assert game.observation_space.nvec.tolist() == np.atleast_1d(codes).tolist()
    assert (game.actions, game.max_length) == (np.prod(actions), cap)


# ---------------------------------------------------------------- the ends of the range


def test_the_best_and_the_worst_return_of_battleship():
    """Easy: 12 hits at once are worth 12 / 12; 64 shots into the same water -64 / 52."""
    game = envs.make("battleship")
    best, worst = envs.Match(game, seed=1), envs.Match(game, seed=1)
    for cell in good_battleship(best.state):
        best.play(cell)
    water = int(np.flatnonzero(worst.state.ship[0] == 0)[0])
    for _ in range(64):
        worst.play(water)
    assert (len(best.actions), len(worst.actions)) == (12, 64)
    assert (worst.returns[0], best.returns[0]) == pytest.approx(game.return_range)


def test_the_best_and_the_worst_return_of_minesweeper():
    """Easy: 14 clear cells; or one of them (+1/14), clicked 12 times more (-6/12), then a mine: -1."""
    game = envs.make("minesweeper")
    best, worst = envs.Match(game, seed=1), envs.Match(game, seed=1)
    clear = good_minesweeper(best.state)
    for cell in clear:
        best.play(cell)
    for cell in [clear[0]] * 13 + [int(np.flatnonzero(worst.state.mine)[0])]:
        worst.play(cell)
    assert best.over
    assert worst.over
    assert (worst.returns[0], best.returns[0]) == pytest.approx(game.return_range)


def test_the_best_and_the_worst_return_of_concentration():
    """Easy: 26 pairs at once; or the same card 104 times, -2/104 at every second."""
    game = envs.make("concentration")
    best, worst = envs.Match(game, seed=1), envs.Match(game, seed=1)
    while not best.over:
        best.play(good_concentration(best.state)[0])
    while not worst.over:
        worst.play(7)
    assert (len(best.actions), len(worst.actions)) == (52, 104)
    assert (worst.returns[0], best.returns[0]) == pytest.approx(game.return_range)


# ---------------------------------------------------------------- what lies hidden is drawn alike


def dealt(game, lanes, seed=3):
    """The states of `lanes` matches that have just begun."""
    return envs.Batch(game, lanes, seed=seed).states


def assert_counts(counts, expected, odds):
    """Each count lies within 4.5 standard deviations of what `odds` let expect."""
    spread = (expected * (1 - odds)) ** 0.5
    assert abs(counts - expected).max() < 4.5 * spread


def test_every_layout_of_mines_is_as_likely():
    """2 mines under 16 cells: 120 layouts, 200 times each."""
    mines = dealt(envs.make("minesweeper"), 24_000)["mine"]
    assert (mines.sum(1) == 2).all()
    layouts, counts = np.unique(mines, axis=0, return_counts=True)
    assert len(layouts) == 120
    assert_counts(counts, 200, 1 / 120)


@pytest.mark.parametrize("level", LEVELS)
def test_every_card_lies_everywhere_as_often(level):
    """Each face has its share of every place, and neighbours are equal as often as any two cards are."""
    game, n = envs.make("concentration", level=level), 13_000
    faces = dealt(game, n)["face"]
    each = game.actions // game.faces
    for face in range(game.faces):
        assert ((faces == face).sum(1) == each).all()
        assert_counts((faces == face).sum(0), n / game.faces, 1 / game.faces)
    odds = (each - 1) / (game.actions - 1)
    assert_counts((faces[:, 1:] == faces[:, :-1]).sum(0), n * odds, odds)


@pytest.mark.parametrize("level", LEVELS)
def test_ships_lie_where_popgym_lays_them(level):
    """The first ship, of 2 cells, lies in each of its 2 n (n - 1) places as often; and all ships
    together cover each cell as often as in 3,000 of POPGym's boards."""
    game, theirs, n = envs.make("battleship", level=level), make_theirs("battleship", level), 26_400
    states = dealt(game, n)
    assert ((states["ship"] != 0).sum((1, 2)) == 12).all()

    places, counts = np.unique(states["place"][:, 0, 0], return_counts=True)
    assert len(places) == 2 * game.rows * (game.rows - 1)
    assert_counts(counts, n / len(places), 1 / len(places))

    covered = np.zeros(game.actions)
    for seed in range(3_000):
        theirs.reset(seed=seed)
        covered += theirs.board.ravel()
    ours = (states["ship"][:, 0] != 0).mean(0)
    spread = (ours * (1 - ours) * (1 / n + 1 / 3_000)) ** 0.5
    assert (abs(ours - covered / 3_000) < 4.5 * spread).all()


# ---------------------------------------------------------------- random play


def random_battleship(game):
    """Each shot is a new hit with probability (12 - hits) / cells; `value[hits]` is what is still to come."""
    cells, value = game.actions, np.zeros(13)
    for _ in range(cells):
        for hits in range(12):  # value[12] stays 0: the match is over
            p = (12 - hits) / cells
            value[hits] = p * (1 / 12 + value[hits + 1]) + (1 - p) * (value[hits] - 1 / (cells - 12))
    return value[0]


def random_minesweeper(game):
    """Each click finds a mine, a cell seen before or a new one; `value[seen]` is what is still to come."""
    cells, n = game.actions, game.max_length
    value = np.zeros(n + 1)
    for _ in range(n):
        for seen in range(n):
            mine, again, new = game.mines / cells, seen / cells, (n - seen) / cells
            value[seen] = (
                mine * (-0.5 - 1 / n)
                + again * (value[seen] - 0.5 / (n - 2))
                + new * (value[seen + 1] + 1 / n)
            )
    return value[0]


def random_concentration(game):
    """Walks from turn to turn; `left` tells how many cards of each face are not found."""
    cards, limit = game.actions, game.max_length

    @functools.cache
    def value(turned, left):
        if turned >= limit or not any(left):
            return 0.0
        total = (1 - sum(left) / cards) * (value(turned + 1, left) - 1 / limit)
        if turned + 1 == limit:
            return total  # the first card of a turn is free
        for k, here in enumerate(left):
            if here > 0:
                after = tuple(sorted((*left[:k], here - 2, *left[k + 1 :])))
                match = (here - 1) / cards
                pair, none = value(turned + 2, after) + 2 / cards, value(turned + 2, left) - 2 / limit
                total += here / cards * (match * pair + (1 - match) * none)
        return total

    return value(0, (cards // game.faces,) * game.faces)


# As measured by another program that played the rules as written, with a standard error of 0.005.
RANDOM_PLAY = [
    ("battleship", random_battleship, (-0.442, -0.417, -0.404)),
    ("minesweeper", random_minesweeper, (-0.235, -0.401, -0.433)),
    ("concentration", random_concentration, (-0.192, -0.182, -0.834)),
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("name", "exact_value", "measured"), RANDOM_PLAY, ids=lambda x: x if isinstance(x, str) else ""
)
def test_random_play(name, exact_value, measured, level, first_matches, assert_mean):
    game = envs.make(name, level=level)
    exact = exact_value(game)
    assert exact == pytest.approx(measured[LEVELS.index(level)], abs=4 * 0.005)
    returns, _ = first_matches(game, seed=11, lanes=4_000)
    assert_mean(returns[:, 0], exact)
