"""Evaluation with masks and seats: a policy of several seats is told where it sits, or refuses to guess."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy as stock_evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan

import agents
import envs
from agents.gym.episodes import play, player_of
from agents.gym.evaluation import MaskableEvalCallback, evaluate_policy
from envs.adapters.gymnasium import FogboundEnv
from envs.adapters.sb3 import BatchVecEnv
from envs.seated import SeatedBatch

KUHN = envs.make("kuhn_poker")
PASS, BET = 0, 1


def told_seats(model):
    """From now on the seats that the model's policy is told, decision by decision, as lists."""
    seen, act = [], model.policy.act

    def noting(observation, legal, seat, *rest):
        seen.append(seat.tolist())
        return act(observation, legal, seat, *rest)

    model.policy.act = noting
    return seen


WORLDS = {
    "BatchVecEnv": lambda seat: BatchVecEnv("kuhn_poker", 4, seat=seat),
    "DummyVecEnv": lambda seat: DummyVecEnv([lambda: FogboundEnv("kuhn_poker", seat=seat)] * 4),
    "wrapped": lambda seat: VecCheckNan(BatchVecEnv("kuhn_poker", 4, seat=seat)),
    "monitored": lambda seat: DummyVecEnv([lambda: Monitor(FogboundEnv("kuhn_poker", seat=seat))] * 4),
}


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("world", WORLDS)
def test_a_policy_of_several_seats_is_told_the_worlds_seat(make_model, world, seat):
    model = make_model("kuhn_poker")
    seen = told_seats(model)
    evaluate_policy(model, WORLDS[world](seat), 12, warn=False)
    assert seen
    assert all(seats == [seat] * 4 for seats in seen)


def test_a_gymnasium_world_alone_tells_it_too(make_model):
    model = make_model("kuhn_poker")
    seen = told_seats(model)
    evaluate_policy(model, FogboundEnv("kuhn_poker", seat=1), 3, warn=False)
    assert seen
    assert all(seats == [1] for seats in seen)


def test_a_world_that_changes_seats_tells_each_match_its_own(make_model):
    """Lane b begins in seat b mod 2; the observation ends with the seat, which the policy never saw."""
    model = make_model("kuhn_poker")
    seen, act = [], model.predict

    def noting(observation, **arguments):
        seen.append((observation.shape, arguments["seat"]))
        return act(observation, **arguments)

    model.predict = noting
    evaluate_policy(model, BatchVecEnv("kuhn_poker", 4, seat="alternate"), 20, warn=False)
    assert seen[0] == ((4, 4), [0, 1, 0, 1])
    assert {seat for _, seats in seen for seat in seats} == {0, 1}
    assert len({tuple(seats) for _, seats in seen}) > 1  # and they swap


def test_the_score_is_the_one_of_a_policy_that_knows_its_seat(make_model):
    """A policy that always bets in seat 1 and always passes in seat 0, against one that always passes.

    Two passes show the cards, which are worth 0 on average; a bet in seat 1 that is passed wins 1 always.
    """
    model = make_model("kuhn_poker")
    with torch.no_grad():
        for parameter in model.policy.action_head.parameters():
            parameter.zero_()
    head = model.policy.action_head[-1]
    act = model.policy.act

    def by_seat(observation, legal, seat, *rest):
        with torch.no_grad():
            head.bias.copy_(torch.tensor([0.0, 9.0]) if bool((seat == 1).all()) else torch.tensor([9.0, 0.0]))
        return act(observation, legal, seat, *rest)

    model.policy.act = by_seat
    worlds = BatchVecEnv("kuhn_poker", 8, opponent=lambda *_: PASS, seat=1)
    mean, _ = evaluate_policy(model, worlds, 64, warn=False)
    assert mean == 1.0


class Anonymous(gym.Env):
    """Shows what Kuhn shows and knows nothing of seats."""

    observation_space, action_space = KUHN.observation_space, spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        return np.zeros(4, np.uint8), {}

    def step(self, action):  # noqa: ARG002
        return np.zeros(4, np.uint8), 0.0, True, False, {}


def test_where_nobody_knows_the_seat_nobody_guesses(make_model):
    model = make_model("kuhn_poker")
    refusal = pytest.raises(ValueError, match=r"say who decides")
    with refusal:
        evaluate_policy(model, Anonymous(), 1, warn=False)
    with refusal:
        stock_evaluate_policy(model, BatchVecEnv("kuhn_poker", 2), 2, warn=False)
    with refusal:
        model.predict(np.zeros(4, np.uint8))
    with refusal:
        play(player_of(model, False, 0), DummyVecEnv([lambda: Monitor(Anonymous())]), 1)


def test_the_callback_and_episodes_tell_it_as_well(make_model):
    model = make_model("kuhn_poker")
    worlds = BatchVecEnv("kuhn_poker", 8, seat=1)
    seen = told_seats(model)
    with pytest.warns(UserWarning, match="not of the same type"):
        model.learn(64, MaskableEvalCallback(worlds, n_eval_episodes=8, eval_freq=8, verbose=0))
    assert [1] * 8 in seen
    player = player_of(model, False, 0)
    asked, choose = [], player.agent.choose
    player.agent.choose = lambda *given: (asked.append(given[2].tolist()), choose(*given))[1]
    play(player, worlds, 8)
    assert asked
    assert all(seats == [1] * 8 for seats in asked)


def test_an_agent_from_a_file_asks_who_decides(make_model, tmp_path):
    model = make_model("kuhn_poker")
    model.save(tmp_path / "agent.zip")
    agent, match = agents.load(tmp_path / "agent.zip"), envs.Match(KUHN, 1)
    for player in (agent, agents.fixed_player("random", KUHN), agents.fixed_player("bot", KUHN)):
        with pytest.raises(ValueError, match=r"say who decides, seat=0\.\.1"):
            player.act(match.observation(0), match.mask())
        assert player.act(match.observation(0), match.mask(), seat=0) in match.legal()


def test_alone_nobody_has_to_say():
    """A game for one seat, as ever."""
    mines = envs.make("minesweeper")
    player, match = agents.fixed_player("random", mines), envs.Match(mines, 1)
    assert player.act(match.observation(0), match.mask()) in match.legal()


@pytest.mark.parametrize("seat", [0, 1, "alternate"])
def test_the_worlds_say_where_the_agent_sits(seat):
    """As the matches below them know it, after a reset and in every step's infos."""
    worlds = BatchVecEnv("kuhn_poker", 4, seat=seat)
    worlds.reset()
    seated: SeatedBatch = worlds._seated
    for _ in range(12):
        assert worlds.get_attr("seat") == seated.seat.tolist()
        assert worlds.get_attr("seat", [2, 0]) == [seated.seat[2], seated.seat[0]]
        *_, infos = worlds.step(np.array([mask.argmax() for mask in worlds.env_method("action_masks")]))
        assert [info["seat"] for info in infos] == seated.seat.tolist()
    vector = gym.make_vec("fogbound/KuhnPoker-v0", num_envs=4, seat=seat)
    _, info = vector.reset(seed=0)
    for _ in range(12):
        assert np.array_equal(vector.seat, info["seat"])
        *_, info = vector.step(vector.action_masks().argmax(1))
