"""Train an agent by self-play.

python scripts/selfplay.py configs/dark_hex_gated.yaml --algo.learning-rate linear:5e-4 --seed 3

python scripts/selfplay.py --resume runs/<run>

python scripts/selfplay.py configs/kuhn_poker_gated.yaml --help
"""

from __future__ import annotations

import sys

from agents.play.arena import NOBODY, Result
from agents.run import cli
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import Config, read_config
from agents.run.keeper import Outcome
from agents.run.selfplay import resume, train
from agents.run.stream import SAY
from agents.run.written import typed


def main() -> None:
    """Train as the command line says."""
    report(cli.start_or_resume(Config, train, resume, __doc__, SELF_PLAY_CHOICES))


def report(outcome: Outcome[Result]) -> None:
    """How good it is, and what to type next."""
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        SAY(f"stopped and saved ({speed}). Go on with")
        SAY("  " + typed(*cli.called("selfplay"), "--resume", outcome.run))
        sys.exit(outcome.exit_code)
    results = {("agent", name): result for name, result in outcome.results.items()}
    results |= {(name, NOBODY): result for name, result in outcome.anchors.items()}
    cli.show(cli.result_table(f"trained: {speed}", results))
    SAY("next")
    config = read_config(outcome.run / "config.yaml", Config)
    names = (config.game, config.policy.cell, *config.opponents.players, *config.eval.players)
    outside = list(dict.fromkeys(name for name in names if cli.is_outside(name)))
    uses = ("--uses", *outside) if outside else ()
    picture = ("--opponent", config.eval.players[0] if config.eval.players else "random", "--render", "gif")
    SAY("  " + typed(*cli.called("watch"), outcome.run, *picture, "--out", "match.gif", *uses))
    SAY("  " + typed(*cli.called("tournament"), outcome.run, *(config.eval.players or ["random"]), *uses))
    SAY("  " + typed("tensorboard", "--logdir", outcome.run.parent))
