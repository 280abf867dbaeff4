"""The server: routes that see a session and its view, on the loopback address only.

What the other seats do may take several moves and some time. Every answer to a post comes once, when it is
the person's turn again, after a time that is a multiple of `PACE`: neither their number nor their time shows.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import socket
import time
from collections.abc import Callable
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from agents.web import pages
from agents.web.grid import placing, size_of
from agents.web.guard import Guard, address, refusal
from agents.web.sessions import RefusedError, Session, Sessions
from envs import REFEREE, Match

PACE = 0.1
"""Seconds: an answer to a post comes after the first multiple of it that suffices."""

FIELDS = 8
"""Of a form, at most."""


class Desk:
    """Answers requests that the guard let through.

    Args:
        sessions: of which each request brings one.
        pace: see `PACE`.
    """

    def __init__(self, sessions: Sessions, pace: float = PACE) -> None:
        self.sessions, self.lobby, self.pace = sessions, sessions.lobby, pace

    def routes(self) -> list[Route]:
        """All there is to ask for."""
        return [
            Route("/", self.lobby_page),
            Route("/matches", self.begin, methods=["POST"]),
            Route("/match", self.match_page),
            Route("/moves", self.play, methods=["POST"]),
            Route("/rematch", self.rematch, methods=["POST"]),
            Route("/record.jsonl", self.record),
            Route("/replay", self.replay),
            Route("/replay/{ply:int}.svg", self.thumbnail),
            Route("/boards/{seat:int}.css", self.placing),
            *(Route(f"/{name}", self.static) for name in pages.STATIC),
        ]

    # ---------------------------------------------------------------- asked for

    async def lobby_page(self, request: Request) -> Response:
        """Where one chooses what to play, if there is something."""
        if not self.lobby:
            return RedirectResponse("/replay", 303)
        return HTMLResponse(pages.lobby_page(session_of(request), self.lobby))

    async def match_page(self, request: Request) -> Response:
        """The match; `from` is a chosen cell."""
        session = session_of(request)
        if session.view is None:
            return RedirectResponse("/", 303)
        source = _number(request.query_params.get("from"))
        return HTMLResponse(pages.match_page(session, self.lobby, source))

    async def placing(self, request: Request) -> Response:
        """Where the cells of the session's game lie on the drawing for a seat."""
        session, seat = session_of(request), request.path_params["seat"]
        game = None if session.offer is None else self.lobby[session.offer].game
        if game is None or seat >= game.seats:
            return refusal(404, "there is no such board")
        spots = list(game.spots(seat).values())
        size = size_of(Match(game, seed=0).svg(seat)) if spots else (0.0, 0.0)  # of any match: no secret
        return Response(placing(spots, size), media_type="text/css")

    async def record(self, request: Request) -> Response:
        """The match that has ended, as a line of a file of records."""
        line = await run_in_threadpool(self.sessions.record, session_of(request))
        if line is None:
            return refusal(404, "there is a record once the match is over")
        named = {"content-disposition": 'attachment; filename="match.jsonl"'}
        return Response(line, media_type="application/jsonl", headers=named)

    async def replay(self, request: Request) -> Response:
        """A moment of a match that is over."""
        session = session_of(request)
        story = await run_in_threadpool(self.sessions.story, session)
        if story is None:
            return RedirectResponse("/match", 303)
        ply = min(_number(request.query_params.get("ply")) or 0, story.plies)
        view = request.query_params.get("view", REFEREE)
        return HTMLResponse(await run_in_threadpool(pages.replay_page, session, story, ply, view))

    async def thumbnail(self, request: Request) -> Response:
        """A moment as the referee sees it, as a picture."""
        story = await run_in_threadpool(self.sessions.story, session_of(request))
        ply = request.path_params["ply"]
        if story is None or ply > story.plies:
            return refusal(404, "there is no such moment")
        return Response(story.svg(ply, REFEREE), media_type="image/svg+xml")

    async def static(self, request: Request) -> Response:
        """A file as it is."""
        name = request.url.path[1:]
        return Response(pages.static(name), media_type=pages.STATIC[name])

    # ---------------------------------------------------------------- posted

    async def begin(self, request: Request) -> Response:
        """Begin the match that the lobby's form asks for."""
        session, form = session_of(request), await form_of(request)

        def change() -> None:
            self.sessions.begin(session, form.get("offer", ""), form.get("seat", "random"))

        return await self._changed(
            session, form, change, lambda why: pages.lobby_page(session, self.lobby, why)
        )

    async def rematch(self, request: Request) -> Response:
        """The same game against the same opponent, in the seat that was asked for before."""
        session, form = session_of(request), await form_of(request)

        def change() -> None:
            self.sessions.begin(session, session.offer or "", session.wish)

        return await self._changed(
            session, form, change, lambda why: pages.lobby_page(session, self.lobby, why)
        )

    async def play(self, request: Request) -> Response:
        """Play the move that a button names or that was typed."""
        session, form = session_of(request), await form_of(request)

        def change() -> None:
            match, number, action = (_number(form.get(name)) for name in ("match", "number", "move"))
            if match is None or number is None:
                raise RefusedError("the form lacks the numbers of the match and of the move")
            said = form.get("typed", "") if action is None else action
            self.sessions.play(session, match, number, said)

        if session.view is None:
            return refusal(409, "no match has begun")
        return await self._changed(
            session, form, change, lambda why: pages.match_page(session, self.lobby, message=why)
        )

    async def _changed(
        self, session: Session, form: dict[str, str], change: Callable[[], None], told: Callable[[str], str]
    ) -> Response:
        """Make a change, one at a time in a session, and answer once, at the server's pace.

        Args:
            told: the page that says why nothing was changed.
        """
        if not secrets.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
            return refusal(403, "this form is not of this session (csrf)")
        began = time.monotonic()
        answer: Response = RedirectResponse("/match", 303)
        async with session.lock:
            try:
                await run_in_threadpool(change)
            except RefusedError as refused:
                answer = HTMLResponse(told(str(refused)), 409)
        if self.pace > 0:
            spent = time.monotonic() - began
            await asyncio.sleep(math.ceil(spent / self.pace) * self.pace - spent)
        return answer


def _number(told: str | None) -> int | None:
    """A whole number of few digits, if it is one."""
    return int(told) if told and told.isascii() and told.isdecimal() and len(told) < 10 else None


def session_of(request: Request) -> Session:
    """The session that the guard found."""
    session: Session = request.state.session
    return session


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of one that cannot be read none."""
    try:
        told = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        return {}
    return dict(told)


def app_of(sessions: Sessions, port: int, token: str, pace: float = PACE) -> Guard:
    """The whole application behind its guard."""
    return Guard(Starlette(routes=Desk(sessions, pace).routes()), sessions, port, token)


def settings_of(app: Guard) -> uvicorn.Config:
    """How it is served: nothing that tells of the server or of the time."""
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )


def serve(sessions: Sessions, port: int, say: Callable[[str], None]) -> None:
    """Serve the page at 127.0.0.1 until Ctrl-C; the address, with its secret, is said.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(16)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)  # whoever reads the address is not turned away while the server begins
        port = listening.getsockname()[1]
        say(f"page         {address(port, token)}\nCtrl-C ends it")
        uvicorn.Server(settings_of(app_of(sessions, port, token))).run([listening])
