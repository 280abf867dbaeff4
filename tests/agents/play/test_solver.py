"""The solver: known values of games, the same player every time, and what is refused."""

import re

import numpy as np
import pytest
from saved import KUHN

import agents
import envs
from agents.play.arena import play_matches
from agents.play.players import fixed_player
from agents.play.solver import solve
from envs.tree import build

LEDUC = envs.make("leduc_poker")


@pytest.mark.parametrize(
    ("game", "target", "value"),
    [
        (KUHN, 1e-6, -1 / 18),
        (LEDUC, 9e-4, -0.085606424),
        (envs.make("dark_hex", rows=2, cols=2), 1e-6, 1.0),
        (envs.make("dark_hex", rows=2), 1e-6, 1.0),
        (envs.make("goofspiel"), 1e-3, 0.0),  # both seats are alike
        (envs.make("liars_dice"), 2e-3, -7 / 258),
    ],
    ids=lambda told: str(told)[:40],
)
def test_known_values(game, target, value):
    """What both best responses get against the player brackets the value, by twice its exploitability."""
    player = agents.solve(game, target=target)
    told = agents.exploitability(player.tree, player)
    assert told.exploitability == player.exploitability <= target
    first, second = told.best_response
    assert -second - 1e-9 <= value <= first + 1e-9
    assert told.value[0] == pytest.approx(value, abs=2 * target)


def test_the_exploitability_of_kuhn_poker_falls_from_iteration_to_iteration():
    """Below 1 / 10, 1 / 100 and 1 / 1,000 after 10, 20 and 50 of them."""
    seen = {}
    solve(KUHN, target=0.0, iterations=50, on_judged=seen.__setitem__)
    assert list(seen) == [1, 2, 3, 4, 5, 6, 7, 9, 11, 14, 18, 23, 29, 37, 48, 50]
    assert seen[9] < 0.1
    assert seen[18] < 0.01
    assert seen[48] < 0.001


def test_the_same_arguments_give_the_same_player():
    one, two = (solve(LEDUC, target=0.0, iterations=20) for _ in range(2))
    assert (one.probabilities == two.probabilities).all()
    assert one.exploitability == two.exploitability


def test_a_solved_player_sits_in_a_tournament():
    """It loses at most its exploitability to anybody, in the mean of both seats."""
    player = solve(KUHN, target=1e-4)
    result = play_matches(KUHN, player, fixed_player("random", KUHN), 4_000)
    assert result.mean > -1e-4 - 4 * 1.5 / 8_000**0.5
    assert player.name == "solved"


def test_progress_is_a_share_that_grows():
    shares = []
    solve(build(KUHN), target=1e-3, on_progress=shares.append)
    assert shares[-1] == 1.0
    assert all(0.0 <= share <= 1.0 for share in shares)


def test_what_interrupts_it_comes_through():
    def stop(_share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(build(KUHN), on_progress=stop)


@pytest.mark.parametrize(
    ("game", "kwargs", "told"),
    [
        (envs.make("concentration"), {}, "zero-sum games for two seats, Concentration(level='easy') has 1"),
        (envs.make("dark_hex", rows=4), {}, "its tree needs about"),
        (LEDUC, {"memory_limit": 10_000}, "its tree needs about"),
        (LEDUC, {"target": -1.0}, "expected a target of at least 0 and 1 iteration, got -1.0 and 10000"),
        (LEDUC, {"target": float("nan")}, "expected a target of at least 0"),
        (LEDUC, {"iterations": 0}, "got 0.001 and 0"),
        (build(KUHN, keeps_products=False), {}, "KuhnPoker(): is solved on a tree that keeps its products"),
    ],
    ids=lambda told: str(told)[:30],
)
def test_what_cannot_be_solved_is_refused(game, kwargs, told):
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        solve(game, **kwargs)
    assert "\n" not in str(error.value)


def test_where_it_never_came_it_plays_at_random():
    """After one iteration seat 1 of Kuhn poker has a policy at all its sets, which add up to 1."""
    player = solve(KUHN, target=0.0, iterations=1)
    sums = np.add.reduceat(player.probabilities[2:], player.tree.begin[:-1] - 2)
    assert sums == pytest.approx(1.0, abs=1e-12)
