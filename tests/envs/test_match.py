"""One match: four told move by move, then what a Match and `envs.make` refuse."""

from __future__ import annotations

import numpy as np
import pytest

from envs import CHANCE, Match, make
from envs.games.dark_hex import BITS

J, Q, K = 0, 1, 2  # Kuhn's cards, as chance outcomes
PASS, BET = 0, 1
FOLD, CALL, RAISE = 0, 1, 2


def played(match, *actions):
    for action in actions:
        match.play(action)
    return match


# ---------------------------------------------------------------- matches told move by move


def test_a_bluff_in_kuhn_poker():
    """Seat 0 bets a jack, the worst card; seat 1 folds the queen and loses its ante of 1."""
    match = Match(make("kuhn_poker"), chance="ask")
    assert match.seat == CHANCE
    assert match.chance().tolist() == [1 / 3, 1 / 3, 1 / 3]
    match.play(J)
    assert match.chance().tolist() == [0, 1 / 2, 1 / 2]
    assert match.legal() == [Q, K]  # the jack is gone
    match.play(Q)

    assert match.seat == 0
    assert match.observation(0).tolist() == [1, 0, 0, 0]
    match.play(BET)
    assert match.seat == 1
    assert match.observation(1).tolist() == [2, 2, 0, 0]  # queen; one move so far, a bet
    match.play(PASS)

    assert match.over
    assert match.returns.tolist() == [1, -1]
    assert match.actions == [J, Q, BET, PASS]
    assert "seat 0: J   seat 1: ?   moves: bet pass" in match.text(0)  # the fold keeps the queen hidden
    assert "seat 0: ?   seat 1: Q   moves: bet pass" in match.text(1)
    assert "seat 0: J   seat 1: Q   moves: bet pass" in match.text()


@pytest.mark.parametrize(
    ("moves", "returns"),
    [
        ((PASS, PASS), (1, -1)),  # showdown for the antes
        ((BET, BET), (2, -2)),  # showdown for ante and bet
        ((PASS, BET, BET), (2, -2)),
        ((BET, PASS), (1, -1)),  # seat 1 folds
        ((PASS, BET, PASS), (-1, 1)),  # seat 0 folds the better card
    ],
)
def test_the_five_lines_of_kuhn_poker(moves, returns):
    """Seat 0 holds the king, seat 1 the queen."""
    match = played(Match(make("kuhn_poker"), chance="ask"), K, Q, *moves)
    assert match.over
    assert tuple(match.returns) == returns


def test_a_pair_in_leduc_poker():
    """A jack beats a king once the public card is a jack. Cards: Js Jh Qs Qh Ks Kh are 0..5.

    Seat 0 has Js, seat 1 Ks. Round 1: check, raise (seat 1 has paid 1 + 2 = 3), call (3 and 3). Public
    Jh. Round 2: raise (seat 0 has paid 3 + 4 = 7), raise (seat 1 has paid 7 + 4 = 11), call (11 and 11).
    """
    match = played(Match(make("leduc_poker"), chance="ask"), 0, 4)
    assert match.seat == 0
    assert match.legal() == [CALL, RAISE]  # nothing to fold against
    match.play(CALL)
    assert match.legal() == [CALL, RAISE]
    match.play(RAISE)
    assert match.state.paid.tolist() == [1, 3]
    assert match.legal() == [FOLD, CALL, RAISE]
    match.play(CALL)
    assert match.state.paid.tolist() == [3, 3]

    assert match.seat == CHANCE
    assert match.chance().tolist() == [0, 1 / 4, 1 / 4, 1 / 4, 0, 1 / 4]  # four cards are left
    match.play(1)
    assert match.seat == 0  # seat 0 opens the second round too
    played(match, RAISE, RAISE)
    assert match.state.paid.tolist() == [7, 11]
    assert match.legal() == [FOLD, CALL]  # two raises are the most
    match.play(CALL)

    assert match.returns.tolist() == [11, -11]
    # own card 1 + 0, public 1 + 1; call raise call; raise raise call
    assert match.observation(0).tolist() == [1, 2, 2, 3, 2, 0, 3, 3, 2, 0]
    assert match.observation(1).tolist() == [5, 2, 2, 3, 2, 0, 3, 3, 2, 0]


@pytest.mark.parametrize(
    ("actions", "returns"),
    [
        ((2, 0, RAISE, FOLD), (1, -1)),  # seat 1 folds its ante
        ((2, 0, RAISE, RAISE, FOLD), (-3, 3)),  # seat 0 folds ante and raise, 1 + 2
        ((2, 3, CALL, CALL, 4, CALL, CALL), (0, 0)),  # queens both: the pot is split
        ((2, 0, CALL, CALL, 4, CALL, CALL), (1, -1)),  # queen over jack
        # the most: 1 + 2 + 2 = 5 in round 1, + 4 + 4 = 13 in round 2; the king wins
        ((4, 0, RAISE, RAISE, CALL, 2, RAISE, RAISE, CALL), (13, -13)),
    ],
)
def test_ends_of_leduc_poker(actions, returns):
    match = played(Match(make("leduc_poker"), chance="ask"), *actions)
    assert match.over
    assert tuple(match.returns) == returns


@pytest.mark.parametrize(
    ("dice", "bids", "returns"),
    [
        ((3, 4), ((1, 3),), (1, -1)),  # there is a three
        ((3, 4), ((1, 5),), (-1, 1)),  # no five and no six
        ((6, 4), ((1, 5),), (1, -1)),  # the six is a five
        ((3, 6), ((1, 3), (2, 3)), (-1, 1)),  # seat 1 says two threes, and its six is one
        ((3, 5), ((1, 3), (2, 6)), (1, -1)),
    ],
)
def test_a_bid_in_liars_dice_is_called(dice, bids, returns):
    match = played(Match(make("liars_dice"), chance="ask"), *(die - 1 for die in dice))
    for quantity, face in bids:
        bid = 6 * (quantity - 1) + face - 1
        assert match.game.action_name(bid) == f"{quantity}x{face}"
        match.play(bid)
        assert match.legal() == [*range(bid + 1, 12), 12]
    match.play(12)
    assert match.over
    assert tuple(match.returns) == returns


def test_a_match_of_goofspiel():
    """Point cards 3, 2, 1. Seat 0 bids 3 and 1, seat 1 bids 2 and 1, so the last round is 2 against 3.

    Seat 0 wins the 3, the 2 is thrown away, seat 1 wins the 1: 3 points to 1.
    """
    match = Match(make("goofspiel", cards=3))
    assert match.observation(1).tolist() == [1, 1, 1, 0, 0, 1]  # the 3 is turned up
    match.play(2)
    assert match.seat == 1
    assert match.observation(1).tolist() == [1, 1, 1, 0, 0, 1]  # nothing of seat 0's bid
    assert match.observation(0).tolist() == [1, 1, 1, 0, 0, 1]
    match.play(1)
    assert match.observation(0).tolist() == [1, 1, 0, 0, 1, 2]  # the 3 is won
    assert match.observation(1).tolist() == [1, 0, 1, 0, 1, 3]
    played(match, 0, 0)
    assert match.over
    assert match.observation(0)[3:].tolist() == [3, 4, 2]
    assert match.state.bid.tolist() == [[3, 1, 2], [2, 1, 3]]
    assert tuple(match.returns) == (1, -1)
    assert "seat 0   3  1  2\nseat 1   ?  ?  ?\nwon by   0  -  1" in match.text(0)


def test_three_collisions_in_phantom_tictactoe():
    """x takes the centre; o finds it there and takes a corner; x finds that; o wins the left column.

    0 1 2      o x x
    3 4 5      o x .
    6 7 8      o . .
    """
    match = Match(make("phantom_tictactoe"), seed=0)
    match.play(4)
    assert match.seat == 1
    assert match.observation(1).tolist() == [0] * 9  # o sees nothing
    assert match.legal() == list(range(9))  # and may name the centre

    match.play(4)
    assert match.seat == 1  # collided, and to move again
    assert match.observation(1).tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0]
    assert match.observation(0).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]  # x is told nothing
    assert match.legal() == [0, 1, 2, 3, 5, 6, 7, 8]

    match.play(0)
    played(match, 0, 2)  # x finds the corner, takes another: 2 and 4 threaten 6
    assert match.observation(0).tolist() == [2, 0, 1, 0, 1, 0, 0, 0, 0]
    match.play(6)
    played(match, 6, 1)  # x finds 6, takes 1
    assert match.seat == 1
    match.play(3)

    assert match.over
    assert match.returns.tolist() == [-1, 1]
    assert match.actions == [4, 4, 0, 0, 2, 6, 6, 1, 3]
    assert match.legal() == []


def test_an_abrupt_collision_costs_the_turn():
    match = played(Match(make("phantom_tictactoe", abrupt=True, reveal="turns")), 4, 4)
    assert match.seat == 0
    assert match.observation(0).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 2]  # two attempts: public here
    assert match.observation(1).tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 2]


def test_nine_marks_without_a_line_are_a_draw():
    """x o x / x o o / o x x"""
    match = played(Match(make("phantom_tictactoe")), 0, 1, 2, 4, 3, 5, 7, 6, 8)
    assert match.over
    assert match.returns.tolist() == [0, 0]


def test_a_dark_hex_win_through_a_collision():
    """Black joins top and bottom. At 4 it may go on by 6 or 7; white holds 7, black learns it and takes 6.

    . x .            1
     o x .           4    4 touches 1 above and 6, 7 below
      x o .        6
    """
    match = played(Match(make("dark_hex"), seed=0), 1, 3, 4, 7)
    assert match.seat == 0
    match.play(7)
    assert match.seat == 0
    assert not match.over
    assert match.observation(0).tolist() == [0, 1, 0, 0, 1, 0, 0, 2, 0]
    match.play(6)
    assert match.over
    assert match.returns.tolist() == [1, -1]


def test_the_same_collision_in_abrupt_dark_hex():
    """Black loses its turn at 7; white closes 6 and joins left and right over 6 7 8."""
    match = played(Match(make("dark_hex", abrupt=True), seed=0), 1, 3, 4, 7, 7)
    assert match.seat == 1
    played(match, 6, 2, 8)
    assert match.over
    assert match.returns.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("stones", "winner"),
    [
        ((0, 1, 3, 4, 6), 0),  # rows 1 to 3 by the first column
        ((2, 0, 4, 1, 6), 0),  # along the short diagonal: 2, 4 and 6 touch
        ((0, 3, 4, 5, 8, 2, 1, 7), None),  # 0, 4 and 8 do not
        ((0, 3, 1, 4, 8, 5), 1),  # white: left to right by the middle row
    ],
)
def test_who_touches_whom_in_hex(stones, winner):
    match = played(Match(make("dark_hex")), *stones)
    assert match.over == (winner is not None)
    assert match.returns.tolist() == {None: [0, 0], 0: [1, -1], 1: [-1, 1]}[winner]


@pytest.mark.parametrize(("rows", "cols"), [(2, 19), (4, 8), (19, 2), (5, 13), (11, 11)])
def test_what_is_linked_on_boards_of_some_words(rows, cols):
    """Random matches on 32 cells, a full word, and on more: a stone is linked if a way over its seat's stones
    leads to the edge where that seat starts, and the match ends when such a stone lies at the other edge."""
    rng = np.random.default_rng(0)
    for seed in range(3):
        match = Match(make("dark_hex", rows=rows, cols=cols), seed=seed)
        while not match.over:
            match.play(int(rng.choice(match.legal())))
            state, seat = match.state, int(match.state.mover)
            linked = linked_stones(state.board.reshape(rows, cols), seat)
            bits = [int(word) >> b & 1 for word in state.linked[seat] for b in range(BITS)]
            assert np.flatnonzero(bits).tolist() == sorted(r * cols + c for r, c in linked)
            assert match.over == any((r, c)[seat] == (rows, cols)[seat] - 1 for r, c in linked)


def linked_stones(board, seat):
    """Cells of the stones of `seat` from which a way leads to its first edge: row 0, or column 0."""
    found = [(r, c) for r, c in np.argwhere(board == seat + 1).tolist() if (r, c)[seat] == 0]
    for r, c in found:
        for beside in ((r - 1, c), (r - 1, c + 1), (r, c - 1), (r, c + 1), (r + 1, c - 1), (r + 1, c)):
            is_on = 0 <= beside[0] < board.shape[0] and 0 <= beside[1] < board.shape[1]
            if is_on and board[beside] == seat + 1 and beside not in found:
                found.append(beside)
    return found


def test_rows_and_cols_of_an_oblong_board():
    """4 rows and 2 columns: black needs four stones down, white two across."""
    game = make("dark_hex", rows=4, cols=2)
    assert game.action_name(7) == "b4"
    assert played(Match(game), 0, 2, 1, 3).returns.tolist() == [-1, 1]
    assert played(Match(game), 0, 1, 2, 3, 4, 5, 6).returns.tolist() == [1, -1]


# ---------------------------------------------------------------- seeds, copies, chance


def test_the_same_seed_deals_the_same_cards():
    """200 seeds: each gives the same match twice, and all six deals of Kuhn poker come up."""
    game, deals = make("kuhn_poker"), set()
    for seed in range(200):
        one, two = Match(game, seed=seed), Match(game, seed=seed)
        assert one.state.tobytes() == two.state.tobytes()
        deals.add(tuple(one.state.card))
    assert len(deals) == 6
    assert Match(game).seed != Match(game).seed  # none given: drawn from the system


def test_asked_and_drawn_chance_tell_the_same_story():
    """The cards drawn from seed 3 played by hand: same returns, and only the drawn ones use the seed."""
    game = make("leduc_poker")
    drawn = played(Match(game, seed=3), RAISE, CALL, CALL, CALL)
    first, second, public = (int(c) - 1 for c in drawn.state.card)
    asked = played(Match(game, seed=3, chance="ask"), first, second, RAISE, CALL, public, CALL, CALL)
    assert asked.returns.tolist() == drawn.returns.tolist()
    assert (int(drawn.state.draws), int(asked.state.draws)) == (3, 0)
    assert drawn.actions == [RAISE, CALL, CALL, CALL]
    assert asked.actions == [first, second, RAISE, CALL, public, CALL, CALL]


# Battleship's cells on 2 x 3: 0 1 2 / 3 4 5. Places: 6 + c across, 12 + c down.
WATER, HIT, SUNK = 1, 2, 3  # what the shooter is told


def boards(match, seat):
    """An observation on 2 x 3 cells: own board, the other's, [ship to be placed, 1 + the other's shot]."""
    slots = match.observation(seat).tolist()
    return slots[:6], slots[6:12], slots[12:]


def test_battleship_for_two():
    """Ships of 2 and 1. Seat 0 lays 0-1 and 5, seat 1 lays 2-5 and 0; seat 1 is sunk first.

    seat 0's   # # .        seat 1's   # . #
    board      . . #        board      . . #
    """
    match = Match(make("battleship", seats=2, rows=2, cols=3, ships="2,1", values="3,1", shots=4))
    assert match.legal() == [6, 7, 9, 10, 12, 13, 14]
    assert boards(match, 0) == ([0] * 6, [0] * 6, [2, 0])  # a ship of 2 is to be placed
    match.play(6 + 0)
    assert match.seat == 1
    assert boards(match, 1) == ([0] * 6, [0] * 6, [2, 0])  # nothing is seen of seat 0's ship
    match.play(12 + 2)
    assert match.legal() == [8, 9, 10, 11]  # beside the first ship; one cell lies across only
    assert boards(match, 0) == ([1, 1, 0, 0, 0, 0], [0] * 6, [1, 0])
    played(match, 6 + 5, 6 + 0)

    assert match.legal() == [0, 1, 2, 3, 4, 5]
    played(match, 2, 3)  # seat 0 hits the ship of 2, seat 1 misses
    assert boards(match, 0) == ([1, 1, 0, 2, 0, 1], [0, 0, HIT, 0, 0, 0], [0, 4])
    assert boards(match, 1) == ([1, 0, 3, 0, 0, 1], [0, 0, 0, WATER, 0, 0], [0, 3])
    played(match, 5, 5)  # both sink a ship
    assert boards(match, 0) == ([1, 1, 0, 2, 0, 3], [0, 0, HIT, 0, 0, SUNK], [0, 6])
    played(match, 2, 4)  # seat 0 shoots again where it hit: the ship is sunk by now
    assert boards(match, 0)[1] == [0, 0, SUNK, 0, 0, SUNK]
    match.play(0)
    assert match.over
    assert match.returns.tolist() == [3 + 1 - 1, 1 - 3 - 1]


def test_battleship_ends_with_the_last_shot_and_weighs_losses():
    """Two shots each: seat 0 sinks the ship worth 1, seat 1 that worth 3, a loss counts twice."""
    options = {"rows": 2, "cols": 3, "ships": "2,1", "values": "3,1", "shots": 2, "loss_multiplier": 2}
    match = Match(make("battleship", seats=2, **options))
    assert match.game.return_range == (-8, 4)
    played(match, 6 + 0, 6 + 0, 6 + 5, 6 + 5, 5, 0, 3)
    assert not match.over
    match.play(1)
    assert match.over
    assert match.returns.tolist() == [1 - 2 * 3, 3 - 2 * 1]


def test_a_ship_is_laid_only_where_the_rest_will_fit():
    """Two ships of 2 on one row of 4: not in the middle. The second has one place left."""
    match = Match(make("battleship", seats=2, rows=1, cols=4, ships="2,2"))
    assert match.legal() == [4, 6]
    played(match, 4, 6)
    assert match.legal() == [6]
    match.play(6)
    assert match.legal() == [4]


def test_without_repeated_shots_a_cell_is_legal_once():
    match = Match(make("battleship", seats=2, rows=1, cols=3, ships="1", shots=3, allow_repeated_shots=False))
    played(match, 3, 5, 0, 1)
    assert match.legal() == [1, 2]


def test_battleship_alone():
    """Easy: 8 x 8 cells, 12 of them ships. A hit is worth 1/12, a miss or a second shot -1/52."""
    match = Match(make("battleship"), seed=1)
    ship = match.state.ship[0]
    hit, water = int(np.flatnonzero(ship)[0]), int(np.flatnonzero(ship == 0)[0])
    assert match.observation(0).tolist() == [0]
    told = []
    for cell in (water, hit, hit, water):
        match.play(cell)
        told.append((match.observation(0).tolist(), round(float(match.state.reward[0]) * 12 * 52)))
    assert told == [([0], -12), ([1], 52), ([0], -12), ([0], -12)]
    assert match.legal() == list(range(64))


def test_concentration_move_by_move():
    """Hard: 52 cards by rank, here ace to king four times over. A pair is worth 2/52 = 1/26, 1/52 is
    half of it; what goes wrong costs 1/104 a card."""
    match = Match(make("concentration", level="hard"))
    match.state.face[:] = np.arange(52) % 13
    down = [13] * 52

    def turn(card):
        match.play(card)
        up = {card: face for card, face in enumerate(match.observation(0).tolist()) if face != 13}
        return up, round(float(match.state.reward[0]) * 104, 3)

    assert match.observation(0).tolist() == down
    assert turn(0) == ({0: 0}, 0)
    assert turn(1) == ({0: 0, 1: 1}, -2)  # an ace and a two: both are seen once
    assert turn(14) == ({14: 1}, 0)
    assert turn(1) == ({1: 1, 14: 1}, 4)  # two twos
    assert turn(5) == ({1: 1, 14: 1, 5: 5}, 0)
    assert turn(5) == ({1: 1, 14: 1, 5: 5}, -2)  # the same card twice
    assert turn(1) == ({1: 1, 14: 1}, -1)  # lies face up: the turn is over
    assert turn(0) == ({1: 1, 14: 1, 0: 0}, 0)
    assert turn(14) == ({1: 1, 14: 1, 0: 0}, -2)  # lies face up, as the second of a turn
    assert turn(13) == ({1: 1, 14: 1, 13: 0}, 0)


def test_minesweeper_move_by_move():
    """Easy, 14 clear cells: a new one is worth 1/14, an old one costs 0.5/12, a mine 0.5 + 1/14.

    . * . .         1  .  1 .
    . . . .         .  1  . .
    . . . *         .  .  . .
    . . . .
    """
    match = Match(make("minesweeper"))
    match.state.mine[:] = 0
    match.state.mine[[1, 11]] = 1
    told = []
    for cell in (12, 5, 6, 6, 11):
        match.play(cell)
        told.append((match.observation(0)[0], round(float(match.state.reward[0]) * 168, 3)))
    assert told == [(0, 12), (1, 12), (2, 12), (2, -7), (1, -96)]
    assert match.over


def test_a_copy_goes_its_own_way():
    match = played(Match(make("dark_hex")), 4)
    copy = match.copy()
    played(copy, 4, 0)
    assert (match.seat, match.actions) == (1, [4])
    assert (copy.seat, copy.actions) == (0, [4, 4, 0])
    assert match.observation(1).tolist() == [0] * 9
    played(match, 1)
    assert copy.state.board.tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0]


# ---------------------------------------------------------------- refusals


def test_illegal_moves_are_refused_and_change_nothing():
    match = played(Match(make("phantom_tictactoe"), seed=5), 4, 0)
    before = match.state.tobytes()
    for action in (4, -1, 9, np.int64(4)):
        with pytest.raises(
            ValueError, match=r"action -?\d( \('b2'\))? of seat 0 is illegal; legal are \[0, 1, 2, 3, 5"
        ):
            match.play(action)
    for action in (1.0, "1", None, [1]):
        with pytest.raises(TypeError, match="an action is an integer, got"):
            match.play(action)
    assert match.state.tobytes() == before
    assert match.actions == [4, 0]
    match.play(np.uint8(1))  # any integer will do
    assert match.actions == [4, 0, 1]


def test_a_match_that_is_over_refuses_moves():
    match = played(Match(make("kuhn_poker"), chance="ask"), J, K, PASS, PASS)
    with pytest.raises(ValueError, match="kuhn_poker: the match is over, action 0 came too late"):
        match.play(PASS)
    assert not match.mask().any()
    with pytest.raises(ValueError, match="not chance's turn"):
        match.chance()


def test_what_a_match_refuses_otherwise():
    game = make("kuhn_poker")
    with pytest.raises(ValueError, match="chance must be 'draw', 'ask' or a list of outcomes, got 'roll'"):
        Match(game, chance="roll")
    with pytest.raises(TypeError, match="integer"):
        Match(game, seed=1.5)
    match = Match(game, chance="ask")
    with pytest.raises(ValueError, match=r"action 3 of chance is illegal; legal are \[0, 1, 2\]"):
        match.play(3)
    for seat in (-1, 2):
        with pytest.raises(ValueError, match=rf"seat must be in 0\.\.1, got {seat}"):
            match.observation(seat)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("chess", {}, "unknown game 'chess'; known are .*dark_hex.*kuhn_poker.*leduc_poker"),
        ("dark_hex", {"size": 3}, "dark_hex: unknown option 'size'; known are rows, cols, abrupt, reveal"),
        ("kuhn_poker", {"cards": 4}, "kuhn_poker: unknown option 'cards'; known are none"),
        ("dark_hex", {"rows": 1}, r"option 'rows' must be in 2\.\.19, got 1"),
        ("dark_hex", {"rows": 20}, r"option 'rows' must be in 2\.\.19, got 20"),
        ("dark_hex", {"cols": 0}, r"option 'cols' must be in 2\.\.19, got 0"),
        ("dark_hex", {"rows": "3"}, "option 'rows' must be of type int, got '3'"),
        ("dark_hex", {"rows": True}, "option 'rows' must be of type int, got True"),
        ("dark_hex", {"rows": 3.0}, r"option 'rows' must be of type int, got 3\.0"),
        ("phantom_tictactoe", {"abrupt": 1}, "option 'abrupt' must be of type bool, got 1"),
        ("phantom_tictactoe", {"reveal": "x"}, "option 'reveal' must be one of 'nothing', 'turns', got 'x'"),
        (
            "phantom_tictactoe",
            {"reveal": None},
            "option 'reveal' must be one of 'nothing', 'turns', got None",
        ),
        ("minesweeper", {"level": ""}, "option 'level' must be one of 'easy', 'medium', 'hard', got ''"),
        ("battleship", {"seats": 3}, r"option 'seats' must be in 1\.\.2, got 3"),
        ("battleship", {"level": "hard", "rows": 9}, "'rows' is 12 with one seat at level 'hard', got 9"),
        ("battleship", {"ships": "2"}, "'ships' is '2,3,3,4' with one seat at level 'easy', got '2'"),
        ("battleship", {"shots": 9}, "'shots' is 64 with one seat at level 'easy', got 9"),
        ("battleship", {"loss_multiplier": 2}, r"'loss_multiplier' is for two seats \(seats=2\), got 2"),
        ("battleship", {"allow_repeated_shots": False}, r"is for two seats \(seats=2\), got False"),
        (
            "battleship",
            {"seats": 2, "level": "easy"},
            "'level' is for one seat; with seats=2 give rows, cols",
        ),
        ("battleship", {"seats": 2, "rows": 11}, r"option 'rows' must be in 1\.\.10, got 11"),
        ("battleship", {"seats": 2, "shots": -1}, r"option 'shots' must be in 1\.\.1000, got -1"),
        ("battleship", {"seats": 2, "ships": "2;3"}, r"'ships' must list whole numbers in 1\.\.10 like "),
        ("battleship", {"seats": 2, "ships": "11"}, r"in 1\.\.10 like \"2,3,3\", got '11'"),
        ("battleship", {"seats": 2, "ships": ",".join("1" * 27)}, "'ships' may name 26 ships"),
        ("battleship", {"seats": 2, "ships": "9,9,9,9,9,9"}, "'ships' may cover 50 of 100 cells, got"),
        ("battleship", {"seats": 2, "values": "1,1"}, "'values' must name 5 values, one for each ship"),
        ("battleship", {"seats": 2, "ships": "1,1", "values": "0,0"}, "not all 0, got '0,0'"),
        (
            "battleship",
            {"seats": 2, "rows": 2, "cols": 2, "ships": "2,2,1"},
            "must fit on 2 x 2 cells together",
        ),
        ("battleship", {"seats": 2, "rows": 2, "cols": 5, "ships": "3,3,3"}, "must fit on 2 x 5 cells"),
        (
            "battleship",
            {"seats": 2, "shots": 101, "allow_repeated_shots": False},
            "'shots' must be at most 100, the cells, as none may be shot at again, got 101",
        ),
    ],
)
def test_what_make_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)


def test_what_battleship_takes_from_its_form():
    """Options left open take their form's values; naming these changes nothing."""
    assert make("battleship") == make("battleship", level="easy", rows=8, cols=8, ships="2,3,3,4", shots=64)
    hard = make("battleship", level="hard")
    assert (hard.seats, hard.rows, hard.actions, hard.max_length) == (1, 12, 144, 144)
    two = make("battleship", seats=2)
    assert two == make(
        "battleship", seats=2, rows=10, cols=10, ships="2,3,3,4,5", values="1,1,1,1,1", shots=50
    )
    assert (two.actions, two.max_length, two.return_range) == (300, 110, (-5, 5))
