"""What a `VecNormalize` has learned belongs to the agent: it goes through files and to new worlds."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

import agents
from agents import MaskableRecurrentPPO

LARGE = spaces.Box(0, 1000, (3,), np.float32)


class Scales(gymnasium.Env):
    """Shows numbers around 500 for 5 steps."""

    def __init__(self, space=LARGE):
        self.observation_space, self.action_space = space, spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):  # noqa: ARG002
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t == 5, False, {}


def worlds(space=LARGE):
    return DummyVecEnv([lambda: Scales(space)])


def new(env):
    return MaskableRecurrentPPO(
        "MultiInputLstmPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0,
        policy_kwargs={"lstm_hidden_size": 8, "features_dim": 8},
    )  # fmt: skip


@pytest.fixture
def scaled(tmp_path):
    """A file of a model that has learned 64 steps behind a VecNormalize, and the mean it has seen."""
    env = VecNormalize(worlds())
    model = new(env)
    model.learn(64)
    model.save(tmp_path / "a.zip")
    return tmp_path / "a.zip", env.obs_rms.mean.copy()


def test_a_model_without_env_keeps_the_statistics(scaled, tmp_path):
    path, mean = scaled
    MaskableRecurrentPPO.load(path).save(tmp_path / "b.zip")
    MaskableRecurrentPPO.load(tmp_path / "b.zip").save(tmp_path / "c.zip")
    for name in ("a.zip", "b.zip", "c.zip"):
        scale = agents.load(tmp_path / name).scale
        assert np.allclose(scale.state["observation.mean"], mean)
        assert abs(mean - 500).max() < 150


@pytest.mark.parametrize("give", ["load", "set_env"])
def test_new_worlds_go_on_with_them(scaled, give):
    path, mean = scaled
    env = VecNormalize(worlds())
    model = MaskableRecurrentPPO.load(path, env if give == "load" else None)
    if give == "set_env":
        model.set_env(env)
    assert np.array_equal(env.obs_rms.mean, mean)
    assert env.obs_rms.count > 64
    model.learn(16)


def test_a_second_env_goes_on_with_the_first_ones_statistics():
    first, second = VecNormalize(worlds()), VecNormalize(worlds())
    model = new(first)
    model.learn(32)
    model.set_env(second)
    assert np.array_equal(first.obs_rms.mean, second.obs_rms.mean)


def test_a_plain_env_is_refused_where_numbers_were_scaled(scaled):
    path, _ = scaled
    told = "was trained with VecNormalize, the env has none: give VecNormalize"
    with pytest.raises(ValueError, match=told):
        MaskableRecurrentPPO.load(path, worlds())
    model = MaskableRecurrentPPO.load(path)
    with pytest.raises(ValueError, match=told):
        model.set_env(worlds())


def test_scaling_is_refused_where_numbers_were_plain(tmp_path):
    told = "was trained without VecNormalize, the env has one"
    model = new(worlds())
    model.learn(16)
    model.save(tmp_path / "plain.zip")
    with pytest.raises(ValueError, match=told):
        MaskableRecurrentPPO.load(tmp_path / "plain.zip", VecNormalize(worlds()))
    for each in (model, MaskableRecurrentPPO.load(tmp_path / "plain.zip")):
        with pytest.raises(ValueError, match=told):
            each.set_env(VecNormalize(worlds()))


class Doubled(VecEnvWrapper):
    """A stranger's wrapper; what it shows is not what the world below does."""

    def reset(self):
        return self.venv.reset() * 2

    def step_wait(self):
        seen, *rest = self.venv.step_wait()
        return seen * 2, *rest


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda v: VecNormalize(VecNormalize(v)), "expected one VecNormalize around the worlds, got 2"),
        (lambda v: VecFrameStack(VecNormalize(v), 2), r"expected VecNormalize\(VecFrameStack\(\.\.\.\)\)"),
        (lambda v: VecMonitor(VecFrameStack(VecNormalize(v), 2)), r"VecNormalize\(VecFrameStack\(\.\.\.\)\)"),
        (lambda v: Doubled(VecNormalize(v)), "got Doubled above a VecNormalize"),
    ],
)
def test_an_order_that_no_file_can_repeat_is_refused(wrap, told):
    with pytest.raises(ValueError, match=told):
        new(wrap(worlds()))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: VecNormalize(VecFrameStack(v, 2)),
        lambda v: VecMonitor(VecNormalize(v)),
        lambda v: VecCheckNan(VecNormalize(v)),
        lambda v: VecNormalize(v, norm_obs=False),
        lambda v: VecFrameStack(v, 2),
        lambda v: Doubled(v),
    ],
)
def test_the_agent_sees_what_the_model_saw(wrap, tmp_path):
    """The first observation of the wrapped worlds, taken apart: the agent scales the raw one to the same."""
    env = wrap(worlds())
    model = new(env)
    model.learn(32)
    model.save(tmp_path / "agent.zip")
    agent = agents.load(tmp_path / "agent.zip")
    scaling = model.get_vec_normalize_env()
    assert (agent.scale is None) == (scaling is None)
    if scaling is not None:
        raw = scaling.get_original_obs()
        assert np.array_equal(agent.scale(raw), scaling.normalize_obs(raw))
    agent.act(env.observation_space.sample())


def test_entries_of_a_dict_are_scaled_by_name(tmp_path):
    space = spaces.Dict({"far": LARGE, "card": spaces.Discrete(3)})
    env = VecNormalize(worlds(space), norm_obs_keys=["far"])
    model = new(env)
    model.learn(32)
    model.save(tmp_path / "agent.zip")
    again = VecNormalize(worlds(space), norm_obs_keys=["far"])
    MaskableRecurrentPPO.load(tmp_path / "agent.zip").set_env(again)
    assert np.array_equal(again.obs_rms["far"].mean, env.obs_rms["far"].mean)
    assert agents.load(tmp_path / "agent.zip").act(space.sample()) in (0, 1, 2)
