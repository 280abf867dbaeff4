"""Sequences drawn from a token model: legal to the end, colder or warmer, the same with the same seed."""

from __future__ import annotations

import math

import pytest
import torch
from made_setups import STOCK

from agents.net.tokens import TokenModel
from agents.play.continuing import continue_setups, read_army, read_letters, tempered, text_of

PIECES = read_letters(STOCK)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TokenModel(13, embedding_dim=4, lstm_hidden_size=8).eval()


def test_all_pieces_are_used_and_the_beginning_stays(model):
    drawn = continue_setups(model, read_letters("MLK"), PIECES, 20, 1.0, seed=1)
    assert drawn.shape == (20, 40)
    assert torch.equal(drawn.sort(1).values, PIECES.sort().values.expand(20, 40))
    assert torch.equal(drawn[:, :3], read_letters("MLK").expand(20, 3))
    assert len({tuple(row) for row in drawn.tolist()}) == 20


def test_the_same_seed_draws_the_same(model):
    first, again, other = (continue_setups(model, PIECES[:0], PIECES, 3, 1.0, s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_at_0_it_takes_the_likeliest_of_what_is_left(model):
    drawn = continue_setups(model, PIECES[:0], PIECES, 2, 0.0, seed=1)
    assert torch.equal(drawn[0], drawn[1])


def test_a_temperature_divides_the_logits():
    """1/2, 1/4 and an illegal 1/4: at 1 two to one, at 1/2 four to one, at 0 all."""
    told = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()
    legal = torch.tensor([True, True, False])
    for temperature, p in ((1.0, 2 / 3), (0.5, 4 / 5), (0.0, 1.0)):
        expected = torch.tensor([p, 1.0 - p, 0.0], dtype=torch.float64)
        torch.testing.assert_close(tempered(told, legal, temperature), expected)


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused(model, temperature):
    with pytest.raises(ValueError, match="temperature must be a finite number of at least 0"):
        continue_setups(model, PIECES[:0], PIECES, 1, temperature, seed=1)


def test_a_beginning_of_too_many_is_refused(model):
    with pytest.raises(ValueError, match="more of M than the 40 pieces"):
        continue_setups(model, read_letters("MM"), PIECES, 1, 1.0, seed=1)


def test_letters_and_rows():
    assert text_of(PIECES) == "BBBBBBCDDD\nDDDDDEEEEE\nFFFFGGGGHH\nHHIIIJJKLM"
    with pytest.raises(ValueError, match="expected letters of A to M, got 'N'"):
        read_letters("BN")


@pytest.mark.parametrize("about", [{}, {"kind": "matches"}, {"kind": "setups", "army": [99] * 40}])
def test_of_other_models_nothing_is_drawn(about):
    with pytest.raises(ValueError, match="run: is no model of arrangements"):
        read_army(about, "run")
