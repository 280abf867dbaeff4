"""Checkpoints: safe, atomic, complete.

A checkpoint is a folder of tensors (`*.safetensors`) and JSON; `manifest.json` lists every file with its
size and SHA-256 and is written last. The folder is filled under another name and renamed when complete,
so a killed run leaves either the whole checkpoint or none. What a kill leaves under other names is either
whole, and is read as if it had its own, or goes when the run goes on (`recover`).
`MaskableRecurrentPPO.save` writes the same files into one `.zip`. Nothing is ever unpickled, and no file
names code.

    agent.json            game, options, policy arguments
    policy.safetensors    the weights          ema.safetensors   their moving average, if kept
    normalizer.safetensors    how observations are scaled, if they are
    training.json         the algorithm's arguments, and in a run what it was asked ) not in an exported agent
    training.safetensors  optimiser, generators, matches, memories, opponents )
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import re
import reprlib
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors  # a JSON header and raw numbers: nothing is executed
from safetensors.torch import save as format_tensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import envs
from agents.learn.schedules import SCHEDULES, is_kept
from agents.net import normalizer, settings
from agents.net.cells import CELLS
from agents.net.policy import RecurrentPolicy, with_names
from agents.net.spaces import check_observations
from agents.net.task import World
from agents.packaged import shipped_agent
from agents.play.opposition import Opposition
from agents.play.players import FIXED_PLAYERS, Agent, Player, SeatedAgent, fixed_player
from agents.run.config import world_of
from envs.adapters.gymnasium import game_played
from envs.batch import fitting, usable_device
from envs.names import known, registered

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from agents.learn.algorithm import MaskableRecurrentPPO

FORMAT = "fogbound checkpoint 1"
MANIFEST = "manifest.json"
FILES = (
    "agent.json",
    "policy.safetensors",
    "ema.safetensors",
    "magnet.safetensors",
    "normalizer.safetensors",
    "training.json",
    "training.safetensors",
)
"""What a checkpoint may hold."""

MOST = 2**31 - 1
"""No count, size or seed in a file is larger."""


class Kind(NamedTuple):
    """What a file may say of an argument."""

    type: type[bool] | type[int] | type[float] | type[str]
    low: float = 0.0
    high: float = math.inf


STEP = re.compile(r"step_(0|[1-9][0-9]*)")
"""The name of a run's checkpoint; folders of other names are somebody else's."""

LEFT = re.compile(r"\.(step_(?:0|[1-9][0-9]*))\.[0-9]+\.(tmp|old|gone)")
"""What a kill leaves of a checkpoint that was being filled, replaced or removed, and its number."""

LEFT_FILE = re.compile(r"\..+\.[0-9]+\.tmp")
"""What a kill leaves of a file that was being written."""


ARGUMENTS = (
    "learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range",
    "clip_range_vf", "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm", "target_kl",
    "kl_coef", "magnet_coef", "shaping_coef",
    "magnet_every", "ema_decay", "snapshot_every", "seed",
)  # fmt: skip
"""Arguments of MaskableRecurrentPPO that a checkpoint keeps."""

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

Source = str | Path | IO[bytes]
"""A path, or an open file whose content is what `MaskableRecurrentPPO.save` wrote."""

Which = Literal["latest", "best"]
Weights = Literal["ema", "raw"]


class CheckpointError(ValueError):
    """A file is not a whole checkpoint; the message is one line and says what is wrong with it."""


# ---------------------------------------------------------------- what a model consists of


def files_of(model: MaskableRecurrentPPO) -> dict[str, bytes]:
    """The files of a model's checkpoint."""
    files = agent_files(model)
    if model.magnet_kind == "snapshot" and model.magnet is not None:
        files["magnet.safetensors"] = tensor_bytes(model.magnet.state_dict())
    opposition, told = model.opposition, None
    if opposition is not None:
        told = opposition.arguments if opposition.is_savable else {"code": opposition.arguments["players"]}
    training = {
        "matches": model.n_envs,
        "arguments": {name: _plain(getattr(model, name)) for name in ARGUMENTS}
        | {"magnet": model.magnet_kind},
        "opposition": told,
        "logging": {
            "tensorboard_log": model.tensorboard_log,
            "verbose": model.verbose,
            "stats_window_size": model._stats_window_size,
        },
        "total_timesteps": model._total_timesteps,
    }
    files["training.json"] = json_bytes(training)
    files["training.safetensors"] = tensor_bytes(model.state_dict())
    return files


def agent_files(model: MaskableRecurrentPPO) -> dict[str, bytes]:
    """The files of the model's agent alone: enough to play, not to train."""
    agent = {
        "format": FORMAT,
        **plays(model.game),
        "policy_class": type(model.policy).__name__,
        "policy": model.policy_kwargs,
        "timesteps": model.num_timesteps,
    }
    files = {"agent.json": json_bytes(agent), "policy.safetensors": tensor_bytes(model.policy.state_dict())}
    if model.ema is not None:
        files["ema.safetensors"] = tensor_bytes(model.ema.state_dict())
    return files | normalizer_files(model)


def normalizer_files(model: BaseAlgorithm) -> dict[str, bytes]:
    """The statistics that the model learned with, if it did."""
    state = normalizer.known_to(model)
    return {} if state is None else {"normalizer.safetensors": tensor_bytes(state)}


def restore_normalizer(model: BaseAlgorithm, files: Mapping[str, bytes], path: Source) -> None:
    """Give the statistics back to the model's `VecNormalize`; a model without worlds keeps them itself.

    Raises:
        CheckpointError: they do not fit it, or only one of the two is there.
    """
    worlds, content = model.get_vec_normalize_env(), files.get("normalizer.safetensors")
    if model.get_env() is None:
        if content is not None:
            normalizer.keep(model, _read_statistics(content, path, getattr(model, "game", None)))
        return
    if (worlds is None) != (content is None):
        have, lack = ("has none", "with") if worlds is None else ("has one", "without")
        raise CheckpointError(f"{path}: was trained {lack} VecNormalize, the env {have}")
    if worlds is not None and content is not None:
        try:
            normalizer.restore(worlds, _read_statistics(content, path))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}") from error


def optimizer_state(optimizer: torch.optim.Optimizer, policy: nn.Module) -> dict[str, Tensor]:
    """What the optimiser of `policy` remembers, as `optimizer.<parameter>.<moment>`."""
    names = [name for name, _ in policy.named_parameters()]
    return {
        f"optimizer.{names[k]}.{moment}": x
        for k, moments in optimizer.state_dict()["state"].items()
        for moment, x in moments.items()
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, policy: nn.Module, state: Mapping[str, Tensor]
) -> None:
    """Give the optimiser back what `optimizer_state` told; other entries of `state` are left alone.

    Raises:
        ValueError: it is the state of another optimiser.
    """
    optimizer.load_state_dict(_optimizer_dict(optimizer, policy, state))


def _optimizer_dict(
    optimizer: torch.optim.Optimizer, policy: nn.Module, state: Mapping[str, Tensor]
) -> dict[str, Any]:
    """What `optimizer_state` told, as the optimiser itself tells it; ValueError if it is of another one."""
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


MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam remembers of a parameter."""


def save_zip(model: MaskableRecurrentPPO, path: Source) -> None:
    """Write a model into one `.zip`, atomically, or into an open file.

    The ending is appended to a name that does not end so: `lr0.01` becomes `lr0.01.zip`.
    """
    files = files_of(model)
    check_finite(files, path)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [*files.items(), (MANIFEST, _manifest(files))]:
            archive.writestr(name, content)
    if isinstance(path, (str, os.PathLike)):
        write_file(with_ending(path, ".zip"), memory.getvalue())
        return
    if not hasattr(path, "write") or isinstance(path, io.TextIOBase):
        raise TypeError(f"expected a path or a file that is open for writing bytes, got {path!r}")
    path.write(memory.getvalue())


def with_ending(path: str | os.PathLike[str], ending: str) -> Path:
    """`path`, the ending appended if it does not end so; what is there already stays, dots and all."""
    path = Path(path)
    if not path.name:
        raise ValueError(f"expected the name of a file, got {str(path)!r}")
    return path if path.name.endswith(ending) else path.with_name(path.name + ending)


def found(path: str | os.PathLike[str]) -> Path:
    """What `path` means: what has this name, or else the file that has it with `.zip` behind."""
    path = Path(path)
    zipped = Path(f"{path}.zip")
    known = ("latest.json", "best.json", MANIFEST, "checkpoints")
    is_other = path.is_dir() and not any((path / name).exists() for name in known)
    return zipped if zipped.is_file() and (is_other or not path.exists()) else path


def check_finite(files: Mapping[str, bytes], path: Source) -> None:
    """Refuse a checkpoint of which weights, statistics or the optimiser's moments are not numbers any more.

    Raises:
        FloatingPointError: they are; the message names the first.
    """
    for file in (name for name in files if name.endswith(".safetensors")):
        for name, x in read_tensors(files[file], path).items():
            is_checked = {
                "normalizer.safetensors": name.endswith((".mean", ".var", ".count")),
                "training.safetensors": name.startswith("optimizer."),
            }.get(file, True)
            if is_checked and not torch.isfinite(x).all():
                raise FloatingPointError(
                    f"{path}: is not saved, {name} of {file} is no longer finite; a smaller learning_rate or "
                    "max_grad_norm may help, or rewards in a smaller range"
                )


def save_folder(files: Mapping[str, bytes], path: str | Path) -> bool:
    """Write a checkpoint's files as the folder `path`, atomically; an older one there is replaced.

    Returns:
        whether anything was written: not if the same is there already.
    """
    path = Path(path)
    if _holds(path, files):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        for name, content in [*files.items(), (MANIFEST, _manifest(files))]:
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if path.exists():  # killed between the two renames it is there under both other names
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        temporary.rename(path)
    finally:
        if not path.exists() and old.exists():
            old.rename(path)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
    _sync_folder(path.parent)
    return True


def _holds(path: Path, files: Mapping[str, bytes]) -> bool:
    """A whole checkpoint of these very files is at `path`."""
    try:
        return path.is_dir() and _read_folder(path) == files
    except CheckpointError:
        return False


def write_file(path: str | Path, content: bytes) -> None:
    """Replace the file `path` by `content`: afterwards it is the old one or the new one, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def point(run: Path, which: Which, checkpoint: Path) -> None:
    """Let the run's `latest.json` or `best.json` name `checkpoint`."""
    inside = checkpoint.resolve().relative_to(run.resolve()).as_posix()
    write_file(run / f"{which}.json", json_bytes({"checkpoint": inside}))


def prune(run: Path, present: Path, keep: int) -> None:
    """Remove the run's checkpoints beyond `keep`: first those behind `present`, a future that was given up.

    Then the oldest. `present` and what `latest.json` and `best.json` name always stay.
    """
    at, stay = _step(present), {present.resolve(), pointed(run, "latest"), pointed(run, "best")}
    order = sorted(steps_of(run), key=lambda path: (_step(path) <= at, _step(path)), reverse=True)
    for path in order[keep:]:
        if path.resolve() not in stay:
            gone = path.with_name(f".{path.name}.{os.getpid()}.gone")
            path.rename(gone)
            shutil.rmtree(gone)


def steps_of(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, by their names; links and other names are not the run's own."""
    found = (run / "checkpoints").iterdir() if (run / "checkpoints").is_dir() else iter(())
    return [path for path in found if STEP.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


def recover(run: Path) -> None:
    """Clear up after a kill: a whole checkpoint whose name is missing gets it back, other left-overs go.

    Only whoever holds the run's lock may do that: to others, what is being written looks like a left-over.
    """
    for path in _left(run):
        home = path.with_name(LEFT.fullmatch(path.name)[1])  # type: ignore[index]
        if not path.name.endswith(".gone") and not home.exists() and _is_whole(path):
            path.rename(home)
            _sync_folder(home.parent)
        else:
            shutil.rmtree(path)
    for folder in (run, run / "replays"):
        for file in folder.iterdir() if folder.is_dir() else ():
            if LEFT_FILE.fullmatch(file.name) and file.is_file():
                file.unlink()


def _left(run: Path) -> list[Path]:
    """Left-overs of a run's checkpoints, the newer one (.tmp) before the one that it was to replace."""
    found = (run / "checkpoints").iterdir() if (run / "checkpoints").is_dir() else iter(())
    left = [path for path in found if LEFT.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]
    return sorted(left, key=lambda path: path.suffix, reverse=True)


def _is_whole(path: Path) -> bool:
    try:
        _read_folder(path)
    except CheckpointError:
        return False
    return True


# ---------------------------------------------------------------- reading


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
    device = usable_device(device)
    path = shipped_agent(path)
    files = read(path, which)
    network, game = _policy(files, path, policy)
    if "training.json" in files:
        _promised(files, _arguments(_parse(files, "training.json", path), path), path)
    if weights == "ema" and "ema.safetensors" not in files:
        raise CheckpointError(f"{path}: holds no averaged weights; load with weights='raw'")
    name = "ema.safetensors" if weights != "raw" and "ema.safetensors" in files else "policy.safetensors"
    load_weights(network, files[name], path)
    scale = None
    if "normalizer.safetensors" in files:
        scale = normalizer.Normalizer(_read_statistics(files["normalizer.safetensors"], path, game))
    return Agent(network.to(device), game, _name(path), deterministic, seed, scale)


def copy_weights(path: Source, model: MaskableRecurrentPPO) -> None:
    """Let a new model, its averaged weights and its magnet begin with the weights of an agent (see `load`).

    The averaged ones, where it has them; a new average begins. A spatial policy fits boards of all sizes.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: it is not a whole checkpoint.
        ValueError: it is another network.
    """
    weights = load(path, policy=type(model.policy)).policy.state_dict()
    given = {name: list(x.shape) for name, x in weights.items()}
    wanted = {name: list(x.shape) for name, x in model.policy.state_dict().items()}
    differing = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
    if differing:
        name = differing[0]
        raise ValueError(
            f"{path}: its network is not the one to train, {len(differing)} of the tensors differ: expected "
            f"{name} of shape {wanted.get(name)}, got {given.get(name)}"
        )
    for policy in (model.policy, model.ema, model.magnet):
        if policy is not None:
            policy.load_state_dict(weights)
    model.ema_steps = 0


def load_player(
    spec: str | Path,
    game: envs.Game | None,
    *,
    device: str | torch.device = "cpu",
    deterministic: bool = False,
    seed: int = 0,
) -> Player:
    """A player of `game`: a fixed one by its name, or an agent by its path (see `load`).

    An agent of a world whose spaces are a game's own plays that game (see `SeatedAgent`). Its run tells
    which; of a file alone it is `game`.

    Args:
        game: None takes the agent's own.

    Raises:
        ValueError: `spec` is neither, the game has no such player, or the agent plays another game.
    """
    if game is not None and spec in FIXED_PLAYERS:
        return fixed_player(str(spec), game, seed)
    spec = shipped_agent(spec)
    if not found(spec).exists():
        raise ValueError(f"{str(spec)!r} is neither a fixed player ({known(spec, FIXED_PLAYERS)}) nor a path")
    agent: Player = load(spec, device=device, deterministic=deterministic, seed=seed)
    if isinstance(agent, Agent) and isinstance(agent.game, World):
        run = world_of(spec)
        played = (run and game_played(run.env, run.env_kwargs)) or game
        if played is not None:
            agent = SeatedAgent(agent, played)
    if game is not None and agent.game != game:
        raise ValueError(f"{str(spec)!r} plays {agent.game}, expected an agent of {game}")
    return agent


def load_model(
    path: Source,
    kind: type[MaskableRecurrentPPO],
    env: Any = None,
    device: str | torch.device = "auto",
    changes: Mapping[str, Any] | None = None,
    force_reset: bool = True,
) -> MaskableRecurrentPPO:
    """The whole model, of class `kind`, ready to go on training; see `load` for `path`.

    With `env` left out, the matches of a game go on exactly where they were; Gymnasium worlds cannot be
    saved, so there the model has no env. A given `env` begins anew, and so do the matches beside a given
    opposition. The saved opposition sits at whatever number of matches, with its past selves.

    Args:
        changes: arguments of `kind` that replace the saved ones, `policy` among them if it is a subclass.
        force_reset: of a given `env`, see `MaskableRecurrentPPO.set_env`.
    """
    changes, files = dict(changes or {}), read(path)
    policy_class = _policy_class(kind, changes.pop("policy", RecurrentPolicy))
    for name in ("training.json", "training.safetensors"):
        if name not in files:
            raise CheckpointError(f"{path}: is an agent without its training state; it can play, not train")
    agent, training = _parse(files, "agent.json", path), _parse(files, "training.json", path)
    _refuse_other_policy(changes, agent, path)
    arguments = _arguments(training, path)
    promised = _promised(files, arguments, path)
    matches, told = _count(training, "matches", 1, path), training.get("opposition")
    _, game = _policy(files, path, policy_class)
    state = _as_now(read_tensors(files["training.safetensors"], path))

    goes_on = env is None and isinstance(game, envs.Game)
    if isinstance(game, envs.Game) and env is None:
        if len(state.get("batch.episode", ())) != matches:
            raise CheckpointError(
                f"{path}: its training state does not fit: it holds none of {matches} matches; give it an env"
            )
        where = "cuda" if device == "auto" and torch.cuda.is_available() else device
        env = envs.Batch(game, matches, "cpu" if where == "auto" else where)
    elif isinstance(env, envs.Batch) and env.game != game:
        raise CheckpointError(f"{path}: is an agent of {game}, got matches of {env.game}")
    given: dict[str, Any] = {"device": env.device if isinstance(env, envs.Batch) else device}
    if told is not None and not isinstance(game, envs.Game):
        raise CheckpointError(f"{path}: has an opposition in a Gymnasium world, which takes none")
    if told is not None and isinstance(env, envs.Batch) and "opposition" not in changes:
        given["opposition"] = _opposition(told, env, path)
    asked = arguments | given | changes
    for name, value in asked.items():
        if isinstance(value, Coded):
            raise CheckpointError(
                f"{path}: its {name} is code ({value.text}), which files do not hold; give it again: "
                f"load(path, {name}=...)"
            )
    if given.get("opposition") is None:
        state = _without(state, "opposition.")
    if not goes_on or "opposition" in changes:
        state = _without(state, "batch.", "collector.")
    elif (state.get("batch.length", torch.tensor(0)) < 0).any():
        warnings.warn(
            f"{path}: does not say what was played in the matches going on, so they begin anew", stacklevel=3
        )
        env.reset(_batch_seed(state))
        state = _without(state, "batch.", "collector.")

    try:
        with warnings.catch_warnings():
            for name in changes:  # whoever gives code again knows that a file does not hold it
                if isinstance(arguments.get(name), Coded) or name == "opposition":
                    warnings.filterwarnings("ignore", rf"(the )?{name}\b.* files do not hold")
            model = kind(policy_class, None, policy_kwargs=agent["policy"], **asked)
        model.n_envs = matches
        model.begin(game)
        restore_normalizer(model, files, path)
        if env is not None:
            model.set_env(env, force_reset)  # its VecNormalize gets the statistics
    except CheckpointError:
        raise
    except ValueError as error:
        if changes:  # it may be what the caller gave
            raise
        told_of = f"its arguments do not fit this version ({error})" if goes_on else error
        raise CheckpointError(f"{path}: {told_of}") from error
    load_weights(model.policy, files["policy.safetensors"], path)
    magnet = model.magnet if model.magnet_kind == "snapshot" else None
    for copy, name in ((model.ema, "ema.safetensors"), (magnet, "magnet.safetensors")):
        if copy is not None and name in promised:
            load_weights(copy, files[name], path)
        elif copy is not None:  # asked for now
            copy.load_state_dict(model.policy.state_dict())
    try:
        model.load_state_dict(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: its training state does not fit: {error}") from error
    if goes_on:  # the Batch is a new one and has no say
        model._own_seed = int(state["deals"][1])
    if "ema.safetensors" not in promised:
        model.ema_steps = 0
    if model.collector is not None and model.magnet_kind != arguments["magnet"]:
        model.collector.magnet_cores = model.collector.memory.cores
    model._total_timesteps = _count(training, "total_timesteps", 0, path)
    return model


def _policy_class(kind: type[MaskableRecurrentPPO], policy: Any) -> type[RecurrentPolicy]:
    """The class of the policy; TypeError if it is no `RecurrentPolicy`."""
    policy = kind.policy_aliases.get(policy, policy) if isinstance(policy, str) else policy
    if not (isinstance(policy, type) and issubclass(policy, RecurrentPolicy)):
        raise TypeError(f"policy must be a subclass of RecurrentPolicy, got {policy!r}")
    return policy


def _refuse_other_policy(changes: dict[str, Any], agent: Mapping[str, Any], path: Source) -> None:
    """`policy_kwargs` may be given once more, but no others; they leave `changes`."""
    given = changes.pop("policy_kwargs", None)
    if given is None:
        return
    given = settings.plain(with_names(given), "policy_kwargs")
    if given != agent["policy"]:
        raise ValueError(f"{path}: its policy_kwargs are {agent['policy']}, got {given}; leave them out")


class Coded(NamedTuple):
    """Stands for an argument that is code, which a file only describes."""

    text: str


def _arguments(training: Mapping[str, Any], path: Source) -> dict[str, Any]:
    """The arguments of the algorithm that `training.json` names, checked; `Coded` where they are code."""
    told, logging = training.get("arguments"), training.get("logging", {})
    try:
        if not isinstance(told, dict) or not isinstance(logging, dict):
            raise ValueError(f"arguments must be an object, got {reprlib.repr(told)}")
        arguments: dict[str, Any] = {"ema_decay": 0.0, "magnet": "uniform"}
        for name, value in told.items():
            if name == "magnet" and value in ("uniform", "snapshot", "ema"):
                arguments[name] = value
            elif name in ARGUMENTS:
                arguments[name] = _saved(name, value)
            else:
                raise ValueError(f"no file may say {name} = {reprlib.repr(value)}")
        if "stats_window_size" in logging:
            arguments["stats_window_size"] = settings.check("stats_window_size", logging["stats_window_size"])
        if "verbose" in logging:
            arguments["verbose"] = _argument("verbose", logging["verbose"], Kind(int, 0, 2))
        arguments["tensorboard_log"] = _curves_folder(logging.get("tensorboard_log"), path)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: training.json does not fit this version ({error})") from error
    return arguments


def _saved(name: str, value: Any) -> Any:
    """A setting as a file keeps it, our schedules made; ValueError if it may not be so."""
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


def _curves_folder(told: Any, path: Source) -> str | None:
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
        f"{path}: its tensorboard_log, {told}, is not followed: other things lie there; say it at loading",
        stacklevel=4,
    )
    return None


def _argument(name: str, value: Any, kind: Kind) -> Any:
    """A value as a file may say it.

    Raises:
        ValueError: it is of another type or out of range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = is_number if kind.type is float else type(value) is kind.type
    if fits and is_number:
        fits = kind.low <= value <= kind.high
    if not fits:
        told = f" in {kind.low:g}..{kind.high:g}" if kind.type in (int, float) else ""
        raise ValueError(f"{name} must be {kind.type.__name__}{told}, got {reprlib.repr(value)}")
    return value


def _count(told: Mapping[str, Any], name: str, least: int, path: Source) -> int:
    """A whole number of `training.json`."""
    try:
        return int(_argument(name, told.get(name), Kind(int, least, 2**53)))
    except ValueError as error:
        raise CheckpointError(f"{path}: training.json does not fit this version ({error})") from error


def _promised(files: Mapping[str, bytes], arguments: Mapping[str, Any], path: Source) -> set[str]:
    """The copies of the policy that the file's own arguments keep; all must be there."""
    kept = set()
    if arguments["ema_decay"] > 0.0:
        kept.add("ema.safetensors")
    if arguments["magnet"] == "snapshot":
        kept.add("magnet.safetensors")
    if missing := sorted(kept - set(files)):
        raise CheckpointError(f"{path}: its arguments speak of {missing[0]}, which is missing")
    return kept


def _opposition(told: Any, env: envs.Batch, path: Source) -> Opposition:
    """The opposition that `training.json` describes, at the matches of `env`."""
    try:
        if isinstance(told, dict) and set(told) == {"code"}:
            raise CheckpointError(
                f"{path}: its opposition's players {reprlib.repr(told['code'])} are not in the file; give it "
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
        share = _argument("share", told["share"], Kind(float, 0, 1))
        pool_size = _argument("pool_size", told["pool_size"], Kind(int, -MOST, MOST))
        seed = _argument("seed", told["seed"], Kind(int, -(2**63), 2**63 - 1 - 100))
        return make_opposition(env.game, env.matches, share, players, pool_size, seed)
    except CheckpointError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its opposition does not fit this version ({error})") from error


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
        state = _without(state, "collector.") | opposition | matches
    return state


def _batch_seed(state: Mapping[str, Tensor]) -> int:
    """The seed of matches that begin anew."""
    seed = state.get("batch.seed", torch.zeros(1, dtype=torch.int64))
    return int(seed.flatten()[0]) if seed.dtype == torch.int64 and seed.numel() == 1 else 0


def _without(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: x for name, x in state.items() if not name.startswith(prefixes)}


def read_parameters(
    path: Source, optimizer: torch.optim.Optimizer, policy: nn.Module
) -> dict[str, dict[str, Any]]:
    """The weights in a file by name, and what it keeps of the optimiser, as `get_parameters` gives them."""
    files = read(path)
    parameters: dict[str, dict[str, Any]] = {
        name: dict(read_tensors(files[f"{name}.safetensors"], path))
        for name in ("policy", "ema", "magnet")
        if f"{name}.safetensors" in files
    }
    if "training.safetensors" in files:
        state = read_tensors(files["training.safetensors"], path)
        parameters["optimizer"] = _optimizer_dict(optimizer, policy, state)
    return parameters


def describe(path: Source) -> str:
    """What a file says of itself, in a few lines."""
    agent = _parse(read(path), "agent.json", path)
    return "\n".join(f"- {key}: {value}" for key, value in agent.items())


def make_opposition(
    game: envs.Game, matches: int, share: float, players: list[str], pool_size: int, seed: int
) -> Opposition:
    """An `Opposition` whose fixed players are given by name."""
    fixed = [fixed_player(name, game, seed + k) for k, name in enumerate(players)]
    return Opposition(game, matches, share, fixed, pool_size, seed)


def read(path: Source, which: Which = "latest") -> dict[str, bytes]:
    """The files of a checkpoint, every one checked against the manifest.

    Of a run whose `which` checkpoint is missing or damaged, the newest whole one, with a warning.
    """
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "read") or isinstance(path, io.TextIOBase):
            raise TypeError(f"expected a path or a file that is open for reading bytes, got {path!r}")
        return _read_zip(path)
    path = found(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such run, checkpoint or agent")
    if path.is_file():
        return _read_zip(path)
    return _find(path, which)[1]


def find(path: str | Path, which: Which = "latest") -> Path:
    """The folder of the checkpoint that `read` would read."""
    return _find(Path(path), which)[0]


def _find(path: Path, which: Which) -> tuple[Path, dict[str, bytes]]:
    """A checkpoint's folder and files."""
    if not (path / f"{which}.json").exists():
        if (path / MANIFEST).exists():
            return path, _read_folder(path)
        if not steps_of(path) and not _left(path):
            raise CheckpointError(f"{path}: holds no checkpoint (neither {which}.json nor {MANIFEST})")
    named = None
    try:
        named = _pointed(path, which)
        return named, _read_folder(named)
    except CheckpointError as error:
        if pointed(path, which) != named:  # a run that is trained meanwhile has gone on
            return _find(path, which)
        problems = {named: str(error)}
    for candidate in _newest_first(path):
        if candidate.resolve() == named:
            continue
        try:
            files = _read_folder(candidate)
        except CheckpointError as error:
            problems[candidate] = str(error)
        else:
            warnings.warn(
                f"{problems[named]}; the newest whole one is used instead, {candidate.name}", stacklevel=4
            )
            return candidate, files
    if len(problems) == 1:
        raise CheckpointError(problems[named])
    raise CheckpointError(f"{path}: none of its checkpoints is whole ({'; '.join(problems.values())})")


def _newest_first(run: Path) -> list[Path]:
    """A run's checkpoints, and of those that a kill left without their name what it left."""
    found = {path: (_step(path), 1, "") for path in steps_of(run)}
    for path in _left(run):
        home = path.with_name(LEFT.fullmatch(path.name)[1])  # type: ignore[index]
        if not path.name.endswith(".gone") and not home.exists():
            found[path] = (_step(home), 0, path.suffix)
    inside = run.resolve()
    return [
        path
        for path in sorted(found, key=found.__getitem__, reverse=True)
        if path.resolve().is_relative_to(inside)
    ]


def pointed(run: Path, which: Which) -> Path | None:
    """The checkpoint that the run's `latest.json` or `best.json` names, if there is one."""
    try:
        return _pointed(run, which)
    except CheckpointError:
        return None


def _pointed(run: Path, which: Which) -> Path:
    try:
        content = (run / f"{which}.json").read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{run}: has no {which}.json") from error
    except OSError as error:
        raise CheckpointError(f"{run}: {which}.json cannot be read ({error.strerror})") from error
    pointer = _parse({f"{which}.json": content}, f"{which}.json", run)
    checkpoint = (run / str(pointer.get("checkpoint")).replace("\0", "")).resolve()
    if not checkpoint.is_relative_to(run.resolve()) or not checkpoint.is_dir():
        raise CheckpointError(f"{run}: {which}.json names no checkpoint of this run: {pointer}")
    return checkpoint


def _read_folder(path: Path) -> dict[str, bytes]:
    try:
        if not (path / MANIFEST).is_file():
            raise CheckpointError(f"{path}: is incomplete, {MANIFEST} is missing")
        manifest = _read_manifest((path / MANIFEST).read_bytes(), path)
        missing = [name for name in manifest if not (path / name).is_file()]
        if missing:
            raise CheckpointError(f"{path}: is incomplete, {', '.join(missing)} is missing")
        return _verified({name: (path / name).read_bytes() for name in manifest}, manifest, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _read_zip(path: Path | IO[bytes]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if MANIFEST not in entries:
                raise CheckpointError(
                    f"{path}: is not a fogbound agent ({MANIFEST} is missing); pickled files are never opened"
                )
            # Stored, not compressed: what is read cannot be larger than the file itself.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise CheckpointError(f"{path}: is not a fogbound agent (its entries are compressed)")
            manifest = _read_manifest(archive.read(MANIFEST), path)
            missing = [name for name in manifest if name not in entries]
            if missing:
                raise CheckpointError(f"{path}: is incomplete, {', '.join(missing)} is missing")
            return _verified({name: archive.read(name) for name in manifest}, manifest, path)
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError) as error:  # zipfile raises all of these
        raise CheckpointError(
            f"{path}: is not a fogbound agent or is damaged ({error}); pickled files are never opened"
        ) from error


def _read_manifest(content: bytes, path: Source) -> dict[str, dict[str, Any]]:
    manifest = _parse({MANIFEST: content}, MANIFEST, path)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict):
        raise CheckpointError(f"{path}: expected the format {FORMAT!r}, got {manifest.get('format')!r}")
    unknown = sorted(set(files) - set(FILES))
    if unknown or not {"agent.json", "policy.safetensors"} <= set(files):
        raise CheckpointError(f"{path}: the manifest lists other files than a checkpoint's: {sorted(files)}")
    return files


def _verified(
    files: dict[str, bytes], manifest: Mapping[str, Mapping[str, Any]], path: Source
) -> dict[str, bytes]:
    for name, content in files.items():
        if manifest[name] != _entry(content):
            raise CheckpointError(
                f"{path}: {name} is damaged (its size or SHA-256 differs from the manifest)"
            )
    return files


def _policy(
    files: Mapping[str, bytes], path: Source, kind: type[RecurrentPolicy]
) -> tuple[RecurrentPolicy, envs.Game | World]:
    """The network that `agent.json` describes, of class `kind`, still without its weights; and its game.

    Raises:
        CheckpointError: it is of another class, or the weights in the file are of another network. Nothing
            is built that is larger than they are.
    """
    agent = _parse(files, "agent.json", path)
    if "algorithm" in agent:
        raise CheckpointError(
            f"{path}: is an agent of the stock algorithm {reprlib.repr(agent['algorithm'])}; it goes on with "
            "scripts/train.py --resume, and only agents of MaskableRecurrentPPO can be loaded alone"
        )
    name = agent.get("policy_class", RecurrentPolicy.__name__)
    if name != kind.__name__:
        raise CheckpointError(
            f"{path}: its policy is of the class {reprlib.repr(name)}, which policy=... has to give, got "
            f"{kind.__name__}; no file names code to import"
        )
    weights = read_tensors(files["policy.safetensors"], path)
    numbers = sum(x.numel() for x in weights.values())
    game = _game(agent, path, numbers, len(weights))
    actions = game.action_space if isinstance(game, World) else game.actions
    try:
        _check_policy_arguments(agent.get("policy"), numbers, len(weights))
        with _NoLargerThan(2 * numbers + SPARE):
            network = kind(game.observation_space, actions, game.seats, **agent["policy"])
    except _TooLargeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the policy they claim: {error}") from error
    except _UNFIT as error:
        raise CheckpointError(f"{path}: its policy does not fit this version ({_told(error)})") from error
    _check_tensors(weights, network, path)
    return network, game


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


def _check_policy_arguments(told: Any, numbers: int, tensors: int) -> None:
    """Refuse arguments of a policy that no network of so many `numbers` in so many `tensors` can have.

    Raises:
        ValueError: one is of another type or out of range.
    """
    if not isinstance(told, dict):
        raise ValueError(f"policy must be an object, got {reprlib.repr(told)}")

    def check_size(name: str, value: Any, most: int) -> None:
        if _argument(name, value, Kind(int, 1)) > most:
            raise _TooLargeError(
                f"{name} is {reprlib.repr(value)}, they are {numbers} numbers in {tensors} tensors"
            )

    for name, value in told.items():
        if name in POLICY_ARGUMENTS:
            kind = POLICY_ARGUMENTS[name]
            if name == "cell":  # only looked up: a policy of one's own might import what it is told
                registered("cell", _argument(name, value, kind), CELLS)
            elif kind.type is int:
                check_size(name, value, tensors if name == "n_lstm_layers" else numbers)
            elif _argument(name, value, kind) in (math.inf, -math.inf):
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
                    _argument(f"lstm_kwargs.{key}", option, Kind(float, -(2.0**31), 2.0**31))


def plays(game: envs.Game | World) -> dict[str, Any]:
    """What `agent.json` says of the game."""
    if isinstance(game, World):
        return {
            "observation_space": _space(game.observation_space),
            "action_space": _space(game.action_space),
        }
    return {"game": game.name, "options": dict(game.options)}


def _game(agent: Mapping[str, Any], path: Source, numbers: int, tensors: int) -> envs.Game | World:
    """What `agent.json` says that the agent plays, of a size that fits so many `numbers` of weights."""
    try:
        if "action_space" in agent:
            most = max(2**16, 64 * numbers)  # an observation has no more numbers than that for every weight
            seen = _read_space(agent.get("observation_space"), most, tensors)
            check_observations(seen)
            return World(seen, _read_space(agent["action_space"], most, 0))
        options = agent.get("options")
        if not isinstance(agent.get("game"), str) or not isinstance(options, dict):
            raise ValueError(f"expected a game's name and options, got {reprlib.repr(agent.get('game'))}")
        return envs.make(agent["game"], **options)
    except _UNFIT as error:
        raise CheckpointError(f"{path}: plays a game this version does not know ({_told(error)})") from error


def _space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A space as JSON."""
    match space:
        case spaces.Discrete():
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "dtype": str(space.dtype)}
        case spaces.MultiBinary():
            return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
        case spaces.Box():
            return {
                "kind": "Box",
                **{name: _bound(getattr(space, name)) for name in ("low", "high")},
                "shape": list(space.shape),
                "dtype": str(space.dtype),
            }
        case spaces.Dict():
            return {"kind": "Dict", "entries": {key: _space(entry) for key, entry in space.items()}}
        case _:
            raise ValueError(f"a checkpoint cannot hold the space {space}")


def _bound(bound: np.ndarray[Any, Any]) -> str | list[str]:
    """A Box's bound: one number if all entries are equal; as strings, because JSON has no infinity."""
    numbers = [str(number) for number in bound.ravel().tolist()]
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _read_bound(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """What `_bound` wrote."""
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, str) and len(number) <= 40 for number in numbers):
        raise ValueError(f"a bound must be numbers as strings, got {reprlib.repr(value)}")
    if isinstance(value, list) and len(value) != math.prod(shape):
        raise ValueError(f"{math.prod(shape)} bounds are needed, got {len(value)}")
    read = np.array([_read_number(number, dtype) for number in numbers], dtype)
    return np.broadcast_to(read.reshape(shape) if isinstance(value, list) else read[0], shape)


def _read_number(text: str, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return float(text)
    return text == "True" if dtype.kind == "b" else int(text)


def _read_space(value: Any, most: int, entries: int) -> spaces.Space[Any]:
    """What `_space` wrote, of at most so many numbers or codes; a Dict of at most so many entries, if any.

    Raises:
        ValueError: it is none, or too large.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a space, got {reprlib.repr(value)}")
    kind, size = value.get("kind"), Kind(int, 1, most)
    match kind:
        case "Discrete":
            start = _argument("start", value.get("start"), Kind(int, -(2**62), 2**62))
            return spaces.Discrete(_argument("n", value.get("n"), size), start=start)
        case "MultiDiscrete":
            sizes = _read_sizes("nvec", value.get("nvec"), size)
            if sum(sizes) > most:
                raise ValueError(f"nvec adds up to {sum(sizes)}, allowed are {most}")
            dtype = _read_dtype(value, "iu")
            if max(sizes) - 1 > np.iinfo(dtype).max:
                raise ValueError(f"nvec of {max(sizes)} does not fit {dtype}")
            return spaces.MultiDiscrete(sizes, dtype=dtype.type)
        case "MultiBinary":
            n = value.get("n")
            if isinstance(n, list):
                return spaces.MultiBinary(_read_shape("n", n, most))
            return spaces.MultiBinary(_argument("n", n, size))
        case "Box":
            shape, dtype = _read_shape("shape", value.get("shape"), most), _read_dtype(value, "iufb")
            low, high = (_read_bound(value.get(name), shape, dtype) for name in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        case "Dict" if entries > 0:
            told = value.get("entries")
            if not isinstance(told, dict) or not 0 < len(told) <= entries:
                raise ValueError(f"a Dict must have 1..{entries} entries, got {reprlib.repr(told)}")
            return spaces.Dict({key: _read_space(entry, most // len(told), 0) for key, entry in told.items()})
        case _:
            raise ValueError(f"unknown kind of space {reprlib.repr(kind)} here")


def _read_sizes(name: str, value: Any, size: Kind) -> list[int]:
    if not isinstance(value, list) or len(value) > size.high:
        raise ValueError(f"{name} must be a list of sizes, got {reprlib.repr(value)}")
    return [_argument(name, n, size) for n in value]


def _read_shape(name: str, value: Any, most: int) -> tuple[int, ...]:
    shape = tuple(_read_sizes(name, value, Kind(int, 1, most)))
    if len(shape) > 16 or math.prod(shape) > most:
        raise ValueError(f"{name} {reprlib.repr(value)} is too large, allowed are {most} numbers")
    return shape


def _read_dtype(value: Mapping[str, Any], kinds: str) -> np.dtype[Any]:
    name = str(value.get("dtype"))
    known_names = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
    known_names += ["float16", "float32", "float64", "bool"]
    if name not in known_names or np.dtype(name).kind not in kinds:
        raise ValueError(f"unknown dtype {reprlib.repr(name)}; known are {known(name, known_names)}")
    return np.dtype(name)


def load_weights(policy: nn.Module, content: bytes, path: Source) -> None:
    """Give a network the weights in a file's `content`.

    Raises:
        CheckpointError: they are of another network, not finite, or damaged.
    """
    weights = read_tensors(content, path)
    _check_tensors(weights, policy, path)
    for name, x in weights.items():
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise CheckpointError(f"{path}: the weights hold numbers that are not finite, in {name}")
    policy.load_state_dict(weights)


def _check_tensors(weights: Mapping[str, Tensor], policy: nn.Module, path: Source) -> None:
    """The weights have the names, shapes and dtypes of the network's own, or CheckpointError."""
    mine = policy.state_dict()
    for name in sorted({*mine, *weights}):
        told, wanted = (
            f"{x[name].dtype} {tuple(x[name].shape)}" if name in x else "none" for x in (weights, mine)
        )
        if told != wanted:
            raise CheckpointError(
                f"{path}: the weights do not fit the policy they claim: expected {reprlib.repr(name)} to be "
                f"{wanted}, got {told}"
            )


def _read_statistics(
    content: bytes, path: Source, game: envs.Game | World | None = None
) -> dict[str, Tensor]:
    """How observations are scaled; if `game` is given, those of it.

    Raises:
        CheckpointError: they are of something else, or no such numbers.
    """
    state = read_tensors(content, path)
    seen = None if game is None else game.observation_space
    sizes = {} if seen is None else {"observation": math.prod(seen.shape or ())}
    if isinstance(seen, spaces.Dict):
        sizes = {f"observation/{key}": math.prod(entry.shape or ()) for key, entry in seen.items()}
    for name, x in state.items():
        what, _, part = name.rpartition(".")
        fits = x.dtype == torch.float64 and bool(torch.isfinite(x).all())
        fits &= part != "var" or bool((x >= 0).all())
        fits &= what != "" or (x.dim() == 0 and bool((x > 0).all()))
        if seen is not None and what not in ("", "reward"):
            fits &= x.numel() == (1 if part == "count" else sizes.get(what))
        fits &= {"clip_obs", "epsilon"} <= set(state)
        fits &= what == "" or {f"{what}.{part}" for part in normalizer.PARTS} <= set(state)
        if not fits:
            raise CheckpointError(f"{path}: {reprlib.repr(name)} does not say how observations are scaled")
    return state


def read_tensors(content: bytes, path: Source) -> dict[str, Tensor]:
    """What `tensor_bytes` wrote."""
    try:
        tensors = parse_tensors(content)
    except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its tensors cannot be read ({error})") from error
    for name, x in tensors.items():
        if x.dtype == torch.bool and (x.view(torch.uint8) > 1).any():  # torch trusts them to be 0 or 1
            raise CheckpointError(f"{path}: its tensors cannot be read ({name} is neither true nor false)")
    return tensors


def _parse(files: Mapping[str, bytes], name: str, path: Source) -> dict[str, Any]:
    try:
        value = json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: {name} must hold an object, got {type(value).__name__}")
    return value


def _manifest(files: Mapping[str, bytes]) -> bytes:
    return json_bytes({"format": FORMAT, "files": {name: _entry(content) for name, content in files.items()}})


def _entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def tensor_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Tensors as a safetensors file, from whichever device."""
    return format_tensors({name: x.detach().cpu().contiguous().clone() for name, x in state.items()})


def json_bytes(value: Any) -> bytes:
    """A value as a JSON file."""
    return (json.dumps(value, indent=2, default=_number) + "\n").encode()


def _number(value: Any) -> Any:
    """NumPy's and torch's numbers as JSON can hold them."""
    if (number := settings.plain_number(value)) is value:
        raise TypeError(f"a file cannot hold {value!r:.80}")
    return number


def _plain(value: Any) -> Any:
    """An argument as JSON: numbers as they are, our schedules by name; of code only what it is called."""
    if not is_kept(value):
        return {"code": code_name(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = next(name for name, kind in SCHEDULES.items() if kind is type(value))
        return {"schedule": name, "arguments": dataclasses.asdict(value)}
    return value


def code_name(value: Any) -> str:
    """What a function, or the class of something that is called like one, is called."""
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _name(path: Source) -> str:
    """What to call the agent in a table: the run's name, or the file's."""
    if not isinstance(path, (str, os.PathLike)):
        return "agent"
    path = found(path).resolve()
    if path.parent.name == "checkpoints":
        return f"{path.parent.parent.name}/{path.name}"
    return path.name.removesuffix(".zip") if path.is_file() else path.name


def _sync_folder(path: Path) -> None:
    """Make a rename in the folder durable (where the system lets a folder be synced)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
