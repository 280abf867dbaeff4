"""Help: what the source says of fields and arguments, read from it and written nowhere twice."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import Any


def sentences(made: Any) -> dict[str, str]:
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
