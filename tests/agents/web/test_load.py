"""Many at once over HTTP, against the command as a person starts it: no match crosses into another session.

How long answers took is printed, not judged: machines differ, and other work goes on beside.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
from visits import buttons

from agents.play import records
from agents.play.agent_file import load_player
from agents.web.lobby import Offer
from envs.seeds import derived_seed

ROOT = Path(__file__).parents[3]
AGENT = "dark_hex_4x4_gated"
"""A network with a memory, which no session may share with another."""
OFFER = f"dark_hex rows=4 cols=4: {AGENT}"


class Client:
    """A browser that has the page's address; it notes how long each answer took, in seconds."""

    def __init__(self, address):
        origin = address.partition("/?")[0]
        self.http = httpx2.Client(base_url=origin, timeout=60.0)
        self.headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        self.took = {"GET": [], "POST": []}
        assert self.ask("GET", address).status_code == 303

    def ask(self, method, path, **fields):
        began = time.perf_counter()
        answer = self.http.request(
            method, path, data=fields or None, headers=self.headers if method == "POST" else {}
        )
        self.took[method].append(time.perf_counter() - began)
        return answer

    def fields(self, text):
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))

    def begin(self, offer, seat):
        fields = self.fields(self.ask("GET", "/").text)
        assert self.ask("POST", "/matches", **fields, offer=offer, seat=str(seat)).status_code == 303
        return self.ask("GET", "/match").text

    def play(self, text, action):
        assert self.ask("POST", "/moves", **self.fields(text), move=str(action)).status_code == 303
        return self.ask("GET", "/match").text


@pytest.fixture
def page(tmp_path):
    """The address of a page that `play.py` serves, and the file where it keeps the matches."""
    kept = tmp_path / "kept.jsonl"
    command = [sys.executable, "scripts/play.py", "--port", "0", "--record", str(kept)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    how = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, encoding="utf-8", **how) as running:
        try:
            line = next(line for line in running.stdout if "http://" in line)
            yield line.split()[-1], kept
        finally:
            running.terminate()


def whole_matches(address, who, number, told, errors):
    """A session's matches: its seats by turns, moves that no other session plays in the same order."""
    try:
        client, choose = Client(address), np.random.default_rng(who)
        for match in range(number):
            seat, played = (who + match) % 2, []
            text = client.begin(OFFER, seat)
            while "The match is over" not in text:
                assert f"you (seat {seat})" in text
                offered = buttons(text)
                action = int(choose.choice(sorted(offered)))
                played.append(action)
                text = client.play(text, action)
            line = client.ask("GET", "/record.jsonl").text
            told[who, match] = (seat, played, line, text)
        told[who, "took"] = client.took
        client.http.close()
    except Exception as error:
        errors.append(error)


@pytest.mark.parametrize(
    ("sessions", "matches"), [(3, 1), pytest.param(8, 20, marks=pytest.mark.slow)], ids=str
)
def test_sessions_at_once_do_not_cross(page, sessions, matches, tmp_path, capsys):
    address, kept = page
    told, errors = {}, []
    threads = [
        threading.Thread(target=whole_matches, args=(address, who, matches, told, errors))
        for who in range(sessions)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    assert errors == []
    ended = {key: value for key, value in told.items() if key[1] != "took"}
    assert len(ended) == sessions * matches
    assert sorted(kept.read_text(encoding="utf-8").splitlines()) == sorted(
        line.strip() for _, _, line, _ in ended.values()
    )
    for seat, played, line, text in ended.values():
        (tmp_path / "one.jsonl").write_text(line, encoding="utf-8")
        found = records.load_line(tmp_path / "one.jsonl", 1)
        records.check(found)
        begun, actions, names = records.again(found)
        assert (names[seat], names[1 - seat]) == ("person", AGENT)
        assert as_played_alone(begun, actions, seat) == played
        assert begun.text() in html.unescape(text)
    tell(capsys, [told[who, "took"] for who in range(sessions)], seconds)


def as_played_alone(match, actions, seat):
    """The person's moves of a match, which is played to its end; each other one is what an agent decides that
    sits at this match alone."""
    agent = Offer(match.game, load_player(AGENT, None)).opposite(derived_seed(match.seed, "opposite") % 2**63)
    agent.reset(1)
    own = []
    for action in actions:
        if match.seat == seat:
            own.append(action)
        else:
            assert action == agent.act(match.observation(match.seat), match.mask(), match.seat)
        match.play(action)
    assert match.over
    return own


def tell(capsys, took, seconds):
    """Prints what the answers took."""
    parts = {how: [x for one in took for x in one[how]] for how in ("GET", "POST")}
    parts["all"] = parts["GET"] + parts["POST"]
    with capsys.disabled():
        load = f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores"
        print(f"\n{len(took)} sessions, {seconds:.1f} s, {load}; milliseconds:")
        for name, times in parts.items():
            median, high, most = np.percentile(times, [50, 95, 100]) * 1000
            print(f"  {name:<5}{len(times):>6} answers, median {median:.0f}, 95 % {high:.0f}, all {most:.0f}")
