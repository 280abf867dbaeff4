"""Every game in a picture: writes docs/gallery.md and docs/gallery/<game>.svg.

python scripts/gallery.py
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from pathlib import Path
from typing import NamedTuple

import envs
from agents.play.arena import watch
from agents.play.players import fixed_player
from envs.drawing import document

DOCS = Path(__file__).parents[1] / "docs"
SEED = 2
"""Of the matches and players: with it the bot survives its first clicks in minesweeper."""

OPENING = """# Gallery

Every game that comes with fogbound, in the middle of a match. What a seat may know stands beside the
referee's board, which shows everything. `python scripts/gallery.py` draws the page anew; `python
scripts/watch.py bot --game dark_hex` shows a whole match. The rules are the docstring of each game's file.
"""


class Shown(NamedTuple):
    """A game's picture, as an SVG document, and what it shows."""

    svg: str
    caption: str


def main() -> None:
    """Draw the page anew."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    (DOCS / "gallery").mkdir(exist_ok=True)
    shown = {name: draw(name) for name in envs.GAMES}
    for name, picture in shown.items():
        path = DOCS / "gallery" / f"{name}.svg"
        path.write_text(picture.svg, encoding="utf-8")
        print(f"{path.stat().st_size / 1000:4.0f} kB  {path.relative_to(DOCS.parent)}")
    (DOCS / "gallery.md").write_text(page(shown), encoding="utf-8")
    print("         docs/gallery.md")


def draw(name: str) -> Shown:
    """The game half-way through a match that its bot, or a random player, plays in every seat."""
    game = envs.make(name)
    try:
        player = fixed_player("bot", game, SEED)
    except ValueError:
        player = fixed_player("random", game, SEED)
    *_, played = watch(game, [player] * game.seats, SEED)
    moves = played.actions[: len(played.actions) // 2]
    match = envs.Match(game, SEED)
    for action in moves:
        match.play(action)
    view, board = match.svg(0), match.svg()
    what = "What seat 0 may know, and the board"
    if size_of(board)[0] > size_of(view)[0]:  # a board that already has the seats' views beside it
        what, picture = "What seat 0 may know, the board, and what seat 1 may know", board
    else:
        picture = side_by_side(view, board)
    caption = f"{what}, after {len(moves)} of {len(played.actions)} moves of `{player.name}`."
    return Shown(picture + "\n", caption)


def side_by_side(*drawings: str) -> str:
    """SVG documents in one."""
    sizes = [size_of(drawing) for drawing in drawings]
    starts = [sum(width for width, _ in sizes[:k]) for k in range(len(sizes))]
    placed = [
        drawing.replace("<svg ", f'<svg x="{x}" ', 1) for x, drawing in zip(starts, drawings, strict=True)
    ]
    return document(sum(width for width, _ in sizes), max(height for _, height in sizes), *placed)


def size_of(drawing: str) -> tuple[int, int]:
    """An SVG document's width and height."""
    found = re.search(r'<svg [^>]*\bwidth="(\d+)" height="(\d+)"', drawing)
    assert found is not None, drawing[:200]
    return int(found[1]), int(found[2])


def page(shown: dict[str, Shown]) -> str:
    """The page, as Markdown."""
    return "\n".join([OPENING, *(section(name, picture.caption) for name, picture in shown.items())])


def section(name: str, caption: str) -> str:
    """A game's: what it is, its options, its picture."""
    game = envs.GAMES[name]
    about = (sys.modules[game.__module__].__doc__ or "").partition("\n")[0]
    options = [f"- `{option}`: {said}" for option, said in options_of(game).items()]
    return "\n".join(
        [
            f"## {name}",
            "",
            about,
            "",
            *(["Options:", "", *options, ""] if options else ["No options.", ""]),
            caption,
            "",
            f"![{name}](gallery/{name}.svg)",
            "",
        ]
    )


def options_of(game: type[envs.Game]) -> dict[str, str]:
    """Each option with its default, and the sentence that stands below it in the game's file."""
    body = ast.parse(inspect.getsource(game)).body[0]
    assert isinstance(body, ast.ClassDef)
    said = {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    return {
        f"{o.name} = {o.default!r}": said.get(o.name, "") for o in inspect.signature(game).parameters.values()
    }


if __name__ == "__main__":
    main()
