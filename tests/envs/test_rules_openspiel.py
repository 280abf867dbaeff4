"""Our rules against OpenSpiel's, step for step, and against exact counts and exact random play."""

from __future__ import annotations

import random
from hashlib import blake2b

import numpy as np
import pytest

import envs
from envs.core import CHANCE

pyspiel = pytest.importorskip("pyspiel")

MATCHES = 2_000

# OpenSpiel's game, ours, our options, matches
VARIANTS = [
    ("kuhn_poker", "kuhn_poker", {}, MATCHES),
    ("leduc_poker", "leduc_poker", {}, MATCHES),
]
for dice, sides in ((1, 6), (1, 2), (2, 4), (5, 6)):
    VARIANTS.append(
        (
            f"liars_dice(numdice={dice},dice_sides={sides})",
            "liars_dice",
            {"dice": dice, "sides": sides},
            MATCHES // 2,
        )
    )


def goofspiel(cards, order):
    """OpenSpiel's name of a game of goofspiel, whose bids are made one after the other."""
    game = f"goofspiel(num_cards={cards},imp_info=True,points_order={order})"
    return f"turn_based_simultaneous_game(game={game})"


for cards, order in ((2, "random"), (4, "descending"), (5, "ascending"), (6, "random"), (13, "descending")):
    VARIANTS.append(
        (goofspiel(cards, order), "goofspiel", {"cards": cards, "order": order}, MATCHES // 2),
    )
for version, is_abrupt in (("classical", False), ("abrupt", True)):
    for reveal in ("nothing", "turns"):
        VARIANTS.append(
            (
                f"phantom_ttt(gameversion={version},obstype=reveal-{'num' * (reveal == 'turns')}{reveal})",
                "phantom_tictactoe",
                {"abrupt": is_abrupt, "reveal": reveal},
                MATCHES,
            )
        )
for version, is_abrupt in (("cdh", False), ("adh", True)):
    for rows, cols in ((2, 2), (3, 3), (4, 3), (5, 5)):
        VARIANTS.append(
            (
                f"dark_hex(gameversion={version},num_rows={rows},num_cols={cols})",
                "dark_hex",
                {"rows": rows, "cols": cols, "abrupt": is_abrupt},
                MATCHES,
            )
        )
    VARIANTS.append(
        (
            f"dark_hex(gameversion={version},num_rows=3,num_cols=3,obstype=reveal-numturns)",
            "dark_hex",
            {"abrupt": is_abrupt, "reveal": "turns"},
            MATCHES,
        )
    )


# Battleship's options and how many matches. Where the ships fill the board, many places are not legal.
BATTLESHIPS = [
    (
        {"rows": 1, "cols": 3, "ships": "1", "shots": 2, "allow_repeated_shots": False, "loss_multiplier": 2},
        300,
    ),
    ({"rows": 1, "cols": 4, "ships": "2,2", "shots": 5}, 200),
    ({"rows": 2, "cols": 2, "ships": "1", "shots": 2}, 300),
    ({"rows": 2, "cols": 2, "ships": "1,2", "values": "1,2", "shots": 3, "allow_repeated_shots": False}, 300),
    ({"rows": 2, "cols": 3, "ships": "2,3", "shots": 4, "loss_multiplier": 0}, 300),
    ({"rows": 3, "cols": 2, "ships": "2,2,2", "shots": 8}, 200),
    ({"rows": 3, "cols": 3, "ships": "3,2,1", "values": "3,0,5", "shots": 12, "loss_multiplier": 3}, 200),
    ({"rows": 4, "cols": 5, "ships": "1,4,3", "shots": 20, "allow_repeated_shots": False}, 150),
    ({"rows": 4, "cols": 4, "ships": "3,3,3,3", "shots": 12}, 50),
    ({"rows": 7, "cols": 4, "ships": "2,6,3", "shots": 30}, 50),
    ({"rows": 10, "cols": 10}, 15),
    ({"rows": 10, "cols": 10, "shots": 100, "allow_repeated_shots": False}, 10),
]


def as_openspiel(options):
    """OpenSpiel's name of a battleship game; we give it every parameter."""
    game = envs.make("battleship", seats=2, **options)
    lists = {"ship_sizes": game.ships, "ship_values": game.values}
    parameters = {
        "board_height": game.rows,
        "board_width": game.cols,
        "num_shots": game.shots,
        "allow_repeated_shots": str(game.allow_repeated_shots).lower(),
        "loss_multiplier": float(game.loss_multiplier),
        **{name: f"[{numbers.replace(',', ';')}]" for name, numbers in lists.items()},
    }
    return f"battleship({','.join(f'{name}={value}' for name, value in parameters.items())})"


for battleship, matches in BATTLESHIPS:
    VARIANTS.append((as_openspiel(battleship), "battleship", {"seats": 2} | battleship, matches))


class Lockstep:
    """One match in both packages; the information state of each seat by our own definition."""

    def __init__(self, theirs, match):
        self.theirs, self.match = theirs, match
        self.seen = [b"", b""]  # what each seat has seen and done at its own decisions

    def compare(self):
        """Compare all but what is seen; returns whether the match is over."""
        theirs, match = self.theirs, self.match
        if match.over:
            assert theirs.is_terminal()
            assert match.returns.tolist() == theirs.returns()
            return True
        assert match.seat == theirs.current_player()  # both packages write -1 for chance
        legal = match.legal()
        assert legal
        assert legal == theirs.legal_actions()
        if match.seat == CHANCE:
            odds = np.zeros(match.game.chance_outcomes)
            for outcome, probability in theirs.chance_outcomes():
                odds[outcome] = probability
            np.testing.assert_allclose(match.chance(), odds, rtol=0, atol=1e-12)
        return False

    def look(self):
        """The seat to move looks; returns its information state by our definition and by OpenSpiel's.

        OpenSpiel's string is taken, but for the phantom games its tensor, as dark hex's string tells the
        number of attempts even where nothing is revealed.
        """
        seat = self.match.seat
        self.seen[seat] += self.match.observation(seat).tobytes()
        if self.match.game.name in ("phantom_tictactoe", "dark_hex"):
            theirs = np.array(self.theirs.information_state_tensor(seat), np.uint8).tobytes()
        else:
            theirs = self.theirs.information_state_string(seat).encode()
        return tuple((seat, blake2b(info, digest_size=16).digest()) for info in (self.seen[seat], theirs))

    def play(self, action):
        if self.match.seat != CHANCE:
            self.seen[self.match.seat] += action.to_bytes(2, "little")
        self.match.play(action)
        self.theirs.apply_action(action)

    def copy(self):
        other = Lockstep(self.theirs.clone(), self.match.copy())
        other.seen = list(self.seen)
        return other


class Bijection:
    """Pairs of names for the same thing: each has exactly one partner."""

    def __init__(self):
        self.there, self.back = {}, {}

    def add(self, ours, theirs):
        assert self.there.setdefault(ours, theirs) == theirs, "OpenSpiel tells apart what we do not"
        assert self.back.setdefault(theirs, ours) == ours, "we tell apart what OpenSpiel does not"


@pytest.mark.parametrize("share", [0.25, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("theirs", "name", "options", "matches"), VARIANTS, ids=lambda value: str(value)[:90]
)
def test_lockstep(theirs, name, options, matches, share):
    """Random matches, 2,000 of most games (the fast suite plays a quarter): seat, legal moves, odds, end and
    returns at every step, and at every decision what the seat can tell apart."""
    theirs, ours = pyspiel.load_game(theirs), envs.make(name, **options)
    assert theirs.num_distinct_actions() == ours.actions
    plays_itself = 2 if name == "goofspiel" else 0  # OpenSpiel counts the last round's bids
    assert theirs.max_game_length() == ours.max_length + plays_itself
    assert (theirs.min_utility(), theirs.max_utility()) == ours.return_range
    choose, same = random.Random(1), Bijection()
    for _ in range(round(share * matches)):
        both = Lockstep(theirs.new_initial_state(), envs.Match(ours, seed=0, chance="ask"))
        while not both.compare():
            if both.match.seat != CHANCE:
                same.add(*both.look())
            both.play(choose.choice(both.theirs.legal_actions()))


# ---------------------------------------------------------------- whole trees

# Decisions and information sets of seat 0 / seat 1, matches won by seat 0 / seat 1 / nobody, all matches.
# Kuhn by hand: 6 deals; seat 0 decides at the start and after pass-bet, seat 1 after pass and after
# bet: 12 and 12 decisions, with 3 cards 6 and 6 information sets. Of the 5 lines of a deal bet-pass is
# seat 0's, pass-bet-pass is seat 1's, the other three go to the higher card, 3 deals each: 6 + 9 each.
# Leduc has 936 information sets (Southey et al. 2005), seat by seat the same. The 2 x 2 boards were
# enumerated by a dynamic programme over both seats' views; 143 + 94 + 150 + 84 = 471 histories.
# Liar's dice with one die of 3 sides has 6 bids: any of the 2 ** 6 sets of bids may have been made before a
# decision, half of them an even number, by seat 0's turn. So each seat has 3 x 2 ** 5 = 96 information sets,
# and 3 times as many decisions. Goofspiel of 4 cards has 162 (OpenSpiel's own count); with 3 in random order
# there are 3! point cards' orders and 3! x 3! bids.
# Battleship's counts, all without repeated shots, are from OpenSpiel's manual of its game.
BATTLESHIP_TREES = [
    ({"allow_repeated_shots": False, **size}, sets, matches)
    for size, sets, matches in (
        ({"rows": 2, "cols": 2, "ships": "1", "shots": 2}, (53, 109), 1072),
        ({"rows": 2, "cols": 2, "ships": "1", "shots": 3}, (341, 397), 2224),
        ({"rows": 2, "cols": 2, "ships": "1,2", "shots": 2}, (397, 1189), 9216),
    )
]
TREES = [
    ("kuhn_poker", "kuhn_poker", {}, {"decisions": (12, 12), "sets": (6, 6), "ends": (15, 15, 0)}),
    ("leduc_poker", "leduc_poker", {}, {"sets": (468, 468)}),
    ("liars_dice(dice_sides=3)", "liars_dice", {"sides": 3}, {"decisions": (288, 288), "sets": (96, 96)}),
    (goofspiel(4, "descending"), "goofspiel", {}, {"decisions": (161, 340), "sets": (81, 81)}),
    (goofspiel(3, "random"), "goofspiel", {"cards": 3, "order": "random"}, {"matches": 216}),
    (
        "dark_hex(gameversion=cdh,board_size=2)",
        "dark_hex",
        {"rows": 2, "cols": 2},
        {"decisions": (49, 176), "ends": (48, 168, 0)},
    ),
    (
        "dark_hex(gameversion=adh,board_size=2)",
        "dark_hex",
        {"rows": 2, "cols": 2, "abrupt": True},
        {"decisions": (143, 94), "sets": (59, 35), "ends": (150, 84, 0)},
    ),
    *(
        (as_openspiel(options), "battleship", {"seats": 2} | options, {"sets": sets, "matches": matches})
        for options, sets, matches in BATTLESHIP_TREES
    ),
]


@pytest.mark.parametrize(("theirs", "name", "options", "expected"), TREES, ids=lambda value: str(value)[:40])
def test_whole_tree(theirs, name, options, expected):
    """Every history there is, in lockstep; the counts are exact."""
    theirs, ours = pyspiel.load_game(theirs), envs.make(name, **options)
    same, decisions, ends = Bijection(), [0, 0], [0, 0, 0]
    waiting = [Lockstep(theirs.new_initial_state(), envs.Match(ours, seed=0, chance="ask"))]
    while waiting:
        both = waiting.pop()
        if both.compare():
            first, second = both.match.returns
            ends[0 if first > second else 1 if second > first else 2] += 1
            continue
        if both.match.seat != CHANCE:
            decisions[both.match.seat] += 1
            same.add(*both.look())
        for action in both.match.legal():
            after = both.copy()
            after.play(action)
            waiting.append(after)
    sets = tuple(sum(seat == p for seat, _ in same.there) for p in range(2))
    found = {"decisions": tuple(decisions), "sets": sets, "ends": tuple(ends), "matches": sum(ends)}
    assert {fact: found[fact] for fact in expected} == expected


# ---------------------------------------------------------------- random play

# Seat 0 wins / seat 1 wins / draw, return of seat 0, decisions, all under uniform legal play; from the
# dynamic programme. Classical games are plain tic-tac-toe and plain hex with unseen boards: of the 126
# ways to put 5 stones of one seat on 9 cells 84 connect, hence 2/3.
RANDOM_PLAY = [
    ("phantom_tictactoe", {}, (0.584921, 0.288095, 0.126984), 0.296825, 10.526466),
    ("phantom_tictactoe", {"abrupt": True}, (0.615371, 0.299096, 0.085532), 0.316275, 10.137911),
    ("dark_hex", {}, (0.666667, 0.333333, 0.0), 0.333333, 10.506572),
    ("dark_hex", {"abrupt": True}, (0.633463, 0.366537, 0.0), 0.266926, 10.289394),
    ("dark_hex", {"rows": 2, "cols": 2}, (0.5, 0.5, 0.0), 0.0, 4.520833),
    ("dark_hex", {"rows": 2, "cols": 2, "abrupt": True}, (0.729167, 0.270833, 0.0), 0.458333, 4.395833),
]


@pytest.mark.parametrize(("name", "options", "odds", "value", "length"), RANDOM_PLAY, ids=str)
def test_random_play(name, options, odds, value, length, first_matches, assert_mean):
    returns, lengths = first_matches(envs.make(name, **options), seed=11)
    first = returns[:, 0]
    for ended, probability in zip((first > 0, first < 0, first == 0), odds, strict=True):
        assert_mean(ended, probability)
    assert_mean(first, value)
    assert_mean(lengths, length)


def exact_random_play(match):
    """Return of seat 0 and decisions still to come under uniform legal play, by walking the tree."""
    if match.over:
        return match.returns[0], 0.0
    choices = match.legal()
    is_chance = match.seat == CHANCE
    odds = match.chance()[choices] if is_chance else np.full(len(choices), 1 / len(choices))
    value, length = 0.0, 0.0 if is_chance else 1.0
    for probability, action in zip(odds, choices, strict=True):
        after = match.copy()
        after.play(action)
        v, t = exact_random_play(after)
        value, length = value + probability * v, length + probability * t
    return value, length


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
def test_random_play_of_the_poker_games(name, first_matches, assert_mean):
    """Kuhn by hand: showdowns are even, so only folds count: bet-pass (1/4) wins 1, pass-bet-pass (1/8)
    loses 1, in all 1/8. Three decisions after pass-bet (1/4), else two: 2 1/4."""
    game = envs.make(name)
    value, length = exact_random_play(envs.Match(game, chance="ask"))
    if name == "kuhn_poker":
        assert (value, length) == pytest.approx((1 / 8, 9 / 4), abs=1e-12)
    returns, lengths = first_matches(game, seed=11)
    assert_mean(returns[:, 0], value)
    assert_mean(lengths, length)


@pytest.mark.parametrize(("name", "options", "odds", "value", "length"), RANDOM_PLAY[-2:], ids=str)
def test_random_play_of_the_small_boards_exactly(name, options, odds, value, length):
    assert odds[0] - odds[1] == pytest.approx(value, abs=1.5e-6)  # three roundings to six digits
    match = envs.Match(envs.make(name, **options), chance="ask")
    assert exact_random_play(match) == pytest.approx((value, length), abs=5e-7)
