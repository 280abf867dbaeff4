"""What can be asked for on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

OPENSPIEL_HEADLINE, GENERALS_HEADLINE = "dark_hex:5", "generals:8"
"""The games for which there are goals."""

RECALL = "recall"
"""The world of `benchmarks.worlds`."""

DRAWN = (".svg", ".png", ".pdf")
"""What a plot's file may end in."""


@dataclass(frozen=True)
class Common:
    """What all comparisons take."""

    repeats: int = 15
    """How often the sides take turns."""
    threads: int | None = None
    """CPU threads, of stepping and of torch on both sides; None = what torch chooses."""
    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: `env` measures its GPU rows, too; `cell`, `play` and `train` compute there, on both sides."""
    seed: int = 0
    """Of all draws."""
    markdown: bool = False
    """Print Markdown."""
    json: Path | None = None
    """Write every number to this file: rows, samples, machine, versions, command."""
    progress: bool = True
    """Show a progress bar if the terminal can."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        raise NotImplementedError

    def check_here(self) -> None:
        """The device is there, and the folder of the file, or ValueError."""
        if self.json is not None and not self.json.parent.is_dir():
            raise ValueError(f"json: there is no folder {str(self.json.parent)!r} for the file")
        if self.json is not None and self.json.is_dir():
            raise ValueError(f"json must be a file, {str(self.json)!r} is a folder")
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
        *("dark_hex:3", OPENSPIEL_HEADLINE, "dark_hex:11"),
        *("phantom_tictactoe", "kuhn_poker", "leduc_poker", GENERALS_HEADLINE),
    )
    """Games to step; dark_hex and generals take the side of their board behind a colon."""
    matches: tuple[int, ...] = (4096, 16384)
    """Matches side by side on our side, each on one thread and on all. The others play one at a time."""
    seconds: float = 0.2
    """Time per side and repeat."""
    check_matches: int = 4096
    """Matches of each side whose mean length and return are compared before."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        self.check_here()
        if self.check_matches < 2:
            raise ValueError(f"check-matches must be at least 2, got {self.check_matches}")
        if not self.seconds > 0.0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}")
        for matches in self.matches or (0,):
            self.check_sizes(matches=matches)


@dataclass(frozen=True)
class Network(Common):
    """The network of `play` and `train`, with one core shared by both heads."""

    cells: tuple[str, ...] = ("gated", "lstm")
    """Our cells; the peer's is always an LSTM."""
    hidden: int = 128
    """Units of the core, on both sides."""
    net_arch: tuple[int, ...] = (64,)
    """Widths of the layers between core and heads, on both sides."""

    def sizes(self) -> dict[str, Any]:
        """As policy_kwargs, which both sides know."""
        return {
            "lstm_hidden_size": self.hidden,
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "net_arch": list(self.net_arch),
        }


@dataclass(frozen=True)
class Play(Network):
    """A policy in the loop, one decision in every match at a time: phantom tic-tac-toe by self-play, with the
    kernel that plays and with the readable one."""

    cells: tuple[str, ...] = ("gated", "lstm", "gru", "elman")
    """Ours."""
    matches: tuple[int, ...] = (1, 64, 1024)
    """Matches side by side, one table row each."""
    steps: int = 64
    """Decisions of each match per side and repeat."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        self.check_here()
        for matches in self.matches:
            self.check_sizes(matches=matches, steps=self.steps, hidden=self.hidden)


@dataclass(frozen=True)
class Train(Network):
    """Training, rollout and update: phantom tic-tac-toe by self-play, and one agent in a Gymnasium world;
    beside sb3-contrib, up to 256 side by side, and beside the floor, the matrix products alone."""

    matches: tuple[int, ...] = (8, 64, 256, 1024)
    """Matches of phantom tic-tac-toe side by side, one table row each."""
    worlds: tuple[int, ...] = (8, 64, 256)
    """Gymnasium worlds side by side, one table row each."""
    world: str = RECALL
    """Which: the id of a Gymnasium world, or recall, of 27 numbers, where what was shown first is asked for
    32 decisions later."""
    n_steps: int = 32
    """Decisions of each match in a rollout."""
    n_epochs: int = 4
    """Passes over a rollout."""
    minibatches: int = 4
    """Minibatches of a pass."""
    updates: int = 1
    """Rollouts and updates per side and repeat."""
    plot: Path | None = None
    """Draw decisions per second over matches and worlds; its ending says whether as svg, png or pdf."""
    memory: bool = False
    """Measure nothing but the memory that one training of 4,096 matches, 64 steps and 256 units takes."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        self.check_here()
        if self.plot is not None and (self.plot.suffix not in DRAWN or not self.plot.parent.is_dir()):
            raise ValueError(f"plot must be a {', '.join(DRAWN)} in a folder that is there, got {self.plot}")
        if self.plot is not None and self.plot.is_dir():
            raise ValueError(f"plot must be a file, {str(self.plot)!r} is a folder")
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


SWEEP = (
    *("8,128,128,128", "32,128,128,128", "128,128,128,128"),
    *("32,8,128,128", "32,512,128,128", "32,128,128,64", "32,128,128,256"),
)


@dataclass(frozen=True)
class Cell(Common):
    """The recurrent cells along time, forward and back, beside torch's own layers and beside the matrix
    products alone; on the CPU."""

    cells: tuple[str, ...] = ("gated", "lstm")
    """Ours."""
    shapes: tuple[str, ...] = ("16,256,64,128", "64,256,128,256", "32,32,128,128")
    """T,B,I,H: steps, matches, inputs, units."""
    sweep: bool = False
    """And 32,128,128,128 with one of T, B and H at a time smaller and larger."""
    starts: float = 0.1
    """The share of our decisions that begin a match; torch's layers know no starts."""
    input_gradient: bool = False
    """The inputs want a gradient, too."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        if self.device != "cpu":
            raise ValueError("`cell` compares on the CPU; use --device cpu")
        self.check_here()
        if not 0.0 <= self.starts <= 1.0:
            raise ValueError(f"starts must be in 0..1, got {self.starts}")
        self.check_sizes()
        self.sizes()

    def sizes(self) -> list[tuple[int, int, int, int]]:
        """The shapes as numbers, or ValueError."""
        found = []
        for shape in dict.fromkeys(self.shapes + (SWEEP if self.sweep else ())):
            numbers = shape.split(",")
            if len(numbers) != 4 or not all(n.isdecimal() and int(n) >= 1 for n in numbers):
                raise ValueError(f"a shape is four numbers T,B,I,H of at least 1, got {shape!r}")
            T, B, inputs, H = map(int, numbers)
            found.append((T, B, inputs, H))
        return found


@dataclass(frozen=True)
class Exploit(Common):
    """The exact exploitability of an agent with random weights, once the tree is there, beside OpenSpiel's of
    the same probabilities if it is installed."""

    games: tuple[str, ...] = ("leduc_poker",)
    """Games of two seats whose trees fit into the memory; OpenSpiel walks the small ones only."""
    hidden: int = 64
    """Units of the agent's core."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        if self.device != "cpu":
            raise ValueError("`exploit` measures on the CPU; use --device cpu")
        self.check_here()
        self.check_sizes(hidden=self.hidden)


@dataclass(frozen=True)
class Scale(Common):
    """Training in two processes of one thread beside one process of one thread, and of two."""

    repeats: int = 5
    """How often the sides take turns; each starts processes of its own."""
    matches: int = 256
    """Side by side, over all shards."""
    steps: int = 32
    """Decisions of each in a rollout."""
    hidden: int = 128
    """Units of the core."""
    updates: int = 10
    """That are timed, after one that warms up."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        if self.device != "cpu" or self.threads is not None:
            raise ValueError(
                "`scale` measures on the CPU with the threads that it says; leave both flags out"
            )
        if self.matches % 32:
            raise ValueError(
                f"matches must be a multiple of 32, got {self.matches}: 8 minibatches of 4 shards"
            )
        self.check_here()
        self.check_sizes(steps=self.steps, hidden=self.hidden, updates=self.updates, matches=self.matches)


@dataclass(frozen=True)
class All(Common):
    """All of them with small settings, and one table of bars and goals at the end."""

    def check(self) -> None:
        """The options make sense, or ValueError."""
        self.check_here()
        self.check_sizes()

    def parts(self) -> list[Env | Cell | Play | Train | Exploit]:
        """What is asked for."""
        common = {
            name: getattr(self, name) for name in ("repeats", "threads", "seed", "markdown", "progress")
        }
        here, anywhere = common | {"device": "cpu"}, common | {"device": self.device}
        return [
            Env(games=(OPENSPIEL_HEADLINE, GENERALS_HEADLINE), seconds=0.1, **anywhere),
            Cell(shapes=("16,256,64,128", "64,256,128,256"), **here),
            Play(cells=("gated",), **anywhere),
            Train(cells=("gated",), **anywhere),
            Exploit(**here),
        ]
