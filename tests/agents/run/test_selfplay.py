"""A run of self-play: whose deals it is judged on, how it begins with an agent's weights, what it refuses."""

from __future__ import annotations

import collections
import dataclasses
import json
import re

import pytest
import torch
from game_runs import BY_MATCHES, EVERYTHING, UPDATE, newest, press_ctrl_c, tiny
from PIL import Image
from reading import at_decision, lines, quiet
from saved import KUHN, same

import agents
import envs
from agents import fixed_player
from agents.files import CheckpointError, save_folder
from agents.play.arena import round_robin
from agents.play.players import FIXED_PLAYERS, Bot
from agents.play.solver import solve
from agents.run import selfplay as training
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    EvalConfig,
    OpponentsConfig,
    read_config,
)
from agents.run.selfplay import SelfPlayKeeper, copy_weights, resume, train

# ---------------------------------------------------------------- the folder


def test_a_game_for_one_is_judged_alone_beside_the_fixed_players(tmp_path):
    """Nobody sits opposite: the agent's own return is the curve, the fixed players' returns the anchors."""
    run = train(tiny(tmp_path, game="minesweeper"), say=quiet)
    last = lines(run.run)[-1]
    assert list(run.results) == ["nobody"]
    assert list(run.anchors) == ["random", "bot"]
    assert {result.matches for result in (*run.results.values(), *run.anchors.values())} == {8}
    assert last["final/vs/nobody/mean"] == run.results["nobody"].mean
    for group in ("eval", "final"):
        told = {tag for line in lines(run.run) for tag in line if tag.startswith(f"{group}/")}
        assert told == {
            *(f"{group}/vs/nobody/mean", f"{group}/vs/nobody/low", f"{group}/vs/nobody/high"),
            *(f"{group}/by_seat/nobody/0", f"{group}/raw_vs/nobody/mean"),
        }
    config = dataclasses.replace(read_config(run.run / "config.yaml"), total_timesteps=4 * UPDATE)
    assert resume(run.run, lambda _: config, say=quiet).timesteps == 4 * UPDATE


def test_the_curves_tell_how_exploitable_it_is(finished):
    """Averaged and raw weights of every checkpoint, as they are judged afterwards; nothing was pruned."""
    told = {line["step"]: line for line in lines(finished.run) if "eval/exploitability" in line}
    assert list(told) == [64, 128, 192]
    for at, line in told.items():
        for tag, weights in (("exploitability", "ema"), ("exploitability_raw", "raw")):
            agent = agents.load(finished.run / "checkpoints" / f"step_{at}", weights=weights)
            expected = agents.exploitability(agent.game, agent).exploitability
            assert line[f"eval/{tag}"] == pytest.approx(expected, abs=1e-12)
            assert line[f"eval/{tag}_error"] == 0.0
    assert lines(finished.run)[-1]["final/exploitability"] == told[192]["eval/exploitability"]


def test_large_trees_are_pruned(tmp_path, monkeypatch):
    """With every tree taken for a large one, the errors are there, and a number below them."""
    monkeypatch.setattr(training, "MANY", 0)
    monkeypatch.setattr(training, "PRUNE", 0.9)
    run = train(tiny(tmp_path, total_timesteps=UPDATE), say=quiet).run
    (line,) = [line for line in lines(run) if "eval/exploitability" in line]
    assert 0.0 < line["eval/exploitability_error"] <= 4.0  # chips at stake in Kuhn poker


def test_a_player_named_twice_is_met_once(tmp_path):
    config = tiny(tmp_path, total_timesteps=UPDATE)
    config = dataclasses.replace(
        config, eval=dataclasses.replace(config.eval, players=["bot", "random", "bot"])
    )
    run = train(config, say=quiet)
    assert list(run.results) == ["bot", "random"]
    assert SelfPlayKeeper(config, run.run, quiet).headline() == ("eval/vs/bot/mean", "eval/vs/random/mean")


def test_a_solved_game_sits_opposite_and_judges(tmp_path, monkeypatch):
    """By its path. Who is nearly perfect loses at most its exploitability on average; an interrupted run goes
    on bit for bit, and its file names nothing that is read without the configuration."""
    path = tmp_path / "solved.zip"
    solve(KUHN, target=1e-3).save(path)
    changes = {
        "opponents": OpponentsConfig(share=0.5, players=[str(path), "bot"], pool_size=1, snapshot_every=1),
        "eval": dataclasses.replace(BY_MATCHES, players=[str(path)], final_matches_per_seat=5_000),
    }
    straight = train(tiny(tmp_path / "straight", **changes), say=quiet)
    assert straight.results[str(path)].mean < 0.05  # 10,000 matches of 1 or 2 chips: two standard errors
    with monkeypatch.context() as patch:
        at_decision(patch, UPDATE + 20, press_ctrl_c)
        first = train(tiny(tmp_path / "broken", **changes), say=quiet)
    second = resume(first.run, say=quiet)
    assert newest(second.run) == newest(straight.run)
    opposition = agents.MaskableRecurrentPPO.load(second.run).opposition
    assert [type(opposition.players[k]) for k in (0, 1)] == [FIXED_PLAYERS[str(path)], Bot]
    FIXED_PLAYERS.pop(str(path))
    with pytest.raises(CheckpointError, match=r"unknown player .*solved\.zip'; known are"):
        agents.MaskableRecurrentPPO.load(second.run)


@pytest.mark.parametrize(
    ("game", "told"),
    [
        ("leduc_poker", "expected a player of KuhnPoker()"),
        (None, "the file of a solved game, got an agent's"),
    ],
)
def test_a_file_that_cannot_sit_opposite_is_refused(make_model, tmp_path, game, told):
    path = tmp_path / "other.zip"
    if game is None:
        make_model().save(path)
    else:
        solve(envs.make(game), iterations=1).save(path)
    opponents = OpponentsConfig(share=0.5, players=[str(path)])
    with pytest.raises(ValueError, match=re.escape(told)):
        train(tiny(tmp_path / "runs", opponents=opponents), say=quiet)
    assert not (tmp_path / "runs").exists()


def test_without_fixed_players_the_best_is_the_least_exploitable(tmp_path, monkeypatch):
    """Training makes it 0.3, 0.2 and 0.4: the second checkpoint is the best."""
    original, told = training.exploitability, [0.3, 0.3, 0.2, 0.2, 0.4, 0.4]
    monkeypatch.setattr(
        training, "exploitability", lambda *a, **b: original(*a, **b)._replace(exploitability=told.pop(0))
    )
    config = tiny(tmp_path)
    run = train(dataclasses.replace(config, eval=dataclasses.replace(config.eval, players=[])), say=quiet).run
    best = json.loads((run / "best.json").read_text(encoding="utf-8"))
    assert best == {"checkpoint": "checkpoints/step_128"}


def test_without_a_tree_there_is_no_exploitability(tmp_path):
    run = train(tiny(tmp_path, total_timesteps=UPDATE, eval=BY_MATCHES), say=quiet).run
    assert not any("exploitability" in tag for line in lines(run) for tag in line)
    game = envs.make("dark_hex", rows=4, cols=4)
    assert training.make_tree(tiny(tmp_path), game) is None


def test_the_replay_is_a_match_that_can_be_played_again(finished):
    told = json.loads((finished.run / "replays" / "step_192.json").read_text(encoding="utf-8"))
    match = envs.Match(envs.make(told["game"], **told["options"]), told["seed"])
    for action in told["actions"]:
        match.play(action)
    assert match.over
    assert match.returns.tolist() == told["returns"]
    with Image.open(finished.run / "replays" / "step_192.gif") as gif:
        assert gif.n_frames == len(told["actions"]) + 1


def test_the_agent_of_a_run_is_its_latest_its_best_or_any_of_its_checkpoints(finished):
    run = finished.run
    latest = run / json.loads((run / "latest.json").read_text(encoding="utf-8"))["checkpoint"]
    best = run / json.loads((run / "best.json").read_text(encoding="utf-8"))["checkpoint"]
    scores = {
        line["step"]: line["eval/exploitability"] for line in lines(run) if "eval/exploitability" in line
    }
    assert latest.name == "step_192"
    assert best.name == f"step_{min(scores, key=scores.get)}"  # the first of equals

    def weights(agent):
        return torch.cat([x.flatten() for x in agent.policy.state_dict().values()])

    by_step = {step: weights(agents.load(run / "checkpoints" / f"step_{step}")) for step in (64, 128, 192)}
    assert torch.equal(weights(agents.load(run)), by_step[192])
    assert torch.equal(weights(agents.load(run, which="best")), by_step[int(best.name[5:])])
    assert not torch.equal(by_step[64], by_step[192])


# ---------------------------------------------------------------- whose deals


@pytest.fixture
def deals(monkeypatch):
    """Seeds of all matches that are dealt, by what they are for; every match has one of its own."""
    seen, purpose = collections.defaultdict(set), ["training"]
    launch, judge = envs.Batch._launch, SelfPlayKeeper.judge
    anchors = SelfPlayKeeper.judge_anchors

    def launching(batch, kernel, *arguments):
        launch(batch, kernel, *arguments)
        seen[purpose[-1]] |= set(batch._views[0]["seed"].tolist())

    def judging(keeper, is_final):
        purpose.append("final" if is_final else keeper.model.num_timesteps)
        try:
            return judge(keeper, is_final)
        finally:
            purpose.pop()

    def judging_anchors(keeper):
        purpose.append("anchors")
        try:
            return anchors(keeper)
        finally:
            purpose.pop()

    monkeypatch.setattr(envs.Batch, "_launch", launching)
    monkeypatch.setattr(SelfPlayKeeper, "judge", judging)
    monkeypatch.setattr(SelfPlayKeeper, "judge_anchors", judging_anchors)
    return seen


@pytest.mark.parametrize("game", ["kuhn_poker", "minesweeper"])
def test_no_evaluation_uses_anothers_deals_nor_trainings_nor_another_runs(deals, tmp_path, game):
    """Two runs with neighbouring seeds, and a tournament with the seed of the first."""
    told = {}
    for seed in (0, 1):
        train(tiny(tmp_path, game=game, seed=seed), say=quiet)
        told |= {(seed, purpose): seeds for purpose, seeds in deals.items()}
        deals.clear()
    players = [fixed_player(name, envs.make(game)) for name in ("random", "bot")]
    round_robin(envs.make(game), players, 8, seed=0)
    told["tournament"] = deals.pop("training")
    assert {purpose for seed, purpose in set(told) - {"tournament"}} >= {"training", 64, 128, 192, "final"}
    for seed in (0, 1):
        if game == "minesweeper":
            assert told[seed, "final"] == told.pop((seed, "anchors"))  # the agent's own deals
    assert all(len(seeds) >= 8 for seeds in told.values())
    assert sum(map(len, told.values())) == len(set().union(*told.values()))


# ---------------------------------------------------------------- beginning with an agent's weights


def test_other_weights_begin_another_average(made, make_model, tmp_path):
    save_folder(made[1], tmp_path / "a")
    kwargs = {"lstm_hidden_size": 4, "features_dim": 4}
    model = make_model(KUHN, ema_decay=0.9, policy_kwargs=kwargs).learn(64)
    copy_weights(tmp_path / "a", model)
    assert model.ema_steps == 0
    assert same(model.ema, made[0].ema)


def test_a_run_begins_with_the_averaged_weights_of_an_agent_and_nothing_else_of_it(finished, tmp_path):
    algo = dataclasses.replace(tiny(tmp_path).algo, magnet="snapshot", magnet_coef=0.1)
    model = training.make_model(tiny(tmp_path, algo=algo, start_from=str(finished.run)))
    fresh = training.make_model(tiny(tmp_path, algo=algo))
    expected = agents.load(finished.run, weights="ema").policy.state_dict()
    for policy in (model.policy, model.ema, model.magnet):
        assert all(torch.equal(x, expected[name]) for name, x in policy.state_dict().items())
    assert any(not torch.equal(x, expected[name]) for name, x in fresh.policy.state_dict().items())
    assert (model.num_timesteps, model.optimizer.state_dict()["state"]) == (0, {})


def test_an_agent_of_one_size_of_board_begins_on_another(tmp_path):
    policy = dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=4, features_dim=4, spatial=True)
    boards = {"game": "generals", "policy": policy, "options": {"rows": 4, "cols": 5}}
    small = training.make_model(tiny(tmp_path, **boards))
    small.save(tmp_path / "small.zip")
    large = boards | {"options": {"rows": 6, "cols": 6}, "start_from": str(tmp_path / "small.zip")}
    model = training.make_model(tiny(tmp_path, **large))
    expected = small.policy.state_dict()
    assert all(torch.equal(x, expected[name]) for name, x in model.policy.state_dict().items())
    model.learn(UPDATE)


def test_another_network_is_no_beginning(finished, tmp_path):
    policy = dataclasses.replace(SELF_PLAY_NETWORK, lstm_hidden_size=16, features_dim=8)
    with pytest.raises(ValueError, match="its network is not the one to train") as error:
        training.make_model(tiny(tmp_path, policy=policy, start_from=str(finished.run)))
    assert str(error.value).endswith(
        "5 of the tensors differ: expected action_head.0.weight of shape [2, 16], got [2, 8]"
    )
    with pytest.raises(FileNotFoundError, match="nowhere"):
        training.make_model(tiny(tmp_path, start_from=str(tmp_path / "nowhere")))


# ---------------------------------------------------------------- refused before a folder is made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "chess"}, "unknown game 'chess'; known are .*dark_hex"),
        ({"options": {"cards": 3}}, "kuhn_poker: unknown option 'cards'; known are none"),
        ({"game": "dark_hex", "options": {"rows": 1}}, "rows"),
        (
            {"policy": dataclasses.replace(SELF_PLAY_NETWORK, cell="warp")},
            "unknown cell 'warp'; known are elman, feedforward, gated",
        ),
        (
            {"algo": dataclasses.replace(SELF_PLAY, n_steps=8, batch_size=33)},
            "batch_size 33 does not fit .* 8, 16, 32, 64",
        ),
        ({"eval": EvalConfig(players=["grandmaster"])}, "grandmaster"),
        (
            {"game": "concentration", "eval": EvalConfig(exploitability="always")},
            r"eval.exploitability is always: exact values are of zero-sum games for two seats, Concen",
        ),
        (
            {"game": "dark_hex", "options": {"rows": 4}, "eval": EvalConfig(exploitability="always")},
            r"eval.exploitability is always: DarkHex.* its tree needs about",
        ),
        ({"opponents": OpponentsConfig(share=0.5)}, "matches against others need opponents"),
        ({"opponents": OpponentsConfig(share=1.5, pool_size=1)}, "must be in 0..1, got 1.5"),
        ({"device": "tpu"}, "device must be cpu or cuda, got tpu"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        train(tiny(tmp_path / "runs", **changes), say=quiet)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_the_model_is_what_the_configuration_says(tmp_path):
    model = training.make_model(tiny(tmp_path, **EVERYTHING))
    assert model.batch.matches == 8
    assert model.policy.core.cells[1].hidden_size == 8
    assert [player.name for player in model.opposition.players.values()] == ["random", "bot"]
    assert model.learning_rate(0.5) == pytest.approx(0.5e-2)  # linear
    assert model.ent_coef == 0.1
    assert model.magnet_coef(0.5) < model.magnet_coef(1.0) == pytest.approx(0.1)  # power
    assert model.ema is not None
    assert model.magnet_kind == "snapshot"
