"""Streams whose reader has gone, or has few letters."""

from __future__ import annotations

import io
import signal
import sys

import pytest
from game_runs import UPDATE, quick
from reading import at_decision

from agents.run.selfplay import train
from agents.run.stream import Unfailing


class Closed(io.StringIO):
    """A reader that has gone."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):  # noqa: ARG002
        raise self.error

    def isatty(self):
        return True


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "I/O error"), ValueError("closed file")]
)
def test_nobody_needs_to_listen(tmp_path, monkeypatch, error):
    """Standard output and the progress bar's terminal are gone: the run does not care."""
    monkeypatch.setattr(sys, "stdout", Closed(error))
    monkeypatch.setattr(sys, "stderr", Closed(error))
    at_decision(monkeypatch, 20, lambda: signal.raise_signal(signal.SIGTERM))
    outcome = train(quick(tmp_path))
    assert (outcome.timesteps, outcome.signal, outcome.exit_code) == (UPDATE, signal.SIGTERM, 143)


def test_what_a_stream_cannot_write_is_written_in_its_letters():
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert Unfailing(narrow).write("\u2660 wins") == 11
    narrow.flush()
    assert narrow.buffer.getvalue() == b"\\u2660 wins"
    Unfailing(None).write("nobody")
    assert not Unfailing(None).isatty()
