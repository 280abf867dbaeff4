"""Let players meet, every one every other, seats balanced; results with 95 % intervals.

Where `random` is among them everyone gets a rating, in points above it (400 are odds of 10 : 1), the
share of cyclic triples says whether to believe it, and Nash averaging does without. Games for one seat are
played alone, the same deals by everyone.

python scripts/tournament.py runs/<run> random bot

python scripts/tournament.py runs/<run> bot --all-checkpoints --out standings

python scripts/tournament.py random bot --game dark_hex --options.rows 4 --options.cols 4
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from agents.files import Which, run_named
from agents.play.arena import round_robin
from agents.play.players import Player, is_player_name
from agents.play.ratings import ANCHOR
from agents.play.standings import Standings, has_anchor, standings_of, with_anchor
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.folder import spaced
from agents.run.keeper import resolve_device
from agents.run.sizes import check_judged
from agents.run.stream import SAY, say_aside
from envs import Game

SHOWN = 8
"""Players, at most, of whom every pair gets its row where there are ratings, too."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Who meets whom, and how often."""

    players: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PLAYERS...")]
    """Runs, checkpoints, agents' files, or fixed players (random, bot, in generals greedy, expander); two
    or more."""
    matches_per_seat: int = 2_000
    """Matches of each pair in each seating."""
    all_checkpoints: bool = False
    """A run stands for its checkpoints; of more than 8 for those evenly spread over the logarithm."""
    out: Path | None = None
    """A folder for results.json, payoffs.csv, ratings.csv and heatmap.svg; `random` joins the players."""
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
    """Play everyone against every other and print the tables."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    if a.out is not None:
        cli.check_folder(a.out)
    specs = [part for spec in a.players for part in (checkpoints(spec) if a.all_checkpoints else [spec])]
    if not specs:
        raise ValueError("a tournament needs at least two players, got 0")
    device = resolve_device(a.device)
    game, players = cli.sit_down(
        specs,
        a.game,
        a.options,
        device=device,
        deterministic=a.deterministic,
        seed=a.seed,
        which=a.which,
    )
    if a.out is not None or a.all_checkpoints:
        players = rated(game, players, a.seed)
    if len(players) < 2:
        raise ValueError(f"a tournament needs at least two players, got {len(players)}")
    pairs = len(players) * (len(players) - 1) // 2 if game.seats == 2 else len(players)
    check_judged("--matches-per-seat", a.matches_per_seat * pairs, game.seats, device)
    is_shown = a.progress and sys.stderr.isatty()
    with tqdm(total=2 * a.matches_per_seat * pairs, unit="match", disable=not is_shown) as bar:
        results = round_robin(game, players, a.matches_per_seat, a.seed, device, bar.update)
    is_rated = game.seats == 2 and has_anchor(players)
    if len(players) <= SHOWN or not is_rated:
        cli.show(cli.result_table(f"{game}", results))
    if is_rated:
        tell(standings_of(game, [player.name for player in players], results), a.out)


def checkpoints(spec: str) -> list[str]:
    """The checkpoints that stand for a run, as `sit_down` takes them; what is no run stands for itself."""
    run = run_named(spec)
    found = spaced(run) if not is_player_name(spec) and run.is_dir() else []
    return [str(path) for path in found] or [spec]


def rated(game: Game, players: Sequence[Player], seed: int) -> list[Player]:
    """The players, with the one from whom ratings count.

    Raises:
        ValueError: there are no ratings of games for one.
    """
    if game.seats != 2:
        raise ValueError(f"--out and --all-checkpoints are for games with two seats, {game} has {game.seats}")
    return with_anchor(game, players, seed)


def tell(standings: Standings, out: Path | None) -> None:
    """Print the ratings, and write all of it."""
    title = f"ratings in points above {ANCHOR}, 95 %"
    if standings.cycles.share is not None:
        title += f"; {standings.cycles.share:.1%} of {standings.cycles.decided} decided triples are cyclic"
    rows = []
    for k, (name, rating) in enumerate(standings.ratings.items()):
        flag = " ?" if standings.cycles.is_flagged[k] else ""
        interval = f"[{rating.low:+.0f}, {rating.high:+.0f}]"
        nash = (f"{standings.nash.mass[k]:.1%}", f"{standings.nash.payoff[k]:+.3f}")
        rows.append((name, f"{rating.points:+.0f}{flag}", interval, *nash))
    columns = ("player", "rating", "interval", "share of the Nash mixture", "mean return against it")
    cli.show(cli.as_table(title, columns, rows))
    if standings.warning is not None:
        say_aside(f"warning: {standings.warning}")
    if out is not None:
        SAY(f"written      {', '.join(str(path) for path in standings.write(out))}")
