"""Attacks on a page that is served at a real port, byte by byte as no browser would write them."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest
from visits import TOKEN, USUAL, serving

from agents.web import server
from agents.web.guard import MOST_BYTES
from agents.web.sessions import Sessions

TTT = "phantom_tictactoe: bot"


@pytest.fixture(scope="module")
def served():
    """A port and the sessions behind it."""
    sessions = Sessions(USUAL, seed=3)
    with serving(sessions) as port:
        yield port, sessions


def asked(port, *lines, body=b"", host="127.0.0.1"):
    """What the server says to these lines, whole, and that it ends: status and bytes."""
    with socket.create_connection((host, port), timeout=20) as wire:
        head = "".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode()
        wire.sendall(head + body)
        told = b""
        while part := wire.recv(65536):
            told += part
    return int(told.split()[1]) if told else None, told


class Browser:
    """One that has come in, with a cookie."""

    def __init__(self, port, *more):
        self.port, self.host = port, f"Host: 127.0.0.1:{port}"
        self.status, told = asked(port, f"GET /?token={TOKEN} HTTP/1.1", self.host, *more)
        self.cookie = "Cookie: " + re.search(rb"set-cookie: ([^;]+)", told)[1].decode()

    def get(self, path, *more):
        return asked(self.port, f"GET {path} HTTP/1.1", self.host, self.cookie, *more)

    def post(self, path, body, *more):
        lines = (
            *(f"POST {path} HTTP/1.1", self.host, self.cookie, f"Origin: http://127.0.0.1:{self.port}"),
            "Content-Type: application/x-www-form-urlencoded",
            *(more or (f"Content-Length: {len(body)}",)),
        )
        return asked(self.port, *lines, body=body.encode())

    def form(self, **fields):
        """The fields of its page with these."""
        told = self.get("/match")[1] + self.get("/")[1]
        hidden = dict(re.findall(rb'<input type="hidden" name="(\w+)" value="([^"]*)">', told))
        fields = {name.decode(): value.decode() for name, value in hidden.items()} | fields
        return "&".join(f"{name}={value.replace(' ', '+')}" for name, value in fields.items())

    def begun(self):
        assert self.post("/matches", self.form(offer=TTT, seat="0"))[0] == 303
        return self


@pytest.fixture
def browser(served):
    return Browser(served[0]).begun()


def test_only_this_machine_reaches_it(served, monkeypatch):
    """The command binds the one address; another of the loopback network leads nowhere."""
    with pytest.raises(OSError, match="refused"):
        asked(served[0], "GET / HTTP/1.1", host="127.0.0.2")
    bound = []
    monkeypatch.setattr(
        server.uvicorn.Server, "run", lambda _self, sockets: bound.append(sockets[0].getsockname())
    )
    server.serve(Sessions(USUAL), 0, lambda _: None)
    assert [address for address, _ in bound] == ["127.0.0.1"]


def test_two_names_at_once(served, browser):
    port, _ = served
    for names in (
        ("Host: evil.example", browser.host),
        (browser.host, "Host: evil.example"),
        (f"Host: 127.0.0.1:{port}, evil.example",),
        (),
    ):
        status, told = asked(port, "GET /match HTTP/1.1", *names, browser.cookie)
        assert status in (400, 421)
        assert b"Your move" not in told


def test_an_address_that_brings_its_own_name(served, browser):
    """A proxy's request names a whole address; its path is no page."""
    status, told = asked(
        served[0], "GET http://evil.example/match HTTP/1.1", "Host: evil.example", browser.cookie
    )
    assert status == 421
    assert b"Your move" not in told


def test_a_request_hidden_in_a_request(browser):
    """Two lengths that contradict each other: one reader's body is another's request."""
    inner = f"POST /rematch HTTP/1.1\r\n{browser.host}\r\n\r\n"
    before = browser.get("/match")[1]
    for lengths in (
        ("Content-Length: 6", "Transfer-Encoding: chunked"),
        ("Content-Length: 6", "Content-Length: 60"),
        ("Transfer-Encoding: xchunked",),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
    ):
        status, told = browser.post("/moves", "0\r\n\r\n" + inner, *lengths)
        assert status is None or status >= 400
        assert told.count(b"HTTP/1.1 ") <= 1
    assert browser.get("/match")[1] == before


def test_a_body_that_is_longer_than_it_says(browser):
    """What comes after the told length is another request, and a bad one."""
    before = browser.get("/match")[1]
    status, _ = browser.post("/moves", "a=1&" * 5000, "Content-Length: 4")
    assert status is None or status >= 400
    status, _ = browser.post("/moves", "x" * 100, f"Content-Length: {MOST_BYTES + 1}")
    assert status == 413  # told by its head alone: nothing more is waited for
    assert browser.get("/match")[1] == before


def test_a_cookie_that_was_chosen_before(served):
    """Fixation: who comes in with a made-up cookie gets another."""
    port, sessions = served
    made_up = f"Cookie: fogbound_{port}=chosen-by-a-stranger"
    assert Browser(port, made_up).cookie != made_up
    assert sessions.find("chosen-by-a-stranger") is None


def test_two_cookies_of_one_name(served, browser):
    """A page on another port may set one, too; none but a true one counts."""
    name = browser.cookie.partition("=")[0]
    status, _ = asked(served[0], "GET /match HTTP/1.1", browser.host, f"{name}=forged")
    assert status == 403
    status, told = asked(served[0], "GET /match HTTP/1.1", browser.host, browser.cookie, f"{name}=forged")
    assert status in (200, 403)
    assert b"forged" not in told


def test_a_post_recorded_in_one_session_and_sent_in_another(served, browser):
    other = Browser(served[0]).begun()
    before = other.get("/match")[1]
    assert other.post("/moves", browser.form(move="4"))[0] == 403
    assert other.get("/match")[1] == before


def test_the_same_post_many_times_at_once(served, browser):
    """Ten copies of a post are one move."""
    form, answers = browser.form(move="4"), []
    threads = [
        threading.Thread(target=lambda: answers.append(browser.post("/moves", form)[0])) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [303] * 10
    key = browser.cookie.partition("=")[2]
    assert served[1].find(key).view.played == ("b2",)


def test_a_line_break_in_what_is_posted(browser):
    """It becomes no header."""
    for offer in ("x%0d%0aSet-Cookie:+a=b", "x\r\nSet-Cookie: a=b"):
        status, told = browser.post("/matches", browser.form(offer=offer, seat="0"))
        assert status == 409
        assert b"set-cookie" not in told.lower().partition(b"\r\n\r\n")[0]


def test_a_socket_that_is_to_stay_open(browser):
    status, told = browser.get(
        "/match", "Upgrade: websocket", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"
    )
    assert status in (200, 400)
    assert b"101 Switching" not in told


def test_who_never_ends_a_request_holds_nobody_up(served, browser):
    """Twenty half requests stay open, and a page is answered all the same."""
    held = [socket.create_connection(("127.0.0.1", served[0])) for _ in range(20)]
    for k, wire in enumerate(held):
        wire.sendall(b"POST /moves HTTP/1.1\r\nHost: 127" if k % 2 else b"G")
    assert browser.get("/match")[0] == 200
    assert browser.post("/moves", browser.form(move="0"))[0] == 303
    for wire in held:
        wire.close()


def test_what_is_no_request(served):
    for junk in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n" * 50,
        b"A" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", served[0]), timeout=20) as wire:
            wire.sendall(junk + b"\r\n\r\n")
            wire.shutdown(socket.SHUT_WR)
            time.sleep(0)
            try:
                told = wire.recv(65536)
            except ConnectionResetError:
                told = b""
        assert not told or int(told.split()[1]) >= 400
    assert Browser(served[0]).status == 303
