"""What the scripts share: a run's command line, players by name or path, tables, one-line errors (edge)."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gymnasium
from rich.console import Console
from rich.table import Table

import envs
from agents.files import Which
from agents.net.cells import Cell, cell_class
from agents.play.agent_file import load_player
from agents.play.arena import NOBODY, Result
from agents.play.players import PLAYERS, Player, fixed_player, is_player_name, player_class
from agents.run.choices import Choices
from agents.run.config import read_config
from agents.run.flags import read_flags
from agents.run.folder import C
from agents.run.keeper import Outcome, R
from agents.run.stream import SAY, say_aside
from envs.names import imported, imported_module, installed
from envs.seeds import check_seed

K = TypeVar("K")

CONSOLE = "fogbound"
"""The console command; `agents.commands` puts it before the name of one."""

USER_ERRORS = (
    ValueError,
    TypeError,
    OSError,
    RuntimeError,
    ArithmeticError,  # a number too large for what it counts, one that is not finite
    MemoryError,
    gymnasium.error.Error,  # the library that draws a world is missing, for one
)
"""What a user can cause."""


def run(main: Callable[[], None]) -> None:
    """Call `main`; what the user got wrong is told in one line, with exit code 2, a warning in one, too."""
    print_anything()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            main()
    except USER_ERRORS as error:
        say_aside(f"error: {' '.join(_sentence(error).split())}")
        sys.exit(2)
    except KeyboardInterrupt as error:
        say_aside("stopped")
        sys.exit(128 + getattr(error, "number", signal.SIGINT))


def _sentence(error: Exception) -> str:
    """What an error says; of the system's own which file, and why, without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    say_aside(f"warning: {' '.join(str(message).split())}")


def print_anything() -> None:
    """From now on a letter that the output's encoding lacks is printed as `?` and ends nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def parse(kind: type[K], description: str | None, choices: Choices | None = None) -> K:
    """What the command line says, as a record of `kind`; `choices` as `read_flags` takes them."""
    read = read_flags(kind, sys.argv[1:], choices=choices, description=described(description))
    if isinstance(seed := getattr(read, "seed", None), int):
        check_seed(seed)
    return read


def called(command: str) -> tuple[str, ...]:
    """The words that call another command as this one was called: by the console command, or its script."""
    return (CONSOLE, command) if _is_console() else ("python", f"scripts/{command}.py")


def _is_console() -> bool:
    return sys.argv[0].startswith(f"{CONSOLE} ")


def described(text: str | None) -> str | None:
    """A command's docstring with its examples as one types them here."""
    return (
        re.sub(r"(?:python )?scripts/(\w+)\.py", rf"{CONSOLE} \1", text) if text and _is_console() else text
    )


def start_or_resume(
    kind: type[C],
    train: Callable[[C, str], Outcome[R]],
    resume: Callable[[str, Callable[[C], C]], Outcome[R]],
    description: str | None,
    choices: Choices,
    is_heard: bool = True,
) -> Outcome[R]:
    """What a training script does with its command line: `CONFIG.yaml` or `--resume RUN`, then settings.

    Args:
        choices: what may be set in the open parts of a configuration of `kind`.
        is_heard: False: another process reads the same words, and says what there is to say of them.

    Raises:
        ValueError: neither was given; the message shows the usage.
    """
    script, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    usage = f"usage: {script} CONFIG.yaml [--key value ...]   or   {script} --resume RUN [--key value ...]"

    def override(config: C, settings: list[str]) -> C:
        with contextlib.nullcontext() if is_heard else _unheard():
            return read_flags(
                kind,
                settings,
                choices=choices,
                default=config,
                prog=f"{script} CONFIG.yaml",
                description=described(description),
            )

    arguments = [part for word in arguments for part in _apart(word, "--resume")]
    if "--resume" in arguments:
        at = arguments.index("--resume")
        if at + 1 >= len(arguments) or arguments[at + 1].startswith("-"):
            raise ValueError(f"--resume needs the folder of a run; {usage}")
        settings = arguments[:at] + arguments[at + 2 :]
        return resume(arguments[at + 1], lambda config: override(config, settings))
    if not arguments:
        raise ValueError(f"no configuration given; {usage}")
    if arguments[0].startswith("-"):  # --help without a configuration
        override(kind(), arguments)
        raise ValueError(f"the configuration comes first; {usage}")
    config = override(read_config(arguments[0], kind), arguments[1:])
    return train(config, shlex.join([*_called_by(), *sys.argv[1:]]))


LAST_WORD = 5.0
"""Seconds that a process whose words are not heard waits for the one whose words are, before it ends."""


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Words go nowhere; who would end with some lets the other process end first."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except SystemExit:
        time.sleep(LAST_WORD)
        raise


def _called_by() -> list[str]:
    """The words before the arguments; behind a script's name may stand what it is to do."""
    if _is_console():
        return sys.argv[0].split()
    script, ending, verb = sys.argv[0].rpartition(".py")
    return [Path(sys.executable).name, script + ending, *verb.split()] if ending else [sys.argv[0]]


def _apart(word: str, flag: str) -> list[str]:
    """`--flag=value` as two words."""
    return [flag, word.removeprefix(f"{flag}=")] if word.startswith(f"{flag}=") else [word]


def sit_down(
    specs: list[str],
    game: str | None,
    options: Mapping[str, bool | int | str],
    *,
    device: str = "cpu",
    deterministic: bool = False,
    seed: int = 0,
    which: Which = "latest",
) -> tuple[envs.Game, list[Player]]:
    """The game and the players that `specs` name: fixed players, or paths of runs and agents.

    The game is the agents' own; `game` and `options` are needed only among fixed players.
    Runs play with the checkpoint that `which` says.

    Raises:
        ValueError: agents of different games, no game at all, or a path that leads nowhere.
    """
    world = envs.make(game, **options) if game is not None else None
    players: list[Player | None] = [None] * len(specs)
    for k, spec in enumerate(specs):
        if is_player_name(spec):
            continue
        agent = load_player(
            spec, world, device=device, deterministic=deterministic, seed=seed + k, which=which
        )
        if agent.task.rules is None:
            raise ValueError(
                f"{spec!r} was trained in a Gymnasium world; expected an agent of a game (of a file from a "
                "world fogbound/<Game>-v0 say which game with --game)"
            )
        world, players[k] = agent.task.rules, agent
    if world is None:
        raise ValueError(f"say which game with --game; known are {', '.join(envs.GAMES)}")
    named = [p or fixed_player(specs[k], world, seed + k) for k, p in enumerate(players)]
    names = [player.name for player in named]
    for k, player in enumerate(named):  # copies of one player keep apart in a table
        same = names[:k].count(names[k])
        player.name += f" ({same + 1})" if same else ""
    return world, named


FOUND_BY: dict[type, tuple[str, Callable[[str], type]]] = {
    envs.Game: ("fogbound.games", envs.find_game),
    Cell: ("fogbound.cells", cell_class),
    Player: (PLAYERS, player_class),
}
"""What may come from outside the package: the entry points of each kind, and who finds one by its name."""


@contextlib.contextmanager
def needing(extra: str, instead: str = "") -> Iterator[None]:
    """Around imports of what only that extra installs: what is missing is told with how to get it.

    Args:
        instead: what else one can do.

    Raises:
        RuntimeError: something is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise RuntimeError(f"this needs {error.name}: pip install 'fogbound[{extra}]'{instead}") from None


def check_folder(out: Path) -> None:
    """ValueError if a folder cannot be made at `out`, because it, or what it would lie in, is a file."""
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"--out must be a folder, {path} is a file")


def use(names: Sequence[str]) -> None:
    """Import games, cells, players and worlds from outside the package, so that a file may name them.

    Args:
        names: each `module:Name` of a class, `module:Id-v0` of a world, or as an installed package calls it.

    Raises:
        ValueError: there is none of a name, or it is none of these.
    """
    for name in names:
        if re.search(r":.*-v\d+$", name):
            imported_module("world", name)
            continue
        find = next((find for group, find in FOUND_BY.values() if name in installed(group)), None)
        if find is None:
            found = imported("class", name)
            kinds = found.__mro__ if isinstance(found, type) else ()
            find = next((find for kind, (_, find) in FOUND_BY.items() if kind in kinds), None)
            if find is None:
                raise ValueError(f"{name}: expected a class of a game, a cell or a player, got {found!r:.80}")
        find(name)


def is_outside(name: str) -> bool:
    """It is none of the package's own names: `--uses` must let a file say it."""
    return ":" in name or any(name in installed(group) for group, _ in FOUND_BY.values())


def result_table(title: str, results: Mapping[tuple[str, str], Result]) -> Table:
    """Results by (player, opponent) as a table for `Console.print`."""
    columns = ("player", "opponent", "matches", "win", "draw", "loss")
    rows = []
    for (player, opponent), r in results.items():
        low, high = r.interval
        shares = ("-" if opponent == NOBODY else f"{share:.1%}" for share in (r.win, r.draw, r.loss))
        by_seat = " / ".join(f"{r.mean_in_seat(p):+.3f}" for p in r.seat.unique().tolist())
        mean = f"{r.mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append((player, opponent, f"{r.matches:,}", *shares, mean, by_seat))
    return as_table(title, (*columns, "mean return, 95 %", "seat by seat"), rows)


def as_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table for `show`; names stand on the left, numbers on the right."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        is_name = column in ("player", "opponent")
        table.add_column(column, justify="left" if is_name else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def show(table: Table) -> None:
    """Print a table on standard output, at full width where that is no terminal."""
    console = Console()
    console = Console(width=console.width if console.is_terminal else 140)
    with console.capture() as shown:
        console.print(table)
    SAY(shown.get().removesuffix("\n"))
