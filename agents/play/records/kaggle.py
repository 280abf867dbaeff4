"""Replays of dark hex from Kaggle's environments: their moves become records, and nothing else is read.

An episode is one JSON object. Of it are read

    configuration.openSpielGameName, .openSpielGameParameters    which game: dark_hex, its rows and columns
    info.actionHistory     every attempt of both seats in order, as texts: ["2", "2", "7", ...]
    info.stateHistory      if it is there: what both seats saw, before the first attempt and after each
    info.TeamNames         who played, if it is there
    rewards, statuses      of both seats

Its `serializedGameAndState` holds pickles in base64, which nobody here decodes. What both seats saw is
compared with what our rules show, move by move.

Source: kaggle-environments 1.33, `open_spiel_env` with `dark_hex_proxy`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

import envs
from agents.play.records.lines import LONGEST, NAME, parsed
from agents.play.records.matches import NEAR, STOPPED, Matches, RecordError, played
from envs import Game, Match

LARGEST: Final = 2**26
"""Bytes of an episode, at most."""
GAME: Final = "dark_hex"
REVEALS: Final = {"reveal-nothing": "nothing", "reveal-numturns": "turns"}
VERSIONS: Final = {"cdh": False, "adh": True}
SEATS: Final = ("x", "o")


def read(paths: Iterable[str | Path]) -> Matches:
    """The matches of some episodes, one a file.

    Raises:
        FileNotFoundError: a file is not there.
        RecordError: a file is no such episode, is of another game than the first, or shows what our rules do
            not.
    """
    games, actions, names = list[Game](), list[list[int]](), list[list[str]]()
    told, source = list[tuple[str, dict[str, Any]]](), ""
    for path in paths:
        source = str(path)
        try:
            episode = _parsed(Path(path))
            games.append(_game_of(episode))
            actions.append(_actions_of(episode))
            names.append(_names_of(episode))
            if games[-1] != games[0]:
                raise ValueError(f"expected {games[0]} as in the first file, got {games[-1]}")
            _compare_views(games[-1], actions[-1], episode)
        except ValueError as error:
            raise RecordError(f"{path}: {error}") from error
        told.append((source, episode))
    if not games:
        raise RecordError("there is no episode")
    distinct = list(dict.fromkeys(name for pair in names for name in pair))
    lengths = np.array([len(row) for row in actions])
    matches = played(
        games[0],
        [None] * len(games),
        np.array([a for row in actions for a in row], np.int32),
        np.concatenate([[0], lengths.cumsum()]),
        distinct,
        np.array([[distinct.index(name) for name in pair] for pair in names]),
    )
    for n, (path_told, episode) in enumerate(told):
        rewards = episode.get("rewards")
        if matches.ends[n] != STOPPED and not _is_near(rewards, matches.returns[n].tolist()):
            raise RecordError(
                f"{path_told}: expected rewards {matches.returns[n].tolist()}, as our rules give, got "
                f"{reprlib.repr(rewards)}"
            )
    return matches


def _is_near(rewards: Any, returns: list[float]) -> bool:
    is_list = isinstance(rewards, list) and len(rewards) == len(returns)
    return is_list and all(
        type(reward) in (int, float) and abs(reward - value) <= NEAR
        for reward, value in zip(rewards, returns, strict=True)
    )


def _parsed(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    return parsed(text)


def _object(value: Any, key: str) -> Mapping[str, Any]:
    inside = value.get(key)
    if not isinstance(inside, dict):
        raise ValueError(
            f"expected an episode of Kaggle's with an object {key!r}, got {reprlib.repr(inside)}"
        )
    return inside


def _game_of(episode: dict[str, Any]) -> Game:
    configuration = _object(episode, "configuration")
    name, told = configuration.get("openSpielGameName"), _object(configuration, "openSpielGameParameters")
    if name != GAME:
        raise ValueError(f"expected an episode of {GAME}, got {reprlib.repr(name)}")
    side = told.get("board_size", 3)
    version, reveal = told.get("gameversion", "cdh"), told.get("obstype", "reveal-nothing")
    if not (
        isinstance(version, str) and version in VERSIONS and isinstance(reveal, str) and reveal in REVEALS
    ):
        raise ValueError(
            f"expected a gameversion of {', '.join(VERSIONS)} and an obstype of {', '.join(REVEALS)}, got "
            f"{reprlib.repr((version, reveal))}"
        )
    return envs.make(
        GAME,
        rows=told.get("num_rows", side),
        cols=told.get("num_cols", side),
        abrupt=VERSIONS[version],
        reveal=REVEALS[reveal],
    )


def _actions_of(episode: dict[str, Any]) -> list[int]:
    history: Any = _object(episode, "info").get("actionHistory")
    is_list = isinstance(history, list) and 0 < len(history) <= LONGEST
    if not is_list or not all(isinstance(a, str) and a.isdecimal() and len(a) <= 3 for a in history):
        raise ValueError(f"actionHistory must be a list of numbers as texts, got {reprlib.repr(history)}")
    return [int(a) for a in history]


def _names_of(episode: dict[str, Any]) -> list[str]:
    """Who played; without names the seats' own. Two equal ones are one player, who met itself."""
    names = _object(episode, "info").get("TeamNames") or list(SEATS)
    if not (
        isinstance(names, list)
        and len(names) == len(SEATS)
        and all(isinstance(name, str) and 0 < len(name) <= NAME and name.isprintable() for name in names)
    ):
        raise ValueError(f"TeamNames must be {len(SEATS)} names, got {reprlib.repr(names)}")
    return names


def _compare_views(game: Game, actions: list[int], episode: dict[str, Any]) -> None:
    """Play the match and compare, move by move, what both seats see."""
    history = _object(episode, "info").get("stateHistory")
    if history is not None and not (isinstance(history, list) and len(history) == len(actions) + 1):
        raise ValueError(f"stateHistory must be {len(actions) + 1} states, got {reprlib.repr(history)}")
    match = Match(game)
    for t in range(len(actions) + 1):
        if history is not None:
            _compare_view(match, t, history[t])
        if t < len(actions):
            try:
                match.play(actions[t])
            except ValueError as error:
                raise ValueError(f"actionHistory, move {t + 1}: {error}") from error


def _compare_view(match: Match, t: int, told: Any) -> None:
    if not isinstance(told, str) or len(told) > LONGEST:
        raise ValueError(f"stateHistory, state {t}: expected JSON in a text, got {reprlib.repr(told)}")
    state = parsed(told.encode("utf-8", "replace"))
    for seat, letter in enumerate(SEATS):
        board = view(match, seat)
        if state.get(f"board_player_{letter}") != board:
            raise ValueError(
                f"stateHistory, after move {t}: expected that {letter} sees {board}, got "
                f"{reprlib.repr(state.get(f'board_player_{letter}'))}"
            )


def view(match: Match, seat: int) -> list[list[str]]:
    """What a seat sees of dark hex, as Kaggle writes it: rows of `.`, `x` and `o`."""
    game: Any = match.game
    own, other = SEATS[seat], SEATS[1 - seat]
    signs = [(".", own, other)[code] for code in match.observation(seat)[: game.actions].tolist()]
    return [signs[begin : begin + game.cols] for begin in range(0, game.actions, game.cols)]
