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
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors  # a JSON header and raw numbers: nothing is executed
from safetensors.torch import save as format_tensors
from torch import Tensor, nn

import envs
from agents import normalizer
from agents.config import world_of
from agents.packaged import shipped_agent
from agents.players import FIXED_PLAYERS, Agent, Player, SeatedAgent, fixed_player
from agents.policy import RecurrentPolicy
from agents.schedules import SCHEDULES
from agents.selfplay import Opposition
from agents.worlds import World
from envs.adapters.gymnasium import game_played
from envs.batch import usable_device

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from agents.ppo import MaskableRecurrentPPO

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
    opposition = model.opposition
    if opposition is not None and not opposition.is_savable:
        raise ValueError(
            f"a checkpoint names the fixed opponents {opposition.arguments['players']}, and can name only "
            f"{', '.join(FIXED_PLAYERS)}"
        )
    training = {
        "matches": model.n_envs,
        "arguments": {name: _plain(getattr(model, name)) for name in ARGUMENTS}
        | {"magnet": model.magnet_kind},
        "opposition": None if opposition is None else opposition.arguments,
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
        "policy": model.policy_kwargs,
        "timesteps": model.num_timesteps,
    }
    files = {"agent.json": json_bytes(agent), "policy.safetensors": tensor_bytes(model.policy.state_dict())}
    if model.ema is not None:
        files["ema.safetensors"] = tensor_bytes(model.ema.state_dict())
    return files | normalizer_files(model)


def normalizer_files(model: BaseAlgorithm) -> dict[str, bytes]:
    """The statistics that the model's `VecNormalize` holds, if it has one."""
    worlds = model.get_vec_normalize_env()
    return {} if worlds is None else {"normalizer.safetensors": tensor_bytes(normalizer.state_of(worlds))}


def restore_normalizer(model: BaseAlgorithm, files: Mapping[str, bytes], path: str | Path) -> None:
    """Give the statistics back to the model's `VecNormalize`.

    Raises:
        CheckpointError: they do not fit it, or only one of the two is there.
    """
    worlds, content = model.get_vec_normalize_env(), files.get("normalizer.safetensors")
    if (worlds is None) != (content is None):
        have, lack = ("has none", "with") if worlds is None else ("has one", "without")
        raise CheckpointError(f"{path}: was trained {lack} VecNormalize, the env {have}")
    if worlds is not None and content is not None:
        try:
            normalizer.restore(worlds, read_tensors(content, path))
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
    """Give the optimiser back what `optimizer_state` told; other entries of `state` are left alone."""
    told = optimizer.state_dict()
    for k, (name, _) in enumerate(policy.named_parameters()):
        prefix = f"optimizer.{name}."
        moments = {n.removeprefix(prefix): x for n, x in state.items() if n.startswith(prefix)}
        if moments:
            told["state"][k] = moments
    optimizer.load_state_dict(told)


def save_zip(model: MaskableRecurrentPPO, path: str | Path) -> None:
    """Write a model into one `.zip` (the ending is added if it lacks one), atomically."""
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".zip")
    files = files_of(model)
    check_finite(files, path)
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [*files.items(), (MANIFEST, _manifest(files))]:
            archive.writestr(name, content)
    write_file(path, memory.getvalue())


def check_finite(files: Mapping[str, bytes], path: str | Path) -> None:
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
    path: str | Path,
    *,
    which: Which = "latest",
    weights: Weights | None = None,
    device: str | torch.device = "cpu",
    deterministic: bool = False,
    seed: int = 0,
) -> Agent:
    """An agent from a run, a checkpoint, a file `MaskableRecurrentPPO.save` wrote, or an exported agent.

    Args:
        which: of a run, the "latest" or the "best" checkpoint.
        weights: "ema" or "raw"; None takes the moving average where there is one.
        deterministic: play the most probable action instead of drawing.
        seed: of the agent's draws.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: it is not a whole checkpoint.
        ValueError: there is no such device.
    """
    device = usable_device(device)
    path = shipped_agent(path)
    files = read(path, which)
    policy, game = _policy(files, path)
    if weights == "ema" and "ema.safetensors" not in files:
        raise CheckpointError(f"{path}: holds no averaged weights; load with weights='raw'")
    name = "ema.safetensors" if weights != "raw" and "ema.safetensors" in files else "policy.safetensors"
    load_weights(policy, files[name], path)
    scale = None
    if "normalizer.safetensors" in files:
        scale = normalizer.Normalizer(read_tensors(files["normalizer.safetensors"], path))
    return Agent(policy.to(device), game, _name(path), deterministic, seed, scale)


def copy_weights(path: str | Path, model: MaskableRecurrentPPO) -> None:
    """Let a new model, its averaged weights and its magnet begin with the weights of an agent (see `load`).

    The averaged ones, where it has them. A spatial policy fits boards of all sizes.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CheckpointError: it is not a whole checkpoint.
        ValueError: it is another network.
    """
    weights = load(path).policy.state_dict()
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
    if not Path(spec).exists() and not Path(spec).with_suffix(".zip").exists():
        raise ValueError(f"{str(spec)!r} is neither a fixed player ({', '.join(FIXED_PLAYERS)}) nor a path")
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
    path: str | Path,
    kind: type[MaskableRecurrentPPO],
    env: Any = None,
    device: str | torch.device = "auto",
    changes: Mapping[str, Any] | None = None,
) -> MaskableRecurrentPPO:
    """The whole model, of class `kind`, ready to go on training; see `load` for `path`.

    With `env` left out, the matches of a game go on exactly where they were; Gymnasium worlds cannot be
    saved, so there the model has no env. A given `env` begins anew.

    Args:
        changes: arguments of `kind` that replace the saved ones.
    """
    files = read(path)
    for name in ("training.json", "training.safetensors"):
        if name not in files:
            raise CheckpointError(f"{path}: is an agent without its training state; it can play, not train")
    agent, training = _parse(files, "agent.json", path), _parse(files, "training.json", path)
    _, game = _policy(files, path)
    state = read_tensors(files["training.safetensors"], path)
    try:
        arguments: dict[str, Any] = {
            name: SCHEDULES[value["schedule"]](**value["arguments"]) if isinstance(value, dict) else value
            for name, value in training["arguments"].items()
        } | dict(changes or {})
        own_matches = env is None and isinstance(game, envs.Game)
        if env is None and isinstance(game, envs.Game):
            where = "cuda" if device == "auto" and torch.cuda.is_available() else device
            env = envs.Batch(game, training["matches"], "cpu" if where == "auto" else where)
        elif isinstance(env, envs.Batch) and env.game != game:
            raise CheckpointError(f"{path}: is an agent of {game}, got matches of {env.game}")
        opposition, told = None, training["opposition"]
        if told is not None and isinstance(env, envs.Batch) and env.matches == training["matches"]:
            opposition = make_opposition(env.game, env.matches, **told)
        arguments |= {"device": env.device if isinstance(env, envs.Batch) else device}
        model = kind("MlpLstmPolicy", None, policy_kwargs=agent["policy"], opposition=opposition, **arguments)
        model.n_envs = training["matches"]
        model.begin(game)
        if env is not None:
            model.set_env(env)
            restore_normalizer(model, files, path)
        load_weights(model.policy, files["policy.safetensors"], path)
        for policy, name in ((model.ema, "ema.safetensors"), (model.magnet, "magnet.safetensors")):
            if policy is not None and name in files:
                load_weights(policy, files[name], path)
        if not own_matches:
            state = {name: x for name, x in state.items() if not name.startswith("collector.")}
        model.load_state_dict(state)
        model._total_timesteps = training["total_timesteps"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its training state does not fit this version ({error})") from error
    return model


def make_opposition(
    game: envs.Game, matches: int, share: float, players: list[str], pool_size: int, seed: int
) -> Opposition:
    """An `Opposition` whose fixed players are given by name."""
    fixed = [fixed_player(name, game, seed + k) for k, name in enumerate(players)]
    return Opposition(game, matches, share, fixed, pool_size, seed)


def read(path: str | Path, which: Which = "latest") -> dict[str, bytes]:
    """The files of a checkpoint, every one checked against the manifest.

    Of a run whose `which` checkpoint is missing or damaged, the newest whole one, with a warning.
    """
    path = Path(path)
    if not path.exists() and path.with_suffix(".zip").exists():
        path = path.with_suffix(".zip")
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


def _read_zip(path: Path) -> dict[str, bytes]:
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


def _read_manifest(content: bytes, path: Path) -> dict[str, dict[str, Any]]:
    manifest = _parse({MANIFEST: content}, MANIFEST, path)
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, dict):
        raise CheckpointError(f"{path}: expected the format {FORMAT!r}, got {manifest.get('format')!r}")
    unknown = sorted(set(files) - set(FILES))
    if unknown or not {"agent.json", "policy.safetensors"} <= set(files):
        raise CheckpointError(f"{path}: the manifest lists other files than a checkpoint's: {sorted(files)}")
    return files


def _verified(
    files: dict[str, bytes], manifest: Mapping[str, Mapping[str, Any]], path: Path
) -> dict[str, bytes]:
    for name, content in files.items():
        if manifest[name] != _entry(content):
            raise CheckpointError(
                f"{path}: {name} is damaged (its size or SHA-256 differs from the manifest)"
            )
    return files


def _policy(files: Mapping[str, bytes], path: str | Path) -> tuple[RecurrentPolicy, envs.Game | World]:
    agent = _parse(files, "agent.json", path)
    if "algorithm" in agent:
        raise CheckpointError(
            f"{path}: is an agent of the stock algorithm {agent['algorithm']}; it goes on with "
            "scripts/train.py --resume, and only agents of MaskableRecurrentPPO can be loaded alone"
        )
    game = _game(agent, path)
    actions = game.action_space if isinstance(game, World) else game.actions
    try:
        return RecurrentPolicy(game.observation_space, actions, game.seats, **agent["policy"]), game
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its policy does not fit this version ({error})") from error


def plays(game: envs.Game | World) -> dict[str, Any]:
    """What `agent.json` says of the game."""
    if isinstance(game, World):
        return {
            "observation_space": _space(game.observation_space),
            "action_space": _space(game.action_space),
        }
    return {"game": game.name, "options": dict(game.options)}


def _game(agent: Mapping[str, Any], path: str | Path) -> envs.Game | World:
    try:
        if "action_space" in agent:
            return World(_read_space(agent["observation_space"]), _read_space(agent["action_space"]))
        return envs.make(agent["game"], **agent["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: plays a game this version does not know ({error})") from error


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


def _read_bound(value: str | list[str], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """What `_bound` wrote."""
    numbers = np.array(value, dtype=np.float64 if dtype.kind == "f" else dtype)
    return np.broadcast_to(numbers if numbers.ndim == 0 else numbers.reshape(shape), shape).astype(dtype)


def _read_space(value: Mapping[str, Any]) -> spaces.Space[Any]:
    """What `_space` wrote."""
    match value["kind"]:
        case "Discrete":
            return spaces.Discrete(value["n"], start=value["start"])
        case "MultiDiscrete":
            return spaces.MultiDiscrete(value["nvec"], dtype=np.dtype(value["dtype"]).type)
        case "MultiBinary":
            return spaces.MultiBinary(value["n"])
        case "Box":
            shape, dtype = tuple(value["shape"]), np.dtype(value["dtype"])
            low, high = (_read_bound(value[name], shape, dtype) for name in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        case "Dict":
            return spaces.Dict({key: _read_space(entry) for key, entry in value["entries"].items()})
        case kind:
            raise ValueError(f"unknown kind of space {kind!r}")


def load_weights(policy: nn.Module, content: bytes, path: str | Path) -> None:
    """Give a network the weights in a file's `content`.

    Raises:
        CheckpointError: they are of another network, or damaged.
    """
    try:
        policy.load_state_dict(read_tensors(content, path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: the weights do not fit the policy they claim: {reason}") from error


def read_tensors(content: bytes, path: str | Path) -> dict[str, Tensor]:
    """What `tensor_bytes` wrote."""
    try:
        return parse_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: its tensors cannot be read ({error})") from error


def _parse(files: Mapping[str, bytes], name: str, path: str | Path) -> dict[str, Any]:
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
    return (json.dumps(value, indent=2) + "\n").encode()


def _plain(value: Any) -> Any:
    """An argument as JSON: numbers as they are, our schedules by name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = next(name for name, kind in SCHEDULES.items() if kind is type(value))
        return {"schedule": name, "arguments": dataclasses.asdict(value)}
    if callable(value):
        raise ValueError(f"a schedule made of {value!r} cannot be saved; use one of {', '.join(SCHEDULES)}")
    return value


def _name(path: str | Path) -> str:
    """What to call the agent in a table: the run's name, or the file's."""
    path = Path(path).resolve()
    if path.parent.name == "checkpoints":
        return f"{path.parent.parent.name}/{path.name}"
    return path.stem if path.is_file() else path.name


def _sync_folder(path: Path) -> None:
    """Make a rename in the folder durable (where the system lets a folder be synced)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
