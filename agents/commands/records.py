"""Look after records of matches, and of starting arrangements (setups).

python scripts/records.py check records/mine

python scripts/records.py stats records/mine

python scripts/records.py import episode.json --out records/kaggle

python scripts/records.py export records/mine --out matches.csv
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from agents.play import records
from agents.play.records import kaggle, setups, told
from agents.run import cli
from agents.run.stream import SAY
from envs.names import known


@dataclasses.dataclass(frozen=True)
class Checked:
    """Play every match again, and compare it and the manifest with what the rules give."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A folder of records, or one file of them; or setups."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    uses: tuple[str, ...] = ()
    """Games of your own, module:Name, which a record may name."""


@dataclasses.dataclass(frozen=True)
class Counted:
    """Count what is in records: lengths, how they ended, returns by player with 95 % intervals, moves."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A folder of records, or one file of them; or setups."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    uses: tuple[str, ...] = ()
    """Games of your own, module:Name, which a record may name."""


@dataclasses.dataclass(frozen=True)
class Imported:
    """Make a folder of records from what comes from elsewhere."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES...")]
    """Kaggle's episodes of dark hex (.json), or one file of setups (.txt, .txt.gz): in each line the number
    of a group of near-duplicates and 40 letters."""
    out: Path
    """The folder, a new one."""
    validation: float = records.Split().validation
    """The share that is for validation, 0..1; of setups in whole groups."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """Write matches as CSV, one row a decision; or setups as plain lines."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A folder of records, or one file of them; or setups."""
    out: Path
    """The file: .csv of matches, .txt of setups."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    uses: tuple[str, ...] = ()
    """Games of your own, module:Name, which a record may name."""


def main() -> None:
    """Do what the first word of the command line says."""
    name, *rest = sys.argv[1:] or [""]
    if name in ("", "-h", "--help"):
        words = " ".join(cli.called("records"))
        lines = "\n".join(f"  {one:<10}{kind.__doc__}" for one, (kind, _) in DOES.items())
        print(
            f"usage: {words} {{{','.join(DOES)}}} ...\n\n{lines}\n\n{words} COMMAND --help tells more of one."
        )
        sys.exit(0 if name else 2)
    if name not in DOES:
        raise ValueError(f"unknown command {name!r}; known are {known(name, DOES)}")
    kind, do = DOES[name]
    sys.argv = [f"{sys.argv[0]} {name}", *rest]
    do(cli.parse(kind, kind.__doc__))


def check(a: Checked) -> None:
    """Say that all is well, or the first line that is not."""
    if setups.is_setups(a.path):
        read = setups.load(a.path)
        SAY(f"{a.path}: {len(read):,} setups in {len(np.unique(read.groups)):,} groups, of 40 known pieces")
        return
    matches = load(a.path, a.progress, a.uses)
    SAY(
        f"{a.path}: {len(matches):,} matches of {matches.game}, {int(matches.lengths.sum()):,} decisions, "
        "all as the rules play them"
    )


def stats(a: Counted) -> None:
    """Print the tables."""
    if setups.is_setups(a.path):
        tell_setups(a.path)
        return
    matches = load(a.path, a.progress, a.uses)
    lengths = matches.lengths
    is_validation = int(matches.is_validation(records.split_at(a.path)).sum())
    SAY(f"matches      {len(matches):,} of {matches.game}")
    SAY(f"split        {len(matches) - is_validation:,} for training, {is_validation:,} for validation")
    SAY(f"ended        {', '.join(f'{end} {n:,}' for end, n in told.ends(matches).items() if n)}")
    SAY(
        f"decisions    {int(lengths.sum()):,}; of a match {lengths.mean():.1f} in the mean, median "
        f"{np.median(lengths):.0f}, {lengths.min()} to {lengths.max()}"
    )
    rows = [
        (
            one.name,
            f"{one.matches:,}",
            *(f"{share:.1%}" for share in (one.win, one.draw, one.loss)),
            f"{one.mean:+.3f} [{one.interval[0]:+.3f}, {one.interval[1]:+.3f}]",
            " / ".join(f"{mean:+.3f}" for mean in one.by_seat.values()),
        )
        for one in told.standings(matches)
    ]
    columns = ("player", "matches", "win", "draw", "loss", "mean return, 95 %", "seat by seat")
    cli.show(cli.as_table("returns", columns, rows))
    moves = [(name, f"{count:,}", f"{share:.1%}") for name, count, share in told.moves(matches)]
    cli.show(cli.as_table("most frequent moves", ("move", "times", "share"), moves))


def tell_setups(path: Path) -> None:
    """How many setups there are, and what counting alone says of those for validation."""
    read = setups.load(path)
    is_validation = read.is_validation(setups.split_at(path))
    train, validation = (read.of(part) for part in (~is_validation, is_validation))
    SAY(f"setups       {len(read):,} in {len(np.unique(read.groups)):,} groups")
    SAY(f"split        {len(train):,} for training, {len(validation):,} for validation, by group")
    if len(train) == 0 or len(validation) == 0:
        return
    rows = [(name, f"{value:.4f}") for name, value in told.perplexities(train, validation).items()]
    cli.show(cli.as_table("perplexity for validation, by counting", ("counted", "perplexity"), rows))


def bring(a: Imported) -> None:
    """Read the files, by their endings, and write the folder."""
    names = [path.name for path in a.files]
    split = records.Split(a.validation)
    if names and all(name.endswith(".json") for name in names):
        matches = kaggle.read(a.files)
        with records.Writer(a.out, matches.game, split) as writer:
            writer.add(matches)
        SAY(f"written      {len(matches):,} matches of {matches.game} in {a.out}")
    elif len(names) == 1 and names[0].endswith((".txt", ".txt.gz")):
        read = setups.load(a.files[0])
        setups.write(a.out, read, split)
        SAY(f"written      {len(read):,} setups in {a.out}")
    else:
        raise ValueError(f"expected episodes (.json) or one file of setups (.txt, .txt.gz), got {names}")


def export(a: Exported) -> None:
    """Write the file."""
    if setups.is_setups(a.path):
        SAY(f"written      {told.export_setups(setups.load(a.path), a.out):,} setups in {a.out}")
        return
    if not a.out.name.endswith(".csv"):
        raise ValueError(f"--out must end with .csv, got {a.out}")
    SAY(f"written      {told.export(load(a.path, a.progress, a.uses), a.out):,} decisions in {a.out}")


def load(path: Path, progress: bool, uses: tuple[str, ...]) -> records.Matches:
    """The matches, with a progress bar on a terminal."""
    cli.use(uses)
    with tqdm(unit="match", disable=not (progress and sys.stderr.isatty())) as bar:
        return records.load(path, on_progress=bar.update)


DOES: dict[str, tuple[type, Callable[..., None]]] = {
    "check": (Checked, check),
    "stats": (Counted, stats),
    "import": (Imported, bring),
    "export": (Exported, export),
}
"""What the first word does, and the record of its flags."""
