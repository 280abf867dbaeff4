"""Opponents: functions, players and agents from files, what they are told, and which of them cheat."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from choosing import PASS, first, played, same
from toys import Guess, Hurry

import envs
from agents import Agent, MaskableRecurrentPPO
from envs.adapters.gymnasium import BatchVectorEnv, FogboundEnv
from envs.seated import SeatedBatch


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
