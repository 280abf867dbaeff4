"""Train an agent by self-play.

python scripts/selfplay.py configs/dark_hex_gated.yaml --algo.learning-rate 5e-4 --seed 3

python scripts/selfplay.py --resume runs/<run>

python scripts/selfplay.py configs/kuhn_poker_gated.yaml --help
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import tyro

from agents import cli
from agents.arena import NOBODY
from agents.config import Config, read_config
from agents.training import Outcome, resume, train

USAGE = "usage: selfplay.py CONFIG.yaml [--key value ...]   or   selfplay.py --resume RUN [--key value ...]"


def main() -> None:
    arguments = sys.argv[1:]
    if "--resume" in arguments:
        at = arguments.index("--resume")
        if at + 1 >= len(arguments) or arguments[at + 1].startswith("-"):
            raise ValueError(f"--resume needs the folder of a run; {USAGE}")
        run, rest = arguments[at + 1], arguments[:at] + arguments[at + 2 :]
        outcome = resume(run, lambda config: override(config, rest))
    elif arguments and not arguments[0].startswith("-"):
        config = override(read_config(arguments[0]), arguments[1:])
        outcome = train(config, shlex.join([Path(sys.executable).name, *sys.argv]))
    elif not arguments:
        raise ValueError(f"no configuration given; {USAGE}")
    else:  # --help without a configuration
        override(Config(), arguments)
        raise ValueError(f"the configuration comes first; {USAGE}")
    report(outcome)


def override(config: Config, arguments: list[str]) -> Config:
    """The configuration with the command line's settings."""
    return tyro.cli(
        Config, default=config, args=arguments, prog="selfplay.py CONFIG.yaml", description=__doc__
    )


def report(outcome: Outcome) -> None:
    """How good it is, and what to type next."""
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        print(f"stopped and saved ({speed}). Go on with\n  python scripts/selfplay.py --resume {outcome.run}")
        return
    results = {("agent", name): result for name, result in outcome.results.items()}
    results |= {(name, NOBODY): result for name, result in outcome.anchors.items()}
    cli.show(cli.result_table(f"trained: {speed}", results))
    print(f"""next
  python scripts/watch.py {outcome.run} --opponent random --render gif --out match.gif
  python scripts/tournament.py {outcome.run} random bot
  tensorboard --logdir {outcome.run.parent}""")


if __name__ == "__main__":
    cli.run(main)
