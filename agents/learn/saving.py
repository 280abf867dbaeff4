"""Training as data: what a model's file says beside the agent, read and checked before a model is made of it.

`MaskableRecurrentPPO.parts` says what there is to save, and `from_stored` makes a model of it. Here is what
lies between: `training.json`, what an optimiser remembers, and what may be changed at loading.
"""

from __future__ import annotations

import dataclasses
import reprlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import envs
from agents.files import CheckpointError, Kind, Parts, Source, Stored, checked
from agents.net import settings
from agents.net.arguments import Coded
from agents.net.policy import RecurrentPolicy, with_names
from agents.net.spaces import World
from agents.play import agent_file
from agents.play.opposition import Opposition, make_opposition
from envs.batch import fitting

MOST = 2**31 - 1
"""No size of a pool in a file is larger."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam remembers of a parameter."""


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
    optimizer: torch.optim.Optimizer, policy: nn.Module, state: Mapping[str, Tensor]
) -> dict[str, Any]:
    """What `optimizer_state` told, as the optimiser's own `load_state_dict` takes it.

    Other entries of `state` are left alone.

    Raises:
        ValueError: it is the state of another optimiser.
    """
    told, taken = optimizer.state_dict(), set()
    for k, (name, parameter) in enumerate(policy.named_parameters()):
        prefix = f"optimizer.{name}."
        moments = {}
        for moment in (*MOMENTS, "max_exp_avg_sq"):  # the last of Adam with amsgrad
            if prefix + moment not in state:
                continue
            like = torch.tensor(0.0) if moment == "step" else parameter
            moments[moment] = fitting(state, prefix + moment, like)
            taken.add(prefix + moment)
            if moment != "exp_avg" and (moments[moment] < 0).any():
                raise ValueError(f"the saved {prefix}{moment} is below 0")
        if moments:
            if not set(MOMENTS) <= set(moments):
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


# ---------------------------------------------------------------- a file, before a model is made of it


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a model's file says, checked by itself; no model is made yet."""

    stored: Stored
    game: envs.Game | World
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

    def batch(self, device: str | torch.device) -> envs.Batch:
        """As many matches as it learned from.

        Raises:
            CheckpointError: the state is not of so many.
        """
        assert isinstance(self.game, envs.Game)
        if len(self.state.get("batch.episode", ())) != self.matches:
            raise self.stored.error(
                f"its training state does not fit: it holds none of {self.matches} matches; give it an env"
            )
        where = "cuda" if device == "auto" and torch.cuda.is_available() else device
        return envs.Batch(self.game, self.matches, "cpu" if where == "auto" else where)

    def begin_anew_if_untold(self, batch: envs.Batch) -> bool:
        """Whether the file does not say what was played in the matches going on; then `batch` begins anew."""
        if not (self.state.get("batch.length", torch.tensor(0)) < 0).any():
            return False
        warnings.warn(
            f"{self.stored.path}: does not say what was played in the matches going on, so they begin anew",
            stacklevel=4,
        )
        seed = self.state.get("batch.seed", torch.zeros(1, dtype=torch.int64))
        batch.reset(int(seed.flatten()[0]) if seed.dtype == torch.int64 and seed.numel() == 1 else 0)
        return True

    def refuse_policy_kwargs(self, given: Mapping[str, Any] | None) -> None:
        """They may be given once more, but no others.

        Raises:
            ValueError: they are others.
        """
        if given is None:
            return
        given = settings.plain(with_names(given), "policy_kwargs")
        if given != self.policy_kwargs:
            path = self.stored.path
            raise ValueError(
                f"{path}: its policy_kwargs are {self.policy_kwargs}, got {given}; leave them out"
            )

    def opposition_at(self, env: Any) -> dict[str, Opposition]:
        """The saved opposition at the matches `env`, as an argument; none if nobody sat opposite."""
        if self.opposition is None:
            return {}
        if not isinstance(self.game, envs.Game):
            raise self.stored.error("has an opposition in a Gymnasium world, which takes none")
        if not isinstance(env, envs.Batch):
            return {}
        return {"opposition": _read_opposition(self.opposition, env, self.stored)}


def read_saved(stored: Stored, policy_class: type[RecurrentPolicy]) -> Saved:
    """What a model's file says.

    Raises:
        CheckpointError: it is no model's, contradicts itself or is of another class of policy.
    """
    for name in ("training.json", "training.safetensors"):
        if name not in stored:
            raise stored.error("is an agent without its training state; it can play, not train")
    training = stored.json("training.json")
    arguments = agent_file.arguments_of(stored)
    _, game = agent_file.network_of(stored, policy_class)
    return Saved(
        stored,
        game,
        stored.json("agent.json")["policy"],
        arguments | _read_logging(training, stored),
        agent_file.promised(stored, arguments),
        _count(training, "matches", 1, stored),
        training.get("opposition"),
        _count(training, "total_timesteps", 0, stored),
        agent_file.statistics_of(stored, game),
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


def refuse_code(arguments: Mapping[str, Any], stored: Stored) -> None:
    """Refuse arguments of which the file only says that they were code, and that nobody gave again.

    Raises:
        CheckpointError: names the first.
    """
    for name, value in arguments.items():
        if isinstance(value, Coded):
            raise stored.error(
                f"its {name} is code ({value.text}), which files do not hold; give it again: "
                f"load(path, {name}=...)"
            )
