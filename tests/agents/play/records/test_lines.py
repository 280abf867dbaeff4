"""A stranger's lines: every bad one is told by its number and in one sentence, and none does any harm."""

from __future__ import annotations

import json

import pytest

from agents.play import records
from agents.play.records import lines


@pytest.fixture
def refused(recorded, tmp_path):
    """The second of three lines, replaced by `line`, is refused with all of `told`."""
    rows = (recorded / "matches.jsonl").read_bytes().splitlines(keepends=True)[:3]

    def run(line, told):
        path = tmp_path / "bad.jsonl"
        path.write_bytes(b"".join([rows[0], line, rows[2]]))
        with pytest.raises(records.RecordError) as error:
            records.load(path)
        message = str(error.value)
        assert message.startswith(f"{path}: line 2: "), message
        assert told in message
        assert "\n" not in message
        assert len(message) < len(str(path)) + 600

    run.record = json.loads(rows[1])
    return run


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, 'expected a record with "format": 1, got 2'),
        ({"game": "kuhn_poker"}, "the matches of a file are of one game"),
        ({"options": {"rows": 4}}, "the matches of a file are of one game"),
        ({"rules": "0" * 16}, "the matches of a file are of one game, its options and rules"),
        ({"seed": -1}, "seed must be null or an integer in 0..2^64-1, got -1"),
        ({"seed": 2**64}, "seed must be null or an integer in 0..2^64-1, got 18446744073709551616"),
        ({"seed": 1.0}, "seed must be null or an integer"),
        ({"seed": True}, "seed must be null or an integer"),
        ({"players": ["ann"]}, "players must be 2 names of up to 200 letters, one a seat, got ['ann']"),
        ({"players": ["ann", "bob", "eve"]}, "players must be 2 names"),
        ({"players": ["ann", ""]}, "players must be 2 names"),
        ({"players": ["ann", "b\nob"]}, "players must be 2 names"),
        ({"players": ["ann", "b" * 201]}, "players must be 2 names"),
        ({"players": {"0": "ann", "1": "bob"}}, "players must be 2 names"),
        ({"actions": [0, 1.5]}, "actions must be a list of integers, got [0, 1.5]"),
        ({"actions": [0, True]}, "actions must be a list of integers"),
        ({"actions": "012"}, "actions must be a list of integers"),
        ({"actions": [[0]]}, "actions must be a list of integers"),
        ({"actions": [0, 10**30]}, "actions must be integers of 32 bits"),
        ({"actions": [0] * 18}, "actions must be at most 17 integers, got 18"),
        ({"chance": None}, "chance must be a list of integers, got None"),
        ({"deal": 3}, "deal must be null or letters, got 3"),
        ({"returns": [1.0]}, "returns must be 2 numbers, one a seat"),
        ({"returns": [1.0, "x"]}, "returns must be 2 numbers, one a seat"),
        ({"returns": [1e300, 0]}, "returns must be 2 numbers, one a seat"),
        ({"end": "won"}, "end must be one of over, forfeit, stopped, got 'won'"),
        ({"end": ["over"]}, "end must be one of over, forfeit, stopped"),
        ({"sum": 5}, "sum must be letters, got 5"),
        ({"code": "print()"}, "unknown key 'code'; known are"),
    ],
)
def test_a_value_that_is_none(refused, change, told):
    refused((json.dumps(refused.record | change) + "\n").encode(), told)


def test_a_line_that_is_no_whole_object(refused):
    text = json.dumps(refused.record)
    for line, told in (
        (text[:80], "it is no whole JSON object"),
        ("", "it is no whole JSON object (Expecting value at letter 1)"),
        ('{"game": "x', "(Unterminated string starting at letter 10)"),
        ("[1, 2]", "expected a JSON object, got [1, 2]"),
        ("null", "expected a JSON object, got None"),
        (text + text, "it is no whole JSON object (Extra data"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        (text.replace("1.0", "NaN", 1), "it holds NaN, which is no number of JSON"),
        (text.replace("1.0", "Infinity", 1), "it holds Infinity"),
        (text.replace("1.0", "1e999", 1), "returns must be 2 numbers"),
        (text.replace('"seed": ', '"seed": ' + "9" * 5000, 1), "Exceeds the limit"),
        (text[:-1] + ', "end": "over"}', "it holds the key 'end' twice"),
        (text.replace("false", '{"a": 1, "a": 2}'), "it holds the key 'a' twice"),
    ):
        refused((line + "\n").encode(), told)
    refused(b'{"format": "\xff"}\n', "it is no UTF-8")
    refused(b"\x80\x04\x95\n", "it is no UTF-8")  # as a pickle begins
    refused(b" " * (lines.LONGEST + 1) + b"\n", "it is longer than 4,194,304 bytes")


@pytest.mark.parametrize("key", lines.KEYS[1:])
def test_a_key_that_is_missing(refused, key):
    record = {name: value for name, value in refused.record.items() if name != key}
    refused((json.dumps(record) + "\n").encode(), f"it lacks {key}")


def test_the_first_line_says_which_game_and_by_which_rules(refused, tmp_path):
    path = tmp_path / "first.jsonl"
    for change, told in (
        ({"rules": "0" * 16}, "it was recorded by other rules of DarkHex(rows=3, cols=3"),
        ({"game": "dark_hx"}, "unknown game 'dark_hx'; known are dark_hex"),
        ({"game": 3}, "game must be a name and options an object"),
        ({"options": []}, "game must be a name and options an object"),
        ({"options": {"rows": "3"}}, "option 'rows' must be of type int, got '3'"),
        ({"options": {"rows": 10**9}}, "option 'rows' must be in 2..19"),
        ({"options": {"name": "x"}}, "dark_hex"),
        ({"options": {"lines": 3}}, "unknown option 'lines'"),
    ):
        path.write_text(json.dumps(refused.record | change) + "\n", encoding="utf-8")
        with pytest.raises(records.RecordError) as error:
            records.load(path)
        assert str(error.value).startswith(f"{path}: line 1: ")
        assert told in str(error.value)


def test_a_game_from_outside_is_not_imported(refused, tmp_path, monkeypatch):
    """A record may name `module:Game`; only who reads it may let it, by --uses."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harm.py").write_text("open('done', 'w').close()\n", encoding="utf-8")
    path = tmp_path / "first.jsonl"
    path.write_text(json.dumps(refused.record | {"game": "harm:Harm"}) + "\n", encoding="utf-8")
    with pytest.raises(records.RecordError, match=r"line 1: unknown game 'harm:Harm'.* --uses harm:Harm"):
        records.load(path)
    assert not (tmp_path / "done").exists()


def test_the_replays_of_older_runs_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "step_64.json"
    told = {"game": "kuhn_poker", "options": {}, "seed": 64, "actions": [0, 0], "returns": [1.0, -1.0]}
    path.write_text(json.dumps(told) + "\n", encoding="utf-8")
    with pytest.raises(
        records.RecordError, match=r"line 1: .* got one without \(replays of older runs are not"
    ):
        records.load(path)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"")
    with pytest.raises(records.RecordError, match="holds no record"):
        records.load(path)
