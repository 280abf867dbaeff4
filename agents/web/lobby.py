"""Who can be played: a list of names, made from the command line, from which a page may only choose."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import envs
from agents.packaged import shipped_agents
from agents.play.agent_file import load_player
from agents.play.players import FIXED_PLAYERS, Player, fixed_player
from envs import Game

NOBODY = "nobody"
"""Who sits opposite in a game for one seat."""


@dataclasses.dataclass(frozen=True)
class Offer:
    """A game and who plays it against the person."""

    game: Game
    player: Player

    @functools.cached_property
    def title(self) -> str:
        """What is played, with the options that make it so."""
        kind, needed = type(self.game), dict(self.game.options)
        for name in self.game.options:
            others = {other: value for other, value in needed.items() if other != name}
            if _made(kind, others) == self.game:
                needed = others
        return " ".join([self.game.name, *(f"{name}={value}" for name, value in needed.items())])

    @property
    def opponent(self) -> str:
        """Who sits opposite."""
        return self.player.name if self.game.seats > 1 else NOBODY

    @property
    def name(self) -> str:
        """What a page calls it."""
        return f"{self.title}: {self.opponent}"

    def opposite(self, seed: int) -> Player:
        """The player for one match: its memory and its generator are nobody else's."""
        player = copy.deepcopy(self.player)
        player.reseed(seed)
        return player


def _made(kind: type[Game], options: Mapping[str, object]) -> Game | None:
    """The game with these options, if they are some that it can have."""
    try:
        return kind(**options)
    except (TypeError, ValueError):
        return None


Lobby = Mapping[str, Offer]
"""Offers by name."""


def lobby_of(first: Iterable[Offer], games: Iterable[Game], agents: Iterable[Player]) -> Lobby:
    """All that is offered: `first`, then every agent, and the fixed players of every game.

    Args:
        agents: of games; others are left out.
    """
    offers = list(first)
    offers += [Offer(agent.task.rules, agent) for agent in agents if agent.task.rules is not None]
    for game in [*(offer.game for offer in offers), *games]:
        offers += fixed_offers(game)
    lobby: dict[str, Offer] = {}
    for offer in offers:
        lobby.setdefault(offer.name, offer)
    return lobby


def fixed_offers(game: Game) -> list[Offer]:
    """The fixed players that a game has; alone one plays with nobody."""
    if game.seats == 1:
        return [Offer(game, fixed_player("random", game))]
    offers = []
    for name in sorted(FIXED_PLAYERS, key=lambda name: (name != "bot", name == "random")):
        try:
            offers.append(Offer(game, fixed_player(name, game)))
        except ValueError:  # the game has no such bot
            continue
    return offers


def usual_games() -> list[Game]:
    """Every known game with its usual options, if it has such; one for one seat or for two in both forms."""
    games = []
    for kind in dict.fromkeys(envs.GAMES.values()):
        usual = _made(kind, {})
        games.append(usual)
        if usual is not None and "seats" in usual.options:
            games.append(_made(kind, {"seats": 3 - usual.seats}))
    return [game for game in games if game is not None]


def agents_in(folder: Path | None, device: str) -> list[Player]:
    """The agents that travel with the package, and those of a folder: its runs, checkpoints and files.

    Raises:
        ValueError: there is no such folder.
    """
    specs: list[str | Path] = [*shipped_agents()]
    if folder is not None:
        if not folder.is_dir():
            raise ValueError(f"--agents must be a folder, there is none at {folder}")
        specs += sorted(path for path in folder.iterdir() if path.is_dir() or path.suffix == ".zip")
    players = []
    for spec in specs:
        try:
            players.append(load_player(spec, None, device=device))
        except (ValueError, OSError):  # what is no agent, or not a whole one, is not offered
            continue
    return players
