"""Files one can trust: complete, atomic, resumed bit for bit, and nothing in them is ever executed."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import zipfile

import pytest
import torch

import envs
from agents import MaskableRecurrentPPO, Opposition, checkpoint, fixed_player, load
from agents.checkpoint import CheckpointError, agent_files, files_of, point, save_folder
from agents.learn.schedules import Constant, Linear, Power
from agents.play.players import Agent

TICTACTOE = envs.make("phantom_tictactoe")


@pytest.fixture
def model(make_model):
    """Everything a checkpoint may hold: moving average, snapshot magnet, past selves, a random player."""
    opposition = Opposition(TICTACTOE, 8, 0.75, [fixed_player("random", TICTACTOE, 5)], pool_size=2, seed=6)
    return make_model(
        TICTACTOE,
        8,
        learning_rate=Linear(1e-2),
        clip_range=Power(0.2),
        ent_coef=Constant(0.01),
        magnet_coef=Linear(0.1),
        magnet="snapshot",
        magnet_every=2,
        ema_decay=0.9,
        opposition=opposition,
        snapshot_every=1,
    ).learn(3 * 64)


@pytest.fixture
def files(model):
    return files_of(model)


def plays(agent, steps=20):
    """The agent's draws in both seats of 8 matches."""
    batch, told = envs.Batch(TICTACTOE, 8), []
    agent.reset(8)
    for _ in range(steps):
        told.append(agent.act(batch.observation, batch.legal, batch.seat).clone())
        batch.step(told[-1])
        agent.restart(batch.over)
    return torch.stack(told)


def weights(model):
    """All weights by name: the policy's, the moving average's, the magnet's and the optimiser's moments."""
    policies = {"policy": model.policy, "ema": model.ema, "magnet": model.magnet}
    named = {f"{name}.{k}": x for name, policy in policies.items() for k, x in policy.state_dict().items()}
    named = {name: x.clone() for name, x in named.items()}
    return named | {k: x for k, x in model.state_dict().items() if k.startswith("optimizer")}


def refused(path, error=CheckpointError, match=None, reader=load):
    """`load` says in one line that this is no agent."""
    with pytest.raises(error, match=match) as caught:
        reader(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("form", ["zip", "folder", "run", "exported"])
def test_a_loaded_agent_plays_the_same(model, tmp_path, form):
    if form == "zip":
        model.save(tmp_path / "agent")  # the ending is added
        path = tmp_path / "agent.zip"
    elif form == "folder":
        save_folder(files_of(model), path := tmp_path / "agent")
    elif form == "run":
        path = tmp_path / "run"
        save_folder(files_of(model), path / "checkpoints" / "step_1")
        point(path, "latest", path / "checkpoints" / "step_1")
    else:
        save_folder(agent_files(model), path := tmp_path / "agent")
    for name, policy in (("raw", model.policy), ("ema", model.ema)):
        loaded = load(path, weights=name, seed=3)
        assert loaded.game == TICTACTOE
        assert torch.equal(plays(loaded), plays(Agent(policy, TICTACTOE, seed=3)))
    assert not torch.equal(plays(load(path, seed=3)), plays(load(path, seed=4)))


def test_the_moving_average_plays_unless_told_otherwise(model, make_model, tmp_path):
    model.save(tmp_path / "averaged.zip")
    assert torch.equal(load(tmp_path / "averaged.zip").policy.core.cells[0].W, model.ema.core.cells[0].W)
    make_model().save(tmp_path / "plain.zip")
    assert load(tmp_path / "plain.zip").game == envs.make("kuhn_poker")
    refused(
        tmp_path / "plain.zip", match="holds no averaged weights", reader=lambda p: load(p, weights="ema")
    )


def test_loading_an_agent_needs_no_environment(model, tmp_path, monkeypatch):
    model.save(tmp_path / "agent.zip")
    monkeypatch.setattr(envs, "Batch", None)
    match = envs.Match(TICTACTOE, seed=0)
    assert load(tmp_path / "agent").act(match.observation(0), match.mask(), seat=0) in match.legal()


def test_a_player_comes_by_name_or_by_path(model, tmp_path):
    model.save(tmp_path / "agent.zip")
    assert checkpoint.load_player("bot", TICTACTOE).name == "bot"
    for path in (tmp_path / "agent.zip", str(tmp_path / "agent")):
        assert isinstance(checkpoint.load_player(path, TICTACTOE, seed=3), Agent)
    with pytest.raises(
        ValueError, match=r"'nobody' is neither a fixed player \(random, bot, expander, greedy\) nor a path"
    ):
        checkpoint.load_player("nobody", TICTACTOE)
    with pytest.raises(
        ValueError, match=r"agent\.zip' plays PhantomTicTacToe\(.*, expected an agent of Kuhn"
    ):
        checkpoint.load_player(tmp_path / "agent.zip", envs.make("kuhn_poker"))


def test_the_options_of_the_game_are_kept(make_model, tmp_path):
    game = envs.make("dark_hex", rows=2, cols=4, abrupt=True)
    make_model(game, policy_kwargs={"cell": "gru", "n_lstm_layers": 2}).save(tmp_path / "hex.zip")
    loaded = load(tmp_path / "hex.zip")
    assert loaded.game == game
    assert loaded.name == "hex"
    assert [type(cell).__name__ for cell in loaded.policy.core.cells] == ["GRU", "GRU"]


def test_a_run_has_a_latest_and_a_best_checkpoint(make_model, tmp_path):
    run, models = tmp_path / "run", {which: make_model(seed=k) for k, which in enumerate(("best", "latest"))}
    for which, model in models.items():
        save_folder(files_of(model), run / "checkpoints" / which)
        point(run, which, run / "checkpoints" / which)
    for which, model in models.items():
        assert torch.equal(load(run, which=which).policy.encoder.weight, model.policy.encoder.weight)
    assert load(run).name == "run"
    assert load(run / "checkpoints" / "best").name == "run/best"


def test_training_goes_on_bit_for_bit(model, tmp_path):
    """Three updates, a save and three more are the same as loading and three more, to the last bit."""
    model.save(tmp_path / "model.zip")
    assert len(model.opposition.pool) == 2
    model.learn(3 * 64, reset_num_timesteps=False)
    after = weights(model)

    torch.rand(100)  # what happened in between does not matter
    loaded = MaskableRecurrentPPO.load(tmp_path / "model.zip", device="cpu")
    assert loaded.num_timesteps == 3 * 64
    before = weights(loaded)
    loaded.learn(3 * 64, reset_num_timesteps=False)
    assert loaded.num_timesteps == model.num_timesteps == 6 * 64
    resumed = weights(loaded)
    assert set(resumed) == set(after)
    for name, x in after.items():
        assert torch.equal(resumed[name], x), name
    assert not torch.equal(before["policy.core.cells.0.W"], after["policy.core.cells.0.W"])
    for name, x in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], x), name


def test_a_loaded_model_keeps_its_arguments(model, tmp_path):
    model.save(tmp_path / "model.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "model.zip", device="cpu")
    for name in (*checkpoint.ARGUMENTS, "magnet_kind", "policy_kwargs"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert loaded.opposition.arguments == model.opposition.arguments


def test_with_matches_given_they_begin_anew(model, tmp_path):
    model.save(tmp_path / "model.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "model.zip", env=envs.Batch(TICTACTOE, 16), device="cpu")
    assert (loaded.n_envs, loaded.num_timesteps, loaded.collector) == (16, 3 * 64, None)
    loaded.learn(16 * 8, reset_num_timesteps=False)
    wrong = envs.Batch(envs.make("kuhn_poker"), 8)
    refused(
        tmp_path / "model.zip",
        match="got matches of KuhnPoker",
        reader=lambda p: MaskableRecurrentPPO.load(p, wrong),
    )


def test_an_exported_agent_does_not_train(model, tmp_path):
    save_folder(agent_files(model), tmp_path / "agent")
    refused(tmp_path / "agent", match="it can play, not train", reader=MaskableRecurrentPPO.load)


def halved(progress):
    return 1e-3 * (1.0 + progress) / 2


class Cooled:
    """A schedule of a caller's own making."""

    def __call__(self, progress):
        return 1e-3 * progress


@pytest.mark.parametrize("schedule", [halved, lambda p: 1e-3 * p, Cooled(), functools.partial(halved)])
@pytest.mark.parametrize("name", ["learning_rate", "clip_range", "clip_range_vf", "ent_coef"])
def test_a_schedule_that_is_code_is_told_before_training_and_given_again_at_loading(
    make_model, tmp_path, name, schedule
):
    with pytest.warns(UserWarning, match=rf"^{name} is code .*load\(path, {name}=...\) must be given"):
        model = make_model(**{name: (lambda p: schedule(p) + 0.1) if name == "clip_range_vf" else schedule})
    model.learn(64)
    model.save(path := tmp_path / "model.zip")
    load(path)  # plays
    refused(path, match=rf"its {name} is code .*load\(path, {name}=...\)", reader=MaskableRecurrentPPO.load)
    loaded = MaskableRecurrentPPO.load(
        path, device="cpu", **{name: schedule if name != "clip_range_vf" else 1.0}
    )
    assert loaded.learn(64, reset_num_timesteps=False).num_timesteps == 128
    number = MaskableRecurrentPPO.load(path, device="cpu", **{name: 0.01})
    assert getattr(number, name) == 0.01


def test_an_opposition_of_agents_is_told_before_training_and_given_again_at_loading(make_model, tmp_path):
    def opposition():
        agent = Agent(make_model(TICTACTOE).policy, TICTACTOE, "friend")
        return Opposition(TICTACTOE, 8, 0.5, [agent])

    with pytest.warns(UserWarning, match=r"\['friend'\] .*load\(path, opposition=...\) must be given"):
        model = make_model(TICTACTOE, opposition=opposition()).learn(64)
    model.save(path := tmp_path / "model.zip")
    load(path)
    refused(path, match=r"\['friend'\] are not in the file; give it", reader=MaskableRecurrentPPO.load)
    loaded = MaskableRecurrentPPO.load(path, device="cpu", opposition=opposition())
    loaded.learn(64, reset_num_timesteps=False)
    assert not loaded.rollout.is_own.all()
    alone = MaskableRecurrentPPO.load(path, device="cpu", opposition=None)
    assert alone.learn(64, reset_num_timesteps=False).rollout.is_own.all()


@pytest.mark.parametrize(
    ("saved", "there"),
    [
        ("lr0.001_32_steps", "lr0.001_32_steps.zip"),
        ("v1.7.zip", "v1.7.zip"),
        ("v1.7", "v1.7.zip"),
        ("best.model", "best.model.zip"),
        ("agent.zip.old", "agent.zip.old.zip"),
        ("plain", "plain.zip"),
    ],
)
def test_endings_are_appended_never_replaced(make_model, tmp_path, saved, there):
    """Beside it lie files that a replaced ending would name, and a folder of the very name."""
    other = make_model("leduc_poker")
    for name in ("lr0.zip", "v1.zip", "best.zip", "agent.zip"):
        other.save(tmp_path / name)
    before = {path.name for path in tmp_path.iterdir()}
    make_model().save(tmp_path / saved)
    assert {path.name for path in tmp_path.iterdir()} - before == {there}
    for name in {saved, there, there.removesuffix(".zip")}:
        if not (tmp_path / name).exists():
            (tmp_path / name).mkdir()  # somebody's folder, no agent
        for path in (tmp_path / name, str(tmp_path / name)):
            assert MaskableRecurrentPPO.load(path, device="cpu").game == envs.make("kuhn_poker")
            agent = load(path)
            assert agent.game == envs.make("kuhn_poker")
            assert agent.name == there.removesuffix(".zip")
            assert checkpoint.load_player(path, None).game == agent.game
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "lr0.002_32_steps")


def test_an_open_file_does_as_well(model, tmp_path):
    memory = io.BytesIO()
    model.save(memory)
    with (tmp_path / "agent").open("wb") as file:
        model.save(file)
    assert (tmp_path / "agent").read_bytes() == memory.getvalue()
    for source in (memory, io.BytesIO(memory.getvalue()), tmp_path / "agent"):
        assert MaskableRecurrentPPO.load(source, device="cpu").num_timesteps == model.num_timesteps
        assert torch.equal(plays(load(source, seed=3)), plays(Agent(model.ema, TICTACTOE, seed=3)))
    with pytest.raises(CheckpointError, match="is not a fogbound agent"):
        load(io.BytesIO(b"nothing"))
    with pytest.raises(TypeError, match="expected a path or a file that is open for writing bytes"):
        model.save(io.StringIO())
    with pytest.raises(TypeError, match="expected a path or a file that is open for reading bytes"):
        load(3)


@pytest.mark.parametrize(
    ("name", "value"), [("gamma", 99.0), ("n_steps", -8), ("clip_range", "0.2"), ("gae_lambda", True)]
)
def test_a_file_with_settings_out_of_range_is_refused(files, tmp_path, name, value):
    training = json.loads(files["training.json"])
    training["arguments"][name] = value
    save_folder(files | {"training.json": json.dumps(training).encode()}, tmp_path / "agent")
    refused(tmp_path / "agent", match=f"{name} must be", reader=MaskableRecurrentPPO.load)


# ---------------------------------------------------------------- damaged and foreign files


def test_there_is_nothing(tmp_path):
    refused(tmp_path / "agent", FileNotFoundError, "there is no such run, checkpoint or agent")


def test_an_empty_folder_is_no_agent(tmp_path):
    refused(tmp_path, match="holds no checkpoint")


def test_a_truncated_file_is_refused_wherever_it_ends(model, tmp_path):
    model.save(whole := tmp_path / "whole.zip")
    content = whole.read_bytes()
    cut = tmp_path / "cut.zip"
    for length in [*range(0, len(content), len(content) // 100), len(content) - 1]:
        cut.write_bytes(content[:length])
        refused(cut)


def test_a_truncated_checkpoint_is_refused(files, tmp_path):
    path = tmp_path / "agent"
    save_folder(files, path)
    for name in [*files, checkpoint.MANIFEST]:
        content = (path / name).read_bytes()
        for length in (0, len(content) // 2, len(content) - 1 - content.endswith(b"}\n")):
            (path / name).write_bytes(content[:length])
            refused(path)
        (path / name).write_bytes(content)
    load(path)


def test_one_flipped_bit_in_any_file_is_noticed(files, tmp_path):
    path = tmp_path / "agent"
    save_folder(files, path)
    for name in [*files, checkpoint.MANIFEST]:
        content = (path / name).read_bytes()
        for place in (0, len(content) // 3, len(content) // 2, len(content) - 3):
            for bit in (0, 5):
                flipped = bytearray(content)
                flipped[place] ^= 1 << bit
                (path / name).write_bytes(flipped)
                refused(path)
        (path / name).write_bytes(content)
    load(path)


def test_a_flipped_bit_in_a_zip_is_noticed_or_does_no_harm(model, tmp_path):
    """Dates and attributes of entries mean nothing; a flip elsewhere is refused. Each bit of the directory
    at the end and of one entry's header, and some bits of everything else."""
    model.save(whole := tmp_path / "whole.zip")
    expected, content = checkpoint.read(whole), whole.read_bytes()
    directory = zipfile.ZipFile(whole).start_dir
    places = [*range(50), *range(directory, len(content)), *range(50, directory, directory // 50)]
    flipped, messages = tmp_path / "flipped.zip", []
    for place in places:
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            flipped.write_bytes(damaged)
            try:
                assert checkpoint.read(flipped) == expected
            except CheckpointError as error:
                messages.append(str(error))
    assert len(messages) > 4 * len(places)
    assert not any("\n" in message for message in messages)


def test_a_missing_file_is_named(files, tmp_path):
    for name in [*files, checkpoint.MANIFEST]:
        save_folder(files, path := tmp_path / "agent")
        (path / name).unlink()
        refused(path, match=f"{name}(, .*)? is missing|neither latest.json nor {name}")


def test_an_entry_missing_from_a_zip_is_named(model, tmp_path):
    model.save(whole := tmp_path / "whole.zip")
    for left_out in ("policy.safetensors", checkpoint.MANIFEST):
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "less.zip", "w") as new:
            for name in old.namelist():
                if name != left_out:
                    new.writestr(name, old.read(name))
        refused(tmp_path / "less.zip", match=f"{left_out} is missing")


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["pickle", "torch", "old torch", "sb3", "inside"])
def test_nothing_is_ever_unpickled(form, files, tmp_path):
    """A pickle by itself, torch files old and new, a zip as SB3 writes it, a bomb in place of the weights."""
    exploded, path = tmp_path / "exploded", tmp_path / "agent.zip"
    bomb = pickle.dumps(Bomb(exploded))
    if form == "pickle":
        path.write_bytes(bomb)
    elif form == "torch":
        torch.save(Bomb(exploded), path)
    elif form == "old torch":
        torch.save(Bomb(exploded), path, _use_new_zipfile_serialization=False)
    elif form == "sb3":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data", json.dumps({"policy_class": {":type:": "type", ":serialized:": "gASV"}}))
            archive.writestr("policy.pth", bomb)
    else:
        save_folder(files | {"policy.safetensors": bomb, "ema.safetensors": bomb}, path)
    refused(path)
    refused(path, reader=MaskableRecurrentPPO.load)
    assert not exploded.exists()
    pickle.loads(bomb).close()  # noqa: S301  the bomb is live
    assert exploded.exists()


def test_a_plain_text_file_is_no_agent(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("an agent, honestly\n", encoding="utf-8")
    refused(path, match="is not a fogbound agent or is damaged")


def test_a_compressed_zip_is_refused(files, tmp_path):
    """What is read can be no larger than the file: no small file fills the memory."""
    entries = {**files, checkpoint.MANIFEST: checkpoint._manifest(files)}
    for method, readable in ((zipfile.ZIP_STORED, True), (zipfile.ZIP_DEFLATED, False)):
        with zipfile.ZipFile(tmp_path / "agent.zip", "w", method) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        if readable:
            load(tmp_path / "agent.zip")
        else:
            refused(tmp_path / "agent.zip", match="its entries are compressed")


@pytest.mark.parametrize(
    "target", ["../other", "/etc", "checkpoints/../../other", "none", ".", "a\0b", 7, None]
)
def test_a_pointer_stays_inside_its_run(files, tmp_path, target):
    """`other` is a good checkpoint, but none of this run's."""
    save_folder(files, tmp_path / "other")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "latest.json").write_text(json.dumps({"checkpoint": target}), encoding="utf-8")
    refused(run)


def test_a_pointer_through_a_link_stays_inside_its_run(files, tmp_path):
    save_folder(files, tmp_path / "other")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "run" / "latest.json").write_text('{"checkpoint": "link"}', encoding="utf-8")
    refused(tmp_path / "run", match="names no checkpoint of this run")


def test_a_manifest_lists_nothing_but_a_checkpoints_files(files, tmp_path):
    """Neither paths out of the folder nor files of other kinds."""
    path = tmp_path / "agent"
    for name in ("../secret", "/etc/passwd", "code.py"):
        save_folder(files, path)
        manifest = json.loads((path / checkpoint.MANIFEST).read_text(encoding="utf-8"))
        manifest["files"][name] = manifest["files"]["agent.json"]
        (path / checkpoint.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        refused(path, match="the manifest lists other files than a checkpoint's")


def other_agent(files, **changed):
    """The files with other entries in agent.json."""
    return files | {"agent.json": json.dumps(json.loads(files["agent.json"]) | changed).encode()}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"game": "chess"}, "plays a game this version does not know .*unknown game 'chess'"),
        ({"game": ["kuhn_poker"]}, "plays a game this version does not know"),
        ({"options": {"rows": 9}}, "plays a game this version does not know .*unknown option 'rows'"),
        (
            {"policy": {"cell": "transformer"}},
            "policy does not fit this version .*unknown cell 'transformer'",
        ),
        ({"policy": {"eval": "1"}}, "policy does not fit this version"),
        ({"policy": {"lstm_hidden_size": 9, "features_dim": 8}}, "weights do not fit the policy they claim"),
        ({"game": "kuhn_poker", "options": {}}, "weights do not fit the policy they claim"),
    ],
)
def test_an_agent_that_contradicts_itself_is_refused(files, tmp_path, changed, message):
    """The hashes are right, the content is not."""
    save_folder(other_agent(files, **changed), tmp_path / "agent")
    for reader in (load, MaskableRecurrentPPO.load):
        refused(tmp_path / "agent", match=message, reader=reader)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000, b"{'game': 1}"]
)
def test_an_agent_that_is_no_json_object_is_refused(files, tmp_path, content):
    save_folder(files | {"agent.json": content}, tmp_path / "agent")
    refused(tmp_path / "agent", match=r"agent\.json")


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"])
def test_tensors_that_are_none_are_refused(files, tmp_path, content):
    save_folder(files | {"policy.safetensors": content, "ema.safetensors": content}, tmp_path / "agent")
    refused(tmp_path / "agent", match="its tensors cannot be read|the weights do not fit")


def test_a_training_state_that_lacks_something_is_refused(files, tmp_path):
    save_folder(
        files | {"training.safetensors": checkpoint.tensor_bytes({"x": torch.zeros(1)})}, tmp_path / "agent"
    )
    load(tmp_path / "agent")
    refused(tmp_path / "agent", match="training state does not fit", reader=MaskableRecurrentPPO.load)


# ---------------------------------------------------------------- interrupted saves


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_an_interrupted_save_leaves_the_old_checkpoint_and_nothing_else(
    make_model, tmp_path, monkeypatch, form
):
    """The disk fails at the n-th time it is asked to make a file durable, for every n there is."""
    old, new = make_model(seed=1), make_model(seed=2).learn(64)
    path = tmp_path / ("agent.zip" if form == "zip" else "agent")

    def save(model):
        model.save(path) if form == "zip" else save_folder(files_of(model), path)

    real, calls = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(real(descriptor)))
    save(old)
    total = len(calls)
    before = checkpoint.read(path)
    for n in range(1, total + 1):
        left = iter(range(n - 1))

        def fail_at_n(descriptor, left=left):
            if next(left, None) is None:
                raise OSError("no space left")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fail_at_n)
        with pytest.raises(OSError, match="no space left"):
            save(new)
        assert os.listdir(tmp_path) == [path.name]
        if n < total:  # the last one is the folder's, when the new checkpoint has taken its place
            assert checkpoint.read(path) == before
        load(path)
    monkeypatch.setattr(os, "fsync", real)
    save(new)
    assert checkpoint.read(path) == files_of(new)


def test_saving_makes_the_folders_it_needs_and_leaves_no_others(model, tmp_path):
    model.save(tmp_path / "a" / "b" / "agent.zip")
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [
        "a",
        "a/b",
        "a/b/agent.zip",
    ]


def test_the_zip_is_an_ordinary_one(model, tmp_path):
    """Anyone can look inside; every entry is JSON or safetensors."""
    model.save(tmp_path / "agent.zip")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "agent.zip").read_bytes())) as archive:
        assert archive.testzip() is None
        expected = set(checkpoint.FILES) - {"normalizer.safetensors"}  # of worlds alone
        assert set(archive.namelist()) == {*expected, checkpoint.MANIFEST}
