"""What every comparison shares: turns, the clock, medians with intervals, bars and goals, the machine."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from agents.net.kernels.vector import instruction_set
from benchmarks.options import Common

RESAMPLES = 4000
UNITS = {"x": "{:.2f}x", "%": "{:.1%}", "/s": "{:,.0f}/s"}
"""How a number with its unit is written."""


class ComparisonError(Exception):
    """The two sides do not do the same thing, so their times say nothing."""


# ---------------------------------------------------------------- time


class Clock:
    """Seconds: of the processor where one CPU thread works, which others do not share; else of the wall.

    Args:
        threads: that work.
        device: whose work is waited for.
    """

    def __init__(self, threads: int, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.read = time.process_time if threads == 1 and device == "cpu" else time.perf_counter
        self.name = (
            "processor time of one thread"
            if self.read is time.process_time
            else "wall time, "
            + ("the GPU waited for" if device != "cpu" else f"{threads} thread{'s' * (threads > 1)}")
        )

    def now(self) -> float:
        """After all that was begun on the device has ended."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.read()

    def seconds(self, work: Callable[[], object]) -> float:
        """What one call takes."""
        began = self.now()
        work()
        return self.now() - began

    def speed(self, work: Callable[[], object], count: int = 1) -> float:
        """So many a second, if one call does `count`."""
        return count / self.seconds(work)


def clock_of(options: Common) -> Clock:
    """The one that all sides of a comparison are measured with."""
    return Clock(torch.get_num_threads(), options.device)


def interleave(
    sides: dict[str, Callable[[], float]], repeats: int, bar: Any, draw: random.Random
) -> dict[str, list[float]]:
    """Measure the sides by turns: each side's speed in every repeat, in an order drawn anew for each.

    One side leaves the caches in a state that the next notices.
    """
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name in draw.sample(list(sides), len(sides)):
            measured[name].append(sides[name]())
        bar.update()
    return measured


def bar_of(options: Common, total: int) -> Any:
    """A progress bar over `total` repeats."""
    return tqdm(total=total, leave=False, unit="repeat", disable=None if options.progress else True)


# ---------------------------------------------------------------- numbers


class Interval(NamedTuple):
    """A median with its bootstrap 95 % interval."""

    median: float
    low: float
    high: float

    def text(self, unit: str = "") -> str:
        """As in 2.00x [1.90, 2.10]."""
        pattern = UNITS.get(unit, "{:,.0f}")
        number = pattern.removesuffix("x").removesuffix("/s")
        return f"{pattern.format(self.median)} [{number.format(self.low)}, {number.format(self.high)}]"


def bootstrap(values: Sequence[float]) -> Interval:
    """The median, and between which numbers those of 95 % of the resamples lie (percentile bootstrap)."""
    found = np.asarray(values)
    drawn = np.random.default_rng(0).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.quantile(np.median(found[drawn], 1), [0.025, 0.975], method="inverted_cdf")
    return Interval(statistics.median(values), float(low), float(high))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """One in each repeat."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


class Row(NamedTuple):
    """What was measured by turns: of each side a speed per repeat."""

    name: dict[str, Any]
    samples: dict[str, list[float]]

    def speed(self, side: str) -> Interval:
        """Of a side, or how the median repeat went."""
        return bootstrap(self.samples[side])

    def ratio(self, side: str, other: str) -> Interval:
        """How often as fast as the other a side is."""
        return bootstrap(ratios(self.samples[side], self.samples[other]))

    def numbers(self) -> dict[str, Any]:
        """All of it, for a file; every ratio of a side to one behind it."""
        pairs = itertools.combinations(self.samples, 2)
        return {
            **self.name,
            "samples": self.samples,
            "medians": {side: self.speed(side) for side in self.samples},
            "ratios": {f"{a}/{b}": self.ratio(a, b) for a, b in pairs},
        }


class Aim(NamedTuple):
    """What was to be reached, and what was found; None = not measured."""

    what: str
    found: Interval | None
    bar: float | None = None
    goal: float | None = None
    unit: str = "x"
    is_at_most: bool = False

    def verdict(self, aim: float | None) -> str:
        """Whether the median has reached it."""
        if aim is None or self.found is None:
            return "-" if aim is None else "not measured"
        is_reached = self.found.median <= aim if self.is_at_most else self.found.median >= aim
        return "reached" if is_reached else "NOT reached"

    def cells(self) -> list[str]:
        """A row of the table `AIMS`."""
        of = "at most " if self.is_at_most else ""
        told = ("-" if x is None else of + UNITS[self.unit].format(x) for x in (self.bar, self.goal))
        bar, goal = told
        measured = "not measured" if self.found is None else self.found.text(self.unit)
        return [self.what, measured, bar, self.verdict(self.bar), goal, self.verdict(self.goal)]


AIMS = ("what", "measured", "bar", "bar is", "goal", "goal is")


# ---------------------------------------------------------------- tables


class Table(NamedTuple):
    """A header and rows of as many cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self, markdown: bool) -> str:
        """As Markdown, or in columns."""
        if markdown:
            lines = [self.header, ["---"] * len(self.header), *self.rows]
            return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [self.header, ["-" * width for width in widths], *self.rows]
        return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines)


@dataclasses.dataclass
class Report:
    """A comparison: what it is, what was measured, and what was to be reached."""

    title: str
    clock: Clock
    peers: tuple[str, ...] = ()
    """Packages whose versions are told beside ours."""
    opening: list[str] = dataclasses.field(default_factory=list)
    tables: list[Table] = dataclasses.field(default_factory=list)
    closing: list[str] = dataclasses.field(default_factory=list)
    rows: list[Row] = dataclasses.field(default_factory=list)
    aims: list[Aim] = dataclasses.field(default_factory=list)

    def text(self, options: Common) -> str:
        """Everything as text, or as Markdown."""
        marked = options.markdown
        heading = f"## {self.title}" if marked else f"{self.title}\n{'=' * len(self.title)}"
        how = [
            f"{options.repeats} repeats by turns in an order drawn anew, {self.clock.name}; medians with "
            "their bootstrap 95 % intervals, of ratios formed repeat by repeat."
        ]
        has_turns = any(row.samples for row in self.rows)
        blocks = [
            heading,
            *self.opening,
            *(how if has_turns else []),
            *(table.text(marked) for table in self.tables),
        ]
        if self.closing:
            blocks.append("\n".join(f"- {line}" for line in self.closing))
        return "\n\n".join(blocks + ([aims_of([self]).text(marked)] if self.aims else []))


def aims_of(reports: Sequence[Report]) -> Table:
    """All bars and goals."""
    return Table(AIMS, [aim.cells() for report in reports for aim in report.aims])


# ---------------------------------------------------------------- where


def cpu(threads: int) -> str:
    """The name of so many threads."""
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def not_measured() -> str:
    """What stands where a GPU's number would."""
    return "not measured (--device cuda)" if torch.cuda.is_available() else "not measured (no GPU)"


def load() -> float:
    """How many processes have wanted to run in the last minute, on average; 0 where nobody counts them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def busy(before: float, after: float, threads: int) -> str | None:
    """A warning if the load is above the threads used; half a process more passes, as idle systems have."""
    if max(before, after) <= threads + 0.5:
        return None
    return (
        f"warning: the machine is busy: load {before:.1f} before and {after:.1f} after, {threads} "
        f"thread{'s' * (threads > 1)} used; wall times say little, and processor times are noisy"
    )


def machine(threads: int, before: float) -> dict[str, Any]:
    """What it ran on."""
    processor, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        models = [line for line in lines if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    return {
        "cpu": processor,
        "cores": os.cpu_count(),
        "instructions": instruction_set() or "unknown",
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": threads,
        "load_before": before,
        "load_after": load(),
    }


def versions(reports: Sequence[Report]) -> dict[str, str]:
    """Of Python and the packages."""
    names = dict.fromkeys(("torch", "numpy", "numba", *(peer for r in reports for peer in r.peers)))
    return {"Python": platform.python_version(), **{n: importlib.metadata.version(n) for n in names}}


def told_machine(here: dict[str, Any], with_: dict[str, str]) -> str:
    """Both as a sentence."""
    return (
        f"Machine: {here['cpu']}, {here['cores']} cores, {here['instructions']} (torch: "
        f"{here['torch_instructions']}), {here['gpu'] or 'no GPU'}; {here['threads']} threads; load "
        f"{here['load_before']:.1f} before, {here['load_after']:.1f} after; "
        f"{', '.join(f'{name} {version}' for name, version in with_.items())}."
    )


def as_json(reports: Sequence[Report], here: dict[str, Any], command: Sequence[str]) -> str:
    """All numbers: of each comparison its rows with every sample, its bars and goals, its notes."""

    def told() -> Iterator[dict[str, Any]]:
        for report in reports:
            yield {
                "title": report.title,
                "clock": report.clock.name,
                "rows": [row.numbers() for row in report.rows],
                "aims": [
                    aim._asdict() | {"bar_is": aim.verdict(aim.bar), "goal_is": aim.verdict(aim.goal)}
                    for aim in report.aims
                ],
                "notes": report.opening + report.closing,
            }

    whole = {
        "command": list(command),
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": here,
        "versions": versions(reports),
        "comparisons": list(told()),
    }
    return json.dumps(whole, indent=1)
