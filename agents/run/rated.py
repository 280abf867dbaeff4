"""Ratings while a run trains: its agent, the checkpoints it keeps and the fixed players meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from agents.play.agent_file import load_player
from agents.play.arena import Result, round_robin
from agents.play.players import Player, fixed_player
from agents.play.standings import Standings, standings_of, with_anchor
from agents.run.folder import spaced
from envs import Game
from envs.seeds import derived_seed


def rated(
    run: Path,
    game: Game,
    agent: Player,
    step: int,
    opponents: Sequence[str],
    results: Mapping[str, Result],
    matches_per_seat: int,
    seed: int,
    device: str | torch.device,
) -> Standings:
    """Ratings of the agent of a run at `step`, of its earlier checkpoints on disk, and of the fixed players.

    Whom the agent has met already it does not meet again: those matches count, too, as they are.

    Args:
        agent: of any name; it is called as its checkpoint.
        opponents: the fixed players' names; `random` joins if it is not among them.
        results: of the agent against them, by their names.
        matches_per_seat: of each other pair in each seating.
    """
    agent.name = f"step_{step}"
    fixed = [fixed_player(name, game, derived_seed(seed, name)) for name in opponents]
    pool = with_anchor(game, [agent, *earlier(run, game, step, seed, device), *fixed], seed)
    known = {(agent.name, name): result for name, result in results.items()}
    known |= {(name, agent.name): result.reversed() for name, result in results.items()}
    has_met = {frozenset(pair) for pair in known}
    known |= round_robin(game, pool, matches_per_seat, seed, device, has_met=has_met)
    return standings_of(game, [player.name for player in pool], known)


EARLIER = 4
"""Earlier checkpoints that meet at an evaluation, at most: each pair costs as much as an opponent."""


def earlier(run: Path, game: Game, step: int, seed: int, device: str | torch.device) -> list[Player]:
    """The agents of a run's checkpoints before `step`, see `spaced`; what cannot be read is left out.

    Of many `EARLIER`, from the oldest to the latest.
    """
    before = [path for path in spaced(run) if int(path.name.removeprefix("step_")) < step]
    many, players = min(len(before), EARLIER), []
    for k in range(many):
        path = before[round(k * (len(before) - 1) / max(many - 1, 1))]
        try:
            player = load_player(path, game, device=device, seed=derived_seed(seed, path.name))
        except (ValueError, OSError):  # damaged: `files` says so to whoever goes on from it
            continue
        player.name = path.name
        players.append(player)
    return players
