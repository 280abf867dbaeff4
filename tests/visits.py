"""What the tests of the pages share: a browser without a browser, and matches that are quick."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import socket
import threading

import httpx2
import uvicorn

import envs
from agents.play.players import fixed_player
from agents.web.lobby import Offer
from agents.web.server import app_of, settings_of
from agents.web.sessions import Sessions

PORT = 8000
HOST = f"127.0.0.1:{PORT}"
TOKEN = "the-printed-token"


class Visitor:
    """Asks as a browser does that keeps its cookie and says where its posts come from.

    All in this thread: one for the server would wait for its turn at every message.
    """

    def __init__(self, app, token=TOKEN):
        self.app, self.loop = app, asyncio.Runner()
        transport = httpx2.ASGITransport(app=app)
        self.client = httpx2.AsyncClient(transport=transport, base_url=f"http://{HOST}")
        self.headers = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
        if token is not None:
            assert self.get("/", params={"token": token}).status_code == 303

    def __del__(self):
        self.loop.close()

    def request(self, method, path, **more):
        return self.loop.run(self.client.request(method, path, **more))

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, headers=None, **fields):
        return self.request("POST", path, data=fields, headers=self.headers if headers is None else headers)

    def fields(self):
        """The hidden fields of the page that is shown now, of the match if one has begun."""
        text = self.get("/match").text or self.get("/").text
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))

    def begin(self, offer, seat="0"):
        csrf = dict(re.findall(r'name="(csrf)" value="([^"]*)"', self.get("/").text))
        answer = self.post("/matches", offer=offer, seat=seat, **csrf)
        assert answer.status_code == 303, answer.text
        return self.get("/match").text

    def play(self, **move):
        """Post a move of the page that is shown now; the answer, and the page after it."""
        answer = self.post("/moves", **(self.fields() | move))
        return answer, self.get(answer.headers["location"]) if answer.status_code == 303 else answer


def buttons(text):
    """The moves that a page offers by buttons: what they say by what they post."""
    told = re.findall(r'<button[^>]*name="move" value="(\d+)"(?: aria-label="([^"]*)")?>([^<]*)<', text)
    return {int(value): html.unescape(label or name) for value, label, name in told}


def sources(text):
    """The cells that a page offers to move from, by number."""
    return [int(number) for number in re.findall(r'href="/match\?from=(\d+)"', text)]


def lobby(*offers):
    """A lobby of (game, player's name)."""
    made = [Offer(game, fixed_player(name, game)) for game, name in offers]
    return {offer.name: offer for offer in made}


TICTACTOE = envs.make("phantom_tictactoe")
KUHN = envs.make("kuhn_poker")
USUAL = lobby((TICTACTOE, "bot"), (KUHN, "bot"), (KUHN, "random"))


def app_for(sessions, pace=0.0):
    return app_of(sessions, PORT, TOKEN, pace)


def usual_app(**more):
    """An application with `USUAL` to choose from."""
    return app_for(Sessions(USUAL, seed=3, **more))


@contextlib.contextmanager
def serving(sessions):
    """Serves an application at a free port of this machine, which is given."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        port = listening.getsockname()[1]
        server = uvicorn.Server(settings_of(app_of(sessions, port, TOKEN, pace=0.0)))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()
