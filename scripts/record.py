"""Write matches between players down: `agents/commands/record.py`, which `fogbound record` calls, too."""

from __future__ import annotations

from agents.commands.record import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
