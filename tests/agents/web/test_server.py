"""The server: whole matches by forms, and one answer after the others' whole turn."""

from __future__ import annotations

import re
import sys
import threading
import time

import pytest
from listed import LISTED, small
from models import model_of
from saved import TICTACTOE
from visits import KUHN, USUAL, Visitor, app_for, buttons, lobby, sources, usual_app

import envs
from agents.commands import play as command
from agents.commands import records as records_command
from agents.commands import watch as watch_command
from agents.packaged import shipped_agents
from agents.play import records
from agents.play.players import Player
from agents.play.story import story_of
from agents.run import cli
from agents.web.lobby import Offer
from agents.web.sessions import Sessions
from envs import Match

DUEL = ("battleship", {"seats": 2, "rows": 3, "cols": 3, "ships": "2", "shots": 3})
TTT = "phantom_tictactoe: bot"


@pytest.fixture
def visitor():
    return Visitor(usual_app())


@pytest.mark.parametrize(("name", "options"), [*LISTED, DUEL], ids=str)
def test_a_whole_match_of_every_game_by_plain_forms(name, options):
    game = envs.make(name, **options)
    offers = lobby((game, "random"))
    visitor = Visitor(app_for(Sessions(offers, seed=1)))
    text = visitor.begin(next(iter(offers)))
    for decision in range(game.max_length + 1):
        if "The match is over" in text:
            break
        offered = buttons(text)
        if not offered or (decision % 2 and sources(text)):
            text = visitor.get(f"/match?from={sources(text)[0]}").text
            offered = buttons(text)
        answer, page = visitor.play(move=str(min(offered)))
        assert answer.status_code == 303
        text = page.text
    assert "The match is over: you " in text
    assert "returns: seat 0 " in text
    assert not buttons(text)
    assert visitor.post("/rematch", csrf=visitor.fields()["csrf"]).status_code == 303
    assert "Your move" in visitor.get("/match").text


def test_a_typed_move(visitor):
    visitor.begin(TTT)
    answer, page = visitor.play(typed="B2")
    assert answer.status_code == 303
    assert ">b2<" in page.text.replace("<p>b2</p>", ">b2<")
    assert 'aria-label="b2: x"' in page.text


@pytest.mark.parametrize(
    "move", [{"typed": "b2"}, {"typed": "zz"}, {"typed": ""}, {"move": "4"}, {"move": "77"}, {}]
)
def test_an_illegal_move_changes_nothing_and_says_which_are_legal(visitor, move):
    visitor.begin(TTT)
    visitor.play(move="4")
    before = visitor.get("/match").text
    answer, _ = visitor.play(**move)
    assert answer.status_code == 409
    assert "legal are a1 (0), b1 (1)" in answer.text.replace("&#39;", "'")
    assert visitor.get("/match").text == before


def test_a_stale_and_a_double_post(visitor):
    visitor.begin(TTT)
    old = visitor.fields()
    assert visitor.post("/moves", **old, move="4").status_code == 303
    once = visitor.get("/match").text
    assert visitor.post("/moves", **old, move="4").status_code == 303  # the same post again
    assert visitor.get("/match").text == once
    stale = visitor.post("/moves", **old, move="5")
    assert stale.status_code == 409
    assert "the match has gone on; legal now are " in stale.text
    assert visitor.get("/match").text == once


def test_forms_that_lack_something(visitor):
    assert visitor.post("/moves", **visitor.fields(), move="4").status_code == 409
    visitor.begin(TTT)
    fields = visitor.fields()
    for lacking in ("match", "number"):
        some = {name: value for name, value in fields.items() if name != lacking}
        for value in ({}, {lacking: "x"}, {lacking: "-1"}, {lacking: "9" * 30}):
            assert visitor.post("/moves", **some, **value, move="4").status_code == 409
    headers = visitor.headers | {"content-type": "application/x-www-form-urlencoded"}
    assert visitor.request("POST", "/moves", content=b"\xff\xfe", headers=headers).status_code == 403
    assert visitor.get("/match?from=zz").status_code == visitor.get("/match?from=99").status_code == 200


def test_names_are_escaped():
    class Rude(Player):
        def act(self, observation, legal, seat):  # noqa: ARG002
            return int(legal.argmax())

    offer = Offer(TICTACTOE, Rude(TICTACTOE, "<script>alert(1)</script>"))
    visitor = Visitor(app_for(Sessions({offer.name: offer}, seed=1)))
    for text in (visitor.get("/").text, visitor.begin(offer.name)):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


# ---------------------------------------------------------------- once, after the whole turn


class Slow(Player):
    """Tries cells from a1 on, and takes its time for each."""

    def act(self, observation, legal, seat):  # noqa: ARG002
        time.sleep(0.03)
        return int(legal.argmax())


def test_an_answer_comes_once_after_a_whole_number_of_paces(monkeypatch):
    """The opponent decides once, or twice after a collision, 30 ms each: both are answered after 200."""
    offer = Offer(TICTACTOE, Slow(TICTACTOE, "slow"))
    paces = []
    real = time.monotonic

    async def slept(seconds):
        paces.append(real() + seconds)

    monkeypatch.setattr("agents.web.server.asyncio.sleep", slept)
    for first in (8, 0):  # there is no collision, and one in a1
        visitor = Visitor(app_for(Sessions({offer.name: offer}, seed=1), pace=0.2))
        visitor.begin(offer.name)
        fields = visitor.fields()
        paces.clear()
        begun = real()
        answer = visitor.post("/moves", **fields, move=str(first))
        assert (answer.status_code, answer.content, len(paces)) == (303, b"", 1)
        whole = (paces[0] - begun) / 0.2
        assert round(whole) >= 1
        assert {k: v for k, v in answer.headers.items() if k in ("location", "content-length")} == {
            "location": "/match",
            "content-length": "0",
        }


def test_the_page_plays_as_a_tournament_does(tmp_path):
    """An agent's moves on the page are those of `act` asked offline with the same seed."""
    model_of(envs.Batch(TICTACTOE, 8)).save(tmp_path / "one.zip")
    game, (agent,) = cli.sit_down([str(tmp_path / "one.zip")], None, {})
    offer = Offer(game, agent)
    sessions = Sessions({offer.name: offer}, seed=4)
    visitor = Visitor(app_for(sessions))
    text = visitor.begin(offer.name, "1")
    while "The match is over" not in text:
        text = visitor.play(move=str(max(buttons(text))))[1].text
    (sitting,) = sessions._sittings.values()
    offline, match = offer.opposite(0), Match(game, sitting.match.seed)
    offline.load_state_dict(first_state(offer, sessions))
    for action in sitting.match.actions:
        if match.seat == 0:
            assert action == offline.act(match.observation(0), match.mask(), 0)
        match.play(action)
    assert match.over


def first_state(offer, sessions):
    """How the opponent of a session's only match began."""
    from envs.seeds import derived_seed

    seed = derived_seed(derived_seed(4, "page", 1), "opposite") % 2**63
    assert [sitting.match.seed for sitting in sessions._sittings.values()] == [derived_seed(4, "page", 1)]
    return offer.opposite(seed).state_dict()


# ---------------------------------------------------------------- many at once


def test_sessions_at_once_do_not_cross():
    """Four sessions play three matches each at once; each match is what it is when played alone."""
    game = small("dark_hex")
    offers = lobby((game, "random"))
    sessions = Sessions(offers)
    app, told, errors = app_for(sessions), {}, []

    def play(who):
        try:
            visitor = Visitor(app)
            for number in range(3):
                text = visitor.begin("dark_hex: random", str(who % 2))
                while "The match is over" not in text:
                    assert f"you (seat {who % 2})" in text
                    text = visitor.play(move=str(sorted(buttons(text))[who % len(buttons(text))]))[1].text
                told[who, number] = text
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=play, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(told) == 12
    for sitting in sessions._sittings.values():
        again = Match(game, sitting.match.seed)
        for action in sitting.match.actions:
            again.play(action)
        assert again.over
        assert again.text() == sitting.view().text


# ---------------------------------------------------------------- when it is over


def ended(visitor, offer, seat="1"):
    """Play a match to its end."""
    text = visitor.begin(offer, seat)
    while "The match is over" not in text:
        text = visitor.play(move=str(min(buttons(text))))[1].text
    return text


def agent_offer(tmp_path):
    model_of(envs.Batch(TICTACTOE, 8)).save(tmp_path / "one.zip")
    game, (agent,) = cli.sit_down([str(tmp_path / "one.zip")], None, {})
    return Offer(game, agent)


def test_nothing_is_told_before_the_end(tmp_path):
    offer = agent_offer(tmp_path)
    visitor = Visitor(app_for(Sessions({offer.name: offer}, seed=1)))
    text = visitor.begin(offer.name)
    for _ in range(3):
        assert visitor.get("/replay").headers["location"] == "/match"
        assert visitor.get("/replay/0.svg").status_code == visitor.get("/record.jsonl").status_code == 404
        text = visitor.play(move=str(max(buttons(text))))[1].text
    ended(visitor, offer.name)
    assert visitor.get("/replay").status_code == 200
    visitor.begin(offer.name)  # what is told of the match before ends with the next one
    assert visitor.get("/replay").headers["location"] == "/match"


def test_looking_back_with_what_the_agent_thought(tmp_path):
    offer = agent_offer(tmp_path)
    sessions = Sessions({offer.name: offer}, seed=1)
    visitor = Visitor(app_for(sessions))
    ended(visitor, offer.name)
    (sitting,) = sessions._sittings.values()
    last = len(sitting.match.actions)
    first = visitor.get("/replay").text
    assert f"Moment 0 of {last}" in first
    assert "before the first move" in first
    after = visitor.get("/replay?ply=1").text  # the agent, seat 0, has moved
    assert "What it thought before this move" in after
    assert re.search(r"Value [+-]\d\.\d{3}, entropy \d\.\d{3} nats, norm of h \d", after)
    assert after.count("<meter ") == 5
    assert "the return that was expected before each move, drawn" in first  # a line along all moves
    assert first.count("<svg ") == 2
    own = next(k for k in range(1, last + 1) if sitting_seat(sitting, k) == 1)
    assert "What it thought" not in visitor.get(f"/replay?ply={own}").text  # the person's own move
    both = visitor.get(f"/replay?ply={last}&view=both").text
    assert both.count("<svg ") == 3
    assert visitor.get("/replay?ply=999&view=zz").text.count("<svg ") == 2  # the last moment, by the referee
    assert visitor.get("/replay/1.svg").headers["content-type"] == "image/svg+xml"
    assert visitor.get("/replay/999.svg").status_code == 404


def sitting_seat(sitting, ply):
    """Who made the move before a moment."""
    match = Match(sitting.match.game, sitting.match.seed)
    for action in sitting.match.actions[: ply - 1]:
        match.play(action)
    return match.seat


def test_a_match_of_the_page_is_a_record(tmp_path):
    """What the page hands out and what the command keeps: the same line, which the rules play again.

    Matches of a second game stand in a file beside the first's, as a file of records is of one game."""
    path = tmp_path / "played.jsonl"
    sessions = Sessions(USUAL, seed=5, keep=command.keeper(path))
    visitor = Visitor(app_for(sessions))
    ended(visitor, "kuhn_poker: bot")
    ended(visitor, TTT, "0")
    line = visitor.get("/record.jsonl").text
    (file,) = set(tmp_path.iterdir()) - {path}
    assert file.name == "played.phantom_tictactoe.jsonl"
    assert file.read_text(encoding="utf-8") == line
    assert len(records.load(path)) == len(records.load(file)) == 1
    matches = records.load_line(file, 1)
    assert [matches.names[p] for p in matches.players[0]] == ["person", "bot"]
    begun, actions, names = records.again(matches)
    (sitting,) = sessions._sittings.values()
    assert (begun.seed, actions, names) == (sitting.match.seed, sitting.match.actions, ["person", "bot"])
    records.check(matches)
    told = story_of(begun, actions, names)
    assert told.matches[-1].text() == sitting.view().text


def test_the_commands_take_a_match_of_the_page(tmp_path, monkeypatch, capsys):
    """`records check` plays it again by the rules, `watch --replay` shows it as text and on a page."""
    sessions = Sessions(USUAL, seed=5)
    visitor = Visitor(app_for(sessions))
    last = ended(visitor, TTT, "0")
    file = tmp_path / "match.jsonl"
    file.write_text(visitor.get("/record.jsonl").text, encoding="utf-8")
    (sitting,) = sessions._sittings.values()
    plies = len(sitting.match.actions)
    monkeypatch.setattr("sys.argv", ["records.py", "check", str(file)])
    records_command.main()
    assert capsys.readouterr().out == (
        f"{file}: 1 matches of {TICTACTOE}, {plies} decisions, all as the rules play them\n"
    )
    monkeypatch.setattr("sys.argv", ["watch.py", "--replay", str(file)])
    watch_command.main()
    shown = capsys.readouterr().out
    assert f"{file}, line 1: person (seat 0) against bot (seat 1)" in shown
    assert sitting.view().text in shown
    served = []
    monkeypatch.setattr("agents.web.server.serve", lambda *how: served.append(how[0]))
    monkeypatch.setattr("sys.argv", ["watch.py", "--replay", str(file), "--render", "web"])
    watch_command.main()
    viewer = Visitor(app_for(served[0]))
    page = viewer.get(f"/replay?ply={plies}").text
    assert f"Moment {plies} of {plies}" in page
    assert the_board(page) == the_board(last)


def the_board(page):
    """The drawing of a page, without what the page calls it."""
    return re.sub(r' role="img" aria-label="[^"]*"', "", re.search(r"<svg .*?</svg>", page, re.S)[0])


def test_a_story_for_everybody():
    match = Match(KUHN, 3)
    while not match.over:
        match.play(0)
    story = story_of(Match(KUHN, 3), match.actions, ["a", "b"])
    visitor = Visitor(app_for(Sessions({}, story=story)))
    assert visitor.get("/").headers["location"] == "/replay"
    assert "kuhn_poker: a (seat 0) against b (seat 1)" in visitor.get("/replay?ply=2").text


# ---------------------------------------------------------------- the command


def test_the_command_serves_what_it_names(monkeypatch, tmp_path):
    served = []
    monkeypatch.setattr("agents.web.server.serve", lambda *how: served.append(how))
    asked = ["bot", "--game", "dark_hex", "--options.rows", "2", "--seat", "random", "--agents"]
    monkeypatch.setattr("sys.argv", ["play.py", *asked, str(tmp_path)])
    command.main()
    ((sessions, port, _),) = served
    assert next(iter(sessions.lobby)) == "dark_hex rows=2: bot"
    assert (port, sessions.enter().wish) == (0, "random")
    monkeypatch.setattr("sys.argv", ["play.py"])
    command.main()
    offered = [offer.opponent for offer in served[1][0].lobby.values()]
    assert offered[: len(shipped_agents())] == shipped_agents()  # whoever comes along first
    assert "kuhn_poker: bot" in served[1][0].lobby


def test_the_command_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "agents.web.server", None)
    monkeypatch.setattr("sys.argv", ["play.py"])
    with pytest.raises(
        RuntimeError, match=r"this needs .*: pip install 'fogbound\[web\]', or play by text with --terminal$"
    ):
        command.main()
