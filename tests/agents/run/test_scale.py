"""A run in several processes: the same as in one, stopped and killed, and begun again by torchrun."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest
import ranks
import torch
from game_runs import longer, tiny
from ranks import UPDATE, games, of, quiet, started
from reading import numbers, run_json

from agents.files import json_bytes, read, save_folder
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.group import ALONE, Group
from agents.play import arena
from agents.play.arena import WHOLE
from agents.run import scale
from agents.run.config import Config, read_config
from agents.run.selfplay import resume, train


def only(folder):
    (run,) = folder.iterdir()
    return run


def steps(run):
    return sorted(int(path.name.removeprefix("step_")) for path in (run / "checkpoints").iterdir())


def evaluations(run):
    """When the agent was judged while it trained."""
    return [line["step"] for line in numbers(run) if any(tag.startswith("eval/vs/") for tag in line)]


def rated(run):
    """The ratings and every pair's results, if there are any."""
    path = run / "standings" / "results.json"
    return path.exists() and path.read_bytes()


def same_run(one, other):
    """The same checkpoints, byte for byte, the same curves, and the same final table and ratings."""
    assert steps(one) == steps(other)
    for step in steps(one):
        name = f"checkpoints/step_{step}"
        assert read(one / name) == read(other / name)
    assert numbers(one) == numbers(other)
    assert run_json(one)["results"] == run_json(other)["results"]
    assert rated(one) == rated(other)


@pytest.fixture(autouse=True)
def cut_small(monkeypatch):
    """A few matches of an evaluation are worth a part, as in the processes of `ranks`."""
    monkeypatch.setattr(arena, "ENOUGH", 1)


@pytest.fixture
def one_thread():
    """As torchrun's processes have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ---------------------------------------------------------------- in several processes


def test_two_processes_make_the_run_that_one_makes(tmp_path, one_thread):  # noqa: ARG001
    """Weights, optimiser, draws, matches, memories, curves and ratings, with past selves and bots opposite;
    also of a game for one seat. A run that two have begun goes on in one to the same end."""
    code, text, _ = started(ranks.short, tmp_path / "two")
    assert code == 0, text
    whole = train(of(tmp_path / "one", **ranks.SHORT), say=quiet).run
    same_run(only(tmp_path / "two" / "exact"), whole)
    assert evaluations(whole) == [2 * UPDATE, 4 * UPDATE, 5 * UPDATE]
    solitary = train(of(tmp_path / "solitary", **ranks.SOLITARY), say=quiet).run
    same_run(only(tmp_path / "two" / "alone"), solitary)
    assert evaluations(solitary) == [UPDATE]

    stopped = only(tmp_path / "two" / "stopped")
    assert (run_json(stopped)["status"], steps(stopped)) == ("interrupted", [2 * UPDATE, 3 * UPDATE])
    gone_on = resume(stopped, say=quiet).run
    assert read(gone_on) == read(whole)

    fast, exact = (
        read(only(tmp_path / "two" / how)).tensors("policy.safetensors") for how in ("fast", "exact")
    )
    for name, x in exact.items():
        assert torch.allclose(fast[name], x, atol=1e-4), name  # 20 steps of Adam on sums that are 1e-7 off


@pytest.mark.slow
def test_twenty_updates_of_every_kind_are_the_same(tmp_path, one_thread):  # noqa: ARG001
    code, text, _ = started(ranks.equal, tmp_path / "two")
    assert code == 0, text
    for name, config in games(tmp_path / "one").items():
        same_run(only(tmp_path / "two" / name), train(config, say=quiet).run)


@pytest.mark.slow
def test_a_run_changes_its_number_of_processes_twice(tmp_path, one_thread):  # noqa: ARG001
    """Two, one, two: it ends as if it had never been stopped."""
    for story, processes in ((ranks.broken_off, 2), (ranks.halfway, 1), (ranks.gone_on, 2)):
        code, text, _ = started(story, tmp_path / "run", processes=processes)
        assert code == 0, text
    run = only(tmp_path / "run")
    assert steps(run) == [k * UPDATE for k in (8, 10, 15, 20)]
    assert read(run) == read(train(of(tmp_path / "whole", cell="lstm", opposed=True), say=quiet).run)


@pytest.mark.slow
def test_whichever_rank_is_told_to_stop_all_stop_at_one_checkpoint(tmp_path):
    """Twenty times, at whatever moment the signal comes."""
    code, text, _ = started(ranks.stopped, tmp_path)
    assert code == 0, text
    for k in range(20):
        run = only(tmp_path / str(k))
        told = run_json(run)
        assert told["status"] == "interrupted"
        regular = range(10 * UPDATE, told["timesteps"], 10 * UPDATE)
        assert steps(run) == [*regular, told["timesteps"]]


@pytest.mark.slow
def test_who_is_killed_begins_again_where_the_latest_checkpoint_is(tmp_path, one_thread):  # noqa: ARG001
    code, text, _ = started(ranks.killed, tmp_path / "killed", "--max-restarts=3")
    assert code == 0, text
    assert text.count("error: ") == 1
    assert "error: rank 0 of 2: another process of the run is gone" in text
    same_run(only(tmp_path / "killed"), train(of(tmp_path / "whole", opposed=True), say=quiet).run)


@pytest.mark.slow
@pytest.mark.parametrize("story", [ranks.raised, ranks.raised_while_judged])
def test_an_error_is_told_once_with_its_rank_and_ends_all(tmp_path, story):
    """Also when rank 0 is busy with its part of an evaluation for a minute."""
    code, text, _ = started(story, tmp_path)
    assert code == 1
    assert re.findall("error: .*", text) == ["error: rank 1 of 2: a map cannot be made"]
    told = run_json(only(tmp_path))
    assert told["status"] == "failed"
    assert told["reason"] == "RuntimeError: rank 1 of 2: a map cannot be made"


# ---------------------------------------------------------------- what they agree on


def test_one_process_trains_as_ever_and_torchrun_cuts():
    launched = Group(store=object())
    assert scale.settled(Config(), ALONE).shards is None
    assert scale.settled(Config(), launched).shards == 4
    assert scale.settled(Config(shards=2), launched).shards == 2


def test_evaluations_are_cut_as_training_is():
    assert scale.parts(Config(), ALONE) is scale.parts(Config(shards=1), ALONE) is WHOLE
    assert scale.parts(Config(shards=4), ALONE).own == range(4)
    (number, own, _) = scale.parts(Config(shards=4), Group(1, 2))
    assert (number, list(own)) == (4, [1, 3])


def test_more_processes_than_shards_are_refused():
    with pytest.raises(ValueError, match="3 processes cannot share a run of 2 shards: start at most 2"):
        Group(0, 3).owned(2)


def test_an_old_run_says_nothing_of_shards_and_goes_on(tmp_path):
    """Neither its configuration nor its checkpoint knows the settings: it goes on as it always has."""
    whole = train(tiny(tmp_path / "whole"), say=quiet).run
    run = train(tiny(tmp_path / "old", total_timesteps=64), say=quiet).run
    old = re.sub("(shards|reduce): .*\n", "", (run / "config.yaml").read_text(encoding="utf-8"))
    (run / "config.yaml").write_text(old, encoding="utf-8")
    stored = read(run)
    training = stored.json("training.json")
    assert (training["config"].pop("shards"), training["config"].pop("reduce")) == (None, "exact")
    save_folder({**stored, "training.json": json_bytes(training)}, run / "checkpoints" / "step_64")

    gone_on = resume(run, longer(192), quiet).run
    assert read_config(gone_on / "config.yaml").shards is None
    assert read(gone_on)["policy.safetensors"] != read(whole)["policy.safetensors"]  # its rate fell to 0 once
    assert steps(gone_on) == [64, 128, 192]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"shards": 3},
            "8 matches cannot be cut into 3 shards of one size; shards must be one of 1, 2, 4, 8",
        ),
        ({"shards": 8}, "batch_size 32 does not fit 8 matches x n_steps 8 in 8 shards: .* one of 64"),
        ({"shards": 0}, "shards must be at least 1, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(tiny(tmp_path, **changes), say=quiet)
    assert not list(tmp_path.iterdir())


def test_torchrun_finds_its_own_run_again(tmp_path, monkeypatch):
    """By its name, and only if it has asked for the same; a finished one is left alone."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "night")
    config = of(tmp_path, updates=2, shards=2)
    assert scale.begun(config, ALONE, quiet) is None
    run = train(config, say=quiet).run
    assert json.loads((run / "launch.json").read_text(encoding="utf-8")) == {"launch": "night"}
    with pytest.raises(SystemExit) as ended:
        scale.begun(config, ALONE, quiet)
    assert ended.value.code == 0

    told = run_json(run) | {"status": "running"}  # and no process holds it: it was killed
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    assert scale.begun(config, ALONE, quiet) == run
    assert scale.begun(dataclasses.replace(config, seed=4), ALONE, quiet) is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "day")
    assert scale.begun(config, ALONE, quiet) is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "night")
    shutil.rmtree(run / "checkpoints")
    assert scale.begun(config, ALONE, quiet) is None


def test_a_cut_run_is_read_by_python_and_begins_other_matches(tmp_path):
    run = train(of(tmp_path, updates=2, opposed=True), say=quiet).run
    with pytest.warns(UserWarning, match="its matches are cut into shards"):
        model = MaskableRecurrentPPO.load(run)
    assert (model.n_envs, model.num_timesteps) == (16, 2 * UPDATE)
    model.learn(UPDATE, reset_num_timesteps=False)
    assert model.num_timesteps == 3 * UPDATE
