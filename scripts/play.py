"""Play against an agent: `agents/commands/play.py`, which `fogbound play` calls, too."""

from __future__ import annotations

from agents import cli
from agents.commands.play import main

if __name__ == "__main__":
    cli.run(main)
