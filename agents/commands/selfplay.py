"""Train an agent by self-play.

python scripts/selfplay.py configs/dark_hex_gated.yaml --algo.learning-rate linear:5e-4 --seed 3

python scripts/selfplay.py --resume runs/<run>

torchrun --nproc-per-node=2 scripts/selfplay.py configs/dark_hex_gated.yaml

python scripts/selfplay.py configs/kuhn_poker_gated.yaml --help
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from agents.learn.group import joined
from agents.play.arena import NOBODY, Result
from agents.run import cli
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import Config, read_config
from agents.run.keeper import Outcome
from agents.run.selfplay import resume, train
from agents.run.stream import SAY
from agents.run.written import typed


def main() -> None:
    """Train as the command line says, with the processes that torchrun started, if it did."""
    with joined() as group:
        say = SAY if group.rank == 0 else lambda _: None

        def begin(config: Config, command: str) -> Outcome[Result]:
            return train(config, command, say, group)

        def go_on(run: str, change: Callable[[Config], Config]) -> Outcome[Result]:
            return resume(run, change, say, group)

        is_first = group.rank == 0
        outcome = cli.start_or_resume(Config, begin, go_on, __doc__, SELF_PLAY_CHOICES, is_heard=is_first)
        if group.rank == 0:
            report(outcome, group.is_launched)


def report(outcome: Outcome[Result], is_launched: bool = False) -> None:
    """How good it is, and what to type next.

    Args:
        is_launched: torchrun waits, which starts again what ends by anything but 0; so a run that was
            stopped and saved ends by 0.
    """
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        SAY(f"stopped and saved ({speed}). Go on with")
        SAY("  " + typed(*cli.called("selfplay"), "--resume", outcome.run))
        sys.exit(0 if is_launched else outcome.exit_code)
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
