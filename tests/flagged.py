"""What the tests of flags share: configurations with flags over them."""

from __future__ import annotations

from agents.gym.config import WORLD_CHOICES, WorldConfig
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import CONFIGS, Config, read_config
from agents.run.flags import read_flags

GENERALS, BATTLESHIP, HEX = (
    CONFIGS / f"{name}.yaml" for name in ("generals_6x6", "battleship_gated", "dark_hex_gated")
)
CARTPOLE = CONFIGS / "cartpole_novel_gated.yaml"


def read(path, *words, kind=Config):
    """The configuration with the flags over it, and what was said."""
    said, choices = [], SELF_PLAY_CHOICES if kind is Config else WORLD_CHOICES
    default = read_config(path, kind)
    return read_flags(kind, list(map(str, words)), choices=choices, default=default, say=said.append), said


def world(*words):
    return read(CARTPOLE, *words, kind=WorldConfig)
