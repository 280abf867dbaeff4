"""What is installed and what is missing: `agents/commands/doctor.py`, which `fogbound doctor` calls, too."""

from __future__ import annotations

from agents.commands.doctor import main
from agents.run import cli

if __name__ == "__main__":
    cli.run(main)
