"""Write one decision of an agent as a file for programs without torch, or the agent alone as a small file.

python scripts/export.py runs/<run> --format onnx --out agent.onnx

python scripts/export.py runs/<run> --format agent --numbers float16 --out agent.zip

An ONNX file says itself how it is called; this prints it. An agent's file is named wherever a player is: it
holds the weights that play, and nothing of training.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents import load
from agents.files import Which, read, save_zip, with_ending
from agents.packaged import shipped_agent
from agents.play.agent_file import Numbers, alone
from agents.play.export import export_onnx
from agents.run import cli


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to write."""

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """A run, a checkpoint, or an agent's file."""
    which: Which = "latest"
    """The checkpoint that a run plays with: its latest or its best one."""
    format: Literal["onnx", "agent"] = "onnx"
    """ONNX, which onnxruntime and others compute (needs the extra `onnx`), or an agent's file."""
    numbers: Numbers = "float32"
    """What the weights of an agent's file are written in; float16 takes half the room."""
    out: Path | None = None
    """The file (default: agent.onnx, agent.zip)."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


def main() -> None:
    """Write the file and say how it is called."""
    a = cli.parse(Arguments, __doc__)
    cli.use(a.uses)
    if a.format == "agent":
        out = with_ending(a.out or "agent.zip", ".zip")
        save_zip(alone(read(shipped_agent(a.agent), a.which), numbers=a.numbers), out)
        print(f"{out}: {out.stat().st_size:,} bytes")
        return
    if a.numbers != "float32":
        raise ValueError(f"--numbers is of --format agent, got {a.numbers} with --format {a.format}")
    out = a.out or Path("agent.onnx")
    told = export_onnx(load(a.agent, which=a.which), out)
    print(f"{out}: {out.stat().st_size:,} bytes\n\n{told}")
