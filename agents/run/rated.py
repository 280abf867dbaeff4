"""Ratings while a run trains: its agent, the checkpoints it keeps and the fixed players meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from agents import files
from agents.learn.group import Group
from agents.net.policy import RecurrentPolicy
from agents.play.agent_file import load
from agents.play.arena import WHOLE, Parts, Result, round_robin
from agents.play.opposition import below
from agents.play.players import Agent, Player, fixed_player, frozen
from agents.play.standings import Standings, standings_of, with_anchor
from agents.run.folder import spaced
from envs import Game
from envs.seeds import derived_seed


def rated(
    game: Game,
    agent: Player,
    step: int,
    past: Sequence[Player],
    opponents: Sequence[str],
    results: Mapping[str, Result],
    matches_per_seat: int,
    seed: int,
    device: str | torch.device,
    parts: Parts = WHOLE,
) -> Standings:
    """Ratings of the agent of a run at `step`, of its earlier checkpoints, and of the fixed players.

    Whom the agent has met already it does not meet again: those matches count, too, as they are.

    Args:
        agent: of any name; it is called as its checkpoint.
        past: the earlier checkpoints, see `earlier`.
        opponents: the fixed players' names; `random` joins if it is not among them.
        results: of the agent against them, by their names.
        matches_per_seat: of each other pair in each seating.
        parts: how these matches are cut.
    """
    agent.name = f"step_{step}"
    fixed = [fixed_player(name, game, derived_seed(seed, name)) for name in opponents]
    pool = with_anchor(game, [agent, *past, *fixed], seed)
    known = {(agent.name, name): result for name, result in results.items()}
    known |= {(name, agent.name): result.reversed() for name, result in results.items()}
    has_met = {frozenset(pair) for pair in known}
    known |= round_robin(game, pool, matches_per_seat, seed, device, has_met=has_met, parts=parts)
    return standings_of(game, [player.name for player in pool], known)


EARLIER = 4
"""Earlier checkpoints that meet at an evaluation, at most: each pair costs as much as an opponent."""


def earlier(run: Path, game: Game, step: int, seed: int, device: str | torch.device) -> list[Agent]:
    """The agents of a run's checkpoints before `step`, see `spaced`; what cannot be read is left out.

    Of many `EARLIER`, from the oldest to the latest.
    """
    before = [path for path in spaced(run) if int(path.name.removeprefix("step_")) < step]
    many, players = min(len(before), EARLIER), list[Agent]()
    for k in range(many):
        path = before[round(k * (len(before) - 1) / max(many - 1, 1))]
        try:
            player = load(path, device=device, seed=derived_seed(seed, path.name))
        except (ValueError, OSError):  # damaged: `files` says so to whoever goes on from it
            continue
        if player.game != game:
            continue
        player.name = path.name
        players.append(player)
    return players


def known_to_all(
    past: Sequence[Agent], policy: RecurrentPolicy, game: Game, seed: int, group: Group
) -> list[Agent]:
    """The agents that rank 0 gives, on every rank; only their names and weights cross the group.

    Args:
        policy: of the run that they are of, with any weights.
        seed: as of `earlier`.
    """
    if group.world == 1:
        return list(past)
    names = group.tell([player.name for player in past])
    told = {f"{k}/{name}": x for k, p in enumerate(past) for name, x in p.policy.state_dict().items()}
    content = group.send(files.tensor_bytes(told))
    if group.rank == 0:
        return list(past)
    given, players = files.read_tensors(content, "rank 0"), []
    for k, name in enumerate(names):
        network = frozen(policy)
        network.load_state_dict(below(given, f"{k}/"))
        players.append(Agent(network, game, name, seed=derived_seed(seed, name)))
    return players
