"""Records as a rollout has them: matches one after another in B columns, [T, B], with `start` and `seat`."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from agents.play.records.matches import Array, Matches
from envs.replay import Columns


@dataclasses.dataclass(frozen=True)
class Laid:
    """T recorded decisions in each of B columns.

    A column whose matches are all told waits for the others: there `real` is False, `match` -1, every action
    legal, everything begins (`start`), and the rest is zero, so that nothing computed from it is NaN.
    """

    observation: Tensor  # [T, B, ...] of the seat that decided, of the game's dtype
    legal: Tensor  # bool [T, B, A]
    start: Tensor  # bool [T, B], first decision of a match
    seat: Tensor  # int64 [T, B]
    previous: Tensor  # int64 [T, B], the seat's own previous action, A = none
    action: Tensor  # int64 [T, B], as played
    match: Tensor  # int64 [T, B], its number among the matches
    player: Tensor  # int64 [T, B], who decided, by the number in `Matches.names`
    returns: Tensor  # float32 [T, B], of the deciding seat, of the whole match
    to_come: Tensor  # float32 [T, B], the part of it that the seat earns from this decision on
    real: Tensor  # bool [T, B], there is a decision

    @property
    def shape(self) -> tuple[int, int]:
        """T, B."""
        return self.seat.shape[0], self.seat.shape[1]


def lay(
    matches: Matches, columns: int, steps: int, order: Array | None = None, is_cut: bool = False
) -> Iterator[Laid]:
    """Lay matches one after another into columns, `steps` decisions at a time.

    A match that ends is followed by the next one in the same column, as in the lanes of a `Batch`: nothing is
    padded, and a match may go on in the next piece, where its memory is what the one before left (of the
    first piece nothing is remembered). Only what is being told lies in memory, whatever the matches are.
    Matches that were stopped have no returns, and are left out.

    Args:
        columns: B.
        steps: T, of every piece.
        order: of the matches, their numbers; None = as they stand. Each goes to the column that is free
            first.
        is_cut: leave out the last pieces, in which not all columns have decisions for all steps.

    Raises:
        ValueError: there is no room for a decision, or nothing to lay.
    """
    if columns < 1 or steps < 1:
        raise ValueError(f"columns and steps must be at least 1, got {columns} and {steps}")
    order = np.arange(len(matches)) if order is None else np.asarray(order, np.int64)
    order = order[matches.can_be_laid[order]]
    if len(order) == 0:
        raise ValueError(f"{matches.source}: there is no match that came to an end")
    return pieces(matches, columns, steps, order, is_cut)


def pieces(matches: Matches, columns: int, steps: int, order: Array, is_cut: bool = False) -> Iterator[Laid]:
    """`lay` of whatever matches are named in `order`, which all have decisions."""
    lengths = matches.lengths
    column, begin = _placed(lengths[order], columns)
    ends = np.zeros(columns, np.int64)
    np.maximum.at(ends, column, begin + lengths[order])
    told, last = Columns(matches.game, columns), int(ends.min() if is_cut else ends.max())
    for at in range(0, last - (steps - 1 if is_cut else 0), steps):
        now = np.flatnonzero((begin >= at) & (begin < at + steps))
        now = now[np.lexsort((begin[now], column[now]))]
        queue = order[now]
        begins = np.searchsorted(column[now], np.arange(columns + 1))
        shown = told.show(steps, matches.script, lengths, queue, begins, matches.dealt(queue))
        yield _laid(matches, shown)


def _placed(lengths: Array, columns: int) -> tuple[Array, Array]:
    """For matches in order: the column of each, and the step at which it begins."""
    free = [(0, b) for b in range(columns)]
    column, begin = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    for k, length in enumerate(lengths.tolist()):
        begin[k], column[k] = at, b = free[0]
        heapq.heapreplace(free, (at + length, b))
    return column, begin


def _laid(matches: Matches, shown: dict[str, Array]) -> Laid:
    real = shown["match"] >= 0
    match, seat = np.maximum(shown["match"], 0), shown["seat"]
    returns = np.where(real, matches.returns[match, seat], 0.0).astype(np.float32)
    earned = shown.pop("earned")
    shown |= {
        "player": np.where(real, matches.players[match, seat], -1),
        "returns": returns,
        "to_come": returns - earned,
        "real": real,
    }
    return Laid(**{name: torch.from_numpy(x) for name, x in shown.items()})
