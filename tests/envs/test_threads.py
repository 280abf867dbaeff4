"""Our own threads: results in order, errors told."""

from __future__ import annotations

import threading

import pytest

from envs.threads import at_once


def test_results_come_in_the_order_of_the_calls():
    assert at_once([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]


def test_all_calls_run_at_the_same_time():
    """Each waits for the others: one after another they would wait for ever."""
    barrier = threading.Barrier(3, timeout=60.0)
    assert sorted(at_once([barrier.wait] * 3)) == [0, 1, 2]


def test_what_another_thread_raises_is_raised_here():
    def fail():
        raise ValueError("told")

    with pytest.raises(ValueError, match=r"^told$"):
        at_once([lambda: None, fail])
