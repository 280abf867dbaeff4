"""Write one decision of an agent as a file for programs without torch.

python scripts/export.py runs/<run> --format onnx --out agent.onnx

The file says itself how it is called; this prints it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents import load
from agents.files import Which
from agents.play.export import export_onnx
from agents.run import cli


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to write."""

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """A run, a checkpoint, or an agent's file."""
    which: Which = "latest"
    """The checkpoint that a run plays with: its latest or its best one."""
    format: Literal["onnx"] = "onnx"
    """ONNX, which onnxruntime and others compute; needs the extra `onnx`."""
    out: Path = Path("agent.onnx")
    """The file."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


def main() -> None:
    """Write the file and say how it is called."""
    a = cli.parse(Arguments, __doc__)
    cli.use(a.uses)
    told = export_onnx(load(a.agent, which=a.which), a.out)
    print(f"{a.out}: {a.out.stat().st_size:,} bytes\n\n{told}")
