"""The listed games as tests play them that would take too long on their default sizes."""

from __future__ import annotations

from typing import Any

import envs

SMALL: dict[str, dict[str, Any]] = {"generals": {"rows": 4, "cols": 4, "max_ticks": 20}}
LISTED = [(name, SMALL.get(name, {})) for name in envs.GAMES]


def small(name: str) -> envs.Game:
    return envs.make(name, **SMALL.get(name, {}))
