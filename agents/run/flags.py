"""Settings as flags: `--section.name value` for every one there is, those of the chosen game, cell, policy
and world among them, whether a file names them or not (edge: tyro).

What may be set depends on what is chosen: `--game dark_hex` brings that game's options, with their help.
So the type that tyro reads is made for each command line; what leaves here is the plain configuration.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import importlib
import inspect
import keyword
import re
import textwrap
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

import gymnasium
import tyro
from gymnasium.envs.registration import load_env_creator
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

import envs
from agents.gym.sb3 import RecurrentCellPolicy
from agents.gym.stock import STOCK
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.net.cells import CELLS, cell_class
from agents.run.config import Config, WorldConfig
from agents.run.written import FALSE, TRUE, number, read_yaml, value, write_yaml
from envs.adapters.gymnasium import ENTRY_POINT
from envs.names import known

HANDED_OVER = ("seats", "use_sde")
"""Arguments of policies that the algorithms give themselves."""

K = TypeVar("K")
Names = tuple[str, ...]
"""Of a setting: the names before its own, and its own."""


class Entry(NamedTuple):
    """One thing that a flag can set."""

    kind: Any
    """Its type; Any where nobody says."""
    default: Any
    help: str = ""


Section = dict[str, Any]
"""Entries and sections by name."""


class Choice(NamedTuple):
    """What may be set in an open part of a configuration."""

    section: Section
    values: Mapping[str, Any]
    """What is set already, where it fits."""
    is_open: bool = False
    """Names that nobody knows are taken as they come."""


def read_flags(
    kind: type[K],
    words: Sequence[str],
    *,
    default: K | None = None,
    prog: str | None = None,
    description: str | None = None,
    say: Callable[[str], None] = print,
) -> K:
    """A record of `kind` as the command line `words` says, over `default`.

    Args:
        say: takes a line for everything in `default` that the choices on the command line left out.

    Raises:
        ValueError: there is no such setting; the message names those that there are.
        SystemExit: after --help, and where a value does not fit.
    """
    notes: list[str] = []
    choices = _choices(kind, default, words, notes.append)
    given = _given(words)
    made = _made_record(kind, default, choices, given)
    words = _tidy(words, _kinds(made.kind))
    with NUMBERS:
        read = tyro.cli(
            made.kind,
            args=words,
            prog=prog,
            description=description,
            **({} if made.default is None else {"default": made.default}),
        )
    for note in notes:
        say(note)
    return cast(K, made.plain(read))


# ---------------------------------------------------------------- what may be set


def _choices(
    kind: Any, default: Any, words: Sequence[str], say: Callable[[str], None]
) -> dict[Names, Choice]:
    """The open parts of a record, by their paths."""
    fields = {field.name for field in dataclasses.fields(kind)}
    choices: dict[Names, Choice] = {}
    if {"game", "options"} <= fields:
        before = getattr(default, "game", None)
        game = _last(words, "game") or before
        values = _kept("options", getattr(default, "options", {}), before, game, "game", say)
        choices["options",] = Choice(_options_of(game) if game is not None else {}, values)
    if issubclass(kind, Config):
        policy = default.policy
        choices["policy", "lstm_kwargs"] = _cell_choice(
            "policy.lstm_kwargs", policy.lstm_kwargs, policy.cell, _last(words, "policy.cell"), say
        )
    if issubclass(kind, WorldConfig):
        env = _last(words, "env") or default.env
        kept = _kept("env_kwargs", default.env_kwargs, default.env, env, "env", say)
        choices["env_kwargs",] = _world_choice(env, kept)
        choices["policy_kwargs",] = _policy_choice(default, words, say)
    return choices


def _options_of(game: str) -> Section:
    """The options of a game."""
    if game not in envs.GAMES:
        raise ValueError(f"unknown game {game!r}; known are {known(game, sorted(envs.GAMES))}")
    made = envs.GAMES[game]
    hints, told = get_type_hints(made), _sentences(made)
    fields = dataclasses.fields(made)  # type: ignore[arg-type]
    return {f.name: Entry(hints[f.name], f.default, told.get(f.name, "")) for f in fields}


def _kept(
    what: str, values: Mapping[str, Any], before: Any, now: Any, chosen: str, say: Callable[[str], None]
) -> Mapping[str, Any]:
    """Values that were given for the one chosen before; none if another is chosen now."""
    if now == before or not values:
        return values
    say(f"note         {what} of {before} ({', '.join(values)}) left out: the {chosen} is {now}")
    return {}


def _cell_choice(
    where: str, values: Mapping[str, Any], before: str, chosen: str | None, say: Callable[[str], None]
) -> Choice:
    """Options of the cell; those of the cell chosen before that the one chosen now lacks are left out."""
    cell = chosen or before
    made = cell_class(cell)
    _, _, *own = keywords(made, with_required=True).items()
    told = _sentences(made)
    section = {name: Entry(p.kind, p.default, told.get(name, "")) for name, p in own}
    section["dropout"] = Entry(float, 0.0, "Share of the outputs dropped between layers, 0..1.")
    lacking = [name for name in values if name not in section]
    if lacking and cell != before:
        say(f"note         {where} of cell {before} ({', '.join(lacking)}) left out: cell {cell} has none")
        values = {name: x for name, x in values.items() if name not in lacking}
    return Choice(section, values)


def _policy_choice(config: WorldConfig, words: Sequence[str], say: Callable[[str], None]) -> Choice:
    """Arguments of the policy that the chosen algorithm makes."""
    algo, values = _last(words, "algo") or config.algo, config.policy_kwargs
    cell = _last(words, "policy-kwargs.cell") or values.get("cell")
    policy: type[Any]
    if algo == "recurrent_ppo" and cell is not None:
        policy = RecurrentCellPolicy
    else:
        aliases = STOCK.get(algo, MaskableRecurrentPPO).policy_aliases
        policy = next(kind for name, kind in aliases.items() if name.startswith("Mlp"))
    parameters, told = keywords(policy), _sentences(policy)
    section: Section = {n: Entry(p.kind, p.default, told.get(n, "")) for n, p in parameters.items()}
    if algo == "recurrent_ppo":
        cell_help = "Recurrent cell of ours in place of the algorithm's own: " + ", ".join(CELLS)
        section.setdefault("cell", Entry(str | None, None, cell_help))
    lacking = [name for name in values if name not in section]
    if lacking and algo != config.algo:
        say(f"note         policy_kwargs of {config.algo} ({', '.join(lacking)}) left out: {algo} has none")
        values = {name: x for name, x in values.items() if name not in lacking}
    if isinstance(cell, str) and "cell" in parameters and "lstm_kwargs" in parameters:
        before = values.get("cell", parameters["cell"].default)
        options = values.get("lstm_kwargs") or {}
        inner = _cell_choice("policy_kwargs.lstm_kwargs", options, before, cell, say)
        section["lstm_kwargs"] = inner.section
        if "lstm_kwargs" in values:
            values = {**values, "lstm_kwargs": inner.values}
    elif "cell" in parameters and "lstm_kwargs" in parameters:
        default = parameters["cell"].default
        section["lstm_kwargs"] = _cell_choice("", {}, default, default, say).section
    return Choice(section, values)


def _world_choice(env: str, values: Mapping[str, Any]) -> Choice:
    """Arguments of a world: its entry point's, where they can be told."""
    module, _, name = env.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(name)
        entry = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        parameters, told = keywords(entry, with_required=True), _sentences(entry)
    except Exception:  # whatever is wrong with the world, who makes it says so
        return Choice({}, values, is_open=True)
    section: Section = {}
    for parameter, p in parameters.items():
        if parameter not in ("render_mode", "game", *spec.kwargs):
            section[parameter] = Entry(p.kind, p.default, told.get(parameter, ""))
    for parameter in spec.kwargs.keys() - {"game"}:
        p = parameters.get(parameter, Keyword(Any, None))
        section[parameter] = Entry(p.kind, spec.kwargs[parameter], told.get(parameter, ""))
    section["max_episode_steps"] = Entry(int | None, spec.max_episode_steps, "Decisions until it is cut off.")
    section["disable_env_checker"] = Entry(bool | None, None, "Leave out Gymnasium's checks of the world.")
    if spec.entry_point == ENTRY_POINT:
        return Choice(section | _options_of(spec.kwargs["game"]), values)
    return Choice(section, values, is_open=_takes_any(entry))


class Keyword(NamedTuple):
    """An argument of a function or class that can be given by name."""

    kind: Any
    default: Any


def keywords(function: Any, with_required: bool = False) -> dict[str, Keyword]:
    """The arguments that a file can give, those that a class hands on to its bases among them.

    Args:
        with_required: also those without a default, which then is None.
    """
    found: dict[str, Keyword] = {}
    inits = (
        [vars(base)["__init__"] for base in function.__mro__ if "__init__" in vars(base)]
        if (inspect.isclass(function))
        else [function]
    )
    for init in inits:
        parameters = inspect.signature(init).parameters
        try:
            hints = get_type_hints(init)
        except Exception:  # names that exist for type checkers only
            hints = {}
        for name, p in parameters.items():
            is_named = p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != "self"
            if is_named and name not in found and (with_required or p.default is not p.empty):
                default = None if p.default is p.empty else p.default
                found[name] = Keyword(hints.get(name, Any), default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return {n: p for n, p in found.items() if n not in HANDED_OVER and not n.endswith("_class")}


def _takes_any(function: Any) -> bool:
    """It takes arguments by names that it does not list."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


# ---------------------------------------------------------------- help


def _sentences(made: Any) -> dict[str, str]:
    """What the source says of fields (the text below each) and arguments (`Args:` in the docstring)."""
    told: dict[str, str] = {}
    for base in reversed(made.__mro__) if inspect.isclass(made) else [made]:
        if base is object:
            continue
        told |= _arguments_told(inspect.cleandoc(base.__doc__ or ""))
        init = vars(base).get("__init__") if inspect.isclass(base) else None
        told |= _arguments_told(inspect.cleandoc(getattr(init, "__doc__", None) or ""))
        if dataclasses.is_dataclass(base):
            told |= _fields_told(base)
    return told


def _fields_told(made: Any) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(made))).body[0]
    except (OSError, TypeError, SyntaxError):  # no source at hand
        return {}
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _arguments_told(doc: str) -> dict[str, str]:
    """Google's form: an `Args:` line, below it `name, name: text`, indented, the text over several lines."""
    _, _, part = f"\n{doc}".partition("\nArgs:\n")
    told: dict[str, str] = {}
    names: list[str] = []
    for line in part.splitlines():
        if line and not line.startswith(" "):
            break
        match = re.match(r" {4}(\w+(?:, \w+)*)(?: \([^)]*\))?: (.*)", line)
        if match is not None:
            names, text = match[1].split(", "), match[2]
            told |= dict.fromkeys(names, text[:1].upper() + text[1:])
        elif line.strip():
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return told


# ---------------------------------------------------------------- the type that tyro reads


class Made(NamedTuple):
    """A type made for one command line."""

    kind: Any
    default: Any
    """An instance of it; None if something has no default."""
    plain: Callable[[Any], Any]
    """An instance as what it stands for."""


def _made_record(kind: Any, default: Any, choices: Mapping[Names, Choice], given: set[Names]) -> Made:
    """The dataclass `kind` with records in place of its open parts."""
    inner: dict[str, Made] = {}
    for name in {path[0] for path in choices}:
        below = {path[1:]: choice for path, choice in choices.items() if path[0] == name}
        names = {path[1:] for path in given if path[0] == name and len(path) > 1}
        if () in below:
            choice = below[()]
            inner[name] = _made_section(name, choice.section, choice.values, names, choice.is_open)
        else:
            held = getattr(default, name)
            inner[name] = _made_record(type(held), held, below, names)
    hints, told = get_type_hints(kind, include_extras=True), _sentences(kind)
    fields = [
        (
            name,
            Annotated[made.kind, tyro.conf.arg(help=told.get(name))],
            dataclasses.field(default=made.default),
        )
        for name, made in inner.items()
    ]
    made_kind: Any = dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)
    made_kind.__doc__ = kind.__doc__
    made_kind.__module__ = kind.__module__

    def plain(read: Any) -> Any:
        values = {name: getattr(read, name) for name in hints}
        return kind(**values | {name: made.plain(values[name]) for name, made in inner.items()})

    if default is None:
        return Made(made_kind, None, plain)
    values = {name: getattr(default, name) for name in hints}
    return Made(made_kind, made_kind(**values | {n: made.default for n, made in inner.items()}), plain)


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
    flags = {_plain_name(names[0], section) for names in given}
    for name in [*values, *(sorted(flags) if is_open else [])]:
        entries.setdefault(name, Entry(unknown, None))
    entries = {name: e for name, e in entries.items() if name.isidentifier() and not keyword.iskeyword(name)}
    inner: dict[str, Made] = {}
    fields: list[tuple[str, Any, Any]] = []
    for name, entry in entries.items():
        below = {names[1:] for names in given if _plain_name(names[0], section) == name}
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
        fields.append(
            (
                name,
                Annotated[kind, tyro.conf.arg(help=entry.help or None)],
                dataclasses.field(default_factory=functools.partial(copy.copy, default)),
            )
        )
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

    def read(words: list[str]) -> int | float:
        told = number(words[0])
        if told is None or told != told or told in (float("inf"), -float("inf")):
            raise ValueError(f"expected a {'whole' if kind is int else 'finite'} number, got {words[0]!r}")
        if kind is int and told != int(told):
            raise ValueError(f"expected a whole number, got {words[0]!r}")
        return kind(told)  # type: ignore[no-any-return]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda x: type(x) is kind or (kind is float and type(x) is int and "~"),
        str_from_instance=lambda x: [str(x)],
    )


# ---------------------------------------------------------------- the words


def _given(words: Sequence[str]) -> set[Names]:
    """The paths of the flags among the words, as they are typed."""
    names = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    return {tuple(name.replace("-", "_").split(".")) for name in names}


def _plain_name(name: str, section: Section) -> str:
    """A typed name without the `no-` that switches a setting off."""
    off = name.removeprefix("no_")
    return off if name not in section and off in section else name


def _last(words: Sequence[str], name: str) -> str | None:
    """The value that the words give last to the flag `--name`."""
    found = None
    following: list[str | None] = [*words[1:], None]
    for word, after in zip(words, following, strict=False):
        flag, equals, told = word.partition("=")
        if flag.startswith("--") and flag[2:].replace("_", "-") == name:
            found = told if equals else after
    return found


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


def _tidy(words: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """The words as tyro takes them: truth values as switches, a value with a dash bound to its flag.

    Raises:
        ValueError: there is no such flag.
    """
    tidy: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, told = word[2:].partition("=")
        flag = name.replace("_", "-")
        if not word.startswith("--") or flag in ("", "help") or flag.startswith("tyro-"):
            tidy.append(word)
            continue
        section, dot, last = flag.rpartition(".")
        off = f"{section}{dot}{last.removeprefix('no-')}"
        is_off = flag not in kinds and last.startswith("no-") and _is_truth(kinds.get(off))
        if flag not in kinds and not is_off:
            raise ValueError(_unknown(flag, kinds))
        kind = kinds[off if is_off else flag]
        if _is_truth(kind):
            if not equals and rest and rest[0].lower() in (*TRUE, *FALSE, "1", "0"):
                equals, told = "=", rest.pop(0)
            if equals and told.lower() not in (*TRUE, *FALSE, "1", "0", "none"):
                raise ValueError(f"--{flag} must be true or false, got {told!r}")
            is_true = (not equals or told.lower() in (*TRUE, "1")) != is_off
            if kind is bool:
                last = last.removeprefix("no-") if is_off else last
                tidy.append(f"--{section}{dot}{last}" if is_true else f"--{section}{dot}no-{last}")
            elif told.lower() == "none" or (not equals and rest[:1] == ["None"]):
                tidy.append(f"--{flag}")
                tidy.extend(rest[:1] if not equals else ["None"])
                rest = rest if equals else rest[1:]
            else:
                tidy += [f"--{off if is_off else flag}", str(is_true)]
        elif not equals and rest and rest[0].startswith("-") and not _is_flag(rest[0]):
            tidy.append(f"{word}={rest.pop(0)}")
        else:
            tidy.append(word)
    return tidy


def _is_truth(kind: Any) -> bool:
    return kind is bool or set(get_args(kind)) == {bool, type(None)}


def _is_flag(word: str) -> bool:
    return word.startswith("--") or word in ("-h", "-n")


def _unknown(flag: str, kinds: Mapping[str, Any]) -> str:
    """What an error says of a flag that is none: those beside it, or of the same name elsewhere."""
    section, dot, last = flag.rpartition(".")
    inside = [name for name in kinds if name.startswith(f"{flag}.")]
    elsewhere = [name for name in kinds if name.rpartition(".")[2] == last]
    beside = [name.rpartition(".")[2] for name in kinds if name.rpartition(".")[0] == section]
    if not inside + elsewhere and beside:
        elsewhere = [f"{section}{dot}{name}" for name in known(last, beside).split(", ")]
    told = ", ".join(f"--{name}" for name in inside or elsewhere or known(flag, kinds).split(", "))
    return f"unknown setting --{flag}; known are {told}; --help tells more"
