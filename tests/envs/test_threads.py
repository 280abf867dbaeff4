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


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_runs_any_more_after_an_error(error):
    """The other call has begun when this one fails, and ends only after that."""
    has_begun, may_end, ended = threading.Event(), threading.Event(), []

    def fail():
        assert has_begun.wait(60.0)
        threading.Timer(0.2, may_end.set).start()
        raise error("told")

    def go_on():
        has_begun.set()
        assert may_end.wait(60.0)
        ended.append(True)

    with pytest.raises(error, match="told"):
        at_once([fail, go_on])
    assert ended == [True]
