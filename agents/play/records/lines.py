"""One match as one line of JSON, written and read; a stranger's line is judged before it is believed.

format     1
game       as `envs.make` takes it; reading imports nothing
options    all options of the game
rules      digest of the rules' facts, see `rules_of`
seed       of the match, 0..2^64-1, or null
players    names, in the order of the seats
actions    of all seats in the order of play; of a forfeit the last is the illegal one
chance     outcomes of cards and dice in the order of play
deal       the set-up in letters where the game deals one (a map, a fleet, mines), or null
returns    of each seat
end        over, forfeit or stopped
sum        digest of the final state, see `digests`
"""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

import numpy as np

import envs
from agents.play.records.matches import ENDS, Matches, RecordError, rules_of
from envs import Game, name_of
from envs.names import known
from envs.replay import Script

FORMAT: Final = 1
KEYS: Final = (
    *("format", "game", "options", "rules", "seed", "players", "actions", "chance", "deal"),
    *("returns", "end", "sum"),
)
LONGEST: Final = 2**22
"""Bytes of a line, at most: 40 times the longest match of the largest Generals there can be."""
NAME: Final = 200
"""Letters of a player's name, at most."""


def written(matches: Matches) -> Iterator[str]:
    """The matches as lines, each with its end."""
    game = matches.game
    head = {"format": FORMAT, "game": name_of(game), "options": dict(game.options), "rules": rules_of(game)}
    actions, begins, outcomes, outcome_begins = matches.script
    for n in range(len(matches)):
        record = head | {
            "seed": matches.seeds[n],
            "players": [matches.names[p] for p in matches.players[n].tolist()],
            "actions": actions[begins[n] : begins[n + 1]].tolist(),
            "chance": outcomes[outcome_begins[n] : outcome_begins[n + 1]].tolist(),
            "deal": matches.deals[n],
            "returns": matches.returns[n].tolist(),
            "end": ENDS[matches.ends[n]],
            "sum": matches.sums[n],
        }
        yield json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"


def head_of(text: bytes) -> tuple[Any, ...] | None:
    """What all lines of a file share, out of one of them: game, options and rules; None if it is no line."""
    try:
        record = parsed(text)
    except ValueError:
        return None
    return tuple(record.get(key) for key in ("game", "options", "rules"))


def parsed(text: bytes) -> dict[str, Any]:
    """The object that a line, or a file, of JSON holds.

    Raises:
        ValueError: it is none, has a key twice, or holds a number that is not finite.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is no JSON that can be read (nested too deeply)") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        told = error.msg.removesuffix(" at")
        raise ValueError(f"it is no whole JSON object ({told} at letter {error.pos + 1})") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {reprlib.repr(value)}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it holds the key {twice!r:.80} twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which is no number of JSON")


@dataclasses.dataclass
class _Found:
    """What was read of the matches so far."""

    game: Game | None = None
    head: tuple[Any, ...] = ()
    """The first line's game, options and rules, which all others must have."""
    names: dict[str, int] = dataclasses.field(default_factory=dict)
    seeds: list[int | None] = dataclasses.field(default_factory=list)
    deals: list[str | None] = dataclasses.field(default_factory=list)
    players: list[list[int]] = dataclasses.field(default_factory=list)
    actions: list[list[int]] = dataclasses.field(default_factory=list)
    outcomes: list[list[int]] = dataclasses.field(default_factory=list)
    returns: list[list[float]] = dataclasses.field(default_factory=list)
    ends: list[int] = dataclasses.field(default_factory=list)
    sums: list[str] = dataclasses.field(default_factory=list)
    lines: list[int] = dataclasses.field(default_factory=list)


def read(
    lines: Iterable[bytes], source: str, players: Iterable[str] | None = None, first: int = 1
) -> Matches:
    """The matches of a file, line by line; whether the rules allow them `check` says.

    Args:
        lines: at most LONGEST bytes each are looked at.
        source: the file's name, for errors.
        players: the names that may occur; None = any.
        first: the number of the first line, for errors.

    Raises:
        RecordError: a line is no record, or of another game than the first; or there is no line.
    """
    found = _Found()
    allowed = None if players is None else set(players)
    for number, line in enumerate(lines, first):
        try:
            if len(line) > LONGEST:
                raise ValueError(f"it is longer than {LONGEST:,} bytes")
            _take(found, parsed(line), number, allowed)
        except ValueError as error:
            raise RecordError(f"{source}: line {number}: {error}") from error
    if found.game is None:
        raise RecordError(f"{source}: holds no record")
    return Matches(
        found.game,
        Script(*_flat(found.actions), *_flat(found.outcomes)),
        found.seeds,
        found.deals,
        tuple(found.names),
        np.array(found.players, np.int64),
        np.array(found.returns, np.float64),
        np.array(found.ends, np.int8),
        found.sums,
        source,
        np.array(found.lines, np.int64),
    )


def _flat(rows: list[list[int]]) -> tuple[Any, Any]:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    values = np.fromiter((x for row in rows for x in row), np.int32, int(lengths.sum()))
    return values, np.concatenate([[0], lengths.cumsum()])


def _take(found: _Found, record: dict[str, Any], number: int, allowed: set[str] | None) -> None:
    """Add a line's record to what was found; ValueError if it is none."""
    if record.get("format") != FORMAT:
        raise ValueError(
            f'expected a record with "format": {FORMAT}, got '
            f"{reprlib.repr(record['format']) if 'format' in record else 'one without'} (replays of older "
            "runs are not read)"
        )
    if record.keys() != set(KEYS):
        lacking = [key for key in KEYS if key not in record]
        unknown = [key for key in record if key not in KEYS]
        raise ValueError(
            f"it lacks {', '.join(lacking)}"
            if lacking
            else f"unknown key {unknown[0]!r:.80}; known are {known(unknown[0][:80], KEYS)}"
        )
    game = _game_of(found, record)
    names = _names(record["players"], game.seats, allowed)
    actions = _integers("actions", record["actions"], game.max_length)
    outcomes = _integers("chance", record["chance"], LONGEST)
    returns = _numbers(record["returns"], game.seats)
    seed, deal, end, digest = (record[key] for key in ("seed", "deal", "end", "sum"))
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**64):
        raise ValueError(f"seed must be null or an integer in 0..2^64-1, got {reprlib.repr(seed)}")
    if deal is not None and not isinstance(deal, str):
        raise ValueError(f"deal must be null or letters, got {reprlib.repr(deal)}")
    if end not in ENDS:
        raise ValueError(f"end must be one of {', '.join(ENDS)}, got {reprlib.repr(end)}")
    if not isinstance(digest, str):
        raise ValueError(f"sum must be letters, got {reprlib.repr(digest)}")
    found.seeds.append(seed)
    found.deals.append(deal)
    found.players.append([found.names.setdefault(name, len(found.names)) for name in names])
    found.actions.append(actions)
    found.outcomes.append(outcomes)
    found.returns.append(returns)
    found.ends.append(ENDS.index(end))
    found.sums.append(digest[:32])
    found.lines.append(number)


def _game_of(found: _Found, record: dict[str, Any]) -> Game:
    """The game of a line, which all lines share."""
    name, options, rules = head = (record["game"], record["options"], record["rules"])
    if found.game is None:
        if not isinstance(name, str) or not isinstance(options, dict):
            raise ValueError(f"game must be a name and options an object, got {reprlib.repr(head)}")
        try:
            found.game = envs.registered(name[:NAME], **options)
        except TypeError as error:  # an option that is called like an argument of ours
            raise ValueError(f"{name!r:.80}: {error}") from error
        if rules != rules_of(found.game):
            raise ValueError(
                f"it was recorded by other rules of {found.game}: their digest is {reprlib.repr(rules)}, "
                f"here it is {rules_of(found.game)}"
            )
        found.head = head
    elif head != found.head:
        raise ValueError(
            f"expected {found.game} as in the first line, got {reprlib.repr(head)}: the matches of a file "
            "are of one game, its options and rules"
        )
    return found.game


def _names(value: Any, seats: int, allowed: set[str] | None) -> list[str]:
    is_fine = isinstance(value, list) and all(
        isinstance(name, str) and 0 < len(name) <= NAME and name.isprintable() for name in value
    )
    if not is_fine or len(value) != seats:
        raise ValueError(
            f"players must be {seats} names of up to {NAME} letters, one a seat, got {reprlib.repr(value)}"
        )
    names: list[str] = value
    if allowed is not None and (strangers := [name for name in names if name not in allowed]):
        raise ValueError(
            f"its player {strangers[0]!r} is unknown: the manifest knows {', '.join(sorted(allowed))}"
        )
    return names


def _integers(key: str, value: Any, longest: int) -> list[int]:
    """Of 32 bits; an illegal action may be any."""
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        raise ValueError(f"{key} must be a list of integers, got {reprlib.repr(value)}")
    if len(value) > longest:
        raise ValueError(f"{key} must be at most {longest:,} integers, got {len(value):,}")
    if value and not -(2**31) <= min(value) <= max(value) < 2**31:
        raise ValueError(f"{key} must be integers of 32 bits, got {reprlib.repr(max(value, key=abs))}")
    return value


def _numbers(value: Any, seats: int) -> list[float]:
    is_fine = isinstance(value, list) and all(type(x) in (int, float) and -1e9 <= x <= 1e9 for x in value)
    if not is_fine or len(value) != seats:
        raise ValueError(f"returns must be {seats} numbers, one a seat, got {reprlib.repr(value)}")
    return [float(x) for x in value]
