"""Settings: what each may be, read from the records that hold them; here are those of the networks.

A setting stands once: as a field of a record, with its type, its default, its range (`Range`, in the type's
annotation) and a paragraph below it. `SETTINGS` is read from the records, and `check` refuses what lies
outside, in one line, before anything has been trained.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import torch

Kind = Literal["whole", "number", "truth", "choice"]

MOST = 2**31 - 1
"""No count is larger."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Where a number may lie."""

    low: float = -math.inf
    high: float = math.inf
    is_low_allowed: bool = True
    is_high_allowed: bool = True

    def holds(self, value: float) -> bool:
        """`value` lies in it, and is finite."""
        try:
            is_finite = math.isfinite(value)
        except OverflowError:  # a whole number beyond what a float holds
            return False
        is_above = value >= self.low if self.is_low_allowed else value > self.low
        is_below = value <= self.high if self.is_high_allowed else value < self.high
        return is_finite and is_above and is_below

    def __str__(self) -> str:
        """As in " of at least 0, below 1"."""
        low, high = f"{self.low:.10g}", f"{self.high:.10g}"
        if self.low > -math.inf and self.high < math.inf and self.is_low_allowed and self.is_high_allowed:
            return f" in {low}..{high}"
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"of at least {low}" if self.is_low_allowed else f"above {low}")
        if self.high < math.inf:
            bounds.append(f"at most {high}" if self.is_high_allowed else f"below {high}")
        return " " + ", ".join(bounds) if bounds else ""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting and the values it may have."""

    name: str
    kind: Kind
    range: Range
    may_be_none: bool = False
    choices: tuple[str, ...] = ()
    may_change: bool = False
    """A schedule may stand for it, see `agents.learn.settings`."""

    @property
    def allowed(self) -> str:
        """As in "a number of at least 0, below 1"."""
        if self.kind == "truth":
            text = "True or False"
        elif self.kind == "choice":
            *most, last = (repr(choice) for choice in self.choices)
            text = f"{', '.join(most)} or {last}"
        else:
            text = ("a whole number" if self.kind == "whole" else "a finite number") + str(self.range)
        return text + (", or None" if self.may_be_none else "")

    def holds(self, value: Any) -> bool:
        """`value`, a plain one, is allowed (None aside)."""
        if self.kind == "truth":
            return isinstance(value, bool)
        if self.kind == "choice":
            return isinstance(value, str) and value in self.choices
        wanted = (int,) if self.kind == "whole" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool) and self.range.holds(value)

    def check(self, value: Any, where: str = "") -> Any:
        """`value` as Python's own number, truth value or text, if the setting may have it.

        Args:
            where: stands before the name in the message.

        Raises:
            ValueError: it may not; the message names the setting, what came and what is allowed.
        """
        value = plain_number(value)
        if not (self.holds(value) or (value is None and self.may_be_none)):
            raise ValueError(f"{where}{self.name} must be {self.allowed}, got {value!r:.80}")
        return value


SETTINGS: dict[str, Setting] = {}
"""Every setting by its name; records add theirs, see `a_record`."""

Record = TypeVar("Record")


def a_record(kind: type[Record], changing: type[Setting] = Setting) -> type[Record]:
    """Add the fields of a record to `SETTINGS`: numbers with a `Range`, truth values and choices.

    Args:
        kind: a dataclass. Of a list or dict of numbers each one is what the setting may be.
        changing: what a field becomes that may be a schedule.
    """
    for name, hint in get_type_hints(kind, include_extras=True).items():
        parts = list(_parts(hint))
        limits = next((part for part in parts if isinstance(part, Range)), None)
        choices = tuple(choice for part in parts if get_origin(part) is Literal for choice in get_args(part))
        may_be_none, may_change = type(None) in parts, any(get_origin(part) is Callable for part in parts)
        what: Kind = "whole" if int in parts else "number"
        if limits is not None:
            made = changing if may_change else Setting
            SETTINGS[name] = made(name, what, limits, may_be_none, (), may_change)
        elif choices:
            SETTINGS[name] = Setting(name, "choice", Range(), may_be_none, choices)
        elif bool in parts:
            SETTINGS[name] = Setting(name, "truth", Range(), may_be_none)
    return kind


def _parts(hint: Any) -> Iterator[Any]:
    """What a type is made of: the kinds in a union, a list or a dict, and their annotations."""
    if get_origin(hint) in (Literal, Callable) or not get_args(hint):
        yield hint
    else:
        yield from (part for inner in get_args(hint) for part in _parts(inner))


def check(name: str, value: Any, where: str = "") -> Any:
    """`Setting.check` of the setting called `name`."""
    return SETTINGS[name].check(value, where)


def check_all(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """`values` with those that are settings checked and made plain; of lists and dicts what they hold."""
    return {
        name: _checked(name, value, where) if name in SETTINGS else value for name, value in values.items()
    }


def _checked(name: str, value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _checked(name, item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_checked(name, item, where) for item in value]
    return check(name, value, where)


def check_fields(record: Any) -> None:
    """Check the fields of a frozen record and make them plain, at the end of its making."""
    for name, value in check_all(vars(record)).items():
        object.__setattr__(record, name, value)


# ---------------------------------------------------------------- the settings of the networks

Count = Annotated[int, Range(1, MOST)]


@a_record
@dataclasses.dataclass(frozen=True)
class Network:
    """What a `RecurrentPolicy` is made of; names are sb3-contrib's where it has them.

    These are Python's defaults. Self-play begins with three others, see
    `agents.run.config.SELF_PLAY_NETWORK`.
    """

    cell: str = "gated"
    """Recurrent cell: elman, gated, lstm, gru, feedforward for no memory, or module:Name of one of your own.
    `gated` has a quarter of an LSTM's recurrent weights and is the one to begin with."""
    lstm_hidden_size: Count = 256
    """Units of a cell, of whichever kind; of a spatial policy per square. Usual are 32 to 256, on squares 16
    to 32: more where much must be remembered, fewer where speed counts."""
    n_lstm_layers: Annotated[int, Range(1, 2**10)] = 1
    """Cells on top of each other. One is usual; a second rarely pays for its time."""
    lstm_kwargs: dict[str, float | str] = dataclasses.field(default_factory=dict)
    """Options of the cell, such as forget_bias and chrono, and dropout between the layers. Give chrono about
    the length of a match where an early observation decides late."""
    shared_lstm: bool = False
    """The critic reads the actor's core: half the work. Usual in self-play, where both need to remember the
    same."""
    enable_critic_lstm: bool = True
    """The critic has a core of its own. Switch it off to share the actor's, or for a critic without
    memory."""
    detach_critic: bool = False
    """Keep the critic's gradient out of a shared core, as sb3-contrib does. Switch it on if the value loss,
    large beside the policy's, spoils what the core remembers."""
    features_dim: Count = 128
    """Outputs of the encoder; of a spatial policy per square. Usual are 64 to 256, on squares 16 to 32."""
    net_arch: Annotated[list[int] | dict[str, list[int]], Range(1, MOST)] = dataclasses.field(
        default_factory=list
    )
    """Widths of the layers between the core and each head, for both heads, or {pi: [...], vf: [...]}. None
    are usual; one of 64 for the value helps where rewards are rich."""
    activation_fn: Literal["tanh", "relu", "silu"] = "tanh"
    """Activation of encoder and heads. tanh is usual, relu on boards."""
    skip_connection: bool = False
    """The heads read the features beside the core's output, which then need not carry what can be seen at the
    moment. Switch it on where most of a decision shows in what is seen."""
    previous_action: bool = True
    """Feed the seat's own previous action to the core. Leave it on where an observation does not show it."""
    seat_input: bool = True
    """Feed the seat to the core; with one seat there is nothing to feed. Leave it on unless the seats are
    alike."""
    spatial: bool = False
    """Features, memory and logits for every square of a board, with the same weights, so that a policy of one
    size of board can play on another. For games whose observation is planes of a board, such as generals."""
    log_std_init: Annotated[float, Range(-20.0, 20.0)] = 0.0
    """Logarithm of the deviations of Box actions at the beginning, of no use elsewhere. 0 is usual; -1 or -2
    where actions are small or training begins too wildly."""

    def __post_init__(self) -> None:
        """Refuse what no network can have.

        Raises:
            ValueError: names the setting, what came and what is allowed.
        """
        check_fields(self)
        object.__setattr__(self, "lstm_kwargs", check_all(self.lstm_kwargs, "lstm_kwargs."))


@a_record
@dataclasses.dataclass(frozen=True)
class CoreOptions:
    """What `lstm_kwargs` may say in numbers, of whichever cell (each has some of them) and of the layers."""

    dropout: Annotated[float, Range(0.0, 1.0, is_high_allowed=False)] = 0.0
    """Share left out between the layers; needs two of them. Usual are 0 to 0.2."""
    forget_bias: Annotated[float, Range(-100.0, 100.0)] = 1.0
    """Bias of the gate that keeps, at the beginning (gru: 0). Larger ones remember longer."""
    chrono: Annotated[float, Range(0.0, 1e9)] = 0.0
    """Steps that a fresh cell remembers, in place of forget_bias; 0 = off, else at least 2."""


@a_record
@dataclasses.dataclass(frozen=True)
class TokenNetwork:
    """What a `TokenModel` is made of, the textbook's network of an embedding, cells and a softmax."""

    cell: str = "gated"
    """Recurrent cell: elman, gated, lstm, gru, feedforward for no memory, or module:Name of one of your own.
    With feedforward it knows the token before and nothing else."""
    embedding_dim: Count = 64
    """Numbers that stand for a token. Usual are 16 to 256: fewer for a dozen tokens, more for thousands."""
    lstm_hidden_size: Count = 128
    """Units of a cell, of whichever kind. Usual are 64 to 512; fewer of them overfit less."""
    n_lstm_layers: Annotated[int, Range(1, 2**10)] = 2
    """Cells on top of each other. Two are the textbook's; a third rarely pays for its time."""
    lstm_kwargs: dict[str, float | str] = dataclasses.field(default_factory=dict)
    """Options of the cell, such as forget_bias and chrono. What they do is as in `Network`."""
    dropout: Annotated[float, Range(0.0, 1.0, is_high_allowed=False)] = 0.0
    """Share left out, while it trains, of what the embedding and each cell hand on. Usual are 0.1 to 0.5
    where the training data are learned by heart, 0 where there are plenty."""

    def __post_init__(self) -> None:
        """Refuse what no network can have.

        Raises:
            ValueError: names the setting, what came and what is allowed.
        """
        check_fields(self)
        object.__setattr__(self, "lstm_kwargs", check_all(self.lstm_kwargs, "lstm_kwargs."))


# ---------------------------------------------------------------- plain values


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
