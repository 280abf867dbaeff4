"""Learn from records what comes next, and tell how well it is predicted.

python scripts/sequence.py fit configs/setups_gated.yaml --data setups.txt.gz --tokens.cell lstm

python scripts/sequence.py fit --resume runs/<run>

python scripts/sequence.py score runs/<run> --data setups.txt.gz

python scripts/sequence.py sample runs/<run> --temperature 0.8

python scripts/sequence.py sample runs/<run> --data records/hex --line 7 --after 5
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import tyro

from agents import files
from agents.learn.judged import Score
from agents.learn.streams import seat_stream, token_names
from agents.play import records
from agents.play.agent_file import load
from agents.play.continuing import (
    continue_match,
    continue_setups,
    continue_stream,
    read_army,
    read_letters,
    text_of,
)
from agents.play.records.setups import is_setups
from agents.play.token_file import Tokens, is_tokens, read_tokens
from agents.run import cli
from agents.run.config import read_config
from agents.run.keeper import Outcome
from agents.run.sequence import SEQUENCE_CHOICES, SequenceConfig, resume, score_run, train
from agents.run.source import Part
from agents.run.stream import SAY
from agents.run.written import typed
from envs import REFEREE
from envs.names import known


def main() -> None:
    """Do what the first word says."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in ("", "-h", "--help"):
        print(f"usage: {' '.join(cli.called('sequence'))} fit|score|sample ...\n\n{cli.described(__doc__)}")
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
    config = read_config(outcome.run / "config.yaml", SequenceConfig)
    data = ("--data", config.data)
    SAY("next")
    SAY("  " + typed(*cli.called("sequence"), "score", outcome.run, *data))
    SAY(
        "  "
        + typed(*cli.called("sequence"), "sample", outcome.run, *(() if is_setups(config.data) else data))
    )
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
    """Of arrangements: the letters that they begin with."""
    data: str | None = None
    """Of matches: the folder or file of records in which the match stands that is continued."""
    line: int = 1
    """Of matches: its line there."""
    after: int = 0
    """Of matches: decisions of it that are kept; of a seat's stream, tokens."""
    seat: int = 0
    """Of a seat's stream: whose."""
    count: int = 1
    """How many arrangements, or tokens of a stream, to draw; a match goes on to its end."""
    temperature: float = 1.0
    """The logits are divided by it: below 1 the likely becomes likelier; 0 takes the likeliest."""
    seed: int = 0
    """Of the draws."""


def print_samples() -> None:
    """Print arrangements, tokens by their names, or a match."""
    a = cli.parse(Sampled, __doc__)
    stored = files.read(a.run, "best")
    tokens = read_tokens(stored) if is_tokens(stored) else None
    if tokens is not None and tokens.about.get("kind") == "setups":
        army, begin = read_army(tokens.about, a.run), read_letters(a.begin)
        for one in continue_setups(tokens.model, begin, army, a.count, a.temperature, a.seed):
            SAY(text_of(one) + "\n")
        return
    if a.data is None:
        raise ValueError("say with --data which records the match stands in that is to be continued")
    matches = records.load_line(a.data, a.line)
    if tokens is not None:
        print_stream(tokens, matches, a)
        return
    agent = load(a.run, which="best")
    if agent.task.rules != matches.game:
        raise ValueError(f"{a.run}: plays {agent.task.rules}, the match is of {matches.game}")
    for match in continue_match(agent.policy, matches, a.after, a.temperature, a.seed):
        SAY(match.text(REFEREE) + "\n")


def print_stream(tokens: Tokens, matches: records.Matches, a: Sampled) -> None:
    """What a seat saw and did, and what is taken to follow, a token a line."""
    names, seats = token_names(matches), matches.game.seats
    if tokens.about.get("names") != names:
        raise ValueError(f"{a.run}: knows other tokens than {matches.game} has")
    if not 0 <= a.seat < seats:
        raise ValueError(f"--seat must be in 0..{seats - 1}, got {a.seat}")
    stream = seat_stream(matches, a.seat)
    if not 0 <= a.after <= len(stream):
        raise ValueError(
            f"--after: seat {a.seat} saw and did {len(stream)} tokens of this match: expected to keep 0 to "
            f"{len(stream)}, got {a.after}"
        )
    begin = stream[: a.after]
    drawn = continue_stream(tokens.model, begin, a.count, a.temperature, a.seed)
    for mark, part in ((" ", begin), (">", drawn)):
        for token in part.tolist():
            SAY(f"{mark} {names[token]}")


VERBS = {"fit": fit, "score": print_score, "sample": print_samples}
"""What it can do."""
