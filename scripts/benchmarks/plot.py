"""Speeds over matches side by side, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from agents.run import figures
from benchmarks.telling import Row

TITLES = {"matches": "matches of phantom tic-tac-toe", "worlds": "Gymnasium worlds"}


def draw(rows: Sequence[Row], out: Path) -> None:
    """Decisions per second of every side of training, medians with their intervals."""
    grounds = [ground for ground in TITLES if any(row.name["ground"] == ground for row in rows)]
    figure = Figure(figsize=(4.2 * len(grounds), 3.4), layout="constrained")
    for axes, ground in zip(figure.subplots(1, len(grounds), squeeze=False)[0], grounds, strict=True):
        here = [row for row in rows if row.name["ground"] == ground]
        colours: dict[str, str] = {}
        for side in dict.fromkeys(side for row in here for side in row.samples):
            found = [(row.name["lanes"], row.speed(side)) for row in here if side in row.samples]
            lanes = [n for n, _ in found]
            is_floor = side.endswith("products")
            label = "sb3-contrib" if side == "peer" else side
            style, medians = "--" if is_floor else "-o", [s.median for _, s in found]
            colour = colours.get(side.partition(",")[0])
            (line,) = axes.plot(lanes, medians, style, label=label, color=colour)
            colours[side] = line.get_color()
            band = [s.low for _, s in found], [s.high for _, s in found]
            axes.fill_between(lanes, *band, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(xlabel=TITLES[ground], ylabel="decisions/s", xscale="log", yscale="log")
        axes.set_xticks([row.name["lanes"] for row in here], [str(row.name["lanes"]) for row in here])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=" "))
        figures.plain(axes)
        axes.legend(frameon=False, fontsize="small")
    figures.save(figure, out)
