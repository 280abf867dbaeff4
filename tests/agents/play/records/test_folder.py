"""A folder of records: its manifest is true, its split by match, and what is cut off stays whole."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest

import envs
from agents.play import arena, records
from agents.play.players import RandomPlayer
from agents.play.records import folder

HEX = envs.make("dark_hex")


@pytest.fixture
def copied(recorded, tmp_path):
    """A copy of the recorded folder that a test may change."""
    return shutil.copytree(recorded, tmp_path / "hex")


def changed(place, **changes):
    path = place / "manifest.json"
    told = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(told), encoding="utf-8")


def test_the_manifest_tells_what_is_there(recorded):
    told = json.loads((recorded / "manifest.json").read_text(encoding="utf-8"))
    text = (recorded / "matches.jsonl").read_bytes()
    lines = [json.loads(line) for line in text.splitlines()]
    assert sorted(path.name for path in recorded.iterdir()) == ["manifest.json", "matches.jsonl"]
    assert told == {
        "format": "fogbound records 1",
        "game": "dark_hex",
        "options": dict(HEX.options),
        "rules": lines[0]["rules"],
        "matches": 60,
        "decisions": sum(len(line["actions"]) for line in lines),
        "players": {"ann": 60, "bob": 60},
        "split": {"by": "match", "validation": 0.2, "salt": "fogbound"},
        "files": {"matches.jsonl": {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}},
    }
    assert [line["players"] for line in lines[:3]] == [["ann", "bob"], ["bob", "ann"], ["ann", "bob"]]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"matches": 59}, "it says matches 59, matches.jsonl has 60"),
        ({"game": "kuhn_poker"}, "it says game 'kuhn_poker'"),
        ({"rules": ""}, "it says rules ''"),
        ({"decisions": None}, "it says decisions None"),
        ({"players": {"ann": 60, "bob": 59}}, "it says players"),
        ({"players": ["ann", "bob"]}, "players must be an object"),
        ({"format": "fogbound records 2"}, "expected the format 'fogbound records 1'"),
        ({"split": {"by": "decision", "validation": 0.2, "salt": "x"}}, "split must be like"),
        ({"split": {"by": "match", "validation": 2, "salt": "x"}}, "split must be like"),
        ({"split": None}, "split must be like"),
        ({"files": {"../matches.jsonl": {}}}, "it says files"),
        ({"files": None}, "it says files None"),
    ],
)
def test_a_manifest_that_says_otherwise(copied, changes, told):
    changed(copied, **changes)
    with pytest.raises(records.RecordError) as refused:
        records.load(copied)
    assert str(refused.value).startswith(f"{copied / 'manifest.json'}: ")
    assert told in str(refused.value)


def test_a_player_whom_the_manifest_does_not_know(copied):
    changed(copied, players={"ann": 60, "eve": 60})
    with pytest.raises(records.RecordError, match=r"line 1: its player 'bob' is unknown: .* knows ann, eve"):
        records.load(copied)


def test_a_line_less_or_changed_is_noticed(copied):
    """Another seed changes nothing of a match of dark hex: the rules agree, the SHA-256 does not."""
    path = copied / "matches.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(rows[:-1]), encoding="utf-8")
    with pytest.raises(records.RecordError, match=r"it says matches 60, matches\.jsonl has 59"):
        records.load(copied)
    seed = json.loads(rows[0])["seed"]
    path.write_text(
        "".join([rows[0].replace(f'"seed":{seed}', f'"seed":{seed ^ 1}'), *rows[1:]]), encoding="utf-8"
    )
    with pytest.raises(records.RecordError, match="it says files"):
        records.load(copied)
    path.write_text("".join(rows)[:-40], encoding="utf-8")
    with pytest.raises(records.RecordError, match="line 60: it is no whole JSON object"):
        records.load(copied)


def test_what_is_no_folder_of_records(tmp_path, copied):
    with pytest.raises(FileNotFoundError):
        records.load(tmp_path / "nowhere")
    with pytest.raises(records.RecordError, match="holds no records"):
        records.load(tmp_path)
    (copied / "matches.jsonl").unlink()
    with pytest.raises(records.RecordError, match=r"matches\.jsonl is missing"):
        records.load(copied)


# ---------------------------------------------------------------- the split


def test_compressed_matches_are_told_as_such(copied, tmp_path):
    packed = tmp_path / "matches.jsonl.gz"
    packed.write_bytes(gzip.compress((copied / "matches.jsonl").read_bytes()))
    for read in (records.load, records.load_line):
        with pytest.raises(records.RecordError, match=r"is compressed, .* expected plain lines"):
            read(packed)


def test_a_match_is_on_one_side_by_itself(recorded):
    """Whatever stands beside it; 12 of 60 are expected for validation, give or take 3 standard deviations."""
    matches = records.load(recorded)
    sides = matches.is_validation()
    assert 3 <= sides.sum() <= 21
    backwards = matches.of(np.arange(60)[::-1])
    assert (backwards.is_validation() == sides[::-1]).all()
    train, validation = (records.load(recorded, split) for split in ("train", "validation"))
    assert train.lines.tolist() == (np.flatnonzero(~sides) + 1).tolist()
    assert validation.lines.tolist() == (np.flatnonzero(sides) + 1).tolist()
    assert (matches.is_validation(records.Split(0.2, "other")) != sides).any()
    assert not matches.is_validation(records.Split(0.0)).any()
    assert matches.is_validation(records.Split(1.0)).all()


def test_a_match_twice_is_on_one_side(recorded):
    matches = records.load(recorded)
    twice = matches.of(np.repeat(np.arange(60), 2)).is_validation().reshape(60, 2)
    assert (twice[:, 0] == twice[:, 1]).all()


def test_an_empty_split_and_one_that_is_none(copied):
    with pytest.raises(ValueError, match="split must be one of train, validation, all, got 'test'"):
        records.load(copied, "test")
    changed(copied, split={"by": "match", "validation": 0, "salt": ""})
    assert len(records.load(copied, "train")) == 60
    with pytest.raises(records.RecordError, match="the split 'validation' is empty: all 60 are on the other"):
        records.load(copied, "validation")


def test_an_unknown_player_is_told_with_those_there_are(recorded):
    matches = records.load(recorded)
    with pytest.raises(ValueError, match="no player 'eve'; known are ann, bob"):
        matches.number_of("eve")


# ---------------------------------------------------------------- writing


def test_nothing_is_written_over(copied):
    with pytest.raises(FileExistsError, match="there are records already"), records.Writer(copied, HEX):
        pass
    with pytest.raises(ValueError, match=r"the share of validation must be in 0\.\.1, got 1.5"):
        records.Writer(copied / "new", HEX, records.Split(1.5))


def test_ctrl_c_leaves_whole_lines_and_a_true_manifest(tmp_path, monkeypatch):
    """Batches of 8: it comes in the third."""
    monkeypatch.setattr(arena, "LANES", 8)
    ended = []

    def stop(count):
        ended.append(count)
        if sum(ended) > 18:
            raise KeyboardInterrupt

    players = [RandomPlayer(HEX, name, 3) for name in ("ann", "bob")]
    with pytest.raises(KeyboardInterrupt):
        records.record(players, 80, records.Writer(tmp_path / "r", HEX), on_progress=stop)
    assert len(records.load(tmp_path / "r")) == 16
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["manifest.json", "matches.jsonl"]
    with pytest.raises(KeyboardInterrupt), records.Writer(tmp_path / "none", HEX):
        raise KeyboardInterrupt
    assert list((tmp_path / "none").iterdir()) == []


def test_ctrl_c_between_the_lines_and_their_counts(recorded, tmp_path, monkeypatch):
    """The second time nothing of them is kept."""
    matches, again = records.load(recorded), []

    class Stopped(Counter):
        def update(self, *arguments, **named):
            super().update(*arguments, **named)
            again.append(arguments)
            if len(again) == 90:
                raise KeyboardInterrupt

    monkeypatch.setattr(folder, "Counter", Stopped)
    with records.Writer(tmp_path / "r", HEX) as writer:
        writer.add(matches)
        with pytest.raises(KeyboardInterrupt):
            writer.add(matches)
    assert len(records.load(tmp_path / "r")) == 60


def test_one_line_is_read_without_the_others(copied):
    matches = records.load(copied)
    (copied / "matches.jsonl").write_bytes(
        b"broken\n" + b"".join((copied / "matches.jsonl").read_bytes().splitlines(keepends=True)[1:])
    )
    one = records.load_line(copied, 7)
    assert one.script.actions.tolist() == matches.of(np.array([6])).script.actions.tolist()
    with pytest.raises(records.RecordError, match="line 1: it is no whole JSON object"):
        records.load_line(copied, 1)
    for number in (0, 61):
        with pytest.raises(records.RecordError, match=rf"there is no line {number}; there are lines 1\.\.60"):
            records.load_line(copied, number)
