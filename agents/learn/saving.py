"""Training as data: what a model's file says beside the agent, read and checked before a model is made of it.

`MaskableRecurrentPPO.parts` says what there is to save, and `from_stored` makes a model of it. Here is what
lies between: `training.json`, what an optimiser remembers, and what may be changed at loading.
"""

from __future__ import annotations

import contextlib
import dataclasses
import reprlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import envs
from agents.files import CheckpointError, Kind, Parts, Source, Stored, checked
from agents.learn.schedules import SCHEDULES, is_kept
from agents.learn.settings import NAMES
from agents.net import settings
from agents.net.policy import RecurrentPolicy, with_names
from agents.net.task import Task
from agents.play import agent_file
from agents.play.opposition import Opposition, make_opposition
from envs.batch import fitting
from envs.names import known

MOST = 2**31 - 1
"""No size of a pool in a file is larger."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam remembers of a parameter."""

ANEW = (
    "the state was saved on another kind of device, whose random draws cannot go on here: they "
    "begin anew from the seed, and training goes on, but no longer bit for bit"
)
"""What is said of generators that cannot go on."""

KEPT = (*NAMES, "snapshot_every", "seed")
"""The arguments of `MaskableRecurrentPPO` that a file keeps."""


class Coded(NamedTuple):
    """Stands for an argument that is code, which a file only describes."""

    text: str


def code_name(value: Any) -> str:
    """What a function, or the class of something that is called like one, is called."""
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def as_data(value: Any) -> Any:
    """An argument as JSON: numbers as they are, our schedules by name; of code only what it is called."""
    if not is_kept(value):
        return {"code": code_name(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = next(name for name, kind in SCHEDULES.items() if kind is type(value))
        return {"schedule": name, "arguments": dataclasses.asdict(value)}
    return value


def read_arguments(told: Any) -> dict[str, Any]:
    """The arguments that a file names, checked, our schedules made; `Coded` where they are code.

    Raises:
        ValueError, TypeError: it says what it may not.
    """
    if not isinstance(told, dict):
        raise ValueError(f"arguments must be an object, got {reprlib.repr(told)}")
    arguments: dict[str, Any] = {"ema_decay": 0.0, "magnet": "uniform"}
    for name, value in told.items():
        if name in KEPT:
            arguments[name] = _read_argument(name, value)
        else:
            raise ValueError(f"no file may say {name} = {reprlib.repr(value)}")
    return arguments


def _read_argument(name: str, value: Any) -> Any:
    """What `as_data` wrote."""
    if isinstance(value, dict) and set(value) == {"code"} and settings.SETTINGS[name].may_change:
        return Coded(reprlib.repr(value["code"]))
    if isinstance(value, dict):
        schedule, fields = str(value.get("schedule")), value.get("arguments")
        is_known = set(value) == {"schedule", "arguments"} and schedule in SCHEDULES
        if not is_known or not isinstance(fields, dict):
            raise ValueError(
                f"{name} is no schedule: {reprlib.repr(value)}; known are {known(schedule, SCHEDULES)}"
            )
        value = SCHEDULES[schedule](**fields)
    return settings.check(name, value)


def arguments_of(stored: Stored) -> dict[str, Any]:
    """The algorithm's arguments that `training.json` names, checked (see `read_arguments`)."""
    try:
        return read_arguments(stored.json("training.json").get("arguments"))
    except CheckpointError:
        raise
    except (TypeError, ValueError) as error:
        raise stored.error(f"training.json does not fit this version ({error})") from error


agent_file.CHECKS.append(arguments_of)


def check_finite(parts: Parts, path: Source) -> None:
    """Refuse to save weights, statistics or the optimiser's moments that are not numbers any more.

    Raises:
        FloatingPointError: they are; the message names the first.
    """
    for part in (name for name in parts if name.endswith(".safetensors")):
        for name, x in parts[part].items():
            is_checked = {
                "normalizer.safetensors": name.endswith((".mean", ".var", ".count")),
                "training.safetensors": name.startswith("optimizer."),
            }.get(part, True)
            if is_checked and not torch.isfinite(x).all():
                raise FloatingPointError(
                    f"{path}: is not saved, {name} of {part} is no longer finite; a smaller learning_rate or "
                    "max_grad_norm may help, or rewards in a smaller range"
                )


def without(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """A state less what these parts of it say."""
    return {name: x for name, x in state.items() if not name.startswith(prefixes)}


# ---------------------------------------------------------------- the optimiser


def optimizer_state(optimizer: torch.optim.Optimizer, policy: nn.Module) -> dict[str, Tensor]:
    """What the optimiser of `policy` remembers, as `optimizer.<parameter>.<moment>`."""
    names = [name for name, _ in policy.named_parameters()]
    return {
        f"optimizer.{names[k]}.{moment}": x
        for k, moments in optimizer.state_dict()["state"].items()
        for moment, x in moments.items()
    }


def optimizer_dict(
    optimizer: torch.optim.Optimizer,
    policy: nn.Module,
    state: Mapping[str, Tensor],
    kept: tuple[str, ...] = MOMENTS,
) -> dict[str, Any]:
    """What `optimizer_state` told, as the optimiser's own `load_state_dict` takes it.

    Other entries of `state` are left alone.

    Args:
        kept: what the optimiser remembers of every parameter.

    Raises:
        ValueError: it is the state of another optimiser.
    """
    told, taken = optimizer.state_dict(), set()
    for k, (name, parameter) in enumerate(policy.named_parameters()):
        prefix = f"optimizer.{name}."
        moments = {}
        for moment in (*kept, "max_exp_avg_sq"):  # the last of Adam with amsgrad
            if prefix + moment not in state:
                continue
            like = torch.tensor(0.0) if moment == "step" else parameter
            moments[moment] = fitting(state, prefix + moment, like)
            taken.add(prefix + moment)
            if moment != "exp_avg" and (moments[moment] < 0).any():
                raise ValueError(f"the saved {prefix}{moment} is below 0")
        if moments:
            if not set(kept) <= set(moments):
                raise ValueError(f"the saved optimiser has of {name} only {', '.join(moments)}")
            told["state"][k] = moments
    if unknown := sorted({name for name in state if name.startswith("optimizer.")} - taken):
        raise ValueError(f"the saved optimiser has {unknown[0]}, which the network has not")
    return told


def read_parameters(
    stored: Stored, optimizer: torch.optim.Optimizer, policy: nn.Module
) -> dict[str, dict[str, Any]]:
    """The weights in a file by name, and what it keeps of the optimiser, as `get_parameters` gives them."""
    parameters: dict[str, dict[str, Any]] = {
        name: dict(stored.tensors(f"{name}.safetensors"))
        for name in ("policy", "ema", "magnet")
        if f"{name}.safetensors" in stored
    }
    if "training.safetensors" in stored:
        state = stored.tensors("training.safetensors")
        parameters["optimizer"] = optimizer_dict(optimizer, policy, state)
    return parameters


def check_weights(name: str, module: nn.Module, given: Any, is_exact: bool) -> None:
    """Refuse weights of other names or shapes than those of the `module` called `name`.

    Args:
        is_exact: all of them are given; else those that have the name of one of its own are looked at.

    Raises:
        ValueError: names the first.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: expected its tensors by name, got {type(given).__name__}")
    own = {key: tuple(x.shape) for key, x in module.state_dict().items()}
    got = {key: tuple(torch.as_tensor(x).shape) for key, x in given.items()}
    keys = set(own) | set(got) if is_exact else set(own) & set(got)
    differing = sorted(key for key in keys if own.get(key) != got.get(key))
    if differing:
        key = differing[0]
        raise ValueError(
            f"{name}: {len(differing)} of its tensors differ: expected {key} of shape {own.get(key)}, got "
            f"{got.get(key)}"
        )


# ---------------------------------------------------------------- a file, before a model is made of it


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a model's file says, checked by itself; no model is made yet."""

    stored: Stored
    task: Task
    policy_kwargs: dict[str, Any]
    arguments: dict[str, Any]
    """The algorithm's and the logger's; `Coded` where they are code."""
    promised: set[str]
    """The files of the copies of the policy that the arguments keep."""
    matches: int
    opposition: Any
    """As `training.json` tells it."""
    total_timesteps: int
    statistics: dict[str, Tensor] | None
    """How observations are scaled, if they are."""
    state: dict[str, Tensor]
    """See `MaskableRecurrentPPO.state_dict`, by today's names."""

    @property
    def own_seed(self) -> int:
        """Of the Batch, which deals where the model has no seed."""
        return int(self.state["deals"][1])

    def asked_for(self, env: Any, device: str | torch.device, changes: dict[str, Any]) -> AskedFor:
        """What to make and go on with, in `env` or where the matches were, if arguments are to change.

        Raises:
            CheckpointError: the file does not fit `env`, or lacks what was code and is not given again.
            ValueError: other `policy_kwargs` are given than the saved ones.
        """
        self._refuse_policy_kwargs(changes.pop("policy_kwargs", None))
        goes_on = env is None and self.task.rules is not None and not self.is_cut
        if self.is_cut and env is None and self.task.rules is not None:
            env = envs.Batch(self.task.rules, self.matches, _where(device))
        if goes_on:
            env = self._batch(device)
        elif isinstance(env, envs.Batch) and env.game != self.task.rules:
            raise self.stored.error(f"is an agent of {self.task.plays}, got matches of {env.game}")
        opposition = {} if "opposition" in changes else self._opposition_at(env)
        where = env.device if isinstance(env, envs.Batch) else device
        arguments = self.arguments | opposition | {"device": where} | changes
        self._refuse_code(arguments)
        begins_anew = [] if opposition else ["opposition."]
        if not goes_on or "opposition" in changes or self._leaves_matches_untold(env):
            begins_anew += ["batch.", "collector."]
        return AskedFor(env, goes_on, arguments, without(self._uncut(), *begins_anew))

    @property
    def is_cut(self) -> bool:
        """It is of shards (`agents.learn.shards`), whose matches go on together or not at all."""
        return "shard.0.generator" in self.state

    def _uncut(self) -> dict[str, Tensor]:
        """The state, as of one that is not cut: with the draws of the first shard, and nothing of matches."""
        if not self.is_cut:
            return self.state
        warnings.warn(
            f"{self.stored.path}: its matches are cut into shards, which only `selfplay --resume` goes on "
            "with; here other ones begin",
            stacklevel=5,
        )
        names = {"generator": "generator", "shuffler": "shuffler", "torch": "noise"}
        draws = {name: self.state[f"shard.0.{own}"] for name, own in names.items()}
        return without(self.state, "shard.", "past.") | draws

    def _batch(self, device: str | torch.device) -> envs.Batch:
        """As many matches as it learned from."""
        assert self.task.rules is not None
        if len(self.state.get("batch.episode", ())) != self.matches:
            raise self.stored.error(
                f"its training state does not fit: it holds none of {self.matches} matches; give it an env"
            )
        return envs.Batch(self.task.rules, self.matches, _where(device))

    def _leaves_matches_untold(self, batch: envs.Batch) -> bool:
        """The file does not say what was played in the matches going on; then `batch` begins anew."""
        if not (self.state.get("batch.length", torch.tensor(0)) < 0).any():
            return False
        warnings.warn(
            f"{self.stored.path}: does not say what was played in the matches going on, so they begin anew",
            stacklevel=5,
        )
        seed = self.state.get("batch.seed", torch.zeros(1, dtype=torch.int64))
        batch.reset(int(seed.flatten()[0]) if seed.dtype == torch.int64 and seed.numel() == 1 else 0)
        return True

    def _refuse_policy_kwargs(self, given: Mapping[str, Any] | None) -> None:
        """They may be given once more, but no others."""
        if given is None:
            return
        given = settings.plain(with_names(given), "policy_kwargs")
        if given != self.policy_kwargs:
            path = self.stored.path
            raise ValueError(
                f"{path}: its policy_kwargs are {self.policy_kwargs}, got {given}; leave them out"
            )

    def _opposition_at(self, env: Any) -> dict[str, Opposition]:
        """The saved opposition at the matches `env`, as an argument; none if nobody sat opposite."""
        if self.opposition is None:
            return {}
        if self.task.rules is None:
            raise self.stored.error("has an opposition in a Gymnasium world, which takes none")
        if not isinstance(env, envs.Batch):
            return {}
        return {"opposition": _read_opposition(self.opposition, env, self.stored)}

    def _refuse_code(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments of which the file only says that they were code, and that nobody gave again."""
        for name, value in arguments.items():
            if isinstance(value, Coded):
                raise self.stored.error(
                    f"its {name} is code ({value.text}), which files do not hold; give it again: "
                    f"load(path, {name}=...)"
                )


def _where(device: str | torch.device) -> str | torch.device:
    """Where matches are, if nobody gave any."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


class AskedFor(NamedTuple):
    """What a saved model is made from and goes on with."""

    env: Any
    goes_on: bool
    """`env` is the saved matches, which go on where they were."""
    arguments: dict[str, Any]
    state: dict[str, Tensor]
    """Of the saved state what does not begin anew."""


NOT_CHANGED = {"self", "env", "device", "use_sde", "sde_sample_freq", "_init_setup_model"}
"""Arguments of a model that are no changes of a saved one."""


def changes_of(
    changes: Mapping[str, Any], custom_objects: Mapping[str, Any] | None, arguments: set[str]
) -> dict[str, Any]:
    """What replaces saved arguments, said in `changes` or in SB3's older way.

    Args:
        arguments: the names of those that a model has.

    Raises:
        TypeError: it has none of such a name.
    """
    older, names = dict(custom_objects or {}), arguments - NOT_CHANGED
    if "lr_schedule" in older:
        older.setdefault("learning_rate", older.pop("lr_schedule"))
    if "policy_class" in older:
        older.setdefault("policy", older.pop("policy_class"))
    all_changes = older | dict(changes)
    for name in all_changes:
        if name not in names:
            raise TypeError(f"load has no argument {name!r}; known are {known(name, sorted(names))}")
    return all_changes


def policy_class(policy: Any, aliases: Mapping[str, type[RecurrentPolicy]]) -> type[RecurrentPolicy]:
    """The class that `policy` names or is.

    Raises:
        TypeError: it is no `RecurrentPolicy`.
    """
    policy = aliases.get(policy, policy) if isinstance(policy, str) else policy
    if not (isinstance(policy, type) and issubclass(policy, RecurrentPolicy)):
        raise TypeError(f"policy must be a subclass of RecurrentPolicy, got {policy!r}")
    return policy


@contextlib.contextmanager
def code_given_again(saved: Saved, changes: Iterable[str]) -> Iterator[None]:
    """No warning that a file does not hold the code in `changes`: whoever gives it again knows."""
    with warnings.catch_warnings():
        for name in changes:
            if isinstance(saved.arguments.get(name), Coded) or name == "opposition":
                warnings.filterwarnings("ignore", rf"(the )?{name}\b.* files do not hold")
        yield


def read_saved(stored: Stored, policy_class: type[RecurrentPolicy]) -> Saved:
    """What a model's file says.

    Raises:
        CheckpointError: it is no model's, contradicts itself or is of another class of policy.
    """
    for name in ("training.json", "training.safetensors"):
        if name not in stored:
            raise stored.error("is an agent without its training state; it can play, not train")
    training = stored.json("training.json")
    arguments = arguments_of(stored)
    _, task = agent_file.network_of(stored, policy_class)
    return Saved(
        stored,
        task,
        stored.json("agent.json")["policy"],
        arguments | _read_logging(training, stored),
        agent_file.promised(stored),
        _count(training, "matches", 1, stored),
        training.get("opposition"),
        _count(training, "total_timesteps", 0, stored),
        agent_file.statistics_of(stored, task),
        _as_now(stored.tensors("training.safetensors")),
    )


def _as_now(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A training state by today's names. What earlier ones say of running matches is not looked at."""
    if "ema_steps" not in state:
        steps = [x for name, x in state.items() if name.startswith("optimizer.") and name.endswith(".step")]
        state["ema_steps"] = torch.tensor(max([int(x.max()) for x in steps if x.numel() > 0], default=0))
    if "deals" not in state:
        state["deals"] = torch.tensor([1, 0])
    if "collector.start" in state and "batch.episode" not in state:
        old = "collector.opposition."
        opposition = {f"opposition.{n.removeprefix(old)}": x for n, x in state.items() if n.startswith(old)}
        episode = torch.zeros(len(state["collector.start"].flatten()), dtype=torch.int64)
        matches = {"batch.episode": episode, "batch.length": episode - 1}
        if "collector.batch._seed" in state:
            matches["batch.seed"] = state["collector.batch._seed"]
        state = without(state, "collector.") | opposition | matches
    return state


def _count(training: Mapping[str, Any], name: str, least: int, stored: Stored) -> int:
    """A whole number of `training.json`."""
    try:
        return int(checked(name, training.get(name), Kind(int, least, 2**53)))
    except ValueError as error:
        raise stored.error(f"training.json does not fit this version ({error})") from error


def _read_logging(training: Mapping[str, Any], stored: Stored) -> dict[str, Any]:
    """The logger's arguments that `training.json` names."""
    told, arguments = training.get("logging", {}), {}
    try:
        if not isinstance(told, dict):
            raise ValueError(f"logging must be an object, got {reprlib.repr(told)}")
        if "stats_window_size" in told:
            arguments["stats_window_size"] = settings.check("stats_window_size", told["stats_window_size"])
        if "verbose" in told:
            arguments["verbose"] = checked("verbose", told["verbose"], Kind(int, 0, 2))
        arguments["tensorboard_log"] = _curves_folder(told.get("tensorboard_log"), stored)
    except ValueError as error:
        raise stored.error(f"training.json does not fit this version ({error})") from error
    return arguments


def _curves_folder(told: Any, stored: Stored) -> str | None:
    """The folder of TensorBoard's curves that a file names, as far as a stranger's may be followed.

    Below the present folder, or where there is nothing yet, or curves; anywhere else it is forgotten.
    """
    if told is None:
        return None
    if not isinstance(told, str) or "\0" in told:
        raise ValueError(f"tensorboard_log must be a path, got {reprlib.repr(told)}")
    folder = Path(told)
    is_below = not folder.is_absolute() and ".." not in folder.parts
    if is_below or not folder.exists():
        return told
    if folder.is_dir() and (any(folder.glob("*/events.out.*")) or not any(folder.iterdir())):
        return told
    warnings.warn(
        f"{stored.path}: its tensorboard_log, {told}, is not followed: other things lie there; say it at "
        "loading",
        stacklevel=6,
    )
    return None


def _read_opposition(told: Any, batch: envs.Batch, stored: Stored) -> Opposition:
    """The opposition that `training.json` describes, at the matches of `batch`."""
    try:
        if isinstance(told, dict) and set(told) == {"code"}:
            raise stored.error(
                f"its opposition's players {reprlib.repr(told['code'])} are not in the file; give it "
                "again: load(path, opposition=...), or None to learn without"
            )
        names = ("share", "players", "pool_size", "seed")
        if not isinstance(told, dict) or set(told) != set(names):
            raise ValueError(f"expected {', '.join(names)}, got {reprlib.repr(told)}")
        players = told["players"]
        if (
            not isinstance(players, list)
            or len(players) > 100
            or not all(isinstance(x, str) for x in players)
        ):
            raise ValueError(f"players must be a list of names, at most 100, got {reprlib.repr(players)}")
        share = checked("share", told["share"], Kind(float, 0, 1))
        pool_size = checked("pool_size", told["pool_size"], Kind(int, -MOST, MOST))
        seed = checked("seed", told["seed"], Kind(int, -(2**63), 2**63 - 1 - 100))
        return make_opposition(batch.game, batch.matches, share, players, pool_size, seed)
    except CheckpointError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise stored.error(f"its opposition does not fit this version ({error})") from error
