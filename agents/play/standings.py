"""A tournament and what follows: payoffs, ratings, cycles, Nash averaging; as CSV, JSON and a picture.

standings = agents.tournament(game, ["runs/a", "runs/b", "bot", "random"])
print(standings.ratings["bot"].points)    # in points above `random`
standings.write("standings")
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from agents.files import write_file
from agents.play.agent_file import load_player
from agents.play.arena import Result, round_robin
from agents.play.players import Player, RandomPlayer, fixed_player
from agents.play.ratings import (
    ANCHOR,
    CYCLIC,
    Array,
    Cycles,
    NashAverage,
    Rating,
    cycles,
    nash_average,
    payoffs,
    rate,
)
from envs import Game
from envs.drawing import CELL, COLLISION, INK, MARGIN, PAPER, SEATS, document, rectangle, words

SQUARE: Final = 44.0
"""Side of one in the heat map."""


@dataclasses.dataclass(frozen=True)
class Standings:
    """Everybody against everybody, and what it says about how strong they are."""

    game: Game
    results: dict[tuple[str, str], Result]
    """By player and opponent, both ways round."""
    payoffs: Array
    """Mean returns, float64 [K, K], rows and columns in the order of `ratings`."""
    ratings: dict[str, Rating]
    """From the strongest to the weakest; `ANCHOR` has 0."""
    cycles: Cycles
    """Players in the same order."""
    nash: NashAverage
    """Players in the same order."""

    @property
    def names(self) -> list[str]:
        """The players, from the strongest to the weakest."""
        return list(self.ratings)

    @property
    def is_flagged(self) -> bool:
        """Somebody's rating does not tell whom it beats: see `Cycles`."""
        return any(self.cycles.is_flagged)

    @property
    def warning(self) -> str | None:
        """In a line, why not to trust the ratings, if there is a reason."""
        if not self.is_flagged:
            return None
        flagged = [name for name, is_so in zip(self.names, self.cycles.is_flagged, strict=True) if is_so]
        return (
            f"{self.cycles.cyclic} of {self.cycles.decided} decided triples are cyclic, each beats the next: "
            f"ratings do not tell who beats whom among {', '.join(flagged)}; see payoffs and Nash averaging"
        )

    def write(self, folder: str | Path) -> list[Path]:
        """Write results.json, payoffs.csv, ratings.csv and heatmap.svg into the folder, made if need be."""
        contents = {
            "results.json": json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n",
            "payoffs.csv": _csv(self._pairs()),
            "ratings.csv": _csv(self._players()),
            "heatmap.svg": self.heat_map(),
        }
        for name, text in contents.items():
            write_file(Path(folder) / name, text.encode())
        return [Path(folder) / name for name in contents]

    def as_json(self) -> dict[str, Any]:
        """All numbers, as JSON holds them: an open end of an interval is null."""
        return {
            "game": self.game.name,
            "options": dict(self.game.options),
            "anchor": ANCHOR,
            "players": [{key: _finite(x) for key, x in row.items()} for row in self._players()],
            "pairs": self._pairs(),
            "cycles": {
                "triples": self.cycles.triples,
                "decided": self.cycles.decided,
                "cyclic": self.cycles.cyclic,
                "share": self.cycles.share,
                "flagged_above": CYCLIC,
            },
        }

    def _players(self) -> list[dict[str, Any]]:
        return [
            {
                "player": name,
                "rating": rating.points,
                "low": rating.low,
                "high": rating.high,
                "cyclic_share": self.cycles.share_of[k],
                "is_flagged": self.cycles.is_flagged[k],
                "nash_mass": float(self.nash.mass[k]),
                "nash_payoff": float(self.nash.payoff[k]),
            }
            for k, (name, rating) in enumerate(self.ratings.items())
        ]

    def _pairs(self) -> list[dict[str, Any]]:
        rows = []
        for player in self.names:
            for opponent in self.names:
                if player != opponent:
                    r = self.results[player, opponent]
                    low, high = r.interval
                    numbers = {"win": r.win, "draw": r.draw, "loss": r.loss}
                    numbers |= {"mean": r.mean, "low": low, "high": high}
                    numbers |= {f"in_seat_{p}": r.mean_in_seat(p) for p in (0, 1)}
                    rows.append({"player": player, "opponent": opponent, "matches": r.matches, **numbers})
        return rows

    def heat_map(self) -> str:
        """The payoffs as an SVG document: blue where the row's player wins, red where it loses."""
        points = [rating.points for rating in self.ratings.values()]
        told = zip(shortened(self.names), points, strict=True)
        names = [f"{name} {points:+.0f}   {k + 1}" for k, (name, points) in enumerate(told)]
        left, top = 8.0 * max(map(len, names)) + MARGIN, 3 * MARGIN
        most = max(float(np.abs(self.payoffs).max()), 1e-9)
        drawn = [words(MARGIN, 30, f"{self.game.name}: mean return of the row's player", 14, anchor="start")]
        for k, name in enumerate(names):
            middle = SQUARE * (k + 0.5)
            drawn.append(words(left - 8, top + middle + 4, name, 12, anchor="end"))
            drawn.append(words(left + middle, top - 8, str(k + 1), 12))
        for row, column in np.ndindex(self.payoffs.shape):
            value = float(self.payoffs[row, column])
            x, y = left + SQUARE * column, top + SQUARE * row
            fill = _shade(value / most)
            drawn.append(rectangle(x, y, SQUARE, SQUARE, fill=fill, stroke=PAPER))
            if row != column:
                ink = CELL if abs(value) > 0.6 * most else INK
                drawn.append(words(x + SQUARE / 2, y + SQUARE / 2 + 4, f"{value:+.2f}", 11, ink))
        side = SQUARE * len(names) + MARGIN
        return document(max(left + side, 360), top + side, *drawn)


def _shade(share: float) -> str:
    """From red at -1 over white to blue at 1."""
    end = SEATS[0] if share > 0 else COLLISION
    parts = (int(end[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * abs(share)):02x}" for part in parts)


def tournament(
    game: Game,
    players: Sequence[Player | str | Path],
    matches_per_seat: int = 1_000,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int], object] = lambda _: None,
) -> Standings:
    """Let players meet, everyone everyone, and say how strong they are.

    Args:
        players: or their names or paths; `random`, from which ratings count, joins if it is not among them.
        matches_per_seat: of each pair in each seating.
        seed: of the matches and of players given by their names.
        on_progress: called with the number of matches that have just ended.

    Raises:
        ValueError: the game is not for two, a player is of another game, two have one name, or there are too
            few matches.
    """
    if game.seats != 2:
        raise ValueError(f"ratings are of games with two seats, {game} has {game.seats}")
    seated = [
        load_player(player, game, device=device, seed=seed + k) if isinstance(player, (str, Path)) else player
        for k, player in enumerate(players)
    ]
    seated = with_anchor(game, seated, seed)
    results = round_robin(game, seated, matches_per_seat, seed, device, on_progress)
    return standings_of(game, [player.name for player in seated], results)


def has_anchor(players: Sequence[Player]) -> bool:
    """The player from whom ratings count is among them; an agent of its name is not it."""
    return any(player.name == ANCHOR and isinstance(player, RandomPlayer) for player in players)


def with_anchor(game: Game, players: Sequence[Player], seed: int = 0) -> list[Player]:
    """The players, and `ANCHOR` behind them if it is not among them."""
    return [*players, *([] if has_anchor(players) else [fixed_player(ANCHOR, game, seed + len(players))])]


def standings_of(game: Game, names: Sequence[str], results: dict[tuple[str, str], Result]) -> Standings:
    """What the results of players who have all met say; `ANCHOR` must be one of them.

    Raises:
        ValueError: see `rate`.
    """
    told = dict(zip(names, rate(names, results), strict=True))
    order = sorted(names, key=lambda name: -told[name].points)
    matrix = payoffs(order, results)
    ratings = {name: told[name] for name in order}
    return Standings(game, results, matrix, ratings, cycles(order, results), nash_average(matrix))


def shortened(names: Sequence[str]) -> list[str]:
    """Names of a run's checkpoints without the run's, where that leaves them different."""
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(names) else list(names)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
