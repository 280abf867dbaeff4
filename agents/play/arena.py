"""The arena: matches between players, seats balanced, results with their uncertainty.

A game for one seat is played alone: there is nobody to win against, so its return is the measure.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from agents.play.intervals import mean_interval, rate_interval
from agents.play.players import Player
from envs import REFEREE, Batch, Game, Match
from envs.core import Viewer
from envs.seeds import derived_seed

LANES = 2048
"""Matches played side by side. What is dealt and drawn depends on it, so it is the same everywhere."""

NOBODY = "nobody"
"""The opponent in a game for one seat."""


ENOUGH = 500
"""Matches of a part: one of fewer costs nearly as much."""


class Parts(NamedTuple):
    """How matches are cut by their numbers into parts that can be played apart; the first ones are part 0.

    What a part gives depends on its number and on how many there are: its deals and its players' draws are
    its own. So who plays which parts changes nothing; cut into another number of parts, other matches are
    played.
    """

    number: int = 1
    """Of parts at most, see `of`."""
    own: Sequence[int] = (0,)
    """Those that are played here."""
    rows: Callable[[Tensor, int], Tensor] = lambda mine, _: mine
    """What is told of all parts, [number, n], where that of the own ones, [len(own), n], is given, and how
    many there are."""

    def of(self, matches: int) -> Parts:
        """Those of so many matches: fewer where each would have less than `ENOUGH`."""
        number = max(1, min(self.number, matches // ENOUGH))
        return self._replace(number=number, own=[k for k in self.own if k < number])


WHOLE: Final = Parts()
"""One part, with the players' draws going on where they are."""


@dataclasses.dataclass(frozen=True)
class Result:
    """How a player did against an opponent, or alone: its returns, match by match."""

    returns: Tensor  # float64 [N], of the player
    seat: Tensor  # int64 [N], where it sat
    length: Tensor  # int64 [N], decisions of all seats
    opposite: Tensor | None = None  # float64 [N], returns of the opponent, if there is one
    bounds: tuple[float, float] | None = (
        None  # of the game's returns; None = see `agents.play.intervals.bounds_of`
    )

    @property
    def matches(self) -> int:
        return len(self.returns)

    @property
    def win(self) -> float:
        return float((self.returns > 0).double().mean())

    @property
    def draw(self) -> float:
        return float((self.returns == 0).double().mean())

    @property
    def loss(self) -> float:
        return float((self.returns < 0).double().mean())

    @property
    def mean(self) -> float:
        """Mean return, both seats weighing the same."""
        return float(torch.stack([self.returns[self.seat == p].mean() for p in self.seat.unique()]).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean return, seats as strata (see `agents.play.intervals`)."""
        groups = [self.returns[self.seat == p].numpy() for p in self.seat.unique()]
        return mean_interval(groups, self.bounds)

    @property
    def win_interval(self) -> tuple[float, float]:
        """95 % interval of the win rate (Wilson 1927)."""
        return rate_interval(int((self.returns > 0).sum()), self.matches)

    def mean_in_seat(self, seat: int) -> float:
        """Mean return of the matches the player began in `seat`."""
        return float(self.returns[self.seat == seat].mean())

    def reversed(self) -> Result:
        """The same matches as the opponent saw them (two seats)."""
        assert self.opposite is not None
        return Result(self.opposite, 1 - self.seat, self.length, self.returns, self.bounds)


def play_matches(
    game: Game,
    player: Player,
    opponent: Player,
    matches_per_seat: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int], object] = lambda _: None,
    parts: Parts = WHOLE,
) -> Result:
    """Let two players play `matches_per_seat` matches in each seating.

    Args:
        seed: of the matches (cards and the like); the players draw from their own generators.
        on_progress: called with the number of matches that have just ended here.
        parts: how the matches are cut. Where they are cut, each part has the players drawing anew, see
            `Player.reseed`.

    Raises:
        ValueError: fewer than 2 matches per seat, or a game that is not for two.
    """
    if matches_per_seat < 2:
        raise ValueError(f"matches per seat must be at least 2, got {matches_per_seat}")
    if game.seats != 2:
        raise ValueError(f"two players meet in games with two seats, {game} has {game.seats}")
    sides, matches = (player, opponent), 2 * matches_per_seat
    return _play(game, sides, [(0, 1)], matches, seed, device, on_progress, parts)[0]


def play_alone(
    game: Game,
    player: Player,
    matches: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int], object] = lambda _: None,
    parts: Parts = WHOLE,
) -> Result:
    """Let a player play `matches` matches of a game for one; other arguments as in `play_matches`.

    Raises:
        ValueError: fewer than 2 matches, or a game that is not for one.
    """
    if matches < 2:
        raise ValueError(f"matches must be at least 2, got {matches}")
    if game.seats != 1:
        raise ValueError(f"alone one plays games with one seat, {game} has {game.seats}")
    return _play(game, (player,), [(0,)], matches, seed, device, on_progress, parts)[0]


def _play(
    game: Game,
    players: Sequence[Player],
    tables: Sequence[tuple[int, ...]],
    matches: int,
    seed: int,
    device: str | torch.device,
    on_progress: Callable[[int], object],
    parts: Parts,
) -> list[Result]:
    """Matches at every table, as the first who sits there sees them.

    Args:
        tables: which of `players` meet, as many as the game has seats; they take turns in the seats.
        matches: at each table; those of all tables are numbered through.
    """
    P, total = game.seats, len(tables) * matches
    is_cut, parts = parts.number > 1, parts.of(total)
    size = -(-total // parts.number)
    mine = torch.zeros(len(parts.own), size, P + 1, dtype=torch.float64)
    for told, k in zip(mine, parts.own, strict=True):
        deals = seed
        if is_cut:
            deals = derived_seed(seed, "part", k)
            for number, player in enumerate(players):
                player.reseed(derived_seed(deals, "player", number))
        numbers = range(min(k * size, total), min((k + 1) * size, total))
        for lane, played in _turns(game, players, tables, matches, numbers, deals, device, on_progress):
            told[lane - numbers.start] = played
    of_all = parts.rows(mine.flatten(1), parts.number).reshape(-1, P + 1)[:total]
    returns, length = of_all[:, :P].contiguous(), of_all[:, P].long()
    first_seat = _first_seat(torch.arange(total), matches, P)
    results = []
    for begin in range(0, total, matches):
        own = slice(begin, begin + matches)
        opposite = returns[own, 1] if P > 1 else None
        results.append(Result(returns[own, 0], first_seat[own], length[own], opposite, game.return_range))
    return results


def _turns(
    game: Game,
    players: Sequence[Player],
    tables: Sequence[tuple[int, ...]],
    matches: int,
    numbers: range,
    seed: int,
    device: str | torch.device,
    on_progress: Callable[[int], object],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Plays the matches of these numbers, LANES at a time, of whichever tables.

    Yields:
        the numbers int64 [lanes], and float64 [lanes, P + 1]: returns in the table's order, and decisions.
    """
    table_of = torch.tensor(tables)  # [tables, P]
    for turn, begin in enumerate(range(numbers.start, numbers.stop, LANES)):
        lane = torch.arange(begin, min(begin + LANES, numbers.stop))
        first_seat = _first_seat(lane, matches, game.seats)
        at_seat = (torch.arange(game.seats) - first_seat[:, None]) % game.seats  # [lanes, P], of the table
        sits = table_of[lane // matches].gather(1, at_seat)
        deals = derived_seed(seed, "arena", turn)  # none of a run's, nor of another seed's
        returns, length = play_lanes(game, players, sits, deals, device, on_progress)
        yield lane, torch.cat([returns.gather(1, at_seat.argsort(1)), length[:, None]], 1)


def _first_seat(lane: Tensor, matches: int, seats: int) -> Tensor:
    """Where the first of a table sits in the matches of these numbers."""
    return lane % matches % seats


def play_lanes(
    game: Game,
    players: Sequence[Player],
    sits: Tensor,
    seed: int,
    device: str | torch.device,
    on_progress: Callable[[int], object],
    moves: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """One match in each lane, the first of a `Batch` with this seed, every player deciding at once wherever
    it is to move.

    Args:
        sits: int64 [lanes, P], the number of the player in each seat.
        moves: takes the actions of every step, int64 [lanes] on the CPU; a lane's beyond its decisions mean
            nothing.

    Returns:
        returns float64 [lanes, P] by seat, and decisions int64 [lanes], on the CPU.
    """
    lanes = len(sits)
    batch = Batch(game, lanes, device, seed)
    sits, here = sits.to(batch.device), sits.unique().tolist()
    returns = torch.zeros(lanes, game.seats, dtype=torch.float64, device=batch.device)
    length = torch.zeros_like(batch.seat)
    running = torch.ones_like(batch.over)
    for number in here:
        players[number].reset(lanes)
    while bool(running.any()):
        actions = torch.zeros_like(batch.seat)
        mover = torch.where(running, sits.gather(1, batch.seat[:, None])[:, 0], -1)
        for number in here:
            rows = torch.nonzero(mover == number)[:, 0]
            if len(rows) > 0:
                actions[rows] = players[number].act(
                    batch.observation[rows], batch.legal[rows], batch.seat[rows], rows
                )
        # Lanes that are through play on unwatched, with any legal action.
        actions = torch.where(running, actions, batch.legal.int().argmax(-1))
        if moves is not None:
            moves.append(actions.cpu())
        batch.step(actions)
        returns += torch.where(running[:, None], batch.reward, 0.0)
        length += running
        ended = running & batch.over
        running &= ~ended
        if bool(ended.any()):
            on_progress(int(ended.sum()))
    return returns.cpu(), length.cpu()


def watch(
    game: Game, players: Sequence[Player], seed: int | None = None, viewer: Viewer = REFEREE
) -> Iterator[Match]:
    """Play one match; yields it before the first move, after every move that the viewer sees, and at its end.

    A seat sees nothing of most of its opponent's moves, and nobody half of a move made at once.

    Args:
        players: one per seat; the same player may hold several.
        seed: of the match.
        viewer: who watches.
    """
    match = Match(game, seed)
    for player in players:
        player.reset(1)

    def chosen() -> Iterator[int]:
        while not match.over:
            seat = match.seat
            yield players[seat].act(match.observation(seat), match.mask(), seat)

    return moments(match, chosen(), viewer)


def moments(match: Match, actions: Iterable[int], viewer: Viewer) -> Iterator[Match]:
    """`watch` of a match in which these actions are played, one asked for after the other."""
    seen = match.text(viewer)
    yield match
    for action in actions:
        match.play(action)
        before, seen = seen, match.text(viewer)
        if seen != before or match.over:
            yield match


def round_robin(
    game: Game,
    players: Sequence[Player],
    matches_per_seat: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int], object] = lambda _: None,
    has_met: Collection[frozenset[str]] = (),
    parts: Parts = WHOLE,
) -> dict[tuple[str, str], Result]:
    """Every player against every other; results by (name, opponent's name), both ways round.

    All pairs play in one pass, each with deals of its own, so that no result tells of another. In a game for
    one seat each plays the same deals alone, as many as in both seatings of two.

    Args:
        has_met: pairs of names that are left out.
        parts: as of `play_matches`; the matches of all pairs are cut together.

    Raises:
        ValueError: fewer than two players, two of one name, a player of another game, or fewer than 2
            matches per seat.
    """
    names = [player.name for player in players]
    if len(players) < 2 or len(set(names)) < len(names):
        raise ValueError(f"a tournament needs at least two players with different names, got {names}")
    if strangers := [player for player in players if player.game != game]:
        first = strangers[0]
        raise ValueError(f"{first.name!r} plays {first.game}, expected players of {game}")
    if game.seats == 1:
        return {
            (player.name, NOBODY): play_alone(
                game, player, 2 * matches_per_seat, seed, device, on_progress, parts
            )
            for player in players
        }
    if game.seats != 2:
        raise ValueError(f"two players meet in games with two seats, {game} has {game.seats}")
    if matches_per_seat < 2:
        raise ValueError(f"matches per seat must be at least 2, got {matches_per_seat}")
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(len(players)), 2)
        if frozenset((names[a], names[b])) not in has_met
    ]
    results: dict[tuple[str, str], Result] = {}
    if not pairs:
        return results
    played = _play(game, players, pairs, 2 * matches_per_seat, seed, device, on_progress, parts)
    for (a, b), result in zip(pairs, played, strict=True):
        results[names[a], names[b]], results[names[b], names[a]] = result, result.reversed()
    return results
