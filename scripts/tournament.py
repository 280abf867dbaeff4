"""Let players meet: `agents/commands/tournament.py`, which `fogbound tournament` calls, too."""

from __future__ import annotations

from agents.commands.tournament import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
