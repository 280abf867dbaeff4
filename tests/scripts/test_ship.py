"""scripts/ship.py: a run becomes a small file and a card of what was measured."""

from __future__ import annotations

import hashlib
import json

import pytest
from game_runs import UPDATE, quick
from reading import quiet

import agents
import ship
from agents.files import read
from agents.run.selfplay import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Kuhn poker, trained for three updates."""
    config = quick(tmp_path_factory.mktemp("runs"))
    return train(config, "python scripts/selfplay.py configs/kuhn_poker_gated.yaml -n 192", quiet).run


def test_a_run_becomes_a_file_and_a_card(run, script, tmp_path):
    ended = script(
        *("ship", run, "--name", "kuhn_small", "--folder", tmp_path),
        *("--matches-per-seat", 50, "--machine", "a laptop"),
    )
    assert (ended.code, ended.err) == (0, "")
    content = (tmp_path / "kuhn_small.zip").read_bytes()
    card = json.loads((tmp_path / "kuhn_small.json").read_text(encoding="utf-8"))
    assert json.loads(ended.out[ended.out.index("{") :]) == card
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["command"] == "python scripts/selfplay.py configs/kuhn_poker_gated.yaml -n 192"
    assert (card["seed"], card["decisions"], card["machine"]) == (3, 3 * UPDATE, "a laptop")
    assert card["weights"] == "float16"  # untrained weights are small: rounding changes nothing
    for told in (card["measured"], card["other_numbers"]["float32"]):
        assert list(told["against"]) == ["random", "bot"]
        assert told["exploitability"]["error"] == 0.0
    agent = agents.load(tmp_path / "kuhn_small.zip")
    exact = agents.exploitability(agent.game, agent).exploitability
    assert card["measured"]["exploitability"]["value"] == pytest.approx(exact, abs=1e-5)


def test_float16_is_taken_only_where_the_agent_is_as_strong():
    """Two means with an interval of 0.02 to each side differ from 0.0283 on."""

    def told(mean, exploitability=None, otherwise=0.0005):
        numbers = {"against": {"random": {"mean": mean, "low": mean - 0.02, "high": mean + 0.02}}}
        numbers["otherwise"] = otherwise
        return numbers if exploitability is None else numbers | {"exploitability": {"value": exploitability}}

    is_as_strong = ship.is_as_strong
    assert is_as_strong(told(0.51), told(0.5))
    assert is_as_strong(told(0.472), told(0.5))
    assert not is_as_strong(told(0.471), told(0.5))
    assert not is_as_strong(told(0.5, otherwise=0.0011), told(0.5))
    assert is_as_strong(told(0.5, 0.101), told(0.5, 0.1))
    assert not is_as_strong(told(0.5, 0.103), told(0.5, 0.1))


def test_how_often_it_chooses_otherwise(run, monkeypatch):
    """Rounding to 11 bits changes little; weights that are not the same change much."""
    stored = read(run)
    rounded = ship.otherwise(stored, 1)
    assert 0.0 < rounded < 0.001
    whole = ship.alone
    monkeypatch.setattr(
        ship,
        "alone",
        lambda stored, numbers: whole(stored, "raw" if numbers == "float16" else "ema", numbers),
    )
    assert ship.otherwise(stored, 1) > rounded


def test_a_command_is_told_without_folders_of_this_machine(tmp_path):
    def told_of(command):
        (tmp_path / "command.txt").write_text(f"python scripts/{command}\n")
        return ship.command_of(tmp_path).removeprefix("python scripts/")

    assert told_of(f"sequence.py fit a.yaml --data {tmp_path}/greedy6 --run-dir /home/me/more -n 200") == (
        "sequence.py fit a.yaml --data records/greedy6 -n 200"
    )
    assert told_of("selfplay.py configs/b.yaml --start-from ../all/clone__s0 --no-progress --seed 1") == (
        "selfplay.py configs/b.yaml --start-from runs/clone__s0 --seed 1"
    )


def test_the_seconds_of_a_run_that_went_on():
    """3 and 7 seconds, then 2 and 5 more after it was resumed: 12."""
    lines = [{"step": k, "time/time_elapsed": second} for k, second in enumerate((3, 7, 2, 5))]
    assert ship.seconds_of([*lines, {"step": 9}]) == 12
    assert ship.seconds_of(lines[:2]) == 7
    assert ship.seconds_of([{"step": 1}]) is None


def test_what_cannot_be_shipped(run, refused, tmp_path):
    where = ("--folder", tmp_path / "out")
    refused("ship", run, "--name", "../a", *where, told="expected a --name of a-z, 0-9 and _, got '../a'")
    refused("ship", tmp_path, "--name", "a", *where, told="expected the folder of a run")
    assert not (tmp_path / "out").exists()
