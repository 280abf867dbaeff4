"""Stepping Generals, beside generals-bots if that is there."""

from __future__ import annotations

import functools
import importlib.util
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import envs
from benchmarks.options import GENERALS_HEADLINE, Env
from benchmarks.random_play import (
    STANDARD_ERRORS,
    Ours,
    first_matches,
    observation_bytes,
    places,
    standard_errors,
)
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
from envs.kernels import MATCHES_PER_THREAD

GOAL = 200_000.0  # ticks a second
CHECK_MATCHES = 200  # of generals-bots before anything is timed: it plays some 1,000 ticks a second

OPENING = (
    "A tick is a move of both seats, random and legal: the observations and the masks of both are "
    "made, the moves chosen and carried out; a match that ended is followed by one on a new random "
    "map."
)
SPEEDS = ("game", "matches", "ours on", "ours, ticks/s", "to 1 thread", "generals-bots", "ratio")
FACTS = ("game", "state, bytes", "observation, bytes", "mask, bytes")


def measure(options: Env, games: Sequence[envs.Game]) -> Report:
    """The comparison on these boards."""
    threads, clock, draw = torch.get_num_threads(), clock_of(options), random.Random(options.seed)
    has_peer = importlib.util.find_spec("generals") is not None
    compared = _compare(options, clock) if has_peer else None
    peers = ("generals_bots",) if has_peer else ()
    report = Report("Stepping Generals", clock, peers, _opening(options), closing=_closing(compared))
    speeds: list[list[str]] = []
    facts: list[list[str]] = []
    with bar_of(options, len(games) * options.repeats) as bar:
        for game in games:
            name = f"generals:{game.options['rows']}"
            bar.set_description(name)
            ours = places(game, options, threads, clock)
            sides: dict[str, Callable[[], float]] = {
                f"{n}, {place}": functools.partial(_ticks, side) for (n, place), side in ours.items()
            }
            if has_peer:
                peer = GeneralsBots(options.seed, game)
                sides["peer"] = functools.partial(peer.speed, options.seconds, clock)
            row = Row({"game": name}, interleave(sides, options.repeats, bar, draw))
            report.rows.append(row)
            for matches, place in ours:
                speeds.append([name, f"{matches:,}", place, *_told(row, matches, place)])
            if options.device == "cpu":
                speeds.append([name, "-", "GPU", not_measured(), "-", "-", "-"])
            if name == GENERALS_HEADLINE:
                first = next(iter(sides))
                report.aims.append(Aim(f"{name}, {first}: ticks", row.speed(first), goal=GOAL, unit="/s"))
            sizes = (game.state.itemsize, observation_bytes(game), game.actions)
            facts.append([name, *map(str, sizes)])
    torch.set_num_threads(threads)
    report.tables = [Table(SPEEDS, speeds), Table(FACTS, facts)]
    return report


def _told(row: Row, matches: int, place: str) -> list[str]:
    """A line of the table from the speed on."""
    side, alone = f"{matches}, {place}", f"{matches}, {cpu(1)}"
    beside = "-" if side == alone else row.ratio(side, alone).text("x")
    has_peer = "peer" in row.samples
    peer = [row.speed("peer").text(), row.ratio(side, "peer").text("x")] if has_peer else ["not here", "-"]
    return [row.speed(side).text(), beside, *peer]


def _opening(options: Env) -> list[str]:
    return [
        f"{' and '.join(f'{n:,}' for n in options.matches)} matches side by side, beside generals-bots' "
        "PettingZoo environment stepped from Python one match at a time; "
        f"{options.seconds} s per side and repeat.",
        OPENING,
    ]


def _closing(compared: str | None) -> list[str]:
    return [
        f"Checked before timing: {compared or 'nothing was compared: generals-bots is not here'}.",
        f"A CPU thread is woken for {MATCHES_PER_THREAD} matches or more: fewer than twice as many are "
        "stepped by one.",
    ]


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

    def speed(self, seconds: float, clock: Clock) -> float:
        """Ticks per second."""
        ticks, began = 0, clock.now()
        while (passed := clock.now() - began) < seconds:
            ticks += self.play_match()[0]
        return ticks / passed


def _compare(options: Env, clock: Clock) -> str:
    """Both sides play the same game on a small map: what was found, or ComparisonError."""
    game = envs.make("generals", map="AB../..../..3./...#", max_ticks=120)
    peer = GeneralsBots(options.seed, game)
    theirs = np.array([peer.play_match() for _ in range(CHECK_MATCHES)])
    ours, _ = first_matches(game, options, "cpu", clock)
    ours[:, 0] /= 2.0
    found = []
    for k, what in enumerate(("number of ticks", "return of seat 0")):
        off = standard_errors(ours[:, k], theirs[:, k])
        means = f"mean {what} {ours[:, k].mean():.2f} / {theirs[:, k].mean():.2f}"
        if off > STANDARD_ERRORS:
            raise ComparisonError(f"{game}: {means} (generals-bots) lie {off:.1f} standard errors apart")
        found.append(f"{means} ({off:.1f} standard errors)")
    return f"{len(ours)} / {CHECK_MATCHES} random matches on a map of 4 x 4, {', '.join(found)}"
