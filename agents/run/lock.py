"""One process at a time trains in a run's folder; the system forgets the lock of a process that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = "run.lock"
"""The file that is locked; in it stands the process. It goes when training ends."""

PATIENCE = 0.05, 10
"""Seconds between tries and tries: who only asks for the holder has the lock for an instant."""

UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks."""

FAR = 1 << 30
"""The byte that is locked on Windows, where nobody can read a locked byte."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises:
        RuntimeError: another process holds it; the message names the process.
    """
    path = folder / NAME
    descriptor = _take(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):  # an open file cannot be removed everywhere
            path.unlink()
        os.close(descriptor)


def holder(folder: Path) -> int | None:
    """The process that holds the folder's lock, 0 if it does not say its number; None if nobody does."""
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if _lock(descriptor, is_shared=True) else _number(descriptor)
    finally:
        os.close(descriptor)


def _take(path: Path) -> int:
    """The open and locked file."""
    pause, tries = PATIENCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if _lock(descriptor):
            if _is_still(path, descriptor):
                return descriptor
            os.close(descriptor)  # who held it has just removed it: the lock is on nothing
            continue
        number = _number(descriptor)
        os.close(descriptor)
        tries -= 1
        if tries == 0:
            raise RuntimeError(
                f"{path.parent}: process {number or 'of unknown number'} is training this run; "
                "only one can: wait for its end, or stop it"
            )
        time.sleep(pause)


def _is_still(path: Path, descriptor: int) -> bool:
    """`path` is the file that is open."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, is_shared: bool = False) -> bool:
    """Lock an open file without waiting; False if another holds it."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in UNKNOWN:
            return False
        warnings.warn(f"runs cannot be locked here ({error}): train each in one process alone", stacklevel=2)
    return True


def _number(descriptor: int) -> int:
    """The process that the file names, 0 if none."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).strip()
    return int(text) if text.isdigit() else 0
