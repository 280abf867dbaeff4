"""Settings: what each may be is refused or made plain before anything is trained."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from agents import MaskableRecurrentPPO
from agents.learn import settings
from agents.learn.saving import KEPT as ARGUMENTS
from agents.learn.schedules import Constant, Linear, Power
from agents.learn.settings import NAMES, Settings
from agents.net.policy import ACTIVATIONS, RecurrentPolicy
from agents.net.settings import SETTINGS, Network, check, plain
from agents.run.config import SELF_PLAY, SELF_PLAY_NETWORK, Config, read_config
from agents.run.sentences import sentences

KEPT = [SETTINGS[name] for name in ARGUMENTS if name != "magnet"]
NETWORK = {
    "lstm_hidden_size": (), "n_lstm_layers": (), "features_dim": (), "log_std_init": (), "spatial": (),
    "net_arch": (), "dropout": ("lstm_kwargs",), "forget_bias": ("lstm_kwargs",), "chrono": ("lstm_kwargs",),
}  # fmt: skip


def wrong_values(setting):
    """What no setting of this kind and range may be."""
    yield from ("0.1", [1], {}, 1 + 2j, b"1", torch.ones(2))
    if not setting.may_be_none:
        yield None
    if setting.kind == "truth":
        yield from (0, 1, 0.0)
    if setting.kind in ("truth", "choice"):
        return
    yield from (math.nan, math.inf, -math.inf, np.float32("nan"), True, False, np.bool_(True))
    if setting.kind == "whole":
        yield from (1.0, np.float64(16.0), 1.5)
    if setting.range.low > -math.inf:
        yield setting.range.low - 1
        if not setting.range.is_low_allowed:
            yield setting.range.low
    if setting.range.high < math.inf:
        yield setting.range.high * 2 + 1
        if not setting.range.is_high_allowed:
            yield setting.range.high


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_what_a_setting_cannot_be_is_refused_with_what_it_can(setting):
    for value in wrong_values(setting):
        with pytest.raises(ValueError, match=re.escape(f"{setting.name} must be {setting.allowed}, got")):
            check(setting.name, value)


@pytest.mark.parametrize("setting", KEPT, ids=lambda s: s.name)
def test_the_algorithm_refuses_it_at_construction(make_model, setting):
    """One wrong value of each kind; all others are `check`'s business."""
    for value in ("0.1", setting.range.low - 1 if setting.kind != "truth" else 2, math.nan):
        with pytest.raises(ValueError, match=f"^{setting.name} must be "):
            make_model(**{setting.name: value})


@pytest.mark.parametrize("name", NETWORK)
def test_so_does_the_network(make_model, name):
    for value in ("0.1", -1000, 1e6):
        where = {name: [value] if name == "net_arch" else value}
        for outer in NETWORK[name]:
            where = {outer: where, "n_lstm_layers": 2}
        if not (name == "chrono" and value == 1e6):
            with pytest.raises(ValueError, match=f"{name} must be "):
                make_model(policy_kwargs=where)


@pytest.mark.parametrize("kind", [Settings, Network])
def test_so_do_records(kind):
    fields = {field.name for field in dataclasses.fields(kind)} & set(SETTINGS)
    assert len(fields) > 10
    for name in fields:
        wrong = math.nan if SETTINGS[name].kind in ("number", "whole") else 2
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            kind(**{name: [wrong] if name == "net_arch" else wrong})


@pytest.mark.parametrize("text", ["algo: {clip_range: -0.2}", "policy: {lstm_kwargs: {dropout: 2.0}}"])
def test_so_does_a_file(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"run.yaml: [\w.]+\.(clip_range|dropout) must be "):
        read_config(tmp_path / "run.yaml")


# ---------------------------------------------------------------- one record


def parameters(function):
    """The arguments that a function has defaults for."""
    found = inspect.signature(function).parameters
    return {name: p.default for name, p in found.items() if p.default is not p.empty}


def test_the_algorithm_takes_the_record_s_settings_with_its_defaults():
    """SB3's users and `inspect` see a signature; what it says is the record's."""
    told = parameters(MaskableRecurrentPPO.__init__)
    assert {name: told[name] for name in NAMES} == vars(Settings())
    beside = {
        "use_sde",
        "sde_sample_freq",
        "tensorboard_log",
        "policy_kwargs",
        "verbose",
        "device",
        "opposition",
    }
    assert set(told) - set(NAMES) - beside == {
        "stats_window_size",
        "snapshot_every",
        "cuda_graph",
        "seed",
        "_init_setup_model",
    }


def test_so_does_the_policy():
    told = {name: x or (() if x is None else x) for name, x in parameters(RecurrentPolicy.__init__).items()}
    del told["seats"]
    record = {name: x if x != {} and x != [] else () for name, x in vars(Network()).items()}
    assert told == record
    assert SETTINGS["activation_fn"].choices == tuple(ACTIVATIONS)


def test_self_play_begins_with_other_settings_that_are_named_in_one_place():
    told = {name for name, x in vars(SELF_PLAY).items() if x != getattr(Settings(), name)}
    assert told == {
        "learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "ent_coef", "ema_decay",
    }  # fmt: skip
    told = {name for name, x in vars(SELF_PLAY_NETWORK).items() if x != getattr(Network(), name)}
    assert told == {"lstm_hidden_size", "shared_lstm", "enable_critic_lstm"}
    assert (Config().algo, Config().policy) == (SELF_PLAY, SELF_PLAY_NETWORK)


@pytest.mark.parametrize("kind", [Settings, Network])
def test_every_setting_says_what_it_does_and_more(kind):
    told = sentences(kind)
    for field in dataclasses.fields(kind):
        assert told[field.name].count(". ") >= 1, field.name


def test_a_model_tells_its_settings_as_they_stand(make_model):
    model = make_model(ent_coef=Linear(0.5), magnet="snapshot", batch_size=None)
    assert (model.settings.ent_coef, model.settings.magnet) == (Linear(0.5), "snapshot")
    assert model.settings.batch_size == 64  # 8 matches x 8 steps
    moment = model.settings.at(0.5)
    assert (moment.ent_coef, moment.learning_rate, moment.clip_range_vf) == (0.25, 3e-4, None)


# ---------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", [s.name for s in SETTINGS.values() if s.may_change])
def test_a_schedule_is_looked_at_at_its_beginning_middle_and_end(name):
    """One that leaves the range at any of the three, is no number there, or fails."""
    for progress in settings.PROBES:
        for wrong in (-1.0, math.nan, math.inf, "0.1", None, True):
            schedule = lambda p, at=progress, wrong=wrong: wrong if p == at else 0.5  # noqa: E731
            told = rf"{name} must be .*, got {re.escape(repr(wrong))} of its schedule where {progress} of the"
            with pytest.raises(ValueError, match=told):
                check(name, schedule)
    with pytest.raises(ValueError, match=f"{name}: its schedule fails where 0.5 of the run remain"):
        check(name, Power(0.1, span=-2.0))  # divides by 0 there
    with pytest.raises(ValueError, match=f"{name}: exponent of its schedule must be a finite number"):
        check(name, Power(0.1, exponent="2"))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("n_steps", np.int64(16), 16),
        ("n_steps", torch.tensor(16), 16),
        ("n_steps", np.array(16), 16),
        ("learning_rate", np.float32(0.25), 0.25),
        ("learning_rate", torch.tensor(0.25), 0.25),
        ("learning_rate", 0, 0),
        ("normalize_advantage", np.bool_(False), False),
        ("seed", np.uint32(7), 7),
        ("target_kl", None, None),
        ("clip_range", Linear(np.float32(0.25)), Linear(0.25)),
        ("ent_coef", Power(torch.tensor(0.5), np.float64(0.5), np.int32(10)), Power(0.5, 0.5, 10)),
        ("kl_coef", Constant(np.float16(0.5)), Constant(0.5)),
    ],
)
def test_scalars_of_other_libraries_become_pythons_own(name, value, kept):
    got = check(name, value)
    assert got == kept
    assert type(got) is type(kept)
    json.dumps(dataclasses.asdict(got) if callable(got) else got)


def test_a_model_made_of_other_libraries_scalars_is_saved_and_loaded(make_model, tmp_path):
    model = make_model(
        policy_kwargs={
            "lstm_hidden_size": np.int64(8), "net_arch": {"pi": [np.int32(4)], "vf": np.array([4])},
            "lstm_kwargs": {"forget_bias": np.float32(0.5)}, "log_std_init": torch.tensor(0.5),
        },
        learning_rate=np.float32(1e-3), n_steps=np.int64(8), batch_size=np.uint8(32),
        n_epochs=torch.tensor(1),
        gamma=np.float64(1.0), clip_range=Linear(np.float32(0.25)),
        seed=np.int64(3), ema_decay=np.float32(0.5),
        stats_window_size=np.int16(7), tensorboard_log=None,
    ).learn(np.int64(64))  # fmt: skip
    model.save(path := tmp_path / "model.zip")
    loaded = MaskableRecurrentPPO.load(path, device="cpu")
    assert (loaded.n_steps, loaded.batch_size, loaded.seed, loaded.num_timesteps) == (8, 32, 3, 64)
    assert loaded.policy_kwargs["net_arch"] == {"pi": [4], "vf": [4]}
    assert loaded.clip_range == Linear(0.25)
    loaded.learn(64, reset_num_timesteps=False)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": {"b": [1, object()]}}, "x.a.b[1] must be what a JSON file holds"),
        ({"a": math.nan}, "x.a must be what a JSON file holds (finite numbers"),
        ({"a": torch.nn.ReLU}, "x.a must be what a JSON file holds"),
        ({1: 2}, "x: expected text as keys, got 1"),
        ({"a": Fraction(1, 2)}, "x.a must be what"),
        ({"a": b"c"}, "x.a must be what"),
        ({"a": {1, 2}}, "x.a must be what"),
        ({"a": lambda: 0}, "x.a must be what"),
    ],
)
def test_what_json_cannot_hold_is_named(value, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        plain(value, "x")


def test_policy_kwargs_that_no_file_can_hold_are_refused_at_construction(make_model):
    with pytest.raises(ValueError, match=r"^policy_kwargs\.lstm_kwargs\.forget_bias must be what a JSON"):
        make_model(policy_kwargs={"lstm_kwargs": {"forget_bias": lambda: 1.0}})


def test_settings_changed_afterwards_are_checked_when_learning_begins(make_model):
    model = make_model()
    model.gamma = 99
    with pytest.raises(ValueError, match=r"gamma must be a finite number in 0\.\.1, got 99"):
        model.learn(64)
    model.gamma = np.float32(0.5)
    assert type(model.learn(64).gamma) is float
