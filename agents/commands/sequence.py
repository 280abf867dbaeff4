"""Learn from records what comes next, and tell how well it is predicted.

python scripts/sequence.py fit configs/setups_gated.yaml --data setups.txt.gz --tokens.cell lstm

python scripts/sequence.py fit --resume runs/<run>

python scripts/sequence.py score runs/<run> --data setups.txt.gz

python scripts/sequence.py sample runs/<run> --temperature 0.8
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import tyro

from agents.learn.judged import Score
from agents.play.continuing import continue_setups, read_army, read_letters, text_of
from agents.play.token_file import load_tokens
from agents.run import cli
from agents.run.keeper import Outcome
from agents.run.sequence import SEQUENCE_CHOICES, SequenceConfig, resume, score_run, train
from agents.run.source import Part
from agents.run.stream import SAY
from agents.run.written import typed
from envs.names import known


def main() -> None:
    """Do what the first word says."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in ("", "-h", "--help"):
        print(f"usage: {' '.join(cli.called('sequence'))} fit|score|sample ...\n\n{__doc__}")
        sys.exit(0 if verb else 2)
    if verb not in VERBS:
        raise ValueError(f"unknown command {verb!r}; known are {known(verb, VERBS)}")
    sys.argv = [f"{sys.argv[0]} {verb}", *sys.argv[2:]]
    VERBS[verb]()


# ---------------------------------------------------------------- fit


def fit() -> None:
    """Learn as the command line says."""
    outcome = cli.start_or_resume(SequenceConfig, train, resume, __doc__, SEQUENCE_CHOICES)
    speed = f"{outcome.timesteps:,} decisions, {outcome.seconds:.0f} s"
    if outcome.was_interrupted:
        SAY(f"stopped and saved ({speed}). Go on with")
        SAY("  " + typed(*cli.called("sequence"), "fit", "--resume", outcome.run))
        sys.exit(outcome.exit_code)
    report(outcome, speed)


def report(outcome: Outcome[Score], speed: str) -> None:
    """How good it is, and what to type next."""
    rows = [
        (
            name,
            f"{r.decisions:,}",
            _told(r.perplexity, r.perplexity_interval, 4),
            _told(100 * r.top1, tuple(100 * x for x in r.top1_interval), 2),
            f"{100 * r.top3:.2f}",
            f"{100 * r.illegal:.3f}",
        )
        for name, r in outcome.results.items()
    ]
    columns = ("part", "decisions", "perplexity, 95 %", "top-1 in %, 95 %", "top-3 in %", "illegal in %")
    cli.show(cli.as_table(f"the best of the run: {speed}", columns, rows))
    SAY("next")
    SAY("  " + typed(*cli.called("sequence"), "score", outcome.run, "--data", "FILE"))
    SAY("  " + typed(*cli.called("sequence"), "sample", outcome.run))
    SAY("  " + typed("tensorboard", "--logdir", outcome.run.parent))


def _told(mean: float, interval: tuple[float, ...], digits: int) -> str:
    low, high = interval
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


# ---------------------------------------------------------------- score


@dataclasses.dataclass(frozen=True)
class Scored:
    """What to score, and on what."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run of `fit`, or one of its checkpoints."""
    data: str
    """Folder or file of records, or of arrangements."""
    part: Part | None = None
    """Of the data; None is what was held out where the run learned from these very data, else all of them."""
    device: str = "cpu"
    """Where it computes."""


def print_score() -> None:
    """Print the numbers, one a line."""
    a = cli.parse(Scored, __doc__)
    part, result, counted = score_run(a.run, a.data, a.part, a.device)
    SAY(f"{part} of {a.data}: {result.decisions:,} decisions in {result.groups:,} groups")
    top1 = _told(100 * result.top1, tuple(100 * x for x in result.top1_interval), 2)
    SAY(f"perplexity        {_told(result.perplexity, result.perplexity_interval, 4)}")
    SAY(f"top-1             {top1} %")
    SAY(f"top-3             {100 * result.top3:.2f} %")
    SAY(f"illegal           {100 * result.illegal:.3f} % of the probability")
    SAY(f"among legal ones  perplexity {result.numbers()['legal_perplexity']:.4f}")
    for name, perplexity in counted.items():
        SAY(f"by counting       perplexity {perplexity:.4f}, {name}")


# ---------------------------------------------------------------- sample


@dataclasses.dataclass(frozen=True)
class Sampled:
    """What to continue, and how."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run of `fit`, or one of its checkpoints."""
    begin: str = ""
    """The letters that an arrangement begins with."""
    count: int = 1
    """How many to draw."""
    temperature: float = 1.0
    """The logits are divided by it: below 1 the likely becomes likelier; 0 takes the likeliest."""
    seed: int = 0
    """Of the draws."""


def print_samples() -> None:
    """Print arrangements, four rows each."""
    a = cli.parse(Sampled, __doc__)
    model, about, _ = load_tokens(a.run)
    drawn = continue_setups(
        model, read_letters(a.begin), read_army(about, a.run), a.count, a.temperature, a.seed
    )
    for one in drawn:
        SAY(text_of(one) + "\n")


VERBS = {"fit": fit, "score": print_score, "sample": print_samples}
"""What it can do."""
