"""A folder of records: one match a line in `matches.jsonl`, and `manifest.json`, written last.

    format     fogbound records 1
    game, options, rules    as every line has them
    matches, decisions      how many there are
    players    how many matches each of them played
    split      {"by": "match", "validation": 0.2, "salt": "fogbound"}: a match is for validation if the
               BLAKE2b digest of the salt and the match, as a share of 2^64, lies below the share
    files      bytes and SHA-256 of matches.jsonl

A folder that is being written has another name for its file, `.matches.jsonl.tmp`, and no manifest.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np

from agents.files import json_bytes, write_file
from agents.play.records import lines
from agents.play.records.matches import (
    DEFAULT_SPLIT,
    SPLITS,
    Matches,
    RecordError,
    Split,
    check,
    rules_of,
)
from envs import Game, name_of

FORMAT: Final = "fogbound records 1"
MANIFEST: Final = "manifest.json"
FILE: Final = "matches.jsonl"
LARGEST: Final = 2**32
"""Bytes of a file of records, at most."""
LARGEST_MANIFEST: Final = 2**20


class Kept(NamedTuple):
    """What a `Writer` has written whole."""

    bytes: int = 0
    matches: int = 0
    decisions: int = 0
    players: Mapping[str, int] = {}
    """How many matches each player played."""


class Writer:
    """Writes matches into a folder; when it is left, be it by Ctrl-C, what was written is whole and told.

        with Writer("records", game) as writer:
            writer.add(matches)

    Raises:
        FileExistsError: there are records in the folder already.
        ValueError: the share is none.
    """

    def __init__(self, folder: str | Path, game: Game, split: Split = DEFAULT_SPLIT) -> None:
        self.folder, self.game = Path(folder), game
        check_share(split)
        self.split = {"by": "match", **split._asdict()}
        self.kept = Kept()

    def __enter__(self) -> Self:
        refuse_records(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._temporary = self.folder / f".{FILE}.tmp"
        self._file = self._temporary.open("wb")
        return self

    def add(self, matches: Matches) -> None:
        """Write some matches of the game."""
        assert matches.game == self.game
        text = "".join(lines.written(matches)).encode()
        players = Counter(self.kept.players)
        for row in matches.players.tolist():
            players.update({matches.names[p] for p in row})
        bytes, count, decisions, _ = self.kept
        self._file.write(text)
        self._file.flush()
        # All at once: wherever Ctrl-C comes, it is what stands in the file, or what stood there before.
        self.kept = Kept(
            bytes + len(text), count + len(matches), decisions + int(matches.lengths.sum()), players
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.truncate(self.kept.bytes)  # no half of what Ctrl-C came into
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self.kept.matches == 0:
            self._temporary.unlink()
            return
        path = self.folder / FILE
        self._temporary.replace(path)
        manifest = {
            "format": FORMAT,
            "game": name_of(self.game),
            "options": dict(self.game.options),
            "rules": rules_of(self.game),
            "matches": self.kept.matches,
            "decisions": self.kept.decisions,
            "players": dict(sorted(self.kept.players.items())),
            "split": self.split,
            "files": {FILE: {"bytes": self.kept.bytes, "sha256": _sha256(path)}},
        }
        write_file(self.folder / MANIFEST, json_bytes(manifest))


def load(
    path: str | Path,
    split: str = "all",
    on_progress: Callable[[int], object] = lambda _: None,
) -> Matches:
    """The matches of a folder of records, or of one file of them, every one played again by the rules.

    Args:
        path: a folder with a manifest, or a file of lines, such as a run's replay.
        split: train, validation or all. A match is for one or the other by itself, whatever stands beside it.
        on_progress: called with the number of matches that were just played again.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        RecordError: a line is no record, or not what the rules give; the manifest says otherwise; the split
            is empty.
        ValueError: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    path = Path(path)
    manifest = read_manifest(path) if path.is_dir() else None
    file = path / FILE if manifest is not None else path
    matches = lines.read(_lines(file), str(file), None if manifest is None else manifest["players"])
    check(matches, on_progress)
    if manifest is not None:
        _compare(path, manifest, matches)
    told = split_of(manifest)
    return matches.of(told.chosen(split, matches.is_validation(told), path))


def load_line(path: str | Path, number: int = 1) -> Matches:
    """The one match in a line of a file, or of the file in a folder; the other lines are not looked at.

    Args:
        number: of the line, from 1 on.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        RecordError: there is no such line, or it is no record, or not what the rules give.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        read_manifest(path)  # says what is missing, or what else it holds
    found = list(itertools.islice(_lines(file), number - 1, number)) if number >= 1 else []
    if not found:
        count = sum(1 for _ in _lines(file))
        raise RecordError(f"{file}: there is no line {number}; there are lines 1..{count}")
    matches = lines.read(found, str(file), first=number)
    check(matches)
    return matches


def refuse_records(folder: Path) -> None:
    """Nothing that was recorded is written over.

    Raises:
        FileExistsError: there are records in the folder.
    """
    for name in (MANIFEST, FILE):
        if (folder / name).exists():
            raise FileExistsError(f"{folder}: there are records already; expected a new folder")


def check_share(split: Split) -> None:
    """Refuse a share that is none."""
    if not 0.0 <= split.validation <= 1.0:
        raise ValueError(f"the share of validation must be in 0..1, got {split.validation}")


def split_at(path: str | Path) -> Split:
    """The split of a folder of records, or of a single file: the usual one."""
    path = Path(path)
    return split_of(read_manifest(path) if path.is_dir() else None)


def split_of(manifest: dict[str, Any] | None) -> Split:
    """The split that a manifest says; without one the usual one."""
    told = DEFAULT_SPLIT._asdict() if manifest is None else manifest["split"]
    return Split(told["validation"], told["salt"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of matches, what is read of it checked.

    Raises:
        RecordError: there is none, or it is none.
    """
    manifest = parsed_manifest(folder, FORMAT, "match")
    players = manifest.get("players")
    if not isinstance(players, dict):
        raise RecordError(f"{folder / MANIFEST}: players must be an object, got {reprlib.repr(players)}")
    if not (folder / FILE).is_file():
        raise RecordError(f"{folder}: {FILE} is missing")
    return manifest


def parsed_manifest(folder: Path, format: str, split_by: str) -> dict[str, Any]:
    """A manifest of this format, with a split that can be made; errors as of `read_manifest`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise RecordError(f"{folder}: holds no records ({MANIFEST} is missing); a single file is read, too")
    with path.open("rb") as file:
        text = file.read(LARGEST_MANIFEST + 1)
    try:
        if len(text) > LARGEST_MANIFEST:
            raise ValueError(f"it is larger than {LARGEST_MANIFEST:,} bytes")
        manifest = lines.parsed(text)
        if manifest.get("format") != format:
            raise ValueError(f"expected the format {format!r}, got {reprlib.repr(manifest.get('format'))}")
        split = manifest.get("split")
        told = split if isinstance(split, dict) else {}
        share, salt = told.get("validation"), told.get("salt")
        is_share = isinstance(share, (int, float)) and 0 <= share <= 1
        if not is_share or not isinstance(salt, str) or told.get("by") != split_by:
            raise ValueError(
                f'split must be like {{"by": "{split_by}", "validation": 0.2, "salt": "x"}}, got '
                f"{reprlib.repr(split)}"
            )
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    return manifest


def _compare(folder: Path, manifest: dict[str, Any], matches: Matches) -> None:
    """What the manifest says of the matches, which are those of the rules."""
    game = matches.game
    counts = np.zeros(len(matches.names), np.int64)
    for p in range(len(matches.names)):
        counts[p] = (matches.players == p).any(1).sum()
    true = {
        "game": name_of(game),
        "options": dict(game.options),
        "rules": rules_of(game),
        "matches": len(matches),
        "decisions": int(matches.lengths.sum()),
        "players": {name: int(counts[p]) for p, name in enumerate(matches.names)},
        "files": {FILE: {"bytes": (folder / FILE).stat().st_size, "sha256": _sha256(folder / FILE)}},
    }
    for key, value in true.items():
        if manifest.get(key) != value:
            raise RecordError(
                f"{folder / MANIFEST}: it says {key} {reprlib.repr(manifest.get(key))}, {FILE} has "
                f"{reprlib.repr(value)}"
            )


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, without their ends; of one that is too long only its begin."""
    if path.stat().st_size > LARGEST:
        raise RecordError(f"{path}: is larger than {LARGEST:,} bytes")
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            raise RecordError(f"{path}: is compressed, as only arrangements may be; expected plain lines")
        file.seek(0)
        while line := file.readline(lines.LONGEST + 2):
            yield line.removesuffix(b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
