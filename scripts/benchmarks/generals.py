"""Stepping Generals, beside generals-bots if that is there."""

from __future__ import annotations

import functools
import importlib.util
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import envs
from benchmarks.options import GENERALS_HEADLINE, Env
from benchmarks.play import STANDARD_ERRORS, Ours, first_matches, observation_bytes, places, standard_errors
from benchmarks.telling import (
    RATIO,
    STEPS,
    ComparisonError,
    Table,
    bar_of,
    interleave,
    is_reached,
    not_measured,
    ratios,
    report,
    spread,
)
from envs.kernels import MATCHES_PER_THREAD

GOAL, MATCHES = 200_000.0, 1024  # ticks a second; side by side
CHECK_MATCHES = 200  # of generals-bots before anything is timed: it plays some 1,000 ticks a second

OPENING = (
    "A tick is a move of both seats, random and legal: the observations and the masks of both are "
    "made, the moves chosen and carried out; a match that ended is followed by one on a new random "
    "map."
)
SPEEDS = ("game", "ours on", "ours, ticks/s, median (least..most)", "generals-bots", "ratio")
FACTS = ("game", "state, bytes", "observation, bytes", "mask, bytes")


def measure(options: Env, games: Sequence[envs.Game]) -> str:
    """The comparison on these boards, as text."""
    threads = torch.get_num_threads()
    has_peer = importlib.util.find_spec("generals") is not None
    compared = _compare(options) if has_peer else None
    speeds: list[list[str]] = []
    facts: list[list[str]] = []
    verdicts: list[str] = []
    with bar_of(options, len(games) * options.repeats) as bar:
        for game in games:
            name = f"generals:{game.options['rows']}"
            bar.set_description(name)
            ours = places(game, MATCHES, options, threads)
            sides: dict[str, Callable[[], float]] = {
                place: functools.partial(_ticks, side) for place, side in ours.items()
            }
            if has_peer:
                sides["peer"] = functools.partial(GeneralsBots(options.seed, game).speed, options.seconds)
            measured = interleave(sides, options.repeats, bar)
            for place in ours:
                peer = ["not here", "-"]
                if has_peer:
                    found = ratios(measured[place], measured["peer"])
                    peer = [spread(STEPS, measured["peer"]), spread(RATIO, found)]
                speeds.append([name, place, spread(STEPS, measured[place]), *peer])
            if "GPU" not in ours:
                speeds.append([name, "GPU", not_measured(), "-", "-"])
            if name == GENERALS_HEADLINE:
                verdicts.append(_verdict(name, next(iter(ours)), measured))
            sizes = (game.state.itemsize, observation_bytes(game), game.actions)
            facts.append([name, *map(str, sizes)])
    torch.set_num_threads(threads)
    return _tell(options, compared, [Table(SPEEDS, speeds), Table(FACTS, facts)], verdicts)


def _tell(options: Env, compared: str | None, tables: Sequence[Table], verdicts: Sequence[str]) -> str:
    return report(
        options,
        ["generals_bots"] if compared else [],
        "Stepping Generals",
        [
            f"{options.matches or MATCHES} matches side by side, beside generals-bots' PettingZoo "
            f"environment stepped from Python one match at a time; {options.repeats} repeats by turns, "
            f"{options.seconds} s per side each.",
            OPENING,
        ],
        tables,
        [
            f"Checked before timing: {compared or 'nothing was compared: generals-bots is not here'}.",
            f"A CPU thread is woken for {MATCHES_PER_THREAD} matches or more: fewer than twice as many are "
            "stepped by one.",
            *verdicts,
        ],
    )


def _verdict(name: str, place: str, measured: dict[str, list[float]]) -> str:
    ticks = measured[place]
    said = f"{name}, {place}: {spread(STEPS, ticks)}, {is_reached(ticks, GOAL)}."
    return f"Goal {GOAL:,.0f} ticks/s, {said}"


def game_of(name: str) -> envs.Game:
    """The game for a name such as generals:8, or ValueError."""
    _, _, size = name.partition(":")
    if size and not size.isdecimal():
        raise ValueError(f"generals takes the side of its board, e.g. generals:8, got {name!r}")
    side = int(size or 8)
    return envs.make("generals", rows=side, cols=side)


def _ticks(side: Ours) -> float:
    """Ticks per second, of two decisions each."""
    return side.speed() / 2.0


class GeneralsBots:
    """generals-bots stepped from Python: one match at a time, random legal moves.

    Args:
        game: maps are drawn with its numbers; or the map itself, if it has one.
    """

    def __init__(self, seed: int, game: envs.Game) -> None:
        from generals.core.action import Action, compute_valid_move_mask
        from generals.core.grid import GridFactory
        from generals.envs import PettingZooGenerals

        o = game.options
        size = (o["rows"], o["cols"])
        shares = o["mountains"] / 100, o["castles"] / 100
        factory = GridFactory("uniform", size, size, *shares, seed=seed)
        self.env = PettingZooGenerals(list("AB"), factory, o["max_ticks"])
        self.reset_options = {"grid": o["map"].replace("/", "\n")} if o["map"] else {}
        self.move, self.mask = Action, compute_valid_move_mask
        self.random = random.Random(seed)

    def play_match(self) -> tuple[int, float]:
        """One match to its end: its ticks, and the return of seat 0."""
        seed = self.random.getrandbits(32)
        observations, _ = self.env.reset(seed, dict(self.reset_options))
        ticks, is_over = 0, False
        while not is_over:
            moves = {agent: self._choose(seen) for agent, seen in observations.items()}
            observations, _, is_won, is_late, infos = self.env.step(moves)
            ticks, is_over = ticks + 1, is_won or is_late
        return ticks, float(infos["A"]["is_winner"]) - float(infos["B"]["is_winner"])

    def _choose(self, seen: Any) -> Any:
        """Each legal move, of the whole army or of half, or a pass, with the same probability."""
        moves = np.argwhere(self.mask(seen))
        number = self.random.randrange(2 * len(moves) + 1)
        if number == 2 * len(moves):
            return self.move(to_pass=True)
        row, col, direction = moves[number // 2]
        return self.move(False, row, col, direction, to_split=number % 2 == 1)

    def speed(self, seconds: float) -> float:
        """Ticks per second."""
        ticks, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            ticks += self.play_match()[0]
        return ticks / passed


def _compare(options: Env) -> str:
    """Both sides play the same game on a small map: what was found, or ComparisonError."""
    game = envs.make("generals", map="AB../..../..3./...#", max_ticks=120)
    peer = GeneralsBots(options.seed, game)
    theirs = np.array([peer.play_match() for _ in range(CHECK_MATCHES)])
    ours, _ = first_matches(game, options, "cpu")
    ours[:, 0] /= 2.0
    found = []
    for k, what in enumerate(("number of ticks", "return of seat 0")):
        off = standard_errors(ours[:, k], theirs[:, k])
        means = f"mean {what} {ours[:, k].mean():.2f} / {theirs[:, k].mean():.2f}"
        if off > STANDARD_ERRORS:
            raise ComparisonError(f"{game}: {means} (generals-bots) lie {off:.1f} standard errors apart")
        found.append(f"{means} ({off:.1f} standard errors)")
    return f"{len(ours)} / {CHECK_MATCHES} random matches on a map of 4 x 4, {', '.join(found)}"
