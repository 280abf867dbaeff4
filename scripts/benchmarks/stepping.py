"""Stepping games, beside whoever has the same ones."""

from __future__ import annotations

from benchmarks import generals, openspiel
from benchmarks.options import Env


def measure(options: Env) -> str:
    """The whole comparison, as text."""
    ours = [generals.game_of(name) for name in options.games if name.partition(":")[0] == "generals"]
    others = [name for name in options.games if name.partition(":")[0] != "generals"]
    sections = [openspiel.measure(options, others)] if others else []
    return "\n\n".join(sections + ([generals.measure(options, ours)] if ours else []))
