"""Episodes: what they earned, random play under masks, the same in a batch, and films of them."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from world_runs import CROSSES, Masked, lowest

from agents.gym import training as world_training
from agents.gym.config import WorldConfig
from agents.gym.episodes import MAX_FRAMES, Episodes, Film, Random, play


def test_the_mean_and_its_interval_by_hand():
    result = Episodes((1.0, 2.0, 3.0), (4, 5, 6))
    assert result.mean == 2.0
    assert result.mean_length == 5.0
    low, high = result.interval  # of sums in 0..3, the range of those seen and 0
    assert 0.0 < low < 1.0
    assert high == 3.0


@pytest.mark.parametrize(
    ("space", "mask", "allowed"),
    [
        (spaces.Discrete(3), [0, 1, 0], [[1]]),
        (spaces.MultiDiscrete([2, 3]), [0, 1, 1, 0, 0], [[1, 0]]),
        (spaces.MultiBinary(2), [1, 0, 1, 1], [[0, 0], [0, 1]]),
    ],
)
def test_random_play_keeps_to_the_mask(space, mask, allowed):
    player = Random(space, seed=1)
    actions, _ = player.predict(None, np.ones(20, bool), action_masks=np.array([mask] * 20))
    assert {tuple(np.atleast_1d(action)) for action in actions} == set(map(tuple, allowed))


def test_a_long_episode_becomes_a_short_film():
    class Long(gymnasium.Env):
        """2,000 steps; a picture is its number."""

        action_space = observation_space = spaces.Discrete(2)

        def reset(self, **_):
            self.step_number = 0
            return 0, {}

        def step(self, _):
            self.step_number += 1
            return 0, 0.0, self.step_number == 2000, False, {}

        def render(self):
            return self.step_number

    film = Film(Long())
    film.reset()
    while not film.step(0)[2]:
        pass
    film.reset()  # a second episode is not filmed
    film.step(0)
    assert len(film.frames) <= MAX_FRAMES + 1
    assert film.frames[0] == 0
    assert film.frames[-1] == 2000
    assert set(np.diff(film.frames[:-1])) == {film.every} == {8}


def test_a_film_goes_on_with_the_next_episode_when_it_is_told():
    class Short(gymnasium.Env):
        """Three steps; a picture is their number in all."""

        action_space = observation_space = spaces.Discrete(2)
        number = 0

        def reset(self, **_):
            self.left = 3
            return 0, {}

        def step(self, _):
            self.number, self.left = self.number + 1, self.left - 1
            return 0, 0.0, self.left == 0, False, {}

        def render(self):
            return self.number

    film = Film(Short())
    for number in range(4):
        if number == 2:  # the third episode follows the first
            film.go_on()
        film.reset()
        while not film.step(0)[2]:
            pass
    assert film.frames == [0, 1, 2, 3, 6, 7, 8, 9]
    assert film.pace == 30.0


def test_evaluating_in_a_batch_gives_what_single_worlds_give():
    """A player that always takes the lowest action, legal or not, earns the same in the same 12 matches."""

    class Lowest:
        def predict(self, observation, **_):
            return np.zeros(len(observation), int), None

    config = WorldConfig(env=CROSSES, env_kwargs={"opponent": lowest, "seat": 1}, n_envs=4)
    apart = DummyVecEnv([lambda: Monitor(world_training.make_world(config))] * 4)
    together = world_training.side_by_side(config, 4)
    assert play(Lowest(), together, 12) == play(Lowest(), apart, 12)


def test_playing_leaves_torchs_random_numbers_alone():
    worlds = DummyVecEnv([Masked])
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no Monitor: the rewards are the world's anyway
        result = play(Random(worlds.action_space, 0), worlds, 3)
    assert result.rewards == (4.0, 4.0, 4.0)
    assert torch.equal(state, torch.get_rng_state())
