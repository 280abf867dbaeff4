"""Trees: exact counts of small and of known games, exact values, and what has no tree."""

from __future__ import annotations

import dataclasses
import os
import re

import gymnasium
import numpy as np
import pytest
from toys import Drawn, Guess

import envs
from envs.core import draw_below, record, verb
from envs.games.dark_hex import DarkHex
from envs.games.phantom_tictactoe import PhantomTicTacToe
from envs.tree import build, count, distinct, is_small

HEX22 = {"rows": 2, "cols": 2}
COUNTS = [  # sets; joint decisions; joint terminals; joint histories (reference/environments.md)
    ("kuhn_poker", {}, (6, 6), (12, 12), 30, 58),
    ("leduc_poker", {}, (468, 468), (1890, 1890), 5520, 9_457),
    ("liars_dice", {}, (12_288, 12_288), (73_728, 73_728), 147_420, 294_883),
    ("goofspiel", {}, (81, 81), (161, 340), 576, 1_077),
    ("dark_hex", HEX22, (17, 53), (49, 176), 216, 441),
    ("dark_hex", HEX22 | {"abrupt": True}, (59, 35), (143, 94), 234, 471),
    ("dark_hex", {"rows": 2}, (697, 1811), (11_881, 38_428), 53_920, 104_229),
    ("dark_hex", {"cols": 2}, (787, 3393), (11_881, 88_716), 95_760, 196_357),
    ("dark_hex", {"rows": 2, "abrupt": True}, (4033, 2725), (44_975, 29_400), 75_578, 149_953),
]


@pytest.fixture(scope="module")
def tree_of():
    """`tree_of(name, **options)`, each walked once."""
    trees = {}

    def get(name, **options):
        game = envs.make(name, **options)
        if game not in trees:
            trees[game] = build(game)
        return trees[game]

    return get


@dataclasses.dataclass(frozen=True)
class PlainHex(DarkHex):
    """Dark hex that declares nothing, so that its joint histories are walked one by one."""

    private = ()
    notes = ()


def random_table(tree, seed):
    table = np.random.default_rng(seed).exponential(size=tree.sequences)
    table[:2] = 1.0
    table[2:] /= np.repeat(np.add.reduceat(table[2:], tree.begin[:-1] - 2), np.diff(tree.begin))
    return table


def value_by_matches(tree, table, match, own=(0, 1)):
    """What seat 0 gets, by playing every joint history as a `Match`."""
    if match.over:
        return match.returns[0]
    if match.seat == envs.CHANCE:
        odds, i = match.chance(), None
    else:
        i = tree.find(own[match.seat], match.observation(match.seat))
        assert tree.action[tree.begin[i] : tree.begin[i + 1]].tolist() == match.legal()
    value = 0.0
    for k, action in enumerate(match.legal()):
        after, last = match.copy(), list(own)
        after.play(action)
        if i is not None:
            last[match.seat] = tree.begin[i] + k
        p = odds[action] if i is None else table[last[match.seat]]
        value += p * value_by_matches(tree, table, after, tuple(last))
    return value


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize(("name", "options", "sets", "decisions", "terminals", "histories"), COUNTS)
def test_counts(tree_of, name, options, sets, decisions, terminals, histories):
    counts = tree_of(name, **options).counts
    assert counts.sets == sets
    assert counts.joint_decisions == decisions
    assert counts.joint_terminals == terminals
    assert counts.joint_histories == histories


def test_only_the_histories_of_the_world_are_walked(tree_of):
    """Dark hex 2 x 3: 104,229 joint histories, of which the board knows 1,021."""
    counts = tree_of("dark_hex", rows=2).counts
    assert (counts.world_histories, counts.world_terminals) == (1_021, 520)
    assert counts.plays < counts.joint_histories / 6


def test_counting_alone_tells_the_same(tree_of):
    for name, options in (("kuhn_poker", {}), ("dark_hex", HEX22)):
        assert count(envs.make(name, **options)) == tree_of(name, **options).counts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sets", "decisions", "terminals", "histories", "exploitability", "value"),
    [
        ("phantom_tictactoe", (3_683_314, 2_307_355), (9_115_477_345, 989_954_802), 9_829_101_024,
         19_934_533_171, 0.788732, 0.296825),
        ("dark_hex", (3_720_850, 2_352_067), (8_625_820_465, 1_023_968_754), 9_469_697_760,
         19_119_486_979, 0.916402, 1 / 3),
    ],
)  # fmt: skip
def test_boards_of_nine_cells(name, sets, decisions, terminals, histories, exploitability, value):
    tree = build(envs.make(name))
    counts = tree.counts
    assert (counts.sets, counts.joint_decisions) == (sets, decisions)
    assert (counts.joint_terminals, counts.joint_histories) == (terminals, histories)
    told = tree.evaluate(tree.uniform())
    assert told.exploitability == pytest.approx(exploitability, abs=5e-7)
    assert told.value[0] == pytest.approx(value, abs=5e-7)


# ---------------------------------------------------------------- numbering


def test_parents_come_before_children_and_levels_are_ranges(tree_of):
    tree = tree_of("dark_hex", rows=2)
    owner, seat = tree.owner(), tree.seat()
    inner = tree.parent >= 2
    above = owner[tree.parent[inner] - 2]
    assert (above < np.flatnonzero(inner)).all()
    assert (seat[above] == seat[inner]).all()
    assert (seat[~inner] == tree.parent[~inner]).all()
    for p in range(2):
        levels = tree.levels[p]
        depth = np.zeros(tree.sets, int)
        for d in range(len(levels) - 1):
            depth[levels[d] : levels[d + 1]] = d
            assert (np.diff(tree.parent[levels[d] : levels[d + 1]]) >= 0).all()  # children are neighbours
        own = inner & (seat == p)
        assert (depth[own] == depth[owner[tree.parent[own] - 2]] + 1).all()
    assert tree.begin[0] == 2
    assert tree.begin[-1] == tree.sequences


def test_the_set_of_a_match_is_found_on_the_way(tree_of):
    """2,000 random matches of dark hex 2 x 2 meet all of its 70 sets, each with its legal actions."""
    tree, random, met = tree_of("dark_hex", **HEX22), np.random.default_rng(0), set()
    for seed in range(2_000):
        match, own = envs.Match(tree.game, seed), [0, 1]
        while not match.over:
            p = match.seat
            i = tree.find(own[p], match.observation(p))
            actions = tree.action[tree.begin[i] : tree.begin[i + 1]].tolist()
            assert actions == match.legal()
            assert tree.seat()[i] == p
            k = random.integers(len(actions))
            own[p] = int(tree.begin[i]) + k
            met.add(i)
            match.play(actions[k])
    assert len(met) == 70
    assert tree.find(0, np.full(4, 2, np.uint8)) == -1


def test_distinct_rows():
    rows = np.array([[5, 1], [2, 9], [5, 1], [2, 3]], np.uint64)
    which, told = distinct(rows)
    assert told.tolist() == [[2, 3], [2, 9], [5, 1]]
    assert which.tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("kuhn_poker", {}, True),
        ("liars_dice", {}, True),
        ("dark_hex", {"rows": 2}, True),
        ("dark_hex", {"abrupt": True}, False),  # 5.6e9 plays
        ("dark_hex", {"rows": 5, "cols": 5}, False),
        ("concentration", {}, False),  # one seat
        ("generals", {}, False),  # its map is drawn
        ("battleship", {"seats": 2}, False),
    ],
)
def test_small_trees(name, options, expected):
    assert is_small(envs.make(name, **options)) == expected


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "options", "exploitability"),
    [
        ("kuhn_poker", {}, 11 / 24),  # NashConv 11/12
        ("leduc_poker", {}, 4.747222 / 2),
        ("liars_dice", {}, 0.780744),  # as OpenSpiel finds
        ("goofspiel", {}, 17 / 24),
        ("dark_hex", HEX22, 0.625),
        ("dark_hex", HEX22 | {"abrupt": True}, 0.416667),
        ("dark_hex", {"rows": 2}, 0.375),
        ("dark_hex", {"cols": 2}, 0.8),
        ("dark_hex", {"rows": 2, "abrupt": True}, 0.390278),
    ],
)
def test_exploitability_of_play_at_random(tree_of, name, options, exploitability):
    tree = tree_of(name, **options)
    assert tree.evaluate(tree.uniform()).exploitability == pytest.approx(exploitability, abs=5e-7)


@pytest.mark.parametrize(("name", "options"), [("kuhn_poker", {}), ("dark_hex", HEX22)])
def test_a_value_is_that_of_all_matches(tree_of, name, options):
    tree = tree_of(name, **options)
    table = random_table(tree, 1)
    match = envs.Match(tree.game, 0, chance="ask")
    expected = value_by_matches(tree, table, match)
    assert tree.evaluate(table).value == pytest.approx((expected, -expected), abs=1e-12)


@pytest.mark.parametrize(
    "options", [HEX22, HEX22 | {"abrupt": True}, HEX22 | {"reveal": "turns"}, {"rows": 2}]
)
def test_the_walk_of_the_world_is_that_of_joint_histories(options):
    """The same sets by the same numbers, the same counts, and the same values of any play."""
    factored, plain = build(DarkHex(**options)), build(PlainHex(**options))
    assert factored.counts.joint_histories == plain.counts.world_histories == plain.counts.joint_histories
    assert factored.counts.sets == plain.counts.sets
    assert factored.counts.joint_decisions == plain.counts.joint_decisions
    for part in ("parent", "begin", "sees", "observations", "action"):
        assert (getattr(factored, part) == getattr(plain, part)).all(), part
    for seed in range(3):
        table = random_table(factored, seed)
        here, there = factored.evaluate(table), plain.evaluate(table)
        assert here.best_response == pytest.approx(there.best_response, abs=1e-12)
        assert here.value == pytest.approx(there.value, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options"),
    [("kuhn_poker", {}), ("leduc_poker", {}), ("dark_hex", HEX22), ("dark_hex", {"rows": 2, "abrupt": True})],
)
def test_products_on_the_fly_are_those_of_the_kept_matrix(tree_of, monkeypatch, name, options):
    """For play at random and two random tables; the same bits every time, by one thread or by two."""
    kept, lean = tree_of(name, **options), build(envs.make(name, **options), keeps_products=False)
    assert len(lean.column) == 0
    assert lean.counts == kept.counts
    for table in (kept.uniform(), random_table(kept, 0), random_table(kept, 1)):
        here, told = kept.evaluate(table), []
        for threads in (1, 2, 2):
            monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
            told.append(lean.evaluate(table))
        assert told[0].best_response == pytest.approx(here.best_response, abs=1e-12)
        assert told[0].value == pytest.approx(here.value, abs=1e-12)
        assert told[0][:3] == told[1][:3] == told[2][:3]


def test_a_best_response_is_worth_what_it_says(tree_of):
    tree = tree_of("leduc_poker")
    table = random_table(tree, 2)
    told = tree.evaluate(table)
    edge = tree.begin[tree.levels[1][0]]
    for seat in range(2):
        best = np.zeros(tree.sequences)
        best[:2] = best[told.choice] = 1.0
        mixed = table.copy()
        own = slice(2, edge) if seat == 0 else slice(edge, None)
        mixed[own] = best[own]
        assert tree.evaluate(mixed).value[seat] == pytest.approx(told.best_response[seat], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table[:-1], "expected one probability per sequence, shape (26,), got (25,)"),
        (lambda table: 2 * table, "expected probabilities that add up to 1, set 0 has [1.0, 1.0]"),
        (lambda table: table * np.nan, "add up to 1, set 0 has [nan, nan]"),
        (lambda table: table + np.tile([1.0, -1.0], 13), "add up to 1, set 0 has [1.5, -0.5]"),
    ],
)
def test_a_wrong_table_is_refused(tree_of, change, told):
    tree = tree_of("kuhn_poker")
    with pytest.raises(ValueError, match=re.escape(told)):
        tree.evaluate(change(tree.uniform()))


# ---------------------------------------------------------------- what has no tree


FAULTS = ("none", "deal draws", "play draws", "endless", "unclear", "sum")


@verb
def deal(s):
    if s.fault == 1:
        s.lot = draw_below(s, 2)


@verb
def legal(s, mask):
    """Both; of an unclear game only one where seat 0, unseen, named 1; of an endless one always one."""
    mask[0] = True
    mask[1] = s.fault != 3 and (s.fault != 4 or s.lot == 0)


@verb
def play(s, action):
    """Seat 0 gets 1 where both named the same."""
    if s.fault == 2:
        draw_below(s, 2)
    if s.seat == 1 and s.fault != 3:
        s.over = True
        s.reward[0] = 1.0 if s.lot == action else -1.0
        s.reward[1] = 0.5 if s.fault == 5 and action == 1 else -s.reward[0]
    s.lot = action
    s.seat = 1 - s.seat


@verb
def see_nothing(_s, _seat, _out):
    pass


@dataclasses.dataclass(frozen=True)
class Toy(Drawn):
    """Two seats name 0 or 1, unseen; every fault but one is against the contract."""

    fault: str = "none"

    name, actions, max_length = "toy", 2, 2
    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.int8)
    state = record(2, ("lot", np.int8), ("fault", np.int8))
    deal, legal = staticmethod(deal), staticmethod(legal)
    play, observe = staticmethod(play), staticmethod(see_nothing)

    def blank(self):
        s = super().blank()
        s.fault = FAULTS.index(self.fault)
        return s


@dataclasses.dataclass(frozen=True)
class Three(Toy):
    name, seats = "three", 3
    state = record(3, ("lot", np.int8))


def test_matching_pennies():
    """Seat 1 sees nothing of what seat 0 named: a set each; whoever names both alike cannot be exploited."""
    tree = build(Toy())
    assert tree.counts.sets == (1, 1)
    assert tree.evaluate(tree.uniform()).exploitability == 0.0
    told = tree.evaluate([1.0, 1.0, 0.75, 0.25, 0.5, 0.5])
    assert (told.value, told.best_response) == ((0.0, 0.0), (0.0, 0.5))


@pytest.mark.parametrize(
    ("game", "told"),
    [
        (Guess(), "exact values are of zero-sum games for two seats, Guess() has 1"),
        (Three(), "exact values are of zero-sum games for two seats, Three(fault='none') has 3"),
        (Toy("deal draws"), "toy: its rules draw by themselves, expected chance to be a seat"),
        (Toy("play draws"), "toy: its rules draw by themselves, expected chance to be a seat"),
        (Toy("endless"), "toy: expected at most 2 decisions a match, it goes on"),
        (Toy("unclear"), "toy: expected at least one legal action, the same whenever a seat has seen"),
        (Toy("sum"), "toy: expected returns of both seats that sum to zero at every terminal"),
        (envs.make("dark_hex", rows=5, cols=5), "a single way down this one takes more than 128 MiB"),
    ],
)
def test_what_has_no_tree_is_refused(game, told):
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        build(game)
    assert "\n" not in str(error.value)


def test_room_is_asked_for_before_the_walk():
    """Phantom tic-tac-toe wants 93 million entries of 4 bytes: known after some thousand plays.
    An abrupt one wants 26 GiB; there the estimate is good to a third."""
    with pytest.raises(ValueError, match=r"its tree needs about 35\d MiB of memory, there are 300 MiB"):
        build(PhantomTicTacToe(), memory_limit=300 * 2**20)
    with pytest.raises(
        ValueError, match=r"its tree needs about [23]\d\.\d GiB of memory, there are 8\.0 GiB"
    ):
        build(PhantomTicTacToe(abrupt=True), memory_limit=8 * 2**30)


def test_a_walk_that_needs_more_room_than_was_thought_ends():
    with pytest.raises(ValueError, match=r"its tree needs at least \d+ KiB of memory, there are 391 KiB"):
        count(DarkHex(rows=2, abrupt=True), memory_limit=400_000)


def test_an_interrupted_walk_leaves_nothing_behind():
    shares = []

    def interrupt(share):
        shares.append(share)
        if len(shares) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(DarkHex(**HEX22), on_progress=interrupt)
    assert build(DarkHex(**HEX22), on_progress=interrupt).counts.sets == (17, 53)
    assert shares[-1] == pytest.approx(1.0, abs=0.3)
