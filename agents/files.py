"""Files one can trust: bytes on disk, safe, atomic, complete. It knows their names and no agent.

A checkpoint is a folder of tensors (`*.safetensors`) and JSON; `manifest.json` lists every file with its
size and SHA-256 and is written last. The folder is filled under another name and renamed when complete,
so a killed run leaves either the whole checkpoint or none. What a kill leaves under other names is either
whole, and is read as if it had its own, or goes when the run goes on (`recover`). The same files may lie
in one `.zip`. Nothing is ever unpickled, and no file names code.

    agent.json            game, options, policy arguments
    policy.safetensors    the weights          ema.safetensors   their moving average, if kept
    normalizer.safetensors    how observations are scaled, if they are
    training.json         the algorithm's arguments, and in a run what it was asked ) not in an exported agent
    training.safetensors  optimiser, generators, matches, memories, opponents )

What stands in them, whoever wrote it says: `agents.play.agent_file` of an agent, `agents.learn.saving` of
training, `agents.gym.stock` of SB3's own algorithms.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import reprlib
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors  # a JSON header and raw numbers: nothing is executed
from safetensors.torch import save as format_tensors
from torch import Tensor

FORMAT = "fogbound checkpoint 1"
MANIFEST = "manifest.json"
FILES = (
    "agent.json",
    "policy.safetensors",
    "ema.safetensors",
    "magnet.safetensors",
    "normalizer.safetensors",
    "training.json",
    "training.safetensors",
)
"""What a checkpoint may hold, and at least the first two."""

STEP = re.compile(r"step_(0|[1-9][0-9]*)")
"""The name of a run's checkpoint; folders of other names are somebody else's."""

LEFT = re.compile(r"\.(?P<home>step_(?:0|[1-9][0-9]*))\.[0-9]+\.(?P<how>tmp|old|gone)")
"""What a kill leaves of a checkpoint that was being filled, replaced or removed, and its number."""

LEFT_FILE = re.compile(r"\..+\.[0-9]+\.tmp")
"""What a kill leaves of a file that was being written."""

Source = str | Path | IO[bytes]
"""A path, or an open file whose content is a checkpoint's `.zip`."""

Which = Literal["latest", "best"]

Parts = Mapping[str, Mapping[str, Any]]
"""What a checkpoint is made of, by its files' names: tensors by name in `*.safetensors`, a JSON object."""


class CheckpointError(ValueError):
    """A file is not a whole checkpoint; the message is one line and says what is wrong with it."""


# ---------------------------------------------------------------- what stands in a file


class Stored(dict[str, bytes]):
    """A checkpoint's files by name, each as its manifest says; `path` is where they come from."""

    def __init__(self, files: Mapping[str, bytes], path: Source) -> None:
        super().__init__(files)
        self.path = path

    def json(self, name: str) -> dict[str, Any]:
        """The object in a JSON file.

        Raises:
            CheckpointError: it is missing, or none.
        """
        return _parse(self._content(name), name, self.path)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors in a file; errors as of `json`."""
        return read_tensors(self._content(name), self.path)

    def error(self, told: object) -> CheckpointError:
        """What to raise of it, in one line."""
        return CheckpointError(f"{self.path}: {told}")

    def _content(self, name: str) -> bytes:
        if name not in self:
            raise self.error(f"lacks {name}")
        return self[name]


def packed(parts: Parts) -> dict[str, bytes]:
    """The files of a checkpoint that is made of these parts."""
    return {
        name: tensor_bytes(part) if name.endswith(".safetensors") else json_bytes(part)
        for name, part in parts.items()
    }


def tensor_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Tensors as a safetensors file, from whichever device."""
    return format_tensors({name: x.detach().cpu().contiguous().clone() for name, x in state.items()})


def json_bytes(value: Any) -> bytes:
    """A value as a JSON file."""
    return (json.dumps(value, indent=2, default=_number) + "\n").encode()


def _number(value: Any) -> Any:
    """NumPy's and torch's numbers as JSON can hold them."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)) and value.ndim == 0:
        return value.item()
    raise TypeError(f"a file cannot hold {value!r:.80}")


def read_tensors(content: bytes, path: Source) -> dict[str, Tensor]:
    """What `tensor_bytes` wrote."""
    try:
        tensors = parse_tensors(content)
    except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its tensors cannot be read ({error})") from error
    for name, x in tensors.items():
        if x.dtype == torch.bool and (x.view(torch.uint8) > 1).any():  # torch trusts them to be 0 or 1
            raise CheckpointError(f"{path}: its tensors cannot be read ({name} is neither true nor false)")
    return tensors


def _parse(content: bytes, name: str, path: Source) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: {name} must hold an object, got {type(value).__name__}")
    return value


class Kind(NamedTuple):
    """What a file may say of a value."""

    type: type[bool] | type[int] | type[float] | type[str]
    low: float = 0.0
    high: float = math.inf


def checked(name: str, value: Any, kind: Kind) -> Any:
    """A value as a file may say it.

    Raises:
        ValueError: it is of another type or out of range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = is_number if kind.type is float else type(value) is kind.type
    if fits and is_number:
        fits = kind.low <= value <= kind.high
    if not fits:
        told = f" in {kind.low:g}..{kind.high:g}" if kind.type in (int, float) else ""
        raise ValueError(f"{name} must be {kind.type.__name__}{told}, got {reprlib.repr(value)}")
    return value


# ---------------------------------------------------------------- writing


def save_zip(files: Mapping[str, bytes], path: Source) -> None:
    """Write a checkpoint's files into one `.zip`, atomically, or into an open file.

    The ending is appended to a name that does not end so: `lr0.01` becomes `lr0.01.zip`.

    Raises:
        TypeError: `path` is neither.
    """
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [*files.items(), (MANIFEST, _manifest(files))]:
            archive.writestr(name, content)
    if isinstance(path, (str, os.PathLike)):
        write_file(with_ending(path, ".zip"), memory.getvalue())
        return
    if not hasattr(path, "write") or isinstance(path, io.TextIOBase):
        raise TypeError(f"expected a path or a file that is open for writing bytes, got {path!r}")
    path.write(memory.getvalue())


def with_ending(path: str | os.PathLike[str], ending: str) -> Path:
    """`path`, the ending appended if it does not end so; what is there already stays, dots and all."""
    path = Path(path)
    if not path.name:
        raise ValueError(f"expected the name of a file, got {str(path)!r}")
    return path if path.name.endswith(ending) else path.with_name(path.name + ending)


def save_folder(files: Mapping[str, bytes], path: str | Path) -> bool:
    """Write a checkpoint's files as the folder `path`, atomically; an older one there is replaced.

    Returns:
        whether anything was written: not if the same is there already.
    """
    path = Path(path)
    if path.is_dir() and _whole(path) == files:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        for name, content in [*files.items(), (MANIFEST, _manifest(files))]:
            _write(temporary / name, content)
        if path.exists():  # killed between the two renames it is there under both other names
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        temporary.rename(path)
    finally:
        if not path.exists() and old.exists():
            old.rename(path)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
    _sync_folder(path.parent)
    return True


def write_file(path: str | Path, content: bytes) -> None:
    """Replace the file `path` by `content`: afterwards it is the old one or the new one, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    """Make a file and its content durable."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _manifest(files: Mapping[str, bytes]) -> bytes:
    return json_bytes({"format": FORMAT, "files": {name: _entry(content) for name, content in files.items()}})


def _entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _sync_folder(path: Path) -> None:
    """Make a rename in the folder durable (where the system lets a folder be synced)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------- a run's checkpoints


def point(run: Path, which: Which, checkpoint: Path) -> None:
    """Let the run's `latest.json` or `best.json` name `checkpoint`."""
    inside = checkpoint.resolve().relative_to(run.resolve()).as_posix()
    write_file(run / f"{which}.json", json_bytes({"checkpoint": inside}))


PER_DECADE = 4
"""Checkpoints that stay, from a number of decisions to ten times as many: curves reach over the whole run."""


def prune(run: Path, present: Path, keep: int) -> None:
    """Remove the run's checkpoints beyond `keep`: first those behind `present`, a future that was given up.

    Then the oldest. `present` and what `latest.json` and `best.json` name always stay; so does the first one
    in every range of steps from 10 ** (k / PER_DECADE) to 10 ** ((k + 1) / PER_DECADE).
    """
    at, stay = _step(present), {present.resolve(), pointed(run, "latest"), pointed(run, "best")}
    past = sorted((path for path in steps_of(run) if _step(path) <= at), key=_step, reverse=True)
    ranges = {math.floor(PER_DECADE * math.log10(max(_step(path), 1))): path.resolve() for path in past}
    stay |= {*ranges.values()}
    order = sorted(steps_of(run), key=lambda path: (_step(path) <= at, _step(path)), reverse=True)
    for path in order[keep:]:
        if path.resolve() not in stay:
            gone = path.with_name(f".{path.name}.{os.getpid()}.gone")
            path.rename(gone)
            shutil.rmtree(gone)


def steps_of(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, by their names; links and other names are not the run's own."""
    return [path for path in _folders(run) if STEP.fullmatch(path.name)]


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


def _folders(run: Path) -> Iterator[Path]:
    """What may be a run's checkpoint or its left-over."""
    inside = (run / "checkpoints").iterdir() if (run / "checkpoints").is_dir() else iter(())
    return (path for path in inside if path.is_dir() and not path.is_symlink())


class _Left(NamedTuple):
    """What a kill left of the checkpoint `home`: it was being filled, replaced or removed."""

    path: Path
    home: Path
    how: str

    @property
    def stands_in(self) -> bool:
        """Nothing has the name of the checkpoint, and this is what may."""
        return self.how != "gone" and not self.home.exists()


def _left(run: Path) -> list[_Left]:
    """Left-overs of a run's checkpoints, the newer one (.tmp) before the one that it was to replace."""
    named = [(LEFT.fullmatch(path.name), path) for path in _folders(run)]
    left = [_Left(path, path.with_name(name["home"]), name["how"]) for name, path in named if name]
    return sorted(left, key=lambda one: one.how, reverse=True)


def recover(run: Path) -> None:
    """Clear up after a kill: a whole checkpoint whose name is missing gets it back, other left-overs go.

    Only whoever holds the run's lock may do that: to others, what is being written looks like a left-over.
    """
    for left in _left(run):
        if left.stands_in and _whole(left.path) is not None:
            left.path.rename(left.home)
            _sync_folder(left.home.parent)
        else:
            shutil.rmtree(left.path)
    for folder in (run, run / "replays"):
        for file in folder.iterdir() if folder.is_dir() else ():
            if LEFT_FILE.fullmatch(file.name) and file.is_file():
                file.unlink()


# ---------------------------------------------------------------- reading


def found(path: str | os.PathLike[str]) -> Path:
    """What `path` means: what has this name, or else the file that has it with `.zip` behind; or a run, see
    `run_named`."""
    path = run_named(path)
    zipped = Path(f"{path}.zip")
    known = ("latest.json", "best.json", MANIFEST, "checkpoints")
    is_other = path.is_dir() and not any((path / name).exists() for name in known)
    return zipped if zipped.is_file() and (is_other or not path.exists()) else path


def run_named(path: str | os.PathLike[str]) -> Path:
    """`path`; but FOLDER/latest, where nothing has that name, is the run in it that was begun last."""
    path = Path(path)
    if path.name != "latest" or path.exists() or not path.parent.is_dir():
        return path
    runs = [run for run in path.parent.iterdir() if (run / "config.yaml").is_file()]
    return max(runs, key=lambda run: (run.name.rpartition("__")[2], run.name), default=path)


def read(path: Source, which: Which = "latest") -> Stored:
    """The files of a checkpoint, every one checked against the manifest.

    Args:
        path: a run, a checkpoint's folder or `.zip`, or such a file that is open.
        which: of a run. Where that is missing or damaged, the newest whole one is read, with a warning.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: nothing whole is there.
    """
    if isinstance(path, (str, os.PathLike)):
        return Stored(find(path, which)[1], path)
    if not hasattr(path, "read") or isinstance(path, io.TextIOBase):
        raise TypeError(f"expected a path or a file that is open for reading bytes, got {path!r}")
    return _read_zip(path)


def find(path: str | Path, which: Which = "latest") -> tuple[Path, Stored]:
    """The folder or file of the checkpoint that `read` reads, and what it reads there."""
    path = found(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such run, checkpoint or agent")
    return (path, _read_zip(path)) if path.is_file() else _find(path, which)


def _find(path: Path, which: Which) -> tuple[Path, Stored]:
    """`find` in a folder."""
    if not (path / f"{which}.json").exists():
        if (path / MANIFEST).exists():
            return path, _read_folder(path)
        if not steps_of(path) and not _left(path):
            raise CheckpointError(f"{path}: holds no checkpoint (neither {which}.json nor {MANIFEST})")
    named = None
    try:
        named = _pointed(path, which)
        return named, _read_folder(named)
    except CheckpointError as error:
        if pointed(path, which) != named:  # a run that is trained meanwhile has gone on
            return _find(path, which)
        problems = {named: str(error)}
    for candidate in _newest_first(path):
        if candidate.resolve() == named:
            continue
        try:
            stored = _read_folder(candidate)
        except CheckpointError as error:
            problems[candidate] = str(error)
        else:
            warnings.warn(
                f"{problems[named]}; the newest whole one is used instead, {candidate.name}", stacklevel=5
            )
            return candidate, stored
    if len(problems) == 1:
        raise CheckpointError(problems[named])
    raise CheckpointError(f"{path}: none of its checkpoints is whole ({'; '.join(problems.values())})")


def _newest_first(run: Path) -> list[Path]:
    """A run's checkpoints, and of those that a kill left without their name what it left."""
    found = {path: (_step(path), 1, "") for path in steps_of(run)}
    found |= {left.path: (_step(left.home), 0, left.how) for left in _left(run) if left.stands_in}
    inside = run.resolve()
    return [
        path
        for path in sorted(found, key=found.__getitem__, reverse=True)
        if path.resolve().is_relative_to(inside)
    ]


def pointed(run: Path, which: Which) -> Path | None:
    """The checkpoint that the run's `latest.json` or `best.json` names, if there is one."""
    try:
        return _pointed(run, which)
    except CheckpointError:
        return None


def _pointed(run: Path, which: Which) -> Path:
    try:
        content = (run / f"{which}.json").read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{run}: has no {which}.json") from error
    except OSError as error:
        raise CheckpointError(f"{run}: {which}.json cannot be read ({error.strerror})") from error
    pointer = _parse(content, f"{which}.json", run)
    checkpoint = (run / str(pointer.get("checkpoint")).replace("\0", "")).resolve()
    if not checkpoint.is_relative_to(run.resolve()) or not checkpoint.is_dir():
        raise CheckpointError(f"{run}: {which}.json names no checkpoint of this run: {pointer}")
    return checkpoint


def _whole(path: Path) -> Stored | None:
    """The checkpoint in a folder, None if it is not whole."""
    try:
        return _read_folder(path)
    except CheckpointError:
        return None


def _read_folder(path: Path) -> Stored:
    try:
        if not (path / MANIFEST).is_file():
            raise CheckpointError(f"{path}: is incomplete, {MANIFEST} is missing")
        manifest = _read_manifest((path / MANIFEST).read_bytes(), path)
        missing = [name for name in manifest if not (path / name).is_file()]
        if missing:
            raise CheckpointError(f"{path}: is incomplete, {', '.join(missing)} is missing")
        return _verified({name: (path / name).read_bytes() for name in manifest}, manifest, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _read_zip(path: Path | IO[bytes]) -> Stored:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if MANIFEST not in entries:
                raise CheckpointError(
                    f"{path}: is not a fogbound agent ({MANIFEST} is missing); pickled files are never opened"
                )
            # Stored, not compressed: what is read cannot be larger than the file itself.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise CheckpointError(f"{path}: is not a fogbound agent (its entries are compressed)")
            manifest = _read_manifest(archive.read(MANIFEST), path)
            missing = [name for name in manifest if name not in entries]
            if missing:
                raise CheckpointError(f"{path}: is incomplete, {', '.join(missing)} is missing")
            return _verified({name: archive.read(name) for name in manifest}, manifest, path)
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError) as error:  # zipfile raises all of these
        raise CheckpointError(
            f"{path}: is not a fogbound agent or is damaged ({error}); pickled files are never opened"
        ) from error


def _read_manifest(content: bytes, path: Source) -> dict[str, dict[str, Any]]:
    manifest = _parse(content, MANIFEST, path)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict):
        raise CheckpointError(f"{path}: expected the format {FORMAT!r}, got {manifest.get('format')!r}")
    unknown = sorted(set(files) - set(FILES))
    if unknown or not set(FILES[:2]) <= set(files):
        raise CheckpointError(f"{path}: the manifest lists other files than a checkpoint's: {sorted(files)}")
    return files


def _verified(files: dict[str, bytes], manifest: Mapping[str, Mapping[str, Any]], path: Source) -> Stored:
    for name, content in files.items():
        if manifest[name] != _entry(content):
            raise CheckpointError(
                f"{path}: {name} is damaged (its size or SHA-256 differs from the manifest)"
            )
    return Stored(files, path)
