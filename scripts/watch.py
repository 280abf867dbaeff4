"""Watch matches of an agent: `agents/commands/watch.py`, which `fogbound watch` calls, too."""

from __future__ import annotations

from agents.commands.watch import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
