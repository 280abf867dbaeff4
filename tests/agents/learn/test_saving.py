"""A saved model goes on bit for bit; what its file says of training is checked, and may be changed."""

from __future__ import annotations

import functools
import io
import json
import pathlib

import numpy as np
import pytest
import torch
from listed import small
from models import SMALL, World, model_of, saved, weights_of
from saved import (
    KUHN,
    TICTACTOE,
    TRAIN,
    agent_files,
    refused,
    refused_when_saved,
    same,
    stated,
    told,
    weights,
)

import envs
from agents import MaskableRecurrentPPO, Opposition, RecurrentPolicy, fixed_player, load
from agents.files import CheckpointError, read_tensors, save_folder, tensor_bytes
from agents.learn.saving import KEPT
from agents.play.players import Agent

# ---------------------------------------------------------------- there and back


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


def test_a_model_that_has_not_learned_comes_back(make_model, tmp_path):
    model = make_model(KUHN, 4, n_steps=4, batch_size=8)
    model.batch.reset(5)
    model.save(tmp_path / "a.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a.zip", device="cpu")
    assert (loaded.batch.seed, loaded.batch.matches, loaded.collector) == (5, 4, None)


def test_a_loaded_model_keeps_its_arguments(model, tmp_path):
    model.save(tmp_path / "model.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "model.zip", device="cpu")
    for name in ({*KEPT} - {"magnet"}) | {"magnet_kind", "policy_kwargs"}:
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


def test_a_file_of_what_is_no_number_is_not_written(make_model, tmp_path):
    model = make_model(ema_decay=0.9).learn(64)
    model.save(tmp_path / "agent.zip")
    before = (tmp_path / "agent.zip").read_bytes()
    with torch.no_grad():
        next(iter(model.ema.parameters())).fill_(np.nan)
    with pytest.raises(FloatingPointError, match=r"agent.zip: is not saved, .* of ema"):
        model.save(tmp_path / "agent.zip")
    assert (tmp_path / "agent.zip").read_bytes() == before


# ---------------------------------------------------------------- code


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


# ---------------------------------------------------------------- training.json


@pytest.mark.parametrize(
    ("name", "value"), [("gamma", 99.0), ("n_steps", -8), ("clip_range", "0.2"), ("gae_lambda", True)]
)
def test_a_file_with_settings_out_of_range_is_refused(files, tmp_path, name, value):
    training = json.loads(files["training.json"])
    training["arguments"][name] = value
    save_folder(files | {"training.json": json.dumps(training).encode()}, tmp_path / "agent")
    refused(tmp_path / "agent", match=f"{name} must be", reader=MaskableRecurrentPPO.load)


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
    refused_when_saved(
        told(made[1], "training.json", arguments=arguments), tmp_path / "a", "training.json does not fit"
    )


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
        refused_when_saved(files, tmp_path / "a", message, TRAIN, device="cpu")


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
    refused_when_saved(
        stated(made[1], **changed), tmp_path / "a", "training state does not fit", TRAIN, device="cpu"
    )


def test_a_training_state_that_lacks_something_is_refused(files, tmp_path):
    save_folder(files | {"training.safetensors": tensor_bytes({"x": torch.zeros(1)})}, tmp_path / "agent")
    load(tmp_path / "agent")
    refused(tmp_path / "agent", match="training state does not fit", reader=MaskableRecurrentPPO.load)


def test_matches_that_the_file_cannot_tell_begin_anew(made, tmp_path):
    """As in files of earlier versions: raw records, of which nothing is looked at; the past selves stay."""
    state = read_tensors(made[1]["training.safetensors"], "")
    old = {n: x for n, x in state.items() if not n.startswith(("batch.", "opposition.", "ema_steps"))}
    old |= {f"collector.{n}": x for n, x in state.items() if n.startswith("opposition.")}
    old |= {"collector.batch._seed": torch.tensor([77]), "collector.batch._states": torch.zeros(4, 9)}
    save_folder(made[1] | {"training.safetensors": tensor_bytes(old)}, tmp_path / "a")
    with pytest.warns(UserWarning, match="so they begin anew"):
        loaded = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu")
    assert (loaded.collector, loaded.batch.seed, loaded.ema_steps) == (None, 77, 2)
    assert loaded.opposition.pool == made[0].opposition.pool == [1]
    loaded.learn(28, reset_num_timesteps=False)


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


# ---------------------------------------------------------------- averages and magnets


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


def test_the_average_goes_on_where_it_was(made, tmp_path):
    save_folder(made[1], tmp_path / "a")
    loaded = MaskableRecurrentPPO.load(tmp_path / "a", device="cpu")
    assert loaded.ema_steps == made[0].ema_steps == 2
    assert same(loaded.ema, made[0].ema)


# ---------------------------------------------------------------- what is changed at loading


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


def test_an_argument_that_does_not_exist_is_the_callers(made, tmp_path):
    save_folder(made[1], tmp_path / "a")
    with pytest.raises(TypeError, match="load has no argument 'gama'; known are gamma, "):
        MaskableRecurrentPPO.load(tmp_path / "a", gama=0.5)


# ---------------------------------------------------------------- load, save and parameters as SB3 has them


def test_load_keeps_what_is_told_of_training(tmp_path, capsys):
    model = model_of(tensorboard_log=tmp_path / "tb", verbose=1, stats_window_size=7)
    loaded = MaskableRecurrentPPO.load(saved(model), World())
    assert (loaded.tensorboard_log, loaded.verbose) == (str(tmp_path / "tb"), 1)
    assert loaded.learn(8).ep_info_buffer.maxlen == 7
    assert list((tmp_path / "tb").rglob("events.out.tfevents.*"))
    other = MaskableRecurrentPPO.load(saved(model), verbose=0, tensorboard_log=None, stats_window_size=9)
    assert (other.tensorboard_log, other.verbose, other._stats_window_size) == (None, 0, 9)
    capsys.readouterr()


def test_load_takes_what_sb3s_takes(capsys):
    file = saved(model_of())
    code = {"learning_rate": 0.25, "lr_schedule": lambda _: 0.5, "clip_range": 0.125}
    loaded = MaskableRecurrentPPO.load(
        file, World(), "cpu", custom_objects=code, print_system_info=True, force_reset=True, n_epochs=2
    )
    assert (loaded.learning_rate, loaded.clip_range, loaded.n_epochs) == (0.25, 0.125, 2)
    told = capsys.readouterr().out
    assert "== CURRENT SYSTEM INFO ==" in told
    assert "- format: fogbound checkpoint 1" in told
    with pytest.warns(UserWarning, match="learning_rate is code"):
        MaskableRecurrentPPO.load(file, custom_objects={"lr_schedule": lambda _: 0.5})
    same = SMALL | {"activation_fn": torch.nn.ReLU}
    relu = saved(model_of(policy_kwargs=same))
    assert MaskableRecurrentPPO.load(relu, policy_kwargs=same).policy_kwargs["activation_fn"] == "relu"
    with pytest.raises(ValueError, match=r"its policy_kwargs are .*, got .*; leave them out"):
        MaskableRecurrentPPO.load(relu, policy_kwargs={"cell": "gru"})


@pytest.mark.parametrize("name", ["learning_rat", "n_step", "n_envs", "_init_setup_model", "whatever"])
@pytest.mark.parametrize("how", [dict, lambda **changes: {"custom_objects": changes}])
def test_an_argument_that_does_not_exist_is_named(name, how):
    with pytest.raises(TypeError, match=rf"^load has no argument '{name}'; known are ") as told:
        MaskableRecurrentPPO.load(saved(model_of()), **how(**{name: 1}))
    if name == "learning_rat":
        assert "known are learning_rate," in str(told.value)


@pytest.mark.parametrize(
    "change", [{"gamma": 99}, {"n_steps": 0}, {"clip_range": -0.2}, {"learning_rate": "x"}]
)
def test_a_wrong_change_at_loading_does_not_blame_the_file(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"^{name} must be ") as told:
        MaskableRecurrentPPO.load(saved(model_of()), **change)
    assert not isinstance(told.value, CheckpointError)


@pytest.mark.parametrize("names", [{"exclude": ["policy"]}, {"include": ["env", "logger"]}])
def test_save_neither_leaves_out_nor_adds(names):
    with pytest.raises(
        ValueError, match=r"save cannot (exclude|include) .*: a file holds all that is needed"
    ):
        model_of().save(io.BytesIO(), **names)
    model_of().save(io.BytesIO(), exclude=None, include=[])


def test_parameters_come_from_a_file_or_a_dict(tmp_path):
    one, two = model_of(ema_decay=0.5).learn(16), model_of(ema_decay=0.5, seed=2)
    one.save(tmp_path / "one.1")
    for source in (tmp_path / "one.1", str(tmp_path / "one.1.zip"), saved(one), one.get_parameters()):
        two = model_of(ema_decay=0.5, seed=2)
        two.set_parameters(source)
        for a, b in ((one.policy, two.policy), (one.ema, two.ema)):
            assert torch.equal(weights_of(a), weights_of(b))
        moments = [m.optimizer.state_dict()["state"][0]["exp_avg"] for m in (one, two)]
        assert torch.equal(*moments)
        two.learn(8)
    alone = model_of(ema_decay=0.5, seed=2)
    alone.set_parameters({"policy": one.policy.state_dict()})  # what plays is what was given
    assert torch.equal(weights_of(alone.ema), weights_of(one.policy))


def test_parameters_that_do_not_fit_are_named_and_change_nothing():
    model = model_of()
    before, good = weights_of(model.policy), model.get_parameters()["policy"]
    less = dict(list(good.items())[1:])
    for given, said in (
        ({"polcy": good}, "no parameters 'polcy'; known are policy"),
        ({}, "expected the parameters of policy, got none"),
        ({"policy": less}, "policy: 1 of its tensors differ"),
        ({"policy": {k: x[..., :1] for k, x in good.items()}}, "of its tensors differ: expected"),
        ({"policy": 3}, "policy: expected its tensors by name, got int"),
    ):
        with pytest.raises(ValueError, match=said):
            model.set_parameters(given)
        assert torch.equal(weights_of(model.policy), before)
    model.set_parameters({"policy": {k: x + 1 for k, x in less.items()}}, exact_match=False)
    assert not torch.equal(weights_of(model.policy), before)
    model.set_parameters({}, exact_match=False)


def test_pathlib_and_text_name_the_same_file(tmp_path):
    model_of().save(pathlib.Path(tmp_path) / "a")
    assert isinstance(MaskableRecurrentPPO.load(f"{tmp_path}/a").policy, RecurrentPolicy)


def test_saved_and_loaded_it_predicts_the_same(make_model, tmp_path):
    model = make_model()
    model.learn(64)
    model.save(tmp_path / "kuhn")
    loaded = MaskableRecurrentPPO.load(tmp_path / "kuhn", device="cpu")
    seen = np.array([[1, 0, 0, 0], [3, 1, 0, 0]], np.uint8)
    for deterministic in (True, False):
        first = {"episode_start": np.ones(2, bool), "deterministic": deterministic, "seat": [1, 0]}
        one, two = (m.predict(seen, **first)[0].tolist() for m in (model, loaded))
        assert one == two
