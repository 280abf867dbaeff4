"""What the tests of runs share: one that ended by itself, and copies of it."""

from __future__ import annotations

import shutil

import pytest
from game_runs import tiny
from reading import quiet

from agents.run.selfplay import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of three updates that ended by itself; not to be changed."""
    return train(tiny(tmp_path_factory.mktemp("runs")), "selfplay.py config.yaml", quiet)


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run, to be changed."""
    return shutil.copytree(finished.run, tmp_path / "copy")
