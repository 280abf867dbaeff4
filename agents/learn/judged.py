"""How well a network predicts recorded decisions: each judged once, and means with 95 % intervals."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from agents.learn.learners import Learner
from agents.learn.recorded import Recorded, lay, of_lanes, pieces, told_of, with_lanes
from agents.play.intervals import Z

Interval = tuple[float, float]


class Judged(NamedTuple):
    """What a network said of each of N decisions, in their order."""

    loss: Tensor  # float64 [N], -log of the probability of what was decided
    legal_loss: Tensor  # float64 [N], the same among what was legal
    rank: Tensor  # int64 [N], how many choices it preferred to that
    illegal: Tensor  # float64 [N], probability on what was illegal, before the mask
    value: Tensor  # float64 [N]; NaN without a value


@torch.no_grad()
def judge(learner: Learner, data: Recorded, lanes: int = 256, n_steps: int = 128) -> Judged:
    """What the network says of all decisions, without dropout; every one is judged once."""
    network = learner.network.eval()
    device = next(network.parameters()).device
    found = [torch.zeros(len(data.target), dtype=torch.float64) for _ in Judged._fields]
    layout = lay(data.length, torch.arange(len(data)), lanes)
    cores = learner.initial_cores(layout.decision.shape[1])
    for piece in pieces(layout, n_steps):
        said = learner.say(told_of(data, piece, device), piece.start.to(device), of_lanes(cores, piece))
        cores = with_lanes(cores, piece, said.cores)
        where = piece.decision[piece.is_there]
        logits = said.logits.cpu()[piece.is_there].double()
        legal, target = data.legal[where], data.target[where][:, None]
        everything = logits.log_softmax(-1)
        among_legal = logits.masked_fill(~legal, -torch.inf).log_softmax(-1)
        chosen = among_legal if learner.is_masked else everything
        told = Judged(
            loss=-chosen.gather(1, target)[:, 0],
            legal_loss=-among_legal.gather(1, target)[:, 0],
            rank=(chosen > chosen.gather(1, target)).sum(1),
            illegal=everything.exp().masked_fill(legal, 0.0).sum(1),
            value=logits.new_full((len(where),), torch.nan)
            if said.value is None
            else said.value.cpu()[piece.is_there].double(),
        )
        for part, x in zip(found, told, strict=True):
            part[where] = x.double()
    return Judged(*found)._replace(rank=found[2].long())


@dataclasses.dataclass(frozen=True)
class Score:
    """Means over the decisions that count; intervals take groups as independent, not decisions."""

    decisions: int
    groups: int
    loss: float
    """Nats."""
    interval: Interval
    """95 % of the loss."""
    legal_loss: float
    top1: float
    top1_interval: Interval
    top3: float
    illegal: float
    """Probability on what was illegal, before the mask."""
    value_loss: float | None
    """Mean squared error of the value."""
    by_ply: tuple[tuple[int, int, float], ...]
    """First and last ply, counted from 0 in a sequence, and the loss there."""

    @property
    def mean(self) -> float:
        """The loss."""
        return self.loss

    @property
    def perplexity(self) -> float:
        """exp(loss): so many equally likely choices would be as hard to predict."""
        return math.exp(self.loss)

    @property
    def perplexity_interval(self) -> Interval:
        """95 %."""
        low, high = self.interval
        return math.exp(low), math.exp(high)

    def numbers(self) -> dict[str, float]:
        """All of it but the plies, by names for curves and files."""
        low, high = self.perplexity_interval
        told = {
            "loss": self.loss, "perplexity": self.perplexity, "perplexity/low": low, "perplexity/high": high,
            "legal_perplexity": math.exp(self.legal_loss), "top1": self.top1,
            "top1/low": self.top1_interval[0], "top1/high": self.top1_interval[1], "top3": self.top3,
            "illegal": self.illegal,
        }  # fmt: skip
        return told if self.value_loss is None else told | {"value_loss": self.value_loss}


PLIES = 16
"""Ranges of plies, at most, that the loss is told by."""


def score(data: Recorded, judged: Judged) -> Score:
    """The means of what was judged.

    Raises:
        ValueError: no decision counts.
    """
    counts = data.counts
    if not bool(counts.any()):
        raise ValueError(f"none of the {len(counts):,} decisions is one to judge")
    group = data.group[data.sequence][counts]
    loss, is_first = judged.loss[counts], (judged.rank[counts] == 0).double()
    value_loss = None
    if "return" in data.told:
        value_loss = float((judged.value - data.told["return"].double())[counts].square().mean())
    return Score(
        decisions=int(counts.sum()),
        groups=len(group.unique()),
        loss=float(loss.mean()),
        interval=cluster_interval(loss, group),
        legal_loss=float(judged.legal_loss[counts].mean()),
        top1=float(is_first.mean()),
        top1_interval=cluster_interval(is_first, group),
        top3=float((judged.rank[counts] < 3).double().mean()),
        illegal=float(judged.illegal[counts].mean()),
        value_loss=value_loss,
        by_ply=_by_ply(data.ply[counts], loss),
    )


def cluster_interval(x: Tensor, group: Tensor) -> Interval:
    """95 % interval of the mean of x [N], of which numbers of one group [N] may depend on each other.

    The mean is a ratio of the groups' sums s_g and counts n_g; with G groups its variance is about

        G / (G - 1) sum_g (s_g - m n_g)^2 / N^2

    (Cochran 1977, Sampling Techniques, 6.3). Of a single group nothing is known: the interval is endless.
    """
    _, which = group.unique(return_inverse=True)
    G, m = int(which.max()) + 1, x.mean()
    if G == 1:
        return -math.inf, math.inf
    off = torch.zeros(G, dtype=torch.float64).index_add_(0, which, (x - m).double())
    half = Z * math.sqrt(G / (G - 1) * float(off.square().sum())) / len(x)
    return float(m) - half, float(m) + half


def _by_ply(ply: Tensor, loss: Tensor) -> tuple[tuple[int, int, float], ...]:
    """The loss in at most `PLIES` ranges of plies of one width."""
    width = math.ceil((int(ply.max()) + 1) / PLIES)
    found = []
    for first in range(0, int(ply.max()) + 1, width):
        here = (ply >= first) & (ply < first + width)
        if bool(here.any()):
            found.append((first, first + width - 1, float(loss[here].mean())))
    return tuple(found)
