"""Names: of what is registered, of what lies outside the package, and what an error says of them.

What a registry holds is known by its name. `module:Name` is a class of one's own: naming it imports the
module, from the path or the current folder, and registers the class. An installed package may register
some by an entry point. Only a person's words import anything (an argument, a flag, a configuration): for
what a file from elsewhere says there is `registered`, which only looks.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import os
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TypeVar, cast

_Kind = TypeVar("_Kind", bound=type)


def known(given: object, names: Iterable[object]) -> str:
    """The known names in one line, those that look most like `given` first, the others in their order.

    >>> known("dark_hx", ["kuhn_poker", "dark_hex"])
    'dark_hex, kuhn_poker'
    """
    texts = [str(name) for name in names]
    if not texts:
        return "none"
    near = difflib.get_close_matches(str(given), texts, n=len(texts), cutoff=0.5)
    return ", ".join([*near, *(text for text in texts if text not in near)])


def find(what: str, name: str, registry: MutableMapping[str, _Kind], base: type, group: str) -> _Kind:
    """The class called `name`: a registered one, `module:Name`, or an installed package's.

    A class from outside is registered under the name it was asked for by. A name that is registered is never
    looked for elsewhere.

    Args:
        what: as an error calls it, "game" or "cell".
        base: what the class must be one of.
        group: of the entry points, "fogbound.games" or "fogbound.cells".

    Raises:
        ValueError: there is none, or it is no such class; the message lists what is known.
    """
    if name in registry:
        return registry[name]
    if ":" in str(name):
        found = imported(what, name)
    elif name in (offered := installed(group)):
        found = _loaded(what, offered[name])
    else:
        names = known(name, sorted({*registry, *offered}))
        raise ValueError(f"unknown {what} {name!r}; known are {names}, or module:Name of one of your own")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{what} {name!r}: expected a class of {base.__name__}, got {found!r:.80}")
    registry[name] = cast(_Kind, found)
    return registry[name]


def registered(what: str, name: str, registry: Mapping[str, _Kind], group: str = "") -> _Kind:
    """The registered class called `name`, which a file names; nothing is imported.

    Args:
        what: as an error calls it.
        group: as in `find`, for the message.

    Raises:
        ValueError: there is none; the message says how one gets there.
    """
    if name not in registry:
        is_outside = ":" in str(name) or name in installed(group)
        hint = (
            f"; name it yourself first, so that it is imported: {name} (of a command --uses {name})"
            if is_outside
            else ""
        )
        raise ValueError(f"unknown {what} {name!r}; known are {known(name, sorted(registry))}{hint}")
    return registry[name]


def installed(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    """What installed packages offer, by name; nothing of it is imported."""
    return {point.name: point for point in importlib.metadata.entry_points(group=group)}


def _loaded(what: str, point: importlib.metadata.EntryPoint) -> object:
    """What an entry point names."""
    with _told(what, point.name, f"the installed package's {point.value} cannot be imported"):
        return point.load()


def imported(what: str, name: str) -> object:
    """What `module:Name` names; the module is imported.

    Raises:
        ValueError: there is none, or its module fails.
    """
    found: object = imported_module(what, name)
    attribute = name.partition(":")[2]
    with _told(what, name, "expected module:Name of a class"):
        for part in attribute.split("."):
            found = getattr(found, part)
    return found


def imported_module(what: str, name: str) -> types.ModuleType:
    """The module before the colon of `name`, imported from the path or the current folder.

    Raises:
        ValueError: there is none, or it fails.
    """
    module, here = name.partition(":")[0], os.getcwd()
    expected = f"expected module:Name of a class on the path or in {here}"
    if ":" not in name or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{what} {name!r:.80}: {expected}")
    is_missing = here not in sys.path
    if is_missing:
        sys.path.append(here)  # behind all else, so that nothing there stands for an installed module
    try:
        with _told(what, name, expected):
            return importlib.import_module(module)
    finally:
        if is_missing and here in sys.path:
            sys.path.remove(here)


@contextlib.contextmanager
def _told(what: str, name: str, expected: str) -> Iterator[None]:
    """Whatever happens while somebody's module is imported is told in one line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{what} {name!r:.80}: {expected} ({words:.200})") from error
