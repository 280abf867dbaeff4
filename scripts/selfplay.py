"""Train an agent by self-play: `agents/commands/selfplay.py`, which `fogbound selfplay` calls, too."""

from __future__ import annotations

from agents.commands.selfplay import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
