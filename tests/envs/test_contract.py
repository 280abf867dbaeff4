"""Every game keeps the contract, and no seat sees too much."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from listed import SMALL

import envs
from envs.check import check_game

VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "phantom_tictactoe": ({"abrupt": True}, {"reveal": "turns"}, {"abrupt": True, "reveal": "turns"}),
    "dark_hex": (
        {"rows": 2, "cols": 2, "abrupt": True},
        {"rows": 4, "cols": 3},
        {"rows": 5, "cols": 5, "abrupt": True, "reveal": "turns"},
        {"rows": 7, "cols": 10, "reveal": "turns"},  # 139 attempts at most: the count takes two slots
        {"rows": 19, "cols": 19},
    ),
    "liars_dice": ({"dice": 2, "sides": 4}, {"dice": 5}),
    "goofspiel": ({"cards": 5, "order": "random"}, {"cards": 13, "order": "ascending"}),
    "battleship": (
        {"level": "hard"},
        {"seats": 2, "rows": 2, "cols": 2, "ships": "1", "shots": 2},
        {"seats": 2, "rows": 3, "cols": 4, "ships": "4,3,1", "values": "1,0,7", "loss_multiplier": 2},
        {"seats": 2, "allow_repeated_shots": False},
    ),
    "concentration": ({"level": "medium"}, {"level": "hard"}),
    "minesweeper": ({"level": "medium"}, {"level": "hard"}),
    "generals": (
        SMALL["generals"],
        {"map": "AB../..../..0./...#", "max_ticks": 60},
        {"rows": 5, "cols": 6, "max_ticks": 60, "castles": 20},
    ),
}
LISTED = [(name, options) for name in envs.GAMES for options in ({}, *VARIANTS.get(name, ()))]


@pytest.mark.parametrize("matches", [20, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "options"), LISTED, ids=str)
def test_every_game_keeps_the_contract(name, options, matches):
    game = envs.make(name, **options)
    check_game(game, matches=2 if game.actions > 100 else matches)


# ---------------------------------------------------------------- no seat sees too much

PHANTOM = [
    ("phantom_tictactoe", {}),
    ("phantom_tictactoe", {"abrupt": True, "reveal": "turns"}),
    ("dark_hex", {"rows": 4, "cols": 4}),
    ("dark_hex", {"rows": 4, "cols": 4, "abrupt": True, "reveal": "turns"}),
]
LEAKS = settings(derandomize=True, deadline=None, max_examples=50)


def shown(game, state, seat):
    """All that `seat` is shown: observation, what it reads and what it sees drawn; and, if it is to
    move, its legal actions."""
    out = np.zeros(game.observation_space.shape, game.observation_space.dtype)
    game.observe(state, seat, out)
    mask = np.zeros(game.actions, np.bool_)
    if state.seat == seat:
        game.legal(state, mask)
    return out.tolist(), mask.tolist(), game.text(state, seat), game.svg(state, seat)


def played(game, seed, moves):
    """A match after up to `moves` random moves, not over."""
    match, choose = envs.Match(game, seed=seed), random.Random(seed)
    for _ in range(moves):
        after = match.copy()
        after.play(choose.choice(match.legal()))
        if after.over:
            break
        match = after
    return match


@pytest.mark.parametrize(("name", "options"), PHANTOM, ids=str)
@LEAKS
@given(seed=st.integers(0, 2**32), moves=st.integers(1, 12), seat=st.integers(0, 1))
def test_the_opponents_unseen_stones_may_lie_anywhere(name, options, seed, moves, seat):
    """Move the opponent's unseen stones to other cells the seat knows nothing of, and change what only
    the opponent knows: the seat is shown the same."""
    game = envs.make(name, **options)
    match, choose = played(game, seed, moves), np.random.default_rng(seed)
    state, other = match.state, 1 - seat
    before, board = shown(game, state, seat), state.board.copy()

    unknown = np.flatnonzero(state.known[seat] == 0)
    state.board[unknown] = choose.permutation(state.board[unknown])
    assume((state.board != board).any())
    state.known[other, unknown] = np.where(state.board[unknown] == other + 1, other + 1, 0)
    own = np.flatnonzero(state.board == seat + 1)  # the opponent hit other ones of the seat's stones
    state.known[other, own] = np.where(choose.random(own.size) < 0.5, seat + 1, 0)
    state.last[other] = choose.integers(-1, game.actions)
    state.collided[other] = 1 - state.collided[other]
    if not state.reveals_turns:
        state.attempts += 1
    if state.seat == seat:
        state.mover = choose.integers(-1, 2)

    assert shown(game, state, seat) == before


@pytest.mark.parametrize(("name", "options"), PHANTOM, ids=str)
@LEAKS
@given(seed=st.integers(0, 2**32), moves=st.integers(0, 12), data=st.data())
def test_what_a_seat_knows_is_shown(name, options, seed, moves, data):
    """Counterpart: one more stone known changes exactly that cell of the observation, and one legal
    action; one more attempt changes the count where it is public, and nothing where it is not."""
    game = envs.make(name, **options)
    state = played(game, seed, moves).state
    seat = int(state.seat)
    before = shown(game, state, seat)
    state.attempts += 1
    after = shown(game, state, seat)
    if state.reveals_turns:
        assert after[0][-1] == before[0][-1] + 1
    else:
        assert after == before

    cell = data.draw(st.sampled_from(np.flatnonzero(state.known[seat] == 0).tolist()))
    for known, code in ((seat + 1, 1), (2 - seat, 2)):
        state.known[seat, cell] = known
        observation, mask, *_ = shown(game, state, seat)
        assert (after[0][cell], after[1][cell]) == (0, True)
        assert (observation[cell], mask[cell]) == (code, False)
        assert observation[:cell] + observation[cell + 1 :] == after[0][:cell] + after[0][cell + 1 :]
        assert mask[:cell] + mask[cell + 1 :] == after[1][:cell] + after[1][cell + 1 :]


@pytest.mark.parametrize(("name", "cards"), [("kuhn_poker", 3), ("leduc_poker", 6)])
@LEAKS
@given(seed=st.integers(0, 2**32), moves=st.integers(0, 6), seat=st.integers(0, 1), card=st.integers(1, 6))
def test_the_opponents_card_may_be_any_other(name, cards, seed, moves, seat, card):
    """Swap the opponent's card: the seat is shown the same. Swap its own, and it is shown that."""
    assume(card <= cards)
    game = envs.make(name)
    state = played(game, seed, moves).state
    before = shown(game, state, seat)
    dealt = state.card.copy()
    assume(card not in dealt)

    state.card[1 - seat] = card
    assert shown(game, state, seat) == before

    state.card[:] = dealt
    state.card[seat] = card
    after = shown(game, state, seat)
    assert after[0] == [card, *before[0][1:]]
    assert after[2] != before[2]


@LEAKS
@given(seed=st.integers(0, 2**32), moves=st.integers(0, 8), seat=st.integers(0, 1), data=st.data())
def test_the_opponents_dice_may_show_anything(seed, moves, seat, data):
    """Liar's dice, two each: other faces for the opponent change nothing that is shown; own ones do."""
    game = envs.make("liars_dice", dice=2)
    state = played(game, seed, moves).state
    before = shown(game, state, seat)
    state.die[1 - seat] = sorted(data.draw(st.integers(1, 6)) for _ in range(2))
    assert shown(game, state, seat) == before
    state.die[seat] = (3, 5)
    assert shown(game, state, seat)[0][:2] == [3, 5]


@LEAKS
@given(seed=st.integers(0, 2**32), moves=st.integers(2, 9), seat=st.integers(0, 1))
def test_the_opponents_bids_are_laid_aside_unseen(seed, moves, seat):
    """Goofspiel, five cards: the opponent's bids may have been any, if they won the same rounds."""
    game = envs.make("goofspiel", cards=5, order="random")
    state = played(game, seed, moves).state
    before = shown(game, state, seat)
    state.bid[1 - seat] = np.where(state.bid[1 - seat] > 0, 6 - state.bid[1 - seat], 0)
    if seat == 1 and state.committed:
        state.committed = 6 - state.committed
    assert shown(game, state, seat) == before


def test_both_see_the_public_card_and_every_move():
    """Leduc: seat 0 calls, seat 1 raises, seat 0 calls, the king of spades (5) is turned."""
    match = envs.Match(envs.make("leduc_poker"), chance="ask")
    for action in (0, 3, 1, 2, 1, 4):  # jack of spades, queen of hearts, call, raise, call, king of spades
        match.play(action)
    assert match.observation(0).tolist() == [1, 5, 2, 3, 2, 0, 0, 0, 0, 0]
    assert match.observation(1).tolist() == [4, 5, 2, 3, 2, 0, 0, 0, 0, 0]
