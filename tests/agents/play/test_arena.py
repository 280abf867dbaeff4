"""The arena: balanced seats, results with honest intervals, and numbers that are known exactly."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import envs
from agents import Agent, Player, RecurrentPolicy, fixed_player
from agents.play import arena
from agents.play.arena import NOBODY, Parts, Result, play_alone, play_matches, round_robin, watch

KUHN, TICTACTOE = envs.make("kuhn_poker"), envs.make("phantom_tictactoe")


class Always(Player):
    """One action, always; counts its decisions and its fresh matches."""

    def __init__(self, game, name, action):
        super().__init__(game, name)
        self.action, self.decisions = action, 0

    def reset(self, matches=1):
        super().reset(matches)
        self.fresh = getattr(self, "fresh", 0) + matches

    def choose(self, observation, legal, seat, rows):  # noqa: ARG002
        self.decisions += len(legal)
        return torch.full((len(legal),), self.action)


def result(returns, seats):
    return Result(
        torch.tensor(returns, dtype=torch.float64), torch.tensor(seats), torch.ones(len(seats)).long()
    )


# ---------------------------------------------------------------- a result's numbers


def test_wins_draws_and_losses():
    r = result([2.0, 1.0, 0.0, -0.5], [0, 0, 1, 1])
    assert (r.matches, r.win, r.draw, r.loss) == (4, 0.5, 0.25, 0.25)
    assert (r.mean_in_seat(0), r.mean_in_seat(1)) == (1.5, -0.25)


def test_both_seats_weigh_the_same_however_many_matches_they_had():
    """Seat 0: (1 + 1 - 1) / 3 = 1/3, seat 1: -1. Their mean is -1/3, not the matches' mean 0."""
    assert result([1.0, 1.0, -1.0, -1.0], [0, 0, 0, 1]).mean == pytest.approx(-1 / 3)


def test_the_interval_of_the_mean_treats_seats_as_strata():
    """500 times 1 and -1 in seat 0, 1,000 times 3 in seat 1: that the seats differ is no noise.

    Seat 0 has a variance of 1, so the mean 3/2 one of about (1/1000 + 0) / 4; what the interval adds for big
    pots that were not seen is small, and nothing lies above 3.
    """
    low, high = result([1.0, -1.0] * 500 + [3.0] * 1000, [0] * 1000 + [1] * 1000).interval
    half = 1.959964 * (1 / 1000 / 4) ** 0.5
    assert (low, high) == pytest.approx((1.5 - half, 1.5 + half), abs=0.1 * half)


def test_wilsons_interval():
    """8 wins of 10, with z^2 = 3.841459:

    centre = (0.8 + 3.841459 / 20) / (1 + 3.841459 / 10)               = 0.992073 / 1.384146 = 0.716740
    half   = 1.959964 / 1.384146 * sqrt(0.8 * 0.2 / 10 + 3.841459 / 400)                     = 0.226578
    """
    eight = result([1.0] * 8 + [-1.0] * 2, [0, 1] * 5)
    assert eight.win_interval == pytest.approx((0.490162, 0.943318), abs=2e-6)


def test_wilsons_interval_at_its_ends():
    """No win of 4: 0 .. z^2 / (4 + z^2) = 0.489890. Four of four: the mirror image."""
    assert result([-1.0] * 4, [0, 1] * 2).win_interval == pytest.approx((0.0, 0.489890), abs=2e-6)
    assert result([1.0] * 4, [0, 1] * 2).win_interval == pytest.approx((0.510110, 1.0), abs=2e-6)


def test_reversed_is_the_opponents_view():
    """Also where what one loses is not what the other wins."""
    r = dataclasses.replace(result([2.0, -1.0, 0.0], [0, 1, 1]), opposite=torch.tensor([-4.0, 1.0, 0.0]))
    assert r.reversed().returns.tolist() == [-4.0, 1.0, 0.0]
    assert r.reversed().seat.tolist() == [1, 0, 0]
    assert r.reversed().reversed().returns.tolist() == [2.0, -1.0, 0.0]


# ---------------------------------------------------------------- matches


def test_every_seating_is_played_equally_often_and_paid_as_the_rules_say():
    """One always bets, the other always passes. Whoever bets wins 1 after 'bet pass' (2 decisions) or
    'pass bet pass' (3 decisions)."""
    bets, passes = Always(KUHN, "bets", 1), Always(KUHN, "passes", 0)
    r = play_matches(KUHN, bets, passes, 50)
    assert r.returns.tolist() == [1.0] * 100
    assert r.seat.bincount().tolist() == [50, 50]
    assert r.length[r.seat == 0].tolist() == [2] * 50
    assert r.length[r.seat == 1].tolist() == [3] * 50
    assert (bets.decisions, passes.decisions) == (50 * 1 + 50 * 1, 50 * 1 + 50 * 2)
    assert (bets.fresh, passes.fresh) == (100, 100)


def test_more_matches_than_lanes_are_played_in_turns(monkeypatch):
    monkeypatch.setattr(arena, "LANES", 8)
    told = []
    r = play_matches(KUHN, Always(KUHN, "bets", 1), Always(KUHN, "bets too", 1), 10, on_progress=told.append)
    assert r.matches == sum(told) == 20
    assert r.seat.bincount().tolist() == [10, 10]
    assert set(r.returns.tolist()) == {-2.0, 2.0}  # always 'bet bet': a showdown for 2
    first, second, _ = r.returns.split(8)
    assert not torch.equal(first, second)  # other cards were dealt


def test_progress_counts_every_match_once():
    """A lane whose match took 2 decisions is through another one (check, check, check, check) after 6,
    while others still play their first."""
    game, told = envs.make("leduc_poker"), []
    players = fixed_player("random", game, 1), fixed_player("random", game, 2)
    r = play_matches(game, *players, 200, on_progress=told.append)
    assert r.length.min() == 2
    assert r.length.max() > 6
    assert sum(told) == 400


def test_the_seed_decides_the_matches():
    one, two, other = (
        play_matches(KUHN, fixed_player("bot", KUHN), fixed_player("random", KUHN), 50, seed=seed).returns
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_random_play_in_phantom_tictactoe_has_its_exact_value():
    """The first player's mean return between two random players is 0.296825 (by walking the game tree)."""
    n = 4000
    r = play_matches(TICTACTOE, fixed_player("random", TICTACTOE, 1), fixed_player("random", TICTACTOE, 2), n)
    for seat, exact in ((0, 0.296825), (1, -0.296825)):
        standard_error = float(r.returns[r.seat == seat].std()) / math.sqrt(n)
        assert abs(r.mean_in_seat(seat) - exact) < 4 * standard_error
    low, high = r.interval  # 1.96 standard errors around the mean, over both seats
    assert abs(r.mean) < 4 * (high - low) / 2 / 1.96


@pytest.mark.parametrize(
    "game", [TICTACTOE, envs.make("dark_hex"), envs.make("dark_hex", abrupt=True)], ids=str
)
def test_the_bot_beats_the_random_player(game):
    """Clearly: the lower end of the win rate's interval lies above 0.6."""
    r = play_matches(game, fixed_player("bot", game), fixed_player("random", game), 200)
    assert r.win_interval[0] > 0.6
    assert r.interval[0] > 0.2


@pytest.mark.parametrize("matches", [-1, 0, 1])
def test_too_few_matches_are_refused(matches):
    with pytest.raises(ValueError, match=f"matches per seat must be at least 2, got {matches}"):
        play_matches(KUHN, Always(KUHN, "a", 0), Always(KUHN, "b", 0), matches)


def test_watching_shows_every_move():
    """'bet pass': before the first move, after the bet, after the pass."""
    players = [Always(KUHN, "bets", 1), Always(KUHN, "passes", 0)]
    assert [list(match.actions) for match in watch(KUHN, players, seed=0)] == [[], [1], [1, 0]]


# ---------------------------------------------------------------- more than zero-sum games for two


def test_each_is_paid_by_the_rules_where_losses_weigh_more():
    """Battleship on one row of three with ships of one cell and a loss that counts twice. Both lay the
    ship on cell 0 (action 3 + 0) and shoot at 0: whoever shoots first wins 1, the other loses 2."""
    game = envs.make("battleship", seats=2, rows=1, cols=3, ships="1", shots=2, loss_multiplier=2)

    class Plan(Always):
        def choose(self, observation, legal, seat, rows):  # noqa: ARG002
            return torch.where(legal[:, 3], 3, 0)

    table = round_robin(game, [Plan(game, "a", 0), Plan(game, "b", 0)], 5)
    for result in table.values():
        assert result.returns[result.seat == 0].tolist() == [1.0] * 5
        assert result.returns[result.seat == 1].tolist() == [-2.0] * 5
        assert result.length.tolist() == [3] * 10


def test_a_game_for_one_is_played_alone():
    """Concentration, easy: always the same card. 52 times -2/104 in 104 decisions."""
    game = envs.make("concentration")
    r = play_alone(game, Always(game, "stubborn", 7), 3)
    assert r.returns.tolist() == pytest.approx([-1.0] * 3)
    assert r.length.tolist() == [104] * 3
    assert r.mean == r.mean_in_seat(0)
    assert r.opposite is None
    with pytest.raises(ValueError, match=r"two players meet in games with two seats, .* has 1"):
        play_matches(game, Always(game, "a", 0), Always(game, "b", 0), 2)
    with pytest.raises(ValueError, match=r"alone one plays games with one seat, .* has 2"):
        play_alone(KUHN, Always(KUHN, "a", 0), 2)
    with pytest.raises(ValueError, match="matches must be at least 2, got 1"):
        play_alone(game, Always(game, "a", 0), 1)


def test_in_a_tournament_of_a_game_for_one_all_get_the_same_deals():
    game = envs.make("minesweeper")
    players = [Always(game, "one", 0), Always(game, "two", 0), fixed_player("bot", game)]
    table = round_robin(game, players, 50)
    assert list(table) == [(name, NOBODY) for name in ("one", "two", "bot")]
    assert torch.equal(table["one", NOBODY].returns, table["two", NOBODY].returns)
    assert {r.matches for r in table.values()} == {100}


# ---------------------------------------------------------------- in parts


def drawing(game, seed=0):
    """An agent that draws from an untrained network."""
    torch.manual_seed(0)
    policy = RecurrentPolicy(game.observation_space, game.actions, game.seats, lstm_hidden_size=8)
    return Agent(policy, game, seed=seed)


def together(play, *ranks):
    """What `play` gives where each rank plays the parts named, and hears of the others'."""
    told, most = {}, sum(map(len, ranks))
    for own in ranks:

        def tell(mine, number, own=own):
            told.update(zip([k for k in own if k < number], mine, strict=True))
            return mine.new_zeros(number, mine.shape[1])

        play(Parts(most, own, tell))
    return play(Parts(most, (), lambda _, number: torch.stack([told[k] for k in range(number)])))


@pytest.fixture
def cut_small(monkeypatch):
    """A few matches are worth a part."""
    monkeypatch.setattr(arena, "ENOUGH", 1)


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("returns", "seat", "length")
    )


def test_few_matches_are_cut_into_fewer_parts():
    """500 at least in each, but of all together."""
    parts = Parts(4, (1, 3))
    cut = [parts.of(matches)[:2] for matches in (4, 999, 1_000, 1_999, 2_000, 9_000)]
    assert cut == [(1, []), (1, []), (2, [1]), (3, [1]), (4, [1, 3]), (4, [1, 3])]


@pytest.mark.parametrize("game", ["phantom_tictactoe", "leduc_poker"])
@pytest.mark.parametrize(("matches", "enough"), [(3, 1), (33, 1), (33, 500)])
def test_whoever_plays_which_part_the_matches_are_the_same(game, matches, enough, monkeypatch):
    """6 and 66 matches in five parts: of 2, 2, 2, 0 and 0, of 14, 14, 14, 14 and 10; and 66 in one."""
    monkeypatch.setattr(arena, "ENOUGH", enough)
    game = envs.make(game)

    def play(parts):
        return play_matches(game, drawing(game), fixed_player("bot", game), matches, seed=3, parts=parts)

    whole = play(Parts(5, range(5)))
    for ranks in (((0, 2, 4), (1, 3)), ((4,), (3, 1), (2, 0))):
        apart = together(play, *ranks)
        assert same(apart, whole)
        assert torch.equal(apart.opposite, whole.opposite)
    assert whole.seat.bincount().tolist() == [matches, matches]
    first, second = whole.returns[:14], whole.returns[14:28]
    assert matches == 3 or not torch.equal(first, second)  # each part has its own deals and draws


@pytest.mark.usefixtures("cut_small")
def test_in_parts_one_plays_alone_the_same():
    game = envs.make("minesweeper")

    def play(parts):
        return play_alone(game, drawing(game), 10, seed=3, parts=parts)

    whole = play(Parts(4, range(4)))
    assert same(together(play, (0, 2), (1, 3)), whole)
    assert whole.opposite is None
    assert len(whole.length.unique()) > 1


@pytest.mark.usefixtures("cut_small")
def test_in_parts_all_pairs_play_the_same():
    """Six pairs of 6 matches in four parts of 9: pairs are cut, too."""

    def play(parts):
        players = [
            drawing(KUHN),
            *(fixed_player("random", KUHN, seed) for seed in (1, 2)),
            fixed_player("bot", KUHN),
        ]
        for k, player in enumerate(players):
            player.name = f"player {k}"
        return round_robin(KUHN, players, 3, seed=3, parts=parts)

    whole, apart = play(Parts(4, range(4))), together(play, (0, 2), (1, 3))
    assert whole.keys() == apart.keys()
    assert all(same(whole[pair], apart[pair]) for pair in whole)
    assert all(one.seat.bincount().tolist() == [3, 3] for one in whole.values())


def test_one_part_is_what_is_played_where_nobody_cuts():
    """Players go on drawing from where they are."""
    players = [(drawing(KUHN), fixed_player("random", KUHN, 4)) for _ in range(2)]
    one = [play_matches(KUHN, *players[0], 40) for _ in range(2)]
    other = [play_matches(KUHN, *players[1], 40, parts=Parts()) for _ in range(2)]
    assert all(map(same, one, other))
    assert not same(*one)


# ---------------------------------------------------------------- tournaments


def test_a_tournament_is_a_table_of_everyone_against_everyone():
    players = [Always(KUHN, "bets", 1), Always(KUHN, "passes", 0), fixed_player("bot", KUHN)]
    table = round_robin(KUHN, players, 20)
    names = [player.name for player in players]
    assert set(table) == {(a, b) for a in names for b in names if a != b}
    assert table["bets", "passes"].mean == 1.0
    for a, b in table:
        assert table[a, b].mean == pytest.approx(-table[b, a].mean)
        assert table[a, b].win == table[b, a].loss


@pytest.mark.parametrize("names", [["alone"], [], ["twin", "twin"]])
def test_a_tournament_needs_players_with_different_names(names):
    with pytest.raises(ValueError, match="at least two players with different names"):
        round_robin(KUHN, [Always(KUHN, name, 0) for name in names], 2)


@pytest.mark.parametrize("lanes", [8, 2048])
def test_all_pairs_play_in_one_pass_each_with_its_seats_and_deals(monkeypatch, lanes):
    """Three who always bet, one who always passes: 'bet bet' is a showdown for 2 that the cards decide, and
    the passer loses 1 in 2 decisions (in seat 1) or 3 (in seat 0). Also where 8 lanes hold parts of pairs."""
    monkeypatch.setattr(arena, "LANES", lanes)
    players = [*(Always(KUHN, name, 1) for name in "abc"), Always(KUHN, "passes", 0)]
    told = []
    table = round_robin(KUHN, players, 10, on_progress=told.append)
    assert sum(told) == 6 * 20
    for one in table.values():
        assert one.seat.bincount().tolist() == [10, 10]
    for name in "abc":
        one = table[name, "passes"]
        assert one.returns.tolist() == [1.0] * 20
        assert one.length.tolist() == [2 + seat for seat in one.seat.tolist()]
    showdowns = [table[pair].returns.tolist() for pair in (("a", "b"), ("a", "c"), ("b", "c"))]
    assert all(set(returns) == {-2.0, 2.0} for returns in showdowns)
    assert showdowns[0] != showdowns[1] != showdowns[2] != showdowns[0]  # no pair has another's cards


def test_who_has_met_does_not_meet_again():
    players = [Always(KUHN, name, 1) for name in "abc"]
    table = round_robin(KUHN, players, 2, has_met=[frozenset("ab")])
    assert set(table) == {("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}
    assert round_robin(KUHN, players[:2], 2, has_met=[frozenset("ab")]) == {}


def test_players_of_another_game_are_refused():
    with pytest.raises(ValueError, match=r"'x' plays LeducPoker\(\), expected players of KuhnPoker\(\)"):
        round_robin(KUHN, [fixed_player("random", KUHN), Always(envs.make("leduc_poker"), "x", 0)], 2)
