"""Sequences drawn from a token model: legal to the end, colder or warmer, the same with the same seed."""

from __future__ import annotations

import math

import pytest
import torch
from made_setups import STOCK

import envs
from agents import fixed_player
from agents.net.policy import RecurrentPolicy
from agents.net.tokens import TokenModel
from agents.play import records
from agents.play.continuing import (
    continue_match,
    continue_setups,
    continue_stream,
    read_army,
    read_letters,
    tempered,
    text_of,
)

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


@pytest.mark.parametrize("temperature", [1e-30, 1e-39, 1e-320])
def test_the_coldest_is_the_likeliest(temperature):
    told = torch.tensor([0.25, 0.5, 0.25]).log()
    assert tempered(told, torch.ones(3, dtype=torch.bool), temperature).tolist() == [0.0, 1.0, 0.0]
    assert tempered(told, torch.tensor([True, False, False]), temperature).tolist() == [1.0, 0.0, 0.0]


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


# ---------------------------------------------------------------- matches


def test_a_stream_goes_on_from_its_beginning(model):
    """The first token drawn follows what stands before it: at 0 the likeliest of the model's own."""
    begin = torch.tensor([3, 1])
    drawn = continue_stream(model, begin, 4, 0.0, seed=1)
    start = torch.tensor([[True], [False], [False]])
    logits, _ = model(torch.tensor([[13], [3], [1]]), start, model.initial_cores(1))
    assert (len(drawn), int(drawn[0])) == (4, int(logits[2, 0].argmax()))
    assert torch.equal(continue_stream(model, begin, 4, 1.0, 2), continue_stream(model, begin, 4, 1.0, 2))
    assert len(continue_stream(model, begin, 0, 1.0, 2)) == 0
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        continue_stream(model, begin, -1, 1.0, 2)


def recorded(tmp_path):
    game = envs.make("phantom_tictactoe")
    players = [fixed_player(name, game, 1) for name in ("random", "bot")]
    records.record(players, 1, records.Writer(tmp_path / "records", game), seed=4)
    return records.load_line(tmp_path / "records")


def test_a_match_is_kept_up_to_a_decision_and_then_played_on(tmp_path):
    """Kept whole it is the record; kept in part it begins as that; a seed plays the same again."""
    one = recorded(tmp_path)
    torch.manual_seed(0)
    policy = RecurrentPolicy(one.game.observation_space, one.game.actions, 2, lstm_hidden_size=8).eval()
    length, actions = int(one.lengths[0]), one.script.actions.tolist()
    for match in continue_match(policy, one, length - 1, 1.0, 1):
        assert match.actions[: length - 1] == actions[: length - 1]
    played = [list(continue_match(policy, one, 2, 1.0, seed))[-1] for seed in (1, 1, 2)]
    assert all(match.over for match in played)
    assert [match.actions[:2] for match in played] == [actions[:2]] * 3
    assert played[0].actions == played[1].actions != played[2].actions
    (whole,) = continue_match(policy, one, length, 1.0, 1)
    assert whole.over
    assert whole.actions == actions
    with pytest.raises(ValueError, match=f"the match has {length} decisions: expected to keep 0 to {length}"):
        list(continue_match(policy, one, length + 1, 1.0, 1))
