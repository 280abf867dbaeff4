"""Write a decision of an agent as a file: `agents/commands/export.py`, which `fogbound export` calls, too."""

from __future__ import annotations

from agents.commands.export import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
