"""Let players meet: `agents/commands/tournament.py`, which `fogbound tournament` calls, too."""

from __future__ import annotations

from agents import cli
from agents.commands.tournament import main

if __name__ == "__main__":
    cli.run(main)
