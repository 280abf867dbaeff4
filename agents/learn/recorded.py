"""Recorded decisions: sequences of them one after another, and how they are laid out to be learned from.

Nothing is padded and nothing is split: sequences stand one after another in B lanes, `start` says where one
begins, and what is remembered goes on from one piece of T steps to the next, as in a rollout.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Recorded:
    """N decisions in S sequences, one sequence after another."""

    told: Mapping[str, Tensor]  # [N, ...] each, what a learner is told before a decision
    target: Tensor  # int64 [N], what was decided
    legal: Tensor  # bool [N, A], what was allowed
    counts: Tensor  # bool [N], is to be learned
    length: Tensor  # int64 [S], decisions of a sequence, at least one
    group: Tensor  # int64 [S], sequences of one group are never parted

    def __len__(self) -> int:
        """S."""
        return len(self.length)

    @property
    def first(self) -> Tensor:
        """int64 [S], where a sequence begins."""
        return self.length.cumsum(0) - self.length

    @property
    def sequence(self) -> Tensor:
        """int64 [N], of which sequence a decision is."""
        return torch.repeat_interleave(torch.arange(len(self)), self.length)

    @property
    def ply(self) -> Tensor:
        """int64 [N], decisions of its sequence before it."""
        return torch.arange(len(self.target)) - self.first[self.sequence]

    def select(self, sequences: Tensor) -> Recorded:
        """These sequences (int64 [R]) alone, in this order."""
        length = self.length[sequences]
        begin = torch.repeat_interleave(self.first[sequences] - (length.cumsum(0) - length), length)
        index = begin + torch.arange(int(length.sum()))
        return Recorded(
            {name: x[index] for name, x in self.told.items()},
            self.target[index],
            self.legal[index],
            self.counts[index],
            length,
            self.group[sequences],
        )


class Layout(NamedTuple):
    """Sequences in lanes, one after another; T' is the longest lane's length."""

    decision: Tensor  # int64 [T', B], which one stands there; -1 where a lane has ended
    start: Tensor  # bool [T', B], it is the first of its sequence


class Piece(NamedTuple):
    """T steps of the R lanes that have not ended before them."""

    lanes: Tensor  # int64 [R]
    decision: Tensor  # int64 [T, R], which ones; 0 where a lane has ended
    start: Tensor  # bool [T, R]
    is_there: Tensor  # bool [T, R], the lane has not ended


def lay(length: Tensor, order: Tensor, lanes: int) -> Layout:
    """Lay sequences into lanes: each, in this order, into the lane that is the shortest so far.

    Args:
        length: int64 [S].
        order: int64 [R], of the sequences to lay.
        lanes: B, at most; there are no more than sequences.
    """
    lanes = min(lanes, len(order))
    first, taken = length.cumsum(0) - length, length[order]
    ends = [(0, lane) for lane in range(lanes)]
    places = []  # step and lane where a sequence begins
    for n in taken.tolist():
        end, lane = heapq.heappop(ends)
        places.append((end, lane))
        heapq.heappush(ends, (end + n, lane))
    T, N = max(end for end, _ in ends), int(taken.sum())
    which = torch.repeat_interleave(torch.arange(len(order)), taken)
    k = torch.arange(N) - (taken.cumsum(0) - taken)[which]
    t, b = torch.tensor(places)[which].unbind(1)
    where = t + k, b
    decision = torch.full((T, lanes), -1).index_put(where, first[order][which] + k)
    start = torch.zeros(T, lanes, dtype=torch.bool).index_put(where, k == 0)
    return Layout(decision, start)


def piece_at(layout: Layout, at: int, n_steps: int) -> Piece:
    """The steps at..at + n_steps - 1 of a layout."""
    decision, start = layout.decision[at : at + n_steps], layout.start[at : at + n_steps]
    lanes = torch.nonzero(decision[0] >= 0)[:, 0]
    decision, start = decision[:, lanes], start[:, lanes]
    return Piece(lanes, decision.clamp(min=0), start, decision >= 0)


def pieces(layout: Layout, n_steps: int) -> Iterator[Piece]:
    """All of a layout, in time."""
    return (piece_at(layout, at, n_steps) for at in range(0, len(layout.decision), n_steps))


def told_of(data: Recorded, piece: Piece, device: torch.device) -> dict[str, Tensor]:
    """What a learner is told in a piece, [T, R, ...] each."""
    return {name: x[piece.decision].to(device) for name, x in data.told.items()}


def of_lanes(cores: tuple[Tensor, ...], piece: Piece) -> tuple[Tensor, ...]:
    """What the lanes of a piece remember, of parts [L, B, ...]."""
    return cores if _is_full(cores, piece) else tuple(part[:, piece.lanes] for part in cores)


def with_lanes(cores: tuple[Tensor, ...], piece: Piece, after: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What all lanes remember once those of a piece remember `after`, without its gradients."""
    if _is_full(cores, piece):
        return tuple(part.detach() for part in after)
    lanes = piece.lanes.to(cores[0].device)
    return tuple(part.index_copy(1, lanes, new.detach()) for part, new in zip(cores, after, strict=True))


def _is_full(cores: tuple[Tensor, ...], piece: Piece) -> bool:
    """No lane has ended."""
    return len(piece.lanes) == cores[0].shape[1]
