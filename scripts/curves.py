"""Draw a curve of several runs in one figure, with its 95 % interval where the runs tell one.

python scripts/curves.py runs/<run> runs/<run> --out curves.svg

python scripts/curves.py runs/<run> --tag eval/vs/random/mean --labels "with memory" --out curve.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from agents.run import cli, figures
from agents.run.curves import read_lines


@dataclass(frozen=True)
class Arguments:
    """What to draw."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folders of runs, which hold a metrics.jsonl."""
    tag: str | None = None
    """The number, as TensorBoard calls it; by default the mean against the first run's first player."""
    labels: tuple[str, ...] = ()
    """What to call the runs; by default by their folders."""
    title: str = ""
    """What stands above."""
    out: Path = Path("curves.svg")
    """The file; its ending says whether it is drawn as svg, png or pdf."""


def main() -> None:
    """Draw what the command line asks for."""
    a = cli.parse(Arguments, __doc__)
    if not a.runs:
        raise ValueError("expected the folder of a run at least")
    if a.labels and len(a.labels) != len(a.runs):
        raise ValueError(f"expected a label for each of {len(a.runs)} runs, got {len(a.labels)}")
    labels, tag = a.labels or tuple(run.name for run in a.runs), a.tag or headline(a.runs[0])
    curves = {label: points(run, tag) for label, run in zip(labels, a.runs, strict=True)}
    draw(curves, tag, a.title, a.out)
    print(f"{a.out}: {a.out.stat().st_size:,} bytes")


def headline(run: Path) -> str:
    """The tag of the run's mean against the first of its players.

    Raises:
        ValueError: it has not been evaluated yet.
    """
    for line in read_lines(run / "metrics.jsonl"):
        for name in line:
            if name.startswith("eval/") and name.endswith("/mean"):
                return str(name)
    raise ValueError(f"{run}: has no evaluation yet; say with --tag what to draw")


def points(run: Path, tag: str) -> list[tuple[int, float, float, float]]:
    """Step, value, low and high of the number `tag` in a run; low and high are the value where it has none.

    Raises:
        ValueError: the run has no such number; the message names those that it has.
    """
    lines = read_lines(run / "metrics.jsonl")
    below = tag.rpartition("/")[0]
    found = [
        (
            int(line["step"]),
            line[tag],
            line.get(f"{below}/low", line[tag]),
            line.get(f"{below}/high", line[tag]),
        )
        for line in lines
        if line.get(tag) is not None
    ]
    if not found:
        names = sorted({name for line in lines for name in line} - {"step"})
        raise ValueError(f"{run}: has no {tag!r}; it has {', '.join(names)}")
    return found


def draw(curves: dict[str, list[tuple[int, float, float, float]]], tag: str, title: str, out: Path) -> None:
    """Write the figure; the same runs give the same bytes."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    for label, found in curves.items():
        step, value, low, high = zip(*found, strict=True)
        (line,) = axes.plot(step, value, label=label)
        axes.fill_between(step, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(ylabel=tag, title=title)
    figures.count_decisions(axes)
    figures.plain(axes)
    axes.legend(frameon=False)
    figures.save(figure, out)


if __name__ == "__main__":
    cli.run(main)
