"""Records from plain data and back: every key checked, every error with its path and in one line.

A record is a frozen dataclass; what is plain is what YAML and JSON hold. (pyproject.toml tells how this
compares with the libraries that do the like.)
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from agents.learn import schedules
from agents.learn.schedules import Schedule
from envs.names import known

Record = TypeVar("Record")

OLDER = "_schedule"
"""Once a schedule's name stood beside its number, under the number's key and this."""


def read_record(kind: type[Record], values: Any, where: str = "", default: Record | None = None) -> Record:
    """A record of `kind` from a mapping.

    Args:
        where: the path of its key, "" or with a point behind.
        default: what `values` does not name is taken from it; None = from the fields' own defaults.

    Raises:
        ValueError: a key is unknown, or a value does not fit; the message names its path.
    """
    given = read_fields(kind, values, where, default)
    return make_record(kind, given if default is None else {**_fields(default), **given}, where)


def make_record(kind: type[Record], values: Mapping[str, Any], where: str) -> Record:
    """`kind(**values)`; what it refuses is told with the path `where`."""
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error


def read_fields(kind: type[Any], values: Any, where: str, default: Any = None) -> dict[str, Any]:
    """Those fields of a record that a mapping names, each as its type asks; see `read_record`."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where.rstrip('.') or 'the file'} must be a mapping of keys, got {values!r:.80}")
    hints, usual = get_type_hints(kind), defaults(kind) if default is None else _fields(default)
    values = _newer(kind, values, where, usual)
    for key in values:
        if key not in hints:
            raise ValueError(f"unknown key {where + str(key)!r}; known are {known(key, hints)}")
    return {key: _value(hints[key], x, where + key, usual.get(key)) for key, x in values.items()}


def plain(value: Any) -> Any:
    """A record, or what stands in one, as plain data that `read_record` reads as the same."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not callable(value):
        return {name: plain(x) for name, x in _fields(value).items()}
    if isinstance(value, Mapping):
        return {name: plain(x) for name, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    return schedules.written(value)


def _newer(
    kind: type[Any], values: Mapping[Any, Any], where: str, usual: Mapping[str, Any]
) -> dict[Any, Any]:
    """`values` as written today: `learning_rate_schedule: linear` becomes `learning_rate: {linear: ...}`.

    Without a number beside it the schedule begins where the usual one does.

    Raises:
        ValueError: there is no such schedule, or the number is one already.
    """
    hints, newer = get_type_hints(kind), dict(values)
    for key in values:
        name = str(key).removesuffix(OLDER)
        if key in hints or name not in hints or not _may_change(hints[name]) or not str(key).endswith(OLDER):
            continue
        schedule, number = newer.pop(key), newer.get(name)
        if schedule not in schedules.SCHEDULES or isinstance(number, Mapping):
            raise ValueError(f"{where}{key} is no longer a key: write {where}{name}: {{linear: 0.001}}, say")
        first = usual.get(name)
        if number is None:
            if schedule == "constant" and not callable(first):
                continue  # as usual
            number = getattr(first, "initial", first)
        newer[name] = number if schedule == "constant" else {schedule: number}
    return newer


def _value(kind: Any, value: Any, where: str, default: Any = None) -> Any:
    """`value` as the type `kind`, or ValueError. A whole number passes for a float, and `1e6` for an int."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return read_record(cast(type, kind), value, where + ".", default)
    if _may_change(kind) and (isinstance(value, Mapping) or callable(value)):
        return schedules.made(value, where)
    if origin is list and isinstance(value, list):
        return [_value(arguments[0], item, f"{where}[{k}]") for k, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {
            _value(arguments[0], k, where): _value(arguments[1], v, f"{where}.{k}") for k, v in value.items()
        }
    if origin is Literal and value in arguments:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(kind, value, where)
    if kind is float and _is_number(value) and _is_finite(value):
        return float(value)
    if kind is int and _is_number(value) and _is_finite(value) and value == int(value):
        return int(value)
    if kind in (str, bool) and type(value) is kind:
        return value
    raise _misfit(kind, value, where)


def _one_of(kind: Any, value: Any, where: str) -> Any:
    """`value` as the first type of a union that it fits; of a list or a mapping the error says which part."""
    misfit = _misfit(kind, value, where)
    for option in get_args(kind):
        if option is Schedule or (option is type(None) and value is not None):
            continue
        if option is type(None):
            return None
        try:
            return _value(option, value, where)
        except ValueError as error:
            if get_origin(option) in (list, dict) and isinstance(value, cast(type, get_origin(option))):
                misfit = error
    raise misfit


def _misfit(kind: Any, value: Any, where: str) -> ValueError:
    arguments = get_args(kind)
    expected = kind.__name__ if get_origin(kind) is None else str(kind).replace("typing.", "")
    if _may_change(kind):
        none = " or None" if type(None) in arguments else ""
        expected = f"a number or a schedule such as {{linear: 0.001}}{none}"
    reason = ""
    if _is_number(value) and not _is_finite(value):
        reason = " (a finite number is needed)"
    elif _is_number(value) and (kind is int or (float not in arguments and int in arguments)):
        reason = " (a whole number is needed)"
    return ValueError(f"{where} must be {expected}, got {value!r:.80}{reason}")


def _may_change(kind: Any) -> bool:
    """It is a number or a schedule."""
    return Schedule in get_args(kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond every float
        return False


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def defaults(kind: Any) -> dict[str, Any]:
    """What the fields of a dataclass are where nobody says, as far as they need not be said."""
    factories = {field.name: field.default_factory for field in dataclasses.fields(kind)}
    told = {field.name: field.default for field in dataclasses.fields(kind)}
    made = {name: make() for name, make in factories.items() if callable(make)}
    return {name: x for name, x in told.items() if x is not dataclasses.MISSING} | made
