"""Our own threads, for compiled functions that hold no Python lock."""

from __future__ import annotations

import concurrent.futures
import functools
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

_Result = TypeVar("_Result")


@functools.cache
def _pool(threads: int) -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="fogbound")


if hasattr(os, "register_at_fork"):
    # A forked process inherits the pool and none of its threads: work given to it would wait for ever.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def at_once(calls: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Make all the calls at the same time, the first of them here; returns their results in order.

    None of them runs any more when this is left, also by an error or Ctrl-C: they may write into memory that
    the caller then lets go.
    """
    first, *others = calls
    if not others:
        return [first()]
    given = [_pool(len(others)).submit(call) for call in others]
    try:
        return [first(), *(done.result() for done in given)]
    except BaseException:
        concurrent.futures.wait(given)
        raise
