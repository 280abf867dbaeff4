"""Solve a game: write a player that can hardly be exploited, for two-seat zero-sum games of a small tree.

The file sits down wherever an agent's does: in a tournament, opposite a person, as a table to compare with.

python scripts/solve.py --game leduc_poker --out leduc.zip

python scripts/solve.py --game dark_hex --options.rows 2 --target 0.0001 --out hex.zip
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from tqdm import tqdm

import envs
from agents.commands.exploitability import BAR, limit_of, steps
from agents.files import with_ending
from agents.play.solver import ITERATIONS, solve
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.stream import SAY
from envs.tree import build


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What is solved, and how well."""

    game: str | None = None
    """The game."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Its options."""
    out: Path = Path("solved.zip")
    """The file."""
    target: float = 0.001
    """The exploitability (NashConv / 2, in the game's unit of reward) that is good enough."""
    iterations: int = ITERATIONS
    """After how many it stops at the latest."""
    memory_gib: float | None = None
    """Of memory that the tree may take (default: what there is)."""
    progress: bool = True
    """Show progress bars (never without a terminal)."""
    uses: tuple[str, ...] = ()
    """A game of your own, module:Name."""


def main() -> None:
    """Solve the game and write the file; interrupted, it writes nothing."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    if a.game is None:
        raise ValueError(f"say which game with --game; known are {', '.join(envs.GAMES)}")
    game, out = envs.make(a.game, **a.options), with_ending(a.out, ".zip")
    if not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ValueError(f"--out must be a file, {out} is a folder")
    limit, seen = limit_of(a.memory_gib), [(0, 0.0)]
    with tqdm(total=100, bar_format=BAR, disable=not (a.progress and sys.stderr.isatty())) as bar:
        tree = build(game, limit, steps(bar, "tree"))

        def judged(iteration: int, exploitability: float) -> None:
            seen.append((iteration, exploitability))
            bar.set_description(f"{exploitability:.6f}")

        player = solve(
            tree,
            target=a.target,
            iterations=a.iterations,
            on_progress=steps(bar, "iterations"),
            on_judged=judged,
        )
    player.save(out)
    iterations, exploitability = seen[-1]
    SAY(f"{game}: exploitability (NashConv / 2) {exploitability:.6f} after {iterations:,} iterations")
    SAY(f"{out}: {out.stat().st_size:,} bytes")
