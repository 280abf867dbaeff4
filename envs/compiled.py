"""Compiled: functions for CPU cores by numba, kept on disk where there is a place for them."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast

from numba import njit

from envs import sources

_Function = TypeVar("_Function", bound=Callable[..., Any])

DIGEST: Final = "digest"
"""The attribute of a compiled function's Python function that holds the digest it had when it was made."""


def compiled(function: _Function, calls: Iterable[Callable[..., Any]] = (), **options: Any) -> _Function:
    """Compile `function` when it is first called; the next process finds it on disk.

    It is kept under its name and a digest of the files that its code comes from (`envs.sources`), so that no
    stale rule ever runs; what comes from no file is not kept. numba looks for a place in NUMBA_CACHE_DIR,
    beside the function's file and in the user's own cache. Where none of them can be written (a read-only
    installation, a user without a home), every process compiles anew, and one warning says so.

    Args:
        calls: what it calls by names that were bound to it, see `bound`.
        options: of `numba.njit`, but for `cache`.
    """
    sources.HOMES.add(function.__module__)
    known = [_told(called) for called in calls]
    told = [one for one in known if one is not None]
    digest = sources.digest(function, told) if len(told) == len(known) else None
    if digest is None:
        uncached: _Function = njit(**options)(function)
        return uncached
    vars(function)[DIGEST] = digest
    function.__qualname__ = f"{function.__qualname__}_{digest}"
    try:
        cached: _Function = njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _warn_once()
        cached = njit(**options)(function)
    return cached


def _told(called: Callable[..., Any]) -> str | None:
    """What tells a compiled function and its code; None if no file does, as it is not kept, or was made by
    another call, with values of that call."""
    function = getattr(called, "py_func", called)
    if DIGEST not in vars(function) or function.__closure__:
        return None
    return f"{function.__module__}.{function.__qualname__}:{function.__code__.co_firstlineno}"


def bound(template: Callable[..., Any], label: str, names: dict[str, Any]) -> Callable[..., Any]:
    """A copy of `template` in which the globals `names` are others, named after both.

    A copy with plain globals, unlike a closure, is found again in numba's disk cache.
    """
    copy = types.FunctionType(template.__code__, {**template.__globals__, **names}, template.__name__)
    copy.__qualname__ = f"{template.__name__}_{label}"
    copy.__module__ = template.__module__
    return copy


def once(function: _Function) -> _Function:
    """`functools.cache`, keeping the function's type."""
    return cast(_Function, functools.cache(function))


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        "no folder for compiled games can be written (neither the package's, nor one in HOME, nor "
        "NUMBA_CACHE_DIR): every process compiles them anew, which takes seconds to minutes; set "
        "NUMBA_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=3,
    )
