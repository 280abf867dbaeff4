"""The configuration of a training run: typed, a sentence or more per field, YAML in, unknown keys refused.

`RunConfig` is what every run says, `Config` a run by self-play (scripts/selfplay.py); one of an agent in a
Gymnasium world is `agents.gym.config.WorldConfig` (scripts/train.py). What a setting of training does stands
in `agents.learn.settings`, of the network in `agents.net.settings`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, overload

import tyro

from agents.files import run_named
from agents.learn.schedules import Linear
from agents.learn.settings import Settings
from agents.net.settings import Network
from agents.packaged import CONFIGS
from agents.run.records import plain, read_record
from agents.run.written import read_yaml_file, write_yaml
from envs.names import known
from envs.seeds import check_seed

OptionValue = bool | int | str
Timesteps = Annotated[int, tyro.conf.arg(aliases=["-n"])]

SELF_PLAY = Settings(
    learning_rate=Linear(1e-3),
    n_steps=32,
    batch_size=1024,
    n_epochs=2,
    gamma=1.0,
    ent_coef=0.1,
    ema_decay=0.9998,
)
"""What training by self-play begins with; what is not named here is as Python has it (`Settings`)."""

SELF_PLAY_NETWORK = Network(lstm_hidden_size=128, shared_lstm=True, enable_critic_lstm=False)
"""What a network in self-play begins with; what is not named here is as Python has it (`Network`)."""


@dataclasses.dataclass(frozen=True)
class OpponentsConfig:
    """Who sits opposite the learning policy, beside itself."""

    share: float = 0.0
    """Share of the matches against others, 0..1."""
    players: list[str] = dataclasses.field(default_factory=list)
    """Fixed players among them: random, bot, or the file of a solved game."""
    pool_size: int = 0
    """Past selves among them, at most."""
    snapshot_every: int = 50
    """Updates between two past selves."""


@dataclasses.dataclass(frozen=True)
class Paced:
    """What every kind of evaluation says."""

    every: int = 250_000
    """Decisions between two evaluations."""
    memory_every: int = 500_000
    """Decisions between two evaluations that also show what the memory does (`docs/memory.md`); 0: none
    does."""


@dataclasses.dataclass(frozen=True)
class EvalConfig(Paced):
    """Matches against fixed players during and after training."""

    matches_per_seat: int = 500
    """Matches in each seating, during training."""
    final_matches_per_seat: int = 2_000
    """Matches in each seating, at the end."""
    rating_matches_per_seat: int = 50
    """Matches in each seating of each other pair of the agent, its kept checkpoints and the fixed players,
    for its rating; 0: no ratings."""
    players: list[str] = dataclasses.field(default_factory=lambda: ["random", "bot"])
    """The fixed players; they may be those of `opponents.players`, too."""
    exploitability: Literal["auto", "always", "never"] = "auto"
    """Also how exploitable the averaged and the raw weights are, exactly, in games for two seats: auto where
    the game's tree is small. The best checkpoint is chosen by it then."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What every training run says."""

    seed: int = 0
    """Seed of everything."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    total_timesteps: Timesteps = 1_000_000
    """Decisions to train for, of all seats or worlds together."""
    run_dir: str = "runs"
    """Folder that the run's own folder is made in."""
    checkpoint_every: int = 250_000
    """Decisions between two checkpoints."""
    keep_checkpoints: int = 3
    """How many of the latest checkpoints stay. The best one always does, and of the older ones about four
    from a number of decisions to ten times as many, so that curves reach over the whole run."""
    progress: bool = True
    """Show a progress bar (never without a terminal)."""
    eval: Paced = dataclasses.field(default_factory=Paced)

    def __post_init__(self) -> None:
        """Refuse numbers no run can use; sizes that must fit each other are the model's business.

        Raises:
            ValueError: names the setting, what came and what is allowed.
        """
        check_seed(self.seed)
        self.at_least(1, "total_timesteps", "checkpoint_every", "keep_checkpoints", "eval.every")
        self.at_least(0, "eval.memory_every")

    def at_least(self, least: int, *keys: str) -> None:
        """Refuse smaller numbers; a key may name a part, as `eval.every`.

        Raises:
            ValueError: names the first that is smaller.
        """
        for key in keys:
            value: Any = self
            for name in key.split("."):
                value = getattr(value, name)
            if value < least:
                raise ValueError(f"{key} must be at least {least}, got {value}")


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """A training run by self-play."""

    game: str = "phantom_tictactoe"
    """Name of the game, see envs.GAMES, or module:Name of one of your own."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of the game."""
    matches: int = 256
    """Matches played side by side. More make a rollout steadier and a GPU worth its price."""
    shards: int | None = None
    """Parts that the run is cut into, so that any number of processes up to it, started by torchrun, makes
    the same run (`docs/scale.md`). It divides the matches, and the matches of a minibatch. None: 4 under
    torchrun, else 1, which one process alone can train. More cost a little speed."""
    reduce: Literal["exact", "fast"] = "exact"
    """How the shards' gradients are added: exact, in their order, so that the number of processes changes no
    bit; or fast, which is equal to about 1e-6 a step."""
    cuda_graph: bool = False
    """On a GPU, capture a step of play as one CUDA graph and replay it."""
    start_from: str | None = None
    """A run, checkpoint or agent's file whose weights to begin with; if spatial, of any size of board."""
    policy: Network = SELF_PLAY_NETWORK
    algo: Settings = SELF_PLAY
    opponents: OpponentsConfig = dataclasses.field(default_factory=OpponentsConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)

    def __post_init__(self) -> None:
        """See `RunConfig`."""
        super().__post_init__()
        self.at_least(1, "matches", "opponents.snapshot_every")
        if self.shards is not None:
            self.at_least(1, "shards")
        self.at_least(2, "eval.matches_per_seat", "eval.final_matches_per_seat")
        if self.eval.rating_matches_per_seat != 0 and self.eval.rating_matches_per_seat < 2:
            raise ValueError(
                "eval.rating_matches_per_seat must be at least 2, or 0 for no ratings, got "
                f"{self.eval.rating_matches_per_seat}"
            )


_Record = TypeVar("_Record")


@overload
def read_config(path: str | Path) -> Config: ...
@overload
def read_config(path: str | Path, kind: type[_Record]) -> _Record: ...
def read_config(path: str | Path, kind: type[Any] = Config) -> Any:
    """A configuration of `kind` from a YAML file; what it does not name keeps its default.

    Raises:
        FileNotFoundError: see `find_config`.
        ValueError: it is not YAML, a key is unknown, or a value has the wrong type.
    """
    path = find_config(path)
    values = _read_yaml(path)
    try:
        return read_record(kind, {} if values is None else values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}{_meant_for(kind, values)}") from error


MARKS = {"game": "selfplay", "data": "sequence", "env": "train"}
"""By which key one knows for which command a configuration is."""


def _meant_for(kind: type[Any], values: Any) -> str:
    """Where a configuration is for another command than the one that reads a `kind`: which."""
    known_here = {field.name for field in dataclasses.fields(kind)}
    given = values if isinstance(values, Mapping) else {}
    marks = [key for key in MARKS if key in given and key not in known_here]
    return f"; what has {marks[0]!r} is for scripts/{MARKS[marks[0]]}.py" if marks else ""


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


class WorldNamed(NamedTuple):
    """The world of a run."""

    env: str
    env_kwargs: dict[str, Any]


def world_of(path: str | Path) -> WorldNamed | None:
    """The world of the run that `path` is or is a checkpoint of; None if it is neither or plays by itself."""
    file = run_config(path)
    values = _read_yaml(file) if file.is_file() else None
    if not isinstance(values, dict) or "env" not in values:
        return None
    kwargs = values.get("env_kwargs")
    return WorldNamed(str(values["env"]), dict(kwargs) if isinstance(kwargs, Mapping) else {})


def run_config(path: str | Path) -> Path:
    """Where the configuration lies of the run that `path` is or is a checkpoint of, if it is either."""
    path = run_named(path).resolve()
    return (path.parent.parent if path.parent.name == "checkpoints" else path) / "config.yaml"


def _read_yaml(path: Path) -> Any:
    try:
        return read_yaml_file(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_config(config: RunConfig) -> str:
    """The configuration as YAML, every field named."""
    return write_yaml(plain(config))
