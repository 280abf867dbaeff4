"""Deciding: a bot's rules, asked once in each of many matches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from envs.compiled import bound, compiled

Rules = Callable[[Any, Any, int, float, int, Any], int]
"""`rules(observation, legal, seat, tie, columns, notes) -> action`, compiled; see `agents.play.bots`."""

rules: Any = None  # bound by `batched`


def _decide_all(
    observation: Any, legal: Any, seat: Any, tie: Any, columns: int, notes: Any, rows: Any, actions: Any
) -> None:
    """One decision in each of the matches `rows` [R]; `notes` [B, P, A] are those of all matches."""
    for k in range(len(rows)):
        own = notes[rows[k], seat[k]]
        actions[k] = rules(observation[k], legal[k], seat[k], tie[k], columns, own)


@functools.cache
def batched(rules: Rules) -> Callable[..., None]:
    """`_decide_all` by these rules, compiled; bound like a game's kernel (see `envs.kernels`)."""
    return compiled(bound(_decide_all, rules.__name__, {"rules": rules}), calls=[rules], nogil=True)
