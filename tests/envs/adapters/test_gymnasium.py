"""Gymnasium: the checkers, matches told move by move, opponents, seeds, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from choosing import BET, PASS, first, go, last, played, same, stop
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation
from listed import SMALL
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv
from toys import GO, STOP, Guess, Hurry

import envs
from agents.play.players import BOTS
from envs.adapters.gymnasium import BatchVectorEnv, FogboundEnv, NoVelocity, game_played

ROOT = Path(__file__).parents[3]
NO_VELOCITY = ["fogbound/CartPoleNoVel-v1", "fogbound/PendulumNoVel-v1"]


def arguments(game):
    """Ways of making an environment for one agent of a listed game."""
    options = SMALL.get(game, {})
    if envs.make(game).seats == 1:
        return [options]
    opponent = "bot" if game in BOTS else "random"
    seats = ({}, {"opponent": opponent, "seat": 1}, {"opponent": opponent, "seat": "alternate"})
    return [options | seat for seat in seats]


MADE = [(game, options) for game in envs.GAMES for options in arguments(game)]


def id_of(name):
    """Gymnasium's id of a listed game."""
    return f"fogbound/{envs.GAMES[name].__name__}-v0"


# ---------------------------------------------------------------- the ids and the checkers


def test_importing_the_games_registers_the_ids_and_loads_no_adapter():
    code = (
        "import sys, gymnasium, envs\n"
        "print(*sorted(i for i in gymnasium.registry if i.startswith('fogbound/')))\n"
        "print([m for m in ('agents', 'envs.adapters.gymnasium', 'stable_baselines3') if m in sys.modules])\n"
        "env = gymnasium.make('fogbound/KuhnPoker-v0')\n"
        "print('agents' in sys.modules)\n"
        "env = gymnasium.make('fogbound/KuhnPoker-v0', opponent='bot')\n"
        "print('agents' in sys.modules, env.reset(seed=1)[0].shape)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        " ".join(sorted([*map(id_of, envs.GAMES), *NO_VELOCITY])),
        "[]",
        "False",
        "True (4,)",
    ]


@pytest.mark.usefixtures("unseen_window")
@pytest.mark.parametrize(("name", "options"), MADE, ids=str)
def test_gymnasium_accepts_the_environment(name, options):
    check_env(gymnasium.make(id_of(name), **options).unwrapped)


# SB3 takes every Box of three axes for an image, and remarks that planes are none.
@pytest.mark.filterwarnings("ignore:It seems that your observation .*is an image:UserWarning")
@pytest.mark.filterwarnings("ignore:Treating image space as channels-last:UserWarning")
@pytest.mark.filterwarnings("ignore:The minimal resolution for an image:UserWarning")
@pytest.mark.parametrize(("name", "options"), MADE, ids=str)
def test_stable_baselines_accepts_the_environment(name, options):
    check_env_of_sb3(gymnasium.make(id_of(name), **options))


def test_stable_baselines_finds_nothing_to_remark_where_planes_are_flat():
    check_env_of_sb3(FlattenObservation(gymnasium.make("fogbound/Generals-v0", **SMALL["generals"])))


def test_games_alone_and_games_of_planes_are_accepted():
    for env in (FogboundEnv(Guess()), FogboundEnv(Hurry(), seat="alternate")):
        check_env(env, skip_render_check=True)


# Gymnasium asks for unwrapped environments, whatever the wrapper; Pendulum's actions are its own, -2..2.
@pytest.mark.usefixtures("unseen_window")
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
@pytest.mark.filterwarnings("ignore:.*recommend .*using a symmetric and normalized space:UserWarning")
@pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric and normalized Box:UserWarning")
@pytest.mark.parametrize("name", NO_VELOCITY)
def test_the_checkers_accept_the_classics_without_velocities(name):
    check_env(gymnasium.make(name))
    check_env_of_sb3(gymnasium.make(name))


@pytest.mark.parametrize(
    ("id", "arguments", "game"),
    [
        ("fogbound/KuhnPoker-v0", {}, envs.make("kuhn_poker")),
        ("envs:fogbound/KuhnPoker-v0", {"opponent": "a path that is gone"}, envs.make("kuhn_poker")),
        (
            "fogbound/DarkHex-v0",
            {"seat": "alternate", "rows": 4, "abrupt": True, "max_episode_steps": 9, "render_mode": "ansi"},
            envs.make("dark_hex", rows=4, abrupt=True),
        ),
        ("CartPole-v1", {}, None),
        ("fogbound/CartPoleNoVel-v1", {}, None),
        ("fogbound/Chess-v0", {}, None),
        ("no_such_module:World-v0", {}, None),
        ("envs:envs:fogbound/KuhnPoker-v0", {}, None),
        ("os:fogbound/KuhnPoker-v0", {}, None),
        ("fogbound/KuhnPoker-v0", {"game": ["kuhn_poker"]}, None),
        ("", {}, None),
    ],
    ids=str,
)
def test_the_game_behind_an_id(id, arguments, game):
    assert game_played(id, arguments) == game


@pytest.mark.parametrize("id", ["trap:Trap-v0", "trap:fogbound/KuhnPoker-v0", "trap.deep:Trap-v0", "trap:"])
def test_the_game_behind_an_id_is_told_without_importing(id, tmp_path, monkeypatch):
    """A module on the path that would leave a file behind when it is imported."""
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert game_played(id, {}) is None
    assert not (tmp_path / "trace").exists()


# ---------------------------------------------------------------- matches told move by move


@pytest.mark.parametrize("seat", [0, 1])
def test_a_match_of_kuhn_poker(seat):
    """Against one who always bets. In seat 0: pass, bet, bet = a showdown for 2, or pass, bet, pass = 1
    lost. In seat 1 the bet has been made when reset returns: bet = a showdown for 2, pass = 1 lost."""
    env = FogboundEnv("kuhn_poker", opponent=last, seat=seat)
    for match_seed in range(12):
        observation, info = env.reset(options={"match_seed": match_seed})
        own, theirs = (int(env.match.state.card[p]) for p in (seat, 1 - seat))
        assert env.match.seed == match_seed
        assert observation.tolist() == [own, 2 * seat, 0, 0]
        assert info["seat"] == env.seat == seat
        if seat == 0:
            observation, reward, over, truncated, _ = env.step(PASS)
            assert (observation.tolist(), reward, over, truncated) == ([own, 1, 2, 0], 0.0, False, False)
        observation, reward, over, truncated, info = env.step(BET if match_seed % 2 else PASS)
        wins = 2.0 if own > theirs else -2.0
        assert (reward, over, truncated) == (wins if match_seed % 2 else -1.0, True, False)
        assert type(reward) is float
        assert info["action_mask"].tolist() == [0, 0]
        assert env.match.returns[seat] == reward


def test_what_is_earned_before_the_first_decision_comes_with_it():
    """Hurry against one who goes on, agent in seat 0. Begun by the opponent: 0.5 was earned before the
    first decision, 1 is for the move, 0.5 for the answer. Begun by the agent: 1 + 0.5, and again."""
    env = FogboundEnv(Hurry(), opponent=go)
    begun = set()
    for seed in range(8):
        observation, _ = env.reset(seed=seed)
        was_begun = int(observation[0, 0, 0]) == 1
        begun.add(was_begun)
        if was_begun:
            assert env.step(GO)[1:3] == (0.5 + 1.0 + 0.5, False)
            assert env.step(GO)[1:3] == (1.0, True)
            assert env.match.returns.tolist() == [3.0, 3.0]
        else:
            assert env.step(GO)[1:3] == (1.0 + 0.5, False)
            assert env.step(STOP)[1:3] == (1.0, True)
            assert env.match.returns.tolist() == [2.5, 2.0]
    assert begun == {True, False}


def test_a_match_without_a_decision_of_the_agent_is_no_episode():
    """Hurry against one who stops: what the opponent begins is over before the agent is asked."""
    env = FogboundEnv(Hurry(), opponent=stop)
    seeds = []
    for seed in range(8):
        observation, _ = env.reset(seed=seed, options={"match_seed": seed})
        assert observation.tolist() == [[[0, 0]]]
        assert env.step(GO)[1:3] == (1.0 + 0.5, True)
        seeds.append(env.match.seed)
    assert 0 < sum(seed == n for n, seed in enumerate(seeds)) < 8


def test_a_game_alone():
    env = FogboundEnv(Guess())
    for seed in range(6):
        observation, info = env.reset(seed=seed)
        assert not observation.any()
        rewards, over = [], False
        for card in (2, 0, 1):
            observation, reward, over, _, info = env.step(card)
            rewards.append(reward)
            if over:
                break
            assert info["action_mask"][card] == 0
            assert observation[0, card, 0] == 1
        assert over
        assert rewards == [-0.25] * (len(rewards) - 1) + [1.0]


@pytest.mark.parametrize(("name", "options"), MADE, ids=str)
def test_masks_are_the_rules_own(name, options):
    env, chooser = FogboundEnv(name, **options), np.random.default_rng(0)
    for _ in range(5):
        _, info = env.reset()
        over = False
        while not over:
            assert env.match.seat == info["seat"] == env.seat
            assert info["action_mask"].dtype == np.int8
            assert env.action_masks().dtype == np.bool_
            assert np.flatnonzero(info["action_mask"]).tolist() == env.match.legal()
            assert env.action_masks().tolist() == info["action_mask"].tolist()
            _, _, over, _, info = env.step(chooser.choice(env.match.legal()))
        assert not env.action_masks().any()
        assert not info["action_mask"].any()


# ---------------------------------------------------------------- seeds and seats


@pytest.mark.parametrize(("name", "options"), MADE, ids=str)
def test_a_seed_decides_everything(name, options):
    """Cards, the opponent's draws, the seats: of 10 episodes; without it, others follow."""
    env, other = FogboundEnv(name, **options), FogboundEnv(name, **options)
    env.reset(seed=5)
    one = played(env, np.random.default_rng(1), 10)
    other.reset(seed=5)
    assert same(one, played(other, np.random.default_rng(1), 10))
    assert not same(one, played(other, np.random.default_rng(1), 10))
    env.reset(seed=5)
    assert same(one, played(env, np.random.default_rng(1), 10))
    env.reset(seed=6)
    assert not same(one, played(env, np.random.default_rng(1), 10))


def test_without_any_seed_two_environments_differ():
    one, two = (played(FogboundEnv("leduc_poker"), np.random.default_rng(1), 10) for _ in range(2))
    assert not same(one, two)


def test_seats_alternate_and_the_first_is_drawn_by_the_seed():
    """Over 40 seeds both seats come first; the observation ends with the seat."""
    env = FogboundEnv("dark_hex", seat="alternate")
    assert env.observation_space.nvec.tolist() == [3] * 9 + [2]
    begins = []
    for seed in range(40):
        observation, info = env.reset(seed=seed)
        begins.append(info["seat"])
        assert observation[-1] == info["seat"]
        seats = [env.reset()[1]["seat"] for _ in range(4)]
        assert seats == [(info["seat"] + n + 1) % 2 for n in range(4)]
    assert 8 < sum(begins) < 32
    planes = FogboundEnv(Hurry(), seat="alternate")
    assert planes.observation_space.shape == (2, 1, 2)
    assert planes.observation_space.high.tolist() == [[[4, 4]], [[1, 1]]]
    observation, info = planes.reset(seed=1)
    assert observation[1].tolist() == [[info["seat"]] * 2]


# ---------------------------------------------------------------- illegal actions


def test_an_illegal_action_loses_the_match():
    """Phantom tic-tac-toe: 4, and 4 again. The board stays; the lowest return is the reward."""
    env = FogboundEnv("phantom_tictactoe", opponent=first)
    env.reset(seed=1)
    before, _, _, _, info = env.step(4)
    assert info["illegal"] is False
    board = env.match.state.tobytes()
    observation, reward, over, truncated, info = env.step(4)
    assert (reward, over, truncated, info["illegal"]) == (-1.0, True, False, True)
    assert observation.tolist() == before.tolist()
    assert env.match.state.tobytes() == board
    assert not info["action_mask"].any()
    with pytest.raises(ResetNeeded, match="the match is over"):
        env.step(0)
    assert env.reset()[1]["action_mask"].all()


def test_an_illegal_action_raises_where_it_was_asked_to():
    env = FogboundEnv("phantom_tictactoe", opponent=first, illegal="raise")
    env.reset(seed=1)
    env.step(4)
    board = env.match.state.tobytes()
    with pytest.raises(
        ValueError, match=r"action 4 \('b2'\) of seat 0 is illegal; legal are \[0, 1, 2, 3, 5"
    ):
        env.step(4)
    assert env.match.state.tobytes() == board
    env.step(8)


@pytest.mark.parametrize("illegal", ["lose", "raise"])
@pytest.mark.parametrize(
    ("action", "error", "said"),
    [
        (9, ValueError, r"phantom_tictactoe: actions are 0\.\.8, got 9"),
        (-1, ValueError, r"actions are 0\.\.8, got -1"),
        (1.0, TypeError, r"an action is an integer, got 1\.0"),
        (None, TypeError, "an action is an integer, got None"),
        (np.array([1, 2]), TypeError, "an action is an integer, got array"),
    ],
)
def test_what_is_no_action_is_refused(action, error, said, illegal):
    env = FogboundEnv("phantom_tictactoe", illegal=illegal)
    env.reset(seed=1)
    with pytest.raises(error, match=said):
        env.step(action)
    env.step(np.array(4))  # what `model.predict` returns for one observation


# ---------------------------------------------------------------- the wrong moment


def test_without_a_match_the_error_says_what_to_do():
    env = FogboundEnv("kuhn_poker", render_mode="ansi")
    for ask in (lambda: env.step(0), env.render, env.action_masks, lambda: env.match):
        with pytest.raises(ResetNeeded, match=r"kuhn_poker: no match has begun; call reset\(\) first"):
            ask()
    many = BatchVectorEnv("kuhn_poker", 2)
    with pytest.raises(ResetNeeded, match=r"kuhn_poker: no match has begun; call reset\(\) first"):
        many.step(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"unknown reset options \['deal'\]; known is 'match_seed'"):
        env.reset(options={"deal": 1})
    with pytest.raises(ValueError, match=r"reset takes no options here, got \['match_seed'\]"):
        many.reset(options={"match_seed": 1})


def test_after_the_end_a_step_is_refused():
    env = FogboundEnv("kuhn_poker", opponent=first)
    env.reset(seed=1)
    env.step(PASS)
    with pytest.raises(ResetNeeded, match=r"the match is over; call reset\(\) to begin another"):
        env.step(PASS)


# ---------------------------------------------------------------- pictures


def test_render_modes():
    env = gymnasium.make("fogbound/KuhnPoker-v0", render_mode="ansi")
    env.reset(seed=1)
    assert env.render().startswith("seat 0: ")
    env = gymnasium.make("fogbound/KuhnPoker-v0", render_mode="rgb_array")
    env.reset(seed=1)
    assert (env.render().dtype, env.render().ndim) == (np.uint8, 3)
    quiet = FogboundEnv("kuhn_poker")
    quiet.reset(seed=1)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert quiet.render() is None


# ---------------------------------------------------------------- masks where others look for them


def test_masks_are_found_through_wrappers():
    env = Monitor(gymnasium.make("fogbound/LeducPoker-v0"))
    env.reset(seed=1)
    assert is_masking_supported(env)
    assert get_action_masks(env).tolist() == [False, True, True]  # nothing to fold to


@pytest.mark.parametrize("kind", [None, SubprocVecEnv])
def test_masks_are_found_in_vector_environments_and_processes(kind):
    env = make_vec_env("envs:fogbound/LeducPoker-v0", n_envs=2, seed=1, vec_env_cls=kind)
    try:
        env.reset()
        assert is_masking_supported(env)
        assert get_action_masks(env).tolist() == [[False, True, True]] * 2
        env.step(np.array([2, 1]))
        assert get_action_masks(env).dtype == np.bool_
    finally:
        env.close()


# ---------------------------------------------------------------- classics without velocities


@pytest.mark.parametrize(("name", "shape"), [("CartPole", (2,)), ("Pendulum", (2,))])
def test_only_positions_are_seen(name, shape):
    whole, part = gymnasium.make(f"{name}-v1"), gymnasium.make(f"fogbound/{name}NoVel-v1")
    positions = [0, 2] if name == "CartPole" else [0, 1]
    assert part.observation_space.shape == shape
    assert np.isfinite(part.observation_space.high).all()
    assert part.spec.max_episode_steps == whole.spec.max_episode_steps
    assert part.spec.reward_threshold == whole.spec.reward_threshold
    seen, full = part.reset(seed=2)[0], whole.reset(seed=2)[0]
    whole.action_space.seed(2)
    for _ in range(8):
        assert seen.tolist() == full[positions].tolist()
        action = whole.action_space.sample()
        seen, full = part.step(action)[0], whole.step(action)[0]
    again = gymnasium.make(part.spec)
    assert again.observation_space == part.observation_space


def test_what_no_velocity_refuses():
    with pytest.raises(TypeError, match="expected an environment that shows a Box of one axis, got MultiDis"):
        NoVelocity(FogboundEnv("kuhn_poker"), [0])
    for wrong in ([4], [0, 1, 2, 3], [-1]):
        with pytest.raises(ValueError, match=r"velocities must be some of 0\.\.3, got"):
            NoVelocity(gymnasium.make("CartPole-v1"), wrong)
