"""Rollouts follow each other: what waits at the end of one counts in the next, as it was played."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from listed import small
from models import consecutive

import envs
from agents import CELLS, Opposition, fixed_player
from agents.learn.ppo import decisions_of, evaluate, replay_drift
from agents.learn.rollout import CARRIED, Collector

B = 32


def rollouts(model, n_steps, number=12):
    """Consecutive rollouts of a policy whose probabilities depend on its memory visibly."""
    with torch.no_grad():
        model.policy.action_head[-1].weight.mul_(50.0)
    collector = Collector(model.batch, model.policy, model.opposition)
    return [collector.collect(model.policy, n_steps, model.generator) for _ in range(number)]


def times_counted(played):
    """How often each decision counts, [T, B] over all rollouts, and who made it; the last may wait still."""
    n_steps = len(played[0].seat)
    times = torch.zeros(n_steps * len(played), B)
    for number, rollout in enumerate(played):
        counts = decisions_of(rollout, 1.0, 0.95).counts
        end = n_steps * (number + 1)
        times[end - len(counts) : end] += counts
    seats = torch.cat([rollout.seat for rollout in played])
    return times[:-n_steps], seats[:-n_steps]


@pytest.mark.parametrize("n_steps", [2, 4, 7])
@pytest.mark.parametrize("game", ["kuhn_poker", "leduc_poker", "generals"])
def test_where_seats_alternate_every_decision_counts_once(make_model, game, n_steps):
    """Left out at the rollouts' ends, Kuhn poker's first seat would lose a fifth of its decisions at
    n_steps 4, and Generals' second seat each of its decisions there, whatever the match."""
    times, seats = times_counted(rollouts(make_model(small(game), B, n_steps=8, batch_size=8), n_steps))
    assert (times == 1).all()
    assert set(seats.flatten().tolist()) == {0, 1}


@pytest.mark.parametrize("game", ["dark_hex", "phantom_tictactoe"])
def test_where_a_seat_tries_again_almost_every_decision_counts(make_model, game):
    """A seat may collide more often than decisions are carried; nothing counts twice."""
    times, seats = times_counted(rollouts(make_model(small(game), B, n_steps=8, batch_size=8), 4, 32))
    assert times.max() == 1
    for seat in (0, 1):
        assert times[seats == seat].mean() > 0.99
    assert times[3::4].mean() > 0.96  # at the rollouts' ends


def test_others_decisions_do_not_count_carried_either(make_model):
    """Against a player in all matches: exactly the policy's own decisions count, once."""
    game = envs.make("kuhn_poker")
    opposition = Opposition(game, B, 1.0, [fixed_player("random", game)])
    played = rollouts(make_model(game, B, n_steps=8, batch_size=8, opposition=opposition), 4)
    times, _ = times_counted(played)
    own = torch.cat([rollout.is_own for rollout in played])[:-4]
    assert torch.equal(times == 1, own)
    assert 0.4 < own.float().mean() < 0.6


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_carried_is_replayed_as_it_was_played(make_model, device, cell):
    """From the memory of that time; the memory of another time shows."""
    model = make_model("phantom_tictactoe", B, {"cell": cell}, device, n_steps=8, batch_size=8)
    played, rows = rollouts(model, 6), torch.arange(B, device=device)
    assert played[0].before is None
    for earlier, rollout in itertools.pairwise(played):
        assert torch.equal(rollout.before.log_prob, earlier.log_prob[-CARRIED:])
        assert torch.equal(rollout.before.next_value, earlier.next_value)
        assert replay_drift(model.policy, rollout.before, rows) <= 1e-5
    wrong = dataclasses.replace(rollout.before, memory=rollout.memory)
    assert (replay_drift(model.policy, wrong, rows) > 1e-3) == (cell != "feedforward")


def test_an_update_weighs_the_carried_decisions_too(make_model):
    """Without a change of weights in between the ratios of all are 1. Of a rollout of 4 whose `before` is
    taken away, fewer decisions count."""
    rollout = rollouts(make_model("kuhn_poker", B, n_steps=8, batch_size=8), 4)[5]
    sample = decisions_of(rollout, 1.0, 0.95)
    alone = decisions_of(dataclasses.replace(rollout, before=None), 1.0, 0.95)
    assert sample.action.shape == (CARRIED + 4, B)
    assert torch.equal(sample.counts[CARRIED:], alone.counts)
    assert torch.equal(sample.advantage[CARRIED:], alone.advantage)
    assert sample.counts[:CARRIED].any()


def test_who_plays_alone_waits_for_nobody(make_model):
    assert all(
        r.before is None for r in rollouts(make_model(small("minesweeper"), B, n_steps=8, batch_size=8), 4)
    )


def test_a_rollout_that_was_stopped_leaves_nothing_to_carry(make_model):
    """Its decisions are lost, so the end of the one before it is no longer what came before the next."""
    model = make_model("kuhn_poker", B, n_steps=8, batch_size=8)
    collector = Collector(model.batch, model.policy)
    collector.collect(model.policy, 4)
    assert collector.collect(model.policy, 4, on_step=lambda: False) is None
    assert collector.collect(model.policy, 4).before is None
    assert collector.collect(model.policy, 4).before is not None


def test_a_magnet_that_comes_or_goes_leaves_nothing_to_carry(make_model):
    """What was recorded beside one policy has no counterpart beside the other."""
    model = make_model("kuhn_poker", B, n_steps=8, batch_size=8)
    collector = Collector(model.batch, model.policy)
    carries = [
        collector.collect(model.policy, 4, magnet=magnet).before is not None
        for magnet in (None, None, model.policy, model.policy, None)
    ]
    assert carries == [False, True, False, True, False]


def test_what_waits_is_in_the_state_and_checked(make_model):
    """Saved and loaded, the next rollout carries the same; what does not fit is refused by its name."""
    model = make_model("kuhn_poker", B, n_steps=8, batch_size=8)
    collector = Collector(model.batch, model.policy)
    collector.collect(model.policy, 6, model.generator)
    state, generator = collector.state_dict(), model.generator.get_state()
    matches = model.batch.state_dict()
    expected = collector.collect(model.policy, 6, model.generator)

    batch = envs.Batch(envs.make("kuhn_poker"), B)
    batch.load_state_dict(matches)
    other = Collector(batch, model.policy)
    other.load_state_dict(state, model.policy)
    got = other.collect(model.policy, 6, model.generator.set_state(generator))
    rows = torch.arange(B)
    for a, b in zip(decisions_of(expected, 1.0, 0.9), decisions_of(got, 1.0, 0.9), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(*(evaluate(model.policy, r.before, rows)[1] for r in (expected, got)))

    for name, wrong in (
        ("value", torch.zeros(4, B + 1)),
        ("seat", torch.full((4, B), 2)),
        ("core.0", torch.zeros(1)),
        ("over", torch.zeros(4, B)),
    ):
        with pytest.raises(ValueError, match=f"^the saved (end of a rollout: )?{name} "):
            other.load_state_dict(state | {f"before.{name}": wrong}, model.policy)

    older = {name: x for name, x in state.items() if not name.startswith("before.")}
    other.load_state_dict(older, model.policy)
    assert other.collect(model.policy, 6).before is None


def test_the_record_adds_up_what_a_match_earns(make_model):
    """Battleship alone, rollouts of 33 decisions: every match is counted across their borders."""
    model = make_model("battleship", 16, n_steps=7, batch_size=7)
    total, ended = torch.zeros(16, 1), 0
    for rollout in consecutive(model):
        for t in range(len(rollout.reward)):
            total += rollout.reward[t]
            torch.testing.assert_close(rollout.earned[t], total)
            total[rollout.over[t]] = 0.0
            ended += int(rollout.over[t].sum())
    assert ended >= 16


def test_going_on_leaves_the_saved_state_as_it_was(make_model):
    model = make_model("kuhn_poker", 16, n_steps=3, batch_size=3)
    collector = Collector(model.batch, model.policy)
    collector.collect(model.policy, 3)
    state = collector.state_dict()
    before = {name: x.clone() for name, x in state.items()}
    collector.load_state_dict(state, model.policy)
    collector.collect(model.policy, 3)
    assert all(torch.equal(state[name], x) for name, x in before.items())


def test_the_record_tells_whole_matches(make_model):
    """Lengths count 1, 2, ... from a start to the end; Kuhn poker's matches take 2 or 3 decisions."""
    rollout = consecutive(make_model("kuhn_poker", 16, n_steps=7, batch_size=7))[1]
    assert torch.equal(rollout.start[1:], rollout.over[:-1])
    assert torch.equal(rollout.length == 1, rollout.start)
    assert set(rollout.length[rollout.over].tolist()) == {2, 3}
    assert (rollout.reward[rollout.over].sum(-1) == 0).all()
    assert not rollout.reward[~rollout.over].any()
    assert torch.equal(rollout.previous == 2, rollout.length <= 2)  # 2 = none: both seats' first decisions
    assert not rollout.illegal.any()
