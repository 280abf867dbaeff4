"""What can be asked for on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import tyro

OPENSPIEL_HEADLINE, GENERALS_HEADLINE = "dark_hex:5", "generals:8"
"""The games for which there are goals."""


@dataclass(frozen=True)
class Common:
    """What all comparisons take."""

    repeats: int = 9
    """How often the sides take turns."""
    threads: int | None = None
    """CPU threads, of stepping and of torch on both sides; None = what torch chooses."""
    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: `env` measures its GPU rows, too; `train` computes there on both sides."""
    seed: int = 0
    """Of all draws."""
    markdown: bool = False
    """Print Markdown."""
    progress: bool = True
    """Show a progress bar if the terminal can."""

    def check_device(self) -> None:
        """The device is there, or ValueError."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device 'cuda' was asked for, but torch finds no CUDA device; use --device cpu")

    def check_sizes(self, **sizes: int | None) -> None:
        """All that are given are at least 1, or ValueError; a _ in a name is a - in a flag."""
        for name, value in {"repeats": self.repeats, "threads": self.threads, **sizes}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name.replace('_', '-')} must be at least 1, got {value}")


@dataclass(frozen=True)
class Env(Common):
    """Random legal play with mask and observation; matches are played to their end and begin anew."""

    games: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="GAME")] = (
        *(OPENSPIEL_HEADLINE, "phantom_tictactoe", "kuhn_poker", "leduc_poker", "dark_hex:11"),
        GENERALS_HEADLINE,
    )
    """Games to step; dark_hex and generals take the side of their board behind a colon."""
    matches: int | None = None
    """Matches side by side on our side; None = 4,096, of generals 1,024. The others play one at a time."""
    seconds: float = 0.5
    """Time per side and repeat."""
    check_matches: int = 4096
    """Matches of each side whose mean length and return are compared before."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        self.check_device()
        if self.check_matches < 2:
            raise ValueError(f"check-matches must be at least 2, got {self.check_matches}")
        if not self.seconds > 0.0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}")
        self.check_sizes(matches=self.matches)


@dataclass(frozen=True)
class Train(Common):
    """Training, rollout and update, with one core shared by both heads: phantom tic-tac-toe by self-play,
    and one agent in a Gymnasium world."""

    cells: tuple[str, ...] = ("gated", "lstm")
    """Our cells; the peer's is always an LSTM."""
    matches: tuple[int, ...] = (64,)
    """Matches of phantom tic-tac-toe side by side, one table row each."""
    worlds: tuple[int, ...] = (8, 64, 256)
    """Gymnasium worlds side by side, one table row each."""
    world: str = "CartPole-v1"
    """Which."""
    hidden: int = 128
    """Units of the core, on both sides."""
    net_arch: tuple[int, ...] = (64,)
    """Widths of the layers between core and heads, on both sides."""
    n_steps: int = 32
    """Decisions of each match in a rollout."""
    n_epochs: int = 4
    """Passes over a rollout."""
    minibatches: int = 4
    """Minibatches of a pass."""
    updates: int = 2
    """Rollouts and updates per side and repeat."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        self.check_device()
        for lanes in self.matches + self.worlds:
            if lanes < 1 or self.minibatches < 1 or lanes % self.minibatches:
                raise ValueError(f"matches must be a multiple of {self.minibatches} minibatches, got {lanes}")
        self.check_sizes(
            hidden=self.hidden,
            n_steps=self.n_steps,
            n_epochs=self.n_epochs,
            minibatches=self.minibatches,
            updates=self.updates,
        )


@dataclass(frozen=True)
class Cell(Common):
    """The recurrent cells along time, forward and back, beside torch's own layers and beside the matrix
    products alone; on the CPU."""

    cells: tuple[str, ...] = ("gated", "lstm")
    """Ours."""
    shapes: tuple[str, ...] = ("16,256,64,128", "64,256,128,256", "32,32,128,128")
    """T,B,I,H: steps, matches, inputs, units."""
    starts: float = 0.1
    """The share of our decisions that begin a match; torch's layers know no starts."""
    input_gradient: bool = False
    """The inputs want a gradient, too."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        if self.device != "cpu":
            raise ValueError("`cell` compares on the CPU; use --device cpu")
        if not 0.0 <= self.starts <= 1.0:
            raise ValueError(f"starts must be in 0..1, got {self.starts}")
        self.check_sizes()
        self.sizes()

    def sizes(self) -> list[tuple[int, int, int, int]]:
        """The shapes as numbers, or ValueError."""
        found = []
        for shape in self.shapes:
            numbers = shape.split(",")
            if len(numbers) != 4 or not all(n.isdecimal() and int(n) >= 1 for n in numbers):
                raise ValueError(f"a shape is four numbers T,B,I,H of at least 1, got {shape!r}")
            T, B, inputs, H = map(int, numbers)
            found.append((T, B, inputs, H))
        return found
