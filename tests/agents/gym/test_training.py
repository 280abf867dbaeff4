"""A run in a Gymnasium world: its folder, its curves, how it goes on, with ours and with stock algorithms."""

from __future__ import annotations

import collections
import dataclasses
import json
import signal
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from reading import at_decision, curves, lines, names, numbers, quiet
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from world_runs import ALGORITHMS, CROSSES, UPDATE, lowest, tiny

import agents
from agents import MaskableRecurrentPPO
from agents.files import CheckpointError, read
from agents.gym import training as world_training
from agents.gym.config import EpisodesConfig, WorldConfig
from agents.gym.stock import STOCK
from agents.gym.training import WorldKeeper, make_model, open_worlds, resume, run_name, train
from agents.learn.schedules import Linear
from agents.run.config import read_config
from envs.adapters.gymnasium import FogboundEnv
from envs.adapters.sb3 import BatchVecEnv


@pytest.fixture(scope="module", params=ALGORITHMS)
def finished(request, tmp_path_factory):
    """A run of three updates with each algorithm; not to be changed."""
    return train(tiny(tmp_path_factory.mktemp("finished"), request.param), "train.py config.yaml", quiet)


# ---------------------------------------------------------------- the folder and the curves


def test_a_run_leaves_the_folder_the_design_promises(finished):
    run = finished.run
    assert names(run) == sorted([
        *("best.json", "checkpoints", "command.txt", "config.yaml", "latest.json", "metrics.jsonl"),
        *("replays", "run.json", "tensorboard"),
    ])  # fmt: skip
    assert names(run / "checkpoints") == ["step_32", "step_64", "step_96"]
    config = read_config(run / "config.yaml", WorldConfig)
    assert config == tiny(run.parent, config.algo)
    assert (run / "command.txt").read_text(encoding="utf-8") == "train.py config.yaml\n"
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (told["status"], told["timesteps"]) == ("finished", 96)
    assert told["results"]["agent"]["episodes"] == len(finished.results["agent"].rewards) == 6
    assert told["results"]["agent"]["mean"] == lines(run)[-1]["final/mean_reward"]


def test_tensorboard_shows_sb3s_tags(finished):
    shown = {tag: [step for step, _ in curve] for tag, curve in curves(finished.run).items()}
    for tag in ("eval/mean_reward", "eval/mean_ep_length", "train/loss", "rollout/ep_rew_mean", "time/fps"):
        assert shown[tag][-1] in (64, 96), tag
    assert shown["eval/mean_reward"] == [32, 64, 96]


def test_no_file_of_a_run_is_a_pickle(finished):
    files = {path.suffix for path in (finished.run / "checkpoints").rglob("*") if path.is_file()}
    assert files == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"env": "CartPole-v1"}, "CartPole-v1__gated"),
        ({"env": "fogbound/PhantomTicTacToe-v0"}, "fogbound/PhantomTicTacToe-v0__gated"),
        ({"env": "module.of_mine:ns/World-v0", "algo": "ppo"}, "module.of_mine:ns/World-v0__ppo"),
        ({"algo": "recurrent_ppo", "policy_kwargs": {"cell": "gru"}}, "CartPole-v1__recurrent_ppo_gru"),
    ],
)
def test_the_name_of_a_run_says_the_world_and_the_cell_or_algorithm(changes, name):
    assert run_name(WorldConfig(**changes)) == name


def test_an_episode_is_drawn_without_a_display(tmp_path, monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    evaluated = EpisodesConfig(episodes=2, final_episodes=2, gif=True)
    run = train(tiny(tmp_path, eval=evaluated), say=quiet).run
    with Image.open(run / "replays" / "step_96.gif") as gif:
        assert gif.n_frames > 5


def test_what_cannot_be_drawn_is_said_and_costs_nothing_else(tmp_path, monkeypatch):
    def fail(*_):
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed")

    monkeypatch.setattr(world_training, "save_gif", fail)
    told = []
    outcome = train(tiny(tmp_path, eval=EpisodesConfig(episodes=2, final_episodes=2)), say=told.append)
    assert told[-1] == "no GIF: pygame is not installed"
    assert set(outcome.results) == {"agent"}


# ---------------------------------------------------------------- evaluation


def test_masks_are_used_where_the_algorithm_takes_them(tmp_path):
    """Only the allowed action earns a reward, so under its mask every player earns 4 in 4 steps."""
    for algo in ("maskable_recurrent_ppo", "maskable_ppo"):
        told = []
        outcome = train(tiny(tmp_path / algo, algo, env="Masked-v0"), say=told.append)
        assert set(outcome.results["agent"].rewards) == set(outcome.anchors["random"].rewards) == {4.0}
        assert not any(line.startswith("note") for line in told)


def test_evaluation_leaves_training_alone(tmp_path):
    """Three times as many evaluations, the same weights."""
    for algo in ("maskable_recurrent_ppo", "recurrent_ppo"):
        often, once = (
            train(
                tiny(tmp_path / f"{algo}{every}", algo, eval=dataclasses.replace(EVAL, every=every)),
                say=quiet,
            )
            for every in (UPDATE, 100 * UPDATE)
        )
        weights = [read(outcome.run)["policy.safetensors"] for outcome in (often, once)]
        assert weights[0] == weights[1]


EVAL = EpisodesConfig(every=UPDATE, episodes=3, final_episodes=3, gif=False)


def test_rewards_are_the_worlds_own_not_the_normalised_ones(tmp_path):
    outcome = train(tiny(tmp_path, env="Masked-v0", env_kwargs={"bonus": 100.0}), say=quiet)
    assert set(outcome.results["agent"].rewards) == {404.0}


# ---------------------------------------------------------------- watched and met


@pytest.mark.parametrize("which", ["run", "checkpoint"])
def test_an_agent_is_watched_in_its_world(finished, which):
    """With every algorithm, from the run or a checkpoint of it; a seed begins the same episode again."""
    path = finished.run if which == "run" else finished.run / "checkpoints" / "step_96"
    mode = "ansi" if finished.run.name.startswith("Masked") else "rgb_array"
    one, again = (list(world_training.watch(path, mode, episodes=2, seed=5)) for _ in range(2))
    (first, film), (second, _) = one
    assert [episode for episode, _ in again] == [first, second]
    assert len(first.rewards) == len(second.rewards) == 1
    assert len(film.frames) == first.lengths[0] + second.lengths[0] + 2
    if mode == "ansi":
        assert first.rewards == second.rewards == (4.0,)  # under its masks
        assert set(film.frames) <= {"0 is good", "1 is good", "2 is good"}


def test_watching_needs_a_run_in_a_world(tmp_path):
    with pytest.raises(ValueError, match="nowhere: expected a run in a Gymnasium world, or one of its check"):
        next(world_training.watch(tmp_path / "nowhere", "ansi"))


# ---------------------------------------------------------------- interrupted and resumed


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_an_interrupted_run_goes_on_in_its_folder(tmp_path, monkeypatch, algo, number):
    with monkeypatch.context() as patch:
        at_decision(patch, UPDATE + 20, lambda: signal.raise_signal(number))
        told = []
        first = train(tiny(tmp_path, algo), say=told.append)
    assert told[-1] == "stopping after this update; once more stops at once"
    assert first.was_interrupted
    assert first.timesteps == 2 * UPDATE
    before = numbers(first.run)

    told = []
    second = resume(first.run, say=told.append)
    assert told[:2] == [f"resumed at {2 * UPDATE} of {3 * UPDATE} decisions", "the worlds begin anew"]
    assert (second.run, second.timesteps, second.was_interrupted) == (first.run, 3 * UPDATE, False)
    assert numbers(first.run)[: len(before)] == before
    assert [step for step, _ in curves(first.run)["train/loss"]] == [32, 64, 96]


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_what_a_resumed_model_has_learned_is_all_there(tmp_path, monkeypatch, algo):
    """Weights, optimiser, counters and the worlds' statistics, seen before the first new update."""
    monkeypatch.setattr(world_training.keeper, "learn", lambda model, _, at: (model, model.env, at))
    model, worlds, _ = train(tiny(tmp_path, algo), say=quiet)
    model.learn(2 * UPDATE)
    (run,) = tmp_path.iterdir()
    keeper = world_training.WorldKeeper(tiny(tmp_path, algo), run, quiet)
    keeper.init_callback(model)
    keeper.save()

    again, others, resumed_at = resume(run, say=quiet)
    assert resumed_at == again.num_timesteps == 2 * UPDATE
    assert again._n_updates == model._n_updates > 0
    for name, weights in model.policy.state_dict().items():
        assert torch.equal(weights, again.policy.state_dict()[name])
    optimizers = [
        getattr(m, "optimizer", m.policy.optimizer if algo in STOCK else None) for m in (model, again)
    ]
    before, after = (optimizer.state_dict()["state"] for optimizer in optimizers)
    assert before.keys() == after.keys() != set()
    assert all(torch.equal(before[k]["exp_avg_sq"], after[k]["exp_avg_sq"]) for k in before)
    for part in ("mean", "var", "count"):
        for moments in ("obs_rms", "ret_rms"):
            np.testing.assert_array_equal(
                getattr(getattr(worlds, moments), part), getattr(getattr(others, moments), part)
            )


def test_a_finished_run_is_not_resumed_and_goes_on_when_asked_for_more(tmp_path):
    run = train(tiny(tmp_path), say=quiet).run
    with pytest.raises(ValueError, match=r"is finished \(96 of 96 decisions\); ask for more with --total"):
        resume(run, say=quiet)
    with pytest.raises(ValueError, match="a resumed run keeps its n_envs; only total_timesteps, "):
        resume(run, lambda config: dataclasses.replace(config, n_envs=2), quiet)
    outcome = resume(run, lambda config: dataclasses.replace(config, total_timesteps=4 * UPDATE), quiet)
    assert outcome.timesteps == 4 * UPDATE
    assert [step for step, _ in curves(run)["eval/mean_reward"]] == [32, 64, 96, 128]


def test_a_resumed_run_meets_other_episodes(tmp_path, monkeypatch):
    """The worlds' seeds go on with the decisions: nobody starts over with the first episodes again."""
    seen = []
    reset = VecNormalize.reset

    def watched(self):
        observation = reset(self)
        if self.training:
            seen.append(self.old_obs)
        return observation

    monkeypatch.setattr(VecNormalize, "reset", watched)
    for algo in ("maskable_recurrent_ppo", "ppo"):
        seen.clear()
        run = train(tiny(tmp_path / algo, algo), say=quiet).run
        resume(run, lambda config: dataclasses.replace(config, total_timesteps=4 * UPDATE), quiet)
        first, second = seen
        assert not np.array_equal(first, second)


# ---------------------------------------------------------------- normalisation is part of the agent


def test_the_agent_of_a_run_sees_as_it_was_trained(tmp_path):
    """`agents.load` of a normalised run takes the world's own observations."""
    config = tiny(tmp_path)
    run = train(config, say=quiet).run
    agent = agents.load(run, deterministic=True)
    with open_worlds(config) as worlds:
        model = MaskableRecurrentPPO.load(run, worlds)
        worlds.training = False
        scaled, raw = worlds.reset(), worlds.get_original_obs()
        assert not np.allclose(scaled, raw)
        expected, _ = model.predict(scaled, episode_start=np.ones(4, bool), deterministic=True)
        np.testing.assert_array_equal(agent.scale(raw), scaled)
        agent.reset(4)
        np.testing.assert_array_equal(agent.act(raw), expected)


def test_normalised_and_plain_are_not_confused(tmp_path):
    run = train(tiny(tmp_path), say=quiet).run
    with (
        open_worlds(tiny(tmp_path, normalize=False)) as plain,
        pytest.raises(CheckpointError, match="was trained with VecNormalize, the env has none"),
    ):
        MaskableRecurrentPPO.load(run, plain)


# ---------------------------------------------------------------- a game of ours as a world


@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "maskable_ppo"])
def test_a_game_against_an_opponent_is_a_world_with_masks(tmp_path, algo):
    """A finished match of phantom tic-tac-toe earns -1, 0 or 1; episodes are counted; it can be resumed."""
    options = {"opponent": "bot", "seat": "alternate"}
    told = []
    outcome = train(tiny(tmp_path, algo, env=CROSSES, env_kwargs=options, normalize=False), say=told.append)
    assert not any(line.startswith("note") for line in told)  # the masks are used
    assert set(outcome.results["agent"].rewards) <= {-1.0, 0.0, 1.0}
    assert outcome.run.name.startswith("fogbound_PhantomTicTacToe-v0__")
    assert 2.0 <= curves(outcome.run)["rollout/ep_len_mean"][-1][1] <= 9.0
    more = resume(outcome.run, lambda config: dataclasses.replace(config, total_timesteps=4 * UPDATE), quiet)
    assert more.timesteps == 4 * UPDATE


@pytest.mark.parametrize("seat", [0, 1])
def test_matches_in_a_batch_are_the_matches_of_single_worlds(seat):
    """Nothing is drawn by lot, so both tell the same 40 decisions in 3 lanes: what is seen and allowed at
    each, what it earns, and of each end, by an illegal action or not, the last sight and the episode.
    """
    config = WorldConfig(env=CROSSES, env_kwargs={"opponent": lowest, "seat": seat}, n_envs=3)
    together = world_training.make_worlds(config)
    apart = DummyVecEnv([lambda: Monitor(world_training.make_world(config))] * 3)
    assert type(together) is BatchVecEnv
    assert (together.observation_space, together.action_space) == (
        apart.observation_space,
        apart.action_space,
    )
    assert is_masking_supported(together) is is_masking_supported(apart) is True
    assert together.env_is_wrapped(Monitor) == apart.env_is_wrapped(Monitor) == [True] * 3
    seen = [together.reset(), apart.reset()]
    draw, ends, illegal = np.random.default_rng(0), 0, 0
    for _ in range(40):
        masks = get_action_masks(together)
        np.testing.assert_array_equal(masks, get_action_masks(apart))
        np.testing.assert_array_equal(*seen)
        legal = [int(draw.choice(np.flatnonzero(mask))) for mask in masks]
        actions = np.where(draw.random(3) < 0.9, legal, draw.integers(9, size=3))
        (*seen, rewards, others, dones, also, infos, told) = (
            x for pair in zip(together.step(actions), apart.step(actions), strict=True) for x in pair
        )
        np.testing.assert_array_equal(rewards, others)
        np.testing.assert_array_equal(dones, also)
        for mine, theirs in zip(infos, told, strict=True):
            assert mine["TimeLimit.truncated"] is theirs["TimeLimit.truncated"] is False
            assert ("episode" in mine) == ("episode" in theirs)
            if "episode" in mine:
                ends += 1
                illegal += mine["illegal"]
                assert [mine["episode"][key] for key in "rl"] == [theirs["episode"][key] for key in "rl"]
                np.testing.assert_array_equal(mine["terminal_observation"], theirs["terminal_observation"])
    assert ends > 15
    assert 0 < illegal < ends


class Twice(gymnasium.RewardWrapper):
    """Everything counts double."""

    def reward(self, reward):
        return 2 * reward


MADE_OF = {"entry_point": "envs.adapters.gymnasium:FogboundEnv", "kwargs": {"game": "phantom_tictactoe"}}
gymnasium.register("Crosses-v0", **MADE_OF)
gymnasium.register("CrossesCut-v0", max_episode_steps=3, **MADE_OF)
gymnasium.register("CrossesTwice-v0", lambda **options: Twice(FogboundEnv("phantom_tictactoe", **options)))
gymnasium.register("CrossesOf-v0", lambda whose: FogboundEnv("phantom_tictactoe", whose))


class Processes(DummyVecEnv):
    """Stands for `SubprocVecEnv`."""


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, BatchVecEnv),
        ({"env": "envs:fogbound/Minesweeper-v0"}, BatchVecEnv),
        ({"env": "Crosses-v0", "env_kwargs": {"opponent": "bot", "render_mode": None}}, BatchVecEnv),
        ({"env": "CrossesCut-v0"}, DummyVecEnv),
        ({"env": "CrossesTwice-v0"}, DummyVecEnv),
        ({"env": "CrossesOf-v0", "env_kwargs": {"whose": "bot"}}, DummyVecEnv),
        ({"env_kwargs": {"max_episode_steps": 3}}, DummyVecEnv),
        ({"env_kwargs": {"render_mode": "ansi"}}, DummyVecEnv),
        ({"subprocesses": True}, Processes),
        ({"env": "CartPole-v1"}, DummyVecEnv),
    ],
    ids=str,
)
def test_what_a_batch_cannot_keep_stays_single(monkeypatch, changes, kind):
    monkeypatch.setattr(world_training, "SubprocVecEnv", Processes)
    config = WorldConfig(**{"env": CROSSES, "n_envs": 2} | changes)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # processes of their own would ignore Ctrl-C
    with open_worlds(config) as worlds:
        assert type(worlds) is kind
        assert worlds.num_envs == 2


# ---------------------------------------------------------------- the model is what was asked for


def test_the_arguments_arrive(tmp_path):
    arguments = {
        "learning_rate": Linear(1e-2),
        "n_steps": 8,
        "batch_size": 16,
        "gamma": 0.5,
        "ema_decay": 0.9,
    }
    config = tiny(tmp_path, arguments=arguments)
    with open_worlds(config) as worlds:
        model = make_model(config, worlds)
    assert model.learning_rate(0.5) == 5e-3
    assert (model.gamma, worlds.gamma) == (0.5, 0.5)
    assert model.ema is not None
    assert model.n_epochs == 10  # the algorithm's default


def test_averaged_weights_are_judged_and_the_raw_ones_beside(tmp_path):
    arguments = {"n_steps": 8, "batch_size": 16, "n_epochs": 2, "ema_decay": 0.99}
    run = train(tiny(tmp_path, arguments=arguments), say=quiet).run
    assert {"final/mean_reward", "final/raw_mean_reward"} <= set(lines(run)[-1])
    assert any({"eval/mean_reward", "eval/raw_mean_reward"} <= set(line) for line in lines(run))


class Noting(gymnasium.Env):
    """Episodes of four steps that say by their first observation which they are; all are noted."""

    observation_space, action_space = spaces.Box(0, 1, (1,), np.float64), spaces.Discrete(2)
    seen: ClassVar[collections.Counter] = collections.Counter()

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self.t, number = 0, self.np_random.random()
        self.seen[number] += 1
        return np.array([number]), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1), float(action), self.t == 4, False, {}


@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "ppo"])
def test_no_evaluation_sees_anothers_episodes_nor_trainings_nor_another_runs(tmp_path, monkeypatch, algo):
    """Every episode of two runs with neighbouring seeds is dealt once, but for random play's at the end:
    it gets the agent's."""
    gymnasium.register("Noting-v0", lambda: Noting())
    try:
        Noting.seen.clear()
        beside = collections.Counter()
        judge_anchors = WorldKeeper.judge_anchors

        def noting(keeper):
            before = Noting.seen.copy()
            results = judge_anchors(keeper)
            beside.update(Noting.seen - before)
            return results

        monkeypatch.setattr(WorldKeeper, "judge_anchors", noting)
        for seed in (3, 4):
            train(tiny(tmp_path, algo, env="Noting-v0", normalize=False, seed=seed), say=quiet)
        assert len(beside) >= 2 * 6
        once = Noting.seen - beside
        assert set(beside) <= set(once)
        assert set(once.values()) == {1}
        assert len(once) > 60
    finally:
        del gymnasium.registry["Noting-v0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "CartPool-v1"}, "env 'CartPool-v1': .*Did you mean: `CartPole`"),
        ({"env": "Cart Pole"}, "env 'Cart Pole': Malformed environment ID"),
        ({"env": "no_such_module:World-v0"}, "No module named 'no_such_module'"),
        ({"env_kwargs": {"size": 3}}, "unexpected keyword argument 'size'"),
        (
            {"env": "FrozenLake-v1"},
            r"normalize needs observations of numbers \(a Box of floats\), got Discrete",
        ),
        ({"env": "Blackjack-v1"}, r"the observation space Tuple\(.*\) is not supported; known are Box, "),
        ({"env": "Nested-v0", "algo": "ppo"}, r"space Dict\('hand': Dict\(.* a Dict of these, not nested$"),
        (
            {"env": "Nested-v0", "subprocesses": True},
            "is not supported; known are Box, MultiBinary, Discrete",
        ),
        ({"algo": "maskable_ppo"}, r"maskable_ppo needs a world with action_masks\(\), CartPole-v1 has none"),
        (
            {"arguments": {"n_steps": 8, "batch_size": 12}},
            "batch_size 12 does not fit 4 .* 8, 16, 32",
        ),
        (
            {"arguments": {"n_steps": 8, "batch_size": 12}, "algo": "ppo"},
            "batch_size 12 does not divide the rollout of n_envs 4 x n_steps 8 = 32; .* 2, 4, 8, 16, 32",
        ),
        ({"arguments": {"kl_coef": 1.0}, "algo": "ppo"}, "ppo has no argument 'kl_coef'; known"),
        ({"policy_kwargs": {"size": 3}}, "has no policy_kwargs 'size'; known are cell, lstm_hidden_size"),
        ({"policy_kwargs": {"size": 3}, "algo": "recurrent_ppo"}, "known are .*lstm_hidden_size"),
        ({"policy_kwargs": {"cell": "warp"}}, "unknown cell 'warp'"),
        ({"policy_kwargs": {"cell": "warp"}, "algo": "recurrent_ppo"}, "unknown cell 'warp'"),
        ({"policy_kwargs": {"activation_fn": "step"}, "algo": "ppo"}, "known are tanh, relu, silu"),
        ({"device": "tpu"}, "device must be cpu or cuda, got tpu"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(tmp_path, changes, message):
    algo = changes.get("algo", "maskable_recurrent_ppo")
    config = dataclasses.replace(tiny(tmp_path / "runs", algo), **{"env": "CartPole-v1"} | changes)
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=message):
        train(config, say=quiet)
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------- learning


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gated", "lstm", "gru"])
def test_the_shipped_settings_learn_cart_pole_without_velocities(tmp_path, cell):
    """sb3-contrib's bar for this world: 450 of 500 within 50,000 decisions."""
    path = Path(__file__).parents[3] / "configs" / "cartpole_novel_gated.yaml"
    config = read_config(path, WorldConfig)
    kwargs = config.policy_kwargs | {"cell": cell}
    config = dataclasses.replace(config, run_dir=str(tmp_path), policy_kwargs=kwargs)
    assert train(config, say=quiet).results["agent"].mean >= 450.0
