"""What an agent's memory does, by lag: `agents/commands/memory.py`, which `fogbound memory` calls, too."""

from __future__ import annotations

from agents.commands.memory import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
