"""What the figures share: how they look, and files that are the same for the same numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from agents.files import write_file


def plain(axes: Any) -> None:
    """A panel without a frame, on a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)


def count_decisions(axes: Any) -> None:
    """Say decisions to the right, as 200 k or 1 M."""
    axes.set_xlabel("decisions")
    axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=" "))


def save(figure: Figure, out: Path) -> None:
    """Write a figure in the format that its name ends with, whole or not at all; the same one gives the same
    bytes."""
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "fogbound"}):
        metadata = {"Date": None} if out.suffix == ".svg" else None
        figure.savefig(drawn, format=out.suffix[1:], metadata=metadata, dpi=150)
    write_file(out, drawn.getvalue())
