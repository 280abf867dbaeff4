"""An agent's file: what an agent says of itself as data, and the agent that is made from it.

A file is a stranger's: it names no code, nothing is imported or built for it that is larger than the weights
it brings, and what is not finite is refused. Of training it is asked only which weights it promises.
"""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import envs
from agents.files import FORMAT, Kind, Source, Stored, Which, checked, found, packed, read
from agents.net import normalizer
from agents.net.cells import CELLS
from agents.net.policy import RecurrentPolicy
from agents.net.spaces import check_observations, read_space, space_data
from agents.net.task import Task, World, task_of
from agents.packaged import shipped_agent, shipped_agents
from agents.play.players import (
    FIXED_PLAYERS,
    Agent,
    Player,
    SeatedAgent,
    fixed_player,
    is_player_name,
    player_class,
)
from agents.play.tables import KIND, TablePlayer, as_fixed, read_table
from envs.adapters.gymnasium import game_played
from envs.batch import usable_device
from envs.names import known, registered

POLICY_ARGUMENTS: dict[str, Kind] = {
    "cell": Kind(str),
    "lstm_hidden_size": Kind(int, 1),
    "n_lstm_layers": Kind(int, 1),
    "shared_lstm": Kind(bool),
    "enable_critic_lstm": Kind(bool),
    "detach_critic": Kind(bool),
    "features_dim": Kind(int, 1),
    "activation_fn": Kind(str),
    "skip_connection": Kind(bool),
    "previous_action": Kind(bool),
    "seat_input": Kind(bool),
    "spatial": Kind(bool),
    "log_std_init": Kind(float, -math.inf),
}
"""Arguments of RecurrentPolicy but for `lstm_kwargs` and `net_arch`, and what a file may say of them."""

SPARE = 2**14
"""Numbers beyond the file's own that building its network may take, for buffers and starting values."""

Weights = Literal["ema", "raw"]

Numbers = Literal["float32", "float16"]
"""What the weights of a file are written in; a network computes in float32 whatever it was."""

FROZEN = ("snapshot", "start")
"""Magnets that are copies of the policy as it was, with weights of their own."""

TOKENS = "TokenModel"
"""What the file of a token model says instead of a policy's class, see `agents.play.token_file`."""


# ---------------------------------------------------------------- there


def parts_of(
    policy: RecurrentPolicy,
    task: Task,
    policy_kwargs: Mapping[str, Any],
    timesteps: int,
    ema: RecurrentPolicy | None,
    statistics: Mapping[str, Tensor] | None,
) -> dict[str, Mapping[str, Any]]:
    """The parts of an agent's file: enough to play, not to train.

    Args:
        policy_kwargs: what `policy` was made with, as data.
        timesteps: decisions that it has learned from.
        ema: its moving average, if there is one.
        statistics: how observations are scaled, if they are (see `agents.net.normalizer.state_of`).
    """
    agent = {
        "format": FORMAT,
        **plays(task),
        "policy_class": type(policy).__name__,
        "policy": policy_kwargs,
        "timesteps": timesteps,
    }
    parts: dict[str, Mapping[str, Any]] = {"agent.json": agent, "policy.safetensors": policy.state_dict()}
    if ema is not None:
        parts["ema.safetensors"] = ema.state_dict()
    if statistics is not None:
        parts["normalizer.safetensors"] = statistics
    return parts


def plays(task: Task) -> dict[str, Any]:
    """What `agent.json` says of the game, or of the world."""
    if task.rules is not None:
        return {"game": envs.name_of(task.rules), "options": dict(task.rules.options)}
    return {
        "observation_space": space_data(task.observation_space),
        "action_space": space_data(task.action_space),
    }


def alone(stored: Stored, weights: Weights | None = None, numbers: Numbers = "float32") -> dict[str, bytes]:
    """The files of a stored agent without its training, and with one copy of its weights.

    Args:
        stored: an agent of `load`.
        weights: which copy; None takes the moving average where there is one.
        numbers: what they are written in.

    Raises:
        CheckpointError: there is no such copy, or it is no agent's.
        ValueError: a weight is too large for float16.
    """
    network, task = network_of(stored, RecurrentPolicy)
    name = "ema.safetensors" if _is_averaged(stored, weights) else "policy.safetensors"
    load_weights(network, stored, name)
    told = dict(stored.json("agent.json"))
    told.pop("numbers", None)
    written = network.state_dict()
    if numbers == "float16":
        told["numbers"] = numbers
        written = {part: x.half() if x.is_floating_point() else x for part, x in written.items()}
        if too_large := [part for part, x in written.items() if not torch.isfinite(x).all()]:
            raise ValueError(f"{stored.path}: {too_large[0]} holds numbers that are too large for float16")
    parts: dict[str, Mapping[str, Any]] = {"agent.json": told, "policy.safetensors": written}
    if (statistics := statistics_of(stored, task)) is not None:
        parts["normalizer.safetensors"] = statistics
    return packed(parts)


def describe(stored: Stored) -> str:
    """What a file says of itself, in a few lines."""
    return "\n".join(f"- {key}: {value}" for key, value in stored.json("agent.json").items())


# ---------------------------------------------------------------- and back


def load(
    path: Source,
    *,
    which: Which = "latest",
    weights: Weights | None = None,
    device: str | torch.device = "cpu",
    deterministic: bool = False,
    seed: int = 0,
    policy: type[RecurrentPolicy] = RecurrentPolicy,
) -> Agent:
    """An agent from a run, a checkpoint, a file `MaskableRecurrentPPO.save` wrote, or an exported agent.

    Args:
        which: of a run, the "latest" or the "best" checkpoint.
        weights: "ema" or "raw"; None takes the moving average where there is one.
        deterministic: play the most probable action instead of drawing.
        seed: of the agent's draws.
        policy: its class, if it was trained with a subclass; no file names code.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: it is not a whole checkpoint, or of another class of policy.
        ValueError: there is no such device.
    """
    device, path = usable_device(device), shipped_agent(path)
    return _agent(read(path, which), _name(path), device, deterministic, seed, weights, policy)


def _agent(
    stored: Stored,
    name: str,
    device: torch.device,
    deterministic: bool,
    seed: int,
    weights: Weights | None = None,
    policy: type[RecurrentPolicy] = RecurrentPolicy,
) -> Agent:
    """The agent of a file, called `name`; the rest is as of `load`."""
    network, task = network_of(stored, policy)
    if "training.json" in stored:
        for check in CHECKS:
            check(stored)
        promised(stored)
    is_averaged = _is_averaged(stored, weights)
    load_weights(network, stored, "ema.safetensors" if is_averaged else "policy.safetensors")
    state = statistics_of(stored, task)
    scale = None if state is None else normalizer.Normalizer(state)
    return Agent(network.to(device), task, name, deterministic, seed, scale)


def _is_averaged(stored: Stored, weights: Weights | None) -> bool:
    """The averaged weights are meant, not the raw ones."""
    if weights == "ema" and "ema.safetensors" not in stored:
        raise stored.error("holds no averaged weights; load with weights='raw'")
    return weights != "raw" and "ema.safetensors" in stored


def load_player(
    spec: str | Path,
    game: envs.Game | None,
    *,
    weights: Weights | None = None,
    device: str | torch.device = "cpu",
    deterministic: bool = False,
    seed: int = 0,
    which: Which = "latest",
) -> Player:
    """A player of `game`: a fixed one by its name, or an agent by its path (see `load`), or a table.

    An agent of a world whose spaces are a game's own plays that game (see `SeatedAgent`). A run's checkpoint
    tells which; of a file alone it is `game`.

    Args:
        game: None takes the agent's own.
        weights: of an agent, as of `load`.
        deterministic: agents and tables play the most probable action instead of drawing.
        which: of a run, the "latest" or the "best" checkpoint.

    Raises:
        ValueError: `spec` is neither, the game has no such player, or the agent plays another game.
    """
    if game is not None and is_player_name(spec):
        return fixed_player(str(spec), game, seed)
    spec = shipped_agent(spec)
    if not found(spec).exists():
        told = f"{str(spec)!r} is neither a fixed player ({known(spec, FIXED_PLAYERS)}) nor a path"
        names = shipped_agents()
        raise ValueError(told + (f"; agents that come along are {known(spec, names)}" if names else ""))
    device, stored = usable_device(device), read(spec, which)
    if stored.json("agent.json").get("policy_class") == KIND:
        return _table_player(stored, spec, game, deterministic, seed)
    agent = _agent(stored, _name(spec), device, deterministic, seed, weights)
    played = (_game_of_world(stored) or game) if agent.task.rules is None else None
    player: Player = agent if played is None else SeatedAgent(agent, played)
    if game is not None and player.game != game:
        raise ValueError(f"{str(spec)!r} plays {player.game}, expected an agent of {game}")
    return player


def _table_player(
    stored: Stored, spec: str | Path, game: envs.Game | None, deterministic: bool, seed: int
) -> TablePlayer:
    """The player in a file of `TablePlayer.save`; what it plays is compared before its tree is walked."""
    told = _task(stored.json("agent.json"), stored, 0, 1).rules
    if told is None:
        raise stored.error("holds a table of no game")
    if game is not None and told != game:
        raise ValueError(f"{str(spec)!r} plays {told}, expected a player of {game}")
    player = read_table(stored, told, _name(spec), seed)
    return player.most_probable() if deterministic else player


def find_player(name: str, game: envs.Game) -> type[Player]:
    """The class of the fixed player that a person calls `name`, see `player_class`; or, if that is the path
    of a table, one of the player in it, which is registered under this name.

    Raises:
        ValueError: it is neither, or a table of another game.
    """
    is_taken = name in FIXED_PLAYERS and not issubclass(FIXED_PLAYERS[name], TablePlayer)
    if is_taken or not found(name).is_file():
        return player_class(name)
    stored = read(name)
    if stored.json("agent.json").get("policy_class") != KIND:
        raise ValueError(f"{name}: expected a fixed player or the file of a solved game, got an agent's file")
    FIXED_PLAYERS[name] = as_fixed(_table_player(stored, name, game, False, 0))
    return FIXED_PLAYERS[name]


def _name(path: Source) -> str:
    """What to call the agent in a table: the run's name, or the file's."""
    if not isinstance(path, (str, os.PathLike)):
        return "agent"
    path = found(path).resolve()
    if path.parent.name == "checkpoints":
        return f"{path.parent.parent.name}/{path.name}"
    return path.name.removesuffix(".zip") if path.is_file() else path.name


def _game_of_world(stored: Stored) -> envs.Game | None:
    """The game of the world that a run trained in, as its checkpoint says; None if it does not."""
    config = stored.json("training.json").get("config") if "training.json" in stored else None
    match config:
        case {"env": str(env), "env_kwargs": dict(arguments)}:
            return game_played(env, arguments)
    return None


CHECKS: list[Callable[[Stored], object]] = []
"""Asked of every file with its training state before an agent of it plays: each raises a `CheckpointError` of
what it does not believe. Who knows more of a file than who sits at the board adds one."""


def promised(stored: Stored) -> set[str]:
    """The copies of the policy that the file's own training kept; all must be there.

    Raises:
        CheckpointError: one is missing.
    """
    told = stored.json("training.json")["arguments"]
    kept = {"ema.safetensors"} if told.get("ema_decay", 0.0) > 0.0 else set()
    kept |= {"magnet.safetensors"} if told.get("magnet") in FROZEN else set()
    if missing := sorted(kept - set(stored)):
        raise stored.error(f"its arguments speak of {missing[0]}, which is missing")
    return kept


def statistics_of(stored: Stored, task: Task) -> dict[str, Tensor] | None:
    """How what is seen of `task` is scaled, if it is.

    Raises:
        CheckpointError: they are statistics of something else.
    """
    if "normalizer.safetensors" not in stored:
        return None
    state = stored.tensors("normalizer.safetensors")
    try:
        if task.rules is not None:
            raise ValueError("says how observations are scaled, and a game's never are")
        normalizer.check_state(state, task.observation_space)
    except ValueError as error:
        raise stored.error(error) from error
    return state


def load_weights(policy: nn.Module, stored: Stored, name: str) -> None:
    """Give a network the weights in the file `name`.

    Raises:
        CheckpointError: they are of another network, not finite, or damaged.
    """
    weights = _weights(stored, name)
    _check_tensors(weights, policy, stored)
    for part, x in weights.items():
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise stored.error(f"the weights hold numbers that are not finite, in {part}")
    policy.load_state_dict(weights)


def _weights(stored: Stored, name: str) -> dict[str, Tensor]:
    """The weights in the file `name`, in float32 if `agent.json` says that they were written in float16."""
    weights, numbers = stored.tensors(name), stored.json("agent.json").get("numbers", "float32")
    if numbers not in get_args(Numbers):
        raise stored.error(
            f"its weights are {reprlib.repr(numbers)}, expected one of {', '.join(get_args(Numbers))}"
        )
    if numbers == "float32":
        return weights
    for part, x in weights.items():
        if x.is_floating_point() and x.dtype != torch.float16:
            raise stored.error(f"its weights should be float16, {reprlib.repr(part)} is {x.dtype}")
    return {part: x.float() if x.is_floating_point() else x for part, x in weights.items()}


def _check_tensors(weights: Mapping[str, Tensor], policy: nn.Module, stored: Stored) -> None:
    """The weights have the names, shapes and dtypes of the network's own, or CheckpointError."""
    mine = policy.state_dict()
    for name in sorted({*mine, *weights}):
        told, wanted = (
            f"{x[name].dtype} {tuple(x[name].shape)}" if name in x else "none" for x in (weights, mine)
        )
        if told != wanted:
            raise stored.error(
                f"the weights do not fit the policy they claim: expected {reprlib.repr(name)} to be "
                f"{wanted}, got {told}"
            )


def network_of(stored: Stored, kind: type[RecurrentPolicy]) -> tuple[RecurrentPolicy, Task]:
    """The network that `agent.json` describes, of class `kind`, still without its weights; and its task.

    Raises:
        CheckpointError: it is of another class, or the weights in the file are of another network. Nothing
            is built that is larger than they are.
    """
    agent = stored.json("agent.json")
    if "algorithm" in agent:
        raise stored.error(
            f"is an agent of the stock algorithm {reprlib.repr(agent['algorithm'])}; it goes on with "
            "scripts/train.py --resume, and only agents of MaskableRecurrentPPO can be loaded alone"
        )
    name = agent.get("policy_class", RecurrentPolicy.__name__)
    if name == KIND:
        raise stored.error("holds a table, no network: name it where a player is expected")
    if name == TOKENS:
        raise stored.error(
            "holds a model of what comes next, which plays nothing: scripts/sequence.py takes it"
        )
    if name != kind.__name__:
        raise stored.error(
            f"its policy is of the class {reprlib.repr(name)}, which policy=... has to give, got "
            f"{kind.__name__}; no file names code to import"
        )
    weights = _weights(stored, "policy.safetensors")
    task = _task(agent, stored, sum(x.numel() for x in weights.values()), len(weights))

    def make() -> RecurrentPolicy:
        return kind(task.observation_space, task.action_space, task.seats, **agent["policy"])

    return built(stored, agent.get("policy"), POLICY_ARGUMENTS, make), task


Network = TypeVar("Network", bound=nn.Module)


def built(stored: Stored, told: Any, kinds: Mapping[str, Kind], make: Callable[[], Network]) -> Network:
    """The network that `make` makes of arguments that a file tells, still without its weights.

    Args:
        told: the arguments.
        kinds: what they may be, but for `lstm_kwargs` and `net_arch`.

    Raises:
        CheckpointError: they fit no network, or not the weights in the file. Nothing is built that is larger
            than they are.
    """
    weights = _weights(stored, "policy.safetensors")
    numbers = sum(x.numel() for x in weights.values())
    try:
        _check_policy_arguments(told, kinds, numbers, len(weights))
        with _NoLargerThan(2 * numbers + SPARE):
            network = make()
    except _TooLargeError as error:
        raise stored.error(f"the weights do not fit the policy they claim: {error}") from error
    except _UNFIT as error:
        raise stored.error(f"its policy does not fit this version ({_told(error)})") from error
    _check_tensors(weights, network, stored)
    return network


def _task(agent: Mapping[str, Any], stored: Stored, numbers: int, tensors: int) -> Task:
    """What `agent.json` says that the agent plays, of a size that fits so many `numbers` of weights."""
    try:
        if "action_space" in agent:
            most = max(2**16, 64 * numbers)  # an observation has no more numbers than that for every weight
            seen = read_space(agent.get("observation_space"), most, tensors)
            check_observations(seen)
            return World(seen, read_space(agent["action_space"], most, 0))
        options = agent.get("options")
        if not isinstance(agent.get("game"), str) or not isinstance(options, dict):
            raise ValueError(f"expected a game's name and options, got {reprlib.repr(agent.get('game'))}")
        return task_of(envs.registered(agent["game"], **options))
    except _UNFIT as error:
        raise stored.error(f"plays a game this version does not know ({_told(error)})") from error


# ---------------------------------------------------------------- sizes


_UNFIT = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What building from arguments that do not fit each other may end in."""


class _TooLargeError(Exception):
    pass


class _NoLargerThan(TorchFunctionMode):
    """While networks are built: no more numbers than so many are made room for.

    (On torch's meta device they would take no room at all, but its first use imports for seconds.)
    """

    FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.left = most, most

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self.FACTORIES:
            given = args or ((kwargs or {}).get("size", ()),)
            sizes = given[0] if isinstance(given[0], (tuple, list)) else given
            self.left -= math.prod(int(n) for n in sizes)
            if self.left < 0:
                raise _TooLargeError(f"it would have more than the {self.most} numbers that they allow")
        return func(*args, **(kwargs or {}))


def _told(error: BaseException) -> str:
    """An error in one line that is not too long, whatever a file made it repeat."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _check_policy_arguments(told: Any, kinds: Mapping[str, Kind], numbers: int, tensors: int) -> None:
    """Refuse arguments of a policy that no network of so many `numbers` in so many `tensors` can have.

    Raises:
        ValueError: one is of another type or out of range.
    """
    if not isinstance(told, dict):
        raise ValueError(f"policy must be an object, got {reprlib.repr(told)}")

    def check_size(name: str, value: Any, most: int) -> None:
        if checked(name, value, Kind(int, 1)) > most:
            raise _TooLargeError(
                f"{name} is {reprlib.repr(value)}, they are {numbers} numbers in {tensors} tensors"
            )

    for name, value in told.items():
        if name in kinds:
            kind = kinds[name]
            if name == "cell":  # only looked up: a policy of one's own might import what it is told
                registered("cell", checked(name, value, kind), CELLS)
            elif kind.type is int:
                check_size(name, value, tensors if name == "n_lstm_layers" else numbers)
            elif checked(name, value, kind) in (math.inf, -math.inf):
                raise ValueError(f"{name} must be finite, got {value}")
        elif name == "net_arch" and value is not None:
            parts = value if isinstance(value, dict) else {"pi": value}
            for part, widths in parts.items():
                if not isinstance(widths, list):
                    raise ValueError(f"net_arch must hold lists of widths, got {reprlib.repr(value)}")
                check_size(f"len(net_arch.{part})", len(widths) + 1, tensors)
                for width in widths:
                    check_size(f"net_arch.{part}", width, numbers)
        elif name == "lstm_kwargs" and value is not None:
            if not isinstance(value, dict):
                raise ValueError(f"lstm_kwargs must be an object, got {reprlib.repr(value)}")
            for key, option in value.items():
                if not isinstance(option, str):
                    checked(f"lstm_kwargs.{key}", option, Kind(float, -(2.0**31), 2.0**31))
