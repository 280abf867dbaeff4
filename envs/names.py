"""Names: of what is registered, of what lies outside the package, and what an error says of them.

What a registry holds is known by its name. `module:Name` is a class of one's own: naming it imports the
module, from the path or the current folder, and registers the class. An installed package may register
some by an entry point. Only a person's words import anything (an argument, a flag, a configuration): for
what a file from elsewhere says there is `registered`, which only looks.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable, MutableMapping
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

    A class from outside is registered under the name it was asked for by.

    Args:
        what: as an error calls it, "game" or "cell".
        base: what the class must be one of.
        group: of the entry points, "fogbound.games" or "fogbound.cells".

    Raises:
        ValueError: there is none, or it is no such class; the message lists what is known.
    """
    if name not in registry:
        if ":" in name:
            found = _imported(what, name)
        elif name in (installed := _installed(group)):
            found = installed[name].load()
        else:
            names = known(name, sorted({*registry, *installed}))
            raise ValueError(f"unknown {what} {name!r}; known are {names}, or module:Name of one of your own")
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"{what} {name!r}: expected a class of {base.__name__}, got {found!r:.80}")
        registry[name] = cast(_Kind, found)
    return registry[name]


def registered(what: str, name: str, registry: MutableMapping[str, _Kind]) -> _Kind:
    """The registered class called `name`, which a file names; nothing is imported.

    Raises:
        ValueError: there is none; the message says how one gets there.
    """
    if name not in registry:
        hint = f"; name it yourself first, so that it is imported: {name}" if ":" in name else ""
        raise ValueError(f"unknown {what} {name!r}; known are {known(name, sorted(registry))}{hint}")
    return registry[name]


def _installed(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=group)}


def _imported(what: str, name: str) -> object:
    """What `module:Name` names."""
    module, _, attribute = name.partition(":")
    here = os.getcwd()
    sys.path.append(here)  # behind all else, so that nothing there stands for an installed module
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{what} {name!r}: expected module:Name of a class on the path or in {here} ({error})"
        ) from error
    finally:
        sys.path.remove(here)
    return found
