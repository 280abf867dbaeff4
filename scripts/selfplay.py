"""Train an agent by self-play.

python scripts/selfplay.py configs/dark_hex_gated.yaml --algo.learning-rate 5e-4 --seed 3

python scripts/selfplay.py --resume runs/<run>

python scripts/selfplay.py configs/kuhn_poker_gated.yaml --help
"""

from __future__ import annotations

from agents import cli
from agents.arena import NOBODY, Result
from agents.config import Config
from agents.runs import Outcome
from agents.training import resume, train
from agents.written import typed


def main() -> None:
    report(cli.start_or_resume(Config, train, resume, __doc__))


def report(outcome: Outcome[Result]) -> None:
    """How good it is, and what to type next."""
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        print(f"stopped and saved ({speed}). Go on with")
        print(" ", typed("python", "scripts/selfplay.py", "--resume", outcome.run))
        return
    results = {("agent", name): result for name, result in outcome.results.items()}
    results |= {(name, NOBODY): result for name, result in outcome.anchors.items()}
    cli.show(cli.result_table(f"trained: {speed}", results))
    print("next")
    options = ("--opponent", "random", "--render", "gif", "--out", "match.gif")
    print(" ", typed("python", "scripts/watch.py", outcome.run, *options))
    print(" ", typed("python", "scripts/tournament.py", outcome.run, "random", "bot"))
    print(" ", typed("tensorboard", "--logdir", outcome.run.parent))


if __name__ == "__main__":
    cli.run(main)
