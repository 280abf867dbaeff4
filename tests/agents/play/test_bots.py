"""Bots: each follows its rules, remembers what it should, and is as strong as it must be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from listed import PLAIN, small
from saved import KUHN, TICTACTOE

import envs
from agents import fixed_player
from agents.play.arena import play_alone, play_matches
from agents.play.players import BOTS, Bot, RandomPlayer


def bot_act(game, observation, mask=None, seat=0, seed=0):
    legal = np.ones(game.actions, bool) if mask is None else np.asarray(mask, bool)
    return Bot(game, seed=seed).act(np.array(observation, np.uint8), legal, seat)


PASS, BET = 0, 1
JACK, QUEEN, KING = 1, 2, 3
PASSED, HAS_BET = 1, 2  # moves in the observation; 0 = none


@pytest.mark.parametrize(
    ("moves", "decisions"),
    [
        ((0, 0, 0), {JACK: PASS, QUEEN: PASS, KING: BET}),  # seat 0 opens
        ((PASSED, 0, 0), {JACK: PASS, QUEEN: PASS, KING: BET}),  # seat 1 after a pass
        ((HAS_BET, 0, 0), {JACK: PASS, QUEEN: BET, KING: BET}),  # seat 1 after a bet
        ((PASSED, HAS_BET, 0), {JACK: PASS, QUEEN: BET, KING: BET}),  # seat 0, who passed, after a bet
    ],
)
def test_the_kuhn_bot_plays_its_cards_face(moves, decisions):
    assert {card: bot_act(KUHN, [card, *moves]) for card in (JACK, QUEEN, KING)} == decisions


FOLD, CALL, RAISE = 0, 1, 2
J, Q, K = 1, 3, 5  # of the first suit in the observation; + 1 for the second


@pytest.mark.parametrize(
    ("card", "public", "can_fold", "can_raise", "decision"),
    [
        (K, 0, False, True, RAISE),
        (K, 0, True, False, CALL),  # two raises were made
        (Q, 0, False, True, CALL),
        (Q, 0, True, True, CALL),
        (J, 0, False, True, CALL),  # a check costs nothing
        (J, 0, True, True, FOLD),
        (J, J + 1, True, True, RAISE),  # a pair
        (Q + 1, Q, True, False, CALL),
        (J, K, True, True, FOLD),
    ],
)
def test_the_leduc_bot_raises_with_a_pair_or_a_king(card, public, can_fold, can_raise, decision):
    observation = [card, public] + [0] * 8
    assert bot_act(envs.make("leduc_poker"), observation, [can_fold, True, can_raise]) == decision


@pytest.mark.parametrize(
    ("die", "quantity", "face", "decision"),
    [
        (3, 0, 0, 2),  # opens with its own three, 1x3
        (6, 0, 0, 0),  # a six is any face: 1x1
        (3, 1, 2, 12),  # it has no two
        (6, 1, 2, 2),  # 1x3, which its six bears out
        (3, 2, 3, 12),  # two threes would need one of the other's
    ],
)
def test_the_liars_bot_says_what_it_has(die, quantity, face, decision):
    latest = 6 * (quantity - 1) + face if quantity else 0
    legal = [a >= latest for a in range(12)] + [latest > 0]
    assert bot_act(envs.make("liars_dice"), [die, quantity, face, 0, 0], legal) == decision


def test_the_goofspiel_bot_bids_the_prize_or_one_more():
    """Four cards: for a 2 it bids its 2 or its 3, for a 4 its 4; without them the next, else the lowest."""
    game = envs.make("goofspiel")
    two, four = [0, 1, 0, 2], [0, 0, 0, 1]
    for hand, points, bids in (
        ([1, 1, 1, 0], two, {1, 2}),
        ([1, 1, 0, 1], two, {1, 3}),
        ([1, 0, 0, 0], two, {0}),
        ([1, 1, 1, 1], four, {3}),
    ):
        told = {bot_act(game, hand + points, np.array(hand) == 1, seed=seed) for seed in range(20)}
        assert told == bids


# 0 unknown, 1 own mark, 2 opponent's mark found
@pytest.mark.parametrize(
    ("board", "cells"),
    [
        ([1, 1, 0, 0, 0, 0, 0, 0, 0], {2}),  # completes a row
        ([1, 0, 0, 0, 1, 0, 0, 0, 0], {8}),  # and a diagonal
        ([1, 0, 0, 1, 0, 0, 2, 0, 0], {4}),  # not a column that the opponent closed: the centre
        ([0, 0, 0, 2, 2, 0, 0, 0, 0], {5}),  # stops a line it knows of
        ([0, 0, 1, 2, 2, 0, 0, 0, 1], {5}),  # completes its own first, which stops the other too
        ([2, 2, 0, 0, 0, 0, 1, 1, 0], {8}),  # completes rather than stops
        ([0, 0, 0, 0, 0, 0, 0, 0, 0], {4}),  # the centre
        ([0, 0, 0, 0, 2, 0, 0, 0, 0], {0, 2, 6, 8}),  # then a corner
        ([1, 0, 2, 0, 2, 0, 1, 2, 0], {3}),
    ],
)
def test_the_tictactoe_bot_in_known_positions(board, cells):
    legal = [stone == 0 for stone in board]
    assert {bot_act(TICTACTOE, board, legal, seed=seed) for seed in range(40)} == cells


def hex_stones(rows, cols, seat):
    """A bot alone on an empty board: the cells it takes until its edges are linked."""
    game, board, taken = envs.make("dark_hex", rows=rows, cols=cols), np.zeros(rows * cols, np.uint8), []
    bot = Bot(game, seed=rows + cols)
    while not is_linked(taken, rows, cols, seat):
        taken.append(bot.act(board, board == 0, seat))
        board[taken[-1]] = 1
    return taken


def is_linked(taken, rows, cols, seat):
    """Do the stones link the seat's edges? Seat 0: top and bottom, seat 1: left and right."""
    places = {(c // cols, c % cols) for c in taken}
    along, length = (0, rows) if seat == 0 else (1, cols)
    reached = {place for place in places if place[along] == 0}
    while True:
        near = {
            (r + a, c + b)
            for r, c in reached
            for a, b in ((0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1))
        }
        if (near & places) <= reached:
            return any(place[along] == length - 1 for place in reached)
        reached |= near & places


@pytest.mark.parametrize(("rows", "cols"), [(3, 3), (4, 3), (3, 5)])
def test_the_hex_bot_needs_as_many_moves_as_the_board_is_long(rows, cols):
    """rows moves from top to bottom, cols moves from left to right, each on a shortest way."""
    assert len(hex_stones(rows, cols, seat=0)) == rows
    assert len(hex_stones(rows, cols, seat=1)) == cols


def test_the_hex_bot_walks_around_stones_it_knows():
    """Seat 0 with a wall on 3 and 4 must pass 5, which is reached from 2 and leads to 7 or 8.

    . . .
     # # .
      . . .
    """
    game, board = envs.make("dark_hex"), [0, 0, 0, 2, 2, 0, 0, 0, 0]
    legal = [stone == 0 for stone in board]
    assert {bot_act(game, board, legal, seed=seed) for seed in range(40)} == {2, 5, 7, 8}
    board[5] = board[2] = 1
    legal = [stone == 0 for stone in board]
    assert {bot_act(game, board, legal, seed=seed) for seed in range(40)} == {7, 8}


def test_some_bots_name_nothing_twice():
    """Battleship alone: 64 decisions name 64 cells. Two matches side by side, asked in turn, go their own
    ways; the one that ends begins anew."""
    game = envs.make("battleship")
    bot, seen = Bot(game, seed=1), torch.zeros(1, 1, dtype=torch.uint8)
    bot.reset(2)
    named = [[int(bot.act(seen, rows=torch.tensor([row]))) for row in (0, 1)] for _ in range(64)]
    for row in (0, 1):
        assert sorted(cells[row] for cells in named) == list(range(64))
    assert [cells[0] for cells in named] != [cells[1] for cells in named]
    bot.restart(torch.tensor([True, False]))
    assert bot.notes.sum((1, 2)).tolist() == [0, 64]


def test_each_seat_takes_its_own_notes():
    game = envs.make("battleship", seats=2, rows=1, cols=3, ships="1", shots=3)
    bot, legal = Bot(game), torch.zeros(1, 9, dtype=torch.bool)
    legal[0, 1] = True
    bot.act(torch.zeros(1, 8, dtype=torch.uint8), legal, seat=[1])
    assert bot.notes[0].tolist() == [[0] * 9, [0, 1] + [0] * 7]


def test_the_concentration_bot_remembers_a_match():
    """Hard, ace to king four times over (card k has rank k mod 13). It has turned 0 and 14, which do not
    match; when the 13 shows an ace it goes back to 0; then it turns cards it has not seen."""
    bot = Bot(envs.make("concentration", level="hard"))
    NAMED, GONE = -2, -1

    def show(*cards):
        out = np.full(52, 13, np.uint8)
        out[list(cards)] = np.array(cards) % 13
        return bot.act(out, np.ones(52, bool))

    notes = bot.notes[0, 0]
    notes[0], notes[14], notes[13] = 1, 2, NAMED
    assert show(13) == 0
    card = show(13, 0)
    assert notes[[0, 13]].tolist() == [GONE, GONE]
    assert card not in (0, 13, 14)
    notes[card], notes[27] = 0, NAMED  # as if it had named 27, a two like 14
    assert show(13, 0, 27) == 14


# What perfect memory without inference is worth, exactly. Battleship with n cells: the last of 12 ship cells
# comes at shot 12 (n + 1) / 13 on average, so 1 - (12 (n + 1) / 13 - 12) / (n - 12) = 1/13. Minesweeper with
# n clear cells and m mines: n / (m + 1) clear cells before the first mine, 1/(m + 1) - 1/2 - 1/n, but for one
# layout in C(n + m, m) that is won. Concentration as measured by another program, standard error 0.005.
PERFECT_MEMORY = [
    *(("battleship", level, 1 / 13, 0.0) for level in ("easy", "medium", "hard")),
    *(
        ("minesweeper", level, 1 / (m + 1) - (0.5 + 1 / n) * (1 - 1 / math.comb(n + m, m)), 0.0)
        for level, n, m in (("easy", 14, 2), ("medium", 30, 6), ("hard", 54, 10))
    ),
    ("concentration", "easy", 0.814, 0.005),
    ("concentration", "medium", 0.812, 0.005),
    ("concentration", "hard", 0.696, 0.005),
]


@pytest.mark.parametrize(
    ("name", "level", "mean", "error"),
    [pytest.param(*case, marks=() if case[1] == "easy" else pytest.mark.slow) for case in PERFECT_MEMORY],
)
def test_the_bots_of_the_games_for_one_have_a_perfect_memory(name, level, mean, error):
    """2,000 matches each, within 4 standard errors."""
    game = envs.make(name, level=level)
    returns = play_alone(game, Bot(game), 2_000).returns
    assert abs(returns.mean() - mean) < 4 * (float(returns.var()) / 2_000 + error**2) ** 0.5


def test_in_concentration_much_is_to_be_had_without_memory():
    """Whoever turns any card that lies face down gets +0.455 at easy (docs/memory.md), 0.003 its standard
    error; 4,096 matches, within 4 standard errors."""
    batch, generator = envs.Batch(envs.make("concentration"), 4_096, seed=1), torch.Generator().manual_seed(0)
    returns, is_first = torch.zeros(batch.matches), torch.ones(batch.matches, dtype=torch.bool)
    for _ in range(batch.game.max_length):
        weight = (batch.observation == 2).float() + 1e-9  # none lies face down: any card
        batch.step(torch.multinomial(weight, 1, generator=generator)[:, 0])
        returns += batch.reward[:, 0] * is_first
        is_first &= ~batch.over
    assert not is_first.any()
    assert abs(returns.mean() - 0.455) < 4 * (float(returns.var()) / batch.matches + 0.003**2) ** 0.5


def generals_moves(title, armies, owners, times=200):
    """What a bot in seat 0 does on 4 x 4 plain cells, by name; an owner is a seat, or -1: nobody."""
    match = envs.Match(PLAIN)
    match.state.army[:], match.state.owner[:] = armies, owners
    shown = [match.observation(0), match.mask(), 0]
    moves = {Bot(PLAIN, title, seed).act(*shown) for seed in range(times)}
    return {PLAIN.action_name(move) for move in moves}


@pytest.mark.parametrize(
    ("armies", "owners", "expander", "greedy"),
    [
        (  # b1 takes the opponent's c1, b2 the opponent's c2: 3 > 1 + 1 and 6 > 4 + 1
            [1, 3, 1, 0, 1, 6, 4, 0] + [0] * 7 + [1],
            [0, 0, 1, -1, 0, 0, 1, -1] + [-1] * 7 + [1],
            {"b1 right", "b2 right"},
            {"b2 right"},
        ),
        (  # c2 is too strong for them: they take what is nobody's
            [1, 3, 2, 0, 1, 6, 5, 0] + [0] * 7 + [1],
            [0, 0, 1, -1, 0, 0, 1, -1] + [-1] * 7 + [1],
            {"b2 down"},
            {"b2 down"},
        ),
        (  # own land all around but for d4: it moves anywhere, or the strongest army comes nearer to d4
            [5, 1, 1, 1, 1, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3],
            [0] * 15 + [1],
            {"a1 right", "a1 down", "b2 up", "b2 down", "b2 left", "b2 right"},
            {"b2 right", "b2 down"},
        ),
        (  # nothing can move
            [1] + [0] * 14 + [1],
            [0] + [-1] * 14 + [1],
            {"pass"},
            {"pass"},
        ),
    ],
    ids=["the opponent's", "nobody's", "nothing to take", "nothing to move"],
)
def test_the_generals_bots_in_known_positions(armies, owners, expander, greedy):
    assert generals_moves("expander", armies, owners) == expander
    assert generals_moves("greedy", armies, owners) <= greedy


def test_the_greedy_bot_marches_on_a_general_it_has_seen():
    """A's land at c3 shows B's general at d4. When that land is lost A still knows where to go."""
    match, bot = envs.Match(PLAIN), Bot(PLAIN, "greedy")
    s = match.state
    names = []
    for lost in (False, True):
        s.owner[:12], s.army[:12] = -1, 0
        s.owner[[0, 1]], s.army[[0, 1]] = 0, (1, 7)
        if not lost:
            s.owner[10], s.army[10] = 0, 1
        names.append(PLAIN.action_name(bot.act(match.observation(0), match.mask(), 0)))
    assert set(names) <= {"b1 right", "b1 down"}
    s.owner[1], s.owner[4], s.army[4] = -1, 0, 7  # to the left of it lies a free cell, not worth a step now
    assert PLAIN.action_name(bot.act(match.observation(0), match.mask(), 0)) in {"a2 right", "a2 down"}
    bot.restart(torch.tensor([True]))
    assert not bot.notes.any()


@pytest.mark.parametrize(("matches", "least"), [(100, 0.85), pytest.param(500, 0.9, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("first", "second"), [("expander", "random"), ("greedy", "expander")])
def test_the_generals_bots_are_ever_stronger(first, second, matches, least):
    """Random maps of 5 x 6 cells, so many matches in each seat: the lower end of the 95 % interval."""
    game = envs.make("generals", rows=5, cols=6)
    r = play_matches(game, fixed_player(first, game, 1), fixed_player(second, game, 2), matches)
    assert r.win_interval[0] > least


def test_a_bot_decides_the_same_alone_and_among_many():
    """Some rows of 100 matches at once, and one by one: the same numbers, the same moves."""
    game = small("generals")
    batch, random = envs.Batch(game, 100, seed=3), RandomPlayer(game)
    many, single = Bot(game, "expander", 5), Bot(game, "expander", 5)
    many.reset(100)
    for _ in range(20):
        batch.step(random.choose(batch.observation, batch.legal, batch.seat, None))
        rows = torch.arange(0, 100, 3)
        shown = [batch.observation[rows], batch.legal[rows], batch.seat[rows]]
        alone = [single.act(o.numpy(), legal.numpy(), p) for o, legal, p in zip(*shown, strict=True)]
        assert many.act(*shown, rows).tolist() == alone


def test_a_bots_saved_notes_resume_it():
    game, seen = envs.make("battleship"), torch.zeros(3, 1, dtype=torch.uint8)
    one, two = Bot(game, seed=1), Bot(game, seed=2)
    one.reset(3)
    for _ in range(40):
        one.act(seen)
    two.load_state_dict(one.state_dict())
    for _ in range(10):
        assert torch.equal(one.act(seen), two.act(seen))


@pytest.mark.parametrize(("name", "title"), [(name, title) for name in BOTS for title in BOTS[name]])
def test_a_bot_plays_only_legal_moves(name, title):
    """50 matches against a random player, in both seats; `Match.play` raises at an illegal move."""
    game = small(name)
    bot, random = Bot(game, title), RandomPlayer(game)
    for seed in range(50):
        match = envs.Match(game, seed)
        bot.reset()
        while not match.over:
            player = bot if match.seat == seed % game.seats else random
            match.play(player.act(match.observation(match.seat), match.mask(), match.seat))


def test_a_game_without_a_bot_says_which_have_one(monkeypatch):
    monkeypatch.delitem(BOTS, "kuhn_poker")
    with pytest.raises(
        ValueError,
        match=r"kuhn_poker has no bot; games with one are .*dark_hex, generals, goofspiel, leduc_poker",
    ):
        Bot(KUHN)
