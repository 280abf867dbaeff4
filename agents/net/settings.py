"""The settings of training and of the networks: what each may be, and plain numbers of what is given.

One record a setting; `check` refuses what lies outside, in one line, before anything has been trained.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from agents.net.schedules import SCHEDULES

Kind = Literal["whole", "number", "truth"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting and the values it may have."""

    name: str
    kind: Kind
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    is_low_allowed: bool = True
    is_high_allowed: bool = True
    may_be_none: bool = False
    may_change: bool = False
    """A schedule may stand for it: a function of the progress that remains, 1 to 0."""

    @property
    def allowed(self) -> str:
        """As in "a number of at least 0, below 1"."""
        if self.kind == "truth":
            text = "True or False"
        else:
            text = "a whole number" if self.kind == "whole" else "a finite number"
            low, high = f"{self.low:.10g}", f"{self.high:.10g}"
            if self.low > -math.inf and self.high < math.inf and self.is_low_allowed and self.is_high_allowed:
                text += f" in {low}..{high}"
            else:
                bounds = []
                if self.low > -math.inf:
                    bounds.append(f"of at least {low}" if self.is_low_allowed else f"above {low}")
                if self.high < math.inf:
                    bounds.append(f"at most {high}" if self.is_high_allowed else f"below {high}")
                text += " " + ", ".join(bounds) if bounds else ""
        text += ", or a schedule of such" if self.may_change else ""
        return text + (", or None" if self.may_be_none else "")

    def holds(self, value: Any) -> bool:
        """`value`, a plain one, is allowed (schedules aside)."""
        if self.kind == "truth":
            return isinstance(value, bool)
        wanted = (int,) if self.kind == "whole" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            return False
        try:
            is_finite = math.isfinite(value)
        except OverflowError:  # a whole number beyond what a float holds
            return False
        is_above = value >= self.low if self.is_low_allowed else value > self.low
        is_below = value <= self.high if self.is_high_allowed else value < self.high
        return is_finite and is_above and is_below


def _count(name: str, meaning: str, most: float = 2**31 - 1) -> Setting:
    return Setting(name, "whole", meaning, 1, most)


def _weight(name: str, meaning: str, may_change: bool = True) -> Setting:
    return Setting(name, "number", meaning, 0.0, may_change=may_change)


def _truth(name: str, meaning: str) -> Setting:
    return Setting(name, "truth", meaning)


SETTINGS = {
    setting.name: setting
    for setting in (
        _weight("learning_rate", "Adam's step size"),
        _count("n_steps", "decisions of each match in a rollout"),
        _count("batch_size", "decisions in a minibatch"),
        _count("n_epochs", "passes over each rollout"),
        Setting("gamma", "number", "discount per own decision", 0.0, 1.0),
        Setting("gae_lambda", "number", "lambda of the advantages", 0.0, 1.0),
        Setting("clip_range", "number", "how far the ratio may move", 0.0, 1.0, may_change=True),
        Setting(
            "clip_range_vf", "number", "the same for the value", 0.0, is_low_allowed=False, may_be_none=True,
            may_change=True,
        ),
        _truth("normalize_advantage", "scale a minibatch's advantages to mean 0 and deviation 1"),
        _weight("ent_coef", "weight of the entropy bonus"),
        _weight("vf_coef", "weight of the value loss", may_change=False),
        Setting("max_grad_norm", "number", "norm the gradient is clipped to", 0.0, is_low_allowed=False),
        Setting(
            "target_kl", "number", "KL divergence that ends an update early", 0.0, is_low_allowed=False,
            may_be_none=True,
        ),
        _weight("kl_coef", "weight of the reverse KL to the policy that played"),
        _weight("magnet_coef", "weight of the KL to the magnet"),
        _count("magnet_every", "updates between two snapshots of the magnet"),
        _weight("shaping_coef", "weight of the game's potential in the shaping of rewards"),
        Setting(
            "ema_decay", "number", "decay of the averaged weights per gradient step", 0.0, 1.0,
            is_high_allowed=False,
        ),
        _count("snapshot_every", "updates between two past selves"),
        _count("stats_window_size", "episodes that the logged means are over"),
        Setting("seed", "whole", "of everything that is drawn", 0, 2**32 - 1, may_be_none=True),
        # of the networks
        _count("lstm_hidden_size", "units of a cell"),
        _count("n_lstm_layers", "cells on top of each other", 2**10),
        _count("features_dim", "outputs of the encoder"),
        _count("net_arch", "width of a layer between the core and a head"),
        _truth("shared_lstm", "the critic reads the actor's core"),
        _truth("enable_critic_lstm", "the critic has a core of its own"),
        _truth("detach_critic", "keep the critic's gradient out of a shared core"),
        _truth("skip_connection", "the heads read the features beside the core's output"),
        _truth("previous_action", "feed the seat's own previous action to the core"),
        _truth("seat_input", "feed the seat to the core"),
        _truth("spatial", "features, memory and logits for every square of a board"),
        Setting("log_std_init", "number", "logarithm of the deviations at the beginning", -20.0, 20.0),
        Setting("dropout", "number", "share left out between the layers", 0.0, 1.0, is_high_allowed=False),
        Setting("forget_bias", "number", "bias of the gate that keeps, at the beginning", -100.0, 100.0),
        Setting("chrono", "number", "steps that a fresh cell remembers; 0 = off, else at least 2", 0.0, 1e9),
    )
}  # fmt: skip
"""Every setting by its name."""

PROBES = (1.0, 0.5, 0.0)
"""The progress that remains where a schedule is looked at before training."""


def check(name: str, value: Any, where: str = "") -> Any:
    """`value` as Python's own number, truth value or schedule, if the setting may have it.

    Args:
        where: stands before the name in the message.

    Raises:
        ValueError: it may not; the message names the setting, what came and what is allowed.
    """
    setting, value = SETTINGS[name], plain_number(value)
    if value is None and setting.may_be_none:
        return None
    if callable(value) and setting.may_change:
        return _checked_schedule(setting, value, where)
    if not setting.holds(value):
        raise ValueError(f"{where}{name} must be {setting.allowed}, got {value!r:.80}")
    return value


def check_all(values: Mapping[str, Any], where: str = "", skip_none: bool = False) -> None:
    """`check` for those of `values` that are settings, lists of them too; None passes if `skip_none`."""
    for name, value in values.items():
        if name not in SETTINGS or (value is None and skip_none):
            continue
        for item in value if isinstance(value, list) else [value]:
            check(name, item, where)


def _checked_schedule(setting: Setting, schedule: Any, where: str) -> Any:
    if type(schedule) in SCHEDULES.values():  # a record: its fields become Python's own
        fields = {
            field.name: plain_number(getattr(schedule, field.name)) for field in dataclasses.fields(schedule)
        }
        for field, value in fields.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(
                    f"{where}{setting.name}: {field} of its schedule must be a finite number, got {value!r}"
                )
        schedule = type(schedule)(**fields)
    for progress in PROBES:
        try:
            value = plain_number(schedule(progress))
        except Exception as error:
            raise ValueError(
                f"{where}{setting.name}: its schedule fails where {progress} of the run remain ({error})"
            ) from error
        # It may fall to a bound that a number that stays may not have.
        one = dataclasses.replace(setting, may_change=False, may_be_none=False, is_low_allowed=True)
        if not one.holds(value):
            raise ValueError(
                f"{where}{setting.name} must be {one.allowed}, got {value!r:.80} of its schedule where "
                f"{progress} of the run remain"
            )
    return schedule


def is_kept(schedule: Any) -> bool:
    """A file can hold it: a number, or one of `SCHEDULES`; functions of other kinds are code."""
    return not callable(schedule) or type(schedule) in SCHEDULES.values()


def plain_number(value: Any) -> Any:
    """NumPy's and torch's scalars as Python's own; anything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 0):
        return value.item()
    if isinstance(value, numbers.Integral) and not isinstance(value, int):
        return int(value)
    return value


def plain(value: Any, where: str) -> Any:
    """`value` as a JSON file gives it back: Python's own numbers and text, lists, dicts with text as keys.

    Raises:
        ValueError: something in it is none of these, or no finite number; `where` names it.
    """
    value = plain_number(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{where}: expected text as keys, got {key!r:.80}")
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (np.ndarray, torch.Tensor)):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [plain(item, f"{where}[{k}]") for k, item in enumerate(value)]
    is_plain = value is None or isinstance(value, (bool, int, str))
    if not is_plain and not (isinstance(value, float) and math.isfinite(value)):
        raise ValueError(
            f"{where} must be what a JSON file holds (finite numbers, text, True, False, None, lists and "
            f"dicts of these), got {value!r:.80}"
        )
    return value
