"""What the tests of records share: matches of dark hex between two random players."""

from __future__ import annotations

import pytest

import envs
from agents.play import records
from agents.play.players import RandomPlayer


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A folder of 60 matches; a test copies it before it changes anything."""
    game, folder = envs.make("dark_hex"), tmp_path_factory.mktemp("records") / "hex"
    players = [RandomPlayer(game, name, seed) for seed, name in enumerate(("ann", "bob"))]
    records.record(players, 60, records.Writer(folder, game))
    return folder
