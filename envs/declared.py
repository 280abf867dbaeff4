"""Declared: what a game says about its record, so that its tree can be walked without the joint histories.

A wrong declaration would make every exact number wrong in silence, so it is tried out: the bytes that a verb
is said not to read are scrambled, and nothing else may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.core import CHANCE, Array, Game, record
from envs.match import Match

UNREAD = ("seed", "draws")
"""Fields that are neither the world's nor a seat's: a game whose verbs draw has no tree."""


def own_bytes(game: Game) -> Array:
    """Bytes of the record that belong to the rows of `game.private`, bool [P, bytes].

    Raises:
        ValueError: a declared field is not there, or has no row per seat.
    """
    own = np.zeros((game.seats, game.state.itemsize), np.bool_)
    for name in game.private:
        start, end, shape = _declared(game, name)
        if shape[:1] != (game.seats,):
            raise ValueError(
                f"{game.name}: private fields have a row per seat, expected shape ({game.seats}, ...), "
                f"{name!r} has {shape}"
            )
        row = (end - start) // game.seats
        for p in range(game.seats):
            own[p, start + p * row : start + (p + 1) * row] = True
    return own


def noted_bytes(game: Game) -> Array:
    """Bytes of the record that belong to `game.notes`, bool [bytes]; ValueError as `own_bytes`."""
    noted = np.zeros(game.state.itemsize, np.bool_)
    for name in game.notes:
        start, end, _ = _declared(game, name)
        noted[start:end] = True
    return noted


def world_bytes(game: Game) -> Array:
    """Bytes of the record that belong to fields that are neither private nor notes, bool [bytes]."""
    world = np.zeros(game.state.itemsize, np.bool_)
    for name in game.state.names or ():
        if name not in (*game.private, *game.notes, *UNREAD):
            start, end, _ = _place(game, name)
            world[start:end] = True
    return world


def _declared(game: Game, name: str) -> tuple[int, int, tuple[int, ...]]:
    """Where a declared field lies in the record, and its shape; ValueError if there is none."""
    common = record(game.seats).names or ()
    known = [field for field in game.state.names or () if field not in common]
    if name not in known:
        raise ValueError(f"{game.name} declares {name!r}; fields of its own are {', '.join(known)}")
    return _place(game, name)


def _place(game: Game, name: str) -> tuple[int, int, tuple[int, ...]]:
    fields: Mapping[str, Any] = game.state.fields or {}
    kind, start = fields[name][:2]
    return start, start + kind.itemsize, kind.shape


def check_declared(game: Game, matches: int = 50, seed: int = 0) -> None:
    """Play random matches of `game` and try out what it declares `private` and `notes`.

    Raises:
        ValueError: a declaration is wrong; the message names the verb that shows it.
    """
    own, noted, world = own_bytes(game), noted_bytes(game), world_bytes(game)
    if not game.private and not game.notes:
        return
    random, donors = np.random.default_rng(seed), list[Array]()
    for m in range(matches):
        match = Match(game, seed=m, chance="ask")
        while not match.over:
            donors.append(_copy(match))
            donor = donors[random.integers(len(donors))]
            for p in range(game.seats):
                _compare_seen(match, p, noted | (own.any(0) & ~own[p]), donor)
            mine = own[match.seat] if match.seat != CHANCE else np.zeros_like(noted)
            action = int(random.choice(match.legal()))
            _compare_played(match, action, noted, own.any(0) & ~mine, world | mine, donor)
            match.play(action)


def _compare_seen(match: Match, seat: int, unread: Array, donor: Array) -> None:
    """What `seat` is shown and may do, with and without the scrambled bytes."""
    game, shown = match.game, list[tuple[bytes, bytes]]()
    for records in (_copy(match), _scrambled(match, unread, donor)):
        out = np.zeros(game.observation_space.shape, game.observation_space.dtype)
        game.observe(records[0], seat, out)
        mask = np.zeros(game.actions, np.bool_)
        if match.seat == seat:
            game.legal(records[0], mask)
        shown.append((out.tobytes(), mask.tobytes()))
    for verb, before, after in zip(("observe", "legal"), *shown, strict=True):
        _require(game, before == after, f"{verb} of seat {seat} reads others")


def _compare_played(
    match: Match, action: int, noted: Array, others: Array, read: Array, donor: Array
) -> None:
    """A move, with and without the scrambled bytes: it changes `read` alike, and nobody else's own bytes."""
    game, who = match.game, "chance" if match.seat == CHANCE else f"seat {match.seat}"
    after = []
    for records in (_copy(match), _scrambled(match, noted | others, donor)):
        before = records.view(np.uint8)[others].copy()
        records[0].reward[:] = 0.0
        game.play(records[0], action)
        is_kept = (records.view(np.uint8)[others] == before).all()
        _require(game, is_kept, f"play of {who} writes into another seat's row")
        after.append(records.view(np.uint8)[read])
    _require(game, (after[0] == after[1]).all(), f"play of {who} reads others")


def _require(game: Game, holds: Any, but: str) -> None:
    if not holds:
        raise ValueError(
            f"{game.name} declares private = {game.private} and notes = {game.notes}: expected its verbs to "
            f"read of them the rows of the seat that moves or sees, but {but}"
        )


def _copy(match: Match) -> Array:
    """The match's record, [1]."""
    return np.frombuffer(bytearray(match.state.tobytes()), match.state.dtype)


def _scrambled(match: Match, unread: Array, donor: Array) -> Array:
    """The match's record, its marked bytes from another moment of another match: so none points too far."""
    records = _copy(match)
    records.view(np.uint8)[unread] = donor.view(np.uint8)[unread]
    return records
