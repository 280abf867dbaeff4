"""Train one agent in one Gymnasium world.

python scripts/train.py configs/cartpole_novel_gated.yaml --seed 3 --policy-kwargs.cell lstm

python scripts/train.py --resume runs/<run>

python scripts/train.py configs/cartpole_novel_gated.yaml --help
"""

from __future__ import annotations

import sys

from agents import cli
from agents.config import WorldConfig
from agents.episodes import Episodes
from agents.runs import SAY, Outcome
from agents.world_training import resume, train
from agents.written import typed


def main() -> None:
    report(cli.start_or_resume(WorldConfig, train, resume, __doc__))


def report(outcome: Outcome[Episodes]) -> None:
    """How good it is, and what to type next."""
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        SAY(f"stopped and saved ({speed}). Go on with")
        SAY("  " + typed(*cli.called("train"), "--resume", outcome.run))
        sys.exit(outcome.exit_code)
    cli.show(cli.episode_table(f"trained: {speed}", outcome.results | outcome.anchors))
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
