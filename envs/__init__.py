"""Games where you cannot see everything: one rule file each, for people, trainers and exact tools.

game = envs.make("dark_hex", rows=4, cols=4)
match = envs.Match(game, seed=1)            # one match
batch = envs.Batch(game, 4096)              # many, stepped together
env = envs.aec("dark_hex", rows=4, cols=4)  # PettingZoo; envs.parallel("generals") where all move at once
env = gymnasium.make("fogbound/DarkHex-v0", rows=4, opponent="bot")
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import WrapperSpec

from envs.core import CHANCE, REFEREE, Game
from envs.games.battleship import Battleship
from envs.games.concentration import Concentration
from envs.games.dark_hex import DarkHex
from envs.games.generals import Generals
from envs.games.kuhn_poker import KuhnPoker
from envs.games.leduc_poker import LeducPoker
from envs.games.minesweeper import Minesweeper
from envs.games.phantom_tictactoe import PhantomTicTacToe
from envs.match import Match
from envs.names import known

if TYPE_CHECKING:
    from envs.adapters.pettingzoo import FogboundAEC, FogboundParallel
    from envs.batch import Batch
    from envs.seated import IllegalRule

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
        Generals,
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
        raise ValueError(f"unknown game {name!r}; known are {known(name, sorted(GAMES))}")
    fields = [field.name for field in dataclasses.fields(GAMES[name])]  # type: ignore[arg-type]
    for option in options:
        if option not in fields:
            raise ValueError(f"{name}: unknown option {option!r}; known are {known(option, fields)}")
    return GAMES[name](**options)


def aec(name: str, render_mode: str | None = None, **options: Any) -> FogboundAEC:
    """The game as a PettingZoo AEC environment; see `envs.adapters.pettingzoo`."""
    from envs.adapters.pettingzoo import FogboundAEC

    return FogboundAEC(make(name, **options), render_mode)


def parallel(
    name: str, render_mode: str | None = None, illegal: IllegalRule = "lose", **options: Any
) -> FogboundParallel:
    """A game with simultaneous moves as a PettingZoo parallel environment; see `envs.adapters.pettingzoo`.

    Raises:
        ValueError: the game is played in turns; the message names those that are not.
    """
    from envs.adapters.pettingzoo import FogboundParallel

    return FogboundParallel(make(name, **options), render_mode, illegal)


def _register() -> None:
    """Gymnasium's ids: `fogbound/<class of the game>-v0`, and classics made to need a memory.

    Entry points are strings, so that nothing more is imported until somebody makes one.
    """
    adapter = "envs.adapters.gymnasium"
    for name, game in GAMES.items():
        gymnasium.register(
            f"fogbound/{game.__name__}-v0",
            entry_point=f"{adapter}:FogboundEnv",
            vector_entry_point=f"{adapter}:BatchVectorEnv",
            kwargs={"game": name},
        )
    for original, velocities in (("CartPole-v1", [1, 3]), ("Pendulum-v1", [2])):
        spec = gymnasium.spec(original)
        gymnasium.register(
            f"fogbound/{spec.name}NoVel-v{spec.version}",
            entry_point=spec.entry_point,
            reward_threshold=spec.reward_threshold,
            max_episode_steps=spec.max_episode_steps,
            kwargs=spec.kwargs,
            additional_wrappers=(
                WrapperSpec("NoVelocity", f"{adapter}:NoVelocity", {"velocities": velocities}),
            ),
        )


_register()

if not TYPE_CHECKING:  # a reader of types would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """`Batch`, which needs torch, is imported by who asks for it; the rules come without."""
        if name != "Batch":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from envs.batch import Batch

        return Batch


__all__ = ["CHANCE", "GAMES", "REFEREE", "Batch", "Game", "Match", "aec", "make", "parallel"]
