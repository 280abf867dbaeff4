"""Write matches between players down, one a line, in a folder with a manifest; they take turns in the seats.

python scripts/record.py runs/<run> bot --matches 10000 --out records/mine

python scripts/record.py greedy expander --game generals --matches 1000 --out records/generals

Ctrl-C keeps what was written so far, whole. scripts/records.py checks and counts it, scripts/watch.py
--replay shows a match of it.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from agents.files import Which
from agents.play import records
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.keeper import resolve_device
from agents.run.stream import SAY


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Who plays, how often, and where it is written."""

    players: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PLAYERS...")]
    """Runs, checkpoints, agents' files, solved games, or fixed players (random, bot, in generals greedy,
    expander); one for each seat."""
    out: Path
    """The folder, a new one."""
    matches: int = 1_000
    """Matches."""
    validation: float = records.Split().validation
    """The share of the matches that is for validation, 0..1; each is on its side by itself."""
    game: str | None = None
    """The game, needed only among fixed players."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of that game."""
    which: Which = "latest"
    """The checkpoint that a run plays with: its latest or its best one."""
    deterministic: bool = False
    """Agents take their most probable action instead of drawing one."""
    seed: int = 0
    """Seed of the matches and of the players."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


def main() -> None:
    """Play and write."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    cli.check_folder(a.out)
    device = resolve_device(a.device)
    game, players = cli.sit_down(
        list(a.players),
        a.game,
        a.options,
        device=device,
        deterministic=a.deterministic,
        seed=a.seed,
        which=a.which,
    )
    is_shown = a.progress and sys.stderr.isatty()
    writer = records.Writer(a.out, game, records.Split(a.validation))
    try:
        with tqdm(total=a.matches, unit="match", disable=not is_shown) as bar:
            records.record(players, a.matches, writer, seed=a.seed, device=device, on_progress=bar.update)
    finally:
        kept = writer.kept
        if kept.matches > 0:
            SAY(f"written      {kept.matches:,} matches, {kept.decisions:,} decisions in {a.out}")
