"""The picture of generals: its board in letters and as an SVG document, as a viewer sees it."""

from __future__ import annotations

from typing import Protocol

from envs.core import REFEREE, State, Viewer
from envs.drawing import (
    CELL,
    INK,
    SEATS,
    Board,
    Panel,
    grid_text,
    moved,
    panels,
    polygon,
    situation,
    square_board,
    words,
)
from envs.games.generals_maps import CASTLE, GENERAL, MOUNTAIN, NAMES, NOBODY, PLAIN

LAND = ("#a9c8ec", "#f6c397")  # a seat's plain cells
HAZE, HAZE_SIGN = "#b4bac2", "#8a929c"  # a cell in fog
ROCK, SNOW, WALL = "#8c8577", "#e9e6de", "#ddd6c2"  # a mountain's cell and its top, a neutral castle's cell
SIGNS = {
    ".": "plain",
    "#": "mountain",
    "~": "fog",
    "?": "mountain or castle in fog",
    "a": "land of A, army",
    "b": "land of B, army",
    "A": "general of A, army",
    "B": "general of B, army",
}  # aloud; behind an army `*` is a castle


class Shown(Protocol):
    """What a picture asks of the game."""

    @property
    def rows(self) -> int: ...
    @property
    def cols(self) -> int: ...
    @property
    def max_ticks(self) -> int: ...
    def seen(self, state: State, viewer: Viewer) -> list[bool]:
        """Whether the viewer sees each cell."""


def text(game: Shown, state: State, viewer: Viewer) -> str:
    """The board in letters, and what may be said of it; the letters as in `Generals.text`."""
    signs = [_sign(state, c, seen) for c, seen in enumerate(game.seen(state, viewer))]
    return f"{grid_text(signs, game.cols)}\n{_situation(state, viewer)[0]}   {_holdings(state)}"


def svg(game: Shown, state: State, viewer: Viewer) -> str:
    """The match as a document: the referee sees the true board between what the two seats see of it."""
    board = board_of(game)
    viewers: list[Viewer] = [0, REFEREE, 1] if viewer == REFEREE else [viewer]
    shown = [
        Panel(
            "the board" if seer == REFEREE else f"{NAMES[seer]} sees",
            INK if seer == REFEREE else SEATS[seer],
            board,
            _drawn(board, state, game.seen(state, seer)),
            _holdings(state) if seer == viewer else "",
        )
        for seer in viewers
    ]
    options = f"{game.rows} x {game.cols}, a draw after {game.max_ticks} ticks"
    return panels("Generals", options, *_situation(state, viewer), shown)


def board_of(game: Shown) -> Board:
    """Where the cells lie."""
    return square_board(game.rows, game.cols, min(80.0, max(26.0, 448.0 / max(game.rows, game.cols))))


def _sign(state: State, cell: int, is_seen: bool) -> str:
    """What is said of a cell in `text`."""
    terrain, owner, army = state.terrain[cell], state.owner[cell], int(state.army[cell])
    if not is_seen:
        return "?" if terrain in (MOUNTAIN, CASTLE) else "~"
    if terrain == MOUNTAIN:
        return "#"
    castle = "*" if terrain == CASTLE else ""
    if owner == NOBODY:
        return f"{army}{castle}" if castle else "."
    name = NAMES[owner] if terrain == GENERAL else NAMES[owner].lower()
    return f"{name}{army}{castle}"


def _drawn(board: Board, state: State, seen: list[bool]) -> str:
    """The cells and what lies on them; of those that are not `seen` the fog."""
    drawn = []
    for cell, is_seen in enumerate(seen):
        terrain, owner, army = state.terrain[cell], int(state.owner[cell]), int(state.army[cell])
        x, y = board.centres[cell]
        r = board.stone / 0.36 / 2  # half a cell's side
        if not is_seen:
            drawn.append(board.cell(cell, HAZE))
            if terrain in (MOUNTAIN, CASTLE):
                drawn.append(words(x, y + 0.3 * r, "?", 0.85 * r, HAZE_SIGN, bold=True))
            continue
        face = ROCK if terrain == MOUNTAIN else WALL if terrain == CASTLE else CELL
        if owner != NOBODY:
            face = LAND[owner] if terrain == PLAIN else SEATS[owner]
        drawn.append(board.cell(cell, face))
        ink = CELL if owner != NOBODY and terrain != PLAIN else INK
        if terrain == MOUNTAIN:
            drawn.append(mountain(x, y, r))
        elif terrain == CASTLE:
            drawn.append(tower(x, y - 0.4 * r, 0.36 * r, ink))
        elif terrain == GENERAL:
            drawn.append(crown(x, y - 0.4 * r, 0.42 * r, ink))
        if terrain == CASTLE or owner != NOBODY:
            said = str(army)
            below = 0.3 if terrain == PLAIN else 0.72
            size = min(0.85 * r if terrain == PLAIN else 0.75 * r, 2.6 * r / len(said))
            drawn.append(words(x, y + below * r, said, size, ink, bold=True))
    return "".join(drawn)


def _situation(state: State, viewer: Viewer) -> tuple[str, int | None]:
    """What may be said to `viewer`, and the seat it is about."""
    said, about = f"tick {state.time}", None if viewer == REFEREE else int(viewer)
    if state.over:
        result, about = situation(state, NAMES)
        said = f"{said}, {result}"
    return said if viewer == REFEREE else f"seen by {NAMES[viewer]}, {said}", about


def _holdings(state: State) -> str:
    """Both seats' land and army, which are public."""
    return "; ".join(f"{NAMES[p]}: {state.land[p]} land, {state.total[p]} army" for p in range(2))


def mountain(x: float, y: float, r: float) -> str:
    """A peak with snow in a cell of side 2 r."""
    peak = polygon([(-0.8 * r, 0.62 * r), (0, -0.68 * r), (0.8 * r, 0.62 * r)], fill=INK, fill_opacity=0.55)
    snow = polygon([(0, -0.68 * r), (0.29 * r, -0.21 * r), (0, -0.06 * r), (-0.29 * r, -0.21 * r)], fill=SNOW)
    return moved(x, y, peak, snow)


def tower(x: float, y: float, r: float, fill: str) -> str:
    """A battlement, 2 r wide."""
    tops = [(-1, -1), (-0.55, -1), (-0.55, -0.45), (-0.22, -0.45), (-0.22, -1)]
    outline = [(-0.8, 1), (-0.8, 0), (-1, -0.1), *tops, *((-a, b) for a, b in reversed(tops))]
    outline += [(1, -0.1), (0.8, 0), (0.8, 1)]
    return moved(x, y, polygon([(a * r, b * r) for a, b in outline], fill=fill))


def crown(x: float, y: float, r: float, fill: str) -> str:
    """A crown, 2 r wide."""
    outline = [(-0.85, 0.8), (-1, -0.7), (-0.45, 0), (0, -0.95), (0.45, 0), (1, -0.7), (0.85, 0.8)]
    return moved(x, y, polygon([(a * r, b * r) for a, b in outline], fill=fill))
