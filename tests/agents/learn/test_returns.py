"""Advantages along each seat's own decisions, worked out by hand.

With g = gamma and l = lambda, the next decision meant being the seat's own next one in the match:
    delta = what it earns until then + g * value then - value now        A = delta + g l * A then
"""

from __future__ import annotations

import pytest
import torch

from agents.learn.returns import seat_advantages


def advantages(
    seats, rewards, values, over, next_value=100.0, next_seat=0, gamma=0.5, gae_lambda=0.5, carried=0
):
    """Of one lane (B = 1): advantages (compared within 1e-6) and counts. rewards[t] holds one per seat."""
    result, known = seat_advantages(
        reward=torch.tensor(rewards)[:, None],
        value=torch.tensor(values)[:, None],
        seat=torch.tensor(seats)[:, None],
        over=torch.tensor(over, dtype=torch.bool)[:, None],
        next_value=torch.tensor([next_value]),
        next_seat=torch.tensor([next_seat]),
        gamma=gamma,
        gae_lambda=gae_lambda,
        carried=carried,
    )
    return pytest.approx(result[:, 0].tolist(), abs=1e-6), known[:, 0].tolist()


def test_a_match_with_a_collision_told_backwards():
    """Turns 0 1 1 0: seat 1 collided and tried again. Seat 0 wins at the end. g = l = 1/2, g l = 1/4."""
    result, known = advantages(
        seats=[0, 1, 1, 0],
        rewards=[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, -1.0]],
        values=[0.2, 0.4, -0.2, 0.6],
        over=[0, 0, 0, 1],
    )
    # t = 3, seat 0:  1 + 0 - 0.6                          =  0.4
    # t = 2, seat 1:  -1 (paid during t = 3) + 0 - (-0.2)   = -0.8
    # t = 1, seat 1:  0 + 0.5 * (-0.2) - 0.4 = -0.5, and -0.5 + 0.25 * (-0.8) = -0.7
    # t = 0, seat 0:  0 + 0.5 *   0.6  - 0.2 =  0.1, and  0.1 + 0.25 *   0.4  =  0.2
    assert result == [0.2, -0.7, -0.8, 0.4]
    assert known == [True, True, True, True]


def test_nothing_leaks_from_a_match_into_the_one_before():
    """Seat 0 loses the first match by -1 and wins the second by +2; g = l = 1, values 0 but the last two.

    The second match's values 0.5 and -0.5 must not bootstrap the first's.
    """
    result, known = advantages(
        seats=[0, 1, 0, 1],
        rewards=[[0.0, 0.0], [-1.0, 1.0], [0.0, 0.0], [2.0, -2.0]],
        values=[0.0, 0.0, 0.5, -0.5],
        over=[0, 1, 0, 1],
        gamma=1.0,
        gae_lambda=1.0,
    )
    assert result == [-1.0, 1.0, 2.0 - 0.5, -2.0 + 0.5]
    assert known == [True] * 4


def test_what_a_seat_earns_before_its_first_decision_belongs_to_no_decision():
    """Seat 1 earns 5 while seat 0 opens the second match; its decision in the first one gets none of it."""
    result, _ = advantages(
        seats=[1, 0, 1],
        rewards=[[0.0, 0.0], [0.0, 5.0], [0.0, 3.0]],
        values=[0.0, 0.0, 0.0],
        over=[1, 0, 1],
        gamma=1.0,
        gae_lambda=1.0,
    )
    assert result == [0.0, 0.0, 3.0]


def test_a_reward_during_the_other_seats_move_belongs_to_the_latest_own_decision():
    """Seat 0 earns 1 while seat 1 moves at t = 1, and 2 at t = 3: t = 0 earned the 1, t = 2 the 2."""
    result, _ = advantages(
        seats=[0, 1, 0, 1],
        rewards=[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [2.0, 0.0]],
        values=[0.0, 0.0, 0.0, 0.0],
        over=[0, 0, 0, 1],
        gae_lambda=0.0,
    )
    assert result == [1.0, 0.0, 2.0, 0.0]


def test_at_the_rollouts_end_one_seat_is_bootstrapped_and_the_other_waits():
    """Turns 0 1 0, and seat 1 is to move, with the value 0.8. g = l = 1/2."""
    result, known = advantages(
        seats=[0, 1, 0],
        rewards=[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
        values=[0.2, 0.3, 0.6],
        over=[0, 0, 0],
        next_value=0.8,
        next_seat=1,
    )
    # t = 2, seat 0:  waits for its outcome: it does not count yet
    # t = 1, seat 1:  0 + 0.5 * 0.8 - 0.3 = 0.1
    # t = 0, seat 0:  0 + 0.5 * 0.6 - 0.2 = 0.1; the unknown advantage behind it adds nothing
    assert result == [0.1, 0.1, 0.0]
    assert known == [True, True, False]


def test_what_waited_counts_in_the_next_rollout():
    """The same turns 0 1 0 carried in front of 1 1 0: seat 1 collides, and seat 0 earns 2 meanwhile.

    Of the first three, only the third waited. g = l = 1/2; seat 1 is to move, with the value 0.8.
    """
    result, counts = advantages(
        seats=[0, 1, 0, 1, 1, 0],
        rewards=[[0.0, 0.0]] * 3 + [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
        values=[0.2, 0.3, 0.6, 0.8, -0.4, 1.0],
        over=[0] * 6,
        next_value=0.8,
        next_seat=1,
        carried=3,
    )
    # t = 5, seat 0:  waits
    # t = 4, seat 1:  0 + 0.5 * 0.8    + 0.4 =  0.8
    # t = 3, seat 1:  0 + 0.5 * (-0.4) - 0.8 = -1.0, and -1.0 + 0.25 * 0.8    = -0.8
    # t = 2, seat 0:  2 + 0.5 * 1.0    - 0.6 =  1.9; the unknown advantage behind it adds nothing
    # t = 1, seat 1:  0 + 0.5 * 0.8    - 0.3 =  0.1, and  0.1 + 0.25 * (-0.8) = -0.1 (it counted before: 0.1)
    # t = 0, seat 0:  0 + 0.5 * 0.6    - 0.2 =  0.1, and  0.1 + 0.25 * 1.9    = 0.575 (before: 0.1)
    assert result == [0.575, -0.1, 1.9, -0.8, 0.8, 0.0]
    assert counts == [False, False, True, True, True, False]


def test_what_waits_longer_than_the_carried_steps_still_waits():
    """Turns 0 1 carried, then 1 1: seat 0's outcome does not show, and it is carried no further."""
    _, counts = advantages(
        seats=[0, 1, 1, 1], rewards=[[0.0, 0.0]] * 4, values=[0.0] * 4, over=[0] * 4, next_seat=1, carried=2
    )
    assert counts == [False, False, True, True]


def test_a_match_that_ended_in_the_carried_steps_counted_there():
    """Turns 0 1, the match ends, seat 0 begins the next and waits; then seat 1 wins.

    The win of t = 3 is seat 0's loss at t = 2 (-1 - 0.5), not the loss of the match before.
    """
    result, counts = advantages(
        seats=[0, 1, 0, 1],
        rewards=[[0.0, 0.0], [1.0, -1.0], [0.0, 0.0], [-1.0, 1.0]],
        values=[0.25, 0.5, 0.5, 0.0],
        over=[0, 1, 0, 1],
        carried=3,
    )
    assert result == [0.75, -1.5, -1.5, 1.0]
    assert counts == [False, False, True, True]


def test_the_seat_to_move_bootstraps_its_latest_decision_only():
    """Seat 0 is to move again at once (a collision at t = 1), with the value 0.8."""
    result, known = advantages(
        seats=[0, 0],
        rewards=[[0.0, 0.0], [0.0, 0.0]],
        values=[0.2, 0.6],
        over=[0, 0],
        next_value=0.8,
    )
    # t = 1: 0.5 * 0.8 - 0.6 = -0.2;  t = 0: 0.5 * 0.6 - 0.2 = 0.1, and 0.1 + 0.25 * (-0.2) = 0.05
    assert result == [0.05, -0.2]
    assert known == [True, True]


def test_a_match_that_ends_with_the_rollout_needs_no_bootstrap():
    """The value 100 of the next match's first decision is not this match's affair."""
    result, known = advantages(
        seats=[0, 1], rewards=[[0.0, 0.0], [1.0, -1.0]], values=[0.25, 0.5], over=[0, 1], next_value=100.0
    )
    assert result == [0.75, -1.5]
    assert known == [True, True]


def test_one_seat_is_the_textbook():
    """P = 1: generalised advantage estimation as everyone writes it."""
    torch.manual_seed(0)
    T, B, gamma, gae_lambda = 20, 5, 0.97, 0.9
    reward, value = torch.randn(T, B, 1), torch.randn(T, B)
    over, next_value = torch.rand(T, B) < 0.2, torch.randn(B)

    expected, advantage, after = torch.zeros(T, B), torch.zeros(B), next_value
    for t in reversed(range(T)):
        goes_on = (~over[t]).float()
        delta = reward[t, :, 0] + gamma * after * goes_on - value[t]
        advantage = delta + gamma * gae_lambda * goes_on * advantage
        expected[t], after = advantage, value[t]

    seat = torch.zeros(T, B, dtype=torch.int64)
    result, known = seat_advantages(reward, value, seat, over, next_value, seat[0], gamma, gae_lambda)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert known.all()


def test_matches_side_by_side_do_not_mix():
    """A won, a lost and an unfinished match, each as if it were alone."""
    seat = torch.tensor([[0, 0, 0], [1, 1, 1]])
    reward = torch.tensor([[[0.0, 0.0]] * 3, [[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]]])
    over = torch.tensor([[False, False, False], [True, True, False]])
    result, known = seat_advantages(
        reward,
        torch.zeros(2, 3),
        seat,
        over,
        torch.tensor([9.0, 9.0, 0.5]),
        torch.tensor([0, 0, 0]),
        1.0,
        1.0,
    )
    assert result.tolist() == [[1.0, -1.0, 0.5], [-1.0, 1.0, 0.0]]
    assert known.tolist() == [[True, True, True], [True, True, False]]
