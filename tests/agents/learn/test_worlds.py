"""MaskableRecurrentPPO on Gymnasium worlds: spaces, masks, time limits, SB3's callbacks and files."""

from __future__ import annotations

import re
import warnings
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import (
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

import agents
from agents import MaskableRecurrentPPO
from agents.gym.evaluation import MaskableEvalCallback
from agents.gym.evaluation import evaluate_policy as evaluate_with_masks
from agents.learn.rollout import Collector
from agents.learn.worlds import VecWorld
from agents.net.task import World

SMALL = {"lstm_hidden_size": 8, "features_dim": 8}
DICT = spaces.Dict({
    "card": spaces.Discrete(3),
    "slots": spaces.MultiDiscrete([2, 4]),
    "bits": spaces.MultiBinary(3),
    "numbers": spaces.Box(-1, 1, (2,), np.float32),
    "planes": spaces.Box(0, 5, (1, 3, 3), np.int8),
})  # fmt: skip
OBSERVATIONS = [*DICT.spaces.values(), DICT, spaces.Box(0, 255, (3, 36, 36), np.uint8)]
ACTIONS = [spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.Box(-0.5, 0.5, (2,), np.float32)]


class Anything(gymnasium.Env):
    """Random observations, a reward of 1 a step, episodes of `length` steps, ended or cut off."""

    def __init__(self, observation_space=ACTIONS[0], action_space=ACTIONS[0], length=5, is_cut=False):
        self.observation_space, self.action_space = observation_space, action_space
        self.length, self.is_cut, self.t = length, is_cut, 0

    def reset(self, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        is_over = self.t >= self.length
        return self.observation_space.sample(), 1.0, is_over and not self.is_cut, is_over and self.is_cut, {}


class Masked(Anything):
    """Half of the actions are illegal, others each step; an illegal action raises."""

    def __init__(self, action_space=ACTIONS[0], length=20):
        super().__init__(spaces.Box(0, 1, (2,), np.float32), action_space, length)
        self.sizes = action_space.nvec if isinstance(action_space, spaces.MultiDiscrete) else [action_space.n]

    def action_masks(self):
        masks = []
        for k, n in enumerate(self.sizes):
            mask = (np.arange(n) + self.t + k) % 2 == 0
            masks.append(mask if mask.any() else ~mask)
        return np.concatenate(masks)

    def step(self, action):
        starts = np.cumsum([0, *self.sizes])[:-1]
        assert self.action_masks()[starts + np.atleast_1d(action)].all(), "an illegal action"
        return super().step(action)


class Kept(KVWriter):
    """Keeps what a logger wrote last."""

    def write(self, key_values, key_excluded, step=0):  # noqa: ARG002
        self.values = dict(key_values)


def model_of(env, **arguments):
    kwargs = SMALL | arguments.pop("policy_kwargs", {})
    arguments = {"n_steps": 8, "batch_size": 8, "n_epochs": 2, "seed": 1, "device": "cpu"} | arguments
    model = MaskableRecurrentPPO("MlpLstmPolicy", env, policy_kwargs=kwargs, **arguments)
    if model.tensorboard_log is None:
        model.kept = Kept()
        model.set_logger(Logger(None, [model.kept]))
    return model


# ---------------------------------------------------------------- spaces


@pytest.mark.parametrize("action_space", ACTIONS, ids=str)
@pytest.mark.parametrize("observation_space", OBSERVATIONS, ids=lambda space: str(space)[:30])
def test_it_learns_with_every_space(observation_space, action_space):
    """Two updates; before the first, play and replay agree to 1e-5."""
    model = model_of(make_vec_env(lambda: Anything(observation_space, action_space), 2), batch_size=16)
    model.learn(32)
    assert model.num_timesteps == 32
    assert 0.0 < model.kept.values["train/replay_drift"] < 1e-5
    seen = np.stack if not isinstance(observation_space, spaces.Dict) else None
    one = observation_space.sample()
    action, state = model.predict(one, episode_start=np.ones(1, bool))
    assert action_space.contains(action if action_space.shape else int(action))
    many = seen([one, one]) if seen else {key: np.stack([entry, entry]) for key, entry in one.items()}
    actions, _ = model.predict(many, episode_start=np.ones(2, bool), deterministic=True)
    assert actions.shape == (2, *action_space.shape)
    assert len(state.cores) == len(model.policy.initial_memory(1).cores)


@pytest.mark.parametrize("cell", agents.CELLS)
def test_replay_parity_with_resets_and_masks(cell):
    env = make_vec_env(lambda: Masked(length=3), 4)
    model = model_of(env, policy_kwargs={"cell": cell, "n_lstm_layers": 2})
    model.learn(32)
    drift = model.kept.values["train/replay_drift"]
    assert (
        0.0 <= drift < 1e-5
    )  # above 0 by encoder and heads alone: cells make the same sums in the same order


def test_box_actions_are_played_within_their_bounds():
    model = model_of(Anything(action_space=ACTIONS[2]), policy_kwargs={"log_std_init": 3.0})
    model.learn(16)  # `Anything` refuses what lies outside
    assert model.rollout.action.abs().max() > 0.5  # what was drawn is kept as it was drawn


@pytest.mark.parametrize("space", [spaces.MultiBinary(3), spaces.Tuple([spaces.Discrete(2)])])
def test_an_unsupported_action_space_is_told_in_one_line(space):
    told = f"no distribution for the action space {space}; known are Box, and Discrete and MultiDiscrete"
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        model_of(Anything(spaces.Discrete(2), space))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(32), spaces.Discrete(2)]),
        spaces.Dict(hand=spaces.Dict(card=spaces.Discrete(3))),
        spaces.Dict(hand=spaces.Tuple([spaces.Discrete(3)]), money=spaces.Discrete(2)),
        spaces.Dict(),
        spaces.Text(3),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]),
        spaces.Discrete(3, start=1),
        spaces.MultiDiscrete([2, 3], start=[0, 1]),
        spaces.MultiDiscrete([[2, 3], [4, 5]]),
        spaces.Box(0, 1, (2, 0)),
    ],
    ids=lambda space: str(space)[:40],
)
@pytest.mark.parametrize("make", [lambda env: env, lambda env: gymnasium.wrappers.TimeLimit(env, 3)])
def test_an_unsupported_observation_space_is_told_with_those_that_are_known(space, make):
    with pytest.raises(ValueError, match="the observation space ") as caught:
        model_of(make(Anything(space)))
    assert str(caught.value) == (
        f"the observation space {' '.join(str(space).split())} is not supported; known are Box, MultiBinary, "
        "Discrete and MultiDiscrete (one row) that begin at 0, and a Dict of these, not nested"
    )


def test_an_activation_may_be_given_as_a_class(tmp_path):
    """As SB3 takes it; the file holds its name."""
    model = model_of(Anything(), policy_kwargs={"activation_fn": torch.nn.ReLU, "net_arch": [4]})
    assert any(isinstance(layer, torch.nn.ReLU) for layer in model.policy.modules())
    model.save(tmp_path / "agent.zip")
    assert MaskableRecurrentPPO.load(tmp_path / "agent.zip").policy_kwargs["activation_fn"] == "relu"
    with pytest.raises(ValueError, match=r"unknown activation_fn .*ELU.*; known are tanh, relu, silu"):
        model_of(Anything(), policy_kwargs={"activation_fn": torch.nn.ELU})


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("action_space", ACTIONS[:2], ids=str)
@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
def test_masks_are_found_and_kept(action_space, kind):
    """Also through wrappers and in other processes; `Masked` raises at an illegal action."""
    env = kind([lambda: Monitor(Masked(action_space))] * 2)
    model = model_of(env)
    model.learn(64)
    assert 0.0 < model.rollout.legal.float().mean() < 1.0
    env.close()


@pytest.mark.parametrize("decisions", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_illegal_action_in_so_many_decisions(decisions):
    model = model_of(make_vec_env(lambda: Masked(spaces.Discrete(7)), 64), n_steps=64, batch_size=4096)
    model.learn(decisions)
    assert model.num_timesteps >= decisions


def test_a_mask_of_a_wrong_length_or_without_an_action_is_refused():
    class Wrong(Masked):
        def action_masks(self):
            return np.zeros(self.wrong, bool)

    for wrong, told in ((5, r"expected masks of shape \(1, 3\) by action_masks\(\), got \(1, 5\)"),
                        (3, "the mask of row 0 allows no action")):  # fmt: skip
        Wrong.wrong = wrong
        with pytest.raises(ValueError, match=told):
            model_of(Wrong()).learn(8)


@pytest.mark.parametrize(("dtype", "wrong"), [(float, np.nan), (float, 0.5), (np.int64, 2), (np.int8, -1)])
def test_masks_of_numbers_are_0_and_1(dtype, wrong):
    """A world may tell its mask in numbers; others than 0 and 1, NaN among them, allow nothing by mistake."""

    class Numbers(Masked):
        def action_masks(self):
            return np.array([1, 0, self.last], dtype)

    Numbers.last = 1
    model = model_of(Numbers(spaces.Discrete(3)))
    model.lanes.reset()
    assert model.lanes.legal.tolist() == [[True, False, True]]
    Numbers.last = wrong
    told = rf"expected masks by action_masks\(\) of True and False, got {wrong}.*; 0 and 1 stand for them$"
    with pytest.raises(ValueError, match=told):
        model.lanes.reset()


def test_predict_keeps_to_the_mask_it_is_given():
    model = model_of(Masked(spaces.MultiDiscrete([2, 3])))
    mask = np.array([False, True, True, False, False])
    for deterministic in (True, False):
        action, _ = model.predict(
            np.zeros(2, np.float32), None, np.ones(1, bool), deterministic, action_masks=mask
        )
        assert action.tolist() == [1, 0]


# ---------------------------------------------------------------- time limits


def test_a_time_limit_bootstraps_with_the_value_of_its_last_state():
    """A reward of 1 a step for ever, cut off every 5 steps, gamma 1/2: every state is worth 2.

    The episode that ends is worth less toward its end. The recorded value of the last state is what the
    network says of it, with the memory of that episode.
    """
    model = model_of(Anything(spaces.Box(0, 1, (2,), np.float32), is_cut=True), gamma=0.5)
    model.learn(8)
    rollout = model.rollout
    assert rollout.over[:, 0].tolist() == [False] * 4 + [True] + [False] * 3
    assert (rollout.bootstrap[:, 0] != 0).tolist() == rollout.over[:, 0].tolist()
    ended = model_of(Anything(spaces.Box(0, 1, (2,), np.float32), is_cut=False))
    ended.learn(8)
    assert not ended.rollout.bootstrap.any()


def test_the_last_state_is_valued_with_the_memory_of_its_episode():
    world = VecWorld(
        make_vec_env(lambda: Anything(spaces.Box(0, 1, (2,), np.float32), is_cut=True), 3, seed=0)
    )
    model = model_of(make_vec_env(lambda: Anything(spaces.Box(0, 1, (2,), np.float32)), 3))
    world.reset()
    collector = Collector(world, model.policy)
    finals = []
    inner = world.step
    world.step = lambda actions: (inner(actions), finals.append(world.final.clone()))
    rollout = collector.collect(model.policy, 5)
    memory = model.policy.initial_memory(3)
    for t in range(5):
        _, memory = model.policy.act(
            rollout.observation[t], rollout.legal[t], rollout.seat[t], rollout.start[t], memory
        )
        memory.previous[:, 0] = rollout.action[t]
    _, value, _ = model.policy.weigh(
        finals[4], rollout.legal[4], rollout.seat[4], torch.zeros(3, dtype=torch.bool), memory
    )
    torch.testing.assert_close(rollout.bootstrap[4], value)
    assert not rollout.bootstrap[:4].any()


def test_values_learn_what_a_cut_off_episode_is_worth():
    """With gamma 1/2 a state is worth 2, however soon the episode is cut off; ended, the last is worth 1."""
    worth = {}
    for is_cut in (True, False):
        space = spaces.Box(0, 1, (1,), np.float32)
        env = make_vec_env(lambda s=space, c=is_cut: Anything(s, length=1, is_cut=c), 8)
        model = model_of(env, gamma=0.5, n_steps=16, batch_size=128, n_epochs=20, learning_rate=1e-2)
        model.learn(128 * 20)
        worth[is_cut] = float(model.rollout.value.mean())
    assert worth[False] == pytest.approx(1.0, abs=0.1)
    assert worth[True] == pytest.approx(2.0, abs=0.2)


# ---------------------------------------------------------------- SB3's tools


def cart_poles(n=2):
    return make_vec_env("CartPole-v1", n, seed=0)


class Reusing(gymnasium.Env):
    """Counts its steps in one array, one info and a list in it, which it hands out again and again."""

    observation_space, action_space = spaces.Dict({"n": spaces.Box(0, 9, (1,), np.float32)}), ACTIONS[0]

    def reset(self, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self.n, self.info = np.zeros(1, np.float32), {"n": [0], "twice": "0"}
        return {"n": self.n}, self.info

    def step(self, action):  # noqa: ARG002
        self.n += 1
        self.info["n"][0] += 1
        self.info["twice"] = str(2 * self.info["n"][0])
        return {"n": self.n}, float(self.n[0]), bool(self.n[0] == 4), False, self.info


class Telling(Anything):
    """Says the same thing in each step, in an object of its own."""

    said: ClassVar = {"place": "here"}

    def step(self, action):
        *seen, info = super().step(action)
        self.said["at"][0] += 1
        return *seen, self.said if self.t % 2 else info


@pytest.mark.parametrize("space", [DICT, DICT["numbers"]], ids=["Dict", "Box"])
def test_worlds_are_stepped_as_sb3_steps_them(space):
    """Observations, rewards, ends and infos, which are copies; also what it keeps of them."""
    found = []
    for is_ours in (False, True):
        Telling.said = {"at": [0], "place": "here"}
        worlds = DummyVecEnv([lambda: Monitor(Telling(space, length=3, is_cut=True), None)] * 2)
        if is_ours:
            VecWorld(worlds)
        worlds.seed(4)
        worlds.reset()
        steps = [worlds.step(np.zeros(2, np.int64)) for _ in range(5)]
        for _, _, _, infos in steps:
            for info in infos:
                info.get("episode", {}).pop("t", None)
        found.append([*steps, worlds.buf_rews, worlds.buf_dones, worlds.reset_infos])
    assert [infos[0].get("at") for *_, infos in found[1][:3]] == [[2], None, [6]]
    np.testing.assert_equal(found[1], found[0])


def test_callbacks_may_keep_what_they_read():
    """Of worlds that reuse their arrays and infos they hold copies, which the next step leaves alone."""
    kept = []

    def keep(told, _):
        kept.append((told["new_obs"]["n"], told["rewards"], told["dones"], told["infos"]))
        return True

    model_of(DummyVecEnv([Reusing] * 2)).learn(8, callback=keep)
    assert [n[1].item() for n, *_ in kept] == [1, 2, 3, 0, 1, 2, 3, 0]  # of a world that has begun anew
    assert [(rewards[1], bool(dones[1])) for _, rewards, dones, _ in kept[:4]] == [
        (1, False), (2, False), (3, False), (4, True),
    ]  # fmt: skip
    infos = [infos[1] for *_, infos in kept[:4]]
    assert [(info["n"], info["twice"]) for info in infos] == [([1], "2"), ([2], "4"), ([3], "6"), ([4], "8")]
    assert [info.get("terminal_observation", {"n": None})["n"] for info in infos] == [None] * 3 + [4]


def test_the_callbacks_of_sb3_work(tmp_path):
    stop = StopTrainingOnRewardThreshold(reward_threshold=1.0)
    evaluation = EvalCallback(
        cart_poles(), callback_on_new_best=stop, n_eval_episodes=2, eval_freq=20, verbose=0,
        best_model_save_path=str(tmp_path / "best"), log_path=str(tmp_path), warn=False,
    )  # fmt: skip
    model = model_of(cart_poles(), tensorboard_log=str(tmp_path / "tb"))
    model.learn(400, callback=evaluation)
    assert 40 <= model.num_timesteps < 400  # any reward is above the threshold: stopped at once
    assert (tmp_path / "best" / "best_model.zip").exists()
    assert list((tmp_path / "tb").rglob("events.out.tfevents.*"))

    saved = CheckpointCallback(save_freq=1, save_path=str(tmp_path / "saved"), name_prefix="m")
    model_of(cart_poles()).learn(64, callback=EveryNTimesteps(32, saved))
    assert len(list((tmp_path / "saved").glob("m_*_steps.zip"))) == 2


def test_evaluation_with_masks_and_memory(tmp_path):
    """A reward of 1 in each of 20 steps, none of them illegal, and no warning of a forgotten state."""
    env = make_vec_env(lambda: Masked(spaces.Discrete(5)), 2)
    model = model_of(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = MaskableEvalCallback(
            make_vec_env(lambda: Masked(spaces.Discrete(5)), 2), n_eval_episodes=2, eval_freq=8, verbose=0,
            best_model_save_path=str(tmp_path),
        )  # fmt: skip
        model.learn(32, callback=evaluation)
        assert evaluation.best_mean_reward == 20.0
        assert (tmp_path / "best_model.zip").exists()
        assert evaluate_with_masks(model, env, n_eval_episodes=4) == (20.0, 0.0)
        assert evaluate_with_masks(model, Monitor(Masked(spaces.Discrete(5))), n_eval_episodes=1)[0] == 20.0


def test_evaluation_carries_the_state_from_step_to_step():
    model = model_of(cart_poles())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, _ = evaluate_policy(model, cart_poles(), n_eval_episodes=4)
    assert 5 < mean < 200


def test_normalised_worlds():
    env = VecNormalize(cart_poles())
    model = model_of(env)
    model.learn(64)
    assert model.get_vec_normalize_env() is env
    assert env.obs_rms.count > 64
    assert model.rollout.observation.abs().max() <= 10.0  # VecNormalize clips there


def test_episodes_are_logged_under_sb3s_names():
    model = model_of(make_vec_env(lambda: Anything(length=4), 2))
    model.learn(32)
    logged = model.kept.values
    assert logged["rollout/ep_rew_mean"] == 4.0
    assert logged["rollout/ep_len_mean"] == 4.0
    assert {"time/fps", "train/loss", "train/explained_variance"} <= set(logged)
    assert not any(name.startswith("game/") for name in logged)


def test_predict_names_the_mask_it_expects():
    with pytest.raises(ValueError, match=r"expected action_masks of shape \(1, 3\), got \(2,\)"):
        model_of(Anything()).predict(np.array(1), action_masks=np.ones(2, bool))


@pytest.mark.parametrize("mask", [[0, 0, 1, 0, 0], [1, 1, 0, 0, 0]])
def test_a_mask_that_leaves_a_component_without_an_action_is_refused(mask, tmp_path):
    model = model_of(Anything(action_space=spaces.MultiDiscrete([2, 3])))
    with pytest.raises(ValueError, match="the mask of row 0 allows no action"):
        model.predict(np.array(1), action_masks=np.array(mask, bool))
    model.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match="the mask of row 0 allows no action"):
        agents.load(tmp_path / "agent.zip").act(np.array(1), np.array(mask, bool))


def test_predict_without_its_state_warns_once():
    model = model_of(Anything())
    seen = np.array(1)
    model.predict(seen)
    with pytest.warns(UserWarning, match="predict was called again without the state it returned"):
        model.predict(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(seen)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("action_space", ACTIONS, ids=str)
@pytest.mark.parametrize("observation_space", OBSERVATIONS, ids=lambda space: str(space)[:30])
def test_a_saved_agent_plays_the_same(observation_space, action_space, tmp_path):
    """`agents.load` needs no environment and keeps its memory itself: 12 decisions, an episode's end."""
    model = model_of(Anything(observation_space, action_space))
    model.learn(16)
    model.save(tmp_path / "agent")
    agent = agents.load(tmp_path / "agent.zip", deterministic=True)
    assert agent.game == World(observation_space, action_space)
    state, start = None, np.ones(1, bool)
    for t in range(12):
        seen = observation_space.sample()
        expected, state = model.predict(seen, state, start, deterministic=True)
        assert np.array_equal(agent.act(seen), expected)
        start = np.array([t == 6])
        if t == 6:
            agent.restart(torch.tensor([True]))


def test_a_loaded_model_learns_on_in_a_given_env(tmp_path):
    model = model_of(cart_poles())
    model.learn(32)
    model.save(tmp_path / "model.zip")
    loaded = MaskableRecurrentPPO.load(tmp_path / "model.zip", device="cpu", n_epochs=1)
    assert (loaded.num_timesteps, loaded.n_epochs) == (32, 1)
    with pytest.raises(ValueError, match="nothing to learn from; give it an env with set_env"):
        loaded.learn(32)
    loaded.set_env(cart_poles())
    for name, parameter in model.policy.state_dict().items():
        assert torch.equal(parameter, loaded.policy.state_dict()[name])
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 64
    again = MaskableRecurrentPPO.load(tmp_path / "model.zip", cart_poles(), device="cpu")
    again.learn(32)


def test_parameters_go_in_and_out():
    one, two = model_of(cart_poles()), model_of(cart_poles(), seed=2)
    two.set_parameters(one.get_parameters())
    for name, parameter in one.policy.state_dict().items():
        assert torch.equal(parameter, two.policy.state_dict()[name])


def test_an_env_with_other_spaces_is_refused():
    model = model_of(cart_poles())
    with pytest.raises(ValueError, match=r"the model plays World\(.*\), got an env of World\("):
        model.set_env(make_vec_env(lambda: Anything(), 2))


# ---------------------------------------------------------------- worlds that misbehave


class Broken(Anything):
    """Goes wrong at its third step in a way of its own."""

    def __init__(self, wrong):
        super().__init__(spaces.Box(-1, 1, (2,), np.float32))
        self.wrong = wrong

    def step(self, action):
        observation, reward, *rest = super().step(action)
        if self.t == 3 and self.wrong == "observation":
            observation = np.array([0.0, np.nan], np.float32)
        if self.t == 3 and self.wrong == "reward":
            reward = float("inf")
        if self.t == 3 and self.wrong == "raise":
            raise KeyError("the rules were lost")
        return observation, reward, *rest


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("observation", "expected finite observations, got NaN or infinity in world 0"),
        ("reward", "expected finite rewards, got inf in world 0"),
    ],
)
def test_what_is_no_number_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        model_of(Broken(wrong)).learn(8)


def test_an_error_in_another_process_is_shown(capfd):
    env = SubprocVecEnv([lambda: Monitor(Broken("raise"))], start_method="fork")  # its stderr is ours
    with pytest.raises(
        RuntimeError, match="the process of a world ended; what went wrong there stands above"
    ):
        model_of(env).learn(8)
    assert "KeyError: 'the rules were lost'" in capfd.readouterr().err


def test_an_unknown_cell_is_named():
    with pytest.raises(
        ValueError, match="unknown cell 'mgu'; known are gru, elman, feedforward, gated, lstm"
    ):
        model_of(Anything(), policy_kwargs={"cell": "mgu"})


def test_the_sizes_must_fit():
    with pytest.raises(ValueError, match=r"batch_size 12 does not fit 2 matches x n_steps 8.*one of 8, 16"):
        model_of(cart_poles(), batch_size=12)
