"""scripts/memory.py, as a person types it: tables, the figure, agents side by side, what is refused."""

from __future__ import annotations

import dataclasses

import pytest
from game_runs import tiny
from models import model_of
from reading import quiet

import envs
from agents import MaskableRecurrentPPO
from agents.run.config import SELF_PLAY
from agents.run.selfplay import train

QUICK = ("--steps", "12", "--matches", "16")


def saved(path, game, **network):
    """The file of an agent that has learnt nothing yet."""
    small = {"lstm_hidden_size": 4, "features_dim": 4} | network
    batch = envs.Batch(envs.make(game), 4)
    MaskableRecurrentPPO("MlpLstmPolicy", batch, n_steps=8, batch_size=32, policy_kwargs=small).save(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a game whose matches last."""
    algo = dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=32, n_epochs=1)
    config = tiny(tmp_path_factory.mktemp("runs"), game="phantom_tictactoe", algo=algo, total_timesteps=64)
    paced = dataclasses.replace(config.eval, exploitability="never", rating_matches_per_seat=0)
    return train(dataclasses.replace(config, eval=paced), say=quiet).run


def test_the_tables_of_a_run_and_the_same_figure_again(run, script, tmp_path):
    out = tmp_path / "memory.svg"
    ended = script("memory", run, "--out", out, *QUICK)
    assert (ended.code, ended.err) == (0, "")
    told = " ".join(ended.out.split())
    for words in ("cell Gated", "policy loss by layer1", "recall (KL, mean)", "half-life, value", "layer1"):
        assert words in told
    assert f"{out}: {out.stat().st_size:,} bytes" in told
    first = out.read_bytes()
    assert first.startswith(b"<?xml")
    script("memory", run, "--out", out, *QUICK)
    assert out.read_bytes() == first


def test_a_run_against_a_file_with_two_layers(run, script, tmp_path):
    """Without a run there are no returns to draw; lags are those that two seats leave each other."""
    other = saved(tmp_path / "gru.zip", "phantom_tictactoe", cell="gru", n_lstm_layers=2)
    out = tmp_path / "memory.png"
    ended = script("memory", run, "--against", other, "--labels", "one", "two", "--out", out, *QUICK)
    assert (ended.code, ended.err) == (0, "")
    assert out.read_bytes().startswith(b"\x89PNG")
    for words in ("one: PhantomTicTacToe", "two: PhantomTicTacToe", "layer2", "cell GRU"):
        assert words in ended.out


def test_what_has_no_memory_to_look_at_is_told_in_one_line(run, refused, tmp_path):
    none = saved(tmp_path / "none.zip", "kuhn_poker", cell="feedforward")
    refused("memory", none, told="has no memory (its cell is feedforward)")
    kuhn = saved(tmp_path / "kuhn.zip", "kuhn_poker")
    refused("memory", kuhn, "--against", run, told=("plays PhantomTicTacToe", "expected an agent of Kuhn"))
    empty = tmp_path / "empty"
    (empty / "checkpoints").mkdir(parents=True)
    refused("memory", empty, told="empty: holds no checkpoint")
    refused("memory", tmp_path / "nowhere", told="nowhere: there is no such run, checkpoint or agent")
    refused("memory", "random", told="'random' has no network whose memory could be looked at")
    world = model_of()
    world.save(tmp_path / "world.zip")
    refused("memory", tmp_path / "world.zip", told="was trained in a Gymnasium world")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--labels", "a", "b"), "expected a label for each of 1 agents, got 2"),
        (("--steps", "2"), "--steps must be at least 3"),
        (("--matches", "1"), "--matches 2"),
        (("--out", "memory.gif"), "--out must end in .svg, .png or .pdf, got memory.gif"),
    ],
)
def test_flags_that_cannot_be(run, refused, flags, told):
    refused("memory", run, *flags, told=told)
