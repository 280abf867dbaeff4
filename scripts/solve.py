"""Solve a game: `agents/commands/solve.py`, which `fogbound solve` calls, too."""

from __future__ import annotations

from agents.commands.solve import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
