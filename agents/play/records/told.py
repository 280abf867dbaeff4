"""What is told of records: counts, lengths, returns with their intervals, moves; and matches as CSV."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from agents.files import write_file
from agents.play.intervals import mean_interval
from agents.play.records.laid import pieces
from agents.play.records.matches import ENDS, STOPPED, Array, Matches
from agents.play.records.setups import CELLS, LETTERS, Setups

CHUNK: Final = 1024
"""Decisions that are played again at once."""
COLUMNS: Final = ("match", "decision", "seat", "player", "action", "name", "return")


@dataclasses.dataclass(frozen=True)
class Standing:
    """How one player did in the recorded matches that ended."""

    name: str
    matches: int
    win: float
    draw: float
    loss: float
    mean: float  # return, all seats weighing the same
    interval: tuple[float, float]  # of the mean, 95 %
    by_seat: dict[int, float]


def standings(matches: Matches) -> list[Standing]:
    """How the players did, in the order of their names' numbers; one that finished no match is left out."""
    told = []
    ended = matches.ends != STOPPED
    for p, name in enumerate(matches.names):
        groups = {
            seat: matches.returns[ended & (matches.players[:, seat] == p), seat]
            for seat in range(matches.game.seats)
        }
        groups = {seat: group for seat, group in groups.items() if len(group) > 0}
        if not groups:
            continue
        returns = np.concatenate(list(groups.values()))
        win, draw, loss = (float(np.mean(is_so)) for is_so in (returns > 0, returns == 0, returns < 0))
        by_seat = {seat: float(group.mean()) for seat, group in groups.items()}
        interval = mean_interval(list(groups.values()), matches.game.return_range)
        mean = float(np.mean(list(by_seat.values())))
        told.append(Standing(name, len(returns), win, draw, loss, mean, interval, by_seat))
    return told


def ends(matches: Matches) -> dict[str, int]:
    """How many matches ended in each way."""
    return {end: int((matches.ends == k).sum()) for k, end in enumerate(ENDS)}


def moves(matches: Matches, most: int = 10) -> list[tuple[str, int, float]]:
    """The most frequent actions: name, how often, share of all; an illegal one is none."""
    counts = np.bincount(_decided(matches), minlength=matches.game.actions)
    order = np.argsort(-counts, kind="stable")[:most]
    total = int(counts.sum())
    return [
        (matches.game.action_name(a), int(counts[a]), int(counts[a]) / total)
        for a in order.tolist()
        if counts[a] > 0
    ]


def _decided(matches: Matches) -> Array:
    """All legal actions."""
    last = matches.script.begins[1:][matches.lengths < matches.script.lengths] - 1
    return np.delete(matches.script.actions, last)


def export(matches: Matches, path: str | Path) -> int:
    """Write one row a decision as CSV, numbers from 0 on; returns how many. An illegal action is left out.

    A file that was there is replaced when the new one is whole.
    """
    path, rows = Path(path), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in _rows(matches):
                writer.writerow(row)
                rows += 1
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _rows(matches: Matches) -> Iterator[tuple[int, int, int, str, int, str, float]]:
    """The seats come from the rules: the matches are played again."""
    named = [matches.game.action_name(action) for action in range(matches.game.actions)]
    latest, t = -1, 0
    for piece in pieces(matches, 1, CHUNK, np.flatnonzero(matches.lengths > 0)):
        columns = (piece.match, piece.seat, piece.player, piece.action)
        for m, seat, player, action in zip(*(x[piece.real].tolist() for x in columns), strict=True):
            t = t + 1 if m == latest else 0
            latest = m
            earned = float(matches.returns[m, seat])
            yield m, t, seat, matches.names[player], action, named[action], earned


def export_setups(setups: Setups, path: str | Path) -> int:
    """Write setups as plain lines, a group's number and 40 letters; returns how many."""
    told = zip(setups.groups.tolist(), setups.letters(), strict=True)
    write_file(path, "".join(f"{group} {letters}\n" for group, letters in told).encode())
    return len(setups)


# ---------------------------------------------------------------- what counting alone says of setups


def perplexities(train: Setups, validation: Setups) -> dict[str, float]:
    """Perplexities on `validation` of what one gets by counting in `train`, piece by piece.

        every order alike         the pieces of the army that are left, in any order
        place, piece before       how often a piece stands at its place after the one before it
        place x pieces left       how often at its place, times the share of its kind that is left
        place and pieces left     how often at its place where as many of its kind were left

    Frequencies have 1 added to each count (of the last, 1/2 to times that it did and that it did not); what
    counts are multiplied to is divided by its sum over the pieces.

    Raises:
        ValueError: not all have the same army.
    """
    armies = np.unique(np.sort(np.concatenate([train.pieces, validation.pieces])), axis=0)
    if len(armies) > 1:
        raise ValueError(
            f"{validation.source}: expected setups of one army, got {len(armies)} different ones"
        )
    army = np.bincount(armies[0], minlength=len(LETTERS))
    have, left = _left(train.pieces, army), _left(validation.pieces, army)
    place, pair, held = _counted(train.pieces, have)
    at, x = np.arange(CELLS), validation.pieces
    weights = {
        "every order alike": left,
        "place, piece before": pair[at, _before(x)],
        "place x pieces left": place * left / np.maximum(army, 1),
        "place and pieces left": held[at[:, None], np.arange(len(LETTERS)), left] * (left > 0),
    }
    told = {}
    for name, weight in weights.items():  # [N, 40, pieces]
        share = np.take_along_axis(weight, x[..., None].astype(np.int64), -1)[..., 0] / weight.sum(-1)
        told[name] = math.exp(-float(np.log(share).mean()))
    return told


def _before(pieces: Array) -> Array:
    """The piece before each, len(LETTERS) before the first."""
    return np.concatenate([np.full((len(pieces), 1), len(LETTERS), np.uint8), pieces[:, :-1]], 1)


def _left(pieces: Array, army: Array) -> Array:
    """How many of each kind are left before each cell, int64 [N, 40, pieces]."""
    placed = np.eye(len(LETTERS), dtype=np.int64)[pieces].cumsum(1)
    left: Array = army - np.concatenate([np.zeros_like(placed[:, :1]), placed[:, :-1]], 1)
    return left


def _counted(pieces: Array, left: Array) -> tuple[Array, Array, Array]:
    """Shares of a piece: at its place [40, V]; after another [40, V + 1, V]; and of times that so many of it
    were left [40, V, 41] those at which it stands there."""
    V, at = len(LETTERS), np.broadcast_to(np.arange(CELLS), pieces.shape)
    place, pair = np.ones((CELLS, V)), np.ones((CELLS, V + 1, V))
    np.add.at(place, (at, pieces), 1)
    np.add.at(pair, (at, _before(pieces), pieces), 1)
    there, times = np.full((CELLS, V, CELLS + 1), 0.5), np.ones((CELLS, V, CELLS + 1))
    np.add.at(times, (at[..., None], np.arange(V), left), 1)
    stood = np.take_along_axis(left, pieces[..., None].astype(np.int64), -1)[..., 0]
    np.add.at(there, (at, pieces, stood), 1)
    return place / place.sum(-1, keepdims=True), pair / pair.sum(-1, keepdims=True), there / times
