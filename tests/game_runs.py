"""What the tests of runs of self-play share: small runs of three updates, and how they are stopped."""

from __future__ import annotations

import dataclasses
import json
import signal

import pytest
from reading import quiet

from agents.files import read
from agents.learn.schedules import Linear, Power
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    Config,
    EvalConfig,
    OpponentsConfig,
)
from agents.run.selfplay import resume

UPDATE = 64
"""Decisions of one update: 8 matches, 8 steps."""


def tiny(folder, **changes):
    """A run of three updates, evaluated and saved after each."""
    config = Config(
        game="kuhn_poker",
        seed=3,
        matches=8,
        total_timesteps=3 * UPDATE,
        run_dir=str(folder),
        checkpoint_every=UPDATE,
        policy=dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=8, features_dim=8),
        algo=dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=32, n_epochs=2),
        eval=EvalConfig(
            every=UPDATE, matches_per_seat=4, final_matches_per_seat=8, rating_matches_per_seat=4
        ),
    )
    return dataclasses.replace(config, **changes)


def quick(folder, **changes):
    """The same with one epoch an update, judged at the end alone."""
    changes = {
        "device": "cpu",
        "algo": dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=32, n_epochs=1),
        "eval": EvalConfig(
            every=10 * UPDATE, matches_per_seat=4, final_matches_per_seat=4, rating_matches_per_seat=0
        ),
    } | changes
    return tiny(folder, **changes)


EVERYTHING = {
    "policy": dataclasses.replace(
        SELF_PLAY_NETWORK,
        cell="lstm",
        lstm_hidden_size=8,
        features_dim=8,
        n_lstm_layers=2,
        lstm_kwargs={"dropout": 0.2},
    ),
    "algo": dataclasses.replace(
        SELF_PLAY,
        n_steps=8,
        batch_size=32,
        n_epochs=2,
        learning_rate=Linear(1e-2),
        magnet="snapshot",
        magnet_coef=Power(0.1),
        magnet_every=2,
        ema_decay=0.9,
    ),
    "opponents": OpponentsConfig(share=0.75, players=["random", "bot"], pool_size=2, snapshot_every=1),
}
"""Two layers with dropout, a snapshot magnet, past selves and fixed players: all that has a state."""


def newest(run):
    """The bytes of the latest checkpoint: weights, moving average, optimiser, generators, matches."""
    return read(run)


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def pull_the_plug():
    raise SystemExit("killed")


def refused(run, message, change=lambda config: config, error=ValueError):
    """A run is not resumed, in one line, and its files stay as they are."""
    before = {name: (run / name).read_bytes() for name in ("config.yaml", "metrics.jsonl", "run.json")}
    with pytest.raises(error, match=message) as caught:
        resume(run, change, quiet)
    assert "\n" not in str(caught.value)
    assert {name: (run / name).read_bytes() for name in before} == before


def latest(run):
    """Where latest.json points."""
    return json.loads((run / "latest.json").read_text(encoding="utf-8"))["checkpoint"]


def longer(n):
    """Changes a configuration to so many decisions."""
    return lambda config: dataclasses.replace(config, total_timesteps=n)
