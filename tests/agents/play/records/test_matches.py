"""Records of every game: written, played again, written again; and what a record may not say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from listed import LISTED

import envs
from agents.play import records
from agents.play.players import RandomPlayer
from agents.play.records.matches import FORFEIT, digests, rules_of
from envs.replay import dealt

OTHERS = [
    ("battleship", {"seats": 2, "rows": 4, "cols": 4, "ships": "2,3", "shots": 8}),
    ("dark_hex", {"abrupt": True, "reveal": "turns"}),
    ("goofspiel", {"order": "random"}),
]


def seated(game):
    return [RandomPlayer(game, f"player {p}", p) for p in range(game.seats)]


@pytest.mark.parametrize(("name", "options"), [*LISTED, *OTHERS])
def test_record_replay_record_is_the_same_byte_for_byte(name, options, tmp_path):
    """Written by the players, read by playing it again, written from what was read; and without the seeds."""
    game = envs.make(name, **options)
    records.record(seated(game), 20, records.Writer(tmp_path / "first", game))
    matches = records.load(tmp_path / "first")
    with records.Writer(tmp_path / "second", game) as writer:
        writer.add(matches)
    for file in ("matches.jsonl", "manifest.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    seedless = dataclasses.replace(matches, seeds=[None] * 20)
    text = "".join(records.written(seedless))
    (tmp_path / "third.jsonl").write_text(text, encoding="utf-8")
    assert "".join(records.written(records.load(tmp_path / "third.jsonl"))) == text


class Reckless(RandomPlayer):
    """Names an action that the game does not have at its third decision in dark hex."""

    def choose(self, observation, legal, seat, rows):
        chosen = super().choose(observation, legal, seat, rows)
        chosen[(observation != 0).sum(1) >= 2] = 99
        return chosen


def test_a_forfeit_is_kept_with_its_illegal_action(tmp_path):
    game = envs.make("dark_hex")
    records.record([Reckless(game, "reckless"), seated(game)[1]], 10, records.Writer(tmp_path / "r", game))
    matches = records.load(tmp_path / "r")
    assert (matches.ends == FORFEIT).all()
    assert (matches.script.actions[matches.script.begins[1:] - 1] == 99).all()
    reckless = matches.number_of("reckless")
    assert (matches.returns[matches.players == reckless] == -1.0).all()
    assert (matches.returns[matches.players != reckless] == 1.0).all()
    assert (matches.lengths == matches.script.lengths - 1).all()


HEX = envs.make("dark_hex")


@pytest.fixture(scope="module")
def lines():
    """Three matches of dark hex told by hand: x connects a1 a2 a3 while o plays b1, b2, and again."""
    made = records.played(
        HEX,
        [None, None, None],
        np.array([0, 1, 3, 4, 6] * 3, np.int32),
        np.array([0, 5, 10, 15]),
        ["x", "o"],
        np.array([[0, 1]] * 3),
    )
    return [json.loads(line) for line in records.written(made)]


def test_a_record_can_be_read_by_a_person(lines):
    assert lines[0] == {
        "format": 1,
        "game": "dark_hex",
        "options": {"rows": 3, "cols": 3, "abrupt": False, "reveal": "nothing"},
        "rules": rules_of(HEX),
        "seed": None,
        "players": ["x", "o"],
        "actions": [0, 1, 3, 4, 6],
        "chance": [],
        "deal": None,
        "returns": [1.0, -1.0],
        "end": "over",
        "sum": lines[1]["sum"],
    }


KUHN = envs.make("kuhn_poker")


def kuhn(**changed):
    """Bet and called: 2 for the higher card."""
    made = records.played(
        KUHN, [4], np.array([1, 1], np.int32), np.array([0, 2]), ["a", "b"], np.array([[0, 1]])
    )
    (line,) = records.written(made)
    return json.loads(line) | {"seed": None} | changed


def test_outcomes_of_chance_are_in_a_record():
    told = kuhn()
    assert len(told["chance"]) == 2
    assert told["returns"] == ([2.0, -2.0] if told["chance"][0] > told["chance"][1] else [-2.0, 2.0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"actions": [0, 1, 3, 4, 7]},
            "it says that the match ended as 'over', by the rules it is 'stopped'",
        ),
        ({"actions": [0, 1, 3, 1, 6]}, "action 1 ('b1') of seat 1, decision 4 of 5, is illegal"),
        ({"actions": [0, 1, 3, 9, 6]}, "action 9 of seat 1, decision 4 of 5, is illegal"),
        ({"actions": [0, 1, 3, -1, 6]}, "action -1 of seat 1, decision 4 of 5, is illegal"),
        ({"actions": [0, 1, 3, 5, 6]}, "it says the digest"),
        ({"actions": [0, 1, 3, 4, 6, 8]}, "it holds 6 actions, and the match is over after 5"),
        ({"actions": [0, 1, 3]}, "it says that the match ended as 'over', by the rules it is 'stopped'"),
        ({"actions": []}, "it says that the match ended as 'over', by the rules it is 'stopped'"),
        ({"end": "stopped"}, "it says that the match ended as 'stopped', by the rules it is 'over'"),
        ({"end": "forfeit"}, "it says that the match ended as 'forfeit', by the rules it is 'over'"),
        ({"end": "forfeit", "actions": [0, 0]}, "as 'forfeit', by the rules it is 'stopped'"),
        ({"end": "forfeit", "actions": [0, 0, 0]}, "it says the digest"),
        ({"chance": [0]}, "it holds 1 outcomes of chance, and 0 came"),
        ({"returns": [-1.0, 1.0]}, "it says returns [-1.0, 1.0], by the rules they are [1.0, -1.0]"),
        ({"sum": "0" * 16}, "it says the digest 0000000000000000 of its final state, by the rules that is"),
        ({"deal": "x"}, "has no set-up in letters, got 'x'"),
    ],
)
def test_what_the_rules_do_not_give_is_told_with_its_line(lines, change, told, tmp_path):
    """Of 0, 1, 3, 5, 6 all is legal and x wins all the same: only the final state is another. By 0, 0 seat 1
    does not forfeit, as it cannot know of the stone: it collides."""
    path = tmp_path / "bad.jsonl"
    rows = [lines[0], lines[1] | change, lines[2]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(records.RecordError) as refused:
        records.load(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: line 2: ")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"chance": [2, 2]}, "outcome 2 of chance, number 2, cannot come; possible are [0, 1]"),
        ({"chance": [-1, 2]}, "outcome -1 of chance, number 1, cannot come; possible are [0, 1, 2]"),
        ({"chance": [2]}, "its outcomes of chance end after 1, and the match waits for one"),
        ({"chance": [2, 1, 0]}, "it holds 3 outcomes of chance, and 2 came"),
    ],
)
def test_an_outcome_that_cannot_come(change, told, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(kuhn(**change)) + "\n", encoding="utf-8")
    with pytest.raises(records.RecordError) as refused:
        records.load(path)
    assert str(refused.value) == f"{path}: line 1: {told}"


def test_a_game_that_deals_needs_a_seed_or_a_deal(tmp_path):
    game = envs.make("minesweeper")
    records.record(seated(game), 1, records.Writer(tmp_path / "r", game))
    told = json.loads((tmp_path / "r" / "matches.jsonl").read_text(encoding="utf-8"))
    path = tmp_path / "bad.jsonl"
    for changed, reason in (
        ({"seed": None, "deal": None}, "minesweeper deals, and it has neither a deal nor a seed"),
        ({"deal": "*"}, "expected 4 rows of 4 cells"),
    ):
        path.write_text(json.dumps(told | changed) + "\n", encoding="utf-8")
        with pytest.raises(records.RecordError, match=f"line 1: .*{reason}"):
            records.load(path)
    path.write_text(json.dumps(told | {"deal": None}) + "\n", encoding="utf-8")
    assert len(records.load(path)) == 1  # the seed deals the same


def test_the_digest_tells_where_a_match_stands_and_not_how_it_was_drawn():
    states = dealt(KUHN, np.array([1, 2], np.uint64), [None, None])
    assert digests(KUHN, states)[0] == digests(KUHN, states)[1]
    states["moves"][1] = 1
    assert digests(KUHN, states)[0] != digests(KUHN, states)[1]


def test_the_digest_of_the_rules_changes_with_every_option():
    games = [HEX, envs.make("dark_hex", rows=4), envs.make("dark_hex", abrupt=True), KUHN]
    assert len({rules_of(game) for game in games}) == 4
    assert rules_of(HEX) == rules_of(envs.make("dark_hex", rows=3, cols=3))
