"""What the tests of envs/ share: random play and how its means are judged; windows nobody sees."""

from __future__ import annotations

import pytest
import torch

import envs
from envs.adapters.gymnasium import FogboundEnv
from envs.adapters.pettingzoo import FogboundAEC, FogboundParallel

LANES = 40_000


@pytest.fixture(scope="session")
def first_matches():
    """Uniform legal play of the first match of every lane: `first_matches(game, seed, lanes)` gives the
    returns [lanes, P] and the decisions [lanes]."""

    def play(game, seed, lanes=LANES):
        batch, generator = envs.Batch(game, lanes, seed=seed), torch.Generator().manual_seed(seed)
        returns, length = torch.zeros(lanes, game.seats, dtype=torch.float64), torch.zeros(lanes)
        playing = torch.ones(lanes, dtype=torch.bool)
        while playing.any():
            lots = torch.rand(batch.legal.shape, generator=generator)
            batch.step(torch.where(batch.legal, lots, -1.0).argmax(1))
            assert not batch.illegal.any()
            returns[playing] += batch.reward[playing]
            length[playing] += 1
            playing &= ~batch.over
        return returns, length

    return play


@pytest.fixture(scope="session")
def assert_mean():
    """`assert_mean(sample, exact)`: within 4 standard errors; a table's six digits add half a unit of the
    last."""

    def judge(sample, exact):
        sample = sample.double()
        error = (sample.std() / len(sample) ** 0.5).item()
        assert abs(sample.mean().item() - exact) <= 4 * error + 5e-7

    return judge


@pytest.fixture
def unseen_window(monkeypatch):
    """Windows open on SDL's dummy display, and nobody waits between two pictures."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    for kind in (FogboundEnv, FogboundAEC, FogboundParallel):
        monkeypatch.setitem(kind.metadata, "render_fps", 10_000)
