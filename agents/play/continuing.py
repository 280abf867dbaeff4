"""What a token model makes of a beginning: sequences drawn to their end, at a temperature."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agents.net.tokens import TokenModel
from agents.play.setups import PIECES, SQUARES


def tempered(log_probability: Tensor, legal: Tensor, temperature: float) -> Tensor:
    """Probabilities [..., V] among what is legal, logits divided by the temperature; 0: all on the likeliest.

    Raises:
        ValueError: the temperature is below 0, or no number.
    """
    if not (math.isfinite(temperature) and temperature >= 0.0):
        raise ValueError(f"temperature must be a finite number of at least 0, got {temperature!r}")
    among_legal = log_probability.masked_fill(~legal, -torch.inf)
    if temperature == 0.0:
        return torch.nn.functional.one_hot(among_legal.argmax(-1), legal.shape[-1]).to(log_probability.dtype)
    return (among_legal / temperature).softmax(-1)


@torch.no_grad()
def continue_setups(
    model: TokenModel, begin: Tensor, stock: Tensor, count: int, temperature: float, seed: int
) -> Tensor:
    """Arrangements drawn from a model, only of pieces that are left.

    Args:
        begin: int64 [n], the pieces on the first n squares.
        stock: int64 [SQUARES], all the pieces of an arrangement, in any order.
        count: S, how many to draw.
        temperature: see `tempered`.
        seed: of the draws.

    Returns:
        int64 [S, SQUARES].

    Raises:
        ValueError: `begin` holds more of a piece than there are, or the temperature is none.
    """
    V = len(PIECES)
    left = torch.bincount(stock, minlength=V) - torch.bincount(begin, minlength=V)
    if len(begin) > SQUARES or bool((left < 0).any()):
        wrong = PIECES[int(left.argmin())]
        raise ValueError(f"the beginning has more of {wrong} than the {SQUARES} pieces do")
    generator = torch.Generator().manual_seed(seed)
    left = left.repeat(count, 1)
    previous, cores = torch.full((count,), V), model.initial_cores(count)
    placed = []
    for square in range(SQUARES):
        start = torch.full((count,), square == 0)
        told, cores = model.look(previous, start, cores)
        if square < len(begin):
            previous = begin[square].repeat(count)
        else:
            probability = tempered(told, left > 0, temperature)
            previous = torch.multinomial(probability, 1, generator=generator)[:, 0]
            left[torch.arange(count), previous] -= 1
        placed.append(previous)
    return torch.stack(placed, 1)
