"""Players by table: their file, and what of it is refused."""

import json
import re

import numpy as np
import pytest
import torch
from saved import KUHN

import agents
import envs
from agents.files import CheckpointError, packed, save_zip, tensor_bytes
from agents.play.agent_file import load_player
from agents.play.exploit import best_response
from agents.play.solver import solve
from agents.play.tables import TablePlayer, rounded
from envs.tree import build


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A solved player and its file."""
    path = tmp_path_factory.mktemp("table") / "kuhn.zip"
    player = solve(KUHN, target=1e-3)
    player.save(path)
    return player, path


def test_a_file_gives_the_same_player_back(solved):
    player, path = solved
    again = load_player(path, None)
    assert isinstance(again, TablePlayer)
    assert again.name == "kuhn"
    assert (again.probabilities == player.probabilities).all()
    assert again.exploitability == player.exploitability
    assert agents.exploitability(KUHN, path).exploitability == player.exploitability
    assert load_player(path, KUHN).game == KUHN


def test_a_seed_decides_what_it_draws(solved):
    _, path = solved
    seen = np.zeros((64, 4), np.uint8)
    seen[:, 0] = 1 + np.arange(64) % 3
    told = []
    for seed in (0, 0, 1):
        player = load_player(path, KUHN, seed=seed)
        player.reset(64)
        told.append(player.act(seen, np.ones((64, 2), bool), np.zeros(64, int)).tolist())
    assert told[0] == told[1] != told[2]


def test_the_most_probable_action_is_taken_and_of_equals_the_first(solved):
    """A solved seat 0 of Kuhn poker passes the jack more often than it bets it; play at random knows only
    equals. Who bluffs never, or always, is exploited."""
    player, path = solved
    steady = load_player(path, KUHN, deterministic=True)
    tree, own = player.tree, player.probabilities
    for i in range(tree.sets):
        rows = slice(tree.begin[i], tree.begin[i + 1])
        assert steady.probabilities[rows].argmax() == own[rows].argmax()
        assert sorted(steady.probabilities[rows]) == [0.0, 1.0]
    assert steady.exploitability is None
    assert agents.exploitability(KUHN, steady).exploitability > 0.1
    passes = TablePlayer(tree, tree.uniform()).most_probable()
    assert (tree.action[2:][passes.probabilities[2:] == 1.0] == 0).all()


def test_many_matches_at_once_go_the_ways_of_single_sets():
    """64 matches of dark hex 2 x 3 with itself, asked in two parts: at every decision the set is the one that
    `Tree.find` tells, and the action the first whose probabilities add up to more than the draw."""
    tree = build(envs.make("dark_hex", rows=2))
    player = TablePlayer(tree, (best_response(tree, tree.uniform()).probabilities + tree.uniform()) / 2)
    batch, own = envs.Batch(tree.game, 64, seed=1), np.tile([0, 1], (64, 1))
    player.reset(64)
    for _ in range(30):
        actions = torch.full((64,), -1)
        for rows in (torch.arange(1, 64, 2), torch.arange(62, -1, -2)):
            ties = torch.rand(len(rows), generator=player.generator.clone_state()).tolist()
            actions[rows] = player.act(batch.observation[rows], batch.legal[rows], batch.seat[rows], rows)
            for row, tie in zip(rows.tolist(), ties, strict=True):
                p = int(batch.seat[row])
                i = tree.find(own[row, p], batch.observation[row].numpy())
                below = np.cumsum(player.probabilities[tree.begin[i] : tree.begin[i + 1]])
                own[row, p] = tree.begin[i] + np.flatnonzero(below > tie * below[-1])[0]
                assert tree.action[own[row, p]] == actions[row]
        batch.step(actions)
        player.restart(batch.over)
        own[batch.over.numpy()] = (0, 1)
    assert (player.sequence.numpy() == own).all()


def test_a_match_that_is_nowhere_is_named(solved):
    player = solved[0]
    player.reset(2)
    shown, legal = torch.zeros(2, 4, dtype=torch.uint8), torch.ones(2, 2, dtype=torch.bool)
    shown[0, 0] = 1  # a card; in the other match none is dealt
    with pytest.raises(
        ValueError, match=re.escape("solved: match 1 is at no information set of KuhnPoker()")
    ):
        player.act(shown, legal, torch.zeros(2, dtype=torch.int64))


def test_rounding_twice_changes_nothing():
    tree = build(KUHN)
    table = tree.uniform()
    table[2:] += np.where(np.arange(len(table) - 2) % 2 == 0, 1 / 3, -1 / 3)
    once = rounded(tree, table)
    assert once == pytest.approx(table, abs=1e-7)
    assert (rounded(tree, once) == once).all()


def test_a_table_is_no_network(solved):
    with pytest.raises(CheckpointError, match="holds a table, no network"):
        agents.load(solved[1])


def test_a_table_of_another_game_is_refused_before_its_tree_is_walked(solved):
    with pytest.raises(ValueError, match=r"plays KuhnPoker\(\), expected a player of LeducPoker\(\)"):
        load_player(solved[1], envs.make("leduc_poker"))


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"probabilities": torch.full((25,), 0.5)}, r"expected 26 probabilities of KuhnPoker\(\), got 25"),
        ({"probabilities": torch.full((26,), 0.5, dtype=torch.float64)}, "expected a table, float32"),
        ({"weights": torch.full((26,), 0.5)}, r"got \['weights'\]"),
        ({"probabilities": torch.zeros(26)}, "expected probabilities that add up to 1"),
        ({"probabilities": torch.full((26,), -0.5)}, "expected probabilities that add up to 1"),
        ({"probabilities": torch.full((26,), torch.nan)}, "expected probabilities that add up to 1"),
    ],
)
def test_what_a_file_may_not_hold(tmp_path, tensors, told):
    agent = {"game": "kuhn_poker", "options": {}, "policy_class": "table"}
    save_zip(packed({"agent.json": agent, "policy.safetensors": tensors}), tmp_path / "bad.zip")
    with pytest.raises(CheckpointError, match=told) as error:
        load_player(tmp_path / "bad.zip", KUHN)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [-0.1, float("inf"), 10**400, True, "0.1"])
def test_a_files_exploitability_is_a_number_or_not_known(tmp_path, number):
    agent = {"game": "kuhn_poker", "options": {}, "policy_class": "table", "exploitability": number}
    table = {"probabilities": torch.full((26,), 0.5)}
    content = {"agent.json": json.dumps(agent).encode(), "policy.safetensors": tensor_bytes(table)}
    save_zip(content, tmp_path / "bad.zip")
    with pytest.raises(CheckpointError, match=r"bad\.zip: expected the exploitability as a number"):
        load_player(tmp_path / "bad.zip", KUHN)


@pytest.mark.parametrize(
    ("game", "told"),
    [
        ({"game": "minesweeper"}, r"bad\.zip: exact values are of zero-sum games for two seats"),
        ({"game": "goofspiel", "options": {"cards": 13}}, r"bad\.zip: Goofspiel\(.*\): its tree needs about"),
    ],
)
def test_a_table_of_a_game_without_a_tree_is_refused_by_the_files_name(tmp_path, game, told):
    agent = {"options": {}, "policy_class": "table", **game}
    table = {"probabilities": torch.ones(26)}
    save_zip(packed({"agent.json": agent, "policy.safetensors": table}), tmp_path / "bad.zip")
    with pytest.raises(CheckpointError, match=told):
        load_player(tmp_path / "bad.zip", None)


@pytest.mark.parametrize("game", [{"game": "chess"}, {"game": "kuhn_poker", "options": {"cards": 4}}, {}])
def test_a_file_that_plays_nothing_known_is_refused(tmp_path, game):
    agent = {"options": {}, "policy_class": "table", **game}
    table = {"probabilities": torch.ones(26)}
    save_zip(packed({"agent.json": agent, "policy.safetensors": table}), tmp_path / "bad.zip")
    with pytest.raises(CheckpointError, match="plays a game this version does not know"):
        load_player(tmp_path / "bad.zip", None)
