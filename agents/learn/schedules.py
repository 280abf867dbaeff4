"""Numbers that change over a run: learning rate, entropy and magnet weights.

Wherever a setting may be a number or a schedule, the two are written in one way: `0.001`, or a mapping with
the schedule's name, `{linear: 3e-3}`, `{power: {initial: 1e-3, exponent: 0.3}}`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from envs.names import known

Schedule = Callable[[float], float]
"""A number as a function of the progress that remains, 1 at the beginning and 0 at the end (SB3's)."""


@dataclasses.dataclass(frozen=True)
class Power:
    """The schedule initial / (1 + n) ** exponent, where n grows from 0 to `span` over the run."""

    initial: float
    exponent: float = 0.3
    span: float = 1000.0

    def __call__(self, progress_remaining: float) -> float:
        """The number where `progress_remaining` of the run is left."""
        return float(self.initial / (1.0 + self.span * (1.0 - progress_remaining)) ** self.exponent)


@dataclasses.dataclass(frozen=True)
class Linear:
    """The schedule that falls from `initial` to 0 in a straight line."""

    initial: float

    def __call__(self, progress_remaining: float) -> float:
        """The number where `progress_remaining` of the run is left."""
        return self.initial * progress_remaining


@dataclasses.dataclass(frozen=True)
class Constant:
    """The schedule that stays."""

    initial: float

    def __call__(self, _: float) -> float:
        """The number, wherever the run is."""
        return self.initial


SCHEDULES: dict[str, type[Constant] | type[Linear] | type[Power]] = {
    "constant": Constant,
    "linear": Linear,
    "power": Power,
}


def is_kept(value: Any) -> bool:
    """A file can hold it: a number, or one of `SCHEDULES`; functions of other kinds are code."""
    return not callable(value) or type(value) in SCHEDULES.values()


def at(value: float | Schedule, progress_remaining: float) -> float:
    """The number that a number or schedule is where `progress_remaining` of the run is left."""
    return float(value(progress_remaining)) if callable(value) else float(value)


def made(told: Any, where: str) -> Any:
    """A number or schedule from what a file says of it; what is no mapping as it came.

    Args:
        told: a number, or a mapping such as {"linear": 3e-3}.
        where: what it is called, for the message.

    Raises:
        ValueError: it is a mapping, but names no schedule, or more than one, or not what that one needs.
    """
    if not isinstance(told, Mapping):
        return told
    if len(told) != 1 or (name := str(next(iter(told)))) not in SCHEDULES:
        names = known(next(iter(told), ""), SCHEDULES)
        raise ValueError(
            f"{where} must be a number or one schedule, such as {{linear: 3e-3}}, got {dict(told)!r:.80}; "
            f"known are {names}"
        )
    (given,) = told.values()
    arguments = dict(given) if isinstance(given, Mapping) else {"initial": given}
    fields = [field.name for field in dataclasses.fields(SCHEDULES[name])]
    for argument, value in arguments.items():
        if argument not in fields:
            raise ValueError(f"{where}.{name} has no {argument!r}; known are {known(argument, fields)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{where}.{name}.{argument} must be a number, got {value!r:.80}")
    if "initial" not in arguments:
        raise ValueError(f"{where}.{name} needs initial, the number it begins with, got {arguments}")
    return SCHEDULES[name](**{argument: _as_float(value) for argument, value in arguments.items()})


def _as_float(value: int | float) -> int | float:
    """A whole number as a float; one beyond every float stays, for `check` to refuse."""
    try:
        return float(value)
    except OverflowError:
        return value


def written(value: Any) -> Any:
    """A number or schedule as a file says it, see `made`; a schedule with one argument by that alone."""
    for name, kind in SCHEDULES.items():
        if type(value) is kind:
            arguments = dataclasses.asdict(value)
            return {name: arguments["initial"] if len(arguments) == 1 else arguments}
    return value
