"""Train one agent in one Gymnasium world.

python scripts/train.py configs/cartpole_novel_gated.yaml --seed 3 --policy-kwargs.cell lstm

python scripts/train.py --resume runs/<run>

python scripts/train.py configs/cartpole_novel_gated.yaml --help
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.table import Table

from agents.gym.config import WORLD_CHOICES, WorldConfig
from agents.gym.episodes import Episodes
from agents.gym.training import resume, train
from agents.run import cli
from agents.run.keeper import Outcome
from agents.run.stream import SAY
from agents.run.written import typed


def main() -> None:
    """Train as the command line says."""
    report(cli.start_or_resume(WorldConfig, train, resume, __doc__, WORLD_CHOICES))


def report(outcome: Outcome[Episodes]) -> None:
    """How good it is, and what to type next."""
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        SAY(f"stopped and saved ({speed}). Go on with")
        SAY("  " + typed(*cli.called("train"), "--resume", outcome.run))
        sys.exit(outcome.exit_code)
    cli.show(episode_table(f"trained: {speed}", outcome.results | outcome.anchors))
    gif = outcome.run / "replays" / f"step_{outcome.timesteps}.gif"
    if gif.exists():
        SAY(f"an episode   {gif}")
    SAY("next")
    if gif.exists():
        options = ("--render", "gif", "--out", "episode.gif")
        SAY("  " + typed(*cli.called("watch"), outcome.run, *options))
    more = ("--total-timesteps", 2 * outcome.timesteps)
    SAY("  " + typed(*cli.called("train"), "--resume", outcome.run, *more))
    SAY("  " + typed("tensorboard", "--logdir", outcome.run.parent))


def episode_table(title: str, results: Mapping[str, Episodes]) -> Table:
    """What players earned in a world, by name, as a table for `Console.print`."""
    table = Table(title=title, title_justify="left")
    for column in ("player", "episodes", "mean reward, 95 %", "mean length"):
        table.add_column(column, justify="left" if column == "player" else "right")
    for player, r in results.items():
        low, high = r.interval
        table.add_row(
            player, f"{len(r.rewards):,}", f"{r.mean:.2f} [{low:.2f}, {high:.2f}]", f"{r.mean_length:.1f}"
        )
    return table
