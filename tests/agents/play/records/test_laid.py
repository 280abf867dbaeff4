"""Matches laid in columns: what a rollout would have recorded of them, without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import envs
from agents.play import records
from agents.play.players import RandomPlayer

FIELDS = ("observation", "legal", "start", "seat", "previous", "action", "match", "player", "returns")


@pytest.fixture(scope="module", params=["dark_hex", "concentration"])
def matches(request, tmp_path_factory):
    """40 matches; of concentration returns come along the way."""
    game, folder = envs.make(request.param), tmp_path_factory.mktemp("laid") / "r"
    players = [RandomPlayer(game, name, seed) for seed, name in enumerate(("ann", "bob")[: game.seats])]
    records.record(players, 40, records.Writer(folder, game))
    return records.load(folder)


def told_by_match(matches, number):
    """What a `Match` shows of a recorded one, decision by decision."""
    game, one = matches.game, matches.of(np.array([number]))
    match = envs.Match(game, one.seeds[0])
    previous = [game.actions] * game.seats
    for action in one.script.actions.tolist():
        seat = match.seat
        yield {
            "observation": match.observation(seat),
            "legal": match.mask(),
            "start": len(match.actions) == 0,
            "seat": seat,
            "previous": previous[seat],
            "action": action,
            "match": number,
            "player": one.players[0, seat],
            "returns": np.float32(one.returns[0, seat]),
            "to_come": one.returns[0, seat] - match.returns[seat],
        }
        previous[seat] = action
        match.play(action)


def test_every_decision_is_laid_once_as_it_was_seen(matches):
    """7 columns, 5 steps at a time; each column tells its matches to their ends, one after another."""
    laid = list(records.lay(matches, 7, 5))
    whole = {
        name: torch.cat([getattr(piece, name) for piece in laid]) for name in (*FIELDS, "to_come", "real")
    }
    seen = []
    for b in range(7):
        real = whole["real"][:, b]
        assert not (real[1:] & ~real[:-1]).any()  # what is not real comes last
        numbers = whole["match"][real, b]
        order = torch.unique_consecutive(numbers).tolist()
        seen += order
        told = [decision for number in order for decision in told_by_match(matches, number)]
        assert len(told) == int(real.sum())
        for t, decision in enumerate(told):
            for name in FIELDS:
                assert np.array_equal(whole[name][t, b].numpy(), decision[name]), (b, t, name)
            assert whole["to_come"][t, b].item() == pytest.approx(decision["to_come"], abs=1e-6)
    assert sorted(seen) == list(range(40))


def test_a_column_that_waits_has_nothing_that_could_make_a_nan(matches):
    (*_, last) = records.lay(matches, 7, 64)
    waits = ~last.real
    assert waits.any()
    assert last.legal[waits].all()
    assert last.start[waits].all()
    assert (last.match[waits] == -1).all()
    assert (last.player[waits] == -1).all()
    assert (last.previous[waits] == matches.game.actions).all()
    for name in ("observation", "seat", "action", "returns", "to_come"):
        assert not getattr(last, name)[waits].any()


def test_each_match_goes_to_the_column_that_is_free_first(matches):
    """The order is the caller's; a match is begun no later than any after it."""
    order = np.random.default_rng(3).permutation(40)
    begun = {}
    for at, piece in enumerate(records.lay(matches, 4, 16, order)):
        for t, b in zip(*np.nonzero((piece.start & piece.real).numpy()), strict=True):
            begun[int(piece.match[t, b])] = 16 * at + t
    steps = [begun[m] for m in order.tolist()]
    assert steps == sorted(steps)


def test_cut_every_place_is_a_decision(matches):
    pieces = list(records.lay(matches, 3, 8, is_cut=True))
    assert pieces
    assert all(piece.real.all() and piece.shape == (8, 3) for piece in pieces)
    whole = list(records.lay(matches, 3, 8))
    assert len(whole) > len(pieces)
    for name in FIELDS:
        assert all(
            torch.equal(getattr(a, name), getattr(b, name)) for a, b in zip(pieces, whole, strict=False)
        )


def test_stopped_matches_are_left_out():
    game = envs.make("dark_hex")
    begins = np.array([0, 2, 7])
    made = records.played(
        game,
        [None, None],
        np.array([0, 1, 0, 1, 3, 4, 6], np.int32),
        begins,
        ["x", "o"],
        np.array([[0, 1]] * 2),
    )
    assert [records.ENDS[end] for end in made.ends] == ["stopped", "over"]
    (piece,) = records.lay(made, 1, 5)
    assert piece.match[:, 0].tolist() == [1] * 5
    with pytest.raises(ValueError, match="no match that came to an end"):
        next(records.lay(made.of(np.array([0])), 1, 5))
    with pytest.raises(ValueError, match="columns and steps must be at least 1, got 0 and 5"):
        next(records.lay(made, 0, 5))
