"""Learn from records what comes next: `agents/commands/sequence.py`, which `fogbound sequence` calls, too."""

from __future__ import annotations

from agents.commands.sequence import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
