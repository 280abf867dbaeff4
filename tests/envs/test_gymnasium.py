"""Gymnasium: the checkers, matches told move by move, opponents, seeds, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from listed import SMALL
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv
from toys import GO, STOP, Guess, Hurry

import envs
from agents import Agent, MaskableRecurrentPPO
from agents.play.players import BOTS
from envs.adapters.gymnasium import BatchVectorEnv, FogboundEnv, NoVelocity, game_played
from envs.seated import SeatedBatch

ROOT = Path(__file__).parents[2]
NO_VELOCITY = ["fogbound/CartPoleNoVel-v1", "fogbound/PendulumNoVel-v1"]
PASS, BET = 0, 1


def arguments(game):
    """Ways of making an environment for one agent of a listed game."""
    options = SMALL.get(game, {})
    if envs.make(game).seats == 1:
        return [options]
    opponent = "bot" if game in BOTS else "random"
    seats = ({}, {"opponent": opponent, "seat": 1}, {"opponent": opponent, "seat": "alternate"})
    return [options | seat for seat in seats]


MADE = [(game, options) for game in envs.GAMES for options in arguments(game)]


@pytest.fixture
def unseen_window(monkeypatch):
    """Windows open on SDL's dummy display, and nobody waits between two pictures."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(FogboundEnv.metadata, "render_fps", 10_000)


def id_of(name):
    """Gymnasium's id of a listed game."""
    return f"fogbound/{envs.GAMES[name].__name__}-v0"


def first(_observation, mask, _seat):
    """The lowest legal action."""
    return int(np.flatnonzero(mask)[0])


def last(_observation, mask, _seat):
    """The highest legal action."""
    return int(np.flatnonzero(mask)[-1])


def stop(_observation, _mask, _seat):
    return STOP


def go(_observation, _mask, _seat):
    return GO


def same(one, two):
    """What two environments told is equal: arrays, numbers and infos."""
    return data_equivalence(one, two, exact=True)


def played(env, chooser, episodes):
    """Everything the environment tells in so many episodes of random legal play; no seed is given."""
    told = []
    for _ in range(episodes):
        told.append(env.reset())
        over = False
        while not over:
            told.append(env.step(chooser.choice(np.flatnonzero(env.action_masks()))))
            over = told[-1][2]
    return told


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


EXACT = [  # mean return of seat 0 where both play at random: reference values of an exact enumeration
    ("phantom_tictactoe", {}, 0.296825),
    ("phantom_tictactoe", {"abrupt": True}, 0.316275),
    ("dark_hex", {}, 1 / 3),
    ("dark_hex", {"abrupt": True}, 0.266926),
    ("dark_hex", {"rows": 2, "cols": 2}, 0.0),
    ("dark_hex", {"rows": 2, "cols": 2, "abrupt": True}, 0.458333),
]


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize(("name", "options", "mean"), EXACT)
def test_random_against_random_earns_what_it_must(name, options, mean, seat):
    """The first 8 episodes of 2,000 lanes, within 4 standard errors."""
    env = BatchVectorEnv(name, 2_000, seat=seat, **options)
    chooser, returns = np.random.default_rng(seat), [[] for _ in range(2_000)]
    env.reset(seed=17)
    while min(map(len, returns)) < 8:
        masks = env.action_masks()
        _, rewards, over, _, _ = env.step(np.where(masks, chooser.random(masks.shape), -1.0).argmax(1))
        assert not rewards[~over].any()  # these games pay at the end
        for b in np.flatnonzero(over):
            returns[b].append(rewards[b])
    sample = np.array([some[:8] for some in returns]).ravel()
    error = sample.std() / np.sqrt(sample.size)
    assert abs(sample.mean() - (mean if seat == 0 else -mean)) < 4 * error


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


# ---------------------------------------------------------------- opponents


class Listener:
    """A player that writes down what it is told, and plays the first legal action."""

    name = "listener"

    def __init__(self, game):
        self.game = game
        self.heard = []

    def reset(self, matches=1):
        self.heard.append(("reset", matches))

    def restart(self, over):
        self.heard.append(("restart", over.tolist()))

    def reseed(self, seed):
        self.heard.append(("reseed", seed))

    def act(self, observation, legal, seat, rows=None):
        assert rows is None
        self.heard.append(("act", observation.tolist(), seat))
        return first(observation, legal, seat)


def test_an_opponent_is_reset_with_every_match_and_sees_its_own_seat():
    """Kuhn: the agent passes, the opponent passes; nothing else is asked of it."""
    player = Listener(envs.make("kuhn_poker"))
    env = FogboundEnv("kuhn_poker", opponent=player)
    listener = env._opponent
    assert listener is not player  # it belongs to the environment
    for seed in (1, 2):
        env.reset(seed=seed)
        card = int(env.match.state.card[1])
        env.step(PASS)
        assert [kind for kind, *_ in listener.heard] == ["reset", "reseed", "act"]
        assert listener.heard[2] == ("act", [card, 1, 0, 0], 1)
        listener.heard.clear()
    assert player.heard == []


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Small untrained agents by the name of their game: paths."""
    paths = {}
    for name in ("kuhn_poker", "dark_hex"):
        model = MaskableRecurrentPPO(
            "MlpLstmPolicy",
            envs.Batch(envs.make(name), 4),
            n_steps=8,
            batch_size=32,
            seed=1,
            policy_kwargs={"lstm_hidden_size": 8, "features_dim": 8},
        )
        paths[name] = tmp_path_factory.mktemp("agents") / f"{name}.zip"
        model.save(paths[name])
    return paths


@pytest.mark.parametrize("as_path", [str, Path])
def test_an_agent_plays_from_its_file(saved, as_path):
    env = gymnasium.make("fogbound/DarkHex-v0", opponent=as_path(saved["dark_hex"]), seat=1)
    assert isinstance(env.unwrapped._opponent, Agent)
    told = []
    for _ in range(2):
        env.reset(seed=4)
        told.append(played(env.unwrapped, np.random.default_rng(0), 3))
    assert same(*told)


def test_an_agent_forgets_with_every_match(saved):
    """The same match after others: the same play, though the agent was in the middle of one."""
    env = FogboundEnv("dark_hex", opponent=saved["dark_hex"])
    env.reset(seed=4)
    env.step(4)
    told = [env.step(first(None, env.action_masks(), 0)) for _ in range(2)]
    played(env, np.random.default_rng(0), 2)
    env.reset()
    env.step(0)
    env.reset(seed=4)
    env.step(4)
    assert same(told, [env.step(first(None, env.action_masks(), 0)) for _ in range(2)])


class Nameless:
    pass


@pytest.mark.parametrize("make", [FogboundEnv, BatchVectorEnv])
@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"opponent": "nobody"},
            ValueError,
            r"'nobody' is neither a fixed player \(random, bot, expander, greedy\) nor a path",
        ),
        ({"opponent": Path("no/such.zip")}, ValueError, r"'no.such\.zip' is neither a fixed player"),
        (
            {"opponent": 3},
            TypeError,
            r"opponent must be a name .* \(observation, mask, seat\) -> action; got 3",
        ),
        ({"opponent": Nameless()}, TypeError, "opponent must be a name such as 'random' or 'bot'"),
        ({"seat": 2}, ValueError, "kuhn_poker: seat must be one of 0, 1, 'alternate', got 2"),
        ({"seat": "first"}, ValueError, "seat must be one of 0, 1, 'alternate', got 'first'"),
        ({"illegal": "ignore"}, ValueError, "illegal must be 'lose' or 'raise', got 'ignore'"),
        ({"rows": 4}, ValueError, "kuhn_poker: unknown option 'rows'; known are none"),
        ({"render_mode": "svg"}, ValueError, "render_mode"),
        ({"opponent": Listener(envs.make("dark_hex"))}, ValueError, "'listener' plays DarkHex.*of KuhnPoker"),
    ],
)
def test_what_making_one_refuses(make, options, error, said):
    with pytest.raises(error, match=said):
        make("kuhn_poker", **options)


def test_what_else_making_one_refuses(saved):
    with pytest.raises(ValueError, match="unknown game 'chess'; known are"):
        FogboundEnv("chess")
    with pytest.raises(ValueError, match=r"options \['rows'\] were given beside DarkHex"):
        FogboundEnv(envs.make("dark_hex"), rows=4)
    with pytest.raises(
        ValueError, match=r"kuhn_poker\.zip' plays KuhnPoker\(\), expected an agent of DarkHex"
    ):
        FogboundEnv("dark_hex", opponent=saved["kuhn_poker"])
    with pytest.raises(ValueError, match="expected an agent of DarkHex"):
        FogboundEnv("dark_hex", opponent=saved["dark_hex"], rows=4)
    for options in ({"opponent": "bot"}, {"seat": 1}, {"seat": "alternate"}, {"opponent": first}):
        with pytest.raises(
            ValueError, match="guess is played alone: it takes neither an opponent nor a seat"
        ):
            FogboundEnv(Guess(), **options)
    with pytest.raises(ValueError, match="hurry has no bot"):
        FogboundEnv(Hurry(), opponent="bot")
    with pytest.raises(ValueError, match="matches must be at least 1, got 0"):
        BatchVectorEnv("kuhn_poker", 0)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (7, ValueError, r"kuhn_poker: the opponent 'answering' in seat 1 chose action 7; legal are \[0, 1\]"),
        (-1, ValueError, r"chose action -1; legal are \[0, 1\]"),
        (None, TypeError, "the opponent 'answering' in seat 1 must return an integer action, got None"),
        (0.5, TypeError, r"must return an integer action, got 0\.5"),
    ],
)
def test_an_opponent_that_cheats_is_named(answer, error, said):
    def answering(_observation, mask, _seat):
        mask[:] = True  # it gets a copy
        return answer

    env = FogboundEnv("kuhn_poker", opponent=answering)
    env.reset(seed=1)
    with pytest.raises(error, match=said):
        env.step(PASS)
    many = BatchVectorEnv("kuhn_poker", 3, opponent=answering)
    many.reset(seed=1)
    with pytest.raises(error, match=said):
        many.step(np.zeros(3, np.int64))


def test_a_player_that_cheats_is_named_too():
    class Cheat(Listener):
        def act(self, _observation, _legal, _seat, rows=None):
            return torch.full((len(rows),), 5)

    seated = SeatedBatch(envs.Batch(envs.make("kuhn_poker"), 3), Cheat(envs.make("kuhn_poker")))
    with pytest.raises(ValueError, match="kuhn_poker: the opponent 'listener' moved illegally"):
        seated.step(np.zeros(3, np.int64))


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


# ---------------------------------------------------------------- vector environments


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point", None])
def test_make_vec(mode):
    env = gymnasium.make_vec("fogbound/KuhnPoker-v0", num_envs=8, vectorization_mode=mode, opponent="random")
    try:
        assert isinstance(env, BatchVectorEnv) == (mode not in ("sync", "async"))
        assert env.num_envs == 8
        observation, infos = env.reset(seed=3)
        assert observation in env.observation_space
        assert observation.dtype == np.uint8
        assert infos["action_mask"].tolist() == [[1, 1]] * 8
        for _ in range(5):
            observation, rewards, over, truncated, infos = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert (rewards.dtype, over.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
            assert infos["action_mask"].shape == (8, 2)
    finally:
        env.close()


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("name", ["phantom_tictactoe", "dark_hex"])
def test_a_batch_tells_what_gymnasiums_own_vector_environment_tells(name, seat):
    """Games without chance, so that seeds do not matter: 3 lanes, 60 steps, illegal actions among them."""
    own = SyncVectorEnv(
        [lambda: FogboundEnv(name, opponent=last, seat=seat)] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    ours = BatchVectorEnv(name, 3, opponent=last, seat=seat)
    assert ours.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert (ours.observation_space, ours.action_space) == (own.observation_space, own.action_space)
    assert same(own.reset(), ours.reset())
    chooser, ends, offences = np.random.default_rng(0), 0, 0
    for _ in range(60):
        lots = chooser.random((3, 9))
        actions = np.where(ours.action_masks() | (lots > 0.995), lots, -1.0).argmax(1)
        *expected, infos_expected = own.step(actions)
        *told, infos = ours.step(actions)
        assert same(expected, told)
        assert infos.keys() >= infos_expected.keys()
        for name_of, value in infos_expected.items():
            assert same(value, infos[name_of]), name_of
        ends += told[2].sum()
        offences += infos["final_info"]["illegal"].sum() if "final_info" in infos else 0
    assert ends > offences > 0


def test_arrays_of_a_batch_are_the_users_to_keep():
    env = BatchVectorEnv("dark_hex", 4)
    kept = [env.reset(seed=1)[0], *env.step(np.zeros(4, np.int64))[:4]]
    copies = [array.copy() for array in kept]
    for action in (4, 8, 2, 6, 1):
        env.step(np.full(4, action))
    assert same(kept, copies)


def test_a_seed_decides_a_batch():
    def told(seed):
        observation, _ = env.reset(seed=seed)
        return [observation, *(env.step(np.full(50, action)) for action in (0, 1, 0, 1, 1, 0))]

    env = BatchVectorEnv("kuhn_poker", 50)
    one = told(7)
    assert same(one, told(7))
    assert not same(one, told(None))
    assert not same(one, told(8))


def test_lanes_alternate_between_the_seats():
    """Lane b begins in seat b modulo 2, and changes with every match."""
    env = BatchVectorEnv("kuhn_poker", 4, opponent=first, seat="alternate")
    observation, infos = env.reset(seed=1)
    assert infos["seat"].tolist() == observation[:, -1].tolist() == [0, 1, 0, 1]
    observation, _, over, _, infos = env.step(np.zeros(4, np.int64))  # all pass
    assert over.all()
    assert infos["seat"].tolist() == observation[:, -1].tolist() == [1, 0, 1, 0]
    assert infos["final_info"]["seat"].tolist() == [0, 1, 0, 1]
    assert [seen[-1] for seen in infos["final_obs"]] == [0, 1, 0, 1]


def test_gymnasiums_statistics_follow_a_batch():
    env = RecordEpisodeStatistics(gymnasium.make_vec("fogbound/KuhnPoker-v0", num_envs=4, opponent=first))
    env.reset(seed=1)
    _, rewards, over, _, infos = env.step(np.full(4, PASS))
    assert over.all()
    assert infos["episode"]["r"].tolist() == rewards.tolist()
    assert infos["episode"]["l"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("actions", "error", "said"),
    [
        (np.zeros(3, np.int64), ValueError, r"actions must have shape \(2,\), got \(3,\)"),
        (np.zeros(2), TypeError, "actions must have an integer dtype, got torch.float64"),
        (np.array([0, 2]), ValueError, r"kuhn_poker: actions are 0\.\.1, got 2"),
        (np.array([-1, 0]), ValueError, r"actions are 0\.\.1, got -1"),
    ],
)
def test_what_a_batch_refuses(actions, error, said):
    env = BatchVectorEnv("kuhn_poker", 2)
    env.reset(seed=1)
    with pytest.raises(error, match=said):
        env.step(actions)


def test_illegal_actions_in_a_batch_can_be_refused():
    env = BatchVectorEnv("phantom_tictactoe", 2, opponent=first, illegal="raise")
    env.reset(seed=1)
    env.step(np.array([4, 5]))
    with pytest.raises(ValueError, match=r"action 5 \('.+'\) of seat 0 in match 1 is illegal; legal are \[0"):
        env.step(np.array([8, 5]))


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
