"""The pages: what a browser gets, made of a session's view and of nothing else."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2

from agents.play.story import Story
from agents.play.timeline import timeline
from agents.web.grid import ground_of, without_grids
from agents.web.lobby import Lobby
from agents.web.sessions import Session
from envs import REFEREE
from envs.core import Viewer

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("agents.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

THUMBNAILS = 12
"""Of a match, about as many."""

STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
"""Files as they are."""


def static(name: str) -> str:
    """One of `STATIC`."""
    return (files("agents.web") / "static" / name).read_text(encoding="utf-8")


def page(template: str, **shown: Any) -> str:
    """A template filled in."""
    return _TEMPLATES.get_template(template).render(**shown)


def lobby_page(session: Session, lobby: Lobby, message: str = "") -> str:
    """Where one chooses what to play."""
    by_game: dict[str, list[tuple[str, str]]] = {}
    for name, offer in lobby.items():
        by_game.setdefault(offer.title, []).append((name, offer.opponent))
    seats = max(offer.game.seats for offer in lobby.values())
    return page(
        "lobby.html", by_game=by_game, seats=seats, session=session, message=message, title="choose a match"
    )


def match_page(session: Session, lobby: Lobby, source: int | None = None, message: str = "") -> str:
    """The match as the seat may see it."""
    view = session.view
    assert view is not None
    assert session.offer is not None
    offer = lobby[session.offer]
    ground = ground_of(offer.game, view, source)
    said = [line for line in without_grids(view.text) if line.strip()]
    return page(
        "match.html",
        title=offer.title,
        opponent=offer.opponent,
        session=session,
        view=view,
        ground=ground,
        said=said,
        message=message,
        now=_now(view.over and view.result, ground.chosen),
    )


def replay_page(session: Session, story: Story, ply: int, view: str) -> str:
    """A moment of a match that is over.

    Args:
        view: referee, both (the seats side by side), or a seat's number; anything else is the referee.
    """
    views = [REFEREE, *(["both"] if story.seats > 1 else []), *map(str, range(story.seats))]
    view = view if view in views else REFEREE
    seats: list[Viewer] = list(range(story.seats))
    viewers: list[Viewer] = [REFEREE] if view == REFEREE else seats if view == "both" else [int(view)]
    step = -(-story.plies // THUMBNAILS) or 1
    return page(
        "replay.html",
        title=story.title,
        session=session,
        story=story,
        ply=ply,
        view=view,
        views=views,
        drawings=[story.svg(ply, viewer) for viewer in viewers],
        values=timeline(story, ply),
        text=story.text(ply, viewers[0]),
        thumbnails=list(range(0, story.plies + 1, step)),
    )


def _now(result: str | bool, chosen: str | None) -> str:
    """What is to be done."""
    if result:
        return f"The match is over: you {result}."
    return "Your move." if chosen is None else f"You chose {chosen}. Now where to, or how?"
