"""What files of records become for those who learn from them: streams of tokens, and decisions to imitate."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.learn.recorded import Recorded
from agents.play.setups import PIECES, SQUARES, Setups, left, mirrored


def arrangements(setups: Setups) -> Recorded:
    """One sequence of pieces for each arrangement; what may come is what is left of its pieces."""
    pieces = setups.pieces
    S, V = len(pieces), len(PIECES)
    before = torch.cat([torch.full((S, 1), V), pieces[:, :-1]], 1)
    return Recorded(
        told={"previous": before.flatten()},
        target=pieces.flatten(),
        legal=(left(pieces) > 0).flatten(0, 1),
        counts=torch.ones(S * SQUARES, dtype=torch.bool),
        length=torch.full((S,), SQUARES),
        group=setups.group,
    )


def pieces_of(data: Recorded) -> Tensor:
    """The arrangements [S, SQUARES] that `arrangements` made sequences of."""
    return data.target.view(-1, SQUARES)


def with_mirrored(data: Recorded) -> Recorded:
    """Each arrangement a second time, left and right exchanged: as good a one, and nobody set it up."""
    pieces = pieces_of(data)
    return arrangements(Setups(torch.cat([pieces, mirrored(pieces)]), torch.cat([data.group, data.group])))
