"""The guard: attacks on a page that only the person at this machine may use, each of them refused."""

from __future__ import annotations

import pytest
from visits import HOST, PORT, TOKEN, USUAL, Visitor, app_for, usual_app

from agents.web.guard import HEADERS, MOST_BYTES, address, hosts_of
from agents.web.sessions import IDLE, MOST_SESSIONS, Sessions

TTT = "phantom_tictactoe: bot"


@pytest.fixture
def visitor():
    one = Visitor(usual_app())
    one.begin(TTT)
    return one


def unchanged(visitor, post):
    """A post is refused, and the match is as it was."""
    before = visitor.get("/match").content
    answer = post()
    assert visitor.get("/match").content == before
    assert TTT not in answer.text
    return answer.status_code


# ---------------------------------------------------------------- by which name


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1",  # another port
        f"127.0.0.1:{PORT + 1}",
        f"127.evil.example:{PORT}",  # a test of the beginning would let it in
        f"127.0.0.1.evil.example:{PORT}",
        f"localhost.evil.example:{PORT}",
        f"127.0.0.2:{PORT}",
        f"0.0.0.0:{PORT}",
        f"user@127.0.0.1:{PORT}",
        "",
    ],
)
def test_rebinding_a_name_to_this_machine(visitor, host):
    for path in ("/", "/match", "/page.css", f"/?token={TOKEN}"):
        answer = visitor.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert "set-cookie" not in answer.headers
    assert unchanged(visitor, lambda: visitor.post("/moves", visitor.headers | {"host": host})) == 421


def test_the_names_of_this_machine(visitor):
    assert hosts_of(80) == {"127.0.0.1:80", "localhost:80", "[::1]:80"}
    for host in hosts_of(PORT):
        assert visitor.get("/match", headers={"host": host}).status_code == 200


# ---------------------------------------------------------------- from where


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        f"https://{HOST}",
        f"http://{HOST}.evil.example",
        "http://127.0.0.1",
    ],
)
def test_a_post_from_a_foreign_origin(visitor, origin):
    headers = {"sec-fetch-site": "same-origin"} | ({} if origin is None else {"origin": origin})
    for path in ("/moves", "/matches", "/rematch"):
        fields = visitor.fields() | {"move": "0", "offer": TTT}

        def post(path=path, fields=fields):
            return visitor.post(path, headers, **fields)

        assert unchanged(visitor, post) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_post_that_the_browser_says_is_foreign(visitor, site):
    headers = visitor.headers | {"sec-fetch-site": site}
    assert unchanged(visitor, lambda: visitor.post("/moves", headers, **visitor.fields(), move="0")) == 403


def test_an_old_browser_that_does_not_say(visitor):
    headers = {"origin": visitor.headers["origin"]}
    assert visitor.post("/moves", headers, **visitor.fields(), move="0").status_code == 303


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/json"])
def test_what_is_no_form(visitor, kind):
    headers = visitor.headers | {"content-type": kind}
    assert unchanged(visitor, lambda: visitor.request("POST", "/moves", content=b"x", headers=headers)) == 403


# ---------------------------------------------------------------- who


def test_a_stranger_gets_nothing():
    app = usual_app()
    stranger = Visitor(app, token=None)
    for path in ("/", "/match", "/page.css", "/page.js", "/boards/0.css", "/nothing"):
        answer = stranger.get(path)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert stranger.post("/matches", offer=TTT).status_code == 403
    for token in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\N{SNOWMAN}"):
        assert stranger.get("/", params={"token": token}).status_code == 403


def test_a_forged_cookie(visitor):
    name = f"fogbound_{PORT}"
    key = visitor.client.cookies[name]
    for forged in (key[:-1], key + "x", key.swapcase(), "", TOKEN, visitor.fields()["csrf"]):
        stranger = Visitor(visitor.app, token=None)
        answer = stranger.get("/match", headers={"cookie": f"{name}={forged}"})
        assert answer.status_code == 403


def test_another_sessions_form(visitor):
    """Its token, even with its match and number right, plays nothing here."""
    other = Visitor(visitor.app)
    other.begin(TTT)
    theirs, own = other.fields(), visitor.fields()
    assert theirs["csrf"] != own["csrf"]
    for csrf in (theirs["csrf"], "", own["csrf"][:-1]):
        fields = own | {"csrf": csrf, "move": "0"}
        assert unchanged(visitor, lambda fields=fields: visitor.post("/moves", **fields)) == 403
    without = {name: value for name, value in own.items() if name != "csrf"}
    assert unchanged(visitor, lambda: visitor.post("/moves", **without, move="0")) == 403


def test_the_cookie_is_for_this_page_alone():
    answer = Visitor(usual_app(), token=None).get("/", params={"token": TOKEN})
    told = answer.headers["set-cookie"].lower().replace(" ", "").split(";")
    assert {"httponly", "samesite=strict", "path=/"} <= set(told)
    assert not [part for part in told if part.startswith(("domain=", "max-age=", "expires="))]
    assert len(told[0].partition("=")[2]) >= 43  # 256 bits
    assert answer.headers["location"] == "/"  # the secret leaves the address


def test_who_comes_again_keeps_the_session(visitor):
    key = visitor.client.cookies[f"fogbound_{PORT}"]
    assert visitor.get("/", params={"token": TOKEN}).status_code == 303
    assert visitor.client.cookies[f"fogbound_{PORT}"] == key
    assert visitor.get("/match").status_code == 200


# ---------------------------------------------------------------- how much


async def parts(*told):
    for part in told:
        yield part


@pytest.mark.parametrize("is_told", [True, False])
def test_an_oversized_body(visitor, is_told):
    body = b"csrf=" + b"x" * MOST_BYTES
    content = body if is_told else parts(body[:3000], body[3000:])  # in parts, of no length told before
    headers = visitor.headers | {"content-type": "application/x-www-form-urlencoded"}
    assert (
        unchanged(visitor, lambda: visitor.request("POST", "/moves", content=content, headers=headers)) == 413
    )
    fits = visitor.request("POST", "/moves", content=b"x" * MOST_BYTES, headers=headers)
    assert fits.status_code == 403  # it is read, and is no form of this session


def test_a_form_of_many_fields(visitor):
    many = {f"x{k}": "1" for k in range(20)}
    assert unchanged(visitor, lambda: visitor.post("/moves", **visitor.fields(), **many, move="0")) == 403
    assert visitor.get("/match?from=" + "9" * 2000).status_code == 414


def test_a_flood_of_sessions():
    now = [0.0]
    sessions = Sessions(USUAL, clock=lambda: now[0])
    app = app_for(sessions)
    first, *others = [Visitor(app) for _ in range(MOST_SESSIONS)]
    late = Visitor(app, token=None)
    assert late.get("/", params={"token": TOKEN}).status_code == 503
    assert first.get("/").status_code == others[-1].get("/").status_code == 200
    now[0] = IDLE - 1
    first.begin(TTT)
    now[0] = IDLE + 1  # all but the first have been idle for too long
    assert others[-1].get("/").status_code == 403
    assert first.get("/match").status_code == 200
    assert late.get("/", params={"token": TOKEN}).status_code == 303


# ---------------------------------------------------------------- what a browser may do with it


@pytest.mark.parametrize("path", ["/", "/match", "/page.css", "/page.js", "/boards/0.css", "/nothing"])
def test_headers_of_every_answer(visitor, path):
    for answer in (visitor.get(path), visitor.get(path, headers={"host": "evil.example"})):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert not {"etag", "last-modified", "date", "server", "x-powered-by"} & set(answer.headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert HEADERS["x-content-type-options"] == "nosniff"
    assert HEADERS["cache-control"] == "no-store"


def test_other_methods(visitor):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert visitor.request(method, "/match").status_code == 405
    assert visitor.get("/moves").status_code == 405


def test_no_path_leads_to_a_file(visitor):
    for path in (
        "/../pyproject.toml",
        "/static/../server.py",
        "/%2e%2e/server.py",
        "/page.css/../../server.py",
        "/boards/..%2f0.css",
        "/boards/9.css",
        "//etc/passwd",
    ):
        assert visitor.get(path).status_code == 404
    for offer in ("../runs/a", "/etc/passwd", "runs/a", "phantom_tictactoe: ../bot", "os:system"):
        answer = visitor.post("/matches", **visitor.fields(), offer=offer, seat="0")
        assert answer.status_code == 409
        assert "choose one of the list" in answer.text


def test_what_is_printed():
    assert address(81, "a b") == "http://127.0.0.1:81/?token=a+b"
