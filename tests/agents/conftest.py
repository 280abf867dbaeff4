"""What the tests of agents/ share: models small enough to learn in a fraction of a second."""

from __future__ import annotations

import pytest

import envs
from agents import MaskableRecurrentPPO

SMALL = {"lstm_hidden_size": 8, "features_dim": 8}


@pytest.fixture
def make_model():
    """Makes a `MaskableRecurrentPPO`; what is not said is small and seeded."""

    def make(game="kuhn_poker", matches=8, policy_kwargs=None, device="cpu", **arguments):
        game = envs.make(game) if isinstance(game, str) else game
        batch = envs.Batch(game, matches, device)
        arguments = {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "seed": 1} | arguments
        return MaskableRecurrentPPO(
            "MlpLstmPolicy", batch, policy_kwargs=SMALL | (policy_kwargs or {}), **arguments
        )

    return make
