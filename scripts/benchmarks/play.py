"""A policy in the loop: one decision in every match at a time, beside the matrix products alone."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import envs
from agents.net import scan as scans
from agents.net.cells import Cell
from agents.net.policy import RecurrentPolicy
from benchmarks import floor
from benchmarks.options import Play
from benchmarks.telling import (
    Clock,
    ComparisonError,
    Report,
    Row,
    Table,
    bar_of,
    clock_of,
    cpu,
    interleave,
    not_measured,
)

CLOSE = 1e-4
"""The most that probabilities of both kernels may differ, after as many decisions as one turn takes."""

HEADER = (
    *("cell", "matches", "on", "kernel", "decisions/s", "with the readable kernel", "ratio to it"),
    "share of the floor",
)
GAME = "phantom_tictactoe"


def measure(options: Play) -> list[Report]:
    """The whole comparison."""
    clock, draw = clock_of(options), random.Random(options.seed)
    report = Report("Play", clock, opening=_opening(options))
    rows: list[list[str]] = []
    with bar_of(options, len(options.cells) * len(options.matches) * options.repeats) as bar:
        for cell in options.cells:
            policy = _policy(cell, options)
            _check_parity(policy, options)
            for matches in options.matches:
                bar.set_description(f"{cell}, {matches} matches")
                sides = _sides(policy, matches, options, clock)
                for side in (*sides.values(), *sides.values()):
                    side()
                place = "GPU" if options.device == "cuda" else cpu(torch.get_num_threads())
                name = {"cell": cell, "matches": matches, "on": place, "kernel": _kernel(policy)}
                row = Row(name, interleave(sides, options.repeats, bar, draw))
                report.rows.append(row)
                rows += _told(row, options)
    report.tables = [Table(HEADER, rows)]
    report.closing = [
        f"Checked before: along {options.steps} decisions of 64 matches both kernels give the same "
        f"probabilities, to {CLOSE:g}."
    ]
    return [report]


def _policy(cell: str, options: Play) -> RecurrentPolicy:
    game = envs.make(GAME)
    torch.manual_seed(options.seed)
    policy = RecurrentPolicy(
        game.observation_space, game.actions, 2, cell=cell, features_dim=27, **options.sizes()
    )
    return policy.to(options.device).eval()


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Scans take the readable kernel."""
    kernels = list(scans.KERNELS)
    scans.KERNELS[:] = kernels[-1:]
    try:
        yield
    finally:
        scans.KERNELS[:] = kernels


class Loop:
    """Matches played by a policy against itself."""

    def __init__(self, policy: RecurrentPolicy, matches: int, options: Play) -> None:
        self.policy = policy
        self.batch = envs.Batch(envs.make(GAME), matches, options.device, options.seed)
        self.generator = torch.Generator(options.device).manual_seed(options.seed)
        self.memory = policy.initial_memory(matches)
        self.start = torch.ones_like(self.batch.over)

    def play(self, steps: int) -> Tensor:
        """So many decisions in every match; the log-probabilities of the last ones."""
        batch = self.batch
        for _ in range(steps):
            decision, self.memory = self.policy.act(
                batch.observation, batch.legal, batch.seat, self.start, self.memory, self.generator
            )
            batch.step(decision.action)
            self.start = batch.over.clone()
        return decision.distribution


def _check_parity(policy: RecurrentPolicy, options: Play) -> None:
    """Both kernels play alike, or ComparisonError."""
    told = Loop(policy, 64, options).play(options.steps).exp()
    with readable():
        apart = (told - Loop(policy, 64, options).play(options.steps).exp()).abs().max()
    if not apart <= CLOSE:
        raise ComparisonError(f"the kernels of {policy.core.cells[0]} play probabilities {apart:.1e} apart")


def _sides(
    policy: RecurrentPolicy, matches: int, options: Play, clock: Clock
) -> dict[str, Callable[[], float]]:
    """What takes turns, each as its decisions per second."""
    decisions = matches * options.steps
    ours, plain = Loop(policy, matches, options), Loop(policy, matches, options)
    products = floor.work([floor.Part(floor.forward(policy, 1, matches), options.steps)], options.device)

    def readably() -> None:
        with readable():
            plain.play(options.steps)

    works: dict[str, Callable[[], object]] = {
        "ours": functools.partial(ours.play, options.steps),
        "readable": readably,
        "products": products,
    }
    return {name: functools.partial(clock.speed, work, decisions) for name, work in works.items()}


def _kernel(policy: RecurrentPolicy) -> str:
    """Which kernel plays."""
    here, (cell,) = policy.no_action.new_zeros(1, dtype=torch.float32), policy.core.cells
    assert isinstance(cell, Cell)
    return next(kernel.name for kernel in scans.KERNELS if kernel.fits(cell, here, False))


def _told(row: Row, options: Play) -> list[list[str]]:
    where = [str(row.name[name]) for name in ("cell", "matches", "on", "kernel")]
    speeds = [row.speed("ours").text(), row.speed("readable").text()]
    compared = [row.ratio("ours", "readable").text("x"), row.ratio("ours", "products").text("%")]
    rows = [[*where, *speeds, *compared]]
    gpu = [*where[:2], "GPU", "-", not_measured(), "-", "-", "-"]
    return rows if options.device == "cuda" else [*rows, gpu]


def _opening(options: Play) -> list[str]:
    return [
        f"{GAME} by self-play, {options.steps} decisions of each match per repeat: the policy's step "
        "(encoder, core, both heads, mask, draw, memory) and the game's. One core of "
        f"{options.hidden} units, net_arch {list(options.net_arch)}, no gradients.",
        "The floor is the step's matrix products alone, by torch.mm in the same turns "
        "(`benchmarks/floor.py` counts them).",
    ]
