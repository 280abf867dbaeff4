"""Training an agent in a Gymnasium world: from a `WorldConfig` to a run (see `agents.run.keeper`; edge: SB3).

In its folder, replays/ holds an episode as a GIF, where the world can be drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import is_masking_supported
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize

import envs  # noqa: F401  (registers the ids of its worlds)
from agents import files
from agents.gym import stock
from agents.gym.config import WorldConfig, read_world
from agents.gym.episodes import MAX_FRAMES, Episodes, Film, Random, play, player_of, seen_by, takes_masks
from agents.gym.sb3 import RecurrentCellCnnPolicy, RecurrentCellMultiInputPolicy, RecurrentCellPolicy
from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.settings import NAMES
from agents.net.cells import cell_class
from agents.net.policy import ACTIVATIONS, RecurrentPolicy
from agents.net.spaces import check_observations
from agents.run import folder, keeper
from agents.run.choices import keywords
from agents.run.keeper import Outcome, RunKeeper
from agents.run.sizes import check_fits, sizes_of
from agents.run.stream import SAY, Say
from envs import names
from envs.adapters.gymnasium import ENTRY_POINT
from envs.adapters.sb3 import BatchVecEnv
from envs.batch import usable_device
from envs.drawing import save_gif
from envs.seeds import derived_seed

CELL_POLICIES: dict[str, type[RecurrentActorCriticPolicy]] = {
    "Mlp": RecurrentCellPolicy,
    "Cnn": RecurrentCellCnnPolicy,
    "MultiInput": RecurrentCellMultiInputPolicy,
}
"""The stock's recurrent policies with a cell of ours, by what they see."""


def train(config: WorldConfig, command: str = "", say: Say = SAY) -> Outcome[Episodes]:
    """Train an agent in a world in a new run folder.

    Args:
        command: what the user typed, kept in `command.txt`.
        say: takes the lines a person should read.

    Raises:
        ValueError, TypeError: the configuration does not fit the world, the algorithm or the machine.
    """
    with open_worlds(config) as worlds:
        model = make_model(config, worlds)
        if is_masking_supported(worlds) and not takes_masks(model):
            say(f"note         {config.algo} does not use the masks of {config.env}")
        run = folder.begin(config, run_name(config), command)
        with folder.locked(run):
            return keeper.learn(model, WorldKeeper(config, run, say), None)


def resume(
    run: str | Path, change: Callable[[WorldConfig], WorldConfig] = lambda c: c, say: Say = SAY
) -> Outcome[Episodes]:
    """Go on with an interrupted run: same folder, same curves; the worlds begin anew, with other seeds.

    Arguments and errors are those of `folder.resumed`; a finished run is refused, too.
    """
    with (
        folder.resumed(run, WorldConfig, change, say) as (run, config, start, stored),
        open_worlds(config) as worlds,
    ):
        model = restore(stored, config, worlds)
        if config.algo in stock.STOCK:
            model.set_random_seed(world_seed(config, "training", model.num_timesteps))
        worlds.seed(world_seed(config, "training", model.num_timesteps))
        folder.go_on(run, config, start, model.num_timesteps, say)
        say("the worlds begin anew")
        return keeper.learn(model, WorldKeeper(config, run, say), model.num_timesteps)


def world_seed(config: WorldConfig, purpose: str, number: int = 0) -> int:
    """A seed for worlds side by side, of which the k-th gets the k-th number from it on.

    Derived, so that neighbouring runs and evaluations share no episodes; 31 bits as SB3 hands seeds on.
    """
    return derived_seed(config.seed, purpose, number, bits=31)


def run_name(config: WorldConfig) -> str:
    """The first part of the run's folder: the world, and the cell or the stock algorithm."""
    cell = config.policy_kwargs.get("cell")
    if config.algo not in stock.STOCK:
        how = cell or inspect.signature(RecurrentPolicy).parameters["cell"].default
    else:
        how = f"{config.algo}_{cell}" if cell else config.algo
    return f"{config.env}__{how}"


# ---------------------------------------------------------------- the worlds


def make_world(config: WorldConfig, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """One world as Gymnasium makes it.

    Raises:
        ValueError: no such id; Gymnasium's message says which it may have been.
        TypeError: it does not take the `env_kwargs`.
    """
    drawn = {} if render_mode is None else {"render_mode": render_mode}
    try:
        return gymnasium.make(config.env, **config.env_kwargs | drawn)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env {config.env!r}: {error}") from error


@contextlib.contextmanager
def open_worlds(config: WorldConfig) -> Iterator[VecEnv]:
    """The worlds to learn in, closed at the end.

    Raises:
        RuntimeError: the process of a world ended.
    """
    worlds = make_worlds(config)
    try:
        yield worlds
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:  # all that a broken pipe tells
        raise RuntimeError("the process of a world ended; its own traceback above says why") from error
    finally:
        with contextlib.suppress(EOFError, OSError):  # a process that is gone cannot be asked to close
            worlds.close()
        if isinstance(worlds.unwrapped, SubprocVecEnv):
            for process in getattr(worlds.unwrapped, "processes", ()):  # they ignore to be asked by a signal
                process.kill()


def make_worlds(config: WorldConfig) -> VecEnv:
    """The worlds to learn in, side by side and seeded.

    Raises:
        ValueError: the world is unknown, its observations are, or it cannot be normalised.
    """
    with make_world(config) as world:  # says what is wrong here, not in another process
        check_observations(world.observation_space)
        check_sizes(config, world)
        scaled = _scaled_entries(world.observation_space) if config.normalize else None
    worlds = side_by_side(config, config.n_envs, config.subprocesses)
    worlds.seed(world_seed(config, "training"))
    if config.normalize:
        defaults = inspect.signature(stock.algorithm(config.algo)).parameters
        gamma = config.arguments.get("gamma", defaults["gamma"].default)
        worlds = VecNormalize(worlds, gamma=gamma, norm_obs_keys=scaled)
    return worlds


WORLD_BYTES, PROCESS_BYTES = 2_000, 50_000_000
"""A world takes at least so much; so does the process of one."""


def check_sizes(config: WorldConfig, world: gymnasium.Env[Any, Any]) -> None:
    """Refuse sizes for which there is no memory, before any is asked for.

    Raises:
        ValueError: names the setting, what it needs, what there is, and what would fit.
    """
    kind = stock.algorithm(config.algo)
    defaults, own = inspect.signature(kind).parameters, keywords(RecurrentPolicy)
    n_steps, batch_size = (config.arguments.get(n, defaults[n].default) for n in ("n_steps", "batch_size"))
    policy = {name: argument.default for name, argument in own.items()} | config.policy_kwargs
    plain = ("lstm_hidden_size", "n_lstm_layers", "features_dim")
    if any(type(policy[name]) is not int for name in plain) or not _are_widths(policy["net_arch"]):
        return  # the policy tells what is wrong with them
    actions = int(world.action_space.n) if isinstance(world.action_space, spaces.Discrete) else 1
    sizes = sizes_of(
        world.observation_space,
        actions,
        policy,
        matches=config.n_envs,
        n_steps=n_steps,
        batch_size=batch_size,
        match=PROCESS_BYTES if config.subprocesses else WORLD_BYTES,
    )
    keys = {
        "matches": ("n_envs", WorldConfig.n_envs),
        "n_steps": ("arguments.n_steps", defaults["n_steps"].default),
        "hidden": ("policy_kwargs.lstm_hidden_size", own["lstm_hidden_size"].default),
        "layers": ("policy_kwargs.n_lstm_layers", own["n_lstm_layers"].default),
        "features": ("policy_kwargs.features_dim", own["features_dim"].default),
        "widths": ("policy_kwargs.net_arch", 128),
    }
    check_fits(sizes, keys, usable_device(keeper.resolve_device(config.device)))


def _are_widths(net_arch: Any) -> bool:
    parts = net_arch.values() if isinstance(net_arch, Mapping) else [net_arch or []]
    return all(isinstance(part, list) and all(type(x) is int for x in part) for part in parts)


def side_by_side(config: WorldConfig, count: int, subprocesses: bool = False) -> VecEnv:
    """`count` worlds that tell what `Monitor` tells; matches of a game of ours are stepped as one `Batch`."""
    if not subprocesses:
        with make_world(config) as world:
            match = _match_arguments(world)
        if match is not None:
            return BatchVecEnv(matches=count, **match)
    make: list[Any] = [partial(_monitored, config, subprocesses) for _ in range(count)]
    return SubprocVecEnv(make) if subprocesses else DummyVecEnv(make)


def _match_arguments(world: gymnasium.Env[Any, Any]) -> dict[str, Any] | None:
    """What `FogboundEnv` was made of; None if the world is another, or more: drawn, cut off or wrapped."""
    spec = world.spec
    if spec is None or spec.entry_point != ENTRY_POINT:
        return None
    if world.render_mode is not None or spec.max_episode_steps is not None or spec.additional_wrappers:
        return None
    return {name: value for name, value in spec.kwargs.items() if name != "render_mode"}


def _monitored(config: WorldConfig, is_alone: bool) -> gymnasium.Env[Any, Any]:
    if is_alone:  # signals reach the processes of the worlds, too, which still are needed to stop cleanly
        for number in keeper.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return Monitor(make_world(config))


def _scaled_entries(space: spaces.Space[Any]) -> list[str] | None:
    """The entries of a Dict that can be normalised; None for a Box, which can.

    Raises:
        ValueError: nothing in `space` can be.
    """

    def is_vector(space: spaces.Space[Any]) -> bool:
        is_float = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
        return is_float and not is_image_space(space)

    entries = space.items() if isinstance(space, spaces.Dict) else []
    vectors = [key for key, entry in entries if is_vector(entry)]
    if not vectors and not is_vector(space):
        raise ValueError(f"normalize needs observations of numbers (a Box of floats), got {space}")
    return vectors or None


# ---------------------------------------------------------------- the model


def make_model(config: WorldConfig, worlds: VecEnv) -> BaseAlgorithm:
    """The model that a configuration describes, before training.

    Raises:
        ValueError: an argument or the world does not fit the algorithm.
    """
    kind = stock.algorithm(config.algo)
    if kind is MaskablePPO and not is_masking_supported(worlds):
        raise ValueError(
            f"maskable_ppo needs a world with action_masks(), {config.env} has none; use ppo or recurrent_ppo"
        )
    known = [name for name in NAMES if name in inspect.signature(kind).parameters]
    _refuse_unknown(config.algo, "argument", config.arguments, known)
    if config.algo in stock.STOCK:
        _check_stock_sizes(kind, config.arguments, config.n_envs)
    _find_cell(config)
    policy = _policy(config, kind, worlds.observation_space)
    try:
        return kind(
            policy,
            worlds,
            policy_kwargs=_policy_kwargs(
                config, policy if inspect.isclass(policy) else kind.policy_aliases[policy]
            ),
            seed=world_seed(config, "training"),  # the model seeds its worlds again
            device=usable_device(keeper.resolve_device(config.device)),
            **config.arguments,
        )
    except AssertionError as error:  # SB3's way to refuse a space or a number
        raise ValueError(f"{config.algo}: {error}") from error


def restore(stored: files.Stored, config: WorldConfig, worlds: VecEnv) -> BaseAlgorithm:
    """The model that a run's checkpoint keeps, in new worlds.

    Raises:
        CheckpointError: it is of another model.
    """
    _find_cell(config)
    if config.algo not in stock.STOCK:
        device = usable_device(keeper.resolve_device(config.device))
        return MaskableRecurrentPPO.from_stored(stored, worlds, device)
    model = make_model(config, worlds)
    assert isinstance(model, OnPolicyAlgorithm)
    stock.restore(model, stored)
    return model


def _find_cell(config: WorldConfig) -> None:
    """Import the cell from outside the package, if there is one."""
    if isinstance(cell := config.policy_kwargs.get("cell"), str):
        cell_class(cell)


def _check_stock_sizes(kind: type[BaseAlgorithm], arguments: Mapping[str, Any], n_envs: int) -> None:
    """The minibatches fill the rollout, where the stock would only warn; our algorithm checks its own."""
    defaults = inspect.signature(kind).parameters
    n_steps, batch_size = (arguments.get(name, defaults[name].default) for name in ("n_steps", "batch_size"))
    rollout = n_envs * n_steps
    if batch_size < 2 or rollout % batch_size:
        fitting = [size for size in range(2, rollout + 1) if rollout % size == 0]
        nearest = sorted(sorted(fitting, key=lambda size: abs(size - batch_size))[:5])
        raise ValueError(
            f"batch_size {batch_size} does not divide the rollout of n_envs {n_envs} x n_steps {n_steps} "
            f"= {rollout}; sizes near it that do are {', '.join(map(str, nearest))}"
        )


def _policy(
    config: WorldConfig, kind: type[BaseAlgorithm], space: spaces.Space[Any]
) -> str | type[RecurrentActorCriticPolicy]:
    """The policy for the observations: SB3's name for it, or the class with our cell for recurrent_ppo."""
    sees = "MultiInput" if isinstance(space, spaces.Dict) else "Cnn" if is_image_space(space) else "Mlp"
    if config.algo == "recurrent_ppo" and "cell" in config.policy_kwargs:
        return CELL_POLICIES[sees]
    (name,) = [name for name in kind.policy_aliases if name in (f"{sees}Policy", f"{sees}LstmPolicy")]
    return name


def _policy_kwargs(config: WorldConfig, policy: type[Any]) -> dict[str, Any]:
    """The policy's arguments; the stock takes an activation as its class, ours by its name."""
    _refuse_unknown(config.algo, "policy_kwargs", config.policy_kwargs, list(keywords(policy)))
    named = dict(config.policy_kwargs)
    if config.algo in stock.STOCK and "activation_fn" in named:
        if named["activation_fn"] not in ACTIVATIONS:
            name = named["activation_fn"]
            raise ValueError(f"unknown activation_fn {name!r}; known are {names.known(name, ACTIVATIONS)}")
        named["activation_fn"] = ACTIVATIONS[named["activation_fn"]]
    return named


def _refuse_unknown(algo: str, what: str, given: Iterable[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{algo} has no {what} {name!r}; known are {names.known(name, known)}")


# ---------------------------------------------------------------- evaluation


class WorldKeeper(RunKeeper[WorldConfig, Episodes]):
    """Keeps a run in a world: judged by episodes in worlds of its own, other ones every time."""

    def _on_step(self) -> bool:
        rewards, scaled = self.locals.get("rewards"), self.model.get_vec_normalize_env()
        if rewards is not None:
            paid = np.asarray(rewards if scaled is None else scaled.get_original_reward())
            if not np.isfinite(paid).all():
                raise FloatingPointError(
                    f"expected finite rewards, got {paid[~np.isfinite(paid)][0]} of {self.config.env} before "
                    f"decision {self.model.num_timesteps:,}"
                )
        return super()._on_step()

    def headline(self) -> tuple[str, ...]:
        return ("eval/mean_reward",)

    def bands(self) -> dict[str, tuple[str, str, str]]:
        mean = "eval/mean_reward"
        return {"mean reward": (mean, f"{mean}_low", f"{mean}_high")}

    def parts(self) -> files.Parts:
        model = self.model
        if isinstance(model, MaskableRecurrentPPO):
            return model.parts()
        assert isinstance(model, OnPolicyAlgorithm)
        return stock.parts(model)

    def describe(self, results: dict[str, Episodes]) -> str:
        (result,) = results.values()
        low, high = result.interval
        return f"mean reward {result.mean:.2f} [{low:.2f}, {high:.2f}] in {len(result.rewards)} episodes"

    def summary(self, result: Episodes) -> dict[str, float]:
        low, high = result.interval
        return {
            "episodes": len(result.rewards),
            "mean": result.mean,
            "low": low,
            "high": high,
            "mean_length": result.mean_length,
        }

    def judge(self, is_final: bool) -> dict[str, Episodes]:
        """Play episodes: the averaged weights as the agent, the raw ones beside."""
        model, record = self.model, self.model.logger.record
        episodes = self.config.eval.final_episodes if is_final else self.config.eval.episodes
        group, seed = ("final", self.final_seed) if is_final else ("eval", self.evaluation_seed)
        result = self._play(self._player(seed), episodes, seed)
        low, high = result.interval
        for tag, value in (
            ("mean_reward", result.mean),
            ("mean_ep_length", result.mean_length),
            ("mean_reward_low", low),
            ("mean_reward_high", high),
        ):
            record(f"{group}/{tag}", value)
        if isinstance(model, MaskableRecurrentPPO):
            if model.ema is not None:
                raw = self._play(self._player(seed, use_raw=True), episodes, seed)
                record(f"{group}/raw_mean_reward", raw.mean)
            if not is_final:
                self.memory.show(model)
        if is_final and self.config.eval.gif and "rgb_array" in render_modes(self.config):
            self._film()
        return {"agent": result}

    def judge_anchors(self) -> dict[str, Episodes]:
        """Random play in the worlds of the final evaluation."""
        player = Random(self.model.action_space, self.final_seed)
        return {"random": self._play(player, self.config.eval.final_episodes, self.final_seed)}

    @property
    def evaluation_seed(self) -> int:
        """Of the worlds at this moment: other ones at every evaluation, none of them training's."""
        return world_seed(self.config, "evaluation", self.model.num_timesteps)

    @property
    def final_seed(self) -> int:
        """Of the worlds of the final table, which nothing has seen or been chosen by."""
        return world_seed(self.config, "final")

    def _player(self, seed: int, use_raw: bool = False) -> Any:
        return player_of(self.model, self.config.eval.deterministic, derived_seed(seed, "agent"), use_raw)

    def _play(self, player: Any, episodes: int, seed: int) -> Episodes:
        side = seen_by(self.model, side_by_side(self.config, min(self.config.n_envs, episodes)))
        with contextlib.closing(side) as worlds:
            worlds.seed(seed)
            return play(player, worlds, episodes, self.config.eval.deterministic, derived_seed(seed, "draws"))

    def _film(self) -> None:
        """An episode as a GIF, where the world can be drawn."""
        config, path = self.config, self.run / "replays" / f"step_{self.model.num_timesteps}.gif"
        try:
            with stage(config, self.model, "rgb_array") as (worlds, film):
                worlds.seed(self.final_seed)
                play(self._player(self.final_seed), worlds, 1, config.eval.deterministic, self.final_seed)
            save_gif(path, film.frames, film.pace)
        except Exception as error:  # whatever a world's drawing lacks, the trained agent is worth more
            self.say(f"no GIF: {error}")


# ---------------------------------------------------------------- watching


def watch(
    path: str | Path,
    render_mode: str,
    *,
    episodes: int = 1,
    deterministic: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[tuple[Episodes, Film]]:
    """Let an agent play in the world it was trained in; yields each episode, and the film so far.

    Args:
        path: a run in a world, or one of its checkpoints.
        render_mode: one of the world's (see `render_modes`): "ansi" keeps every text, "rgb_array" pictures
            (see `Film`), "human" opens a window.
        seed: of the first episode; the next one has the next.

    Raises:
        ValueError: `path` is neither, or the world cannot be made.
    """
    config = read_world(path)
    if config is None:
        raise ValueError(f"{path}: expected a run in a Gymnasium world, or one of its checkpoints")
    config = dataclasses.replace(config, subprocesses=False, device=device)
    with open_worlds(config) as learned_in:
        model = restore(files.read(path), config, learned_in)
        player = player_of(model, deterministic, seed)
        with stage(config, model, render_mode, episodes) as (worlds, film):
            for number in range(episodes):
                film.go_on()
                worlds.seed(seed + number)
                yield play(player, worlds, 1, deterministic, seed + number), film


def render_modes(config: WorldConfig) -> list[str]:
    """How the world can be drawn."""
    world = make_world(config)
    world.close()
    return list(world.metadata.get("render_modes", []))


@contextlib.contextmanager
def stage(
    config: WorldConfig, model: BaseAlgorithm, render_mode: str, episodes: int = 1
) -> Iterator[tuple[VecEnv, Film]]:
    """One world as the model sees it, and its film of so many episodes."""
    if render_mode == "rgb_array":  # pygame's worlds: draw into memory, ask no display
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    most = episodes * MAX_FRAMES if render_mode == "rgb_array" else math.inf
    film = Film(make_world(config, render_mode), most)
    with contextlib.closing(seen_by(model, DummyVecEnv([lambda: Monitor(film)]))) as worlds:
        yield worlds, film
