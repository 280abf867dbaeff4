"""Room: how much memory there is, so that what cannot fit is refused before it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import torch

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container says how much it may take."""


def room(device: torch.device | str) -> int | None:
    """Bytes that may be taken on a device; None if nobody says."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = [_available(), *map(_limit, LIMITS)]
    return min((number for number in told if number is not None), default=None)


def check_room(what: str, count: int, each: int, device: torch.device | str) -> None:
    """Refuse `count` things of `each` bytes for which there is no memory.

    Raises:
        ValueError: says what they need, what there is, and how many would fit.
    """
    there = room(device)
    if there is not None and count * each > there:
        raise ValueError(
            f"{what} {count:,} needs at least {size(count * each)} of memory, there are {size(there)} on "
            f"{torch.device(device)}: up to {there // each:,} would fit"
        )


def size(number: float) -> str:
    """Bytes as a person reads them.

    >>> size(3 * 2**30)
    '3.0 GiB'
    """
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:,.1f} GiB"


def _available() -> int | None:
    """What the machine has left, by Linux's own estimate; elsewhere all that it has."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, told = line.partition(":")
            if name == "MemAvailable":
                return int(told.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _limit(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # there is none, or it says "max"
        return None
