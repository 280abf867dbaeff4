"""Play against an agent: `agents/commands/play.py`, which `fogbound play` calls, too."""

from __future__ import annotations

from agents.commands.play import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
