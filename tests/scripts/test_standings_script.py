"""scripts/tournament.py with ratings: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET

import pytest
from game_runs import tiny
from reading import quiet

from agents.run.selfplay import train

KUHN = ("--game", "kuhn_poker")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three checkpoints, of 64, 128 and 192 decisions."""
    return train(tiny(tmp_path_factory.mktemp("runs")), say=quiet).run


def test_with_random_among_them_everyone_gets_a_rating(script):
    ended = script("tournament", "bot", "random", *KUHN, "--matches-per-seat", 200)
    assert (ended.code, ended.err) == (0, "")
    below = ended.out.partition("ratings in points above random")[2]
    rows = [line.split() for line in below.splitlines() if " bot " in line or " random " in line]
    assert [row[1] for row in rows] == ["bot", "random"]
    assert rows[1][3] == "+0"
    assert "100.0%" in " ".join(rows[0])  # of the Nash mixture
    without = script("tournament", "bot", "bot", *KUHN, "--matches-per-seat", 20)
    assert (without.code, "ratings" in without.out) == (0, False)


def test_out_writes_four_files_and_random_joins(script, tmp_path):
    ended = script("tournament", "bot", *KUHN, "--matches-per-seat", 20, "--out", tmp_path / "new" / "out")
    assert ended.code == 0, ended
    folder = tmp_path / "new" / "out"
    names = ["heatmap.svg", "payoffs.csv", "ratings.csv", "results.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert ended.out.count(str(folder)) == 4
    told = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {player["player"] for player in told["players"]} == {"bot", "random"}
    ET.parse(folder / "heatmap.svg")


def test_a_run_stands_for_its_checkpoints(script, run, tmp_path):
    arguments = ["--all-checkpoints", "--matches-per-seat", 4, "--out", tmp_path]
    ended = script("tournament", run, "bot", *arguments)
    assert ended.code == 0, ended
    with (tmp_path / "ratings.csv").open(encoding="utf-8", newline="") as file:
        players = {row["player"] for row in csv.DictReader(file)}
    assert players == {"bot", "random", *(f"{run.name}/step_{step}" for step in (64, 128, 192))}
    one = script("tournament", run / "checkpoints" / "step_64", "--all-checkpoints", "--matches-per-seat", 4)
    assert one.code == 0, one  # no run: it stands for itself, and `random` joins it


def test_what_cannot_be_rated_is_refused(refused, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    refused("tournament", "bot", *KUHN, "--out", file, told=f"--out must be a folder, {file} is a file")
    below = ("bot", *KUHN, "--out", file / "below")
    refused("tournament", *below, told=f"--out must be a folder, {file} is a file")
    alone = ("--game", "minesweeper", "--out", tmp_path / "out")
    refused("tournament", "bot", "random", *alone, told="are for games with two seats, Minesweeper")
    refused(
        "tournament", "random", *KUHN, "--out", tmp_path / "out", told="needs at least two players, got 1"
    )
    refused(
        "tournament",
        "bot",
        *KUHN,
        "--out",
        tmp_path / "out",
        "--matches-per-seat",
        1,
        told="at least 2, got 1",
    )
    refused("tournament", "--all-checkpoints", told="needs at least two players, got 0")
    assert not (tmp_path / "out").exists()


def test_exploitability_by_a_learned_best_response(script, refused):
    """The bot loses a sixth to a best response; one learned from 30,000 decisions gets some of it."""
    ended = script("exploitability", "bot", *KUHN, "--learned", "30_000")
    assert ended.code == 0, ended
    (row,) = [line.split() for line in ended.out.splitlines() if " bot " in line]
    assert 0.0 <= float(row[3]) < 1 / 6
    assert "32,768" in row  # decisions: whole rollouts of 4,096
    refused("exploitability", "bot", *KUHN, "--learned", 0, told="at least 1 decision to learn from")
