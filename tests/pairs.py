"""Every pair of two lists: all in the slow suite, in the fast one as many as name each entry of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def pairs(one: Iterable[Any], two: Iterable[Any]) -> list[Any]:
    """Of 2 and 3 entries (a1, b1), (a2, b2) and (a1, b3) are fast; the other three are marked slow."""
    one, two = list(one), list(two)
    fast = {(k % len(one), k % len(two)) for k in range(max(len(one), len(two)))}
    return [
        pytest.param(a, b, marks=() if (i, j) in fast else pytest.mark.slow)
        for i, a in enumerate(one)
        for j, b in enumerate(two)
    ]
