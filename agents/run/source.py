"""What a run learns from: a file or folder of records, read, parted and told as its network takes it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import envs
from agents.learn.recorded import Recorded
from agents.learn.streams import arrangements, decisions, seat_streams, token_names, with_mirrored
from agents.play import records
from agents.play.records import folder, setups, told
from envs.seeds import derived_seed

Model = Literal["tokens", "clone"]
Part = Literal["train", "validation", "all"]


@dataclasses.dataclass(frozen=True)
class Source:
    """What a file or folder of records gives a model."""

    digest: str
    """SHA-256 of the file."""
    about: dict[str, Any]
    """What the sequences are of, as data."""
    game: envs.Game | None
    """None of arrangements."""
    part: Callable[[Part], Recorded]
    """The sequences for training, for validation, or all; which are which follows from each one alone."""
    counted: Callable[[], dict[str, float]]
    """Perplexities on the validation part of what counting on the training part predicts."""

    @property
    def names(self) -> list[str]:
        """Of the tokens."""
        return list(self.about["names"])


def read_source(path: str | Path, model: Model, player: str | None = None, gamma: float = 1.0) -> Source:
    """What records give a model.

    Args:
        path: matches or arrangements, see `agents.play.records`.
        player: learn from the decisions of this player alone.
        gamma: discount per own decision of what a clone's value tells.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        RecordError: a line is none, or the split is empty.
        ValueError: the model cannot learn from them.
    """
    if not str(path):
        raise ValueError("say with --data which records to learn from")
    if not setups.is_setups(path):
        return _matches(path, model, player, gamma)
    if model == "clone" or player is not None:
        raise ValueError(
            f"{path}: holds arrangements, which nobody plays: expected model tokens and no player"
        )
    return _setups(path)


def _setups(path: str | Path) -> Source:
    there = {part: setups.load(path, part) for part in ("train", "validation", "all")}
    armies = np.unique(np.sort(there["all"].pieces), axis=0)
    if len(armies) > 1:
        raise ValueError(f"{path}: expected arrangements of one army, got {len(armies)} different ones")
    army = armies[0]
    return Source(
        digest=_digest(Path(path), setups.FILE),
        about={"kind": "setups", "names": list(setups.LETTERS), "army": army.tolist()},
        game=None,
        part=lambda part: arrangements(there[part]),
        counted=lambda: told.perplexities(there["train"], there["validation"]),
    )


def _matches(path: str | Path, model: Model, player: str | None, gamma: float) -> Source:
    matches = records.load(path)
    is_validation = matches.is_validation(records.split_at(path))
    split = records.split_at(path)

    def part(name: Part) -> Recorded:
        chosen = matches.of(split.chosen(name, is_validation, path))
        return decisions(chosen, player, gamma) if model == "clone" else seat_streams(chosen, player)

    game = matches.game
    about = {"kind": "matches", "game": envs.name_of(game), "options": dict(game.options)}
    if model == "tokens":
        about["names"] = token_names(matches)
    return Source(_digest(Path(path), folder.FILE), about, game, part, dict)


def _digest(path: Path, inside: str) -> str:
    with (path / inside if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_learn_from(source: Source, examples: int | None, mirror: bool, seed: int) -> Recorded:
    """The training part, or so many of its sequences drawn with `seed`; mirrored ones beside them if asked.

    Raises:
        ValueError: there are not so many, or nothing to mirror.
    """
    data = source.part("train")
    if examples is not None:
        if examples > len(data):
            raise ValueError(f"examples must be at most the {len(data):,} there are, got {examples:,}")
        data = sample_of(data, examples, seed)
    if mirror and source.game is not None:
        raise ValueError("mirror is for arrangements; what is mirrored in a match only its rules know")
    return with_mirrored(data) if mirror else data


def sample_of(data: Recorded, count: int, seed: int) -> Recorded:
    """So many of the sequences at most, drawn with `seed`."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "examples"))
    return data.select(torch.randperm(len(data), generator=generator)[:count])
