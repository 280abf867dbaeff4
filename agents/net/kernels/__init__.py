"""Faster copies of `agents.net.scan.reference`, a file each; every one is checked against it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor

from agents.net.cells import Cell, CellState


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A way to run a cell along time, an entry of `agents.net.scan.KERNELS`."""

    name: str

    fits: Callable[[Cell, Tensor, bool], bool]
    """Whether it can run this cell on these inputs' device and dtype; the bool: gradients are wanted."""

    run: Callable[[Cell, Tensor, CellState, Tensor, Tensor], tuple[Tensor, CellState]]
    """Arguments, results and gradients of `agents.net.scan.reference`."""
