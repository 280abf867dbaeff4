"""The configuration of a run in a world: read as it is written, slips told, and known by its path."""

from __future__ import annotations

import pytest
from reading import refused_file

from agents.gym.config import WorldConfig, read_world
from agents.learn.schedules import Linear
from agents.run.config import (
    Config,
    read_config,
    write_config,
)


def test_what_is_written_of_a_world_reads_the_same(written):
    config = WorldConfig(
        env="module:World-v0",
        env_kwargs={"size": 3, "map": ["SF", "FG"]},
        algo="ppo",
        arguments={"learning_rate": Linear(1e-4), "normalize_advantage": False},
        policy_kwargs={"net_arch": {"pi": [8], "vf": []}},
    )
    assert read_config(written(write_config(config)), WorldConfig) == config
    assert read_config(written(""), WorldConfig) == WorldConfig()


def test_a_run_in_a_world_is_told_by_its_path(tmp_path):
    """Of the run and its checkpoints; not of runs by self-play and of files that lie elsewhere."""
    for name, config in (("world", WorldConfig(env="CartPole-v1", seed=7)), ("game", Config())):
        (tmp_path / name / "checkpoints" / "step_8").mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text(write_config(config), encoding="utf-8")
    for path in ("world", "world/checkpoints/step_8"):
        assert read_world(tmp_path / path) == WorldConfig(env="CartPole-v1", seed=7)
    for path in ("game", "game/checkpoints/step_8", "world/agent.zip", "world/checkpoints", "nowhere"):
        assert read_world(tmp_path / path) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("game: kuhn_poker", "unknown key 'game'; known are "),
        ("arguments: {lr: 1.0e-3}", "unknown key 'arguments.lr'; known are learning_rate"),
        (
            "algo: a2c",
            "algo must be Literal['maskable_recurrent_ppo', 'recurrent_ppo', 'maskable_ppo', 'ppo']",
        ),
        ("env: 3", "env must be str, got 3"),
        ("env_kwargs: 3", "env_kwargs must be dict"),
        ("n_envs: 0", "n_envs must be at least 1, got 0"),
        ("eval: {episodes: 1}", "eval.episodes must be at least 2, got 1"),
        ("eval: {final_episodes: 1}", "eval.final_episodes must be at least 2, got 1"),
        ("arguments: {magnet: north}", "arguments.magnet must be"),
    ],
)
def test_a_slip_about_a_world_is_told_in_one_line(written, text, told):
    refused_file(written(text), told, kind=WorldConfig)


KUHN = "fogbound/KuhnPoker-v0"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (WorldConfig(env="evil:Evil-v0"), "--uses evil:Evil-v0"),
        (WorldConfig(env="fogbound/KuhnPoker-v0", env_kwargs={"game": "evil:Game"}), "--uses evil:Game"),
        (
            WorldConfig(env="fogbound/KuhnPoker-v0", env_kwargs={"opponent": "evil:Player"}),
            "--uses evil:Player",
        ),
        (WorldConfig(policy_kwargs={"cell": "evil:Cell"}), "--uses evil:Cell"),
        (WorldConfig(algo="recurrent_ppo", policy_kwargs={"cell": "evil:Cell"}), "--uses evil:Cell"),
    ],
)
def test_a_strangers_run_in_a_world_imports_nothing(tmp_path, monkeypatch, config, told):
    """Whoever watches it says what it may import; evil.py lies in the current folder and on the path."""
    (tmp_path / "evil.py").write_text("open('done', 'w')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(write_config(config), encoding="utf-8")
    with pytest.raises(ValueError, match=told) as refusal:
        read_world(tmp_path / "run")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "done").exists()
