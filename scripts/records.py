"""Look after records: `agents/commands/records.py`, which `fogbound records` calls, too."""

from __future__ import annotations

from agents.commands.records import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
