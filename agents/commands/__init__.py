"""The commands: one file each, called as `fogbound NAME ...` where the package is installed, or as
`python scripts/NAME.py ...` in a checkout."""

from __future__ import annotations

import importlib
import sys

from agents.packaged import version
from agents.run import cli
from envs.names import known

COMMANDS = {
    "selfplay": "train an agent by self-play",
    "train": "train one agent in one Gymnasium world",
    "watch": "watch matches of an agent: in the terminal, as SVG, GIF or HTML, in a window or on a page",
    "play": "play against an agent or a bot: on a page in the browser, or in the terminal",
    "tournament": "let players meet; results with 95 % intervals",
    "exploitability": "what a best response gets against a player, exactly",
    "memory": "what an agent's memory does: gradients, recall and time constants by lag",
    "record": "write matches between players down, one a line",
    "records": "check, count, import and export records",
    "solve": "write a player that can hardly be exploited, of a game whose tree fits the memory",
    "doctor": "tell what is installed, and what is missing for which command",
    "export": "write one decision of an agent as a file for programs without torch",
}
"""Every command, and what it does."""


def fogbound() -> None:
    """The console command `fogbound COMMAND ...`, or one that tells the commands."""
    cli.run(choose)


def choose() -> None:
    """Call the command that the command line names first.

    Raises:
        ValueError: there is no such command.
    """
    name, *arguments = sys.argv[1:] or [""]
    if name in ("", "-h", "--help"):
        usage = "\n".join(f"  {command:<16}{does}" for command, does in COMMANDS.items())
        print(f"usage: fogbound COMMAND ...\n\n{usage}\n\nfogbound COMMAND --help tells more of one.")
        sys.exit(0 if name else 2)
    if name == "--version":
        print(f"fogbound {version()}")
        return
    if name not in COMMANDS:
        raise ValueError(f"unknown command {name!r}; known are {known(name, COMMANDS)}")
    sys.argv = [f"{cli.CONSOLE} {name}", *arguments]
    importlib.import_module(f"agents.commands.{name}").main()
