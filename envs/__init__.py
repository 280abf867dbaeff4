"""Games where you cannot see everything: one rule file each, for people, trainers and exact tools.

game = envs.make("dark_hex", rows=4, cols=4)
match = envs.Match(game, seed=1)            # one match
batch = envs.Batch(game, 4096)              # many, stepped together
env = envs.aec("dark_hex", rows=4, cols=4)  # PettingZoo
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from envs.batch import Batch
from envs.core import CHANCE, REFEREE, Game
from envs.games.battleship import Battleship
from envs.games.concentration import Concentration
from envs.games.dark_hex import DarkHex
from envs.games.kuhn_poker import KuhnPoker
from envs.games.leduc_poker import LeducPoker
from envs.games.minesweeper import Minesweeper
from envs.games.phantom_tictactoe import PhantomTicTacToe
from envs.match import Match

if TYPE_CHECKING:
    from envs.adapters.pettingzoo import FogboundAEC

GAMES: dict[str, type[Game]] = {
    game.name: game
    for game in (
        KuhnPoker,
        LeducPoker,
        PhantomTicTacToe,
        DarkHex,
        Battleship,
        Concentration,
        Minesweeper,
    )
}
"""Every game by name. A new game is one file and one line here."""


def make(name: str, **options: Any) -> Game:
    """A game with its options, e.g. `make("dark_hex", rows=4, abrupt=True)`.

    Raises:
        ValueError: the game or an option is unknown, or an option's value does not fit; the message
            lists what is known.
    """
    if name not in GAMES:
        raise ValueError(f"unknown game {name!r}; known are {', '.join(sorted(GAMES))}")
    known = [field.name for field in dataclasses.fields(GAMES[name])]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise ValueError(f"{name}: unknown option {option!r}; known are {', '.join(known) or 'none'}")
    return GAMES[name](**options)


def aec(name: str, render_mode: str | None = None, **options: Any) -> FogboundAEC:
    """The game as a PettingZoo AEC environment; see `envs.adapters.pettingzoo`."""
    from envs.adapters.pettingzoo import FogboundAEC

    return FogboundAEC(make(name, **options), render_mode)


__all__ = ["CHANCE", "GAMES", "REFEREE", "Batch", "Game", "Match", "aec", "make"]
