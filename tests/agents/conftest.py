"""What the tests of agents/ share: models small enough to learn in a fraction of a second."""

from __future__ import annotations

import shutil

import pytest
from game_runs import quick
from reading import quiet
from saved import KUHN, TICTACTOE, files_of

import envs
from agents import MaskableRecurrentPPO, Opposition, fixed_player
from agents.learn.schedules import Constant, Linear, Power
from agents.run.selfplay import train

SMALL = {"lstm_hidden_size": 8, "features_dim": 8}


def made_model(game="kuhn_poker", matches=8, policy_kwargs=None, device="cpu", **arguments):
    """A `MaskableRecurrentPPO`; what is not said is small and seeded."""
    game = envs.make(game) if isinstance(game, str) else game
    batch = envs.Batch(game, matches, device)
    arguments = {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "seed": 1} | arguments
    return MaskableRecurrentPPO(
        "MlpLstmPolicy", batch, policy_kwargs=SMALL | (policy_kwargs or {}), **arguments
    )


def everything():
    """Everything a checkpoint may hold: moving average, snapshot magnet, past selves, a random player."""
    opposition = Opposition(TICTACTOE, 8, 0.75, [fixed_player("random", TICTACTOE, 5)], pool_size=2, seed=6)
    return made_model(
        TICTACTOE,
        8,
        learning_rate=Linear(1e-2),
        clip_range=Power(0.2),
        ent_coef=Constant(0.01),
        magnet_coef=Linear(0.1),
        magnet="snapshot",
        magnet_every=2,
        ema_decay=0.9,
        opposition=opposition,
        snapshot_every=1,
    ).learn(3 * 64)


@pytest.fixture
def make_model():
    """Makes a `MaskableRecurrentPPO`; what is not said is small and seeded."""
    return made_model


@pytest.fixture
def model():
    """A model with everything a checkpoint may hold, after three updates; a test may change it."""
    return everything()


@pytest.fixture(scope="session")
def files_of_everything():
    return files_of(everything())


@pytest.fixture
def files(files_of_everything):
    """The files of such a model."""
    return dict(files_of_everything)


@pytest.fixture(scope="session")
def made():
    """A model of Kuhn poker with everything, after one update, and its files; not to be changed."""
    opposition = Opposition(KUHN, 4, 0.5, [fixed_player("bot", KUHN, 5)], pool_size=2, seed=6)
    model = MaskableRecurrentPPO(
        "MlpLstmPolicy", envs.Batch(KUHN, 4, seed=9), n_steps=7, batch_size=14, n_epochs=1, seed=1,
        policy_kwargs={"lstm_hidden_size": 4, "features_dim": 4}, device="cpu", opposition=opposition,
        snapshot_every=1, ema_decay=0.9, magnet="snapshot", magnet_coef=0.1,
    ).learn(28)  # fmt: skip
    return model, files_of(model)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A finished run with the checkpoints 64, 128 and 192; not to be changed."""
    return train(quick(tmp_path_factory.mktemp("runs")), say=quiet).run


@pytest.fixture
def run(whole, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def written(tmp_path):
    """Writes a configuration file."""

    def write(text):
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
