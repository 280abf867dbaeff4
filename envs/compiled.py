"""Compiled: functions for CPU cores by numba, kept on disk where there is a place for them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function, **options: Any) -> _Function:
    """Compile `function` when it is first called; the next process finds it on disk.

    numba looks for a place in NUMBA_CACHE_DIR, beside the function's file and in the user's own cache.
    Where none of them can be written (a read-only installation, a user without a home), every process
    compiles anew, and one warning says so.

    Args:
        options: of `numba.njit`, but for `cache`.
    """
    try:
        cached: Any = njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _warn_once()
        cached = njit(**options)(function)
    return cached  # type: ignore[no-any-return]


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        "no folder for compiled games can be written (neither the package's, nor one in HOME, nor "
        "NUMBA_CACHE_DIR): every process compiles them anew, which takes seconds to minutes; set "
        "NUMBA_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=3,
    )
