"""Schedules: their values by hand, and what a run makes of them."""

from __future__ import annotations

import math

import pytest
from stable_baselines3.common.callbacks import BaseCallback

from agents.learn.schedules import Constant, Linear, Power


# Where the progress that remains is 1, 1/2 and 0. Power: 8 / (1 + n) ** 0.5 with n = 0, 7.5 and 15.
@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.3), [0.3, 0.3, 0.3]),
        (Linear(0.3), [0.3, 0.15, 0.0]),
        (Power(8.0, exponent=0.5, span=15.0), [8.0, 8 / math.sqrt(8.5), 2.0]),
    ],
)
def test_schedules(schedule, values):
    assert [schedule(progress) for progress in (1.0, 0.5, 0.0)] == pytest.approx(values)


@pytest.mark.parametrize(("total", "expected"), [(128, [0.1, 0.05, 0.0]), (100, [0.1, 0.036, 0.0])])
def test_a_schedule_moves_the_learning_rate_and_never_beyond_its_end(make_model, total, expected):
    """Rollouts of 64. In a run of 128 the updates come at progress 1/2 and 0; in one of 100 the second comes
    at 128, beyond the end."""
    rates = []

    class Watching(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            rates.append(self.model.optimizer.param_groups[0]["lr"])

        def _on_training_end(self):
            self._on_rollout_start()

    make_model(learning_rate=Linear(0.1), ent_coef=Linear(0.1)).learn(total, callback=Watching())
    assert rates == pytest.approx(expected)
