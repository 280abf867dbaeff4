"""Images as worlds give them, [H, W, C]: what training turns by itself, every other door turns, too."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy as stock_evaluate_policy

import agents
from agents import MaskableRecurrentPPO
from agents.evaluation import MaskableEvalCallback, evaluate_policy

IMAGE = spaces.Box(0, 255, (36, 40, 3), np.uint8)
SPACES = {"image": IMAGE, "dict": spaces.Dict(eye=IMAGE, place=spaces.Box(-1, 1, (2,), np.float32))}


class Gallery(gymnasium.Env):
    """Shows random pictures for 4 steps."""

    def __init__(self, space):
        self.observation_space, self.action_space = space, spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):  # noqa: ARG002
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t == 4, False, {}


def turned(observation):
    """[C, H, W], as the network takes it."""
    if isinstance(observation, dict):
        return observation | {"eye": turned(observation["eye"])}
    return np.moveaxis(observation, -1, -3)


@pytest.fixture(params=SPACES, scope="module")
def trained(request, tmp_path_factory):
    """A model that has learned for 16 steps, its file, and observations as its world gives them."""
    space = SPACES[request.param]
    model = MaskableRecurrentPPO(
        "CnnLstmPolicy", Gallery(space), n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0,
        policy_kwargs={"lstm_hidden_size": 8, "features_dim": 8},
    )  # fmt: skip
    model.learn(16)
    path = tmp_path_factory.mktemp("images") / "agent.zip"
    model.save(path)
    space.seed(1)
    return model, path, space


def stacked(seen):
    if isinstance(seen[0], dict):
        return {key: np.stack([one[key] for one in seen]) for key in seen[0]}
    return np.stack(seen)


def test_predict_sees_the_same_picture_either_way(trained):
    model, _, space = trained
    two = stacked([space.sample(), space.sample()])
    for seen in (space.sample(), two):
        starts = np.ones(1 if seen is not two else 2, bool)
        action, memory = model.predict(seen, episode_start=starts, deterministic=True)
        same, memory_too = model.predict(turned(seen), episode_start=starts, deterministic=True)
        assert np.array_equal(action, same)
        assert all((a == b).all() for a, b in zip(memory.cores, memory_too.cores, strict=True))


def test_an_agent_acts_on_the_worlds_own_pictures(trained):
    _, path, space = trained
    agent, other = (agents.load(path, deterministic=True) for _ in range(2))
    for _ in range(3):
        seen = space.sample()
        assert agent.act(seen) == other.act(turned(seen)) in (0, 1, 2)
    agent.reset(2)
    assert agent.act(stacked([space.sample(), space.sample()])).shape == (2,)


@pytest.mark.parametrize("evaluate", [evaluate_policy, stock_evaluate_policy])
@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_evaluation_takes_the_world_as_it_is(trained, evaluate):
    model, _, space = trained
    assert evaluate(model, Gallery(space), 3) == (4.0, 0.0)


@pytest.mark.parametrize("callback", [EvalCallback, MaskableEvalCallback])
@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_training_survives_its_first_evaluation(trained, callback):
    model, _, space = trained
    looks = callback(Gallery(space), eval_freq=8, n_eval_episodes=1, verbose=0)
    model.learn(16, looks)
    assert looks.last_mean_reward == 4.0


def test_another_shape_is_still_refused(trained):
    model, path, space = trained
    wrong = np.zeros((40, 36, 3), np.uint8)
    seen = wrong if space is IMAGE else space.sample() | {"eye": wrong}
    for ask in (model.predict, agents.load(path).act):
        with pytest.raises(ValueError, match=r"expected observations of shape"):
            ask(seen)
