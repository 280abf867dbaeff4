"""The board of a page: its cells, what is done by naming one, and where each lies on the drawing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from agents.play.person import Move, SeatedView
from envs import Game
from envs.core import Spot

TOUCH = 24.0
"""Pixels that a cell is wide at least."""

HEAD = re.compile(r"\s*a(?: +[a-z])*\s*")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of the board as a page shows it."""

    place: str
    """The class that puts it where it lies, see `placing`."""
    said: str
    """Its name and what the seat knows of it."""
    action: int | None = None
    """The move that naming it makes."""
    source: int | None = None
    """What naming it chooses: the cell from which to move, of several moves."""
    is_chosen: bool = False


@dataclasses.dataclass(frozen=True)
class Ground:
    """What a page offers at a decision: boards as rows of cells, and moves to choose by their names."""

    boards: tuple[tuple[tuple[Cell, ...], ...], ...]
    moves: tuple[Move, ...]
    chosen: str | None = None
    """The name of the chosen cell, from which `moves` go."""


def ground_of(game: Game, view: SeatedView, source: int | None = None) -> Ground:
    """What a seat is offered now.

    Args:
        source: the cell chosen before, where one names first from where and then where to.
    """
    spots = game.spots(view.seat)
    legal = {move.action: move for move in view.moves}
    made: dict[tuple[int, int], list[int]] = {}
    for action in legal:
        if action in spots:
            made.setdefault(spots[action][:2], []).append(action)
    apart = tuple(move for move in view.moves if move.action not in spots)
    boards = sorted({board for board, _ in made})
    chosen = [key for key in made if key[1] == source and len(made[key]) > 1]
    targets: dict[tuple[int, int], int] = {}
    for key in chosen:
        for action in reversed(made[key]):
            if (to := spots[action].to) is not None:
                targets[key[0], to] = action
    words = _words(game, view.text, len({spot.board for spot in spots.values()}))
    names = _cell_names(game, spots)

    def cell(board: int, number: int) -> Cell:
        key = (board, number)
        actions = made.get(key, [])
        said = f"{names[key]}: {words[board].get(names[key], 'nothing')}" if board in words else names[key]
        place = f"at-{board}-{number}"
        if key in chosen:
            return Cell(place, f"{said}, chosen", source=number, is_chosen=True)
        if key in targets:
            return Cell(place, f"{said}, {legal[targets[key]].name}", action=targets[key])
        if len(actions) == 1:
            return Cell(place, said, action=actions[0])
        return Cell(place, said, source=number if actions else None)

    return Ground(
        tuple(
            tuple(tuple(cell(board, number) for number in row) for row in _rows(spots.values(), board))
            for board in boards
        ),
        (*(legal[action] for key in chosen for action in made[key]), *apart),
        names[chosen[0]] if chosen else None,
    )


def _rows(spots: Iterable[Spot], board: int) -> list[list[int]]:
    """The cells of a board, row by row as they are drawn."""
    at = {spot.cell: (spot.y, spot.x) for spot in spots if spot.board == board}
    rows: dict[float, list[int]] = {}
    for cell in sorted(at, key=at.__getitem__):
        rows.setdefault(at[cell][0], []).append(cell)
    return list(rows.values())


def _cell_names(game: Game, spots: Mapping[int, Spot]) -> dict[tuple[int, int], str]:
    """The first word of what is done there: `b2`, also of `b2 up`."""
    names: dict[tuple[int, int], str] = {}
    for action, spot in spots.items():
        names.setdefault(spot[:2], game.action_name(action).partition(" ")[0])
    return names


def _words(game: Game, text: str, boards: int) -> dict[int, dict[str, str]]:
    """What the seat knows of each cell, by board and name, read from what it may read."""
    grids = grids_of(text)
    found = grids[-boards:] if boards else []
    return {
        board: {name: aloud(game.spoken, sign) for name, sign in grid.items()}
        for board, grid in enumerate(found)
    }


def grids_of(text: str) -> list[dict[str, str]]:
    """The boards in a match's text: the sign on each cell by its name (see `envs.drawing.grid_text`)."""
    return _read(text)[0]


def without_grids(text: str) -> list[str]:
    """The lines of a match's text that belong to no board."""
    return _read(text)[1]


def _read(text: str) -> tuple[list[dict[str, str]], list[str]]:
    """The boards of a text, and its other lines."""
    grids: list[dict[str, str]] = []
    others: list[str] = []
    letters: list[str] = []
    rows = 0
    for line in text.splitlines():
        number, *signs = line.split() or [""]
        if HEAD.fullmatch(line):
            grids.append({})
            letters, rows = line.split(), 0
        elif letters and number == str(rows + 1) and len(signs) == len(letters):
            rows += 1
            grids[-1] |= {f"{letter}{number}": sign for letter, sign in zip(letters, signs, strict=True)}
        else:
            letters = []
            others.append(line)
    return grids, others


def aloud(signs: Mapping[str, str], sign: str) -> str:
    """What a sign is called: as the game says, or its first letter with what follows, or itself."""
    if sign in signs:
        return signs[sign]
    return f"{signs[sign[0]]} {sign[1:]}" if sign[:1] in signs and len(sign) > 1 else sign


def size_of(svg: str) -> tuple[float, float]:
    """A drawing's width and height."""
    found = re.search(r'<svg [^>]*\bwidth="([\d.]+)" height="([\d.]+)"', svg)
    if found is None:
        raise ValueError(f"expected an SVG document with a width and a height, got {svg[:80]!r}")
    return float(found[1]), float(found[2])


def placing(spots: Sequence[Spot], size: tuple[float, float]) -> str:
    """A style sheet that puts every cell over its place on a drawing of this size."""
    width, height = size
    rules = {
        f".at-{spot.board}-{spot.cell}": {
            "left": 100 * (spot.x - spot.side / 2) / width,
            "top": 100 * (spot.y - spot.side / 2) / height,
            "width": 100 * spot.side / width,
            "height": 100 * spot.side / height,
        }
        for spot in spots
    }
    lines = [
        f"{name}{{{';'.join(f'{key}:{value:.4f}%' for key, value in rule.items())}}}"
        for name, rule in rules.items()
    ]
    if spots:
        least = min(width, width * TOUCH / min(spot.side for spot in spots))
        lines.append(f".picture{{min-width:{least:.0f}px}}")
    return "\n".join(lines) + "\n"
