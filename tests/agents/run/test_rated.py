"""Ratings while a run trains: who meets, what is kept of it, and that nothing there stops a run."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import pytest
import torch
from game_runs import tiny
from reading import lines, quiet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import agents
import envs
from agents.files import save_folder
from agents.learn.group import ALONE, Group
from agents.play.arena import play_matches
from agents.run.config import Config, EvalConfig
from agents.run.folder import spaced
from agents.run.rated import earlier, known_to_all, rated
from agents.run.selfplay import train

KUHN = envs.make("kuhn_poker")


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_the_ratings_of_what_it_keeps(finished):
    """Checkpoints of 64, 128 and 192 decisions, the bot and `random`; 8 matches of each pair."""
    folder = finished.run / "standings"
    assert {row["player"] for row in table(folder / "ratings.csv")} == {
        *("step_64", "step_128", "step_192", "random", "bot"),
    }
    matches = {(row["player"], row["opponent"]): int(row["matches"]) for row in table(folder / "payoffs.csv")}
    assert len(matches) == 5 * 4
    assert matches.pop(("step_192", "bot")) == finished.results["bot"].matches == 16  # of the final table
    assert matches.pop(("step_64", "step_128")) == 8
    told = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    pair = next(p for p in told["pairs"] if (p["player"], p["opponent"]) == ("step_192", "random"))
    assert pair["mean"] == finished.results["random"].mean


def test_the_rating_stands_on_the_curves_with_its_interval(finished):
    for line in lines(finished.run):
        if "selfplay/rating/agent/points" in line:
            low, high = (line[f"selfplay/rating/agent/{end}"] for end in ("low", "high"))
            assert low < line["selfplay/rating/agent/points"] < high
    read = EventAccumulator(str(finished.run / "tensorboard"))
    read.Reload()
    pictures = read.Images("selfplay/payoffs")
    assert [picture.step for picture in pictures] == [64, 128, 192]
    assert pictures[0].height < pictures[1].height < pictures[2].height  # a row more each time


def test_the_agent_meets_nobody_twice_and_damaged_checkpoints_are_left_out(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    (run / "checkpoints" / "step_64" / "policy.safetensors").write_bytes(b"nothing")
    agent = agents.load(run)
    results = {"bot": play_matches(KUHN, agent, agents.fixed_player("bot", KUHN), 30)}
    past = earlier(run, KUHN, 192, 0, "cpu")
    told = rated(KUHN, agent, 192, past, ["bot"], results, 5, 0, "cpu")
    assert set(told.names) == {"step_192", "step_128", "bot", "random"}
    assert told.results["step_192", "bot"] is results["bot"]
    assert told.results["step_128", "bot"].matches == 10


def test_of_many_checkpoints_four_meet_from_the_oldest_to_the_latest(finished, tmp_path):
    """Of those of 64, 128, ... 448 decisions that lie before 512."""
    run = tmp_path / "run"
    shutil.copytree(finished.run, run)
    for step in range(256, 513, 64):
        shutil.copytree(run / "checkpoints" / "step_64", run / "checkpoints" / f"step_{step}")
    told = [player.name for player in earlier(run, KUHN, 512, 0, "cpu")]
    assert told == ["step_64", "step_192", "step_320", "step_448"]
    assert [player.name for player in earlier(run, KUHN, 128, 0, "cpu")] == ["step_64"]
    assert earlier(run, KUHN, 64, 0, "cpu") == []


class Heard(Group):
    """One of two ranks: what rank 0 gives is kept until rank 1 asks."""

    def __init__(self, rank, given):
        super().__init__(rank, 2)
        self.given = given

    def send(self, content=b""):
        if self.rank == 0:
            self.given.append(content)
            return content
        return self.given.pop(0)


def test_other_ranks_hear_which_checkpoints_meet_and_play_as_they_do(finished):
    given = []
    mine = earlier(finished.run, KUHN, 192, 7, "cpu")
    assert known_to_all(mine, None, KUHN, 7, ALONE) == mine
    assert known_to_all(mine, None, KUHN, 7, Heard(0, given)) == mine
    heard = known_to_all([], agents.load(finished.run).policy, KUHN, 7, Heard(1, given))
    assert [player.name for player in heard] == ["step_64", "step_128"]
    for one, other in zip(mine, heard, strict=True):
        told = [play_matches(KUHN, player, agents.fixed_player("bot", KUHN), 30) for player in (one, other)]
        assert torch.equal(told[0].returns, told[1].returns)
    assert known_to_all([], None, KUHN, 7, Heard(0, given)) == []
    assert known_to_all([], None, KUHN, 7, Heard(1, given)) == []


def test_ratings_can_be_left_out(tmp_path):
    settings = dataclasses.replace(tiny(tmp_path).eval, rating_matches_per_seat=0)
    run = train(tiny(tmp_path, eval=settings), say=quiet).run
    assert not (run / "standings").exists()
    assert not any(tag.startswith("selfplay/rating") for line in lines(run) for tag in line)


@pytest.mark.parametrize("matches", [1, -1])
def test_too_few_matches_for_ratings_are_refused(matches):
    with pytest.raises(
        ValueError, match=f"rating_matches_per_seat must be at least 2, or 0 .*, got {matches}"
    ):
        dataclasses.replace(Config(), eval=EvalConfig(rating_matches_per_seat=matches))


def test_checkpoints_are_spread_over_the_logarithm(tmp_path):
    """Of 100, 200, ... 1,000, backwards, the next has at most 10 ** (-1 / 8) = 0.750 of the decisions."""
    for step in range(100, 1001, 100):
        save_folder({"agent.json": b"{}"}, tmp_path / "checkpoints" / f"step_{step}")
    steps = [int(path.name.removeprefix("step_")) for path in spaced(tmp_path)]
    assert steps == [100, 200, 300, 500, 700, 1000]
    for step in (100, 200):
        shutil.rmtree(tmp_path / "checkpoints" / f"step_{step}")
    assert len(spaced(tmp_path)) == 8  # few enough: all
    assert spaced(tmp_path / "nothing") == []
