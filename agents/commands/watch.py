"""Watch matches of an agent: in the terminal, as SVG files, a GIF or an HTML file, in a window or on a page.

An agent that scripts/train.py trained in a Gymnasium world is watched there, as the world draws itself;
one of a world fogbound/<Game>-v0 at the game, too, if an opponent or the game is named.

python scripts/watch.py runs/<run> --opponent random --games 3

python scripts/watch.py runs/<run> --opponent bot --render gif --out match.gif --viewer seat

python scripts/watch.py runs/<run> --opponent bot --render web

python scripts/watch.py --replay runs/<run>/replays/step_1000.json

python scripts/watch.py --replay records/matches.jsonl:7 --render svg
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from agents.files import Which, with_ending
from agents.gym.config import WorldConfig, read_world
from agents.gym.training import render_modes
from agents.gym.training import watch as watch_in_world
from agents.play import records
from agents.play.arena import watch
from agents.play.players import Player
from agents.play.story import Story, story_of
from agents.run import cli
from agents.run.choices import GAME
from agents.run.config import OptionValue
from agents.run.stream import SAY
from envs import REFEREE, Game, Match
from envs.core import Viewer
from envs.drawing import rasterise, save_gif
from envs.film import Film, Frame
from envs.window import Window

PACE = 1.5
"""Moves of a match a second."""

MODES = {"ansi": "ansi", "gif": "rgb_array", "human": "human"}
"""What worlds call the ways to show them."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to watch."""

    player: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLAYER")] = ""
    """A run, a checkpoint, an agent's file, or a fixed player (random, bot, in generals greedy, expander);
    nobody with --replay."""
    replay: str | None = None
    """A recorded match instead: a file of records, or its folder, with :LINE behind for another than the
    first."""
    opponent: str | None = None
    """Who sits opposite, named the same way (default: random); nobody does in a game for one seat."""
    games: int = 1
    """Matches, after each of which the players swap seats, or episodes in a world."""
    render: Literal["ansi", "svg", "gif", "html", "human", "web"] = "ansi"
    """Text in the terminal, one SVG file a move, one GIF of all matches, one HTML file of them with a slider,
    a window, or a page in the browser with every view of one match and what agents thought (needs the
    extra `web`). In a world ansi, gif or human."""
    viewer: Literal["referee", "seat"] = "referee"
    """See everything, or only what the player's seat may know (not in a world); of a replay, seat 0's."""
    out: Path | None = None
    """Folder for SVG files (default: match), or the path of the GIF or HTML file (default: match.gif,
    match.html)."""
    port: int = 0
    """Of the page; 0 takes a free one."""
    game: str | None = None
    """The game, needed only between fixed players and for files of agents from worlds."""
    options: dict[str, OptionValue] = dataclasses.field(default_factory=dict)
    """Options of that game."""
    which: Which = "latest"
    """The checkpoint that a run plays with: its latest or its best one."""
    deterministic: bool = False
    """Agents take their most probable action instead of drawing one."""
    frames_per_second: float | None = None
    """Speed of the GIF and of the window (default: 1.5, or the world's own, which its window keeps)."""
    width: int | None = None
    """Of the pictures of matches, in pixels; the height follows. None takes the drawing's own."""
    seed: int = 0
    """Seed of the matches and of the players."""
    device: str = "cpu"
    """Where agents compute."""
    progress: bool = True
    """Show a progress bar while files are made (never without a terminal)."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


def main() -> None:
    """Show what the command line asks for."""
    a = cli.parse(Arguments, __doc__, GAME)
    cli.use(a.uses)
    if a.games < 1:
        raise ValueError(f"--games must be at least 1, got {a.games}")
    if a.frames_per_second is not None and a.frames_per_second <= 0:
        raise ValueError(f"--frames-per-second must be above 0, got {a.frames_per_second}")
    if a.width is not None and a.width < 1:
        raise ValueError(f"--width must be at least 1, got {a.width}")
    if a.replay is not None:
        matches, headline = recorded(a.replay, a)
        if a.render == "web":
            on_page(story_of(*records.again(matches)), a)
        else:
            show(replay(matches, headline, a), a)
        return
    if not a.player:
        raise ValueError("expected a PLAYER, or --replay FILE[:LINE]")
    world = read_world(a.player)
    if world is not None and a.opponent is None and a.game is None:
        in_world(world, a)
        return
    game, players = cli.sit_down(
        [a.player, a.opponent or "random"],
        a.game,
        a.options,
        device=a.device,
        deterministic=a.deterministic,
        seed=a.seed,
        which=a.which,
    )
    if a.render == "web":
        on_page(played(game, players[: game.seats], a.seed), a)
    else:
        show(play(game, players, a), a)


def show(moments: Iterator[tuple[int, Match, Viewer, str]], a: Arguments) -> None:
    """The moments as it was asked for."""
    ways = {"ansi": in_terminal, "svg": as_svg, "gif": as_gif, "html": as_html, "human": in_window}
    ways[a.render](moments, a)


def recorded(spec: str, a: Arguments) -> tuple[records.Matches, str]:
    """The one match that `--replay` names, and its headline."""
    if a.player or a.opponent is not None:
        raise ValueError(
            f"--replay shows who played in {spec}: expected no PLAYER and no --opponent beside it"
        )
    path, colon, line = spec.rpartition(":")
    if not colon or not line.isdecimal() or Path(spec).exists():
        path, line = spec, "1"
    matches = records.load_line(path, int(line[:18]))
    names = (matches.names[p] for p in matches.players[0].tolist())
    seated = " against ".join(f"{name} (seat {seat})" for seat, name in enumerate(names))
    ended = "" if matches.ends[0] == records.OVER else f", {records.ENDS[matches.ends[0]]}"
    return matches, f"{path}, line {line}: {seated}{ended}"


def replay(matches: records.Matches, headline: str, a: Arguments) -> Iterator[tuple[int, Match, Viewer, str]]:
    """The moments of a recorded match, like `play`."""
    viewer: Viewer = REFEREE if a.viewer == "referee" else 0
    for match in records.watch(matches, viewer=viewer):
        yield 0, match, viewer, headline


def play(game: Game, players: list[Player], a: Arguments) -> Iterator[tuple[int, Match, Viewer, str]]:
    """Every moment that looks different: number of the game, the match, the viewer, a headline."""
    for number in range(a.games):
        seats = (players if number % 2 == 0 else players[::-1]) if game.seats == 2 else players[:1]
        viewer: Viewer = REFEREE if a.viewer == "referee" else seats.index(players[0])
        names = " against ".join(f"{player.name} (seat {seat})" for seat, player in enumerate(seats))
        for match in watch(game, seats, a.seed + number, viewer):
            yield number, match, viewer, f"game {number + 1}: {names}"


def in_terminal(moments: Iterator[tuple[int, Match, Viewer, str]], _: Arguments) -> None:
    """Every moment as text, and at a match's end what it paid."""
    for _number, match, viewer, headline in moments:
        print(f"{headline}\n{match.text(viewer)}\n")
        if match.over:
            returns = (f"seat {seat} {value:+.6g}" for seat, value in enumerate(match.returns))
            print(f"returns: {', '.join(returns)}\n")


def as_svg(moments: Iterator[tuple[int, Match, Viewer, str]], a: Arguments) -> None:
    """One drawing a moment, in a folder."""
    folder = a.out or Path("match")
    if folder.suffix.lower() == ".svg":
        raise ValueError(
            "--render svg writes one file a move: expected a folder as --out, such as "
            f"{folder.stem}, got {folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number, match, viewer, _ in bar(moments, a):
        (folder / f"game{number + 1}_move{len(match.actions):03d}.svg").write_text(
            match.svg(viewer), encoding="utf-8"
        )
        count += 1
    print(f"{count} drawings in {folder}")


def as_gif(moments: Iterator[tuple[int, Match, Viewer, str]], a: Arguments) -> None:
    """One film of all moments."""
    path = with_ending(a.out or Path("match"), ".gif")
    frames = [rasterise(match.svg(viewer), a.width) for _, match, viewer, _ in bar(moments, a)]
    save_gif(path, frames, a.frames_per_second or PACE)
    print(f"{len(frames)} frames in {path}")


def as_html(moments: Iterator[tuple[int, Match, Viewer, str]], a: Arguments) -> None:
    """One document of all moments, with a slider."""
    path = with_ending(a.out or Path("match"), ".html")
    frames = [Frame(match.svg(viewer), headline) for _, match, viewer, headline in bar(moments, a)]
    path.write_text(Film("fogbound", frames).html(), encoding="utf-8")
    print(f"{len(frames)} moments in {path}")


def played(game: Game, players: list[Player], seed: int) -> Story:
    """One match, and what its agents thought."""
    *_, match = watch(game, players, seed)
    return story_of(Match(game, seed), match.actions, [player.name for player in players], players)


def on_page(story: Story, a: Arguments) -> None:
    """Serve the page that shows a match, until Ctrl-C."""
    with cli.needing("web", ", or use --render html, gif, svg or ansi"):
        from agents.web.server import serve
        from agents.web.sessions import Sessions
    serve(Sessions({}, story=story), a.port, SAY)


def in_window(moments: Iterator[tuple[int, Match, Viewer, str]], a: Arguments) -> None:
    """One moment after another on the screen, until the window is closed."""
    window = Window("fogbound", a.frames_per_second or PACE)
    try:
        for _, match, viewer, headline in moments:
            print(headline, f"move {len(match.actions)}")
            if not window.show(rasterise(match.svg(viewer), a.width)):
                return
        time.sleep(2.0)
    finally:
        window.close()


def in_world(world: WorldConfig, a: Arguments) -> None:
    """Episodes of an agent in the world it was trained in."""
    known = [render for render, mode in MODES.items() if mode in render_modes(world)]
    if a.render not in known or a.viewer != "referee":
        raise ValueError(
            f"{world.env} draws itself: expected --render {' or '.join(known) or '(it cannot be drawn)'} and "
            f"--viewer referee, got {a.render} and {a.viewer}; matches of a game are watched with --opponent"
        )
    shown = 0
    episodes = watch_in_world(
        a.player,
        MODES[a.render],
        episodes=a.games,
        deterministic=a.deterministic,
        seed=a.seed,
        device=a.device,
    )
    for number, (episode, film) in enumerate(episodes):
        if a.render == "ansi":
            print(*film.frames[shown:], sep="\n\n", end="\n\n")
            shown = len(film.frames)
        print(f"episode {number + 1}: reward {episode.rewards[0]:.6g}, {episode.lengths[0]} decisions")
    if a.render == "gif":
        path = with_ending(a.out or Path("match"), ".gif")
        save_gif(path, film.frames, a.frames_per_second or film.pace)
        print(f"{len(film.frames)} frames in {path}")


def bar(
    moments: Iterator[tuple[int, Match, Viewer, str]], a: Arguments
) -> Iterator[tuple[int, Match, Viewer, str]]:
    """The moments, with a progress bar on a terminal."""
    return iter(tqdm(moments, unit="frame", disable=not (a.progress and sys.stderr.isatty())))
