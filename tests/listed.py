"""The listed games as tests play them that would take too long on their default sizes."""

from __future__ import annotations

from typing import Any

import envs

SMALL: dict[str, dict[str, Any]] = {"generals": {"rows": 4, "cols": 4, "max_ticks": 12}}
LISTED = [(name, SMALL.get(name, {})) for name in envs.GAMES]


def small(name: str) -> envs.Game:
    return envs.make(name, **SMALL.get(name, {}))


PLAIN = envs.make("generals", map="A.../..../..../...B")
"""Generals on 4 x 4 cells without mountains or castles."""
