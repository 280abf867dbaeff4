"""A run in several processes: what they agree on before it begins, and which run torchrun starts again."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

from agents import files
from agents.learn.group import Group, Launch, launch
from agents.play.arena import WHOLE, Parts
from agents.run.config import Config, read_config
from agents.run.folder import kept_of, status
from agents.run.records import plain, read_record
from agents.run.stream import Say

SHARDS = 4
"""Of a run that is begun in several processes, where nobody says how many."""

MARK = "launch.json"
"""In a run's folder: which start of torchrun began it."""


def settled(config: Config, group: Group) -> Config:
    """The configuration that every rank trains with: rank 0's, under torchrun its number of shards named."""
    if config.shards is None and group.is_launched:
        config = dataclasses.replace(config, shards=SHARDS)
    return told(config, group)


def told(config: Config, group: Group) -> Config:
    """Rank 0's configuration.

    Raises:
        ValueError: there are more processes than shards.
    """
    if group.world > 1:
        config = read_record(Config, group.tell(plain(config)))
    group.owned(config.shards or 1)
    return config


def parts(config: Config, group: Group) -> Parts:
    """How the matches of evaluations are cut and shared: as those of training are, into no more parts than
    they are worth. All ranks hear of all."""
    shards = config.shards or 1
    if shards == 1:
        return WHOLE
    return Parts(shards, group.owned(shards), group.rows)


def sent(stored: files.Stored | None, group: Group) -> files.Stored:
    """The checkpoint that rank 0 has read, on every rank."""
    memory = io.BytesIO()
    if stored is not None:
        if group.world == 1:
            return stored
        files.save_zip(stored, memory)
    content = group.send(memory.getvalue())
    return stored or files.read(io.BytesIO(content))


def mark(run: Path) -> None:
    """Write down which start of torchrun trains here, if one does."""
    if (by := launch()) is not None:
        files.write_file(run / MARK, files.json_bytes({"launch": by.name}))


def begun(config: Config, group: Group, say: Say) -> Path | None:
    """The run that this start of torchrun has begun already, and that has a checkpoint to go on from.

    Only rank 0 looks; the others are told where rank 0 has it.

    Raises:
        SystemExit: it is finished.
    """
    by = launch()
    found = _begun(config, by) if by is not None and by.may_go_on and group.rank == 0 else None
    where = group.tell(None if found is None else [str(found), status(found) == "finished"])
    if where is None:
        return None
    run, is_finished = where
    if is_finished:
        if group.rank == 0:
            say(f"{run}: is finished")
        sys.exit(0)
    return Path(run)


def _begun(config: Config, by: Launch) -> Path | None:
    """The latest one with a checkpoint."""
    asked, runs = kept_of(config), []
    for path in Path(config.run_dir).glob(f"*/{MARK}"):
        run = path.parent
        try:
            is_its = json.loads(path.read_bytes()) == {"launch": by.name}
            if is_its and kept_of(read_config(run / "config.yaml", Config)) == asked and files.steps_of(run):
                runs.append(run)
        except (OSError, ValueError):  # it is half written, or somebody else's
            continue
    return max(runs, key=lambda run: run.name.rpartition("__")[2], default=None)
