"""Sizes: what cannot fit is refused before memory is asked for, with what would fit."""

from __future__ import annotations

import re

import pytest

import envs
from agents.gym import training as world_training
from agents.gym.config import WorldConfig
from agents.run import sizes
from agents.run.config import CONFIGS, Config, read_config
from agents.run.selfplay import check_sizes, make_model
from agents.run.written import read_yaml
from envs import room

HUGE = 10**9


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch):
    """A machine with 4 GiB left, so that the numbers are the same everywhere."""
    for module in (room, sizes):
        monkeypatch.setattr(module, "room", lambda _: 4 * 2**30)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("matches: 1_000_000_000", "matches"),
        ("{matches: 1e9, algo: {batch_size: 32}}", "matches"),
        ("algo: {n_steps: 1000000000, batch_size: 1000000000}", "algo.n_steps"),
        ("policy: {lstm_hidden_size: 1000000}", "policy.lstm_hidden_size"),
        ("policy: {n_lstm_layers: 1024, lstm_hidden_size: 1024}", "policy.n_lstm_layers"),
        ("policy: {features_dim: 1000000000}", "policy.features_dim"),
        ("policy: {net_arch: [64, 1000000]}", "policy.net_arch"),
        ("eval: {matches_per_seat: 1000000000}", "eval.matches_per_seat"),
        ("eval: {final_matches_per_seat: 1000000000}", "eval.final_matches_per_seat"),
        ("{matches: 1e9, game: generals, policy: {spatial: true}}", "matches"),
    ],
)
def test_a_size_without_room_is_refused_and_what_would_fit_fits(tmp_path, text, key):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    config = read_config(path)
    with pytest.raises(ValueError, match=f"^{re.escape(key)} ") as caught:
        make_model(config)
    told = re.fullmatch(
        rf"{re.escape(key)} [\d,]+ needs at least [\d,.]+ GiB of memory, there are 4.0 GiB on cpu: "
        r"up to ([\d,]+) would fit",
        str(caught.value),
    )
    assert told is not None, caught.value
    *section, name = key.split(".")
    most = int(told[1].replace(",", ""))

    def with_value(value):
        part = {name: [64, value] if name == "net_arch" else value}
        values = read_yaml(text)
        (values.setdefault(section[0], {}) if section else values).update(part)
        path.write_text(str(values).replace("True", "true"), encoding="utf-8")
        return read_config(path)

    check_sizes(with_value(most), envs.make(config.game, **config.options))
    with pytest.raises(ValueError, match="would fit"):
        check_sizes(with_value(most + 1), envs.make(config.game, **config.options))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"n_envs": HUGE}, "n_envs"),
        ({"policy_kwargs": {"lstm_hidden_size": HUGE}}, "policy_kwargs.lstm_hidden_size"),
        ({"policy_kwargs": {"n_lstm_layers": HUGE}}, "policy_kwargs.n_lstm_layers"),
        ({"policy_kwargs": {"net_arch": {"pi": [HUGE], "vf": []}}}, "policy_kwargs.net_arch"),
    ],
)
def test_a_size_without_room_is_refused_in_worlds_too(change, key):
    with (
        pytest.raises(
            ValueError, match=rf"^{re.escape(key)} 1,000,000,000 needs at least .* up to [\d,]+ would fit"
        ),
        world_training.open_worlds(WorldConfig(**change)),
    ):
        pass


def test_every_shipped_configuration_has_room_on_a_small_machine():
    for path in CONFIGS.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if "env: " in text:
            config = read_config(path, WorldConfig)
            with world_training.make_world(config) as world:
                world_training.check_sizes(config, world)
        elif "game: " in text:  # the others learn from records, whose game is not known before
            check_sizes(config := read_config(path), envs.make(config.game, **config.options))


def test_the_estimate_of_the_weights_is_about_right():
    """Phantom tic-tac-toe, gated: the average and the magnet among six copies of 4 bytes a number."""
    model = make_model(Config(matches=32))
    counted = sum(p.numel() for p in model.policy.parameters()) * 4 * 6
    policy = {"cell": "gated", "lstm_hidden_size": 128, "n_lstm_layers": 1, "features_dim": 128}
    policy |= {"net_arch": [], "enable_critic_lstm": False}
    nothing = {"matches": 0, "n_steps": 0, "batch_size": 0}
    one = sizes.sizes_of(model.observation_space, 9, policy, **nothing)
    assert 0.7 * counted < one.needed < 1.3 * counted


def test_a_batch_without_room_is_refused():
    with pytest.raises(
        ValueError, match=r"kuhn_poker: matches 1,000,000,000 needs .* up to [\d,]+ would fit"
    ):
        envs.Batch(envs.make("kuhn_poker"), HUGE)
    with pytest.raises(ValueError, match=r"generals: matches 10,000,000 needs .* up to [\d,]+ would fit"):
        envs.Batch(envs.make("generals"), 10**7)
    assert envs.Batch(envs.make("kuhn_poker"), 8).matches == 8
