"""What the tests of runs read in a run's folder."""

from __future__ import annotations

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def quiet(_):
    """Says nothing."""


def lines(run):
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


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
