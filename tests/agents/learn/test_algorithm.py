"""Stable-Baselines3's face of MaskableRecurrentPPO: its public names, callbacks, seeds, envs and files."""

from __future__ import annotations

import inspect
import io
import pathlib
import random
import re

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common import callbacks
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
import envs
from agents import MaskableRecurrentPPO, RecurrentPolicy
from agents.files import CheckpointError
from agents.learn.schedules import Linear

SMALL = {"lstm_hidden_size": 8, "features_dim": 8}
BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
EASY = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 1, "device": "cpu"}


class World(gymnasium.Env):
    """Random observations; episodes of 5 steps, a reward of 1 each. Keeps the seeds it was reset with."""

    def __init__(self, space=BOX, actions=spaces.Discrete(3)):  # noqa: B008
        self.observation_space, self.action_space = space, actions
        self.resets, self.seeds = 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.seeds.append(seed)
            self.observation_space.seed(seed)
        self.resets, self.t = self.resets + 1, 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), 1.0, self.t >= 5, False, {}


class Kept(KVWriter):
    """Counts what a logger wrote."""

    def __init__(self):
        self.written = []

    def write(self, key_values, key_excluded, step=0):  # noqa: ARG002
        self.written.append((step, dict(key_values)))


def model_of(env=None, **arguments):
    kwargs = SMALL | arguments.pop("policy_kwargs", {})
    return MaskableRecurrentPPO("MlpLstmPolicy", env or World(), policy_kwargs=kwargs, **EASY | arguments)


# ---------------------------------------------------------------- SB3's public names

WORKS, REFUSED = "works", "refused"
NAMES = {
    # name: what happens when it is used, and how it is used
    "policy_aliases": (WORKS, lambda m: m.policy_aliases["MlpLstmPolicy"]),
    "policy": (WORKS, lambda m: m.policy.act),
    "policy_class": (WORKS, lambda m: m.policy_class(BOX, 3)),
    "policy_kwargs": (WORKS, lambda m: m.policy_kwargs["features_dim"]),
    "observation_space": (WORKS, lambda m: m.observation_space.sample()),
    "action_space": (WORKS, lambda m: m.action_space.sample()),
    "n_envs": (WORKS, lambda m: m.n_envs + 1),
    "env": (WORKS, lambda m: m.env.num_envs),
    "device": (WORKS, lambda m: m.device.type),
    "verbose": (WORKS, lambda m: m.verbose + 1),
    "seed": (WORKS, lambda m: m.seed + 1),
    "num_timesteps": (WORKS, lambda m: m.num_timesteps + 1),
    "start_time": (WORKS, lambda m: m.start_time + 1),
    "action_noise": (WORKS, lambda m: m.action_noise is None),
    "use_sde": (WORKS, lambda m: m.use_sde is False),
    "sde_sample_freq": (WORKS, lambda m: m.sde_sample_freq == -1),
    "ep_info_buffer": (WORKS, lambda m: len(m.ep_info_buffer)),
    "ep_success_buffer": (WORKS, lambda m: len(m.ep_success_buffer)),
    "tensorboard_log": (WORKS, lambda m: m.tensorboard_log is None),
    "learning_rate": (WORKS, lambda m: m.learning_rate + 1),
    "lr_schedule": (WORKS, lambda m: m.lr_schedule(0.5) + 1),
    **{
        name: (WORKS, lambda m, name=name: getattr(m, name))
        for name in (
            "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "clip_range_vf",
            "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm", "target_kl",
        )
    },
    "logger": (WORKS, lambda m: m.logger.record("a", 1)),
    "set_logger": (WORKS, lambda m: m.set_logger(Logger(None, []))),
    "get_env": (WORKS, lambda m: m.get_env().num_envs),
    "get_vec_normalize_env": (WORKS, lambda m: m.get_vec_normalize_env() is None),
    "set_env": (WORKS, lambda m: m.set_env(World())),
    "learn": (WORKS, lambda m: m.learn(8)),
    "train": (WORKS, lambda m: m.train()),
    "dump_logs": (WORKS, lambda m: m.dump_logs()),
    "predict": (WORKS, lambda m: m.predict(np.zeros(3, np.float32))),
    "set_random_seed": (WORKS, lambda m: m.set_random_seed(3)),
    "get_parameters": (WORKS, lambda m: m.get_parameters()["policy"]),
    "set_parameters": (WORKS, lambda m: m.set_parameters(m.get_parameters())),
    "save": (WORKS, lambda m: m.save(io.BytesIO())),
    "load": (WORKS, lambda m: m.save(f := io.BytesIO()) or m.load(f)),
    "collect_rollouts": (REFUSED, lambda m: m.collect_rollouts(m.env, None, None, 8)),
    "rollout_buffer": (REFUSED, lambda m: m.rollout_buffer),
    "rollout_buffer_class": (REFUSED, lambda m: m.rollout_buffer_class),
    "rollout_buffer_kwargs": (REFUSED, lambda m: m.rollout_buffer_kwargs),
}  # fmt: skip


def test_the_table_has_every_public_name_of_the_stock():
    stock = RecurrentPPO("MlpLstmPolicy", World(), n_steps=8, batch_size=8, device="cpu")
    names = set(vars(stock)).union(*(dir(kind) for kind in (BaseAlgorithm, OnPolicyAlgorithm, RecurrentPPO)))
    assert {name for name in names if not name.startswith("_")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_works_or_says_what_does(name):
    model = model_of().learn(8)
    outcome, use = NAMES[name]
    if outcome == WORKS:
        use(model)
    else:
        with pytest.raises(
            (AttributeError, NotImplementedError), match=r"there (is|are) no|there is not"
        ) as told:
            use(model)
        assert re.search(r"model\.(rollout|train)|agents\.learn\.rollout", str(told.value))


def test_the_arguments_come_in_the_stocks_order():
    theirs, ours = (list(inspect.signature(k).parameters) for k in (RecurrentPPO, MaskableRecurrentPPO))
    assert ours[: len(theirs)] == theirs
    theirs, ours = (list(inspect.signature(k.load).parameters) for k in (RecurrentPPO, MaskableRecurrentPPO))
    assert ours[: len(theirs) - 1] == theirs[:-1]


@pytest.mark.parametrize("arguments", [{"use_sde": True}, {"sde_sample_freq": 4}])
def test_state_dependent_exploration_is_refused(arguments):
    with pytest.raises(ValueError, match="there is no state-dependent exploration here"):
        model_of(**arguments)
    assert not model_of(use_sde=False, sde_sample_freq=-1).use_sde


def test_the_networks_may_be_made_later():
    model = model_of(_init_setup_model=False)
    for use in (lambda: model.learn(8), lambda: model.predict(np.zeros(3)), lambda: model.save(io.BytesIO())):
        with pytest.raises(ValueError, match=r"no networks yet; call _setup_model\(\) first"):
            use()
    model._setup_model()
    model.learn(8)
    with pytest.raises(ValueError, match=r"no networks yet; call set_env\(env\) first"):
        MaskableRecurrentPPO("MlpLstmPolicy", None).get_parameters()


def test_a_batch_of_none_is_the_whole_rollout():
    assert model_of(DummyVecEnv([World, World]), batch_size=None).learn(16).batch_size == 16


@pytest.mark.parametrize("policy", ["MlpPolicy", torch.nn.Linear, 3])
def test_a_policy_that_is_none_is_named(policy):
    with pytest.raises(
        ValueError, match=r"(unknown policy 'MlpPolicy'; known are MlpLstm|policy must be Mlp)"
    ):
        MaskableRecurrentPPO(policy, World())


def test_a_clip_range_of_the_value_may_change():
    model = model_of(clip_range_vf=Linear(0.5), n_steps=8)
    model.set_logger(Logger(None, [kept := Kept()]))
    model.learn(16)
    assert [told["train/clip_range_vf"] for _, told in kept.written] == [0.25, 0.0]


def test_a_learning_rate_may_be_set_as_sb3_does():
    model = model_of()
    model.lr_schedule = Linear(0.5)
    model._setup_lr_schedule()
    model.learn(16)
    assert model.optimizer.param_groups[0]["lr"] == 0.0
    assert model.lr_schedule(0.5) == 0.25


# ---------------------------------------------------------------- files


def saved(model):
    file = io.BytesIO()
    model.save(file)
    return file


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


def weights_of(policy):
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


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
    for given, told in (
        ({"polcy": good}, "no parameters 'polcy'; known are policy"),
        ({}, "expected the parameters of policy, got none"),
        ({"policy": less}, "policy: 1 of its tensors differ"),
        ({"policy": {k: x[..., :1] for k, x in good.items()}}, "of its tensors differ: expected"),
        ({"policy": 3}, "policy: expected its tensors by name, got int"),
    ):
        with pytest.raises(ValueError, match=told):
            model.set_parameters(given)
        assert torch.equal(weights_of(model.policy), before)
    model.set_parameters({"policy": {k: x + 1 for k, x in less.items()}}, exact_match=False)
    assert not torch.equal(weights_of(model.policy), before)
    model.set_parameters({}, exact_match=False)


# ---------------------------------------------------------------- callbacks


class Reading(callbacks.BaseCallback):
    """Keeps a copy of what each step told."""

    def _on_training_start(self):
        self.told = []

    def _on_step(self):
        names = ("actions", "rewards", "dones", "infos", "new_obs")
        self.told.append({name: self.locals[name] for name in names})
        return True


def test_callbacks_read_what_happened_in_a_batch(make_model):
    """Kuhn poker: the rewards of the seats that decided, and at each end the returns of both, sum 0."""
    model, reading = make_model(), Reading()
    model.learn(64, callback=reading)
    r, ends = model.rollout, []
    assert len(reading.told) == 8
    for t, told in enumerate(reading.told):
        assert all(isinstance(told[name], np.ndarray) for name in ("actions", "rewards", "dones", "new_obs"))
        assert told["actions"].tolist() == r.action[t].tolist()
        assert told["dones"].tolist() == r.over[t].tolist()
        assert [info["seat"] for info in told["infos"]] == r.seat[t].tolist()
        assert told["rewards"].tolist() == [r.reward[t, b, r.seat[t, b]].item() for b in range(8)]
        if t < 7:
            assert np.array_equal(told["new_obs"], r.observation[t + 1].numpy())
        for b, info in enumerate(told["infos"]):
            assert ("episode" in info) == bool(told["dones"][b])
            if "episode" in info:
                assert sum(info["returns"]) == 0.0
                assert info["episode"]["r"] == info["returns"][0]
                assert info["episode"]["l"] in (2, 3)
                ends.append(info["episode"])
    assert ends == list(model.ep_info_buffer)


def test_a_callback_that_does_not_read_is_spared(make_model):
    class Blind(callbacks.BaseCallback):
        reads_locals = False

        def _on_step(self):
            assert "dones" not in self.locals
            return True

    assert len(make_model().learn(64, callback=[Blind(), Blind()]).ep_info_buffer) == 0
    assert len(make_model().learn(64).ep_info_buffer) > 0


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_training_stops_at_so_many_episodes(make_model, kind):
    """2 for each of 8 matches; Kuhn poker's take 2 or 3 decisions, the world's episodes 5."""
    model = make_model() if kind == "batch" else model_of(DummyVecEnv([World] * 8), batch_size=64)
    stop = callbacks.StopTrainingOnMaxEpisodes(2)
    model.learn(10_000, callback=stop)
    assert 16 <= stop.n_episodes < 24
    assert model.num_timesteps <= 8 * 10


def test_the_other_callbacks_of_sb3_work_on_a_batch(make_model, tmp_path):
    seen = []
    function = lambda told, _: seen.append(told["self"].num_timesteps) or len(seen) < 12  # noqa: E731
    often = callbacks.EveryNTimesteps(32, callbacks.CheckpointCallback(1, str(tmp_path)))
    model = make_model()
    model.set_logger(Logger(None, [kept := Kept()]))
    model.learn(1_000, [often, callbacks.ConvertCallback(function), callbacks.LogEveryNTimesteps(16)])
    assert seen == [8 * (k + 1) for k in range(12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"rl_model_{n}_steps.zip" for n in (32, 64, 96)
    ]
    assert [step for step, _ in kept.written] == [16, 32, 48, 64, 64, 80, 96]


def test_training_stops_where_nothing_improves():
    """Every episode earns 5, so that the second evaluation is no better than the first."""
    none = callbacks.StopTrainingOnNoModelImprovement(0, min_evals=1)
    evaluation = callbacks.EvalCallback(
        World(), callback_after_eval=none, n_eval_episodes=1, eval_freq=8, verbose=0, warn=False
    )
    assert model_of().learn(1_000, callback=evaluation).num_timesteps == 16


@pytest.mark.parametrize(("interval", "written"), [(None, 0), (1, 4), (2, 2), (np.int64(4), 1), (100, 0)])
def test_the_log_is_written_every_so_many_rollouts_or_never(make_model, interval, written):
    model = make_model()
    model.set_logger(Logger(None, [kept := Kept()]))
    model.learn(256, log_interval=interval)
    assert len(kept.written) == written


@pytest.mark.parametrize("interval", [0, -1, 1.5, True, "1", float("nan")])
def test_a_wrong_interval_is_refused(make_model, interval):
    with pytest.raises(ValueError, match="log_interval must be a whole number of at least 1, or None, got"):
        make_model().learn(64, log_interval=interval)


@pytest.mark.parametrize("total", ["64", None, float("nan"), float("inf"), True])
def test_a_total_that_is_no_number_is_refused(make_model, total):
    with pytest.raises(ValueError, match="total_timesteps must be a finite number, got"):
        make_model().learn(total)
    assert make_model().learn(1e2).num_timesteps == 128


# ---------------------------------------------------------------- keys of a Dict

KEYS = ["type", "keys", "training", "a.b", "", "Öß 三", "forward", "key:type", "../x", "0", "weight"]


def test_a_dict_may_have_any_keys(tmp_path):
    """In any order: an OrderedDict keeps its own, a file sorts them."""
    space = spaces.Dict([(key, spaces.Box(-1.0, 1.0, (k % 3 + 1,))) for k, key in enumerate(reversed(KEYS))])
    model = model_of(VecNormalize(DummyVecEnv([lambda: World(space)]))).learn(16)
    model.save(tmp_path / "agent.zip")
    agent = agents.load(tmp_path / "agent.zip", deterministic=True, device="cpu")
    env = VecNormalize(DummyVecEnv([lambda: World(space)]))
    loaded = MaskableRecurrentPPO.load(tmp_path / "agent.zip", env, device="cpu")
    plain = {key: entry.sample()[None] for key, entry in space.items()}
    scaled = model.get_vec_normalize_env().normalize_obs(plain)
    assert loaded.get_vec_normalize_env().normalize_obs(plain).keys() == scaled.keys()
    start = {"episode_start": [True], "deterministic": True}
    values = [
        m.policy.weigh(m.game.pack(scaled)[0], torch.ones(1, 3).bool(), torch.zeros(1).long(),
                       torch.ones(1).bool(), m.policy.initial_memory(1))[1]
        for m in (model, loaded)
    ]  # fmt: skip
    assert torch.equal(*values)
    assert model.predict(scaled, **start)[0] == loaded.predict(scaled, **start)[0] == agent.act(plain)
    loaded.learn(8)


def test_an_agent_of_any_keys_is_exported(tmp_path):
    pytest.importorskip("onnxscript")
    from agents.play.export import export_onnx

    space = spaces.Dict([(key, spaces.Box(-1.0, 1.0, (2,))) for key in ("type", "a.b", "", "Ö")])
    model_of(World(space)).save(tmp_path / "agent.zip")
    export_onnx(agents.load(tmp_path / "agent.zip"), tmp_path / "a.b.onnx")


# ---------------------------------------------------------------- seeds and deals


def cards(model, learns=1):
    """The first observations of each `learn` that begins anew."""

    class First(callbacks.BaseCallback):
        def _on_rollout_start(self):
            shown.append(model.lanes.observation.clone())

        def _on_step(self):
            return True

    shown = []
    for _ in range(learns):
        model.learn(1, callback=First())
    return torch.stack(shown)


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_every_learn_deals_others_and_the_seed_repeats_them(make_model, kind):
    def make(seed):
        return make_model("leduc_poker", 32, seed=seed) if kind == "batch" else model_of(seed=seed)

    one, again, other = (cards(make(seed), 3) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    deals = [*one, *other]
    assert not any(torch.equal(a, b) for k, a in enumerate(deals) for b in deals[:k])


def test_a_model_without_a_seed_deals_from_the_batchs():
    def make(seed):
        batch = envs.Batch(envs.make("leduc_poker"), 32, seed=seed)
        return model_of(batch, seed=None, batch_size=32 * 8)

    one, again, other = (cards(make(seed), 2) for seed in (7, 7, 2**64 - 1))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, other)
    model = make(7)
    cards(model)
    assert torch.equal(cards(MaskableRecurrentPPO.load(saved(model), device="cpu"))[0], one[1])


def test_a_loaded_model_goes_on_counting(make_model):
    deals = cards(make_model("leduc_poker", 32), 3)
    model = make_model("leduc_poker", 32)
    cards(model)
    loaded = MaskableRecurrentPPO.load(saved(model), device="cpu")
    assert torch.equal(cards(loaded, 2), deals[1:])


def test_five_seeds_share_no_deal(make_model):
    """Not even one seed's second learn with another's first, as seed + number would."""
    deals = torch.cat([cards(make_model("generals", 2, seed=seed, batch_size=16), 2) for seed in range(5)])
    assert len({deal.numpy().tobytes() for deal in deals.flatten(0, 1)}) == 20


def test_worlds_of_neighbouring_seeds_are_others():
    """VecEnv.seed gives lane b the seed + b."""
    used = []
    for seed in range(4):
        worlds = [World() for _ in range(4)]
        model = model_of(DummyVecEnv([lambda w=w: w for w in worlds]), seed=seed)
        cards(model, 2)
        used += [number for world in worlds for number in world.seeds]
    assert len(set(used)) == len(used) == 4 * 4 * 2


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_set_random_seed_repeats_what_comes(make_model, kind):
    model = make_model("leduc_poker", 32) if kind == "batch" else model_of()
    told = []
    for _ in range(2):
        model.set_random_seed(5)
        deals = cards(model, 2)
        told.append((deals, model.rollout.action))
        assert not torch.equal(*deals)
    assert torch.equal(told[0][0], told[1][0])
    model.set_random_seed(np.int64(6))
    assert not torch.equal(cards(model), told[0][0][:1])
    before = model.generator.get_state(), model.shuffler.get_state(), random.getstate()
    model.set_random_seed(None)
    assert torch.equal(model.generator.get_state(), before[0])
    assert torch.equal(model.shuffler.get_state(), before[1])
    assert random.getstate() == before[2]
    with pytest.raises(ValueError, match="seed must be a whole number in 0"):
        model.set_random_seed(-1)


@pytest.mark.parametrize("kind", ["batch", "world"])
def test_without_a_seed_nobodys_random_numbers_are_touched(kind):
    """Torch's are drawn from, as every network's beginning is; they follow from the caller's seed."""
    told = []
    for _ in range(2):
        random.seed(11)
        np.random.seed(12)  # noqa: NPY002
        torch.manual_seed(13)
        model = model_of(envs.Batch(envs.make("kuhn_poker"), 8) if kind == "batch" else World(), seed=None)
        model.learn(64)
        numbers = random.random(), np.random.random()  # noqa: NPY002
        assert numbers == (random.Random(11).random(), np.random.RandomState(12).random())
        assert torch.initial_seed() == 13
        told.append((weights_of(model.policy), model.generator.get_state()))
    assert torch.equal(told[0][1], told[1][1])
    if kind == "batch":
        assert torch.equal(told[0][0], told[1][0])
    assert not torch.equal(model_of(seed=None).generator.get_state(), told[0][1])


# ---------------------------------------------------------------- envs


def test_the_same_env_goes_on_with_its_memories(make_model):
    world = World()
    for model, env in ((make_model(), None), (model_of(world), world)):
        model.learn(64 if env is None else 8)
        collector, memory = model.collector, model.collector.memory
        for given in (model.get_env(), env):
            if given is not None:
                model.set_env(given, force_reset=False)
        assert model.collector is collector
        assert model.collector.memory is memory
        model.learn(8, reset_num_timesteps=False)
        model.set_env(model.get_env())
        assert model.collector is None
    assert world.resets == 1 + 3  # at the beginning and after 5, 10 and 15 of 16 steps


def test_another_batch_goes_on_where_it_stands(make_model):
    """Three moves have been made in it; every memory is empty, every seat's first decision is a start."""
    model = make_model("phantom_tictactoe").learn(64)
    for loaded in (model, None):
        batch = envs.Batch(model.game, 8, seed=9)
        for action in (0, 1, 2):
            batch.step(torch.full((8,), action))
        before = {name: x.clone() for name, x in batch.state_dict().items()}
        shown = batch.observation.clone()
        if loaded is None:
            loaded = MaskableRecurrentPPO.load(saved(model), batch, "cpu", force_reset=False)
        else:
            loaded.set_env(batch, force_reset=False)
        assert loaded.batch is batch
        assert loaded.collector.lanes is loaded.lanes
        assert loaded.collector.start.all()
        assert not loaded.collector.memory.cores[0].any()
        assert all(torch.equal(x, before[name]) for name, x in batch.state_dict().items())
        loaded.learn(64, reset_num_timesteps=False)
        assert torch.equal(loaded.rollout.observation[0], shown)
        assert loaded.rollout.start[0].all()
        assert model.env is not batch or loaded is model


def test_another_world_is_reset_because_nobody_knows_what_it_shows():
    model, other = model_of().learn(8), World()
    old = model.get_env()
    model.set_env(other, force_reset=False)
    model.learn(8, reset_num_timesteps=False)
    assert other.resets >= 1
    assert model.get_env() is not old
    loaded = MaskableRecurrentPPO.load(saved(model), third := World(), "cpu", force_reset=False)
    loaded.learn(8, reset_num_timesteps=False)
    assert third.resets >= 1


@pytest.mark.parametrize("force_reset", [True, False])
def test_another_number_of_matches_is_taken_or_refused_whole(make_model, force_reset):
    model = make_model().learn(64)
    old = model.get_env()
    with pytest.raises(ValueError, match="batch_size 32 does not fit 3 matches"):
        model.set_env(envs.Batch(model.game, 3), force_reset)
    with pytest.raises(ValueError, match="the model plays KuhnPoker"):
        model.set_env(envs.Batch(envs.make("leduc_poker"), 8), force_reset)
    assert (model.get_env(), model.n_envs) == (old, 8)
    model.learn(64, reset_num_timesteps=False)
    model.set_env(envs.Batch(model.game, 16), force_reset)
    model.learn(128, reset_num_timesteps=False)
    assert model.rollout.shape == (8, 16)


# ---------------------------------------------------------------- predict


@pytest.fixture
def vector():
    return model_of(DummyVecEnv([lambda: World(actions=spaces.MultiDiscrete([2, 1]))] * 2))


GOOD = {
    "observation": np.zeros((2, 3), np.float32), "action_masks": np.ones((2, 3), bool),
    "episode_start": np.ones(2, bool), "seat": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"observation": (np.zeros(3), {})}, r"got the pair \(observation, info\) .*unpack it"),
        ({"observation": np.zeros((2, 4))}, r"expected observations of shape \[B, \(3,\)\], got \(2, 4\)"),
        ({"observation": np.zeros((3, 2))}, "expected observations of shape"),
        (
            {"observation": [[0, 0, 0], [0, 0]]},
            r"expected observations of shape \[B, \(3,\)\], got \[\[0, 0, 0\], \[0, 0\]\]",
        ),
        ({"observation": "abc"}, r"expected observations of shape \[B, \(3,\)\], got \(\)"),
        ({"observation": None}, r"expected observations of shape \[B, \(3,\)\], got \(\)"),
        ({"observation": np.zeros((2, 3), complex)}, "expected numbers, got complex128"),
        (
            {"observation": np.full((2, 3), np.nan)},
            r"expected finite observations, got NaN or infinity in world 0: nan at \[0\]",
        ),
        (
            {"observation": np.full((2, 3), np.inf)},
            r"expected finite observations, got NaN or infinity in world 0: inf at \[0\]",
        ),
        ({"observation": np.zeros((0, 3))}, "expected at least one observation, got none"),
        ({"action_masks": np.ones((3, 2), bool)}, r"action_masks of shape \(2, 3\), got \(3, 2\)"),
        ({"action_masks": np.ones(6, bool)}, r"action_masks of shape \(2, 3\), got \(6,\)"),
        ({"action_masks": np.ones((1, 3), bool)}, r"action_masks of shape \(2, 3\), got \(1, 3\)"),
        ({"action_masks": np.full((2, 3), 0.5)}, "expected action_masks of True and False, got 0.5"),
        ({"action_masks": np.full((2, 3), np.nan)}, "expected action_masks of True and False, got nan"),
        ({"action_masks": np.zeros((2, 3), bool)}, "the mask of row 0 allows no action"),
        ({"episode_start": [True]}, r"expected episode_start of shape \(2,\), got \(1,\)"),
        ({"episode_start": True}, r"expected episode_start of shape \(2,\), got \(\)"),
        ({"episode_start": [0.5, 1]}, "expected episode_start of True and False, got 0.5"),
        ({"seat": 1}, r"expected seats in 0\.\.0, got 1"),
        ({"seat": [0, -1]}, r"expected seats in 0\.\.0, got -1"),
        ({"seat": [0]}, "expected seat as a whole number or 2 of them"),
        ({"seat": 0.0}, "expected seat as a whole number or 2 of them, got float64"),
        ({"state": (np.zeros(3),)}, r"expected state as predict returned it \(a Memory\) or None, got tuple"),
    ],
)
def test_predict_refuses_what_does_not_fit(vector, wrong, told):
    vector.predict(**GOOD)
    with pytest.raises(ValueError, match=told):
        vector.predict(**GOOD | wrong)


def test_predict_refuses_the_memory_of_others(vector, make_model):
    _, state = vector.predict(**GOOD)
    one, _ = vector.predict(np.zeros(3), episode_start=True, action_masks=[1, 0, 1])
    assert one.tolist() == [0, 0]
    with pytest.raises(ValueError, match="expected the state of 1 matches"):
        vector.predict(np.zeros(3), state)
    other = make_model().policy.initial_memory(2)
    with pytest.raises(ValueError, match="expected the state of 2 matches"):
        vector.predict(np.zeros((2, 3)), other)


def test_predict_asks_who_decides_where_several_may(make_model):
    model, seen = make_model(), np.zeros((3, 4), np.uint8)
    with pytest.raises(ValueError, match=r"say who decides, seat=0\.\.1: there are 2 seats"):
        model.predict(seen)
    seats, first = (0, 1, [0, 1, 0], torch.tensor([0, 1, 1])), np.ones(3, bool)
    told = [model.predict(seen, episode_start=first, seat=seat)[1].cores[0] for seat in seats]
    assert [core[0].any(-1).int().argmax(-1).tolist() for core in told] == [
        [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 1],
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"expected seats in 0\.\.1, got 2"):
        model.predict(seen, seat=2)


@pytest.mark.parametrize(
    ("space", "seen"),
    [(spaces.Discrete(3), 1.5), (spaces.MultiDiscrete([3, 3]), [0.5, 1]), (spaces.MultiBinary(2), [0.1, 0])],
)
def test_codes_are_whole_numbers(space, seen):
    with pytest.raises(ValueError, match=r"expected integers in 0\.\.[12], got"):
        model_of(World(space)).predict(seen)


def test_a_dict_is_checked_entry_by_entry():
    space = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3))
    model = model_of(World(space))
    model.predict({"a": [0.0, 1.0], "b": 2})
    for wrong in ({"a": [0.0, np.nan], "b": 2}, {"a": [0.0, 1.0]}, {"a": [0, 1], "b": 2.5}, ({"a": 1}, {})):
        with pytest.raises(ValueError, match="expected"):
            model.predict(wrong)


def test_pathlib_and_text_name_the_same_file(tmp_path):
    model_of().save(pathlib.Path(tmp_path) / "a")
    assert isinstance(MaskableRecurrentPPO.load(f"{tmp_path}/a").policy, RecurrentPolicy)
