"""Matches between players, recorded as they are played, many side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from agents.play import arena
from agents.play.players import Player
from agents.play.records.folder import Writer
from agents.play.records.matches import Matches, played
from envs import REFEREE, Game, Match
from envs.core import Viewer, match_seed
from envs.seeds import derived_seed


def record(
    players: Sequence[Player],
    matches: int,
    writer: Writer,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Let players play and write down every match; they take turns in the seats.

    Args:
        players: one for each seat, with different names.
        matches: N.
        writer: of their game; left early, by Ctrl-C say, it holds the matches of the batches that were
            through.
        seed: of the matches; the players draw from their own generators.
        on_progress: called with the number of matches that have just ended.

    Raises:
        ValueError: other players than the game has seats, two of one name, or no match.
        FileExistsError: there are records in the folder.
    """
    game, names = writer.game, [player.name for player in players]
    if len(players) != game.seats or len(set(names)) < len(names):
        raise ValueError(
            f"{game} is recorded with {game.seats} player(s) of different names, one a seat, got {names}"
        )
    if matches < 1:
        raise ValueError(f"matches must be at least 1, got {matches}")
    with writer:
        for number, begin in enumerate(range(0, matches, arena.LANES)):
            lane = torch.arange(begin, min(begin + arena.LANES, matches))
            sits = (torch.arange(game.seats) - lane[:, None]) % game.seats  # as in the arena
            deals = derived_seed(seed, "record", number)
            writer.add(_played(game, players, sits, deals, device, on_progress))


def _played(
    game: Game,
    players: Sequence[Player],
    sits: torch.Tensor,
    seed: int,
    device: str | torch.device,
    on_progress: Callable[[int], object],
) -> Matches:
    """One match in each lane, recorded; arguments as of `arena.play_lanes`."""
    moves: list[torch.Tensor] = []
    _, length = arena.play_lanes(game, players, sits, seed, device, on_progress, moves)
    lengths = length.numpy()
    actions = torch.stack(moves, 1).clamp(-(2**31), 2**31 - 1).numpy()  # [lanes, T]
    is_played = np.arange(actions.shape[1]) < lengths[:, None]
    seeds = [int(match_seed(np.uint64(seed), lane, 0)) for lane in range(len(sits))]
    return played(
        game,
        seeds,
        actions[is_played].astype(np.int32),
        np.concatenate([[0], lengths.cumsum()]),
        [player.name for player in players],
        sits.numpy(),
    )


def watch(matches: Matches, number: int = 0, viewer: Viewer = REFEREE) -> Iterator[Match]:
    """A recorded match as `agents.play.arena.watch` shows one that is played.

    Args:
        number: of the match among them.
        viewer: who watches.
    """
    match, actions, _ = again(matches, number)
    return arena.moments(match, actions, viewer)


def again(matches: Matches, number: int = 0) -> tuple[Match, list[int], list[str]]:
    """A recorded match to be played again: as it began, its moves, and the players' names, one a seat.

    Args:
        number: of the match among them.
    """
    one = matches.of(np.array([number]))
    match = Match(matches.game, one.seeds[0] or 0, one.script.outcomes.tolist(), one.deals[0])
    names = [matches.names[p] for p in one.players[0].tolist()]
    return match, one.script.actions[: one.lengths[0]].tolist(), names


def of_match(match: Match, names: Sequence[str]) -> Matches:
    """The record of one `Match` that drew its own chance.

    Args:
        names: of the players, one a seat.
    """
    distinct = list(dict.fromkeys(names))
    return played(
        match.game,
        [match.seed & 0xFFFF_FFFF_FFFF_FFFF],
        np.array(match.actions, np.int32),
        np.array([0, len(match.actions)]),
        distinct,
        np.array([[distinct.index(name) for name in names]]),
    )
