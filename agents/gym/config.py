"""The configuration of a run in a Gymnasium world, and what its open parts may say."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

import gymnasium
from gymnasium.envs.registration import load_env_creator

import envs
from agents.gym.sb3 import RecurrentCellPolicy
from agents.gym.stock import algorithm
from agents.learn.settings import NAMES, Settings
from agents.net.cells import CELLS
from agents.net.settings import check_all, plain_number
from agents.play.players import FIXED_PLAYERS, PLAYERS, is_player_name
from agents.run.choices import (
    Choice,
    Choices,
    Chosen,
    Entry,
    Keyword,
    Section,
    kept,
    keywords,
    options_of,
    options_of_cell,
    takes_any,
    without,
)
from agents.run.config import Paced, RunConfig, Timesteps, read_config, run_config, world_of
from agents.run.records import read_fields
from agents.run.sentences import sentences
from envs.adapters.gymnasium import ENTRY_POINT
from envs.names import registered


@dataclasses.dataclass(frozen=True)
class EpisodesConfig(Paced):
    """Episodes played during and after training, in worlds of their own."""

    every: int = 25_000
    """Decisions between two evaluations."""
    memory_every: int = 25_000
    """Decisions between two evaluations that also show what the memory does; 0: none does."""
    episodes: int = 20
    """Episodes of each, during training."""
    final_episodes: int = 100
    """Episodes at the end."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one."""
    gif: bool = True
    """Draw one episode at the end, where the world can be drawn."""


@dataclasses.dataclass(frozen=True)
class WorldConfig(RunConfig):
    """A training run of one agent in one Gymnasium world."""

    env: str = "CartPole-v1"
    """Id of the world: any that Gymnasium knows, `fogbound/...` among them, or `module:Id-v0`."""
    env_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the world."""
    algo: Literal["maskable_recurrent_ppo", "recurrent_ppo", "maskable_ppo", "ppo"] = "maskable_recurrent_ppo"
    """The algorithm: ours, or one of sb3-contrib and Stable-Baselines3 as it is there."""
    n_envs: int = 8
    """Worlds side by side."""
    subprocesses: bool = False
    """Each world in a process of its own, for worlds that are slow to step."""
    normalize: bool = False
    """Scale observations and rewards by their running mean and variance (VecNormalize)."""
    total_timesteps: Timesteps = 100_000
    """Decisions to train for, of all worlds together."""
    checkpoint_every: int = 25_000
    """Decisions between two checkpoints."""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of training, see `agents.learn.settings`; what is not named keeps the algorithm's default."""
    policy_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the algorithm's policy; `cell` also for recurrent_ppo."""
    eval: EpisodesConfig = dataclasses.field(default_factory=EpisodesConfig)

    def __post_init__(self) -> None:
        """See `RunConfig`; `arguments` become what `Settings` would make of them, None is left out."""
        super().__post_init__()
        self.at_least(1, "n_envs")
        self.at_least(2, "eval.episodes", "eval.final_episodes")
        named = {name: plain_number(x) for name, x in self.arguments.items() if x is not None}
        given = check_all(read_fields(Settings, named, "arguments."), "arguments.")
        object.__setattr__(self, "arguments", given)


def read_world(path: str | Path) -> WorldConfig | None:
    """The configuration of the run in a world that `path` is or is a checkpoint of; None if it is neither.

    Raises:
        ValueError: it names something from outside the package that nobody has named yet, see `registered`.
    """
    if world_of(path) is None:
        return None
    config = read_config(run_config(path), WorldConfig)
    _refuse_unnamed(config)
    return config


def _refuse_unnamed(config: WorldConfig) -> None:
    """Refuse a stranger's words that would import something."""
    module, _, _ = config.env.rpartition(":")
    if module and module not in sys.modules:
        raise ValueError(
            f"world {config.env!r:.80} comes from a module that nobody has named yet; name it yourself "
            f"first, so that it is imported (of a command --uses {config.env:.80})"
        )
    game, opponent = config.env_kwargs.get("game"), config.env_kwargs.get("opponent")
    if isinstance(game, str):
        registered("game", game, envs.GAMES, "fogbound.games")
    if is_player_name(opponent):
        registered("player", str(opponent), FIXED_PLAYERS, PLAYERS)
    if isinstance(cell := config.policy_kwargs.get("cell"), str):
        registered("cell", cell, CELLS, "fogbound.cells")


# ---------------------------------------------------------------- what may be set


def arguments(chosen: Chosen) -> Choice:
    """What `arguments` may say: the settings that the chosen algorithm takes, with its own defaults."""
    parameters = inspect.signature(algorithm(chosen.now("algo"))).parameters
    hints, told = get_type_hints(Settings), sentences(Settings)
    section = {
        name: Entry(hints[name], parameters[name].default, told[name]) for name in NAMES if name in parameters
    }
    return Choice(section, chosen.before("arguments"))


def policy_arguments(chosen: Chosen) -> Choice:
    """What `policy_kwargs` may say: the arguments of the policy that the chosen algorithm makes."""
    algo, before = chosen.now("algo"), chosen.before("algo")
    values: Mapping[str, Any] = chosen.before("policy_kwargs")
    cell = chosen.now("policy_kwargs.cell")
    parameters, told = _policy_parameters(algo, cell)
    section: Section = {n: Entry(p.kind, p.default, told.get(n, "")) for n, p in parameters.items()}
    if algo == "recurrent_ppo":
        cell_help = "Recurrent cell of ours in place of the algorithm's own: " + ", ".join(CELLS)
        section.setdefault("cell", Entry(str | None, None, cell_help))
    if algo != before:
        lacking = [name for name in values if name not in section]
        values = without(chosen, f"policy_kwargs of {before}", values, lacking, algo)
    if "cell" in parameters and "lstm_kwargs" in parameters:
        usual = parameters["cell"].default
        now = cell if isinstance(cell, str) else usual
        inner = options_of_cell(chosen, "policy_kwargs", values.get("cell", usual), now)
        section["lstm_kwargs"] = inner.section
        if "lstm_kwargs" in values and isinstance(cell, str):
            values = {**values, "lstm_kwargs": inner.values}
    return Choice(section, values)


def _policy_parameters(algo: str, cell: Any) -> tuple[dict[str, Keyword], dict[str, str]]:
    """The arguments of an algorithm's policy for vectors, and what is said of each."""
    policy: type[Any]
    if algo == "recurrent_ppo" and cell is not None:
        policy = RecurrentCellPolicy
    else:
        aliases = algorithm(algo).policy_aliases
        policy = next(kind for name, kind in aliases.items() if name.startswith("Mlp"))
    return keywords(policy), sentences(policy)


def world_arguments(chosen: Chosen) -> Choice:
    """What `env_kwargs` may say: the arguments of the world's entry point, where they can be told."""
    env, values = chosen.now("env"), kept(chosen, "env_kwargs", "env")
    module, _, name = env.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(name)
        entry = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        parameters, told = keywords(entry, with_required=True), sentences(entry)
    except Exception:  # whatever is wrong with the world, who makes it says so
        return Choice({}, values, is_open=True)
    section: Section = {}
    for parameter, p in parameters.items():
        if parameter not in ("render_mode", "game", *spec.kwargs):
            section[parameter] = Entry(p.kind, p.default, told.get(parameter, ""))
    for parameter in spec.kwargs.keys() - {"game"}:
        p = parameters.get(parameter, Keyword(Any, None))
        section[parameter] = Entry(p.kind, spec.kwargs[parameter], told.get(parameter, ""))
    section["max_episode_steps"] = Entry(int | None, spec.max_episode_steps, "Decisions until it is cut off.")
    section["disable_env_checker"] = Entry(bool | None, None, "Leave out Gymnasium's checks of the world.")
    if spec.entry_point == ENTRY_POINT:
        return Choice(section | options_of(spec.kwargs["game"]), values)
    return Choice(section, values, is_open=takes_any(entry))


WORLD_CHOICES: Choices = {
    "env_kwargs": world_arguments,
    "arguments": arguments,
    "policy_kwargs": policy_arguments,
}
"""Of training in a world."""
