"""What a token model makes of a beginning: sequences drawn to their end, at a temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.net.tokens import TokenModel
from agents.play.records.setups import CELLS, COLUMNS, LETTERS


def read_letters(letters: str) -> Tensor:
    """Pieces int64 [n] from their letters.

    Raises:
        ValueError: a letter is none of `LETTERS`.
    """
    wrong = sorted(set(letters) - set(LETTERS))
    if wrong:
        raise ValueError(f"expected letters of {LETTERS[0]} to {LETTERS[-1]}, got {wrong[0]!r:.20}")
    return torch.tensor([LETTERS.index(letter) for letter in letters], dtype=torch.int64)


def read_army(about: Mapping[str, Any], run: object) -> Tensor:
    """The pieces int64 [CELLS] of an arrangement, in order, as the file of a token model tells them.

    Raises:
        ValueError: it is a model of something else.
    """
    army = about.get("army")
    is_army = isinstance(army, list) and len(army) == CELLS and set(army) <= set(range(len(LETTERS)))
    if about.get("kind") != "setups" or not is_army:
        raise ValueError(f"{run}: is no model of arrangements, which are all that can be drawn")
    return torch.tensor(army)


def text_of(pieces: Tensor) -> str:
    """An arrangement [CELLS] as rows of letters."""
    letters = "".join(LETTERS[k] for k in pieces.tolist())
    return "\n".join(letters[at : at + COLUMNS] for at in range(0, CELLS, COLUMNS))


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
    model: TokenModel, begin: Tensor, army: Tensor, count: int, temperature: float, seed: int
) -> Tensor:
    """Arrangements drawn from a model, only of pieces that are left.

    Args:
        begin: int64 [n], the pieces on the first n cells.
        army: int64 [CELLS], all the pieces of an arrangement, in any order.
        count: S, how many to draw.
        temperature: see `tempered`.
        seed: of the draws.

    Returns:
        int64 [S, CELLS].

    Raises:
        ValueError: `begin` holds more of a piece than there are; or no count, or temperature, that can be.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    V = len(LETTERS)
    left = torch.bincount(army, minlength=V) - torch.bincount(begin, minlength=V)
    if len(begin) > CELLS or bool((left < 0).any()):
        wrong = LETTERS[int(left.argmin())]
        raise ValueError(f"the beginning has more of {wrong} than the {CELLS} pieces do")
    generator = torch.Generator().manual_seed(seed)
    left = left.repeat(count, 1)
    previous, cores = torch.full((count,), V), model.initial_cores(count)
    placed = []
    for cell in range(CELLS):
        start = torch.full((count,), cell == 0)
        told, cores = model.look(previous, start, cores)
        if cell < len(begin):
            previous = begin[cell].repeat(count)
        else:
            probability = tempered(told, left > 0, temperature)
            previous = torch.multinomial(probability, 1, generator=generator)[:, 0]
            left[torch.arange(count), previous] -= 1
        placed.append(previous)
    return torch.stack(placed, 1)
