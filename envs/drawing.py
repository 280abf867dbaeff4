"""Drawings: the SVG pieces all games share, and the way from an SVG to pixels and to a GIF.

Each game draws one SVG document from the pieces here; everything else (an image, a GIF, a window, a web
page) is made from that document. Lengths are SVG user units, one pixel each unless `rasterise` is given
a width. Seats keep their colours in every game: seat 0 blue, seat 1 orange.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from envs.core import CHANCE, REFEREE, Spot, State, Viewer

PAPER: Final = "#f6f4ee"
CELL: Final = "#ffffff"
LINE: Final = "#b9b4a6"
INK: Final = "#1f2a37"
MUTED: Final = "#646d78"
SEATS: Final = ("#1f5fae", "#cf5f06")
SEATS_PALE: Final = ("#e2ecf8", "#fdeadb")
LATEST: Final = "#ffe07a"
COLLISION: Final = "#c2183c"
COLLISION_PALE: Final = "#f9cdd5"
FELT: Final = "#2c6b57"
FELT_RIM: Final = "#1f4f40"
FELT_LINE: Final = "#8fc0ae"
FELT_TEXT: Final = "#eef6f2"
FONT: Final = "DejaVu Sans, Verdana, sans-serif"

MARGIN: Final = 24.0
HEADER: Final = 114.0
"""Height of a document's title lines, its upper margin included."""
PANEL_WIDTH: Final = 280.0
"""Least width of a panel: room for a document's title and a panel's words."""

COLOUR_SAMPLES: Final = 6_000_000
"""A GIF's colours are chosen from about so many numbers of its frames, three a pixel."""

Point = tuple[float, float]


# ---------------------------------------------------------------- pieces


def element(tag: str, *content: str, **attributes: str | float) -> str:
    """One SVG element; `_` in an attribute's name stands for `-`."""
    written = "".join(
        f' {name.replace("_", "-")}="{value if isinstance(value, str) else f"{value:.6g}"}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{''.join(content)}</{tag}>" if content else f"<{tag}{written}/>"


def document(width: float, height: float, *content: str) -> str:
    """A whole SVG document, `width` x `height`, on opaque paper."""
    w, h = math.ceil(width), math.ceil(height)
    return element(
        "svg",
        rectangle(0, 0, w, h, fill=PAPER),
        *content,
        xmlns="http://www.w3.org/2000/svg",
        width=w,
        height=h,
        viewBox=f"0 0 {w} {h}",
        font_family=FONT,
    )


def moved(x: float, y: float, *content: str) -> str:
    """The content, with its origin at (x, y)."""
    return element("g", *content, transform=f"translate({x:.6g} {y:.6g})")


def words(
    x: float,
    y: float,
    said: str,
    size: float = 15,
    fill: str = INK,
    anchor: Literal["start", "middle", "end"] = "middle",
    bold: bool = False,
) -> str:
    """A line of text whose baseline is at y."""
    weight = "bold" if bold else "normal"
    return element(
        "text", escape(said), x=x, y=y, font_size=size, fill=fill, text_anchor=anchor, font_weight=weight
    )


def rectangle(x: float, y: float, width: float, height: float, **style: str | float) -> str:
    """A rectangle whose upper left corner is (x, y)."""
    return element("rect", x=x, y=y, width=width, height=height, **style)


def disc(x: float, y: float, radius: float, **style: str | float) -> str:
    """A circle about (x, y)."""
    return element("circle", cx=x, cy=y, r=radius, **style)


def polygon(points: Iterable[Point], **style: str | float) -> str:
    """A closed outline."""
    return element("polygon", points=_written(points), **style)


def polyline(points: Iterable[Point], **style: str | float) -> str:
    """A line from point to point."""
    return element("polyline", points=_written(points), fill="none", **style)


def _written(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.6g},{y:.6g}" for x, y in points)


def circle_points(corners: int, radius: float, turn: float = 0.0) -> list[Point]:
    """Corners of a regular polygon about the origin, the first `turn` corners clockwise from the top."""
    angles = [2 * math.pi * (k + turn) / corners for k in range(corners)]
    return [(radius * math.sin(a), -radius * math.cos(a)) for a in angles]


def header(title: str, options: str, said: str, seat: int | None) -> str:
    """A document's first lines: what is played and how, and, after `seat`'s colour, what is new."""
    return "".join(
        (
            words(MARGIN, 40, title, 20, anchor="start", bold=True),
            words(MARGIN, 61, options, 13, MUTED, anchor="start"),
            disc(MARGIN + 7, 87, 7, fill=LINE if seat is None else SEATS[seat]),
            words(MARGIN + 22, 92, said, anchor="start"),
        )
    )


def situation(state: State, names: Sequence[str]) -> tuple[str, int | None]:
    """Whose turn it is or how the match ended, and the seat it is about."""
    if not state.over:
        return (
            ("dealing", None) if state.seat == CHANCE else (f"{names[state.seat]} to move", int(state.seat))
        )
    if state.reward[0] == state.reward[1]:
        return "draw", None
    winner = int(np.argmax(state.reward))
    return f"{names[winner]} wins", winner


# ---------------------------------------------------------------- boards


@dataclasses.dataclass(frozen=True)
class Board:
    """Where everything lies on a board of cells."""

    width: float
    height: float
    centres: Sequence[Point]  # of each cell, by action
    outline: Sequence[Point]  # of a cell, about its centre
    stone: float  # radius of a stone
    side: float  # of the square about a cell's centre that is surely the cell's
    surroundings: str  # edges and labels, drawn first

    def cell(self, cell: int, fill: str = CELL) -> str:
        """A cell's face, in its place."""
        x, y = self.centres[cell]
        return moved(x, y, polygon(self.outline, fill=fill, stroke=LINE, stroke_width=1.2))


def cell_name(cell: int, cols: int) -> str:
    """A cell by its column's letter and its row's number, as the boards are labelled."""
    return f"{_letter(cell % cols)}{cell // cols + 1}"


def _letter(column: int) -> str:
    return chr(ord("a") + column)


def grid_text(signs: Sequence[str], cols: int) -> str:
    """A board in letters, one sign a cell, row by row, with labels."""
    rows = len(signs) // cols
    edge, width = len(str(rows)), max(len(sign) for sign in signs)
    head = [_letter(c).ljust(width) for c in range(cols)]
    lines = [" " * edge + " " + " ".join(head)]
    for r in range(rows):
        row = [sign.ljust(width) for sign in signs[r * cols : (r + 1) * cols]]
        lines.append(f"{r + 1:>{edge}} " + " ".join(row))
    return "\n".join(line.rstrip() for line in lines)


def square_board(rows: int, cols: int, side: float = 72.0) -> Board:
    """Square cells, lettered columns, numbered rows."""
    edge = 26.0  # for the labels
    centres = [(edge + (c + 0.5) * side, edge + (r + 0.5) * side) for r in range(rows) for c in range(cols)]
    half = side / 2
    labels = _labels(
        [(edge + (c + 0.5) * side, edge / 2) for c in range(cols)],
        [(edge / 2, edge + (r + 0.5) * side) for r in range(rows)],
        size=14,
    )
    return Board(
        width=2 * edge + cols * side,
        height=edge + rows * side,
        centres=centres,
        outline=[(-half, -half), (half, -half), (half, half), (-half, half)],
        stone=0.36 * side,
        side=side,
        surroundings=labels,
    )


def hex_board(rows: int, cols: int) -> Board:
    """Hexagons, each row half a cell right of the one above. Top and bottom have seat 0's colour, the
    other two edges seat 1's."""
    radius = min(36.0, max(13.0, 300.0 / (cols + rows / 2)))
    half = radius * math.sqrt(3) / 2  # of a hexagon's width
    size = max(10.5, 0.5 * radius)
    left, top = 1.7 * size + radius, 1.35 * size + 1.6 * radius

    def centre(row: int, col: int) -> Point:
        return left + (2 * col + row) * half, top + 1.5 * radius * row

    first = centre(0, 0)
    last = centre(rows - 1, cols - 1)
    sides = _hex_sides(rows, cols, radius, centre)
    labels = _labels(
        [(centre(0, c)[0], first[1] - 1.45 * radius - 0.45 * size) for c in range(cols)],
        [(centre(r, 0)[0] - half - 0.3 * radius - 0.9 * size, centre(r, 0)[1]) for r in range(rows)],
        size=size,
    )
    return Board(
        width=last[0] + half + 0.5 * radius,
        height=last[1] + 1.4 * radius,
        centres=[centre(r, c) for r in range(rows) for c in range(cols)],
        outline=circle_points(6, radius),
        stone=0.62 * radius,
        side=1.5 * radius,
        surroundings=sides + labels,
    )


def _hex_sides(rows: int, cols: int, radius: float, centre: Callable[[int, int], Point]) -> str:
    """The four coloured edges, as broad lines under the cells' rims. Where two meet in the middle of a
    hexagon's side, each takes half of it."""
    top, upper_right, lower_right, bottom, lower_left, upper_left = circle_points(6, radius)

    def along(cells: Iterable[tuple[int, int]], corners: Sequence[Point]) -> list[Point]:
        return [(x + dx, y + dy) for x, y in (centre(r, c) for r, c in cells) for dx, dy in corners]

    def middle(a: Point, b: Point) -> Point:
        return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2

    upper = along([(0, c) for c in range(cols)], (upper_left, top, upper_right))
    right = along([(r, cols - 1) for r in range(rows)], (top, upper_right, lower_right))
    lower = along([(rows - 1, c) for c in range(cols)], (lower_left, bottom, lower_right))
    left = along([(r, 0) for r in range(rows)], (upper_left, lower_left, bottom))
    upper[-1] = right[0] = middle(upper[-2], upper[-1])
    lower[0] = left[-1] = middle(lower[0], lower[1])
    return "".join(
        polyline(line, stroke=SEATS[seat], stroke_width=0.62 * radius, stroke_linejoin="round")
        for line, seat in ((upper, 0), (lower, 0), (left, 1), (right, 1))
    )


def _labels(columns: Sequence[Point], rows: Sequence[Point], size: float) -> str:
    """Letters and numbers centred on the given points."""
    named = [(x, y, _letter(c)) for c, (x, y) in enumerate(columns)]
    named += [(x, y, str(r + 1)) for r, (x, y) in enumerate(rows)]
    return "".join(words(x, y + 0.36 * size, name, size, MUTED) for x, y, name in named)


@dataclasses.dataclass(frozen=True)
class Panel:
    """A board with a heading above it and a note below."""

    heading: str
    colour: str
    board: Board
    content: str  # the cells and what lies on them, about the board's origin
    note: str = ""
    note_colour: str = MUTED


def spots(board: Board, actions: Iterable[tuple[int, int, int | None]], panel: int = 0) -> dict[int, Spot]:
    """Where actions are made on the board of a panel, by action.

    Args:
        actions: each with the cell where it is made, and the one where what moves arrives, if it moves.
        panel: among those that `panels` draws side by side.
    """
    width = max(board.width, PANEL_WIDTH)
    left, top = MARGIN + (width + MARGIN) * panel + (width - board.width) / 2, HEADER + 40
    return {
        action: Spot(panel, cell, left + board.centres[cell][0], top + board.centres[cell][1], board.side, to)
        for action, cell, to in actions
    }


def panels(title: str, options: str, said: str, about: int | None, shown: Sequence[Panel]) -> str:
    """Boards of one size side by side, as a document; the first arguments are `header`'s."""
    board = shown[0].board
    width = max(board.width, PANEL_WIDTH)
    step = width + MARGIN
    drawn = (moved(MARGIN + step * k, HEADER, _panel(panel, width)) for k, panel in enumerate(shown))
    height = HEADER + 40 + board.height + 56
    return document(MARGIN + step * len(shown), height, header(title, options, said, about), *drawn)


def _panel(panel: Panel, width: float) -> str:
    board = panel.board
    return "".join(
        (
            words(width / 2, 22, panel.heading, 16, panel.colour, bold=True),
            moved((width - board.width) / 2, 40, board.surroundings, panel.content),
            words(width / 2, board.height + 70, panel.note, 14, panel.note_colour),
        )
    )


def stone(x: float, y: float, radius: float, seat: int, found: bool = False) -> str:
    """Seat 0's stone with a cross, seat 1's with a ring; hollow and dashed if it was found by a collision."""
    face, mark = (PAPER, SEATS[seat]) if found else (SEATS[seat], "#ffffff")
    dashes: dict[str, str | float] = {"stroke_dasharray": math.tau * 0.94 * radius / 18} if found else {}
    body = disc(0, 0, 0.94 * radius, fill=face, stroke=SEATS[seat], stroke_width=0.13 * radius, **dashes)
    a = 0.36 * radius
    style: dict[str, str | float] = {"stroke": mark, "stroke_width": 0.2 * radius}
    if seat == 0:
        strokes = polyline([(-a, -a), (a, a)], **style) + polyline([(-a, a), (a, -a)], **style)
    else:
        strokes = disc(0, 0, 1.2 * a, fill="none", **style)
    return moved(x, y, body, strokes)


def burst(x: float, y: float, radius: float) -> str:
    """The sign of a collision: a red star."""
    outer, inner = circle_points(8, radius), circle_points(8, 0.55 * radius, turn=0.5)
    points = [p for pair in zip(outer, inner, strict=True) for p in pair]
    return moved(x, y, polygon(points, fill=COLLISION, stroke=PAPER, stroke_width=0.14 * radius))


# ---------------------------------------------------------------- cards

CARD: Final = (86.0, 120.0)
POKER_SEATS: Final = ("seat 0", "seat 1")
SUITS: Final = {"s": ("♠", INK), "h": ("♥", COLLISION)}


def playing_card(x: float, y: float, name: str | None, hidden: bool = False) -> str:
    """A card about (x, y), by its rank and, where the game has suits, s or h ("K", "Qh"). Without a name
    its empty place, if hidden its back."""
    width, height = CARD
    if name is None:
        style: dict[str, str | float] = {"fill": "none", "stroke": FELT_LINE, "stroke_dasharray": "6 5"}
    else:
        style = {"fill": "#ffffff", "stroke": INK}
    shape = rectangle(-width / 2, -height / 2, width, height, rx=9, **style)
    content = "" if name is None else _back() if hidden else _face(name)
    return moved(x, y, shape, content)


def _back() -> str:
    width, height = CARD
    inner = rectangle(7 - width / 2, 7 - height / 2, width - 14, height - 14, rx=5, fill="#3d4a63")
    diamonds = [
        moved(18 * c, 21 * r, polygon(circle_points(4, 7), fill="#8d9bb8"))
        for r in range(-2, 3)
        for c in range(-1, 2)
    ]
    return inner + "".join(diamonds)


def _face(name: str) -> str:
    width, height = CARD
    rank, (suit, colour) = name[0], SUITS.get(name[1:], ("", INK))
    corner = words(0, 0, rank, 17, colour, bold=True) + words(0, 17, suit, 16, colour)
    corners = (
        element("g", corner, transform=f"rotate({turn}) translate({16 - width / 2:g} {24 - height / 2:g})")
        for turn in (0, 180)
    )
    middle = words(0, 19, suit or rank, 50, colour, bold=not suit)
    return "".join(corners) + middle


def poker_situation(state: State) -> tuple[str, int | None]:
    """`situation` with what the winner wins."""
    said, about = situation(state, POKER_SEATS)
    return said + (f" {state.reward[about]:g}" if state.over and about is not None else ""), about


def poker_table(
    title: str,
    stakes: str,
    state: State,
    viewer: Viewer,
    cards: Sequence[str | None],
    paid: Sequence[int],
    rounds: Sequence[Sequence[str]],
    public: Sequence[str | None] = (),
) -> str:
    """A poker match for two, as a document.

    Args:
        title, stakes: what is played, and for how much.
        state: the match; its `seat`, `over` and `reward` are read.
        viewer: a seat, from whom the other's card is hidden, or the referee.
        cards: of both seats by name (see `playing_card`); None = not dealt yet.
        paid: what each seat has put into the pot.
        rounds: the moves of each betting round by name; seat 0 opens every one.
        public: the card on the table, if the game has one.
    """
    width, height = 640.0, 268.0
    said, about = poker_situation(state)
    if viewer != REFEREE:
        said = f"seen by {POKER_SEATS[viewer]}: {said}"
    pot = words(width / 2, 46 if public else 140, f"pot {sum(paid)}", 20, FELT_TEXT, bold=True)
    table = moved(
        0,
        HEADER,
        rectangle(MARGIN, 0, width - 2 * MARGIN, height, rx=110, fill=FELT, stroke=FELT_RIM, stroke_width=8),
        pot,
        *(playing_card(width / 2, height / 2, card) for card in public),
        *(
            moved(
                150 + 340 * p,
                0,
                _hand(p, cards[p], paid[p], hidden=viewer not in (REFEREE, p), marked=p == about),
            )
            for p in range(2)
        ),
    )
    below = HEADER + height + 22
    spoken = (moved(MARGIN, below + 38 * r, _moves(r, moves)) for r, moves in enumerate(rounds))
    return document(width, below + 38 * len(rounds) + 10, header(title, stakes, said, about), table, *spoken)


def _hand(seat: int, card: str | None, paid: int, hidden: bool, marked: bool) -> str:
    """One seat at the table: its name, its card (framed if `marked`) and its chips."""
    width, height = CARD[0] + 14, CARD[1] + 14
    frame = rectangle(-width / 2, 134 - height / 2, width, height, rx=14, fill=LATEST) if marked else ""
    plate = rectangle(-36, 26, 72, 28, rx=14, fill=SEATS[seat])
    chips = (
        disc(7 * (k - (paid - 1) / 2), 222, 6.5, fill=SEATS[seat], stroke="#ffffff", stroke_width=1.6)
        for k in range(paid)
    )
    return "".join(
        (
            frame,
            plate,
            words(0, 45, POKER_SEATS[seat], 14, "#ffffff", bold=True),
            playing_card(0, 134, card, hidden),
            *chips,
            words(0, 247, f"paid {paid}", 13, FELT_TEXT),
        )
    )


def _moves(betting_round: int, moves: Sequence[str]) -> str:
    """A betting round's moves in a row, each in its seat's colour."""
    label = words(0, 20, f"round {betting_round + 1}", 14, MUTED, anchor="start")
    pills = (
        moved(
            84 + 92 * m,
            0,
            rectangle(0, 0, 82, 29, rx=6, fill=SEATS_PALE[m % 2], stroke=SEATS[m % 2], stroke_width=1.2),
            words(41, 20, move, 14),
        )
        for m, move in enumerate(moves)
    )
    return label + "".join(pills)


# ---------------------------------------------------------------- from SVG to pixels


def rasterise(svg: str, width: int | None = None) -> npt.NDArray[np.uint8]:
    """The document as pixels, uint8 [height, width, 3] on an opaque background.

    Needs no display and no installed font: the text is set in matplotlib's DejaVu Sans, so the pixels
    are the same on every machine.

    Args:
        svg: an SVG document.
        width: of the image; the document's own if None. The height follows.

    Raises:
        ValueError: `svg` is no SVG document.
    """
    import matplotlib
    import resvg_py
    from PIL import Image

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    png = resvg_py.svg_to_bytes(
        svg_string=svg,
        width=width,
        background="#ffffff",
        skip_system_fonts=True,
        font_files=[str(fonts / "DejaVuSans.ttf"), str(fonts / "DejaVuSans-Bold.ttf")],
    )
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def save_gif(
    path: str | os.PathLike[str],
    frames: Sequence[npt.NDArray[np.uint8]],
    frames_per_second: float = 2,
) -> None:
    """Write pictures as an endless GIF that rests on the last one for four times as long.

    Pillow joins equal neighbours into one longer frame, and writes of others what has changed. All frames
    share the 256 colours that suit them together, as what stays the same must not change its colour: with
    colours of their own 159 frames of Generals took 1,100 kB and 11 s, so 400 kB and 1 s.

    Args:
        path: file to write.
        frames: at least one, uint8 [height, width, 3], all of one shape.
        frames_per_second: pace; a GIF counts in hundredths of a second.

    Raises:
        ValueError: there is no frame, or the shapes differ.
    """
    from PIL import Image

    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) != 1:
        raise ValueError(f"a GIF needs frames of one shape, got {shapes or 'no frame'}")
    every = math.ceil(math.sqrt(sum(frame.size for frame in frames) / COLOUR_SAMPLES))
    sample = Image.fromarray(np.concatenate([frame[::every, ::every] for frame in frames]))
    plain = Image.Dither.NONE
    palette = sample.quantize(dither=plain)
    first, *others = [Image.fromarray(frame).quantize(palette=palette, dither=plain) for frame in frames]
    pause = round(1000 / frames_per_second)
    durations = [pause] * len(others) + [4 * pause]
    first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
