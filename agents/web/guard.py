"""The guard in front of every page: who may ask, how much, and what a browser may do with the answer.

The page is for the person at this machine. A server on the loopback address can still be reached by any page
that the person's browser has open, hence what is checked here: the name it was asked by (a stranger's name
may be made to lead here: DNS rebinding), where a post comes from, and a secret.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.web.sessions import Session, Sessions, TooManySessionsError

MOST_BYTES = 4096
"""Of what is posted."""

MOST_QUERY = 1024
"""Bytes behind the question mark of an address."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # none at all would make a form's Origin null
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer."""


def hosts_of(port: int) -> frozenset[str]:
    """The only names by which the page may be asked for."""
    return frozenset(f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]"))


class Guard:
    """Lets requests of a session through to `app`, which finds it in `request.state.session`.

    Args:
        app: what answers.
        sessions: those there are.
        port: where the server listens.
        token: the secret in the printed address.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, port: int, token: str) -> None:
        self.app, self.sessions, self.token = app, sessions, token
        self.hosts = hosts_of(port)
        self.cookie = f"fogbound_{port}"  # browsers tell cookies apart by host, not by port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no socket stays open, no lifespan
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        answer, body = await self._judge(Request(scope, receive))
        if answer is not None:
            await answer(scope, receive, sealed)
            return

        async def replayed() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replayed, sealed)

    async def _judge(self, request: Request) -> tuple[Response | None, bytes]:
        """What ends the request here, if something does, and what was posted."""
        names = request.headers.getlist("host")
        if len(names) != 1 or names[0] not in self.hosts:
            return refusal(421, f"asked by an unknown name; known are {', '.join(sorted(self.hosts))}"), b""
        if request.method not in ("GET", "HEAD", "POST"):
            return refusal(405, f"expected GET or POST, got {request.method}"), b""
        if len(request.url.query) > MOST_QUERY:
            return refusal(414, f"the address is longer than {MOST_QUERY} bytes"), b""
        if request.method == "POST" and (foreign := _foreign(request, names[0])) is not None:
            return refusal(403, foreign), b""
        body = await _read(request)
        if body is None:
            return refusal(413, f"more was posted than {MOST_BYTES} bytes"), b""
        session = self.sessions.find(request.cookies.get(self.cookie, ""))
        token = request.query_params.get("token")
        if request.method == "GET" and request.url.path == "/" and token is not None:
            return self._enter(token, session), b""
        if session is None:
            return refusal(403, "no session: open the address that the command printed"), b""
        request.state.session = session
        return None, body

    def _enter(self, token: str, session: Session | None) -> Response:
        """Whoever knows the printed address gets a session."""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return refusal(403, "this is not the address that the command printed")
        answer = RedirectResponse("/", 303)
        if session is None:
            try:
                session = self.sessions.enter()
            except TooManySessionsError:
                return refusal(503, "there are as many sessions as there may be; try again later")
        answer.set_cookie(self.cookie, session.key, httponly=True, samesite="strict", path="/")
        return answer


def address(port: int, token: str) -> str:
    """What the command prints."""
    return f"http://127.0.0.1:{port}/?{urlencode({'token': token})}"


def refusal(status: int, why: str) -> Response:
    """An answer that says why there is none."""
    return PlainTextResponse(f"{why}\n", status)


def _foreign(request: Request, host: str) -> str | None:
    """Why a post does not come from our own pages, if so. Browsers say where a post comes from, always."""
    origins = request.headers.getlist("origin")
    if origins != [f"http://{host}"]:
        return "posted from another page (Origin)"
    if request.headers.getlist("sec-fetch-site") not in ([], ["same-origin"]):
        return "posted from another page (Sec-Fetch-Site)"
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return "expected a form (Content-Type)"
    return None


async def _read(request: Request) -> bytes | None:
    """What was posted; None if it is too much, of which no more is read."""
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > MOST_BYTES:
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return body
