"""MaskableRecurrentPPO with Stable-Baselines3's face: public names, callbacks, learning and playing."""

from __future__ import annotations

import inspect
import io
import re

import numpy as np
import pytest
import torch
from gymnasium import spaces
from models import BOX, Kept, World, model_of, weights
from sb3_contrib import RecurrentPPO
from stable_baselines3.common import callbacks
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import agents
import envs
from agents import MaskableRecurrentPPO
from agents.learn.schedules import Linear

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
    told, untold = (make_model().learn(64, callback=one).ep_info_buffer for one in (Reading(), None))
    assert len(told) > 0
    assert [(e["r"], e["l"]) for e in untold] == [(e["r"], e["l"]) for e in told]


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


def test_weights_of_another_dtype_are_not_trained(make_model):
    """A policy that was made float64 between two calls: told in one line, and float32 again it goes on."""
    model = make_model()
    model.learn(1)
    before = model.num_timesteps
    model.policy.double()
    with pytest.raises(
        ValueError, match=r"^learn expects weights of torch\.float32, .* got torch\.float64 in "
    ) as e:
        model.learn(1, reset_num_timesteps=False)
    assert "\n" not in str(e.value)
    model.policy.float()
    model.learn(1, reset_num_timesteps=False)
    assert model.num_timesteps == 2 * before


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


# ---------------------------------------------------------------- learning and playing in matches


class Counting(BaseCallback):
    """Counts its calls; stops the run at the `stop`-th step."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop, self.calls = stop, dict.fromkeys(("start", "rollout", "step", "rollout end", "end"), 0)

    def _on_training_start(self):
        self.calls["start"] += 1

    def _on_rollout_start(self):
        self.calls["rollout"] += 1

    def _on_step(self):
        self.calls["step"] += 1
        return self.calls["step"] != self.stop

    def _on_rollout_end(self):
        self.calls["rollout end"] += 1

    def _on_training_end(self):
        self.calls["end"] += 1


def test_learn_calls_back_at_every_step(make_model):
    """100 decisions are rounded up to 2 rollouts of 8 steps in 8 matches."""
    model, counting = make_model(), Counting()
    assert model.learn(100, callback=counting) is model
    assert model.num_timesteps == 128
    assert counting.calls == {"start": 1, "rollout": 2, "step": 16, "rollout end": 2, "end": 1}


def test_a_callback_stops_the_run(make_model):
    """At the 11th step, inside the second rollout: that one is not trained on."""
    model, counting = make_model(), Counting(stop=11)
    model.learn(10_000, callback=counting)
    assert model.num_timesteps == 11 * 8
    assert model._n_updates == 1
    assert counting.calls["end"] == 1


def test_learning_goes_on_or_begins_anew(make_model):
    model = make_model()
    model.learn(64)
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps == 128
    model.learn(64)
    assert model.num_timesteps == 64


def test_the_same_seed_learns_the_same(make_model):
    one, two, other = (make_model(seed=seed) for seed in (1, 1, 2))
    for model in (one, two, other):
        model.learn(128)
    assert all(torch.equal(a, b) for a, b in zip(weights(one.policy), weights(two.policy), strict=True))
    assert not torch.equal(weights(one.policy)[0], weights(other.policy)[0])


def test_the_checkpoint_callback_writes_files_that_load(make_model, tmp_path):
    """Every 8 calls, which is every 64 decisions."""
    model = make_model()
    model.learn(128, callback=CheckpointCallback(save_freq=8, save_path=str(tmp_path), name_prefix="kuhn"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kuhn_128_steps.zip", "kuhn_64_steps.zip"]
    assert MaskableRecurrentPPO.load(tmp_path / "kuhn_64_steps.zip").num_timesteps == 64


@pytest.mark.filterwarnings("ignore:rich is experimental")  # SB3 silences it, pytest does not
def test_the_progress_bar_runs_through(make_model, capfd):
    make_model().learn(128, progress_bar=True)
    assert "128/128" in capfd.readouterr().out


def test_predict_plays_a_match_with_the_state_it_returns(make_model):
    """One observation gives one action, [B, ...] gives [B]; masks hold; the state is a memory."""
    model = make_model("phantom_tictactoe")
    match, state = envs.Match(model.game, seed=1), None
    while not match.over:
        seat = match.seat
        action, state = model.predict(match.observation(seat), state, action_masks=match.mask(), seat=seat)
        match.play(action)  # raises if illegal
    seen, first = np.zeros((3, 9), np.uint8), np.ones(3, bool)
    many, _ = model.predict(seen, episode_start=first, action_masks=np.eye(9, dtype=bool)[:3], seat=0)
    assert many.tolist() == [0, 1, 2]


def test_predict_forgets_where_an_episode_starts(make_model):
    model = make_model("phantom_tictactoe", seed=0)
    seen = np.zeros((2, 9), np.uint8)
    _, state = model.predict(seen, seat=0)
    said = {"deterministic": True, "seat": 0}
    _, after = model.predict(seen, state, episode_start=np.array([True, False]), **said)
    _, fresh = model.predict(seen, episode_start=np.ones(2, bool), **said)
    torch.testing.assert_close(after.cores[0][:, 0], fresh.cores[0][:, 0])
    assert not torch.allclose(after.cores[0][:, 1], fresh.cores[0][:, 1])


@pytest.mark.parametrize("batch_size", [4, 12, 24, 128])
def test_a_batch_size_that_does_not_fit_names_those_that_do(make_model, batch_size):
    with pytest.raises(ValueError, match=r"8 matches x n_steps 8: .* must be one of 8, 16, 32, 64$") as error:
        make_model(batch_size=batch_size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_steps": 0}, "n_steps must be a whole number in 1..2147483647, got 0"),
        ({"n_epochs": 0}, "n_epochs must be a whole number in 1..2147483647, got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number in 1..2147483647, or None, got 0"),
        ({"magnet": "past"}, "magnet must be 'uniform', 'snapshot' or 'ema', got 'past'"),
        ({"magnet": "ema"}, "magnet='ema' needs an ema_decay above 0"),
        ({"ema_decay": 1.0}, "ema_decay must be a finite number of at least 0, below 1, got 1.0"),
        ({"policy_kwargs": {"cell": "elm"}}, "unknown cell 'elm'"),
    ],
)
def test_bad_arguments_are_refused(make_model, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_model(**arguments)
