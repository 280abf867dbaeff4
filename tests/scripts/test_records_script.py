"""scripts/record.py, records.py and watch.py --replay: from players to records and back; what is refused."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from agents.commands import record
from agents.play import arena, records
from agents.play.records import told

HEX = ("--game", "dark_hex")


@pytest.fixture
def hex_records(script, tmp_path):
    ended = script("record", "bot", "random", *HEX, "--matches", 40, "--out", tmp_path / "hex", "--seed", 2)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(rf"written      40 matches, \d+ decisions in {tmp_path / 'hex'}\n", ended.out)
    return tmp_path / "hex"


def test_recorded_checked_counted_and_exported(script, hex_records, tmp_path):
    ended = script("records", "check", hex_records)
    assert ended.out.startswith(f"{hex_records}: 40 matches of DarkHex(rows=3, cols=3, abrupt=False, reveal=")
    assert ended.out.endswith("all as the rules play them\n")
    ended = script("records", "stats", hex_records)
    assert ended.code == 0, ended
    assert "ended        over 40\n" in ended.out
    split = re.search(r"split        (\d+) for training, (\d+) for validation\n", ended.out)
    assert int(split[1]) + int(split[2]) == 40
    assert re.search(r"│ bot +│ +40 │", ended.out)
    ended = script("records", "export", hex_records, "--out", tmp_path / "hex.csv")
    lines = (tmp_path / "hex.csv").read_text(encoding="utf-8").splitlines()
    assert ended.out == f"written      {len(lines) - 1} decisions in {tmp_path / 'hex.csv'}\n"
    assert lines[0] == "match,decision,seat,player,action,name,return"


def test_a_record_is_watched(script, hex_records, tmp_path):
    ended = script("watch", "--replay", f"{hex_records}:2")
    assert ended.out.startswith(f"{hex_records}, line 2: random (seat 0) against bot (seat 1)\n")
    assert re.search(r"returns: seat 0 [+-]1, seat 1 [+-]1\n", ended.out)
    one = script("watch", "--replay", hex_records / "matches.jsonl", "--viewer", "seat").out
    assert "seen by x" in one
    (length,) = records.load_line(hex_records).lengths
    ended = script("watch", "--replay", hex_records, "--render", "svg", "--out", tmp_path / "drawn")
    assert ended.out == f"{length + 1} drawings in {tmp_path / 'drawn'}\n"
    ended = script("watch", "--replay", hex_records, "--render", "gif", "--out", tmp_path / "match.gif")
    assert ended.code == 0
    with Image.open(tmp_path / "match.gif") as gif:
        assert gif.n_frames == length + 1


def test_a_solved_game_is_recorded(script, tmp_path):
    """Whatever tournament.py takes."""
    table = tmp_path / "kuhn.zip"
    assert script("solve", "--game", "kuhn_poker", "--out", table, "--no-progress").code == 0
    ended = script("record", table, table, "--matches", 20, "--out", tmp_path / "r")
    assert ended.code == 0, ended
    matches = records.load(tmp_path / "r")
    assert len(matches.names) == 2
    assert matches.game.name == "kuhn_poker"


def test_kaggles_episodes_and_setups_are_imported(script, tmp_path):
    parameters = {"board_size": 3, "gameversion": "cdh", "obstype": "reveal-nothing"}
    episode = {
        "configuration": {"openSpielGameName": "dark_hex", "openSpielGameParameters": parameters},
        "info": {"actionHistory": ["0", "1", "3", "4", "6"]},
        "rewards": [1.0, -1.0],
    }
    (tmp_path / "episode.json").write_text(json.dumps(episode), encoding="utf-8")
    ended = script("records", "import", tmp_path / "episode.json", "--out", tmp_path / "kaggle")
    assert ended.out.startswith("written      1 matches of DarkHex")
    assert script("records", "check", tmp_path / "kaggle").code == 0
    army = "BBBBBBCDDDDDDDDEEEEEFFFFGGGGHHHHIIIJJKLM"
    plain = tmp_path / "setups.txt"
    plain.write_text("".join(f"{k} {army}\n" for k in range(50)), encoding="ascii")
    ended = script("records", "import", plain, "--out", tmp_path / "setups", "--validation", 0.5)
    assert ended.out == f"written      50 setups in {tmp_path / 'setups'}\n"
    assert "50 setups in 50 groups" in script("records", "check", tmp_path / "setups").out
    assert "every order alike │     6.7413" in script("records", "stats", tmp_path / "setups").out
    one = tmp_path / "one.txt"
    one.write_text(plain.read_text(encoding="ascii").splitlines(keepends=True)[0], encoding="ascii")
    told = script("records", "stats", one)  # nothing to hold out, nothing to count
    assert (told.code, told.out.splitlines()[0]) == (0, "setups       1 in 1 groups")
    script("records", "export", tmp_path / "setups", "--out", tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == plain.read_bytes()


def test_what_is_refused(refused, script, hex_records, tmp_path):
    out = ("--out", tmp_path / "new")
    refused("record", "bot", "random", *HEX, "--out", hex_records, told="there are records already")
    refused("record", "bot", *HEX, *out, told="recorded with 2 player(s)")
    refused("record", "bot", "random", *HEX, *out, "--matches", 0, told="matches must be at least 1, got 0")
    refused("record", "bot", "random", *HEX, *out, "--validation", 2, told="must be in 0..1, got 2.0")
    file = hex_records / "matches.jsonl"
    refused("record", "bot", "random", *HEX, "--out", file, told=f"--out must be a folder, {file} is a file")
    refused("records", "chek", told="unknown command 'chek'; known are check, stats, import, export")
    refused("records", "check", tmp_path / "nowhere", told="nowhere")
    refused("records", "import", file, *out, told="expected episodes (.json) or one file of setups")
    refused("records", "export", hex_records, *out, told="--out must end with .csv")
    refused("watch", told="expected a PLAYER, or --replay FILE[:LINE]")
    refused("watch", "bot", "--replay", file, told="expected no PLAYER and no --opponent beside it")
    refused("watch", "--replay", f"{file}:41", told="there is no line 41; there are lines 1..40")
    text = file.read_text(encoding="utf-8")
    file.write_text(text[:-30], encoding="utf-8")
    refused("records", "check", hex_records, told=f"{file}: line 40: it is no whole JSON object")
    assert not (tmp_path / "new").exists()
    assert script("records").code == 2
    assert script("records", "--help").code == 0


def test_ctrl_c_keeps_what_is_whole(script, tmp_path, monkeypatch):
    """Batches of 8 matches; it comes in the second."""
    ended = []

    class Bar:
        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, count):
            ended.append(count)
            if sum(ended) > 10:
                raise KeyboardInterrupt

    monkeypatch.setattr(arena, "LANES", 8)
    monkeypatch.setattr(record, "tqdm", Bar)
    stopped = script("record", "bot", "random", *HEX, "--matches", 80, "--out", tmp_path / "r")
    matches = records.load(tmp_path / "r")
    decisions = int(matches.lengths.sum())
    assert len(matches) == 8
    assert stopped.out == f"written      8 matches, {decisions} decisions in {tmp_path / 'r'}\n"
    assert (stopped.code, stopped.err) == (130, "stopped\n")


def test_what_the_system_refuses_is_told_without_its_numbers(refused, tmp_path):
    nowhere = tmp_path / "none.json"
    refused("records", "import", nowhere, "--out", tmp_path / "r", told=f"{nowhere}: no such file or dir")
    refused("record", "bot", "random", *HEX, "--seed", 2**70, "--out", tmp_path / "r", told="seed must be")
    (tmp_path / "setups.txt").write_text(f"1 {'B' * 40}\n", encoding="ascii")
    (tmp_path / "manifest.json").write_text('{"format": "fogbound setups 1"}', encoding="ascii")
    refused("watch", "--replay", f"{tmp_path}:1", told="expected the format 'fogbound records 1'")


def test_a_csv_is_replaced_when_it_is_whole(script, hex_records, tmp_path, monkeypatch):
    path = tmp_path / "new" / "hex.csv"
    assert script("records", "export", hex_records, "--out", path).code == 0
    before = path.read_bytes()

    def two(_):
        yield (0, 0, 0, "bot", 4, "b2", 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(told, "_rows", two)
    assert script("records", "export", hex_records, "--out", path).code == 130
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [("hex.csv", before)]
