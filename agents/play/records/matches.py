"""Recorded matches: what they hold, and how the rules judge them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from envs import Game, name_of
from envs.core import named
from envs.replay import ILLEGAL, MISSING, Replayed, Script, dealt, drawn, replay, told_bytes

Array = npt.NDArray[Any]

ENDS: Final = ("over", "forfeit", "stopped")
"""How a match may have ended: by the rules; by an illegal action, its last; not at all."""
OVER, FORFEIT, STOPPED = range(3)

AT_ONCE: Final = 16_384
"""So many matches are played again at once; only memory depends on it."""

NEAR: Final = 1e-6
"""Returns that differ by so much are the same: other machines may round a sum of rewards otherwise."""


class RecordError(ValueError):
    """A record cannot be used; the message is one line and says where it stands and what is wrong with it."""


class Split(NamedTuple):
    """Which matches are for training and which for validation."""

    validation: float = 0.2
    """The share that is for validation."""
    salt: str = "fogbound"
    """What is hashed with a match, so that another split can be had."""

    def is_validation(self, told: Iterable[bytes]) -> Array:
        """Which of those that are told by these bytes are for validation, bool [N]: the BLAKE2b digest of the
        salt, a line break and the bytes is, as a share of 2^64, below the share."""
        salt = self.salt.encode() + b"\n"
        digests = [hashlib.blake2b(salt + one, digest_size=8).digest() for one in told]
        numbers = np.frombuffer(b"".join(digests), ">u8").astype(np.float64)
        chosen: Array = numbers < self.validation * 2.0**64
        return chosen

    def chosen(self, side: str, is_validation: Array, source: object) -> Array:
        """The numbers of those on one of `SPLITS`.

        Raises:
            RecordError: there are none.
        """
        if side == "all":
            return np.arange(len(is_validation))
        numbers = np.flatnonzero(is_validation if side == "validation" else ~is_validation)
        if len(numbers) == 0:
            count = len(is_validation)
            raise RecordError(
                f"{source}: the split {side!r} is empty: all {count} are on the other side, and a share of "
                f"{self.validation:g} is for validation"
            )
        return numbers


DEFAULT_SPLIT: Final = Split()
SPLITS: Final = ("train", "validation", "all")


@dataclasses.dataclass(frozen=True)
class Matches:
    """N recorded matches of one game."""

    game: Game
    script: Script
    """Their actions and outcomes of chance."""
    seeds: Sequence[int | None]
    """Of each match, 0..2^64-1; None of one that comes from elsewhere."""
    deals: Sequence[str | None]
    """Of each match its set-up in letters, see `Game.deal_text`."""
    names: tuple[str, ...]
    """Of all players."""
    players: Array  # int64 [N, P], who sat in each seat, by the names' numbers
    returns: Array  # float64 [N, P]
    ends: Array  # int8 [N], OVER, FORFEIT or STOPPED
    sums: Sequence[str]
    """Of each match the digest of its final state, see `digests`."""
    source: str = "these matches"
    """The file that they stand in."""
    lines: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))  # int64 [N], in it

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def lengths(self) -> Array:
        """Decisions of each match, int64 [N]; an illegal action, by which it was forfeited, is none."""
        lengths: Array = self.script.lengths - (self.ends == FORFEIT)
        return lengths

    @property
    def can_be_laid(self) -> Array:
        """Which came to an end, and have decisions, bool [N]: those that `records.lay` tells."""
        can: Array = (self.ends != STOPPED) & (self.lengths > 0)
        return can

    def of(self, chosen: Array) -> Matches:
        """Some of the matches, in this order: their numbers, or a mask."""
        rows = np.arange(len(self))[chosen]
        picked = rows.tolist()
        return dataclasses.replace(
            self,
            script=self.script.of(rows),
            seeds=[self.seeds[n] for n in picked],
            deals=[self.deals[n] for n in picked],
            players=self.players[rows],
            returns=self.returns[rows],
            ends=self.ends[rows],
            sums=[self.sums[n] for n in picked],
            lines=self.lines[rows] if len(self.lines) else self.lines,
        )

    def number_of(self, name: str) -> int:
        """The number of the player that is called `name`.

        Raises:
            ValueError: nobody is; the message says who plays.
        """
        if name not in self.names:
            raise ValueError(f"{self.source}: no player {name!r}; known are {', '.join(self.names)}")
        return self.names.index(name)

    def dealt(self, rows: Array) -> Array:
        """The state records of some matches as they begin, [n]; errors as of `check`."""
        picked = rows.tolist()
        seeds = np.array([self.seeds[n] or 0 for n in picked], np.uint64)
        try:
            states = dealt(self.game, seeds, [self.deals[n] for n in picked])
        except ValueError as error:
            raise self.error(picked[getattr(error, "at", 0)], str(error)) from error
        for n, draws in zip(picked, states["draws"].tolist(), strict=True):
            if draws > 0 and self.seeds[n] is None:
                raise self.error(n, f"{self.game.name} deals, and it has neither a deal nor a seed")
        return states

    def error(self, match: int, told: str) -> RecordError:
        """What to raise of a match."""
        where = f"line {self.lines[match]}" if len(self.lines) else f"match {match}"
        return RecordError(f"{self.source}: {where}: {told}")

    def is_validation(self, split: Split = DEFAULT_SPLIT) -> Array:
        """The matches that are for validation, bool [N]: it follows from each match alone."""
        return split.is_validation(map(self._told, range(len(self))))

    def _told(self, n: int) -> bytes:
        """What makes the match another than others: its seed, and all that happened."""
        actions, begins, outcomes, outcome_begins = self.script
        head = f"{self.seeds[n]}\n{self.deals[n]}\n".encode()
        parts = (actions[begins[n] : begins[n + 1]], outcomes[outcome_begins[n] : outcome_begins[n + 1]])
        return head + b"\n".join(part.astype("<i4").tobytes() for part in parts)


def played(
    game: Game,
    seeds: Sequence[int | None],
    actions: Array,
    begins: Array,
    names: Sequence[str],
    players: Array,
) -> Matches:
    """Records of matches that were just played, their chance drawn from their seeds.

    Args:
        seeds: N of them; None in games without chance whose set-up is always the same.
        actions, begins: as `Script` has them.
        names, players: as `Matches` has them.
    """
    states = dealt(game, np.array([seed or 0 for seed in seeds], np.uint64), [None] * len(seeds))
    deals = [game.deal_text(state) for state in states]
    script, told = drawn(game, states, actions, begins)
    ends = judged(game, script, told)
    return Matches(
        game,
        script,
        list(seeds),
        deals,
        tuple(names),
        players,
        told.returns,
        ends,
        digests(game, told.states),
    )


def judged(game: Game, script: Script, told: Replayed) -> Array:
    """How replayed matches ended, int8 [N], as if nobody had said; a forfeit is written into `told`."""
    is_forfeit = (told.fault == ILLEGAL) & (told.decisions == script.lengths - 1)
    for n in np.flatnonzero(is_forfeit).tolist():
        told.returns[n] += game.forfeit(int(told.states["seat"][n]))
    told.states["over"] |= is_forfeit
    return np.where(is_forfeit, FORFEIT, np.where(told.states["over"], OVER, STOPPED)).astype(np.int8)


def digests(game: Game, states: Array) -> list[str]:
    """16 hexadecimal letters for each state [N], of all that tells where its match stands."""
    told = np.ascontiguousarray(states.view(np.uint8).reshape(len(states), -1)[:, told_bytes(game)])
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in told]


def rules_of(game: Game) -> str:
    """16 hexadecimal letters that change with the facts of a game under its options: seats, actions, lengths,
    returns, what is observed and what a state holds."""
    space: Any = game.observation_space
    sizes, fields = getattr(space, "nvec", None), cast(Any, game.state.fields)
    facts = {
        "game": name_of(game),
        "options": dict(game.options),
        "seats": game.seats,
        "simultaneous": game.simultaneous,
        "actions": game.actions,
        "chance_outcomes": game.chance_outcomes,
        "max_length": game.max_length,
        "return_range": list(game.return_range),
        "observation": [type(space).__name__, list(space.shape), np.dtype(space.dtype).str],
        "codes": None if sizes is None else np.asarray(sizes).tolist(),
        "state": [
            [field, kind.base.str, list(kind.shape)]
            for field in game.state.names or ()
            for kind in [fields[field][0]]
        ],
    }
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()


# ---------------------------------------------------------------- what the rules say


def check(matches: Matches, on_progress: Callable[[int], object] = lambda _: None) -> None:
    """Play all matches again and compare what they say with what the rules give.

    Args:
        on_progress: called with the number of matches that were just played.

    Raises:
        RecordError: one of them says otherwise; the first that does.
    """
    for begin in range(0, len(matches), AT_ONCE):
        rows = np.arange(begin, min(begin + AT_ONCE, len(matches)))
        script = matches.script.of(rows)
        told = replay(matches.game, matches.dealt(rows), script)
        _compare(matches, rows, script, told)
        on_progress(len(rows))


def _compare(matches: Matches, rows: Array, script: Script, told: Replayed) -> None:
    said = matches.ends[rows]
    ends = judged(matches.game, script, told)
    sums = digests(matches.game, told.states)
    wrong = (ends != said) | ((told.fault != 0) & (ends != FORFEIT)) | (told.decisions < script.lengths - 1)
    wrong |= (told.decisions != script.lengths) & (ends != FORFEIT)
    wrong |= told.drawn != np.diff(script.outcome_begins)
    wrong |= (np.abs(told.returns - matches.returns[rows]) > NEAR).any(1)
    wrong |= np.array([sums[k] != matches.sums[n] for k, n in enumerate(rows.tolist())], np.bool_)
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise matches.error(
            int(rows[k]), _reason(matches, int(rows[k]), k, script, told, int(ends[k]), sums[k])
        )


def _reason(matches: Matches, n: int, k: int, script: Script, told: Replayed, end: int, digest: str) -> str:
    """Why match n, the k-th of those replayed, is none of the rules."""
    game, state, said = matches.game, told.states[k], int(matches.ends[n])
    t, length, used = int(told.decisions[k]), int(script.lengths[k]), int(told.drawn[k])
    outcomes = script.outcomes[script.outcome_begins[k] : script.outcome_begins[k + 1]].tolist()
    action = int(script.actions[script.begins[k] + t]) if t < length else -1
    if told.fault[k] == MISSING:
        return f"its outcomes of chance end after {len(outcomes)}, and the match waits for one"
    if told.fault[k] not in (0, ILLEGAL):
        odds = np.zeros(game.chance_outcomes)
        game.chance(state, odds)
        can = np.flatnonzero(odds).tolist()
        return f"outcome {outcomes[used]} of chance, number {used + 1}, cannot come; possible are {can}"
    if told.fault[k] == ILLEGAL and (t < length - 1 or said != FORFEIT):
        return f"{named(game, action)} of seat {state.seat}, decision {t + 1} of {length}, is illegal"
    if t < length and end != FORFEIT:
        return f"it holds {length} actions, and the match is over after {t}"
    if used < len(outcomes):
        return f"it holds {len(outcomes)} outcomes of chance, and {used} came"
    if end != said:
        return f"it says that the match ended as {ENDS[said]!r}, by the rules it is {ENDS[end]!r}"
    if (np.abs(told.returns[k] - matches.returns[n]) > NEAR).any():
        return (
            f"it says returns {matches.returns[n].tolist()}, by the rules they are {told.returns[k].tolist()}"
        )
    return f"it says the digest {matches.sums[n]} of its final state, by the rules that is {digest}"
