"""Sources: the files that a compiled function's code comes from, found by reading them.

numba's disk cache notices a change of a function's own file only, yet a compiled function holds the compiled
code of those it calls, and their constants. So the name that it is kept under carries a digest of all their
files. Nobody lists them: from the function's own definition on, every name that a definition uses is looked
up among the imports and definitions of its file, and so on from file to file. What is not used is not
followed: a change of what the phantom games share compiles no poker anew, nor does a change of the drawings.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

STANDARD: Final = sysconfig.get_path("stdlib") + os.sep
"""Where Python's own library lies."""

Named = tuple[str, str | None]
"""A module, and what is taken from it by name; None = the module itself."""

HOMES: Final[set[str]] = set()
"""Modules that have functions compiled by this package; they are followed wherever they are installed."""


def digest(function: Callable[..., Any], calls: Iterable[str] = ()) -> str | None:
    """Twelve letters that change with the files that the code of `function` comes from.

    Args:
        calls: what tells the functions that it calls by names which its file does not know, and their code.

    Returns:
        None if the function lies in no file.
    """
    code = function.__code__
    if not os.path.isfile(code.co_filename):
        return None
    files = _files(function.__module__, code.co_qualname.split(".")[0], code.co_filename)
    told = hashlib.sha256(b"".join(sorted(_read(path).digest for path in files)))
    told.update("\n".join(calls).encode())
    return told.hexdigest()[:12]


def _files(module: str, name: str, path: str) -> set[str]:
    """The files that the definition of `name` in `module`, which lies at `path`, needs."""
    left: list[Named] = [(module, name)]
    seen, files = set[Named](), {path}
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        place = path if one[0] == module else _path(one[0], module)
        if place is not None:
            files.add(place)
            left += [] if one[1] is None else _read(place).needs(one[0], one[1])
    return files


def _path(module: str, asking: str) -> str | None:
    """Where a module lies that code of the module `asking` may come from; None for libraries."""
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None or not path.endswith(".py") or not os.path.isfile(path):
        return None
    is_near = module in HOMES or module.partition(".")[0] == asking.partition(".")[0]
    return path if is_near or not _is_library(path) else None


def _is_library(path: str) -> bool:
    parts = path.split(os.sep)
    is_installed = "site-packages" in parts or "dist-packages" in parts
    return is_installed or path.startswith(STANDARD)


# ---------------------------------------------------------------- one file


def _read(path: str) -> _Source:
    """The file as it is now."""
    return _read_once(path, os.stat(path).st_mtime_ns)


@functools.cache
def _read_once(path: str, _changed: int) -> _Source:
    with open(path, "rb") as file:
        return _Source(file.read())


class _Source:
    """What a file's top level imports and defines."""

    def __init__(self, content: bytes) -> None:
        self.digest = hashlib.sha256(content).digest()
        self.definitions: dict[str, list[ast.AST]] = {}
        """The statements that give a name its meaning, or change what it holds."""
        self.imports: dict[str, tuple[int, Named]] = {}
        """By the names used here: the dots before the module, the module, its name there."""
        self.stars: list[tuple[int, str]] = []
        """The modules that everything was imported from."""
        self._needs: dict[str, set[Named]] = {}
        try:
            statements = ast.parse(content).body
        except SyntaxError:  # it was changed since its import
            return
        for statement in statements:
            for node in _outside_functions(statement):
                self._enter(node, statement)

    def _enter(self, node: ast.AST, statement: ast.stmt) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.imports[alias.asname or whole] = 0, (whole, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append((node.level, node.module or ""))
                self.imports[alias.asname or alias.name] = node.level, (node.module or "", alias.name)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            self.definitions.setdefault(node.name, []).append(node)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            name = _dotted(node)[:1] or _dotted(getattr(node, "value", node))[:1]
            if name:
                self.definitions.setdefault(name[0], []).append(statement)

    def needs(self, module: str, name: str) -> set[Named]:
        """What the definition of `name` uses; the file is that of `module`."""
        if name not in self._needs:
            used = [] if name in self.definitions else [[name]]
            for statement in self.definitions.get(name, ()):
                used += _used(statement)
            self._needs[name] = {one for names in used for one in self._meanings(module, names)}
        return self._needs[name]

    def _meanings(self, module: str, names: list[str]) -> Iterator[Named]:
        """Where `names`, a name and what follows it behind dots, may come from."""
        first, *rest = names
        if first in self.definitions:
            yield module, first
        if first in self.imports:
            level, (source, name) = self.imports[first]
            source = _absolute(level, source, module)
            if name is not None:
                rest = [name, *rest]
            while rest and f"{source}.{rest[0]}" in sys.modules:
                source = f"{source}.{rest.pop(0)}"
            yield source, rest[0] if rest else None
        elif first not in self.definitions:
            for level, source in self.stars:
                source = _absolute(level, source, module)
                if hasattr(sys.modules.get(source), first):
                    yield source, first


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what lies in it, but for what functions and classes hold."""
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def _used(statement: ast.AST) -> list[list[str]]:
    """The names that a statement uses, with what follows behind dots; but for a function's own variables."""
    own = set()
    if isinstance(statement, ast.FunctionDef):
        own = {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
        all_names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        own |= {name.id for name in all_names if isinstance(name.ctx, ast.Store)}
    return [names for node in ast.walk(statement) if (names := _dotted(node)) and names[0] not in own]


def _dotted(node: ast.AST) -> list[str]:
    """`a.b.c` as its names; nothing for what is no such chain."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return [*before, node.attr]
    return []


def _absolute(level: int, source: str, module: str) -> str:
    """A module's whole name; with `level` dots before it, it is told from `module` on."""
    if level == 0:
        return source
    here = sys.modules.get(module)
    package = getattr(here, "__package__", None) or module.rpartition(".")[0]
    return importlib.util.resolve_name("." * level + source, package) if package else source
