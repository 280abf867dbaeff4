"""Let players meet, every one every other, seats balanced; results with 95 % intervals.

Games for one seat are played alone, the same deals by everyone.

python scripts/tournament.py runs/<run> random bot

python scripts/tournament.py random bot --game dark_hex --options.rows 4 --options.cols 4
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import tyro
from tqdm import tqdm

from agents.play.arena import tournament
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.keeper import resolve_device
from agents.run.sizes import check_judged


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Who meets whom, and how often."""

    players: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PLAYERS...")]
    """Runs, checkpoints, agents' files, or fixed players (random, bot, in generals greedy, expander); two
    or more."""
    matches_per_seat: int = 2_000
    """Matches of each pair in each seating."""
    game: str | None = None
    """The game, needed only among fixed players."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of that game."""
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
    """Play everyone against every other and print the table."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    if len(a.players) < 2:
        raise ValueError(f"a tournament needs at least two players, got {len(a.players)}")
    device = resolve_device(a.device)
    game, players = cli.sit_down(
        list(a.players),
        a.game,
        a.options,
        device=device,
        deterministic=a.deterministic,
        seed=a.seed,
    )
    pairs = len(players) * (len(players) - 1) // 2 if game.seats == 2 else len(players)
    check_judged("--matches-per-seat", a.matches_per_seat * pairs, game.seats, device)
    is_shown = a.progress and sys.stderr.isatty()
    with tqdm(total=2 * a.matches_per_seat * pairs, unit="match", disable=not is_shown) as bar:
        results = tournament(game, players, a.matches_per_seat, a.seed, device, bar.update)
    cli.show(cli.result_table(f"{game}", results))
