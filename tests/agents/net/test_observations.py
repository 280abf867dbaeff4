"""What a world shows is looked at before a network sees it: codes, numbers, images the right way round."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy as stock_evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

import agents
import envs
from agents import MaskableRecurrentPPO
from agents.gym.episodes import play, player_of, seen_by
from agents.gym.evaluation import MaskableEvalCallback, evaluate_policy
from agents.net.observations import checks_of, turned
from agents.net.task import World

SMALL = {"lstm_hidden_size": 8, "features_dim": 8}


class Shown(gym.Env):
    """Shows what it is told to: `good` until the third step, then `bad`; episodes of five steps."""

    def __init__(self, space, good=None, bad=None, actions=None):
        self.observation_space, self.action_space = space, actions or spaces.Discrete(3)
        self.good, self.bad = good, bad

    def look(self):
        if self.good is None:
            return self.observation_space.sample()
        return self.bad if self.t == 3 and self.bad is not None else self.good

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.look(), {}

    def step(self, action):  # noqa: ARG002
        self.t += 1
        return self.look(), 1.0, self.t >= 5, False, {}


def model_of(env, **arguments):
    arguments = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0} | arguments
    return MaskableRecurrentPPO("MlpLstmPolicy", env, policy_kwargs=SMALL, **arguments)


def box(low, high, shape, dtype):
    return spaces.Box(low, high, shape, dtype)


BAD = {
    "code": (spaces.MultiDiscrete([3, 3]), [0, 0], [0, 3], r"integers in 0\.\.2, got 3 at \[1\]"),
    "negative code": (spaces.MultiDiscrete([3, 3]), [0, 0], [-1, 0], r"integers in 0\.\.2, got -1 at \[0\]"),
    "code of another slot": (
        spaces.MultiDiscrete([2, 9]),
        [0, 8],
        [8, 0],
        r"integers in 0\.\.1, got 8 at \[0\]",
    ),
    "half": (spaces.MultiDiscrete([3, 3]), [0, 0], [0.5, 0], r"integers in 0\.\.2, got 0\.5 at \[0\]"),
    "nan code": (spaces.MultiDiscrete([3, 3]), [0, 0], [np.nan, 0], r"integers in 0\.\.2, got nan at \[0\]"),
    "discrete": (spaces.Discrete(4), 0, 4, r"integers in 0\.\.3, got 4"),
    "bits": (spaces.MultiBinary(3), [0, 1, 0], [0, 2, 0], r"integers in 0\.\.1, got 2 at \[1\]"),
    "wraps around": (
        box(0, 255, (2,), np.uint8),
        [0, 255],
        [0, 256],
        r"integers in 0\.\.255, got 256 at \[1\]",
    ),
    "below": (box(0, 255, (2,), np.uint8), [0, 255], [-1, 0], r"integers in 0\.\.255, got -1 at \[0\]"),
    "beyond the Box": (box(0, 9, (2,), np.uint8), [0, 9], [0, 10], r"integers in 0\.\.9, got 10 at \[1\]"),
    "half in an integer Box": (box(0, 9, (2,), np.int64), [0, 9], [0, 1.5], r"got 1\.5 at \[1\]"),
    "nan": (box(-1, 1, (3,), np.float32), [0, 0, 0], [0, np.nan, 0], r"got NaN or infinity.*: nan at \[1\]"),
    "infinity": (
        box(-1, 1, (3,), np.float32),
        [0, 0, 0],
        [0, 0, -np.inf],
        r"NaN or infinity.*: -inf at \[2\]",
    ),
    "beyond float32": (
        box(-1e300, 1e300, (1,), np.float64),
        [0.0],
        [1e39],
        r"NaN or infinity.*: 1e\+39 at \[0\]",
    ),
    "words": (box(-1, 1, (1,), np.float32), [0.0], ["a"], r"expected numbers, got"),
}


@pytest.fixture(params=BAD)
def bad(request):
    """A space, a good and a bad observation of it, and what is said; alone and as an entry of a Dict."""
    return BAD[request.param]


def array(value):
    """As a world gives it: of what dtype it will."""
    return np.asarray(value)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_what_is_not_in_the_space_is_refused_in_training_predict_and_act(bad, tmp_path):
    space, good, wrong, told = bad
    good, wrong = np.asarray(good, space.dtype), array(wrong)

    class Passing(DummyVecEnv):
        """`DummyVecEnv` casts into its buffer; other vector environments hand on what the world gave."""

        def _save_obs(self, env_idx, obs):
            self.given = getattr(self, "given", {}) | {env_idx: obs}

        def _obs_from_buf(self):
            return np.stack([self.given[k] for k in range(self.num_envs)])

    worlds = Passing([lambda: Shown(space, good), lambda: Shown(space, good, wrong)])
    model = model_of(worlds, batch_size=32)
    with pytest.raises(ValueError, match=told) as error:
        model.learn(32)
    assert "world 1" in str(error.value) or wrong.dtype.kind == "U"
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=told):
        model.predict(wrong)
    with pytest.raises(ValueError, match=told):
        model.predict(np.stack([good.astype(wrong.dtype), wrong]))
    model.save(tmp_path / "agent.zip")
    agent, fresh = (agents.load(tmp_path / "agent.zip", deterministic=True) for _ in range(2))
    with pytest.raises(ValueError, match=told):
        agent.act(wrong)
    for _ in range(3):
        assert agent.act(good) == fresh.act(good)  # nothing was remembered of it
    for part, other in zip(agent.memory.cores, fresh.memory.cores, strict=True):
        assert torch.equal(part, other)


@pytest.mark.parametrize("name", [name for name in BAD if BAD[name][0].dtype.kind in "iu"])
def test_it_is_refused_before_a_buffer_wraps_it_around(name):
    """SB3's buffers are of the space's dtype: 256 would become 0, and 0.5 as well."""
    space, good, wrong, told = BAD[name]

    def worlds():
        return DummyVecEnv([lambda: Monitor(Shown(space, np.asarray(good, space.dtype), array(wrong)))])

    model = model_of(worlds())
    with pytest.raises(ValueError, match=told):
        model.learn(16)
    with pytest.raises(ValueError, match=told):
        evaluate_policy(model, worlds(), 1)
    model.set_env(worlds())
    with pytest.raises(ValueError, match=told):
        model.learn(16)


def test_an_entry_of_a_dict_is_named():
    space = spaces.Dict({"where": spaces.Discrete(4), "how": box(-1, 1, (2,), np.float32)})
    model = model_of(Shown(space))
    for wrong, told in (
        ({"where": 4, "how": [0, 0]}, r"expected integers in 0\.\.3 in the entry 'where', got 4"),
        ({"where": 0, "how": [0, np.nan]}, r"nan at \[1\] in the entry 'how'"),
    ):
        with pytest.raises(ValueError, match=told):
            model.predict(wrong)


def test_numbers_of_other_dtypes_that_fit_are_taken():
    """Lists, floats without a fraction, bools, wider integers."""
    world = World(spaces.MultiDiscrete([3, 3]), spaces.Discrete(2))
    for seen in ([2, 1], np.array([2.0, 1.0]), np.array([2, 1], np.int8), torch.tensor([2, 1])):
        packed, is_single = world.pack(seen)
        assert (packed.tolist(), is_single) == ([[2, 1]], True)
    packed, _ = World(spaces.MultiBinary(2), spaces.Discrete(2)).pack(np.array([[True, False]] * 2))
    assert packed.tolist() == [[1, 0], [1, 0]]


def test_a_float_beyond_its_bounds_is_taken_and_said_once(tmp_path):
    space = box(-1, 1, (2,), np.float32)
    model = model_of(Shown(space, np.array([0, 1], np.float32), np.array([0, 1.5], np.float32)))

    def learn_and_predict():
        model.learn(32)
        model.predict(np.array([0, 2], np.float32), episode_start=np.ones(1, bool))

    with pytest.warns(UserWarning, match=r"numbers in -1\.0\.\.1\.0, got 1\.5 at \[1\] in world 0") as told:
        learn_and_predict()
    assert len(told) == 1
    model.save(tmp_path / "agent.zip")
    agent = agents.load(tmp_path / "agent.zip")
    with pytest.warns(UserWarning, match=r"got 2\.0 at \[0\]") as told:
        [agent.act(np.array([2, 0], np.float32)) for _ in range(3)]
    assert len(told) == 1


def test_players_of_our_games_look_at_codes_too():
    """Kuhn shows codes of 4, 3, 3 and 3 values."""
    game = envs.make("kuhn_poker")
    assert game.observation_space.nvec.tolist() == [4, 3, 3, 3]
    for player in (agents.fixed_player("random", game), agents.fixed_player("bot", game)):
        player.act(np.array([3, 0, 0, 0]), [True, True], 0)
        for wrong, told in (
            ([4, 0, 0, 0], r"integers in 0\.\.3, got 4 at \[0\]"),
            ([0, 3, 0, 0], r"integers in 0\.\.2, got 3 at \[1\]"),
            ([0, np.nan, 0, 0], r"got nan at \[1\]"),
            ([0, 0, 0, 0.5], r"got 0\.5 at \[3\]"),
        ):
            with pytest.raises(ValueError, match=told):
                player.act(np.array(wrong), [True, True], 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_make_no_agent(make_model, value):
    model = make_model()
    with torch.no_grad():
        model.policy.value_head[-1].weight[0, 0] = value
    with pytest.raises(
        ValueError, match=r"expected weights that are numbers, value_head.* holds NaN or infinity"
    ):
        agents.Agent(model.policy, model.game)


def test_actions_that_are_no_numbers_are_refused():
    model = model_of(Shown(box(-1, 1, (2,), np.float32), actions=box(-1, 1, (1,), np.float32)))
    with torch.no_grad():
        model.policy.action_head[-1].bias[0] = np.nan
    with pytest.raises(ValueError, match="expected finite actions, the policy gave"):
        model.predict(np.zeros(2, np.float32), deterministic=True)


def test_of_a_space_without_bounds_only_finite_numbers_are_asked():
    (check,) = checks_of(box(-np.inf, np.inf, (2,), np.float32)).values()
    assert not check.is_bounded
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        World(box(-np.inf, np.inf, (2,), np.float32), spaces.Discrete(2)).pack(np.array([1e30, -1e30]))


# ---------------------------------------------------------------- images


IMAGE = box(0, 255, (36, 40, 3), np.uint8)


def test_an_image_is_turned_where_it_fits_only_then():
    learned = box(0, 255, (3, 36, 40), np.uint8)
    one = np.arange(36 * 40 * 3, dtype=np.uint32).reshape(36, 40, 3).astype(np.uint8)
    assert turned(learned, one).shape == (3, 36, 40)
    assert np.array_equal(turned(learned, one), one.transpose(2, 0, 1))
    assert np.array_equal(turned(learned, one[None])[0], one.transpose(2, 0, 1))
    first = one.transpose(2, 0, 1)
    assert turned(learned, first) is first
    cube = box(0, 255, (3, 3, 3), np.uint8)
    both = one.reshape(-1)[:27].reshape(3, 3, 3)
    assert np.array_equal(turned(cube, both), both)  # fits as it is
    planes = box(0, 1, (3, 36, 40), np.uint8)
    assert turned(planes, one).shape == (36, 40, 3)  # no image: SB3 turns none of these


@pytest.mark.parametrize(
    "space",
    [IMAGE, spaces.Dict({"camera": IMAGE, "speed": box(-1, 1, (2,), np.float32)})],
    ids=["Box", "Dict"],
)
def test_images_as_worlds_give_them_go_everywhere(space, tmp_path):
    """Training, `predict`, both `evaluate_policy`, both callbacks, `act`, episodes: the same decisions."""
    model = model_of(Shown(space))
    judges = [kind(DummyVecEnv([lambda: Monitor(Shown(space))]), n_eval_episodes=1, eval_freq=8, verbose=0)
              for kind in (EvalCallback, MaskableEvalCallback)]  # fmt: skip
    with pytest.warns(UserWarning, match="not of the same type"):  # as SB3 says of its own
        model.learn(16, judges)
    assert all(judge.last_mean_reward == 5.0 for judge in judges)
    for judge in (evaluate_policy, stock_evaluate_policy):
        assert judge(model, Monitor(Shown(space)), 2) == (5.0, 0.0)
        assert judge(model, VecTransposeImage(DummyVecEnv([lambda: Monitor(Shown(space))])), 2) == (5.0, 0.0)
    assert play(player_of(model, True, 0), DummyVecEnv([lambda: Monitor(Shown(space))] * 2), 2).mean == 5.0
    assert (
        play(player_of(model, True, 0), seen_by(model, DummyVecEnv([lambda: Monitor(Shown(space))])), 1).mean
        == 5.0
    )

    model.save(tmp_path / "agent.zip")
    one, two = (agents.load(tmp_path / "agent.zip", deterministic=True) for _ in range(2))
    start = {"episode_start": np.ones(2, bool), "deterministic": True}
    for player in (one, two):
        player.reset(2)
    seen = [space.sample() for _ in range(2)]

    def first(observation):
        if isinstance(observation, dict):
            return {key: first(entry) for key, entry in observation.items()}
        return observation.transpose(2, 0, 1) if observation.ndim == 3 else observation

    def stacked(observations):
        if isinstance(observations[0], dict):
            return {key: np.stack([entry[key] for entry in observations]) for key in observations[0]}
        return np.stack(observations)

    as_given, as_learned = stacked(seen), stacked([first(entry) for entry in seen])
    assert model.predict(as_given, **start)[0].tolist() == model.predict(as_learned, **start)[0].tolist()
    assert one.act(as_given).tolist() == two.act(as_learned).tolist()
    for part, other in zip(one.memory.cores, two.memory.cores, strict=True):
        assert torch.equal(part, other)
    one.reset(1)
    assert np.isscalar(one.act(seen[0])) or one.act(seen[0]).shape == ()


def test_channels_first_worlds_stay_as_they_are():
    space = box(0, 255, (3, 36, 40), np.uint8)
    model = model_of(Shown(space))
    model.learn(16)
    assert model.game.observation_space == space
    assert evaluate_policy(model, Monitor(Shown(space)), 1) == (5.0, 0.0)


def test_other_shapes_are_still_refused():
    model = model_of(Shown(IMAGE))
    with pytest.raises(
        ValueError, match=r"expected observations of shape \[B, \(3, 36, 40\)\], got \(40, 36, 3\)"
    ):
        model.predict(np.zeros((40, 36, 3), np.uint8))
