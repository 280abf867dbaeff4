"""Train one agent in one Gymnasium world: `agents/commands/train.py`, which `fogbound train` calls, too."""

from __future__ import annotations

from agents.commands.train import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
