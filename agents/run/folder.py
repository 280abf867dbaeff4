"""A run's folder: how it begins, how it stands, and how it goes on.

runs/<what>__<cell>__s<seed>__<UTC time>/
    config.yaml command.txt run.json    what was asked, and how it went
    metrics.jsonl tensorboard/          the curves; metrics.jsonl is the record of truth
    checkpoints/step_<n>/               complete states; latest.json and best.json name one
    replays/                            what the agent did, drawn
    standings/                          the latest ratings, see agents.play.standings
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from agents import files
from agents.files import Stored
from agents.run import lock
from agents.run.config import RunConfig, read_config, write_config
from agents.run.records import plain, read_record
from agents.run.stream import Say

MAY_CHANGE = (
    "total_timesteps",
    "device",
    "cuda_graph",
    "run_dir",
    "checkpoint_every",
    "keep_checkpoints",
    "progress",
    "eval",
    "data",  # it may lie elsewhere; what it holds is compared
)
"""Parts of a configuration that a resumed run may change."""

STATUSES = ("running", "finished", "interrupted", "failed")
"""What `run.json` may say."""

C = TypeVar("C", bound=RunConfig)


PER_DECADE = 8
"""Checkpoints, at most, from a number of decisions to ten times as many, where a run has more in all."""


def spaced(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first: all, or of many those evenly spread over the logarithm.

    These are, from the latest on back, each with at most `10 ** (-1 / PER_DECADE)` of the decisions of the
    one after it.
    """
    steps = {int(path.name.removeprefix("step_")): path for path in files.steps_of(run)}
    kept: list[int] = []
    for step in sorted(steps, reverse=True):
        if not kept or len(steps) <= PER_DECADE or step <= kept[-1] * 10 ** (-1 / PER_DECADE):
            kept.append(step)
    return [steps[step] for step in reversed(kept)]


def begin(config: RunConfig, name: str, command: str) -> Path:
    """Make a run's folder, `name` and the time in its own name; what was asked is written down in it."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", name)  # what lies outside the package is named module:Name
    run = _new_folder(Path(config.run_dir) / f"{name}__s{config.seed}__{now}")
    for folder in ("tensorboard", "checkpoints", "replays"):
        (run / folder).mkdir()
    files.write_file(run / "config.yaml", write_config(config).encode())
    files.write_file(run / "command.txt", (command + "\n").encode(errors="surrogateescape"))
    return run


def _new_folder(path: Path) -> Path:
    """Make the folder; if another run began in the same second, one with a number behind its name."""
    run, number = path, 1
    while True:
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            if not run.exists():  # what is in the way is above it
                raise
        else:
            return run
        number += 1
        run = path.with_name(f"{path.name}-{number}")


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Train in a run's folder, alone; what a killed process left half done is cleared up first.

    Raises:
        RuntimeError: another process trains there.
    """
    with lock.locked(run):
        files.recover(run)
        yield


def found(path: str | Path) -> tuple[Path, Path | None]:
    """The run that `path` is or is a checkpoint of, and the checkpoint if it is one.

    Raises:
        FileNotFoundError: it is neither.
    """
    path = files.run_named(path)
    if (path / "config.yaml").is_file():
        return path, None
    for part in (path, path.resolve()):
        if part.parent.name == "checkpoints" and (part.parent.parent / "config.yaml").is_file():
            return part.parent.parent, part
    raise FileNotFoundError(f"{path}: there is no run to resume (no config.yaml)")


def status(run: str | Path) -> str:
    """How a run stands: running, finished, interrupted (by a signal), failed, or killed.

    Killed is a run that says that it runs, or nothing yet, and that no process holds.

    Raises:
        FileNotFoundError: it is no run.
        ValueError: its `run.json` says something else.
    """
    run, _ = found(run)
    if lock.holder(run) is not None:
        return "running"
    told = status_told(run)
    return "killed" if told == "running" else told


def status_told(run: Path) -> str:
    """What `run.json` says; as long as there is none it is just beginning."""
    file = run / "run.json"
    if not file.exists():
        return "running"
    try:
        told = json.loads(file.read_bytes())["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: says not how the run stands ({error!r})") from error
    if told not in STATUSES:
        raise ValueError(f"{file}: expected a status of {', '.join(STATUSES)}, got {told!r}")
    return str(told)


@contextlib.contextmanager
def resumed(
    run: str | Path, kind: type[C], change: Callable[[C], C], say: Say
) -> Iterator[tuple[Path, C, Path, Stored]]:
    """A run to go on with, locked: its folder, the configuration to go on with, and its checkpoint.

    Args:
        run: its folder, to go on from its latest checkpoint; or one of its checkpoints, to give up what came
            after that.
        change: makes the configuration to go on with from the run's own.

    Raises:
        FileNotFoundError, ValueError: it is no run, or `change` touches what may not change, or its
            `config.yaml` is not the one it was trained with.
        RuntimeError: another process trains it.
    """
    run, start = found(run)
    with locked(run):
        config = changed(run, kind, change)
        start, stored = files.find(start or run)
        compare(run, kind, start, stored, say)
        yield run, config, start, stored


def changed(run: Path, kind: type[C], change: Callable[[C], C]) -> C:
    """The configuration to go on with: the run's own, changed by `change` where a resumed run may be.

    Raises:
        FileNotFoundError, ValueError: it is no run, or `change` touches what may not change.
    """
    old = read_config(run / "config.yaml", kind)
    new = change(old)
    names = [field.name for field in dataclasses.fields(kind)]
    kept = [name for name in names if name not in MAY_CHANGE and getattr(old, name) != getattr(new, name)]
    if kept:
        raise ValueError(
            f"{run}: a resumed run keeps its {', '.join(kept)}; only "
            f"{', '.join(name for name in MAY_CHANGE if name in names)} may change"
        )
    return new


def compare(run: Path, kind: type[C], start: Path, stored: files.Stored, say: Say) -> None:
    """Refuse a `config.yaml` that is not the one with which `stored`, the checkpoint `start`, was trained.

    Only what a resumed run keeps is compared.

    Raises:
        ValueError: it is another one; the message says where.
    """
    told = (stored.json("training.json") if "training.json" in stored else {}).get("config")
    if told is None:
        say(f"note         {start.name} does not tell its configuration: config.yaml is believed")
        return
    try:
        trained = _flat(kept_of(read_record(kind, told)))
    except ValueError as error:
        raise ValueError(f"{start}: training.json tells a configuration that no run has ({error})") from error
    asked = _flat(kept_of(read_config(run / "config.yaml", kind)))
    differing = [key for key in {**asked, **trained} if asked.get(key) != trained.get(key)]
    if differing:
        key = differing[0]
        more = f" (and {', '.join(differing[1:])})" if differing[1:] else ""
        raise ValueError(
            f"{run / 'config.yaml'}: says {key} {asked.get(key)!r}, {start.name} was trained with "
            f"{trained.get(key)!r}{more}; a resumed run keeps it, another one begins anew"
        )


def kept_of(config: RunConfig) -> dict[str, Any]:
    """What a resumed run keeps, as JSON gives it back."""
    keeps = {name: x for name, x in plain(config).items() if name not in MAY_CHANGE}
    told: dict[str, Any] = json.loads(json.dumps(keeps, default=str))
    return told


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Mappings in each other as one, `policy.cell` and the like."""
    if not isinstance(values, Mapping) or not values:
        return {prefix.rstrip("."): values}
    return {key: x for name, part in values.items() for key, x in _flat(part, f"{prefix}{name}.").items()}


def go_on(run: Path, config: RunConfig, start: Path, timesteps: int, say: Say) -> None:
    """Write down the configuration that a run goes on with, from its checkpoint `start` at `timesteps`.

    Raises:
        ValueError: there is nothing left to do.
    """
    if timesteps >= config.total_timesteps and status_told(run) == "finished":
        raise ValueError(
            f"{run}: is finished ({timesteps:,} of {config.total_timesteps:,} decisions); "
            "ask for more with --total-timesteps"
        )
    if files.pointed(run, "latest") != start.resolve():
        files.point(run, "latest", start)
        say(f"goes on from {start.name}, what came after it is given up")
    files.write_file(run / "config.yaml", write_config(config).encode())
    say(f"resumed at {timesteps:,} of {config.total_timesteps:,} decisions")
    if timesteps >= config.total_timesteps:
        say("only the last evaluation is left")
