"""A tournament's standings: what is played, what is written, what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from pools import both_ways, circle, counted

import agents
import envs
from agents.play.standings import has_anchor, shortened, standings_of, with_anchor
from envs.drawing import rasterise

KUHN = envs.make("kuhn_poker")
FILES = ["results.json", "payoffs.csv", "ratings.csv", "heatmap.svg"]


def test_players_by_name_meet_and_random_joins_them():
    standings = agents.tournament(KUHN, ["bot"], 300)
    assert standings.names == ["bot", "random"]
    assert standings.ratings["random"] == (0.0, 0.0, 0.0)
    assert standings.results["bot", "random"].matches == 600
    assert standings.results["bot", "random"].seat.bincount().tolist() == [300, 300]
    assert standings.payoffs[0, 1] == -standings.payoffs[1, 0] == standings.results["bot", "random"].mean
    low, high = standings.results["bot", "random"].interval
    assert low <= 0.125 <= high  # what the bot gets against play at random: by walking the tree, both seats
    assert (standings.is_flagged, standings.warning, standings.cycles.triples) == (False, None, 0)


def test_the_seed_decides_everything():
    one, two, other = (agents.tournament(KUHN, ["bot", "random"], 20, seed=s).ratings for s in (0, 0, 1))
    assert one == two != other


def test_every_file_can_be_read(tmp_path):
    names, results = circle()
    standings = standings_of(KUHN, names, results)
    assert [path.name for path in standings.write(tmp_path / "new")] == FILES
    told = json.loads((tmp_path / "new/results.json").read_text(encoding="utf-8"))
    assert (told["game"], told["anchor"]) == ("kuhn_poker", "random")
    assert told["cycles"] == {"triples": 4, "decided": 4, "cyclic": 1, "share": 0.25, "flagged_above": 0.1}
    with (tmp_path / "new/ratings.csv").open(encoding="utf-8", newline="") as file:
        players = list(csv.DictReader(file))
    assert [row["player"] for row in players] == standings.names == [p["player"] for p in told["players"]]
    assert players[-1]["player"] == "random"
    assert float(players[-1]["rating"]) == 0.0
    assert [row["is_flagged"] for row in players] == ["True"] * 3 + ["False"]
    assert [float(row["nash_mass"]) for row in players] == pytest.approx([1 / 3] * 3 + [0.0], abs=1e-6)
    with (tmp_path / "new/payoffs.csv").open(encoding="utf-8", newline="") as file:
        pairs = {(row["player"], row["opponent"]): row for row in csv.DictReader(file)}
    assert len(pairs) == 4 * 3 == len(told["pairs"])
    row = pairs["scissors", "rock"]
    assert (int(row["matches"]), float(row["mean"]), float(row["loss"])) == (200, -0.9, 0.95)
    assert float(row["low"]) < -0.9 < float(row["high"]) < 0.0


def test_the_heat_map_is_a_picture_of_the_payoffs(tmp_path):
    """Blue where the row wins, red where it loses; the same numbers give the same bytes."""
    names, results = circle()
    standings = standings_of(KUHN, names, results)
    svg = standings.heat_map()
    assert ET.fromstring(svg).tag.endswith("svg")
    assert svg == standings_of(KUHN, names, results).heat_map()
    pixels = rasterise(svg).reshape(-1, 3).astype(int)
    blue, red = (np.sum(pixels[:, a] - pixels[:, b] > 60) for a, b in ((2, 0), (0, 2)))
    assert blue > 1000 < red
    standings.write(tmp_path)
    assert (tmp_path / "heatmap.svg").read_text(encoding="utf-8") == svg


def test_an_open_interval_is_null_in_json_and_inf_in_csv(tmp_path):
    results = both_ways({("best", "random"): counted((50, 0, 0), (50, 0, 0))})
    standings_of(KUHN, ["best", "random"], results).write(tmp_path)
    told = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert told["players"][0]["high"] is None
    row = next(csv.DictReader(io.StringIO((tmp_path / "ratings.csv").read_text(encoding="utf-8"))))
    assert float(row["high"]) == math.inf


def test_a_flagged_pool_says_so_in_a_line():
    names, results = circle()
    warning = standings_of(KUHN, names, results).warning
    assert warning.startswith("1 of 4 decided triples are cyclic")
    assert "\n" not in warning
    for name in ("rock", "paper", "scissors"):
        assert name in warning


def test_only_the_player_at_random_is_the_anchor():
    """An agent that happens to be called so is not."""

    class Other(agents.Player):
        def choose(self, observation, legal, seat, rows):  # noqa: ARG002
            return legal.int().argmax(-1)

    impostor = Other(KUHN, "random")
    assert not has_anchor([impostor])
    assert has_anchor(with_anchor(KUHN, [impostor]))
    with pytest.raises(ValueError, match="different names"):
        agents.tournament(KUHN, [impostor], 5)


@pytest.mark.parametrize(
    ("game", "players", "matches", "told"),
    [
        ("kuhn_poker", ["random"], 5, "at least two players with different names"),
        ("kuhn_poker", ["bot", "bot"], 5, "at least two players with different names"),
        ("kuhn_poker", ["bot"], 1, "matches per seat must be at least 2, got 1"),
        ("kuhn_poker", ["nobody"], 5, "'nobody' is neither a fixed player"),
        ("leduc_poker", ["kuhn"], 5, r"'agent' plays KuhnPoker\(\), expected players of LeducPoker\(\)"),
        ("minesweeper", ["bot"], 5, "ratings are of games with two seats, Minesweeper"),
    ],
)
def test_bad_input_is_refused_before_a_match(game, players, matches, told, monkeypatch):
    monkeypatch.setattr("agents.play.arena.Batch", None)  # nothing is dealt
    policy = agents.RecurrentPolicy(KUHN.observation_space, KUHN.actions, KUHN.seats, lstm_hidden_size=4)
    seated = [agents.Agent(policy, KUHN) if player == "kuhn" else player for player in players]
    with pytest.raises(ValueError, match=told) as error:
        agents.tournament(envs.make(game), seated, matches)
    assert "\n" not in str(error.value)


def test_checkpoints_of_one_run_are_called_by_their_steps():
    assert shortened(["run/step_1", "run/step_2", "random"]) == ["step_1", "step_2", "random"]
    assert shortened(["a/step_1", "b/step_1"]) == ["a/step_1", "b/step_1"]


def test_many_agents_play_in_one_pass():
    """Six pairs, 12 matches each, 72 lanes: every player decides once a step, wherever it is to move."""
    calls = []

    class First(agents.Player):
        def choose(self, observation, legal, seat, rows):  # noqa: ARG002
            calls.append((self.name, len(rows)))
            return torch.zeros(len(seat), dtype=torch.int64)

    agents.tournament(KUHN, [*(First(KUHN, name) for name in "abc"), "random"], 6)
    assert calls[:3] == [(name, 3 * 6) for name in "abc"]  # of its 36 matches it begins half
