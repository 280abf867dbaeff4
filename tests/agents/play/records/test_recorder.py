"""Matches recorded as they are played: both seats alike, by the seed, and shown again."""

from __future__ import annotations

import numpy as np
import pytest

import envs
from agents.play import arena, records
from agents.play.players import RandomPlayer, fixed_player

GAME = envs.make("dark_hex")


def recorded(folder, seed=0, matches=30):
    players = [fixed_player("bot", GAME, 5), RandomPlayer(GAME, seed=6)]
    records.record(players, matches, records.Writer(folder, GAME), seed=seed)
    return records.load(folder)


def test_the_players_take_turns_in_the_seats(tmp_path, monkeypatch):
    """Also across batches, here of 7 matches; the bot wins most of them."""
    monkeypatch.setattr(arena, "LANES", 7)
    matches = recorded(tmp_path / "r")
    assert matches.players[:, 0].tolist() == [0, 1] * 15
    assert (matches.players.sum(1) == 1).all()
    assert len(set(matches.seeds)) == 30
    bot = matches.returns[matches.players == matches.number_of("bot")]
    assert bot.mean() > 0.3


def test_the_same_seed_records_the_same(tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        recorded(tmp_path / name, seed)
    first, again, other = (
        (tmp_path / name / "matches.jsonl").read_bytes() for name in ("first", "again", "other")
    )
    assert first == again != other


def test_who_cannot_be_recorded(tmp_path):
    writer = records.Writer(tmp_path / "r", GAME)
    alone = [RandomPlayer(GAME)]
    with pytest.raises(ValueError, match=r"recorded with 2 player\(s\) of different names, one a seat, got"):
        records.record(alone, 10, writer)
    with pytest.raises(ValueError, match="of different names"):
        records.record(alone * 2, 10, writer)
    with pytest.raises(ValueError, match="matches must be at least 1, got 0"):
        records.record([*alone, fixed_player("bot", GAME)], 0, writer)
    assert not (tmp_path / "r").exists()


def test_a_recorded_match_is_watched_as_it_was_played(tmp_path):
    """The referee sees every attempt, and x nothing of most of o's; with chance the cards are those dealt."""
    matches = recorded(tmp_path / "r")
    texts = [match.text() for match in records.watch(matches, 4)]
    assert len(texts) == matches.lengths[4] + 1
    match = envs.Match(GAME)
    for action in matches.of(np.array([4])).script.actions.tolist():
        assert texts.pop(0) == match.text()
        match.play(action)
    seen = [match.text(0) for match in records.watch(matches, 4, viewer=0)]
    assert len(seen) < matches.lengths[4] + 1


def test_a_match_that_drew_its_own_chance_becomes_a_record():
    match = envs.Match(envs.make("leduc_poker"), seed=-5)
    while not match.over:
        match.play(match.legal()[0])
    made = records.of_match(match, ["ann", "ann"])
    assert (made.names, made.players.tolist()) == (("ann",), [[0, 0]])
    assert made.seeds == [2**64 - 5]
    assert made.returns.tolist() == [match.returns.tolist()]
    records.check(made)
    (*_, last) = records.watch(made)
    assert last.text() == match.text()
