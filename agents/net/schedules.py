"""Numbers that change over a run: learning rate, entropy and magnet weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

Schedule = Callable[[float], float]
"""A number as a function of the progress that remains, 1 at the beginning and 0 at the end (SB3's)."""


@dataclasses.dataclass(frozen=True)
class Power:
    """The schedule initial / (1 + n) ** exponent, where n grows from 0 to `span` over the run."""

    initial: float
    exponent: float = 0.3
    span: float = 1000.0

    def __call__(self, progress_remaining: float) -> float:
        return float(self.initial / (1.0 + self.span * (1.0 - progress_remaining)) ** self.exponent)


@dataclasses.dataclass(frozen=True)
class Linear:
    """The schedule that falls from `initial` to 0 in a straight line."""

    initial: float

    def __call__(self, progress_remaining: float) -> float:
        return self.initial * progress_remaining


@dataclasses.dataclass(frozen=True)
class Constant:
    """The schedule that stays."""

    initial: float

    def __call__(self, progress_remaining: float) -> float:  # noqa: ARG002
        return self.initial


SCHEDULES: dict[str, type[Constant] | type[Linear] | type[Power]] = {
    "constant": Constant,
    "linear": Linear,
    "power": Power,
}
