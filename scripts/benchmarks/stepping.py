"""Stepping games, beside whoever has the same ones."""

from __future__ import annotations

from benchmarks import generals, openspiel
from benchmarks.options import Env
from benchmarks.telling import Report


def measure(options: Env) -> list[Report]:
    """The whole comparison."""
    ours = [generals.game_of(name) for name in options.games if name.partition(":")[0] == "generals"]
    others = [name for name in options.games if name.partition(":")[0] != "generals"]
    reports = [openspiel.measure(options, others)] if others else []
    return reports + ([generals.measure(options, ours)] if ours else [])
