"""What every comparison shares: the sides by turns, spreads, goals, tables, the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from benchmarks.options import Common

STEPS, RATIO = "{:,.0f} ({:,.0f}..{:,.0f})", "{:.2f}x ({:.2f}..{:.2f})"


class ComparisonError(Exception):
    """The two sides do not do the same thing, so their times say nothing."""


class Table(NamedTuple):
    """A header and rows of as many cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self, markdown: bool) -> str:
        if markdown:
            lines = [self.header, ["---"] * len(self.header), *self.rows]
            return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [self.header, ["-" * width for width in widths], *self.rows]
        return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines)


def interleave(
    sides: dict[str, Callable[[], float]], repeats: int, bar: Any, draw: random.Random | None = None
) -> dict[str, list[float]]:
    """Measure the sides by turns: each side's speed in every repeat.

    Args:
        draw: draws a new order for each repeat, where one side leaves the caches in a state that the next
            would notice.
    """
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name in sides if draw is None else draw.sample(list(sides), len(sides)):
            measured[name].append(sides[name]())
        bar.update()
    return measured


def bar_of(options: Common, total: int) -> Any:
    return tqdm(total=total, leave=False, unit="repeat", disable=None if options.progress else True)


def wait(device: torch.device) -> None:
    """Until the GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---------------------------------------------------------------- numbers


def spread(pattern: str, values: Sequence[float]) -> str:
    """Median, least and most."""
    return pattern.format(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """One in each repeat."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def verdict(what: str, measured: Sequence[float], goal: float) -> str:
    """Whether the median of these ratios is as high as hoped for."""
    return f"Goal {goal:g}x, {what}: {spread(RATIO, measured)}, {is_reached(measured, goal)}."


def is_reached(measured: Sequence[float], goal: float) -> str:
    return "reached" if statistics.median(measured) >= goal else "NOT reached"


# ---------------------------------------------------------------- where


def cpu(threads: int) -> str:
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def not_measured() -> str:
    return "not measured (--device cuda)" if torch.cuda.is_available() else "not measured (no GPU)"


def machine(peers: Sequence[str]) -> str:
    """What it ran on and with."""
    processor, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        models = [line for line in lines if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "numba", *peers)]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{processor}, {os.cpu_count()} cores, {gpu}; {torch.get_num_threads()} torch threads; "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


# ---------------------------------------------------------------- all of it


def report(
    options: Common,
    peers: Sequence[str],
    title: str,
    opening: Sequence[str],
    tables: Sequence[Table],
    closing: Sequence[str],
) -> str:
    """Everything as text, or as Markdown."""
    heading = f"## {title}" if options.markdown else f"{title}\n{'=' * len(title)}"
    blocks = [heading, *opening, f"Machine: {machine(peers)}"]
    blocks += [table.text(options.markdown) for table in tables]
    blocks.append("\n".join(f"- {line}" for line in closing))
    return "\n\n".join(blocks)
