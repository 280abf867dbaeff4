"""What agents expected all along a match, drawn: a line for each seat that has a network."""

from __future__ import annotations

from agents.play.story import Story
from envs.drawing import INK, LINE, MARGIN, MUTED, SEATS, disc, document, polyline, words

WIDTH, HEIGHT = 480.0, 190.0
"""Of the drawing."""

LEFT, TOP, BOTTOM = 60.0, 44.0, HEIGHT - 34.0
"""Where the lines begin; the return that is drawn highest, and lowest."""


def values_of(story: Story) -> dict[int, list[tuple[int, float]]]:
    """Move and the return that its mover expected before it, for every seat that told one."""
    told: dict[int, list[tuple[int, float]]] = {}
    for move, thought in enumerate(story.thoughts):
        if thought is not None:
            told.setdefault(story.matches[move - 1].seat, []).append((move, thought.value))
    return told


def timeline(story: Story, ply: int) -> str | None:
    """The values along the moves as an SVG document, `ply` marked; None if nobody told any.

    The scale reaches as far as the values, and the match's returns, go. Only two seats have colours.
    """
    told = values_of(story)
    if not told:
        return None
    returns = story.matches[-1].returns.tolist() if story.matches[-1].over else []
    most = max([abs(value) for line in told.values() for _, value in line] + [abs(x) for x in returns])
    most = max(most, 1e-6)
    step = (WIDTH - LEFT - MARGIN) / max(story.plies, 1)

    def at(move: float, value: float) -> tuple[float, float]:
        return LEFT + step * move, (TOP + BOTTOM) / 2 - value / most * (BOTTOM - TOP) / 2

    drawn = [words(MARGIN, 26, "return expected before each move", 13, anchor="start")]
    for value in (most, 0.0, -most):
        ends = [at(0, value), at(story.plies, value)]
        drawn.append(polyline(ends, stroke=LINE, stroke_width=1))
        drawn.append(words(LEFT - 8, ends[0][1] + 4, f"{value:+.2g}" if value else "0", 11, MUTED, "end"))
    drawn.append(polyline([at(ply, most), at(ply, -most)], stroke=INK, stroke_width=1.5))
    for move in sorted({0, story.plies, ply}):
        drawn.append(words(at(move, 0)[0], HEIGHT - 12, str(move), 11, MUTED))
    for k, (seat, line) in enumerate(told.items()):
        colour = SEATS[seat % len(SEATS)]
        points = [at(move, value) for move, value in line]
        drawn.append(polyline(points, stroke=colour, stroke_width=2.5))
        drawn += [disc(x, y, 3.5, fill=colour) for x, y in points]
        drawn.append(words(WIDTH - MARGIN - 70 * k, 26, f"seat {seat}", 12, colour, "end", bold=True))
    return document(WIDTH, HEIGHT, *drawn)
