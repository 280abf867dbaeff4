"""Stepping the games that OpenSpiel has, too, beside it."""

from __future__ import annotations

import functools
import importlib.util
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import envs
from benchmarks.options import OPENSPIEL_HEADLINE, Env
from benchmarks.random_play import STANDARD_ERRORS, first_matches, observation_bytes, places, standard_errors
from benchmarks.telling import (
    Aim,
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
from envs.names import known

GAMES = {
    "dark_hex": "dark_hex(num_rows={size},num_cols={size},gameversion=cdh,obstype=reveal-nothing)",
    "phantom_tictactoe": "phantom_ttt(gameversion=classical,obstype=reveal-nothing)",
    "kuhn_poker": "kuhn_poker",
    "leduc_poker": "leduc_poker",
}
"""The same game in OpenSpiel."""

BUFFER = 25.0, 40.0
"""Bar and goal: how often as fast as OpenSpiel with its faster observer."""

WIDE, SECOND_THREAD = 16384, 1.6
"""From so many matches on a second thread should make it so many times as fast."""

OPENING = (
    "A step is one decision: choose a random legal action, play it (with any chance outcomes), begin "
    "anew if the match ended, make mask and observation of the seat to move.",
    "OpenSpiel's observation is made in two ways: list = state.observation_tensor(); buffer = its "
    "Python observer, which fills a NumPy array (make_observation, set_from).",
)
SPEEDS = (
    *("game", "matches", "ours on", "ours, decisions/s", "to 1 thread"),
    *("OpenSpiel (list)", "OpenSpiel (buffer)", "ratio to list", "ratio to buffer"),
)
FACTS = (
    *("game", "state, bytes", "observation, bytes", "OpenSpiel's observation, bytes", "first step, s"),
    *("mean length, ours / theirs", "mean return of seat 0", "difference, standard errors"),
)


def measure(options: Env, names: Sequence[str]) -> Report:
    """The comparison of these games."""
    if importlib.util.find_spec("pyspiel") is None:
        raise ImportError("OpenSpiel is missing; install it with: pip install -e '.[oracles]'")
    threads, clock, draw = torch.get_num_threads(), clock_of(options), random.Random(options.seed)
    chosen = [(name, *games_of(name)) for name in names]
    report = Report("Stepping games", clock, ("open_spiel",), _opening(options), closing=_closing(options))
    speeds: list[list[str]] = []
    facts: list[list[str]] = []
    with bar_of(options, len(chosen) * options.repeats) as bar:
        for name, game, theirs in chosen:
            bar.set_description(name)
            peers = {way: OpenSpiel(theirs, way == "buffer", options.seed) for way in ("list", "buffer")}
            facts.append([name, *_compare(game, peers["list"], options, clock)])
            ours = places(game, options, threads, clock)
            sides: dict[str, Callable[[], float]] = {
                f"{n}, {place}": side.speed for (n, place), side in ours.items()
            }
            sides |= {
                way: functools.partial(peer.speed, options.seconds, clock) for way, peer in peers.items()
            }
            row = Row({"game": name}, interleave(sides, options.repeats, bar, draw))
            report.rows.append(row)
            for matches, place in ours:
                speeds.append([name, f"{matches:,}", place, *_told(row, matches, place)])
            if options.device == "cpu":
                speeds.append([name, "-", "GPU", not_measured(), "-", "-", "-", "-", "-"])
            report.aims += _aims(options, row, name, threads)
    torch.set_num_threads(threads)
    report.tables = [Table(SPEEDS, speeds), Table(FACTS, facts)]
    return report


def _told(row: Row, matches: int, place: str) -> list[str]:
    """A line of the table from the speed on."""
    side, alone = f"{matches}, {place}", f"{matches}, {cpu(1)}"
    beside = "-" if side == alone else row.ratio(side, alone).text("x")
    peers = [row.speed(way).text() for way in ("list", "buffer")]
    return [
        row.speed(side).text(),
        beside,
        *peers,
        *(row.ratio(side, w).text("x") for w in ("list", "buffer")),
    ]


def _aims(options: Env, row: Row, name: str, threads: int) -> list[Aim]:
    """Beside OpenSpiel in the games that have goals; and what a second thread adds in dark hex."""
    first, aims = f"{options.matches[0]}, {cpu(threads)}", []
    if name in (OPENSPIEL_HEADLINE, "phantom_tictactoe"):
        aims.append(Aim(f"{name}, {first}, beside OpenSpiel (buffer)", row.ratio(first, "buffer"), *BUFFER))
    for n in options.matches:
        if n >= WIDE and name.startswith("dark_hex"):
            found = row.ratio(f"{n}, {cpu(2)}", f"{n}, {cpu(1)}") if threads == 2 else None
            aims.append(Aim(f"{name}, {n:,} matches, 2 threads beside 1", found, bar=SECOND_THREAD))
    return aims


def _opening(options: Env) -> list[str]:
    return [
        f"{' and '.join(f'{n:,}' for n in options.matches)} matches side by side, beside OpenSpiel stepped "
        f"from Python one match at a time; {options.seconds} s per side and repeat.",
        *OPENING,
    ]


def _closing(options: Env) -> list[str]:
    return [
        f"Checked before timing: mean length and return of {options.check_matches} random matches of "
        f"each side agree within {STANDARD_ERRORS:.0f} standard errors, in every game.",
        "First step: making the batch and its first step, kernels compiled or read from the disk cache; "
        "not part of the speeds.",
    ]


class OpenSpiel:
    """OpenSpiel stepped from Python: one match at a time, random legal actions."""

    def __init__(self, game: str, with_buffer: bool, seed: int) -> None:
        import pyspiel
        from open_spiel.python.observation import make_observation

        self.game = pyspiel.load_game(game)
        self.observer: Any = make_observation(self.game) if with_buffer else None
        self.random = random.Random(seed)

    def play_match(self) -> tuple[int, Any]:
        """One match to its end: how many decisions it took, and its last state."""
        uniform, observer = self.random.random, self.observer
        state, decisions = self.game.new_initial_state(), 0
        while not state.is_terminal():
            if state.is_chance_node():
                outcomes, probabilities = zip(*state.chance_outcomes(), strict=True)
                state.apply_action(self.random.choices(outcomes, probabilities)[0])
                continue
            if observer is None:
                state.observation_tensor()
            else:
                observer.set_from(state, state.current_player())
            legal = state.legal_actions()
            state.apply_action(legal[int(uniform() * len(legal))])
            decisions += 1
        return decisions, state

    def speed(self, seconds: float, clock: Clock) -> float:
        """Decisions per second."""
        decisions, began = 0, clock.now()
        while (passed := clock.now() - began) < seconds:
            decisions += self.play_match()[0]
        return decisions / passed


def games_of(name: str) -> tuple[envs.Game, str]:
    """Our game and OpenSpiel's for a name such as dark_hex:5, or ValueError."""
    base, _, size = name.partition(":")
    if base not in GAMES:
        raise ValueError(f"no comparison for {name!r}; known are {known(name, GAMES)}, e.g. dark_hex:7")
    if base != "dark_hex":
        if size:
            raise ValueError(f"{base} has one size only, got {name!r}")
        return envs.make(base), GAMES[base]
    if not size.isdecimal():
        raise ValueError(f"dark_hex needs the side of its board, e.g. dark_hex:5, got {name!r}")
    return envs.make(base, rows=int(size), cols=int(size)), GAMES[base].format(size=size)


def _compare(game: envs.Game, peer: OpenSpiel, options: Env, clock: Clock) -> list[str]:
    """Both sides play the same game: the cells of its row of facts, or ComparisonError."""
    first = 0.0
    devices = ("cpu", "cuda") if options.device == "cuda" else ("cpu",)
    finished = [peer.play_match() for _ in range(options.check_matches)]
    theirs = np.array([(decisions, state.returns()[0]) for decisions, state in finished])
    for device in devices:
        ours, seconds = first_matches(game, options, device, clock)
        first = first or seconds
        off = [standard_errors(ours[:, k], theirs[:, k]) for k in range(2)]
        for k, what in enumerate(("length", "return of seat 0")):
            if off[k] > STANDARD_ERRORS:
                raise ComparisonError(
                    f"{game} on {device}: mean {what} is {ours[:, k].mean():.4f}, OpenSpiel's "
                    f"{theirs[:, k].mean():.4f}; they lie {off[k]:.1f} standard errors apart, allowed are "
                    f"{STANDARD_ERRORS}"
                )
    return [
        str(game.state.itemsize),
        str(observation_bytes(game)),
        str(4 * math.prod(peer.game.observation_tensor_shape())),  # float32
        f"{first:.2f}",
        *(f"{ours[:, k].mean():.3f} / {theirs[:, k].mean():.3f}" for k in range(2)),
        " and ".join(f"{x:.1f}" for x in off),
    ]
