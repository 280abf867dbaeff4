"""The pages: what a browser gets, made of a session's view and of nothing else."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2

from agents.web.grid import ground_of, without_grids
from agents.web.lobby import Lobby
from agents.web.sessions import Session

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("agents.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

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


def _now(result: str | bool, chosen: str | None) -> str:
    """What is to be done."""
    if result:
        return f"The match is over: you {result}."
    return "Your move." if chosen is None else f"You chose {chosen}. Now where to, or how?"
