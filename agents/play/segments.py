"""Exact values by segment sums: `Tree.evaluate` and `Tree.uncertain` in torch operations on any device.

Compiled loops are the faster ones on CPU cores. On a GPU a depth of the tree is one segment operation, and a
product with M a gather and a segment sum, or a sum by index. Numbers agree to 1e-12; on a GPU the order of a
sum by index is not the same from call to call.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from envs.tree import Evaluation, Tree

Array = npt.NDArray[Any]

_THERE: Final[weakref.WeakKeyDictionary[Tree, dict[torch.device, Segments]]] = weakref.WeakKeyDictionary()
"""Trees that lie on a device already."""

_LOCK: Final = threading.Lock()


def segments_of(tree: Tree, device: torch.device) -> Segments:
    """The tree on a device; it is copied there once.

    Raises:
        ValueError: the tree keeps no products.
    """
    if len(tree.column) == 0:
        raise ValueError(f"{tree.game}: only a tree that keeps its products can be copied to {device}")
    with _LOCK:
        there = _THERE.setdefault(tree, {})
        if device not in there:
            there[device] = Segments(tree, device)
        return there[device]


class Segments:
    """A tree's arrays as tensors, by the tree's names.

    `most` is the difference between the most and the least that a match pays.
    """

    def __init__(self, tree: Tree, device: torch.device) -> None:
        self.checked, self.device, self.sequences = weakref.WeakMethod(tree.checked), device, tree.sequences

        def there(part: Array) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(part)).to(device)

        self.parent, self.begin = there(tree.parent), there(tree.begin.astype(np.int64))
        self.column, self.row_begin = there(tree.column), there(tree.row_begin)
        self.ends, self.pays, self.odds = (
            [there(rows) for rows in tree.ends.T],
            there(tree.pays),
            there(tree.odds),
        )
        self.actions, self.entries = self.begin.diff(), self.row_begin.diff()
        self.depths = [pair for levels in tree.levels for pair in itertools.pairwise(levels.tolist())]
        returns = tree.pays / tree.odds
        self.most = float(returns.max() - returns.min())

    def evaluate(self, table: Any) -> Evaluation:
        """See `Tree.evaluate`."""
        reached = self._reach(self._of(table))
        weight = self._gather(reached)
        worth, (w0, w1) = torch.zeros_like(weight), (weight.index_select(0, rows) for rows in self.ends)
        worth.index_add_(0, self.ends[0], self.pays * w1).index_add_(0, self.ends[1], -self.pays * w0)
        value, gain = float((self.pays * w0 * w1).sum()), self._scatter(worth)
        choice = self._respond(gain)
        first, second = gain[:2].tolist()
        return Evaluation((first + second) / 2, (first, second), (value, -value), choice.cpu().numpy())

    def uncertain(self, table: Any, prune: float) -> float:
        """See `Tree.uncertain`."""
        reached = self._reach(self._of(table))
        is_below = torch.repeat_interleave(reached.index_select(0, self.parent) < prune, self.actions)
        below = torch.zeros_like(reached)
        below[2:] = reached[2:] * is_below
        weight = self._gather(below)
        chance, (w0, w1) = torch.zeros_like(weight), (weight.index_select(0, rows) for rows in self.ends)
        chance.index_add_(0, self.ends[0], self.odds * w1).index_add_(0, self.ends[1], self.odds * w0)
        gain = self._scatter(chance)
        self._respond(gain)
        return float(gain[:2].sum() / 2 * self.most)

    def _of(self, table: Any) -> Tensor:
        """The table, checked, on the device."""
        checked = self.checked()
        assert checked is not None
        return torch.from_numpy(checked(table)).to(self.device)

    def _reach(self, table: Tensor) -> Tensor:
        """Per sequence the product of its seat's own probabilities, from the first depth to the last."""
        reached = torch.ones_like(table)
        for first, end in self.depths:
            own = slice(int(self.begin[first]), int(self.begin[end]))
            above = reached.index_select(0, self.parent[first:end])
            reached[own] = torch.repeat_interleave(above, self.actions[first:end]) * table[own]
        return reached

    def _gather(self, x: Tensor) -> Tensor:
        """M x"""
        return torch.segment_reduce(x.index_select(0, self.column), "sum", offsets=self.row_begin)

    def _scatter(self, v: Tensor) -> Tensor:
        """M' v"""
        each = torch.repeat_interleave(v, self.entries)
        return torch.zeros(self.sequences, dtype=v.dtype, device=v.device).index_add_(0, self.column, each)

    def _respond(self, gain: Tensor) -> Tensor:
        """From the last depth to the first the best sequence of each set, int32 [sets], the first among
        equals; its gain is handed to the one above."""
        chosen = []
        for first, end in reversed(self.depths):
            begin, actions = self.begin[first : end + 1], self.actions[first:end]
            own = gain[int(begin[0]) : int(begin[-1])]
            best = torch.segment_reduce(own, "max", offsets=begin - begin[0])
            numbers = torch.arange(int(begin[0]), int(begin[-1]), device=own.device, dtype=own.dtype)
            is_best = own == torch.repeat_interleave(best, actions)
            numbers = torch.where(is_best, numbers, torch.inf)
            chosen.append(torch.segment_reduce(numbers, "min", offsets=begin - begin[0]).int())
            gain.index_add_(0, self.parent[first:end], best)
        return torch.cat(chosen[::-1])
