"""The arguments of `MaskableRecurrentPPO` as data: what a file says of them, and what it may say."""

from __future__ import annotations

import dataclasses
import reprlib
from typing import Any, NamedTuple

from agents.net import settings
from agents.net.schedules import SCHEDULES
from envs.names import known

ARGUMENTS = (
    "learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range",
    "clip_range_vf", "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm", "target_kl",
    "kl_coef", "magnet_coef", "shaping_coef",
    "magnet_every", "ema_decay", "snapshot_every", "seed",
)  # fmt: skip
"""Those that a file keeps, beside `magnet`."""

MAGNETS = ("uniform", "snapshot", "ema")


class Coded(NamedTuple):
    """Stands for an argument that is code, which a file only describes."""

    text: str


def code_name(value: Any) -> str:
    """What a function, or the class of something that is called like one, is called."""
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def as_data(value: Any) -> Any:
    """An argument as JSON: numbers as they are, our schedules by name; of code only what it is called."""
    if not settings.is_kept(value):
        return {"code": code_name(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = next(name for name, kind in SCHEDULES.items() if kind is type(value))
        return {"schedule": name, "arguments": dataclasses.asdict(value)}
    return value


def read_arguments(told: Any) -> dict[str, Any]:
    """The arguments that a file names, checked, our schedules made; `Coded` where they are code.

    Raises:
        ValueError, TypeError: it says what it may not.
    """
    if not isinstance(told, dict):
        raise ValueError(f"arguments must be an object, got {reprlib.repr(told)}")
    arguments: dict[str, Any] = {"ema_decay": 0.0, "magnet": "uniform"}
    for name, value in told.items():
        if name == "magnet" and value in MAGNETS:
            arguments[name] = value
        elif name in ARGUMENTS:
            arguments[name] = _read_argument(name, value)
        else:
            raise ValueError(f"no file may say {name} = {reprlib.repr(value)}")
    return arguments


def _read_argument(name: str, value: Any) -> Any:
    """What `as_data` wrote."""
    if isinstance(value, dict) and set(value) == {"code"} and settings.SETTINGS[name].may_change:
        return Coded(reprlib.repr(value["code"]))
    if isinstance(value, dict):
        schedule, fields = str(value.get("schedule")), value.get("arguments")
        is_known = set(value) == {"schedule", "arguments"} and schedule in SCHEDULES
        if not is_known or not isinstance(fields, dict):
            raise ValueError(
                f"{name} is no schedule: {reprlib.repr(value)}; known are {known(schedule, SCHEDULES)}"
            )
        value = SCHEDULES[schedule](**fields)
    return settings.check(name, value)
