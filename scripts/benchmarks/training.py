"""Training with memory, rollout and update together, beside sb3-contrib."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from benchmarks.learners import Ground, Learner, check_train, make_ours, make_peer
from benchmarks.options import Train
from benchmarks.self_play import SelfPlay
from benchmarks.telling import (
    RATIO,
    STEPS,
    Table,
    bar_of,
    cpu,
    interleave,
    not_measured,
    ratios,
    report,
    spread,
    verdict,
)
from benchmarks.worlds import Worlds

GOAL = 2.0

SPEEDS = ("ours", "where", "on", "ours, decisions/s, median (least..most)", "sb3-contrib", "ratio")
SIZES = ("network", "parameters", "of these in the core", "recurrent weights")


def measure(options: Train) -> str:
    """The whole comparison, as text."""
    grounds: list[Ground] = [SelfPlay(options, n) for n in options.matches]
    grounds += [Worlds(options, n) for n in options.worlds]
    speeds: list[list[str]] = []
    sizes: list[list[str]] = []
    notes: list[str] = []
    verdicts: list[str] = []
    with bar_of(options, len(grounds) * options.repeats) as bar:
        for ground in grounds:
            bar.set_description(ground.name)
            learners = {cell: make_ours(ground, cell, options) for cell in options.cells}
            learners["peer"] = make_peer(ground.peers, options)
            decisions = options.updates * options.n_steps * ground.lanes
            first = {name: decisions / learner.speed(decisions) for name, learner in learners.items()}
            check_train(learners, options)
            ground.begin()
            sides: dict[str, Callable[[], float]] = {
                name: functools.partial(learner.speed, decisions) for name, learner in learners.items()
            }
            measured = interleave(sides, options.repeats, bar)
            check_train(learners, options)
            for cell in options.cells:
                rows, found = _compared(options, ground, cell, measured)
                speeds += rows
                verdicts += [found] if cell == "gated" else []
            sizes = sizes or _sizes(options, learners)
            notes += ground.notes(measured["peer"], decisions)
            notes.append(
                f"{ground.name}: first call ({options.updates} updates, not part of the speeds): "
                f"{', '.join(f'{name} {seconds:.2f} s' for name, seconds in first.items())}."
            )
    return _tell(options, speeds, sizes, [*notes, *verdicts])


def _compared(
    options: Train, ground: Ground, cell: str, measured: dict[str, list[float]]
) -> tuple[list[list[str]], str]:
    """A cell's rows of the table, and whether it is as fast as hoped for."""
    what, found = f"{cell} H={options.hidden}", ratios(measured[cell], measured["peer"])
    place = "GPU" if options.device == "cuda" else cpu(torch.get_num_threads())
    both = spread(STEPS, measured[cell]), spread(STEPS, measured["peer"])
    rows = [[what, ground.name, place, *both, spread(RATIO, found)]]
    if options.device == "cpu":
        rows.append([what, ground.name, "GPU", not_measured(), "-", "-"])
    return rows, verdict(f"{what}, {ground.name}, {place}", found, GOAL)


def _sizes(options: Train, learners: dict[str, Learner]) -> list[list[str]]:
    ours = [_size(f"ours, {cell}", learners[cell].policy, "core.") for cell in options.cells]
    return [*ours, _size("sb3-contrib, LSTM", learners["peer"].policy, "lstm_actor.")]


def _size(name: str, policy: torch.nn.Module, core: str) -> list[str]:
    """A network's row in the table of sizes."""
    parameters = dict(policy.named_parameters())
    in_core = {n: p for n, p in parameters.items() if n.startswith(core)}
    recurrent = [p for n, p in in_core.items() if n.endswith(".U") or "weight_hh" in n]
    counts = (parameters.values(), in_core.values(), recurrent)
    return [name, *(f"{sum(p.numel() for p in group):,}" for group in counts)]


def _tell(options: Train, speeds: list[list[str]], sizes: list[list[str]], closing: Sequence[str]) -> str:
    return report(
        options,
        ["stable-baselines3", "sb3-contrib"],
        "Training with memory",
        [
            "MaskableRecurrentPPO beside sb3-contrib's RecurrentPPO, rollout and update together: phantom "
            f"tic-tac-toe by self-play, and one agent in {options.world}; n_steps {options.n_steps}, "
            f"{options.n_epochs} epochs of {options.minibatches} minibatches; {options.repeats} repeats by "
            f"turns, {options.updates} updates per side each.",
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
        ],
        [Table(SPEEDS, speeds), Table(SIZES, sizes)],
        [
            "Checked before and after timing: all sides made as many decisions and gradient steps, and the "
            "peer has one LSTM of exactly that size and nothing else recurrent.",
            *closing,
        ],
    )
