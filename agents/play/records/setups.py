"""Starting arrangements of the game of hidden ranks: 40 letters each, in groups that are near-duplicates.

A plain file has one a line, a group's number and four rows of ten letters, "12 BBBJ...": A empty, B bomb,
C spy, D scout, E miner, F sergeant, G lieutenant, H captain, I major, J colonel, K general, L marshal,
M flag. A folder of them holds `setups.txt`, the same lines, and a `manifest.json`:

    format     fogbound setups 1
    setups, groups    how many there are
    split      {"by": "group", "validation": 0.2, "salt": "fogbound"}: a group is for validation if the
               BLAKE2b digest of the salt and its number, as a share of 2^64, lies below the share
    files      bytes and SHA-256 of setups.txt
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import reprlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from agents.files import json_bytes, write_file
from agents.play.records import folder as records_folder
from agents.play.records.matches import DEFAULT_SPLIT, SPLITS, Array, RecordError, Split

FORMAT: Final = "fogbound setups 1"
FILE: Final = "setups.txt"
LETTERS: Final = "ABCDEFGHIJKLM"
"""What may stand on a cell."""
CELLS: Final = 40
COLUMNS: Final = 10
LONGEST: Final = 80
"""Bytes of a line, at most."""
MOST: Final = 10_000_000
"""Lines of a file, at most."""


@dataclasses.dataclass(frozen=True)
class Setups:
    """N starting arrangements."""

    pieces: Array  # uint8 [N, 40], each by its number in LETTERS, row by row
    groups: Array  # int64 [N]
    source: str = "these setups"

    def __len__(self) -> int:
        return len(self.groups)

    def of(self, chosen: Array) -> Setups:
        """Some of them: their numbers, or a mask."""
        return Setups(self.pieces[chosen], self.groups[chosen], self.source)

    def letters(self) -> list[str]:
        """Each as 40 letters."""
        table = np.frombuffer(LETTERS.encode(), np.uint8)
        return [row.tobytes().decode() for row in table[self.pieces]]

    def is_validation(self, split: Split = DEFAULT_SPLIT) -> Array:
        """Those that are for validation, bool [N]: whole groups."""
        groups, places = np.unique(self.groups, return_inverse=True)
        chosen: Array = split.is_validation(str(group).encode() for group in groups.tolist())[places]
        return chosen


def is_setups(path: str | Path) -> bool:
    """It is a folder or a plain file of setups, by its name and its manifest's format, not of matches."""
    path = Path(path)
    if path.is_dir():
        return (path / FILE).is_file()
    return path.name.endswith((".txt", ".txt.gz"))


def load(path: str | Path, split: str = "all") -> Setups:
    """The setups of a folder, or of a plain file (`.txt` or `.txt.gz`).

    Args:
        split: train, validation or all; by group.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        RecordError: a line is none, the manifest says otherwise, or the split is empty.
        ValueError: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    path = Path(path)
    manifest = _read_manifest(path) if path.is_dir() else None
    file = path / FILE if manifest is not None else path
    with _opened(file) as content:
        setups = read(content, str(file))
    if manifest is not None and manifest != manifest_of(path, setups, manifest["split"]):
        raise RecordError(f"{path / records_folder.MANIFEST}: its numbers are not those of {FILE}")
    told = records_folder.split_of(manifest)
    return setups.of(told.chosen(split, setups.is_validation(told), path))


def split_at(path: str | Path) -> Split:
    """The split of a folder of setups, or of a plain file: the usual one; errors as of `load`."""
    path = Path(path)
    return records_folder.split_of(_read_manifest(path) if path.is_dir() else None)


def read(content: IO[bytes], source: str) -> Setups:
    """The setups of an open file.

    Raises:
        RecordError: a line is none.
    """
    pieces, groups = list[bytes](), list[int]()
    known = LETTERS.encode()
    numbers = bytes(known.index(k) if k in known else 255 for k in range(256))
    try:
        for number, line in enumerate(_limited(content), 1):
            words = line.split()
            row = words[1].translate(numbers) if len(words) == 2 else b""
            if len(line) > LONGEST or len(row) != CELLS or max(row) >= len(LETTERS) or not words[0].isdigit():
                raise RecordError(
                    f"{source}: line {number}: expected a group's number and {CELLS} letters of {LETTERS}, "
                    f"got {reprlib.repr(line.decode('ascii', 'replace'))}"
                )
            if number > MOST or len(words[0]) > 18:
                raise RecordError(f"{source}: line {number}: more than {MOST:,} lines, or 18 digits")
            pieces.append(row)
            groups.append(int(words[0]))
    except (OSError, EOFError, zlib.error) as error:  # of a damaged file
        raise RecordError(f"{source}: cannot be read ({error})") from error
    if not pieces:
        raise RecordError(f"{source}: holds no setup")
    table = np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, CELLS)
    return Setups(table, np.array(groups, np.int64), source)


def write(folder: str | Path, setups: Setups, split: Split = DEFAULT_SPLIT) -> None:
    """Write setups into a new folder.

    Raises:
        FileExistsError: there are some in it.
        ValueError: the share is none.
    """
    folder = Path(folder)
    records_folder.check_share(split)
    records_folder.refuse_records(folder)
    rows = zip(setups.groups.tolist(), setups.letters(), strict=True)
    write_file(folder / FILE, "".join(f"{group} {letters}\n" for group, letters in rows).encode())
    told = manifest_of(folder, setups, {"by": "group", **split._asdict()})
    write_file(folder / records_folder.MANIFEST, json_bytes(told))


def manifest_of(folder: Path, setups: Setups, split: dict[str, Any]) -> dict[str, Any]:
    """What a folder's manifest says of its setups."""
    content = (folder / FILE).read_bytes()
    return {
        "format": FORMAT,
        "setups": len(setups),
        "groups": len(np.unique(setups.groups)),
        "split": split,
        "files": {FILE: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}},
    }


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = records_folder.parsed_manifest(folder, FORMAT, "group")
    if not (folder / FILE).is_file():
        raise RecordError(f"{folder}: {FILE} is missing")
    return manifest


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


def _limited(content: IO[bytes]) -> Iterator[bytes]:
    while line := content.readline(LONGEST + 2):
        yield line


__all__ = ["LETTERS", "Setups", "is_setups", "load", "read", "write"]
