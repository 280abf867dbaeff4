"""Play a match against an agent or a bot in the terminal; you see what your seat may know.

python scripts/play.py runs/<run> --seat 1

python scripts/play.py bot --game dark_hex --options.rows 3 --options.cols 3

A move is typed by its name, by the beginning of its name, or by its number; `?` lists the legal ones.
Ctrl-D leaves.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import Annotated

import tyro

from agents.play.players import Player
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.stream import SAY
from envs import REFEREE, Game, Match
from envs.names import known

MOST = 30
"""Moves that are listed at once."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Whom to play, and what."""

    player: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLAYER")] = "bot"
    """Who sits opposite: a run, a checkpoint, an agent's file, or a fixed player (random, bot, in generals
    greedy, expander); nobody does in a game for one seat."""
    seat: int = 0
    """Yours."""
    game: str | None = None
    """The game, needed only against a fixed player."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of that game."""
    deterministic: bool = False
    """An agent takes its most probable action instead of drawing one."""
    seed: int | None = None
    """Seed of the match and of the player. None draws one, which is told."""
    device: str = "cpu"
    """Where an agent computes."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


def main() -> None:
    """Play one match as the command line says."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    seed = secrets.randbits(31) if a.seed is None else a.seed
    game, (player,) = cli.sit_down(
        [a.player], a.game, a.options, device=a.device, deterministic=a.deterministic, seed=seed
    )
    if not 0 <= a.seat < game.seats:
        raise ValueError(f"{game.name}: --seat must be in 0..{game.seats - 1}, got {a.seat}")
    opposite = f" against {player.name} (seat {1 - a.seat})" if game.seats == 2 else ""
    SAY(f"{game.name}: you (seat {a.seat}){opposite}, seed {seed}; ? lists your moves, Ctrl-D leaves\n")
    play(game, player, a.seat, seed)


def play(game: Game, player: Player, seat: int, seed: int) -> None:
    """One match of a person in `seat`, who types, against `player`."""
    match = Match(game, seed)
    player.reset(1)
    while not match.over:
        if match.seat != seat:
            match.play(player.act(match.observation(match.seat), match.mask(), match.seat))
            continue
        SAY(match.text(seat))
        action = ask(match)
        if action is None:
            SAY("\nleft before the end")
            return
        match.play(action)
    SAY(f"{match.text(REFEREE)}\n")
    told = ("won", "lost") if game.seats == 2 else ("ended above 0", "ended below 0")
    own = match.returns[seat]
    SAY(f"you {told[0] if own > 0 else told[1] if own < 0 else 'drew' if game.seats == 2 else 'ended at 0'}")
    SAY(f"returns: {', '.join(f'seat {p} {value:+.6g}' for p, value in enumerate(match.returns))}")


def ask(match: Match) -> int | None:
    """The action that the person types, asked again until it is a legal one; None where the input ends."""
    while True:
        try:
            typed = input("your move> ").strip()
        except EOFError:
            return None
        try:
            return understood(match, typed)
        except ValueError as error:
            SAY(str(error))


def understood(match: Match, typed: str) -> int:
    """The legal action that `typed` means: its name, its number, or a beginning that only its name has.

    Raises:
        ValueError: there is none, or more than one; the message lists them, the nearest first.
    """
    legal = match.legal()
    names = {action: match.game.action_name(action) for action in legal}
    wanted = typed.casefold()
    for fits in (
        [a for a in legal if names[a].casefold() == wanted],
        [a for a in legal if typed.isdecimal() and a == int(typed)],
        [a for a in legal if wanted and names[a].casefold().startswith(wanted)],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise ValueError(f"{typed!r} begins {listed_names([names[a] for a in fits])}")
    moves = _told(typed, [f"{names[a]} ({a})" if names[a] != str(a) else names[a] for a in legal])
    if typed in ("", "?"):
        raise ValueError(f"legal are {moves}")
    raise ValueError(f"{typed!r} is not legal here; legal are {moves}")


def _told(typed: str, moves: list[str]) -> str:
    """Moves in one line, the nearest to what was typed first."""
    return listed_names(known(typed, moves).split(", "))


def listed_names(moves: list[str]) -> str:
    """Moves in one line, as many as one can read."""
    more = f", ...: {len(moves)} in all" if len(moves) > MOST else ""
    return ", ".join(moves[:MOST]) + more
