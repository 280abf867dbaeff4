"""Clones: agents that decide as they were recorded, and are agents as any other."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from game_runs import tiny as self_play
from reading import lines, quiet

import agents
import envs
from agents import fixed_player
from agents.files import read
from agents.learn.judged import cluster_interval, judge
from agents.learn.learners import CloneLearner
from agents.learn.schedules import Linear
from agents.learn.sequence import FitSettings
from agents.play import records
from agents.play.arena import play_matches
from agents.run.config import SELF_PLAY_NETWORK
from agents.run.selfplay import train as train_self_play
from agents.run.sequence import FitEval, SequenceConfig, score_run, train
from agents.run.source import read_source

KUHN = envs.make("kuhn_poker")


def recorded(folder, game, count, *names):
    players = [fixed_player(name, game, seed) for seed, name in enumerate(names)]
    if len(set(names)) < len(names):
        players[-1].name += " (2)"
    records.record(players, count, records.Writer(folder, game), seed=4)
    return folder


def config_of(folder, data, **changes):
    config = SequenceConfig(
        seed=3,
        data=str(data),
        model="clone",
        device="cpu",
        total_timesteps=40_000,
        run_dir=str(folder),
        checkpoint_every=30_000,
        policy=dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=16, features_dim=16),
        fit=FitSettings(sequences=32, n_steps=16, learning_rate=Linear(1e-2)),
        eval=FitEval(every=10_000),
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Of Kuhn poker's bot, recorded against random; and the records."""
    folder = tmp_path_factory.mktemp("clone")
    data = recorded(folder / "records", KUHN, 3_000, "bot", "random")
    return train(config_of(folder / "runs", data, player="bot"), say=quiet), data


def test_it_decides_as_the_player_did(clone):
    """The bot's probabilities are known: the clone's loss is its entropy, and its value what the bot gets."""
    outcome, data = clone
    told = outcome.results["validation"]
    assert outcome.run.name.startswith("kuhn_poker_clone__gated__s3__")
    assert told.illegal == 0.0  # both actions always are legal
    assert told.value_loss is not None
    assert told.value_loss < 0.5
    assert score_run(outcome.run, data)[1] == told

    agent = agents.load(outcome.run)
    bot = agents.exploitability(KUHN, "bot").exploitability
    assert agents.exploitability(KUHN, agent).exploitability == pytest.approx(bot, abs=0.08)


def test_it_is_an_agent_as_any_other(clone):
    outcome, _ = clone
    agent = agents.load(outcome.run)
    assert play_matches(KUHN, agent, fixed_player("random", KUHN, 1), 50, 2).matches == 100
    with pytest.raises(ValueError, match="is an agent without its training state; it can play, not train"):
        agents.MaskableRecurrentPPO.load(outcome.run)


def test_self_play_begins_with_it_and_is_drawn_to_it(clone, tmp_path):
    """The magnet is the clone to the last bit, whatever was learned; its weight falls to 0."""
    outcome, _ = clone
    config = self_play(
        tmp_path,
        policy=dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=16, features_dim=16),
        start_from=str(outcome.run),
    )
    algo = dataclasses.replace(config.algo, magnet="start", magnet_coef=Linear(0.2))
    run = train_self_play(dataclasses.replace(config, algo=algo), say=quiet).run
    mine, other = read(run), read(outcome.run)
    assert mine["magnet.safetensors"] == other["policy.safetensors"] != mine["policy.safetensors"]
    told = [line["train/kl_magnet"] for line in lines(run) if "train/kl_magnet" in line]
    assert len(told) == 2  # at the end its weight is 0
    assert all(0.0 <= x < 1.0 for x in told)


def test_of_random_players_nothing_can_be_foreseen_but_what_is_legal(tmp_path):
    """A uniform choice among n has the loss log n. A clone that is better than that would know what it must
    not: it is never below by 3 standard errors, and above by less than 0.5 %."""
    game = envs.make("phantom_tictactoe")
    data = recorded(tmp_path / "records", game, 3_000, "random", "random")
    config = config_of(tmp_path / "runs", data, fit=FitSettings(sequences=64, learning_rate=Linear(1e-2)))
    run = train(config, say=quiet).run
    held_out = read_source(data, "clone").part("validation")
    loss = judge(CloneLearner(agents.load(run).policy), held_out).loss
    least = held_out.legal.sum(1).double().log()
    low, high = cluster_interval(loss - least, held_out.group[held_out.sequence])
    error = (high - low) / (2 * 1.96)
    assert float((loss - least).mean()) > -3.0 * error
    assert float(loss.mean() / least.mean()) < 1.005


def test_a_player_whom_nobody_recorded_is_refused(clone, tmp_path):
    _, data = clone
    with pytest.raises(ValueError, match="no player 'greedy'; known are bot, random"):
        train(config_of(tmp_path, data, player="greedy"), say=quiet)


def test_tokens_learn_what_a_seat_saw_and_did(clone, tmp_path):
    """The same records as streams: cards a third each, and the bot's moves; far below log V = log 15."""
    _, data = clone
    config = config_of(tmp_path, data, model="tokens", player="bot")
    outcome = train(config, say=quiet)
    told = outcome.results["validation"]
    assert outcome.run.name.startswith("kuhn_poker_tokens__gated")
    assert told.loss < math.log(3)
    assert told.illegal == 0.0
    assert torch.isfinite(torch.tensor(told.interval)).all()
