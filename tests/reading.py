"""What the tests of runs share: reading a run's folder, and stepping in at one of its decisions."""

from __future__ import annotations

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.run.config import Config, read_config
from agents.run.keeper import RunKeeper


def quiet(_):
    """Says nothing."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def at_decision(monkeypatch, n, act):
    """Calls `act` once, in the middle of the rollout that passes decision `n`."""
    original, done = RunKeeper._on_step, []

    def on_step(self):
        if self.model.num_timesteps >= n and not done:
            done.append(n)
            act()
        return original(self)

    monkeypatch.setattr(RunKeeper, "_on_step", on_step)


def run_json(run):
    """What run.json says."""
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def lines(run):
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def numbers(run):
    """The same, less what a clock says."""
    return [
        {tag: value for tag, value in line.items() if not tag.startswith(("time/", "perf/"))}
        for line in lines(run)
    ]


def curves(run):
    """TensorBoard's scalars by tag: [(step, value), ...]."""
    read = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def refused_file(path, *told, error=ValueError, kind=Config):
    """`read_config` says in one line what is wrong, and in which file."""
    with pytest.raises(error) as caught:
        read_config(path, kind)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for words in told:
        assert words in message
    return message
