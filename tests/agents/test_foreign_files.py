"""What a file may say: nothing of it is believed before it is checked, and what it promises is there."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from listed import small
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import envs
from agents import MaskableRecurrentPPO, Opposition, checkpoint, fixed_player, load
from agents.checkpoint import CheckpointError, agent_files, files_of, save_folder
from agents.net.policy import RecurrentPolicy

KUHN = envs.make("kuhn_poker")


@pytest.fixture(scope="module")
def made():
    """A model of Kuhn poker with everything, after one update, and its files; not to be changed."""
    opposition = Opposition(KUHN, 4, 0.5, [fixed_player("bot", KUHN, 5)], pool_size=2, seed=6)
    model = MaskableRecurrentPPO(
        "MlpLstmPolicy", envs.Batch(KUHN, 4, seed=9), n_steps=7, batch_size=14, n_epochs=1, seed=1,
        policy_kwargs={"lstm_hidden_size": 4, "features_dim": 4}, device="cpu", opposition=opposition,
        snapshot_every=1, ema_decay=0.9, magnet="snapshot", magnet_coef=0.1,
    ).learn(28)  # fmt: skip
    return model, files_of(model)


def told(files, name, **changed):
    """The files with other entries in a JSON file; a name with a dot is of the object inside."""
    value = json.loads(files[name])
    for key, entry in changed.items():
        value[key] = {**value[key], **entry} if isinstance(entry, dict) and key in value else entry
    return files | {name: json.dumps(value).encode()}


def stated(files, **changed):
    """The files with other tensors in the training state; None takes one out, a number fills it."""
    state = checkpoint.read_tensors(files["training.safetensors"], "")
    for name, x in changed.items():
        name = name.replace("__", ".")
        if x is None:
            del state[name]
        else:
            state[name] = x if isinstance(x, torch.Tensor) else torch.full_like(state[name], x)
    return files | {"training.safetensors": checkpoint.tensor_bytes(state)}


def refused(files, path, match, readers=(load, MaskableRecurrentPPO.load), **how):
    save_folder(files, path)
    for reader in readers:
        with pytest.raises(CheckpointError, match=match) as caught:
            reader(path, **how)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1_000


TRAIN = (MaskableRecurrentPPO.load,)


# ---------------------------------------------------------------- training.json


@pytest.mark.parametrize(
    "arguments",
    [
        {"tensorboard_log": "/tmp/anywhere"}, {"device": "cuda"}, {"env": "CartPole-v1"}, {"verbose": 1},
        {"policy_kwargs": {}}, {"opposition": None}, {"_init_setup_model": False}, {"gamma": 99},
        {"gamma": "0.9"}, {"gamma": True}, {"gamma": float("nan")}, {"n_steps": 0}, {"n_steps": 7.0},
        {"n_steps": 2**40}, {"n_epochs": -1}, {"n_epochs": None}, {"learning_rate": [1e-3]},
        {"learning_rate": {"schedule": "os.system", "arguments": {}}},
        {"learning_rate": {"schedule": "linear", "arguments": {"initial": "x"}}},
        {"learning_rate": {"schedule": "linear", "arguments": {"first": 1.0}}},
        {"learning_rate": {"schedule": "linear"}}, {"magnet": "north"}, {"magnet": ["snapshot"]},
        {"seed": "1"}, {"seed": 2**70}, {"clip_range_vf": -1.0}, {"normalize_advantage": 1}, {"ema_decay": 2},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_no_file_may_say(made, tmp_path, arguments):
    refused(told(made[1], "training.json", arguments=arguments), tmp_path / "a", "training.json does not fit")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"matches": 10**9}, "none of 1000000000 matches"),
        ({"matches": 5}, "none of 5 matches"),
        ({"matches": 0}, "matches must be int in 1"),
        ({"matches": True}, "matches must be int"),
        ({"matches": "4"}, "matches must be int"),
        ({"total_timesteps": -1}, "total_timesteps must be int"),
        ({"arguments": []}, "arguments must be an object"),
        ({"arguments": {"batch_size": 13}}, "its arguments do not fit this version"),
        ({"opposition": {"share": 7}}, "its opposition does not fit"),
        ({"opposition": {"players": ["bot"] * 1000}}, "its opposition does not fit"),
        ({"opposition": {"players": ["nobody"]}}, "its opposition does not fit"),
        ({"opposition": {"players": "bot"}}, "its opposition does not fit"),
        ({"opposition": {"players": []}}, "its training state does not fit"),
        ({"opposition": {"path": "/etc"}}, "its opposition does not fit"),
        ({"opposition": []}, "its opposition does not fit"),
        ({"opposition": None}, None),
    ],
    ids=str,
)
def test_a_training_json_that_contradicts_the_rest(made, tmp_path, changed, message):
    files = told(made[1], "training.json", **changed)
    if message is None:  # nobody sits opposite then
        save_folder(files, tmp_path / "a")
        assert MaskableRecurrentPPO.load(tmp_path / "a", device="cpu").opposition is None
    else:
        refused(files, tmp_path / "a", message, TRAIN, device="cpu")


# ---------------------------------------------------------------- training.safetensors


@pytest.mark.parametrize(
    "changed",
    [
        {"num_timesteps": -1}, {"num_timesteps": torch.zeros(3)}, {"n_updates": None}, {"ema_steps": -5},
        {"collector__batch___states": torch.zeros(4, 30)}, {"anything": torch.zeros(1)},
        {"batch__actions": 30_000}, {"batch__actions": -1}, {"batch__length": 3}, {"batch__length": None},
        {"batch__episode": 0}, {"batch__episode": torch.ones(4)}, {"batch__reward": torch.nan},
        {"collector__previous": 30_000}, {"collector__previous": -1}, {"collector__length": -1},
        {"collector__core__0": torch.nan}, {"collector__core__0": torch.zeros(1, 4, 2, 5)},
        {"collector__core__0": None}, {"collector__start": torch.zeros(4)},
        {"collector__core__9": torch.ones(1)},
        {"collector__earned": torch.inf}, {"opposition__own_seat": 9}, {"opposition__opponent": 30_000},
        {"opposition__pool": torch.tensor([77])}, {"opposition__newest": None},
        {"opposition__player__0__notes": torch.zeros(4, 2, 9, dtype=torch.int16)},
        {"opposition__player__1__previous": 9}, {"generator": torch.zeros(5056, dtype=torch.uint8)},
        {"shuffler": torch.zeros(100, dtype=torch.uint8)}, {"torch": torch.zeros(5056)},
        {"optimizer__encoder__weight__exp_avg": torch.nan}, {"optimizer__encoder__weight__exp_avg_sq": -1.0},
        {"optimizer__encoder__weight__exp_avg": torch.zeros(3)}, {"optimizer__encoder__weight__step": None},
        {"optimizer__encoder__weight__other": torch.zeros(1)}, {"optimizer__nothing__step": torch.zeros(())},
    ],
    ids=str,
)  # fmt: skip
def test_a_state_that_training_never_comes_to(made, tmp_path, changed):
    refused(stated(made[1], **changed), tmp_path / "a", "training state does not fit", TRAIN, device="cpu")


def test_a_truth_that_is_neither(made, tmp_path):
    """Bytes other than 0 and 1, which torch counts wrongly."""
    content = made[1]["training.safetensors"]
    state = checkpoint.read_tensors(content, "")
    size = int.from_bytes(content[:8], "little")
    first, _ = json.loads(content[8 : 8 + size])["collector.start"]["data_offsets"]
    changed = bytearray(content)
    changed[8 + size + first] = 200
    assert state["collector.start"].dtype == torch.bool
    refused(
        made[1] | {"training.safetensors": bytes(changed)}, tmp_path / "a", "neither true nor false", TRAIN
    )


@pytest.mark.parametrize("name", [name for name in envs.GAMES if envs.make(name).seats > 1])
def test_training_goes_on_bit_for_bit_in_every_game(name, tmp_path):
    """With a fixed player and past selves opposite: matches in their middle, dealt and played again."""
    game = small(name)
    opposition = Opposition(game, 6, 0.5, [fixed_player("bot", game)], pool_size=2)
    model = MaskableRecurrentPPO(
        "MlpLstmPolicy", envs.Batch(game, 6, seed=2), n_steps=5, batch_size=15, n_epochs=1, seed=1,
        policy_kwargs={"lstm_hidden_size": 4, "features_dim": 4}, device="cpu", opposition=opposition,
        snapshot_every=1,
    ).learn(60)  # fmt: skip
    assert model.batch.state_dict()["length"].max() > 0
    model.save(tmp_path / "a.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a.zip", device="cpu")
    assert loaded.batch.states.tobytes() == model.batch.states.tobytes()
    assert loaded.batch.final is None
    for one in (model, loaded):
        one.learn(60, reset_num_timesteps=False)
    for name, x in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], x), name


def test_matches_that_the_file_cannot_tell_begin_anew(made, tmp_path):
    """As in files of earlier versions: raw records, of which nothing is looked at; the past selves stay."""
    state = checkpoint.read_tensors(made[1]["training.safetensors"], "")
    old = {n: x for n, x in state.items() if not n.startswith(("batch.", "opposition.", "ema_steps"))}
    old |= {f"collector.{n}": x for n, x in state.items() if n.startswith("opposition.")}
    old |= {"collector.batch._seed": torch.tensor([77]), "collector.batch._states": torch.zeros(4, 9)}
    save_folder(made[1] | {"training.safetensors": checkpoint.tensor_bytes(old)}, tmp_path / "a")
    with pytest.warns(UserWarning, match="so they begin anew"):
        loaded = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu")
    assert (loaded.collector, loaded.batch.seed, loaded.ema_steps) == (None, 77, 2)
    assert loaded.opposition.pool == made[0].opposition.pool == [1]
    loaded.learn(28, reset_num_timesteps=False)


# ---------------------------------------------------------------- agent.json and the weights


@pytest.mark.parametrize(
    "policy",
    [
        {"lstm_hidden_size": 12_000}, {"lstm_hidden_size": 10**30}, {"lstm_hidden_size": -4},
        {"lstm_hidden_size": 4.0}, {"lstm_hidden_size": True}, {"lstm_hidden_size": [4]},
        {"lstm_hidden_size": "4"}, {"lstm_hidden_size": None}, {"lstm_hidden_size": 0},
        {"n_lstm_layers": 10**9}, {"n_lstm_layers": 2}, {"features_dim": 500}, {"features_dim": 10**9},
        {"net_arch": [10**9]}, {"net_arch": [300, 300]}, {"net_arch": [1] * 100_000}, {"net_arch": [[4]]},
        {"net_arch": {"pi": [4]}}, {"net_arch": {"x": [4]}}, {"net_arch": 7}, {"net_arch": [-1]},
        {"lstm_kwargs": [1]}, {"lstm_kwargs": {"dropout": float("nan")}}, {"lstm_kwargs": {"chrono": 10**40}},
        {"lstm_kwargs": {"forget_bias": [1.0]}}, {"cell": 7}, {"cell": ["gated"]}, {"cell": "elman"},
        {"spatial": 1}, {"spatial": True}, {"log_std_init": float("inf")}, {"activation_fn": 3},
        {"seats": 10**9}, {"observation_space": 1}, {"anything": {"a": 1}},
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_a_policy_that_its_weights_do_not_bear_out(made, tmp_path, policy, monkeypatch):
    """Nothing larger than the weights in the file is ever made room for."""
    largest, empty = [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: largest.append(empty(*a, **k)) or largest[-1])
    refused(
        told(made[1], "agent.json", policy=policy), tmp_path / "a", "weights do not fit|policy does not fit"
    )
    assert max([x.numel() for x in largest], default=0) < 40_000


@pytest.mark.parametrize("policy", [7, None, [], "gated"])
def test_a_policy_that_is_no_object(made, tmp_path, policy):
    files = made[1] | {
        "agent.json": json.dumps(json.loads(made[1]["agent.json"]) | {"policy": policy}).encode()
    }
    refused(files, tmp_path / "a", "policy must be an object")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda x: x.half(), "torch.float16"),
        (lambda x: x.double(), "torch.float64"),
        (lambda x: x.long(), "torch.int64"),
        (lambda x: x * torch.nan, "not finite"),
        (lambda x: x + torch.inf, "not finite"),
        (lambda x: x[:-1], "weights do not fit"),
        (lambda x: x[None], "weights do not fit"),
    ],
)
def test_weights_of_another_kind(made, tmp_path, changed, message):
    for file in ("policy.safetensors", "ema.safetensors"):
        weights = checkpoint.read_tensors(made[1][file], "")
        weights["value_head.0.weight"] = changed(weights["value_head.0.weight"])
        files = made[1] | {file: checkpoint.tensor_bytes(weights)}
        readers = (MaskableRecurrentPPO.load,) if file == "policy.safetensors" else (load,)
        refused(files, tmp_path / "a", message, readers)


@pytest.mark.parametrize(
    "space",
    [
        {"kind": "Box", "low": "0", "high": "1", "shape": [100_000, 100_000], "dtype": "float32"},
        {"kind": "Box", "low": "0", "high": "1", "shape": [-3], "dtype": "float32"},
        {"kind": "Box", "low": "0", "high": "1", "shape": [3.0], "dtype": "float32"},
        {"kind": "Box", "low": "0", "high": "1", "shape": [True], "dtype": "float32"},
        {"kind": "Box", "low": "0", "high": "1", "shape": [1] * 99, "dtype": "float32"},
        {"kind": "Box", "low": ["0"], "high": "1", "shape": [3], "dtype": "float32"},
        {"kind": "Box", "low": 0, "high": "1", "shape": [3], "dtype": "float32"},
        {"kind": "Box", "low": "x", "high": "1", "shape": [3], "dtype": "float32"},
        {"kind": "Box", "low": "0", "high": "1", "shape": [3], "dtype": "O"},
        {"kind": "Box", "low": "0", "high": "1", "shape": [3], "dtype": "V99999999999"},
        {"kind": "Box", "low": "0", "high": "1", "shape": 3, "dtype": "float32"},
        {"kind": "MultiDiscrete", "nvec": [10**12], "dtype": "int64"},
        {"kind": "MultiDiscrete", "nvec": [[3]], "dtype": "int64"},
        {"kind": "MultiDiscrete", "nvec": [1] * 100_000, "dtype": "int64"},
        {"kind": "MultiDiscrete", "nvec": [], "dtype": "int64"},
        {"kind": "MultiDiscrete", "nvec": [2.5], "dtype": "int64"},
        {"kind": "Discrete", "n": 10**18, "start": 0},
        {"kind": "Discrete", "n": -1, "start": 0},
        {"kind": "Discrete", "n": True, "start": 0},
        {"kind": "Discrete", "n": 3, "start": "0"},
        {"kind": "MultiBinary", "n": [10**9, 10**9]},
        {"kind": "MultiBinary", "n": "3"},
        {"kind": "Dict", "entries": {str(k): {"kind": "Discrete", "n": 2, "start": 0} for k in range(999)}},
        {"kind": "Dict", "entries": {"a": {"kind": "Dict", "entries": {}}}},
        {"kind": "Dict", "entries": []},
        {"kind": "Dict"},
        {"kind": ["Box"]},
        {"kind": "Tuple"},
        [],
        None,
    ],
    ids=lambda value: str(value)[:60],
)
def test_spaces_that_no_file_may_hold(made, tmp_path, space):
    for seen, chosen in ((space, {"kind": "Discrete", "n": 2, "start": 0}), (space, space)):
        agent = json.loads(made[1]["agent.json"]) | {"observation_space": seen, "action_space": chosen}
        files = made[1] | {"agent.json": json.dumps(agent).encode()}
        refused(files, tmp_path / "a", "plays a game this version does not know")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (3,), np.float32),
        spaces.Box(np.array([0, -1], np.int16), np.array([5, 300], np.int16), dtype=np.int16),
        spaces.Box(0, 255, (3, 36, 40), np.uint8),
        spaces.Box(-1, 1, (), np.float64),
        spaces.MultiDiscrete([3, 255], dtype=np.uint8),
        spaces.Discrete(7),
        spaces.MultiBinary(4),
        spaces.MultiBinary([2, 3]),
        spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (2, 2), np.float32)}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_spaces_come_back(space):
    again = checkpoint._read_space(json.loads(json.dumps(checkpoint._space(space))), 2**16, 5)
    assert again == space


@pytest.mark.parametrize(
    "options",
    [
        {"rows": 10**9},
        {"rows": "3"},
        {"rows": True},
        {"rows": [3]},
        {"rows": -1},
        [],
        None,
        {"name": 1},
        "rows",
    ],
    ids=str,
)
def test_options_of_another_type(made, tmp_path, options):
    agent = json.loads(made[1]["agent.json"]) | {"game": "dark_hex", "options": options}
    files = made[1] | {"agent.json": json.dumps(agent).encode()}
    refused(files, tmp_path / "a", "plays a game this version does not know")


def test_deep_json(made, tmp_path):
    for depth in (500, 3_000, 100_000):
        deep = b"[" * depth + b"]" * depth
        for name, part in (("agent.json", b'"policy": '), ("training.json", b'"arguments": ')):
            content = made[1][name].replace(part, part + deep + b', "x": ', 1)
            save_folder(made[1] | {name: content}, tmp_path / "a")
            with pytest.raises(CheckpointError):
                MaskableRecurrentPPO.load(tmp_path / "a")


# ---------------------------------------------------------------- averages and magnets


def same(one, two):
    return all(torch.equal(x, two.state_dict()[name]) for name, x in one.state_dict().items())


def test_what_is_asked_for_at_loading_begins_as_the_loaded_policy(make_model, tmp_path):
    make_model(KUHN).learn(64).save(tmp_path / "plain.zip")
    loaded = MaskableRecurrentPPO.load(
        tmp_path / "plain.zip", device="cpu", ema_decay=0.99, magnet="snapshot", magnet_coef=0.1
    )
    assert same(loaded.ema, loaded.policy)
    assert same(loaded.magnet, loaded.policy)
    assert loaded.ema_steps == 0
    loaded.save(tmp_path / "kept.zip")
    assert same(load(tmp_path / "kept.zip").policy, loaded.policy)
    loaded.learn(64, reset_num_timesteps=False)
    assert not same(loaded.ema, loaded.policy)
    asked = MaskableRecurrentPPO.load(tmp_path / "plain.zip", device="cpu", ema_decay=0.9, magnet="ema")
    assert asked.magnet is asked.ema
    assert same(asked.ema, asked.policy)


def test_what_is_kept_can_be_dropped_at_loading(made, tmp_path):
    save_folder(made[1], tmp_path / "a")
    dropped = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu", ema_decay=0.0, magnet="uniform")
    assert (dropped.ema, dropped.magnet) == (None, None)
    dropped.learn(28, reset_num_timesteps=False)
    turned = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu", magnet="ema")
    assert same(turned.ema, made[0].ema)  # not what the snapshot was
    assert turned.magnet is turned.ema


@pytest.mark.parametrize("name", ["ema.safetensors", "magnet.safetensors"])
def test_a_promised_file_that_is_missing(made, tmp_path, name):
    files = {key: content for key, content in made[1].items() if key != name}
    refused(files, tmp_path / "a", f"speak of {name}, which is missing")
    alone = {key: x for key, x in agent_files(made[0]).items() if key != name}
    save_folder(alone, tmp_path / "alone")  # an agent that promises nothing
    load(tmp_path / "alone")


def test_the_average_goes_on_where_it_was(made, tmp_path):
    save_folder(made[1], tmp_path / "a")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu")
    assert loaded.ema_steps == made[0].ema_steps == 2
    assert same(loaded.ema, made[0].ema)


def test_other_weights_begin_another_average(made, make_model, tmp_path):
    save_folder(made[1], tmp_path / "a")
    kwargs = {"lstm_hidden_size": 4, "features_dim": 4}
    model = make_model(KUHN, ema_decay=0.9, policy_kwargs=kwargs).learn(64)
    checkpoint.copy_weights(tmp_path / "a", model)
    assert model.ema_steps == 0
    assert same(model.ema, made[0].ema)


# ---------------------------------------------------------------- oppositions


@pytest.mark.parametrize("matches", [4, 2, 8])
def test_the_opposition_outlives_its_matches(made, tmp_path, matches):
    model, files = made
    save_folder(files, tmp_path / "a")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a", env=envs.Batch(KUHN, matches), device="cpu")
    assert loaded.opposition.arguments == model.opposition.arguments
    assert (loaded.opposition.matches, loaded.opposition.pool) == (matches, [1])
    assert same(loaded.opposition.players[1].policy, model.opposition.players[1].policy)
    loaded.learn(28, reset_num_timesteps=False)
    assert not loaded.rollout.is_own.all()
    assert len(loaded.opposition.pool) == 2


def test_another_opposition_may_be_given(made, tmp_path):
    save_folder(made[1], tmp_path / "a")
    other = Opposition(KUHN, 4, 1.0, [fixed_player("random", KUHN)])
    loaded = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu", opposition=other)
    assert (loaded.opposition, loaded.collector) == (other, None)
    loaded.learn(28, reset_num_timesteps=False)
    assert MaskableRecurrentPPO.load(tmp_path / "a", device="cpu", opposition=None).opposition is None
    with pytest.raises(ValueError, match="sits at 8 matches, the env has 4"):
        MaskableRecurrentPPO.load(tmp_path / "a", opposition=Opposition(KUHN, 8, 0.0), device="cpu")


def test_a_model_that_has_not_learned_comes_back(make_model, tmp_path):
    model = make_model(KUHN, 4, n_steps=4, batch_size=8)
    model.batch.reset(5)
    model.save(tmp_path / "a.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a.zip", device="cpu")
    assert (loaded.batch.seed, loaded.batch.matches, loaded.collector) == (5, 4, None)


# ---------------------------------------------------------------- classes of policies


class Mine(RecurrentPolicy):
    """Adds 1 to every value."""

    def forward(self, *arguments):
        outputs, value, cores = super().forward(*arguments)
        return outputs, value + 1.0, cores


class Other(RecurrentPolicy):
    pass


def test_the_class_of_the_policy_is_given_not_named(tmp_path):
    arguments = {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "device": "cpu", "seed": 0}
    model = MaskableRecurrentPPO(Mine, envs.Batch(KUHN, 4), ema_decay=0.9, **arguments).learn(16)
    model.save(path := tmp_path / "a.zip")
    assert json.loads(checkpoint.read(path)["agent.json"])["policy_class"] == "Mine"
    needed = "of the class 'Mine', which policy=... has to give, got "
    refused_by = [({}, "RecurrentPolicy"), ({"policy": Other}, "Other")]
    for how, got in refused_by:
        for reader in (load, MaskableRecurrentPPO.load):
            with pytest.raises(CheckpointError, match=needed + got):
                reader(path, **how)
    assert type(load(path, policy=Mine).policy) is Mine
    for how in ({"policy": Mine}, {"custom_objects": {"policy_class": Mine}}):
        loaded = MaskableRecurrentPPO.load(path, device="cpu", **how)
        assert (type(loaded.policy), type(loaded.ema)) == (Mine, Mine)
        assert same(loaded.policy, model.policy)
    with pytest.raises(TypeError, match="must be a subclass of RecurrentPolicy, got <class 'int'>"):
        MaskableRecurrentPPO.load(path, policy=int)
    MaskableRecurrentPPO("MlpLstmPolicy", envs.Batch(KUHN, 4), **arguments).save(tmp_path / "b.zip")
    with pytest.raises(CheckpointError, match="of the class 'RecurrentPolicy'"):
        load(tmp_path / "b.zip", policy=Mine)


def test_an_argument_that_does_not_exist_is_the_callers(made, tmp_path):
    save_folder(made[1], tmp_path / "a")
    with pytest.raises(TypeError, match="load has no argument 'gama'; known are gamma, "):
        MaskableRecurrentPPO.load(tmp_path / "a", gama=0.5)


# ---------------------------------------------------------------- other devices


def test_draws_of_another_kind_of_device_begin_anew(made, tmp_path):
    """As if saved on CUDA, whose generators are 16 bytes: the same new draws every time, and a warning."""
    cuda = torch.zeros(16, dtype=torch.uint8)
    save_folder(stated(made[1], generator=cuda, opposition__player__1__generator=cuda), tmp_path / "a")
    drawn = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="another kind of device.*no longer bit for bit"):
            loaded = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu")
        drawn.append(loaded.learn(28, reset_num_timesteps=False).rollout.action)
    assert torch.equal(*drawn)
    assert loaded.num_timesteps == 56


# ---------------------------------------------------------------- scales


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("observation.mean", torch.nan), ("observation.var", -1.0), ("clip_obs", torch.ones(3).double()),
        ("epsilon", torch.inf), ("observation.mean", torch.zeros(2)), ("observation.var", None),
        ("clip_obs", None), ("observation.mean", torch.zeros(7, dtype=torch.float64)),
        ("observation/a.mean", torch.zeros(1)),
    ],
    ids=str,
)  # fmt: skip
def test_scales_of_something_else(tmp_path, name, value):
    worlds = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    model = MaskableRecurrentPPO("MlpLstmPolicy", worlds, n_steps=4, batch_size=4, device="cpu", seed=0)
    files = agent_files(model)
    save_folder(files, tmp_path / "whole")
    assert load(tmp_path / "whole").scale is not None
    state = checkpoint.read_tensors(files["normalizer.safetensors"], "")
    if value is None:
        del state[name]
    else:
        state[name] = value if isinstance(value, torch.Tensor) else torch.full_like(state[name], value)
    files = files | {"normalizer.safetensors": checkpoint.tensor_bytes(state)}
    refused(files, tmp_path / "a", "does not say how observations are scaled", (load,))
