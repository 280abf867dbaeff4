"""Play against an agent or a bot: on a page of this machine's browser, or in the terminal.

You see what your seat may know. The page lets you choose among the agents that come with the package (which
`doctor` lists), the one named here, those of a folder, and the bots of every game.

python scripts/play.py runs/<run>

python scripts/play.py bot --game dark_hex --options.rows 3 --options.cols 3

python scripts/play.py runs/<run> --terminal --seat 1

A move is typed by its name, by the beginning of its name, or by its number; in the terminal `?` lists the
legal ones and Ctrl-D leaves. On the page one also clicks, or uses the arrow keys and Enter. The page needs
the extra `web`.
"""

from __future__ import annotations

import dataclasses
import itertools
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from agents.files import Which
from agents.play import records
from agents.play.person import PERSON, SeatedView, Sitting, understood
from agents.play.players import Player
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.stream import SAY
from envs import Game, Match


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Whom to play, and what."""

    player: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLAYER")] = "bot"
    """Who sits opposite: a run, a checkpoint, an agent's file, an agent that comes along, by its name, or a
    fixed player (random, bot, in generals greedy, expander); nobody does in a game for one seat."""
    seat: str = "0"
    """Yours, or random."""
    terminal: bool = False
    """Play by text here instead of on a page."""
    port: int = 0
    """Of the page; 0 takes a free one."""
    agents: Path | None = None
    """A folder whose runs and agents' files the page offers, too, such as runs."""
    record: Path | None = None
    """A file to which every match that ends is added, as a line that `records` and `watch --replay` read; of
    games that it is not of, to one beside it, such as mine.dark_hex.jsonl."""
    game: str | None = None
    """The game, needed only against a fixed player, in the terminal."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of that game."""
    which: Which = "latest"
    """The checkpoint that a run plays with: its latest or its best one."""
    deterministic: bool = False
    """An agent takes its most probable action instead of drawing one."""
    seed: int | None = None
    """Seed of the match and of the player. None draws one, which is told."""
    device: str = "cpu"
    """Where an agent computes."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


def main() -> None:
    """Play as the command line says."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    if a.terminal:
        in_terminal(a)
    else:
        on_page(a)


def sit_down(a: Arguments, seed: int) -> tuple[Game, Player]:
    """The game and the player that the command line names."""
    game, (player,) = cli.sit_down(
        [a.player],
        a.game,
        a.options,
        device=a.device,
        deterministic=a.deterministic,
        seed=seed,
        which=a.which,
    )
    return game, player


def on_page(a: Arguments) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        RuntimeError: the extra `web` is not installed.
    """
    with cli.needing("web", ", or play by text with --terminal"):
        from agents.web.lobby import Offer, agents_in, lobby_of, usual_games
        from agents.web.server import serve
        from agents.web.sessions import Sessions
    is_open = a.player == "bot" and a.game is None  # nobody was chosen: the page lets one choose
    first = [] if is_open else [Offer(*sit_down(a, a.seed or 0))]
    lobby = lobby_of(first, usual_games(), agents_in(a.agents, a.device))
    serve(Sessions(lobby, a.seed, a.seat, keeper(a.record)), a.port, SAY)


def keeper(path: Path | None) -> Callable[[Match, Sequence[str]], None]:
    """Adds matches that have ended to a file of records, if one was named; sessions end theirs at once."""
    alone = threading.Lock()

    def keep(match: Match, names: Sequence[str]) -> None:
        if path is not None:
            line = "".join(records.written(records.of_match(match, names)))
            with alone, fitting(path, match.game.name, line).open("a", encoding="utf-8") as file:
                file.write(line)

    return keep


def fitting(path: Path, name: str, line: str) -> Path:
    """Where a line of the game of this name is added: `path`, or a file beside it if that is of another.

    Records of one file are of one game, its options and rules.
    """
    ends = (f"{name}{'' if n == 1 else f'-{n}'}" for n in itertools.count(1))
    beside = (path.with_name(f"{path.stem}.{end}{path.suffix}") for end in ends)
    return next(file for file in itertools.chain([path], beside) if takes(file, line))


def takes(path: Path, line: str) -> bool:
    """Whether the matches of a file, if there are any, are of the game of this line."""
    if not path.exists():
        return True
    with path.open("rb") as file:
        first = file.readline()
    return not first or records.head_of(first) == records.head_of(line.encode())


def in_terminal(a: Arguments) -> None:
    """One match by text."""
    seed = secrets.randbits(31) if a.seed is None else a.seed
    game, player = sit_down(a, seed)
    if a.seat != "random" and not a.seat.isdecimal():
        raise ValueError(f"{game.name}: --seat must be random or in 0..{game.seats - 1}, got {a.seat}")
    seat = secrets.randbelow(game.seats) if a.seat == "random" else int(a.seat)
    sitting = Sitting(game, player, seat, seed)
    opposite = f" against {player.name} (seat {1 - seat})" if game.seats == 2 else ""
    SAY(f"{game.name}: you (seat {seat}){opposite}, seed {seed}; ? lists your moves, Ctrl-D leaves\n")
    play(sitting, player.name, keeper(a.record))


def play(sitting: Sitting, name: str, keep: Callable[[Match, Sequence[str]], None]) -> None:
    """One match of a person who types, against the player of that name."""
    while not (view := sitting.view()).over:
        SAY(view.text)
        action = ask(view)
        if action is None:
            SAY("\nleft before the end")
            return
        sitting.play(action)
    keep(sitting.match, [PERSON if seat == view.seat else name for seat in range(len(view.returns))])
    SAY(f"{view.text}\n\nyou {view.result}")
    SAY(f"returns: {', '.join(f'seat {p} {value:+.6g}' for p, value in enumerate(view.returns))}")


def ask(view: SeatedView) -> int | None:
    """The action that the person types, asked again until it is a legal one; None where the input ends."""
    while True:
        try:
            typed = input("your move> ")
        except EOFError:
            return None
        try:
            return understood(view.moves, typed)
        except ValueError as error:
            SAY(str(error))
