"""Films: drawings one after the other in one HTML file with a slider, for a notebook or a mail.

Film("dark hex", frames).html()     # a file that needs nothing else
film_of(match)                      # the last line of a notebook's cell shows it
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from envs.core import REFEREE, Viewer
from envs.match import Match

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
body {{ margin: 1rem auto; max-width: 70rem; padding: 0 1rem; color: #1f2a37; background: #ffffff;
 font: 1rem/1.5 "DejaVu Sans", Verdana, sans-serif; }}
h1 {{ font-size: 1.2rem; }}
figure {{ margin: 0 0 1.5rem; }}
figure svg {{ max-width: 100%; height: auto; }}
figcaption {{ min-height: 3rem; }}
input {{ width: 100%; max-width: 40rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p id="at" hidden><label for="k">moment</label> <output id="said">0</output> of {last}<br>
<input id="k" type="range" min="0" max="{last}" value="0"></p>
{frames}
<script>
const frames = [...document.querySelectorAll("figure")], slider = document.getElementById("k");
function show() {{
  frames.forEach((frame, k) => (frame.hidden = k !== Number(slider.value)));
  document.getElementById("said").textContent = slider.value;
}}
slider.addEventListener("input", show);
document.addEventListener("keydown", (event) => {{
  const step = {{ ArrowLeft: -1, ArrowRight: 1 }}[event.key];
  if (step && event.target !== slider) (slider.value = Number(slider.value) + step), show();
}});
document.getElementById("at").hidden = false;
show();
</script>
</body>
</html>
"""


class Frame(NamedTuple):
    """One moment."""

    svg: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Film:
    """Moments with a slider; without scripts they stand one below the other.

    Raises:
        ValueError: there is none.
    """

    title: str
    frames: Sequence[Frame]

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("a film needs frames, got none")

    def html(self) -> str:
        """A whole HTML document that needs nothing else."""
        figures = (
            f"<figure>\n{frame.svg}\n<figcaption>{escape(frame.caption)}</figcaption>\n</figure>"
            for frame in self.frames
        )
        return _PAGE.format(title=escape(self.title), last=len(self.frames) - 1, frames="\n".join(figures))

    def _repr_html_(self) -> str:
        """The document in a frame of its own, as notebooks show it."""
        return (
            f'<iframe title="{escape(self.title)}" width="100%" height="640" style="border:0" '
            f'sandbox="allow-scripts" srcdoc="{escape(self.html())}"></iframe>'
        )


def film_of(match: Match, viewer: Viewer = REFEREE) -> Film:
    """A match from its beginning to where it stands now, if it drew its own chance.

    Args:
        viewer: who watches, a seat or the referee.
    """
    again = Match(match.game, match.seed)
    frames = [Frame(again.svg(viewer), "before the first move")]
    for number, action in enumerate(match.actions, 1):
        move = f"seat {again.seat} plays {match.game.action_name(action)}"
        is_own = again.seat == viewer
        again.play(action)
        drawing = again.svg(viewer)
        if viewer == REFEREE:
            frames.append(Frame(drawing, f"move {number}: {move}"))
        elif is_own or drawing != frames[-1].svg:  # a seat is not told how often others moved unseen
            frames.append(Frame(drawing, move if is_own else "meanwhile"))
    return Film(match.game.name, frames)
