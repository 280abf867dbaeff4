"""A batch as a VecEnv: the same matches as single environments play, and stock algorithms learn on it."""

from __future__ import annotations

import copy
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from listed import SMALL, small
from sb3_contrib import MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor
from toys import Guess, Hurry

import envs
from agents import Agent, RecurrentPolicy
from agents.play.players import BOTS
from envs.adapters.gymnasium import FogboundEnv
from envs.adapters.sb3 import BatchVecEnv
from envs.core import match_seed
from envs.seated import seated_space, with_seat

PASS, BET = 0, 1


def first(_observation, mask, _seat):
    """The lowest legal action."""
    return int(np.flatnonzero(mask)[0])


def mixed(observation, mask, seat):
    """A legal action that depends on all the opponent sees."""
    legal = np.flatnonzero(mask)
    return int(legal[(7 * int(observation.astype(int).sum()) + 3 * seat) % len(legal)])


def choose(chooser, masks):
    """A legal action in each lane, now and then an illegal one."""
    lots = chooser.random(masks.shape)
    return np.where(masks | (lots > 0.99), lots, -1.0).argmax(1)


class Lane:
    """Lane b of a BatchVecEnv, played by single environments: its n-th match is `match_seed(seed, b, n)`."""

    def __init__(self, game, b, seed, seat, opponent):
        self.b, self.seed, self.n, self.seat = b, seed, -1, seat
        seats = range(game.seats) if seat == "alternate" else [seat]
        options = {"opponent": opponent} if game.seats > 1 else {}
        self.envs = {p: FogboundEnv(game, seat=p, **options) for p in seats}

    def begin(self):
        """The next match in which the agent gets to decide."""
        while True:
            self.n += 1
            p = self.seat if self.seat != "alternate" else (self.b + self.n) % len(self.envs)
            self.env = self.envs[p]
            wanted = int(match_seed(np.uint64(self.seed), self.b, self.n))
            observation, info = self.env.reset(options={"match_seed": wanted})
            if self.env.match.seed == wanted:
                return self.shown(observation), info["action_mask"]

    def step(self, action):
        observation, reward, over, _, info = self.env.step(action)
        return self.shown(observation), reward, over, info

    def shown(self, observation):
        return with_seat(observation, self.env.seat) if self.seat == "alternate" else observation


def trained_looking_agent(game):
    """An agent with memory that takes its most probable action; made anew it plays the same."""
    torch.manual_seed(2)
    policy = RecurrentPolicy(game.observation_space, game.actions, game.seats, lstm_hidden_size=8)
    for parameter in policy.parameters():
        parameter.data.mul_(3.0)
    return Agent(policy, game, deterministic=True)


def arguments(name):
    """Ways of making a BatchVecEnv of a listed game."""
    options = SMALL.get(name, {})
    if envs.make(name).seats == 1:
        return [options]
    return [options, options | {"seat": "alternate", "opponent": "bot" if name in BOTS else "random"}]


MADE = [(name, options) for name in envs.GAMES for options in arguments(name)]
GAMES: list[tuple[Any, Any, Any]] = [
    *((game, 0, "random") for game in map(small, envs.GAMES) if game.seats == 1),
    *(
        (game, seat, mixed)
        for game in map(small, envs.GAMES)
        if game.seats > 1
        for seat in (0, 1, "alternate")
    ),
    *((envs.make(name), "alternate", "agent") for name in ("kuhn_poker", "dark_hex")),
    *((Hurry(), seat, mixed) for seat in (0, 1, "alternate")),
    *((Hurry(), seat, first) for seat in (0, "alternate")),
    (Guess(), 0, "random"),
]


@pytest.mark.parametrize(
    ("game", "seat", "opponent"), GAMES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_every_lane_plays_what_single_environments_play(game, seat, opponent, device):
    """5 lanes, 60 decisions each, some of them illegal: observations, masks, rewards, ends, infos."""
    if opponent == "agent":
        opponent = trained_looking_agent(game)
    env = BatchVecEnv(game, 5, opponent=opponent, seat=seat, device=str(device), seed=3)
    lanes = [Lane(game, b, 3, seat, opponent) for b in range(5)]
    observations, chooser, ends = env.reset(), np.random.default_rng(1), 0
    sums, lengths = np.zeros(5), np.zeros(5, int)
    for b, lane in enumerate(lanes):
        observation, mask = lane.begin()
        assert observations[b].tolist() == observation.tolist()
        assert env.env_method("action_masks", indices=b)[0].tolist() == mask.astype(bool).tolist()
    for _ in range(60):
        actions = choose(chooser, get_action_masks(env))
        observations, rewards, dones, infos = env.step(actions)
        sums += rewards
        lengths += 1
        for b, lane in enumerate(lanes):
            observation, reward, over, info = lane.step(actions[b])
            assert (rewards[b], dones[b]) == (pytest.approx(reward, abs=1e-6), over)
            mask = info["action_mask"]
            if over:
                ends += 1
                assert infos[b]["terminal_observation"].tolist() == observation.tolist()
                assert infos[b]["illegal"] == info["illegal"]
                assert infos[b]["episode"]["r"] == pytest.approx(sums[b], abs=1e-6)
                assert infos[b]["episode"]["l"] == lengths[b]
                sums[b] = lengths[b] = 0
                observation, mask = lane.begin()
            else:
                assert not {"terminal_observation", "episode", "illegal"} & set(infos[b])
            assert observations[b].tolist() == observation.tolist()
            assert infos[b]["action_mask"].tolist() == mask.astype(bool).tolist()
            assert infos[b]["TimeLimit.truncated"] is False
    if game.max_length < 60:
        assert ends > 10


def test_a_step_told_by_hand():
    """Kuhn poker in two lanes against one who passes. Pass, pass = a showdown for 1; bet, pass = 1 won."""
    env = BatchVecEnv("kuhn_poker", 2, opponent=first)
    before = env.reset()
    began = time.time()
    observations, rewards, dones, infos = env.step(np.array([PASS, BET]))
    assert (rewards.dtype, dones.dtype, observations.dtype) == (np.float32, np.bool_, np.uint8)
    assert dones.tolist() == [True, True]
    assert rewards[0] in (-1, 1)
    assert rewards[1] == 1
    assert infos[1]["terminal_observation"].tolist() == [before[1, 0], 2, 1, 0]
    assert infos[1]["action_mask"].tolist() == [True, True]
    assert (infos[1]["illegal"], infos[1]["TimeLimit.truncated"]) == (False, False)
    assert (infos[1]["episode"]["r"], infos[1]["episode"]["l"]) == (1.0, 1)
    assert 0 <= infos[1]["episode"]["t"] <= time.time() - began + 1
    assert observations[:, 1:].tolist() == [[0, 0, 0]] * 2


def test_a_reset_in_the_middle_begins_the_sums_anew():
    """Guess in 30 lanes: one guess and a reset. A first guess that is right then earns 1, in 1 decision."""
    env = BatchVecEnv(Guess(), 30)
    env.reset()
    env.step(np.zeros(30, np.int64))
    env.reset()
    _, _, dones, infos = env.step(np.zeros(30, np.int64))
    assert dones.any()
    assert all(infos[b]["episode"]["r"] == infos[b]["episode"]["l"] == 1 for b in np.flatnonzero(dones))


def test_arrays_are_the_users_to_keep():
    env = BatchVecEnv("dark_hex", 4)
    masks = env.env_method("action_masks")
    kept = [env.reset(), *env.step(np.zeros(4, np.int64))[:3], *masks]
    copies = [array.copy() for array in kept]
    for action in (4, 8, 2, 6, 1):
        env.step(np.full(4, action))
    for array, before in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, before)


# ---------------------------------------------------------------- seeds


def told(env):
    """What 50 lanes show over six steps, each of one action for all, after a reset."""
    shown = [env.reset()]
    for action in (0, 1, 0, 1, 1, 0):
        shown.extend(env.step(np.full(env.num_envs, action))[:3])
    return np.concatenate([np.ravel(array) for array in shown])


@pytest.mark.parametrize("options", [{}, {"opponent": "bot"}, {"seat": "alternate"}], ids=str)
def test_a_seed_decides_everything(options):
    """The constructor's or `seed`'s, for the opponent too; a reset without one goes on with others."""
    env = BatchVecEnv("leduc_poker", 50, seed=7, **options)
    one, two = told(env), told(env)
    assert not np.array_equal(one, two)
    again = BatchVecEnv("leduc_poker", 50, seed=8, **options)
    assert not np.array_equal(one, told(again))
    assert again.seed(7)[:2] == [7, 8]
    np.testing.assert_array_equal(told(again), one)
    np.testing.assert_array_equal(told(again), two)


def test_a_batch_can_be_given():
    batch = envs.Batch(envs.make("leduc_poker"), 50, seed=7)
    env = BatchVecEnv(batch, opponent="bot", seat=1)
    assert (env.num_envs, env.game) == (50, batch.game)
    np.testing.assert_array_equal(
        told(env), told(BatchVecEnv("leduc_poker", 50, opponent="bot", seat=1, seed=7))
    )


# ---------------------------------------------------------------- stock algorithms


@pytest.mark.parametrize(("name", "options"), MADE, ids=str)
@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO, RecurrentPPO])
def test_stock_algorithms_learn(algorithm, name, options):
    """Two updates; the weights move, episodes are counted; masked play is never illegal."""
    env = BatchVecEnv(name, 8, **options)
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    model = algorithm(policy, env, n_steps=16, batch_size=64, n_epochs=2, seed=1, device="cpu")
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(256)
    assert model.num_timesteps == 256
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))
    if env.game.max_length <= 32:  # decisions in a lane
        assert len(model.ep_info_buffer) > 10
    if algorithm is MaskablePPO:
        observation = env.reset()
        for _ in range(20):
            actions, _ = model.predict(observation, action_masks=get_action_masks(env))
            observation, _, dones, infos = env.step(actions)
            assert not any(infos[b]["illegal"] for b in np.flatnonzero(dones))


def test_large_boards_fit_stock_policies():
    """11 x 11 cells of 3 codes are 363 inputs: more than uint8 counts, and a Python integer for torch."""
    game = envs.make("dark_hex", rows=11, cols=11)
    for space, width in ((game.observation_space, 363), (seated_space(game, "alternate"), 365)):
        assert get_flattened_obs_dim(space) == width
        assert type(get_flattened_obs_dim(space)) is int
        assert type(get_flattened_obs_dim(copy.deepcopy(space))) is int
        assert space.contains(space.sample())


def test_evaluation_needs_no_monitor():
    """SB3 reads the episodes from the infos, as from `Monitor`: no warning, and the lengths are right."""
    env = BatchVecEnv("kuhn_poker", 4, opponent=first)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, device="cpu")
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=8, return_episode_rewards=True)
    assert lengths == [1] * 8  # against one who passes every match ends with the agent's first move
    assert {abs(reward) for reward in rewards} == {1.0}
    assert env.env_is_wrapped(Monitor) == [True] * 4
    assert env.env_is_wrapped(VecMonitor, indices=0) == [False]


class Passing(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        return self.venv.step_wait()


def test_masks_are_found_through_wrappers():
    env = BatchVecEnv("leduc_poker", 3)
    for layer in (env, Passing(env)):
        layer.reset()
        assert is_masking_supported(layer)
        assert get_action_masks(layer).tolist() == [[False, True, True]] * 3  # nothing to fold to
        assert layer.get_attr("action_masks", 1)[0]().tolist() == [False, True, True]
    assert env.env_method("action_masks", indices=[0, 2])[1].tolist() == [False, True, True]
    assert env.get_attr("game", [1]) == [env.game]
    assert env.render_mode is None
    env.close()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (
            ("kuhn_poker",),
            {},
            ValueError,
            r"say how many matches run side by side: BatchVecEnv\(game, matches\)",
        ),
        (("kuhn_poker", 0), {}, ValueError, "matches must be at least 1, got 0"),
        (("chess", 2), {}, ValueError, "unknown game 'chess'; known are"),
        (("kuhn_poker", 2), {"rows": 3}, ValueError, "kuhn_poker: unknown option 'rows'; known are none"),
        (
            (gymnasium.make("CartPole-v1"), 2),
            {},
            TypeError,
            "expected a game as envs.make makes it, got <TimeLimit.*CartPole",
        ),
        (("CartPole-v1", 2), {}, ValueError, "unknown game 'CartPole-v1'; known are battleship"),
        (("kuhn_poker", 2), {"opponent": "nobody"}, ValueError, "'nobody' is neither a fixed player"),
        (("kuhn_poker", 2), {"seat": 2}, ValueError, "seat must be one of 0, 1, 'alternate', got 2"),
        (("kuhn_poker", 2), {"device": "mps"}, ValueError, "device must be cpu or cuda, got mps"),
        ((Guess(), 2), {"seat": 1}, ValueError, "guess is played alone"),
        ((Guess(), 2), {"opponent": "bot"}, ValueError, "guess is played alone"),
    ],
)
def test_what_making_one_refuses(arguments, options, error, said):
    with pytest.raises(error, match=said):
        BatchVecEnv(*arguments, **options)


def test_a_batch_brings_its_own():
    batch = envs.Batch(envs.make("kuhn_poker"), 2)
    with pytest.raises(ValueError, match="a Batch brings its own matches, seed; leave that out"):
        BatchVecEnv(batch, 2, seed=1)
    with pytest.raises(ValueError, match="a Batch brings its own rows; leave that out"):
        BatchVecEnv(batch, rows=3)


def test_what_it_has_not():
    env = BatchVecEnv("kuhn_poker", 2)
    with pytest.raises(
        AttributeError, match="a match of kuhn_poker has no 'gravity'; known are action_masks, seat, ga"
    ):
        env.get_attr("gravity")
    with pytest.raises(
        AttributeError, match="a match of kuhn_poker has no method 'fly'; known is action_masks"
    ):
        env.env_method("fly")
    with pytest.raises(TypeError, match="action_masks takes no arguments, got"):
        env.env_method("action_masks", 3)
    with pytest.raises(AttributeError, match="has no 'gravity' that could be set"):
        env.set_attr("gravity", 1)


@pytest.mark.parametrize(
    ("actions", "error", "said"),
    [
        (np.zeros(3, np.int64), ValueError, r"actions must have shape \(2,\), got \(3,\)"),
        (np.zeros(2, np.float32), TypeError, "actions must have an integer dtype, got torch.float32"),
        (np.array([0, 9]), ValueError, r"phantom_tictactoe: actions are 0\.\.8, got 9"),
        (np.array([4, 8]), ValueError, r"action 4 \('[^']+'\) of seat 0 in match 0 is illegal; legal are"),
    ],
)
def test_what_a_step_refuses(actions, error, said):
    """Nothing is played by a refused step."""
    env = BatchVecEnv("phantom_tictactoe", 2, opponent=first, illegal="raise")
    env.reset()
    before, *_ = env.step(np.array([4, 5]))
    with pytest.raises(error, match=said):
        env.step(actions)
    after, *_ = env.step(np.array([8, 8]))
    assert before[:, 8].tolist() == [0, 0]
    assert after[:, 8].tolist() == [1, 1]
    assert [after[0, 4], after[1, 5]] == [1, 1]
