"""Games where you cannot see everything: one rule file each, for people, trainers and exact tools.

game = envs.make("dark_hex", rows=4, cols=4)
game = envs.make("my_file:Nim", heaps=3)    # a rule file of one's own, on the path or in this folder
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

from envs import names
from envs.core import CHANCE, REFEREE, Game, option_fields
from envs.games.battleship import Battleship
from envs.games.concentration import Concentration
from envs.games.dark_hex import DarkHex
from envs.games.generals import Generals
from envs.games.goofspiel import Goofspiel
from envs.games.kuhn_poker import KuhnPoker
from envs.games.leduc_poker import LeducPoker
from envs.games.liars_dice import LiarsDice
from envs.games.minesweeper import Minesweeper
from envs.games.phantom_tictactoe import PhantomTicTacToe
from envs.match import Match
from envs.names import find, known

if TYPE_CHECKING:
    from envs.adapters.pettingzoo import FogboundAEC, FogboundParallel
    from envs.batch import Batch
    from envs.seated import IllegalRule

GAMES: dict[str, type[Game]] = {
    game.name: game
    for game in (
        KuhnPoker,
        LeducPoker,
        LiarsDice,
        Goofspiel,
        PhantomTicTacToe,
        DarkHex,
        Battleship,
        Concentration,
        Minesweeper,
        Generals,
    )
}
"""Every game by name. A new game is one file and one line here; one from outside enters when it is named."""


def find_game(name: str) -> type[Game]:
    """The class that is called `name`; a person's words, as they may import what lies outside.

    Args:
        name: of `GAMES`; `module:Name` of a class of one's own, on the path or in the current folder; or what
            an installed package's entry point of the group `fogbound.games` is called. What comes from
            outside is listed in `GAMES` from then on, and Gymnasium knows its id.

    Raises:
        ValueError: there is none, or it is no game that could be told from the others; the message lists
            what is known.
    """
    is_new = name not in GAMES
    found = find("game", name, GAMES, Game, "fogbound.games")
    if is_new:
        try:
            _judge(name, found)
        except ValueError:
            del GAMES[name]
            raise
        _register(name, found)
    return found


def _judge(name: str, kind: type[Game]) -> None:
    """Refuse a class from outside that could not be played under this name."""
    if not dataclasses.is_dataclass(kind):
        raise ValueError(f"game {name!r}: expected a frozen dataclass of its options, got {kind!r}")
    own = getattr(kind, "name", None)
    if not isinstance(own, str):
        raise ValueError(f"game {name!r}: expected a class with a name, such as name = 'nim', got {own!r}")
    namesake = [key for key, other in GAMES.items() if other is not kind and other.name == own]
    if namesake:
        raise ValueError(f"game {name!r}: expected a name of its own, got {own!r}, as {namesake[0]!r} has it")


def make(name: str, **options: Any) -> Game:
    """A game with its options, e.g. `make("dark_hex", rows=4, abrupt=True)`; its name as in `find_game`.

    Raises:
        ValueError: the game or an option is unknown, or an option's value does not fit; the message
            lists what is known.
    """
    return _made(name, find_game(name), options)


def registered(name: str, **options: Any) -> Game:
    """The game that a file names, from `name_of`; like `make`, but nothing is imported.

    Raises:
        ValueError: as `make`; of a game from outside that nobody has named yet, the message says how it gets
            known.
    """
    return _made(name, names.registered("game", name, GAMES, "fogbound.games"), options)


def name_of(game: Game) -> str:
    """The name that finds a game's class again, by `make` and `registered`; what files hold.

    It is told by the class itself: one from outside may call itself like a listed one, and is not taken for
    it.
    """
    kind = type(game)
    keys = [key for key, other in GAMES.items() if other is kind]
    return keys[0] if keys else f"{kind.__module__}:{kind.__qualname__}"


def _made(name: str, kind: type[Game], options: dict[str, Any]) -> Game:
    fields = [field.name for field in option_fields(kind)]
    for option in options:
        if option not in fields:
            raise ValueError(f"{name}: unknown option {option!r}; known are {known(option, fields)}")
    return kind(**options)


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


ADAPTER = "envs.adapters.gymnasium"
"""What Gymnasium's entry points name as strings, so that nothing more is imported until one is asked for."""


def _register(name: str, game: type[Game]) -> None:
    """Gymnasium's id of a game, `fogbound/<class of the game>-v0`, unless another has it."""
    id = f"fogbound/{game.__name__}-v0"
    if id not in gymnasium.registry:
        gymnasium.register(
            id,
            entry_point=f"{ADAPTER}:FogboundEnv",
            vector_entry_point=f"{ADAPTER}:BatchVectorEnv",
            kwargs={"game": name},
        )


def _register_without_velocities(original: str, velocities: list[int]) -> None:
    """The id of a classic made to need a memory."""
    spec = gymnasium.spec(original)
    gymnasium.register(
        f"fogbound/{spec.name}NoVel-v{spec.version}",
        entry_point=spec.entry_point,
        reward_threshold=spec.reward_threshold,
        max_episode_steps=spec.max_episode_steps,
        kwargs=spec.kwargs,
        additional_wrappers=(WrapperSpec("NoVelocity", f"{ADAPTER}:NoVelocity", {"velocities": velocities}),),
    )


for _name, _game in GAMES.items():
    _register(_name, _game)
_register_without_velocities("CartPole-v1", [1, 3])
_register_without_velocities("Pendulum-v1", [2])

if not TYPE_CHECKING:  # a reader of types would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """`Batch`, which needs torch, is imported by who asks for it; the rules come without."""
        if name != "Batch":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from envs.batch import Batch

        return Batch


__all__ = [
    "CHANCE",
    "GAMES",
    "REFEREE",
    "Batch",
    "Game",
    "Match",
    "aec",
    "find_game",
    "make",
    "name_of",
    "parallel",
    "registered",
]
