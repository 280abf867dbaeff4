"""Settings as flags: `--section.name value` for every one there is, whether a file names them or not (edge:
tyro).

What may be set depends on what is chosen (see `agents.run.choices`), so the type that tyro reads is made for
each command line; what leaves here is the plain configuration.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from agents.learn import schedules
from agents.learn.schedules import Schedule
from agents.run import words as typed
from agents.run.choices import Choice, Choices, Chosen, Entry, Section
from agents.run.records import defaults, make_record
from agents.run.sentences import sentences
from agents.run.words import Names
from agents.run.written import number, read_yaml, value, write_yaml

K = TypeVar("K")


def read_flags(
    kind: type[K],
    words: Sequence[str],
    *,
    choices: Choices | None = None,
    default: K | None = None,
    prog: str | None = None,
    description: str | None = None,
    say: Callable[[str], None] = print,
) -> K:
    """A record of `kind` as the command line `words` says, over `default`.

    Args:
        choices: what may be set in the record's open parts.
        say: takes a line for everything in `default` that the choices on the command line left out.

    Raises:
        ValueError: there is no such setting; the message names those that there are.
        SystemExit: after --help, and where a value does not fit.
    """
    notes: list[str] = []
    chosen = Chosen(words, default, notes.append)
    parts = {tuple(key.split(".")): choose(chosen) for key, choose in (choices or {}).items()}
    made = _made_record(kind, default, parts, typed.given(words))
    with NUMBERS:
        read = tyro.cli(
            made.kind,
            args=typed.tidy(words, _kinds(made.kind)),
            prog=prog,
            description=description,
            **({} if made.default is None else {"default": made.default}),
        )
    for note in notes:
        say(note)
    return cast(K, made.plain(read))


# ---------------------------------------------------------------- the type that tyro reads


class Made(NamedTuple):
    """A type made for one command line."""

    kind: Any
    default: Any
    """An instance of it; None if something has no default."""
    plain: Callable[[Any], Any]
    """An instance as what it stands for."""


def _made_record(
    kind: Any, record: Any, choices: Mapping[Names, Choice], given: set[Names], where: str = ""
) -> Made:
    """A dataclass with the fields of `kind`, and records of their own in place of its parts."""
    hints, told = get_type_hints(kind, include_extras=True), sentences(kind)
    held = defaults(kind) if record is None else {name: getattr(record, name) for name in hints}
    inner: dict[str, Made] = {}
    fields: list[tuple[str, Any, Any]] = []
    for name, hint in hints.items():
        below = {path[1:]: choice for path, choice in choices.items() if path[0] == name}
        names = {path[1:] for path in given if path[0] == name and len(path) > 1}
        if () in below:
            inner[name] = _made_section(name, below[()].section, below[()].values, names, below[()].is_open)
        elif dataclasses.is_dataclass(hint):
            inner[name] = _made_record(hint, held[name], below, names, f"{where}{name}.")
        elif name in held and "dict[" in str(hint):
            hint, _ = _fitting(Any, held[name])
        told_hint: Any = Annotated[
            inner[name].kind if name in inner else hint, tyro.conf.arg(help=told.get(name))
        ]
        usual = inner[name].default if name in inner else held.get(name, dataclasses.MISSING)
        fields.append((name, told_hint, _field(usual)))
    made_kind: Any = dataclasses.make_dataclass(kind.__name__, fields, frozen=True)
    made_kind.__doc__ = (kind.__doc__ or "").partition("\n\n")[0]  # what follows is for readers of the code

    def plain(read: Any) -> Any:
        values = {name: getattr(read, name) for name in hints}
        return make_record(kind, values | {n: made.plain(values[n]) for n, made in inner.items()}, where)

    return Made(made_kind, None if record is None else made_kind(), plain)


def _field(usual: Any) -> Any:
    """A field with that default, of which every record has a copy of its own."""
    if usual is dataclasses.MISSING:
        return dataclasses.field()
    return dataclasses.field(default_factory=functools.partial(copy.copy, usual))


def _made_section(
    title: str,
    section: Section,
    values: Mapping[str, Any],
    given: set[Names],
    is_open: bool,
    unknown: Any = Any,
) -> Made:
    """A dataclass of what may be set; as plain data, what is set or was before.

    Args:
        unknown: type of what nobody says the type of.
    """
    entries = dict(section)
    flags = {typed.plain_name(names[0], section) for names in given}
    for name in [*values, *(sorted(flags) if is_open else [])]:
        entries.setdefault(name, Entry(unknown, None))
    entries = {name: e for name, e in entries.items() if name.isidentifier() and not keyword.iskeyword(name)}
    inner: dict[str, Made] = {}
    fields: list[tuple[str, Any, Any]] = []
    for name, entry in entries.items():
        below = {names[1:] for names in given if typed.plain_name(names[0], section) == name}
        held, is_whole = values.get(name), () in below  # whole: `--name '{...}'`, not `--name.part ...`
        if not is_whole and (isinstance(entry, dict) or any(below) or isinstance(held, Mapping)):
            known_parts = entry if isinstance(entry, dict) else {}
            part = list[Any] if not isinstance(entry, dict) and "list" in str(entry.kind).lower() else Any
            parts = held if isinstance(held, Mapping) else {}
            made = _made_section(name, known_parts, parts, below, not known_parts, part)
            inner[name] = made
            fields.append((name, made.kind, dataclasses.field(default=made.default)))
            continue
        if isinstance(entry, dict):
            entry = Entry(Any, None)
        kind, default = _fitting(entry.kind, held if name in values else entry.default)
        fields.append((name, Annotated[kind, tyro.conf.arg(help=entry.help or None)], _field(default)))
    made_kind: Any = dataclasses.make_dataclass(title.title().replace("_", ""), fields, frozen=True)
    made_kind.__doc__ = ""

    def plain(read: Any) -> dict[str, Any]:
        told = dict(values)
        for name in entries:
            if name in inner:
                below = inner[name].plain(getattr(read, name))
                if below or name in values:
                    told[name] = below
            elif name in values or name in flags:
                told[name] = getattr(read, name)
        return told

    return Made(made_kind, made_kind(), plain)


def _fitting(kind: Any, default: Any) -> tuple[Any, Any]:
    """A type that tyro reads and its default: `kind` if it is simple and the default fits, else anything."""
    if Schedule in get_args(kind):
        return kind, default
    options = get_args(kind) if get_origin(kind) in (Union, _UNION) else (kind,)
    simple = [k for k in options if k in (bool, int, float, str) or get_origin(k) is Literal]
    is_optional = type(None) in options
    if simple and len(simple) + is_optional == len(options):
        if float in simple and type(default) is int:
            default = float(default)
        if default is None and is_optional:
            return kind, default
        if any(default in get_args(k) if get_origin(k) is Literal else type(default) is k for k in simple):
            return kind, default
    many = isinstance(default, list) or "list[" in str(kind).lower()
    reader = PrimitiveConstructorSpec(
        nargs="*",
        metavar="VALUE",
        instance_from_str=functools.partial(_anything, many),
        is_instance=lambda _: True,
        str_from_instance=_as_words,
    )
    return Annotated[Any, reader], default


_UNION = type(int | str)


def _anything(many: bool, words: list[str]) -> Any:
    """What words say: null, a truth value, a number, YAML in brackets or quotes, or themselves."""
    if not words and not many:
        raise ValueError("a value is needed")
    told = [
        read_yaml(word) if word[:1] in ("[", "{", '"', "'") else value(word) if word else "" for word in words
    ]
    if len(told) == 1 and (not many or isinstance(told[0], (list, dict)) or told[0] is None):
        return told[0]
    return told


def _as_words(data: Any) -> list[str]:
    if isinstance(data, list):
        return [str(item) for item in data] or ["[]"]
    return [write_yaml(data).strip() if isinstance(data, dict) else str(data)]


NUMBERS = ConstructorRegistry()
"""tyro's numbers, in every form that `agents.run.written` knows."""


@NUMBERS.primitive_rule
def _numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type not in (int, float):
        return None
    kind: Any = info.type

    def read(words: list[str]) -> Any:
        told = number(words[0])
        if told is None or told != told or told in (float("inf"), -float("inf")):
            raise ValueError(f"expected a {'whole' if kind is int else 'finite'} number, got {words[0]!r}")
        if kind is int and told != int(told):
            raise ValueError(f"expected a whole number, got {words[0]!r}")
        return kind(told)

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda x: type(x) is kind or (kind is float and type(x) is int and "~"),
        str_from_instance=lambda x: [str(x)],
    )


@NUMBERS.primitive_rule
def _changing(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A number or a schedule: `3e-3`, `linear:3e-3`, or as in YAML, '{power: {initial: 3e-3, exponent:
    0.5}}'."""
    if Schedule not in get_args(info.type):
        return None
    may_be_none = type(None) in get_args(info.type)

    def read(words: list[str]) -> Any:
        name, colon, rest = words[0].partition(":")
        if words[0][:1] == "{":
            told: Any = read_yaml(words[0])
        else:
            told = {name: value(rest.strip())} if colon else value(words[0])
        if may_be_none and (told is None or words[0] == "None"):
            return None
        if isinstance(told, (bool, str)) or told is None:
            raise ValueError(f"expected a number or a schedule such as linear:3e-3, got {words[0]!r}")
        return float(told) if isinstance(told, int) else schedules.made(told, "value")

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT|SCHEDULE" + ("|None" if may_be_none else ""),
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=lambda x: [_schedule_word(x)],
    )


def _schedule_word(given: Any) -> str:
    told = schedules.written(given)
    if not isinstance(told, dict):
        return str(told)
    ((name, argument),) = told.items()
    return f"{name}:{argument}" if not isinstance(argument, dict) else f"{{{name}: {argument}}}"


# ---------------------------------------------------------------- the flags of a type


def _kinds(kind: Any, above: str = "") -> dict[str, Any]:
    """The type behind every flag of a dataclass, without the dashes."""
    found: dict[str, Any] = {}
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if _POSITIONAL in getattr(hint, "__metadata__", ()):
            continue
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        flag = above + field.name.replace("_", "-")
        if dataclasses.is_dataclass(bare):
            found |= _kinds(bare, f"{flag}.")
        else:
            found[flag] = bare
    return found


_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
