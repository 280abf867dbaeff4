"""An agent's file: it plays as what was saved, and nothing of a stranger's is believed unchecked."""

from __future__ import annotations

import json
import shutil

import gymnasium
import pytest
import torch
from reading import quiet
from saved import (
    KUHN,
    TICTACTOE,
    agent_files,
    files_of,
    plays,
    refused,
    refused_when_saved,
    same,
    told,
)
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from world_runs import CROSSES, UPDATE, tiny

import agents
import envs
from agents import MaskableRecurrentPPO, load
from agents.files import (
    CheckpointError,
    json_bytes,
    point,
    read,
    read_tensors,
    save_folder,
    save_zip,
    tensor_bytes,
)
from agents.gym.training import train
from agents.net.policy import RecurrentPolicy
from agents.net.task import World
from agents.play.agent_file import alone, load_player
from agents.play.arena import play_matches
from agents.play.players import Agent

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


# ---------------------------------------------------------------- alone


@pytest.mark.parametrize("numbers", ["float32", "float16"])
def test_an_agent_alone_plays_its_averaged_weights(model, tmp_path, numbers):
    """Weights of float16 are those of float32, rounded, and compute in float32."""
    model.save(tmp_path / "whole.zip")
    files = alone(read(tmp_path / "whole.zip"), numbers=numbers)
    assert set(files) == {"agent.json", "policy.safetensors"}
    save_zip(files, tmp_path / "alone.zip")
    loaded = load(tmp_path / "alone.zip", seed=3)
    rounded = {
        name: x.to(getattr(torch, numbers)).to(x.dtype) if x.is_floating_point() else x
        for name, x in model.ema.state_dict().items()
    }
    for name, x in loaded.policy.state_dict().items():
        assert x.dtype == rounded[name].dtype
        assert torch.equal(x, rounded[name])
    again = alone(read(tmp_path / "alone.zip"), numbers=numbers)
    assert again == files
    if numbers == "float32":
        assert torch.equal(plays(loaded), plays(Agent(model.ema, TICTACTOE, seed=3)))
    else:
        assert len(files["policy.safetensors"]) < 0.6 * len(files_of(model)["ema.safetensors"])


def test_an_agent_alone_with_its_raw_weights(model, make_model, tmp_path):
    model.save(tmp_path / "whole.zip")
    save_zip(alone(read(tmp_path / "whole.zip"), "raw"), tmp_path / "alone.zip")
    assert same(model.policy, load(tmp_path / "alone.zip").policy)
    make_model().save(tmp_path / "plain.zip")
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        alone(read(tmp_path / "plain.zip"), "ema")


def test_what_float16_cannot_hold_is_not_written(made, tmp_path):
    weights = read_tensors(made[1]["ema.safetensors"], "")
    weights["value_head.0.weight"][0] = 70_000.0
    save_folder(made[1] | {"ema.safetensors": tensor_bytes(weights)}, tmp_path / "a")
    with pytest.raises(
        ValueError, match=r"value_head\.0\.weight holds numbers that are too large for float16"
    ):
        alone(read(tmp_path / "a"), numbers="float16")


@pytest.mark.parametrize("numbers", ["float64", 16, None, ["float16"]])
def test_weights_of_unknown_numbers(made, tmp_path, numbers):
    files = told(made[1], "agent.json", numbers=numbers)
    refused_when_saved(files, tmp_path / "a", "expected one of float32, float16")


def test_weights_that_are_not_the_numbers_they_claim(made, tmp_path):
    refused_when_saved(told(made[1], "agent.json", numbers="float16"), tmp_path / "a", "should be float16")


def test_loading_an_agent_needs_no_environment(model, tmp_path, monkeypatch):
    model.save(tmp_path / "agent.zip")
    monkeypatch.setattr(envs, "Batch", None)
    match = envs.Match(TICTACTOE, seed=0)
    assert load(tmp_path / "agent").act(match.observation(0), match.mask(), seat=0) in match.legal()


def test_a_player_comes_by_name_or_by_path(model, tmp_path):
    model.save(tmp_path / "agent.zip")
    assert load_player("bot", TICTACTOE).name == "bot"
    for path in (tmp_path / "agent.zip", str(tmp_path / "agent")):
        assert isinstance(load_player(path, TICTACTOE, seed=3), Agent)
    with pytest.raises(
        ValueError, match=r"'nobody' is neither a fixed player \(random, bot, expander, greedy\) nor a path"
    ):
        load_player("nobody", TICTACTOE)
    with pytest.raises(
        ValueError, match=r"agent\.zip' plays PhantomTicTacToe\(.*, expected an agent of Kuhn"
    ):
        load_player(tmp_path / "agent.zip", envs.make("kuhn_poker"))


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


# ---------------------------------------------------------------- agent.json and the weights


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
    refused_when_saved(
        told(made[1], "agent.json", policy=policy), tmp_path / "a", "weights do not fit|policy does not fit"
    )
    assert max([x.numel() for x in largest], default=0) < 40_000


@pytest.mark.parametrize("policy", [7, None, [], "gated"])
def test_a_policy_that_is_no_object(made, tmp_path, policy):
    files = made[1] | {
        "agent.json": json.dumps(json.loads(made[1]["agent.json"]) | {"policy": policy}).encode()
    }
    refused_when_saved(files, tmp_path / "a", "policy must be an object")


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
        weights = read_tensors(made[1][file], "")
        weights["value_head.0.weight"] = changed(weights["value_head.0.weight"])
        files = made[1] | {file: tensor_bytes(weights)}
        readers = (MaskableRecurrentPPO.load,) if file == "policy.safetensors" else (load,)
        refused_when_saved(files, tmp_path / "a", message, readers)


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
        refused_when_saved(files, tmp_path / "a", "plays a game this version does not know")


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
    refused_when_saved(files, tmp_path / "a", "plays a game this version does not know")


def test_deep_json(made, tmp_path):
    for depth in (500, 3_000, 100_000):
        deep = b"[" * depth + b"]" * depth
        for name, part in (("agent.json", b'"policy": '), ("training.json", b'"arguments": ')):
            content = made[1][name].replace(part, part + deep + b', "x": ', 1)
            save_folder(made[1] | {name: content}, tmp_path / "a")
            with pytest.raises(CheckpointError):
                MaskableRecurrentPPO.load(tmp_path / "a")


@pytest.mark.parametrize("name", ["ema.safetensors", "magnet.safetensors"])
def test_a_promised_file_that_is_missing(made, tmp_path, name):
    files = {key: content for key, content in made[1].items() if key != name}
    refused_when_saved(files, tmp_path / "a", f"speak of {name}, which is missing")
    alone = {key: x for key, x in agent_files(made[0]).items() if key != name}
    save_folder(alone, tmp_path / "alone")  # an agent that promises nothing
    load(tmp_path / "alone")


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
    assert json.loads(read(path)["agent.json"])["policy_class"] == "Mine"
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
    state = read_tensors(files["normalizer.safetensors"], "")
    if value is None:
        del state[name]
    else:
        state[name] = value if isinstance(value, torch.Tensor) else torch.full_like(state[name], value)
    files = files | {"normalizer.safetensors": tensor_bytes(state)}
    refused_when_saved(files, tmp_path / "a", "does not say how observations are scaled", (load,))


def test_what_a_game_shows_is_never_scaled(made, tmp_path):
    state = {f"observation.{part}": torch.ones(7, dtype=torch.float64) for part in ("mean", "var")}
    state |= {name: torch.tensor(1.0).double() for name in ("observation.count", "clip_obs", "epsilon")}
    files = made[1] | {"normalizer.safetensors": tensor_bytes(state)}
    refused_when_saved(files, tmp_path / "a", "says how observations are scaled, and a game's never are")


# ---------------------------------------------------------------- agents of a game's world at the game


@pytest.fixture(scope="module")
def crosses(tmp_path_factory):
    """A run in a world of phantom tic-tac-toe, saved as a file, too; not to be changed."""
    folder = tmp_path_factory.mktemp("crosses")
    config = tiny(
        folder, env=CROSSES, env_kwargs={"opponent": "bot", "seat": "alternate"}, normalize=False,
        total_timesteps=UPDATE,
    )  # fmt: skip
    run = train(config, say=quiet).run
    MaskableRecurrentPPO.load(run).save(folder / "agent.zip")
    return run


def test_an_agent_of_a_games_world_is_a_player_of_the_game(crosses):
    """The run and its checkpoints tell which game; of a file the spaces must fit the game that is asked."""
    game, file = envs.make("phantom_tictactoe"), crosses.parent / "agent.zip"
    for path in (crosses, crosses / "checkpoints" / "step_32"):
        assert load_player(path, None).game == load_player(path, game).game == game
    assert load_player(file, game).game == game
    assert isinstance(load_player(file, None).game, World)
    abrupt = envs.make("phantom_tictactoe", abrupt=True)  # the same spaces
    assert load_player(file, abrupt).game == abrupt
    with pytest.raises(ValueError, match=r"plays PhantomTicTacToe\(abrupt=False.* of Phantom.*\(abrupt=True"):
        load_player(crosses, abrupt)
    with pytest.raises(ValueError, match=r"plays World\(.*, expected an agent of KuhnPoker\(\)"):
        load_player(file, envs.make("kuhn_poker"))


def reconfigured(path, **changes):
    """A checkpoint says other things of its run's configuration; of nothing if there are none."""
    stored = read(path)
    training = stored.json("training.json")
    config = training.pop("config") | changes
    save_folder(
        stored | {"training.json": json_bytes(training | ({"config": config} if changes else {}))}, path
    )


def test_a_checkpoint_that_does_not_tell_its_world_plays_the_game_that_is_asked(crosses, tmp_path):
    """As those of early versions."""
    shutil.copytree(crosses, run := tmp_path / "run")
    game = envs.make("phantom_tictactoe")
    for changes in ({}, {"env": 7}, {"env_kwargs": [1]}, {"env": "Unknown-v0"}):
        shutil.copytree(crosses / "checkpoints", run / "checkpoints", dirs_exist_ok=True)
        reconfigured(run / "checkpoints" / "step_32", **changes)
        assert isinstance(load_player(run, None).game, World)
        assert load_player(run, game).game == game


def test_a_strangers_run_imports_nothing(crosses, tmp_path, monkeypatch):
    """It names a module on the path that would leave a file behind when it is imported."""
    run, game = tmp_path / "run", envs.make("phantom_tictactoe")
    shutil.copytree(crosses, run)
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    text = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(
        text.replace(f"env: {CROSSES}", f"env: trap:{CROSSES}"), encoding="utf-8"
    )
    assert f"env: trap:{CROSSES}" in (run / "config.yaml").read_text(encoding="utf-8")
    reconfigured(run / "checkpoints" / "step_32", env=f"trap:{CROSSES}")
    for path in (run, run / "checkpoints" / "step_32"):
        assert isinstance(load_player(path, None).game, World)  # which game, nobody knows
        assert load_player(path, game).game == game
    gymnasium.make(CROSSES, opponent=str(run)).reset(seed=1)
    agents.load(run)
    MaskableRecurrentPPO.load(run, device="cpu")
    assert not (tmp_path / "trace").exists()


def test_it_meets_others_and_sits_opposite(crosses):
    game = envs.make("phantom_tictactoe")
    agent = load_player(crosses, game)
    result = play_matches(game, agent, agents.fixed_player("random", game), 50)
    assert result.length.min() >= 5  # three marks against two: nobody lost by an illegal move
    env = gymnasium.make(CROSSES, opponent=str(crosses), seat=1)
    _, info = env.reset(seed=1)
    assert info["seat"] == 1
