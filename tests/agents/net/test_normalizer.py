"""The statistics of a `VecNormalize` belong to the agent: kept, restored, never replaced unseen."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

import agents
from agents import MaskableRecurrentPPO as M
from agents.gym.episodes import seen_by
from agents.net import normalizer
from agents.net.encoders import pack
from agents.net.normalizer import Normalizer, state_of

BIG = spaces.Box(0, 1000, (3,), np.float32)
BOTH = spaces.Dict({"big": BIG, "small": spaces.Box(-1, 1, (2,), np.float32)})


class World(gym.Env):
    """Episodes of five steps with random observations."""

    def __init__(self, space=BIG):
        self.observation_space, self.action_space = space, spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):  # noqa: ARG002
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t >= 5, False, {}


def worlds(space=BIG):
    return DummyVecEnv([lambda: Monitor(World(space))])


def new(env, **arguments):
    arguments = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0} | arguments
    return M("MlpLstmPolicy", env, policy_kwargs={"lstm_hidden_size": 8, "features_dim": 8}, **arguments)


def learned(env):
    model = new(env)
    model.learn(32)
    return model


KINDS = {
    "Box": (BIG, {}),
    "one entry": (BOTH, {"norm_obs_keys": ["big"]}),
    "all entries": (BOTH, {"clip_obs": 3.0}),
    "rewards alone": (BIG, {"norm_obs": False}),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """A space, and how it is normalised."""
    return KINDS[request.param]


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_model_loaded_without_worlds_keeps_the_statistics(kind, tmp_path):
    space, how = kind
    model = learned(VecNormalize(worlds(space), **how))
    known = state_of(model.get_vec_normalize_env())
    model.save(tmp_path / "a.zip")
    M.load(tmp_path / "a.zip", device="cpu").save(tmp_path / "b.zip")
    M.load(tmp_path / "b.zip", device="cpu").save(tmp_path / "c.zip")
    seen = space.sample()
    expected = model.get_vec_normalize_env().normalize_obs(seen)
    for name in "abc":
        scale = agents.load(tmp_path / f"{name}.zip").scale
        assert same(known, scale.state)
        scaled = scale(seen)
        for key in space if isinstance(space, spaces.Dict) else [...]:
            np.testing.assert_array_equal(scaled[key], expected[key])


@pytest.mark.parametrize("how_given", ["set_env", "load", "set_env of a model that learns"])
def test_worlds_given_later_go_on_with_them(kind, tmp_path, how_given):
    space, how = kind
    how_new = {name: value for name, value in how.items() if name != "clip_obs"}
    model = learned(VecNormalize(worlds(space), **how))
    known = state_of(model.get_vec_normalize_env())
    model.save(tmp_path / "a.zip")
    fresh = VecNormalize(worlds(space), **how_new)
    if how_given == "load":
        model = M.load(tmp_path / "a.zip", fresh, device="cpu")
    elif how_given == "set_env":
        model = M.load(tmp_path / "a.zip", device="cpu")
        model.set_env(fresh)
    else:
        model.set_env(fresh)
    assert same(known, state_of(fresh))
    assert model.get_vec_normalize_env() is fresh
    model.learn(16, reset_num_timesteps=False)
    assert not same(known, state_of(fresh))  # and they go on


def test_worlds_of_the_other_kind_are_refused(tmp_path):
    scaled, plain = new(VecNormalize(worlds())), new(worlds())
    scaled.save(tmp_path / "scaled.zip")
    plain.save(tmp_path / "plain.zip")
    with_it = r"was trained with VecNormalize, the env has none: give it VecNormalize\(env\)"
    without = r"was trained without VecNormalize, the env has one: give it the env without"
    with pytest.raises(ValueError, match=with_it):
        scaled.set_env(worlds())
    with pytest.raises(ValueError, match=with_it):
        M.load(tmp_path / "scaled.zip", worlds(), device="cpu")
    with pytest.raises(ValueError, match=with_it):
        M.load(tmp_path / "scaled.zip", device="cpu").set_env(worlds())
    with pytest.raises(ValueError, match=without):
        plain.set_env(VecNormalize(worlds()))
    with pytest.raises(ValueError, match=without):
        M.load(tmp_path / "plain.zip", VecNormalize(worlds()), device="cpu")
    with pytest.raises(ValueError, match=without):
        M.load(tmp_path / "plain.zip", device="cpu").set_env(VecNormalize(worlds()))
    with pytest.raises(ValueError, match=r"the statistics are of \['observation', 'reward'\]"):
        scaled.set_env(VecNormalize(worlds(), norm_obs=False))
    scaled.set_env(VecNormalize(worlds()))
    plain.set_env(worlds())


class Unknown(VecEnvWrapper):
    """Twice what the world shows."""

    def reset(self):
        return 2 * self.venv.reset()

    def step_wait(self):
        observation, *rest = self.venv.step_wait()
        return 2 * observation, *rest


def test_what_the_agent_alone_could_not_repeat_is_refused():
    for env, told in (
        (VecNormalize(VecNormalize(worlds())), "expected one VecNormalize around the worlds, got two"),
        (VecNormalize(VecCheckNan(VecNormalize(worlds()))), "expected one VecNormalize"),
        (VecFrameStack(VecNormalize(worlds()), 2), r"put it inside: VecNormalize\(VecFrameStack\(env\)\)"),
        (VecExtractDictObs(VecNormalize(worlds(BOTH)), "big"), r"VecNormalize\(VecExtractDictObs\(env\)\)"),
        (VecCheckNan(Unknown(VecNormalize(worlds()))), r"VecNormalize\(Unknown\(env\)\)"),
        (VecNormalize(worlds(spaces.Box(0, 9, (2,), np.uint8))), "leave it out with norm_obs_keys"),
    ):
        with pytest.raises(ValueError, match=told):
            new(env)
    model = new(VecNormalize(worlds()))
    with pytest.raises(ValueError, match="expected one VecNormalize"):
        model.set_env(VecNormalize(VecNormalize(worlds())))


@pytest.mark.parametrize(
    "env",
    [
        lambda: VecNormalize(VecFrameStack(worlds(), 2)),
        lambda: VecCheckNan(VecNormalize(worlds())),
        lambda: VecNormalize(VecExtractDictObs(worlds(BOTH), "big")),
        lambda: VecNormalize(Unknown(worlds())),
        lambda: VecMonitor(VecNormalize(DummyVecEnv([World]))),
    ],
)
def test_what_it_can_repeat_trains_and_its_agent_sees_the_same_numbers(env, tmp_path):
    model = learned(env())
    model.save(tmp_path / "a.zip")
    agent, told = agents.load(tmp_path / "a.zip", deterministic=True), model.get_vec_normalize_env()
    raw = told.venv.reset()
    expected, _ = model.predict(told.normalize_obs(raw), episode_start=np.ones(1, bool), deterministic=True)
    np.testing.assert_array_equal(agent.act(raw), expected)


def test_worlds_to_be_judged_in_are_scaled_by_a_copy(kind):
    space, how = kind
    model = learned(VecNormalize(worlds(space), **how))
    own, judged = model.get_vec_normalize_env(), seen_by(model, worlds(space))
    known = state_of(own)
    scaled = judged if isinstance(judged, VecNormalize) else judged.venv
    assert same(known, state_of(scaled))
    own.clip_obs = scaled.clip_obs = 1.0
    model.learn(16, reset_num_timesteps=False)
    assert same(
        {k: x for k, x in known.items() if "." in k}, {k: x for k, x in state_of(scaled).items() if "." in k}
    )
    assert not scaled.training
    assert not scaled.norm_reward


def test_infinity_is_not_cut_to_the_clip(tmp_path):
    learned(VecNormalize(worlds())).save(tmp_path / "a.zip")
    agent = agents.load(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="got NaN or infinity"):
        agent.act(np.array([np.inf, 0, 0], np.float32))


def test_the_names_of_what_is_scaled():
    assert normalizer.scaled_entries(worlds()) == frozenset()
    assert normalizer.scaled_entries(VecNormalize(worlds())) == {""}
    assert normalizer.scaled_entries(VecNormalize(worlds(), norm_obs=False)) == frozenset()
    assert normalizer.scaled_entries(VecCheckNan(VecNormalize(worlds(BOTH), norm_obs_keys=["big"]))) == {
        "big"
    }


def test_statistics_of_a_dict_are_kept_entry_by_entry():
    class World(gym.Env):
        """Random numbers and a code."""

        observation_space = spaces.Dict({"a": spaces.Box(-9, 9, (2,)), "code": spaces.Discrete(3)})
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, **_):
            self.observation_space.seed(seed)
            return self.observation_space.sample(), {}

        def step(self, _):
            return self.observation_space.sample(), 2.0, False, False, {}

    def worlds():
        return VecNormalize(DummyVecEnv([World]), norm_obs_keys=["a"])

    learned, fresh = worlds(), worlds()
    learned.reset()
    for _ in range(9):
        learned.step(np.zeros(1, int))
    state = normalizer.state_of(learned)
    assert {name.rpartition(".")[0] for name in state} - {""} == {"reward", "observation/a"}
    normalizer.restore(fresh, state)
    assert fresh.obs_rms["a"].count == learned.obs_rms["a"].count
    raw = learned.get_original_obs()
    for scaled in (fresh.normalize_obs(raw), Normalizer(state)(raw)):
        np.testing.assert_array_equal(scaled["a"], learned.normalize_obs(raw)["a"])
        np.testing.assert_array_equal(scaled["code"], raw["code"])
    laid_out = [pack(World.observation_space, x) for x in (raw, learned.normalize_obs(raw))]
    packed_scale = Normalizer(state).module(World.observation_space)
    assert torch.equal(packed_scale(laid_out[0]), laid_out[1])
    with pytest.raises(ValueError, match=r"statistics are of \['observation/a', 'reward'\]"):
        normalizer.restore(VecNormalize(DummyVecEnv([World]), norm_obs=False), state)
