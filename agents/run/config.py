"""The configuration of a training run: typed, one sentence per field, YAML in, unknown keys refused.

`Config` is a run by self-play (scripts/selfplay.py), `WorldConfig` one of an agent in a Gymnasium world
(scripts/train.py).
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from agents.net import settings
from agents.packaged import CONFIGS
from agents.run.written import read_yaml_file, write_yaml
from envs.names import known

ScheduleName = Literal["constant", "linear", "power"]
OptionValue = bool | int | str


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
    """The network; `agents.RecurrentPolicy` tells more."""

    cell: str = "gated"
    """Recurrent cell: elman, gated, lstm, gru, or feedforward for no memory."""
    lstm_hidden_size: int = 128
    """Units of a cell, of whichever kind."""
    n_lstm_layers: int = 1
    """Cells on top of each other."""
    lstm_kwargs: dict[str, float | str] = dataclasses.field(default_factory=dict)
    """Options of the cell, such as forget_bias, and dropout between the layers."""
    shared_lstm: bool = True
    """The critic reads the actor's core."""
    enable_critic_lstm: bool = False
    """The critic has a core of its own."""
    detach_critic: bool = False
    """Keep the critic's gradient out of a shared core."""
    features_dim: int = 128
    """Outputs of the encoder."""
    net_arch: list[int] = dataclasses.field(default_factory=list)
    """Widths of the layers between the core and each head."""
    activation_fn: Literal["tanh", "relu", "silu"] = "tanh"
    """Activation of encoder and heads."""
    previous_action: bool = True
    """Feed the seat's own previous action to the core."""
    seat_input: bool = True
    """Feed the seat to the core."""
    skip_connection: bool = False
    """The heads read the features beside the core's output."""
    spatial: bool = False
    """Features, memory and logits for every square of a board; sizes count per square."""

    def __post_init__(self) -> None:
        """Refuse numbers that no network can have."""
        settings.check_all(vars(self), "policy.")
        if isinstance(self.lstm_kwargs, dict):  # while flags are read it is a record of the cell's options
            settings.check_all(self.lstm_kwargs, "policy.lstm_kwargs.")


@dataclasses.dataclass(frozen=True)
class AlgoConfig:
    """The algorithm; names are Stable-Baselines3's where it has them."""

    learning_rate: float = 1e-3
    """Adam's step size at the beginning."""
    learning_rate_schedule: ScheduleName = "linear"
    """How it goes on: constant, linear to 0, or a power law."""
    n_steps: int = 32
    """Decisions of each match in a rollout."""
    batch_size: int = 1024
    """Decisions in a minibatch, a multiple of n_steps that divides the rollout."""
    n_epochs: int = 4
    """Passes over each rollout."""
    gamma: float = 1.0
    """Discount per own decision."""
    gae_lambda: float = 0.95
    """Lambda of the advantages, per own decision."""
    clip_range: float = 0.2
    """How far the probability ratio may move."""
    clip_range_vf: float | None = None
    """The same for the value, if given."""
    normalize_advantage: bool = True
    """Scale a minibatch's advantages to mean 0 and deviation 1."""
    ent_coef: float = 0.05
    """Weight of the entropy bonus at the beginning."""
    ent_coef_schedule: ScheduleName = "constant"
    """How it goes on."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Norm the gradient is clipped to."""
    target_kl: float | None = None
    """End an update early beyond 1.5 times this KL divergence, if given."""
    kl_coef: float = 0.0
    """Weight of the reverse KL to the policy that played."""
    magnet_coef: float = 0.0
    """Weight of the KL to the magnet at the beginning."""
    magnet_coef_schedule: ScheduleName = "constant"
    """How it goes on."""
    magnet: Literal["uniform", "snapshot", "ema"] = "uniform"
    """What the policy is drawn to."""
    magnet_every: int = 100
    """Updates between two snapshots of the magnet."""
    shaping_coef: float = 0.0
    """Weight of the game's potential in the shaping of rewards at the beginning, if the game has one."""
    shaping_coef_schedule: ScheduleName = "linear"
    """How it goes on."""
    ema_decay: float = 0.999
    """Decay of the averaged weights per gradient step; 0 keeps none."""

    def __post_init__(self) -> None:
        """Refuse numbers that no update can use."""
        settings.check_all(vars(self), "algo.")


@dataclasses.dataclass(frozen=True)
class OpponentsConfig:
    """Who sits opposite the learning policy, beside itself."""

    share: float = 0.0
    """Share of the matches against others, 0..1."""
    players: list[str] = dataclasses.field(default_factory=list)
    """Fixed players among them: random, bot."""
    pool_size: int = 0
    """Past selves among them, at most."""
    snapshot_every: int = 50
    """Updates between two past selves."""


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Matches against fixed players during and after training."""

    every: int = 250_000
    """Decisions between two evaluations."""
    matches_per_seat: int = 500
    """Matches in each seating, during training."""
    final_matches_per_seat: int = 2_000
    """Matches in each seating, at the end."""
    players: list[str] = dataclasses.field(default_factory=lambda: ["random", "bot"])
    """The fixed players."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run by self-play."""

    game: str = "phantom_tictactoe"
    """Name of the game, see envs.GAMES."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of the game."""
    seed: int = 0
    """Seed of everything."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    matches: int = 128
    """Matches played side by side."""
    total_timesteps: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1_000_000
    """Decisions to train for, of all seats together."""
    start_from: str | None = None
    """A run, checkpoint or agent's file whose weights to begin with; if spatial, of any size of board."""
    run_dir: str = "runs"
    """Folder that the run's own folder is made in."""
    checkpoint_every: int = 250_000
    """Decisions between two checkpoints."""
    keep_checkpoints: int = 3
    """How many of the latest checkpoints stay (the best one always does)."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    policy: PolicyConfig = dataclasses.field(default_factory=PolicyConfig)
    algo: AlgoConfig = dataclasses.field(default_factory=AlgoConfig)
    opponents: OpponentsConfig = dataclasses.field(default_factory=OpponentsConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)

    def __post_init__(self) -> None:
        """Refuse numbers no run can use; sizes that must fit each other are the model's business."""
        _at_least(
            1,
            {
                "matches": self.matches,
                "total_timesteps": self.total_timesteps,
                "checkpoint_every": self.checkpoint_every,
                "keep_checkpoints": self.keep_checkpoints,
                "eval.every": self.eval.every,
                "opponents.snapshot_every": self.opponents.snapshot_every,
            },
        )
        _at_least(
            2,
            {
                "eval.matches_per_seat": self.eval.matches_per_seat,
                "eval.final_matches_per_seat": self.eval.final_matches_per_seat,
            },
        )


@dataclasses.dataclass(frozen=True)
class ArgumentsConfig:
    """The algorithm's arguments, by Stable-Baselines3's names; what is None keeps the algorithm's default."""

    learning_rate: float | None = None
    """Adam's step size at the beginning."""
    learning_rate_schedule: ScheduleName = "constant"
    """How it goes on: constant, linear to 0, or a power law."""
    n_steps: int | None = None
    """Decisions of each world in a rollout."""
    batch_size: int | None = None
    """Decisions in a minibatch; it divides n_envs times n_steps."""
    n_epochs: int | None = None
    """Passes over each rollout."""
    gamma: float | None = None
    """Discount per decision."""
    gae_lambda: float | None = None
    """Lambda of the advantages."""
    clip_range: float | None = None
    """How far the probability ratio may move."""
    clip_range_vf: float | None = None
    """The same for the value, if given."""
    normalize_advantage: bool | None = None
    """Scale a minibatch's advantages to mean 0 and deviation 1."""
    ent_coef: float | None = None
    """Weight of the entropy bonus."""
    vf_coef: float | None = None
    """Weight of the value loss."""
    max_grad_norm: float | None = None
    """Norm the gradient is clipped to."""
    target_kl: float | None = None
    """End an update early beyond 1.5 times this KL divergence, if given."""
    kl_coef: float | None = None
    """Weight of the reverse KL to the policy that played (maskable_recurrent_ppo)."""
    magnet_coef: float | None = None
    """Weight of the KL to the magnet (maskable_recurrent_ppo)."""
    magnet: Literal["uniform", "snapshot", "ema"] | None = None
    """What the policy is drawn to (maskable_recurrent_ppo)."""
    magnet_every: int | None = None
    """Updates between two snapshots of the magnet (maskable_recurrent_ppo)."""
    ema_decay: float | None = None
    """Decay of the averaged weights per gradient step (maskable_recurrent_ppo)."""

    def __post_init__(self) -> None:
        """Refuse numbers that no update can use, of whichever algorithm."""
        settings.check_all(vars(self), "arguments.", skip_none=True)


@dataclasses.dataclass(frozen=True)
class EpisodesConfig:
    """Episodes played during and after training, in worlds of their own."""

    every: int = 25_000
    """Decisions between two evaluations."""
    episodes: int = 20
    """Episodes of each, during training."""
    final_episodes: int = 100
    """Episodes at the end."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one."""
    gif: bool = True
    """Draw one episode at the end, where the world can be drawn."""


@dataclasses.dataclass(frozen=True)
class WorldConfig:
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
    total_timesteps: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 100_000
    """Decisions to train for, of all worlds together."""
    seed: int = 0
    """Seed of everything."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    run_dir: str = "runs"
    """Folder that the run's own folder is made in."""
    checkpoint_every: int = 25_000
    """Decisions between two checkpoints."""
    keep_checkpoints: int = 3
    """How many of the latest checkpoints stay (the best one always does)."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    arguments: ArgumentsConfig = dataclasses.field(default_factory=ArgumentsConfig)
    policy_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the algorithm's policy; `cell` also for recurrent_ppo."""
    eval: EpisodesConfig = dataclasses.field(default_factory=EpisodesConfig)

    def __post_init__(self) -> None:
        """Refuse numbers no run can use; sizes that must fit each other are the model's business."""
        _at_least(
            1,
            {
                "n_envs": self.n_envs,
                "total_timesteps": self.total_timesteps,
                "checkpoint_every": self.checkpoint_every,
                "keep_checkpoints": self.keep_checkpoints,
                "eval.every": self.eval.every,
            },
        )
        _at_least(2, {"eval.episodes": self.eval.episodes, "eval.final_episodes": self.eval.final_episodes})


def _at_least(least: int, values: Mapping[str, int]) -> None:
    for key, value in values.items():
        if value < least:
            raise ValueError(f"{key} must be at least {least}, got {value}")


RunConfig = Config | WorldConfig
"""What any run is described by."""

_Record = TypeVar("_Record")


def read_config(path: str | Path, kind: type[_Record] = Config) -> _Record:  # type: ignore[assignment]
    """A configuration of `kind` from a YAML file; what it does not name keeps its default.

    Raises:
        FileNotFoundError: see `find_config`.
        ValueError: it is not YAML, a key is unknown, or a value has the wrong type.
    """
    path = find_config(path)
    values = _read_yaml(path)
    try:
        return _record(kind, {} if values is None else values, "")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def find_config(path: str | Path) -> Path:
    """The configuration of that path or, if there is none, of that name among those that are shipped.

    Raises:
        FileNotFoundError: there is neither; the message says where configurations lie, and which.
    """
    path = Path(path)
    if path.is_file():
        return path
    name = path.name if path.suffix in (".yaml", ".yml") else f"{path.name}.yaml"
    if path.with_name(name).is_file():
        return path.with_name(name)
    if path.parent in (Path(), Path(CONFIGS.name)) and (CONFIGS / name).is_file():
        return CONFIGS / name
    names = [file.stem for file in sorted(CONFIGS.glob("*.yaml"))]
    raise FileNotFoundError(
        f"{path}: there is no such configuration; in {CONFIGS} are {known(Path(name).stem, names)}"
    )


def world_of(path: str | Path) -> WorldConfig | None:
    """The run in a world that `path` is or is a checkpoint of; None if it is neither."""
    path = Path(path).resolve()
    file = (path.parent.parent if path.parent.name == "checkpoints" else path) / "config.yaml"
    values = _read_yaml(file) if file.is_file() else None
    if not isinstance(values, dict) or "env" not in values:
        return None
    return read_config(file, WorldConfig)


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml_file(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_config(config: RunConfig) -> str:
    """The configuration as YAML, every field named."""
    return write_yaml(dataclasses.asdict(config))


def _record(kind: type[_Record], values: Any, where: str) -> _Record:
    """A dataclass from a mapping, checked field by field; `where` is the path of its key."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where.rstrip('.') or 'the file'} must be a mapping of keys, got {values!r}")
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise ValueError(f"unknown key {where + str(key)!r}; known are {known(key, hints)}")
    return kind(**{key: _value(hints[key], value, where + key) for key, value in values.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    """`value` as the type `kind`, or ValueError. A whole number passes for a float, and `1e6` for an int."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where + ".")  # type: ignore[arg-type]
    if origin is list and isinstance(value, list):
        return [_value(arguments[0], item, f"{where}[{k}]") for k, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {
            _value(arguments[0], k, where): _value(arguments[1], v, f"{where}.{k}") for k, v in value.items()
        }
    if origin is Literal and value in arguments:
        return value
    if origin in (Union, types.UnionType):
        for option in arguments:
            if value is None and option is type(None):
                return None
            try:
                return _value(option, value, where)
            except ValueError:
                continue
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and is_number and _is_finite(value):
        return float(value)
    if kind is int and is_number and _is_finite(value) and value == int(value):
        return int(value)
    if kind in (str, bool) and type(value) is kind:
        return value
    expected = typing.cast(str, getattr(kind, "__name__", None)) if origin is None else str(kind)
    reason = " (a finite number is needed)" if is_number and not _is_finite(value) else ""
    if is_number and not reason and (kind is int or (float not in arguments and int in arguments)):
        reason = " (a whole number is needed)"
    raise ValueError(f"{where} must be {expected.replace('typing.', '')}, got {value!r}{reason}")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond every float
        return False
