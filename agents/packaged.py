"""What travels with the package: its version, the configurations, and agents that were trained already."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

Source = TypeVar("Source")

HERE = Path(__file__).parent

CONFIGS = next((p for p in (HERE / "configs", HERE.parent / "configs") if p.is_dir()), HERE / "configs")
"""The configurations: in the package where it is installed, beside it in a checkout."""

SHIPPED = HERE / "shipped"
"""Trained agents, one file each with a card beside it; each can be named wherever a player is."""


def version() -> str:
    """Of the package: what the checkout says that it lies in, else what was installed."""
    project = HERE.parent / "pyproject.toml"
    if project.is_file():
        told = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if told.get("name") == "fogbound":
            return str(told["version"])
    return importlib.metadata.version("fogbound")


def shipped_agents() -> list[str]:
    """The names of the shipped agents, in order."""
    return sorted(path.stem for path in SHIPPED.glob("*.zip"))


def card_of(name: str) -> dict[str, Any]:
    """What is known of the shipped agent of that name: how it was trained, and how good it is.

    Raises:
        FileNotFoundError: there is no such card.
    """
    card: dict[str, Any] = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    return card


def shipped_agent(spec: Source) -> Source | Path:
    """The file of the shipped agent of that name; anything else, and what a path leads to, as it came."""
    name = str(spec)
    return SHIPPED / f"{name}.zip" if name in shipped_agents() and not Path(name).exists() else spec
