"""What records become: decisions as a seat had them, and streams of what a seat saw and did."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import envs
from agents import fixed_player
from agents.learn.streams import decisions, discounted, seat_stream, seat_streams, token_names
from agents.play import records

KUHN = envs.make("kuhn_poker")


def played(game, count, tmp_path, *names):
    """So many recorded matches between fixed players."""
    players = [fixed_player(name, game, seed) for seed, name in enumerate(names)]
    if len(set(names)) < len(names):
        players[-1].name += " (2)"
    records.record(players, count, records.Writer(tmp_path / game.name, game), seed=4)
    return records.load(tmp_path / game.name)


@pytest.mark.parametrize("name", ["kuhn_poker", "phantom_tictactoe", "concentration"])
def test_decisions_are_what_the_seats_were_told(tmp_path, name):
    """Each match played again by hand: who saw what, what it might do, and what it still earned."""
    game = envs.make(name)
    matches = played(game, 9, tmp_path, *["random", "bot"][: game.seats])
    data = decisions(matches)
    assert data.length.tolist() == matches.lengths.tolist()
    at = 0
    for n in range(9):
        one = matches.of(np.array([n]))
        match = envs.Match(game, one.seeds[0], one.script.outcomes.tolist())
        previous, total = [game.actions] * game.seats, one.returns[0]
        while not match.over:
            seat = match.seat
            assert int(data.told["seat"][at]) == seat
            assert int(data.told["previous"][at]) == previous[seat]
            assert np.array_equal(data.told["observation"][at].numpy(), match.observation(seat))
            assert np.array_equal(data.legal[at].numpy(), match.mask())
            left = (total[seat] - match.returns[seat]) / max(map(abs, game.return_range))
            assert float(data.told["return"][at]) == pytest.approx(left, abs=1e-6)
            previous[seat] = int(data.target[at])
            match.play(previous[seat])
            at += 1
    assert at == len(data.target)


def test_only_the_decisions_of_a_player_count(tmp_path):
    matches = played(KUHN, 20, tmp_path, "random", "bot")
    both, mine = decisions(matches), decisions(matches, "bot")
    sits = torch.from_numpy(matches.players)[both.group[both.sequence], both.told["seat"]]
    assert torch.equal(mine.counts, sits == matches.names.index("bot"))
    assert 0 < int(mine.counts.sum()) < len(mine.counts)
    with pytest.raises(ValueError, match="no player 'bto'; known are random, bot"):
        decisions(matches, "bto")


def test_a_discount_counts_own_decisions():
    """Seat a earns 1, 2 and 4 in turn, seat b 8 in between: 1 + 2/2 + 4/4, 2 + 4/2, 4 and 8."""
    to_come, stream = torch.tensor([7.0, 8.0, 6.0, 4.0]), torch.tensor([0, 1, 0, 0])
    assert discounted(to_come, stream, 0.5).tolist() == [3.0, 8.0, 4.0, 4.0]
    assert torch.equal(discounted(to_come, stream, 1.0), to_come)


def test_a_seat_s_stream_by_hand():
    """Kuhn poker, a queen against a king: pass, bet, pass.

    Slots: own card (4 codes), then three moves (3 codes each): none, pass, bet. Tokens 0 pass and 1 bet are
    own actions, 2..5 the card, 6..8, 9..11, 12..14 the moves. Seat 0 sees its card and passes; then that it
    passed and the other bet, and passes. Seat 1 sees its card and the pass, and bets.
    """
    match = envs.Match(KUHN, chance=[1, 2])
    for action in (0, 1, 0):
        match.play(action)
    one = records.played(
        KUHN, [match.seed], np.array([0, 1, 0], np.int32), np.array([0, 3]), ["a", "b"], np.array([[0, 1]])
    )
    one = records.Matches(**{**vars(one), "script": one.script._replace(outcomes=np.array([1, 2], np.int32))})
    data = seat_streams(one)
    Q, K, start = 2 + 2, 2 + 3, 2 + 4 + 3 * 3
    assert data.length.tolist() == [5, 3]
    assert data.target.tolist() == [Q, 0, 6 + 1, 9 + 2, 0, K, 6 + 1, 1]
    assert data.told["previous"].tolist() == [start, Q, 0, 7, 11, start, K, 7]
    assert data.group.tolist() == [0, 0]
    names = token_names(one)
    assert [names[k] for k in (0, 1, Q, 11)] == ["pass", "bet", "slot 0 shows 2", "slot 2 shows 2"]
    assert bool(data.legal.all())  # both actions always are


def test_only_own_actions_can_be_illegal(tmp_path):
    matches = played(envs.make("phantom_tictactoe"), 5, tmp_path, "random", "bot")
    data, turns = seat_streams(matches), decisions(matches)
    own = data.target < 9
    assert bool(data.legal[~own].all())
    assert bool(data.legal[:, 9:].all())
    stream = 2 * turns.sequence + turns.told["seat"]
    assert torch.equal(data.legal[own][:, :9], turns.legal[stream.argsort(stable=True)])
    assert torch.equal(data.target[own], turns.target[stream.argsort(stable=True)])


def test_streams_of_one_player_alone(tmp_path):
    matches = played(KUHN, 20, tmp_path, "random", "bot")
    both, mine = seat_streams(matches), seat_streams(matches, "bot")
    assert (len(both), len(mine)) == (2 * len(mine), 20)
    assert sorted(mine.group.tolist()) == list(range(20))


def test_planes_are_no_slots(tmp_path):
    game = envs.make("generals", rows=4, cols=4)
    matches = played(game, 2, tmp_path, "random", "random")
    with pytest.raises(ValueError, match="tokens need an observation of slots"):
        seat_streams(matches)
    assert (
        decisions(matches).told["observation"].dtype
        == torch.as_tensor(np.zeros(0, game.observation_space.dtype)).dtype
    )


def test_a_seat_s_stream_where_a_player_met_itself(tmp_path):
    """As a run's replay has it: two seats, one name."""
    one = played(envs.make("phantom_tictactoe"), 1, tmp_path, "random", "bot")
    apart = [seat_streams(one, one.names[p]).target for p in one.players[0]]
    itself = dataclasses.replace(one, names=("agent",), players=np.zeros((1, 2), np.int64))
    assert [seat_stream(itself, seat).tolist() for seat in (0, 1)] == [x.tolist() for x in apart]
    assert apart[0].tolist() != apart[1].tolist()


def test_a_player_that_decided_nothing_has_no_stream(tmp_path):
    one = played(KUHN, 1, tmp_path, "random", "bot")
    third = dataclasses.replace(one, names=(*one.names, "nobody"))
    with pytest.raises(ValueError, match="nobody decided nothing in the matches that came to an end"):
        seat_streams(third, "nobody")
