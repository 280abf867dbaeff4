"""What a model makes of a beginning: arrangements, a seat's stream, matches, drawn on at a temperature."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from agents.net.policy import RecurrentPolicy
from agents.net.tokens import TokenModel
from agents.play.records.matches import Matches
from agents.play.records.setups import CELLS, COLUMNS, LETTERS
from envs import Match


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
    if temperature < torch.finfo(log_probability.dtype).tiny:  # it would be 0 there
        return torch.nn.functional.one_hot(among_legal.argmax(-1), legal.shape[-1]).to(log_probability.dtype)
    return ((among_legal - among_legal.amax(-1, keepdim=True)) / temperature).softmax(-1)


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


@torch.no_grad()
def continue_stream(model: TokenModel, begin: Tensor, count: int, temperature: float, seed: int) -> Tensor:
    """Tokens that a model takes to follow.

    It knows the rules from what it read alone: it may well go on with what no match can show.

    Args:
        begin: int64 [n], the first tokens of a sequence.
        count: m, how many to draw.
        temperature: see `tempered`.
        seed: of the draws.

    Returns:
        int64 [m].

    Raises:
        ValueError: the count is negative, or the temperature is none.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    generator = torch.Generator().manual_seed(seed)
    everything = torch.ones(1, model.tokens, dtype=torch.bool)
    previous, cores, drawn = torch.tensor([model.tokens]), model.initial_cores(1), []
    for t in range(len(begin) + count):
        told, cores = model.look(previous, torch.tensor([t == 0]), cores)
        if t < len(begin):
            previous = begin[t : t + 1]
            continue
        previous = torch.multinomial(tempered(told, everything, temperature), 1, generator=generator)[:, 0]
        drawn.append(previous)
    return torch.cat(drawn) if drawn else begin[:0]


def continue_match(
    policy: RecurrentPolicy, matches: Matches, after: int, temperature: float, seed: int
) -> Iterator[Match]:
    """A recorded match up to a decision, and from there on as a policy plays it in every seat.

    Args:
        policy: of the game, with Discrete actions; it remembers what the seats saw and did before.
        matches: one.
        after: decisions that are kept.
        temperature: see `tempered`.
        seed: of the policy's draws; chance goes on as the record's own seed says.

    Yields:
        the match where it goes on, and after each decision; kept whole, as it stands at its end.

    Raises:
        ValueError: it has fewer decisions, or the temperature is none.
    """
    length = int(matches.lengths[0])
    if not 0 <= after <= length:
        raise ValueError(f"the match has {length} decisions: expected to keep 0 to {length}, got {after}")
    seeded = matches.seeds[0] or 0
    match = Match(matches.game, seeded, matches.script.outcomes.tolist(), matches.deals[0])
    kept = matches.script.actions[:after].tolist()
    generator, memory = torch.Generator().manual_seed(seed), policy.initial_memory(1)
    t = 0
    while not match.over:
        if t == after:
            yield match
        seat, legal = torch.tensor([match.seat]), torch.as_tensor(match.mask())[None]
        seen, start = torch.as_tensor(match.observation(match.seat))[None], torch.tensor([t == 0])
        probability, memory = policy.look(seen, legal, seat, start, memory)
        if t < after:
            action = torch.tensor([kept[t]])
        else:
            chosen = tempered(probability.log(), legal, temperature)
            action = torch.multinomial(chosen, 1, generator=generator)[:, 0]
        memory = memory.remember(seat, action)
        match.play(int(action))
        t += 1
        if t > after or match.over:
            yield match
