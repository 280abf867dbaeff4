"""Training with memory, rollout and update together, beside sb3-contrib and the matrix products alone."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import torch

from benchmarks import floor
from benchmarks.learners import Ground, Learner, check_train, make_ours, make_peer
from benchmarks.options import RECALL, Train
from benchmarks.self_play import SelfPlay
from benchmarks.telling import (
    Aim,
    Clock,
    Report,
    Row,
    Table,
    bar_of,
    clock_of,
    cpu,
    interleave,
    not_measured,
)
from benchmarks.worlds import Worlds

SHARES = {64: (0.26, 0.35), 256: (0.40, 0.50), 1024: (0.50, 0.60)}
"""Bar and goal of the share of the floor, `gated` by self-play in so many matches."""

SELF_PLAY_RATIOS = {8: (4.5, 6.0), 64: (5.5, 7.0), 256: (6.0, 7.0)}
"""Bar and goal: how often as fast as sb3-contrib, by matches."""

RATIOS = {8: (3.0, 4.0), 64: (3.5, 4.5), 256: (4.0, 5.0)}
"""Bar and goal of how often as fast as sb3-contrib, `gated` in so many worlds."""

AIMED_AT = (128, 32, 4, 4)
"""Units, steps, epochs and minibatches that they are for."""

WITH_PEER = 256
"""Lanes up to which the peer is measured: beyond it takes its time and the ratio hardly changes."""

SPEEDS = ("cell", "where", "on", "ours, decisions/s", "sb3-contrib", "ratio", "share of the floor")
SIZES = ("network", "parameters", "of these in the core", "recurrent weights")


def measure(options: Train) -> list[Report]:
    """The whole comparison."""
    grounds: list[Ground] = [SelfPlay(options, n) for n in options.matches]
    grounds += [Worlds(options, n) for n in options.worlds]
    clock, draw = clock_of(options), random.Random(options.seed)
    report = Report("Training with memory", clock, ("stable-baselines3", "sb3-contrib"), _opening(options))
    speeds: list[list[str]] = []
    sizes: dict[str, list[str]] = {}
    with bar_of(options, len(grounds) * options.repeats) as bar:
        for ground in grounds:
            bar.set_description(ground.name)
            row, learners, notes = _measured(ground, options, clock, draw, bar)
            report.rows.append(row)
            for cell in options.cells:
                speeds += _told(options, row, cell)
                report.aims += _aims(options, row) if cell == "gated" else []
            for name, learner in learners.items():
                sizes.setdefault(name, _size(name, learner.policy))
            report.closing += notes
    report.closing.insert(
        0,
        "Checked before and after timing: all sides made as many decisions and gradient steps, and the peer "
        "has one LSTM of exactly that size and nothing else recurrent.",
    )
    report.tables = [Table(SPEEDS, speeds), Table(SIZES, list(sizes.values()))]
    return [report]


def _measured(
    ground: Ground, options: Train, clock: Clock, draw: random.Random, bar: object
) -> tuple[Row, dict[str, Learner], list[str]]:
    """What one ground's sides take, the learners, and what a reader should know."""
    learners = {cell: make_ours(ground, cell, options) for cell in options.cells}
    if ground.lanes <= WITH_PEER:
        learners["peer"] = make_peer(ground.peers, options)
    decisions = options.updates * options.n_steps * ground.lanes
    sides: dict[str, Callable[[], float]] = {
        name: functools.partial(learner.speed, decisions, clock) for name, learner in learners.items()
    }
    first = {name: decisions / side() for name, side in sides.items()}
    for side in sides.values():  # the second update replays the end of the first rollout, too
        side()
    check_train(learners, options)
    notes = []
    for cell in options.cells:
        parts = _floor(learners[cell], ground.lanes, options)
        products = functools.partial(_all, floor.work(parts, options.device), options.updates)
        sides[f"{cell}, products"] = functools.partial(clock.speed, products, decisions)
        sides[f"{cell}, products"]()
        notes.append(_counted(ground, cell, parts, options))
    ground.begin(clock)
    samples = interleave(sides, options.repeats, bar, draw)
    check_train(learners, options)
    if "peer" in samples:
        notes += ground.notes(samples["peer"], decisions)
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in first.items())
    notes.append(f"{ground.name}: first call, not part of the speeds: {told}.")
    place = "GPU" if options.device == "cuda" else cpu(torch.get_num_threads())
    name = {"ground": "matches" if isinstance(ground, SelfPlay) else "worlds", "lanes": ground.lanes}
    return Row({**name, "where": ground.name, "on": place}, samples), learners, notes


def _all(work: Callable[[], None], times: int) -> None:
    for _ in range(times):
        work()


def _floor(learner: Learner, lanes: int, options: Train) -> list[floor.Part]:
    """The products of one rollout and its update, as the learner's latest one was."""
    before = learner.model.rollout.before
    carried = 0 if before is None else before.shape[0]
    shape = options.n_steps, lanes, options.n_epochs, options.minibatches
    return floor.training(learner.policy, *shape, carried)  # type: ignore[arg-type]


def _counted(ground: Ground, cell: str, parts: list[floor.Part], options: Train) -> str:
    decisions = options.n_steps * ground.lanes
    rollout = floor.flops(parts[:1]) / floor.flops(parts)
    return (
        f"{ground.name}, {cell}: the products are {floor.flops(parts) / decisions / 1e6:.2f} MFLOP a "
        f"decision, {rollout:.0%} of them in the rollout."
    )


# ---------------------------------------------------------------- telling


def _told(options: Train, row: Row, cell: str) -> list[list[str]]:
    """A cell's rows of the table."""
    where, has_peer = str(row.name["where"]), "peer" in row.samples
    peer = [row.speed("peer").text(), row.ratio(cell, "peer").text("x")] if has_peer else ["-", "-"]
    share = row.ratio(cell, f"{cell}, products").text("%")
    what = f"{cell} H={options.hidden}"
    rows = [[what, where, str(row.name["on"]), row.speed(cell).text(), *peer, share]]
    return rows if options.device == "cuda" else [*rows, [what, where, "GPU", not_measured(), "-", "-", "-"]]


def _aims(options: Train, row: Row) -> list[Aim]:
    """Of the sizes for which there are some."""
    lanes, where = row.name["lanes"], f"training, gated, {row.name['where']}, {row.name['on']}"
    if (options.hidden, options.n_steps, options.n_epochs, options.minibatches) != AIMED_AT:
        return []
    if row.name["ground"] == "matches":
        share = row.ratio("gated", "gated, products")
        found = (
            [Aim(f"{where}: share of the floor", share, *SHARES[lanes], unit="%")] if lanes in SHARES else []
        )
        if lanes in SELF_PLAY_RATIOS:
            ratio = row.ratio("gated", "peer")
            found.append(Aim(f"{where}: beside sb3-contrib", ratio, *SELF_PLAY_RATIOS[lanes]))
        return found
    is_aimed_at = options.world == RECALL and lanes in RATIOS
    return (
        [Aim(f"{where}: beside sb3-contrib", row.ratio("gated", "peer"), *RATIOS[lanes])]
        if is_aimed_at
        else []
    )


def _size(name: str, policy: torch.nn.Module) -> list[str]:
    """A network's row in the table of sizes."""
    is_peer = name == "peer"
    parameters = dict(policy.named_parameters())
    in_core = {n: p for n, p in parameters.items() if n.startswith("lstm_actor." if is_peer else "core.")}
    recurrent = [p for n, p in in_core.items() if n.endswith(".U") or "weight_hh" in n]
    counts = (parameters.values(), in_core.values(), recurrent)
    title = "sb3-contrib, LSTM" if is_peer else f"ours, {name}"
    return [title, *(f"{sum(p.numel() for p in group):,}" for group in counts)]


def _opening(options: Train) -> list[str]:
    return [
        "MaskableRecurrentPPO beside sb3-contrib's RecurrentPPO, rollout and update together: phantom "
        f"tic-tac-toe by self-play, and one agent in {options.world}; n_steps {options.n_steps}, "
        f"{options.n_epochs} epochs of {options.minibatches} minibatches; {options.updates} "
        f"update{'s' * (options.updates > 1)} per side "
        "and repeat. The floor is the work's matrix products alone, by torch.mm in the same turns "
        "(`benchmarks/floor.py` counts them).",
        f"Both have one core of {options.hidden} units shared by actor and critic, net_arch "
        f"{list(options.net_arch)}, Adam at the same learning rate, and as many torch threads. Ours "
        "encodes the observation, the seat and the seat's own previous action into as many features as "
        "the one-hot observation has entries that the peer feeds to its LSTM.",
        "By self-play ours keeps a memory per seat and masks illegal actions. The peer has neither: it "
        "sees one stream in which both seats' observations are mixed, and where its action is illegal "
        "the environment plays a random legal one, so that the matches stay alike.",
        "The peer's environment is our batch on the CPU behind SB3's VecEnv, so its cost hardly counts.",
        f"In {options.world} both sides step SB3's DummyVecEnv, one world after another in Python, which "
        "takes the same time on both sides and is part of it.",
    ]
