"""Compiled functions: kept where there is a folder for it, and compiled without one where there is none."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from envs.compiled import _warn_once, compiled


def nowhere(monkeypatch):
    """Every place that numba might keep compiled functions in is refused."""
    monkeypatch.setattr("numba.core.caching._CacheLocator.ensure_cache_path", refuse)
    _warn_once.cache_clear()


def refuse(_locator):
    raise PermissionError(13, "Permission denied")


def double(x):
    return 2 * x


def add(x, y):
    return x + y


def test_where_nothing_can_be_written_functions_are_compiled_without_a_cache(monkeypatch):
    nowhere(monkeypatch)
    with pytest.warns(RuntimeWarning, match="set NUMBA_CACHE_DIR to a folder that can be written") as told:
        doubled, added = compiled(double), compiled(add, nogil=True)
    assert len(told) == 1  # said once, not for every function
    assert (doubled(21), added(40, 2)) == (42, 42)
    assert not doubled.stats.cache_path  # type: ignore[attr-defined]


def test_with_a_folder_for_it_functions_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled(double)(np.int64(4)) == 8
    assert [path.suffix for path in sorted(tmp_path.rglob("*.nb?"))] == [".nbc", ".nbi"]


def test_other_faults_of_a_function_are_not_hidden(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl.__init__", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(double)


def broken(_cache, _function):
    raise RuntimeError("something else")
