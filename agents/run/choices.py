"""What may be set depends on what is chosen: a game brings its options, a cell its own, with their help.

A command hands `Choices` down to `agents.run.flags`: for each open part of its record a function that tells
what may be set there. Here are those of games and cells; those of worlds are in `agents.gym.config`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_type_hints

import envs
from agents.net.cells import cell_class
from agents.run import words
from agents.run.records import defaults
from agents.run.sentences import sentences

HANDED_OVER = ("seats", "use_sde")
"""Arguments of policies that the algorithms give themselves."""


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


class Chosen(NamedTuple):
    """What is chosen: by the words of a command line, or by the record that they come over."""

    words: Sequence[str]
    record: Any
    """None if there is none."""
    say: Callable[[str], None]
    """Takes a line for what is left out."""

    def before(self, key: str) -> Any:
        """What the record says of `key`, such as `policy.cell`; None if nothing."""
        value = self.record
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        return value

    def now(self, key: str) -> Any:
        """What the words say of `key`, else what the record does."""
        told = words.last(self.words, key.replace("_", "-"))
        return self.before(key) if told is None else told


Choices = Mapping[str, Callable[[Chosen], Choice]]
"""For each open part of a record, by its key, what may be set there."""


def kept(chosen: Chosen, key: str, by: str) -> Mapping[str, Any]:
    """What the record says of `key`; nothing if another `by` (a game, a world) is chosen now."""
    values, before, now = chosen.before(key) or {}, chosen.before(by), chosen.now(by)
    if now == before or not values:
        return values
    chosen.say(f"note         {key} of {before} ({', '.join(values)}) left out: the {by} is {now}")
    return {}


def without(
    chosen: Chosen, where: str, values: Mapping[str, Any], names: Sequence[str], now: str
) -> Mapping[str, Any]:
    """`values` without `names`, which is said; `now` tells why."""
    if names:
        chosen.say(f"note         {where} ({', '.join(names)}) left out: {now} has none")
    return {name: x for name, x in values.items() if name not in names}


def game_options(chosen: Chosen) -> Choice:
    """What `options` may say: the options of the game."""
    game = chosen.now("game")
    return Choice({} if game is None else options_of(game), kept(chosen, "options", "game"))


def options_of(game: str) -> Section:
    """The options of a game, which may lie outside the package.

    Raises:
        ValueError: there is none of that name.
    """
    made: type[Any] = envs.find_game(game)
    hints, told, usual = get_type_hints(made), sentences(made), defaults(made)
    return {
        name: Entry(hints[name], usual.get(name), told.get(name, "")) for name in made.__dataclass_fields__
    }


def cell_options(chosen: Chosen) -> Choice:
    """What `policy.lstm_kwargs` may say."""
    return options_of_cell(chosen, "policy", chosen.before("policy.cell"), chosen.now("policy.cell"))


def options_of_cell(chosen: Chosen, above: str, before: str, cell: str) -> Choice:
    """Options of a cell; those of the cell chosen before that the one chosen now lacks are left out.

    Raises:
        ValueError: there is no cell of that name.
    """
    made = cell_class(cell)
    where, told = f"{above}.lstm_kwargs", sentences(made)
    values: Mapping[str, Any] = chosen.before(where) or {}
    _, _, *own = keywords(made, with_required=True).items()
    section = {name: Entry(p.kind, p.default, told.get(name, "")) for name, p in own}
    section["dropout"] = Entry(float, 0.0, "Share of the outputs dropped between layers, 0..1.")
    if cell != before:
        lacking = [name for name in values if name not in section]
        values = without(chosen, f"{where} of cell {before}", values, lacking, f"cell {cell}")
    return Choice(section, values)


GAME: Choices = {"options": game_options}
"""Of commands about a game."""

SELF_PLAY_CHOICES: Choices = {"options": game_options, "policy.lstm_kwargs": cell_options}
"""Of training by self-play."""


# ---------------------------------------------------------------- arguments of functions


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


def takes_any(function: Any) -> bool:
    """It takes arguments by names that it does not list."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
