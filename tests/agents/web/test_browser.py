"""In a browser: whole matches by mouse, keys, typed moves and without scripts; and what axe says."""

from __future__ import annotations

import random
import shutil
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from listed import small
from playwright.sync_api import sync_playwright
from visits import TOKEN, lobby, serving

import envs
from agents.web.guard import address
from agents.web.sessions import Sessions

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian's package chromium)")

DUEL = envs.make("battleship", seats=2, rows=3, cols=3, ships="2", shots=3)
GENERALS = envs.make("generals", map="A.../..../..../...B", max_ticks=8)
GAMES = {name: small(name) for name in envs.GAMES} | {"generals": GENERALS, "duel": DUEL}
QUICK = ("kuhn_poker", "goofspiel", "phantom_tictactoe", "generals", "duel")
"""Games that are played in every way here; all are in the long version."""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def served():
    """The address of a page with every game, and its sessions."""
    sessions = Sessions(lobby(*((game, "random") for game in GAMES.values())), seed=6)
    with serving(sessions) as port:
        yield address(port, TOKEN), sessions


class Person:
    """Somebody at the page, who also knows (from the test) what is legal."""

    def __init__(self, page, served):
        self.page, (self.address, self.sessions) = page, served
        self.choose = random.Random(4)
        self.errors = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(self.address)

    @property
    def session(self):
        """The latest one, as each person here comes with a cookie of its own."""
        return list(self.sessions._sessions.values())[-1]

    def begin(self, game, seat=0):
        offer = next(name for name, offer in self.sessions.lobby.items() if offer.game == game)
        self.page.goto(self.address.partition("?")[0])
        self.page.select_option("#offer", offer)
        self.page.select_option("#seat", str(seat))
        self.page.get_by_role("button", name="Play", exact=True).click()
        self.page.wait_for_url("**/match")

    def shown(self):
        """Waits until the page shows what the session holds."""
        view = self.session.view
        number = f'main input[name="number"][value="{view.number}"]'
        self.page.locator("form.again" if view.over else number).first.wait_for(state="attached")
        self.page.wait_for_selector("body:not([aria-busy])")
        return view

    def play_on(self, way):
        """To the end, each move made by `way`, which is given an action and its name."""
        while not (view := self.shown()).over:
            action, name = self.choose.choice(view.moves)
            before = view.number
            way(self, action, name)
            deadline = time.monotonic() + 30
            while self.session.view.number == before:
                assert time.monotonic() < deadline, f"{name} was not played"
                self.page.wait_for_timeout(5)
        assert "The match is over: you " in self.page.inner_text("#said")
        assert self.errors == []


def spot_of(person, action):
    game = person.sessions.lobby[person.session.offer].game
    return game.spots(person.session.view.seat).get(action)


def by_mouse(person, action, name):
    """Click the cell; of several moves from there, then where it leads, or the button."""
    spot, page = spot_of(person, action), person.page
    if spot is not None:
        cell = page.locator(f".cell.at-{spot.board}-{spot.cell}")
        is_source = cell.evaluate("cell => cell.matches('a')")
        box = cell.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        if not is_source:
            return
        page.locator("[data-undo]").wait_for()
        target = page.locator(f'button.cell[value="{action}"]')
        if target.count():
            target.click()
            return
    page.get_by_role("button", name=name, exact=True).click()


def by_keys(person, action, name):
    """Tab to the board, arrow keys to the cell, Enter; then likewise where it leads."""
    spot, page = spot_of(person, action), person.page
    if spot is None:
        to_button(page, name)
        return
    to_cell(page, f".at-{spot.board}-{spot.cell}")
    is_source = page.evaluate("document.activeElement.matches('a')")
    page.keyboard.press("Enter")
    if not is_source:
        return
    page.locator("[data-undo]").wait_for()
    page.wait_for_selector("body:not([aria-busy])")
    if page.locator(f'button.cell[value="{action}"]').count():
        to_cell(page, f'[value="{action}"]')
        page.keyboard.press("Enter")
    else:
        to_button(page, name)


def tab_to(page, selector):
    for _ in range(30):
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached by Tab")


def to_cell(page, selector):
    assert page.locator('[role="grid"] [tabindex="0"]').count() == page.locator('[role="grid"]').count()
    tab_to(page, ".cell")
    place = """s => {
        const rows = [...document.activeElement.closest('[role="grid"]').querySelectorAll('[role="row"]')];
        const find = (test) => {
            const y = rows.findIndex((row) => [...row.children].some(test));
            return [y, [...rows[y].children].findIndex(test)];
        };
        const [from, to] = [find((c) => c === document.activeElement), find((c) => c.matches(s))];
        return [to[0] - from[0], to[1] - from[1]];
    }"""
    down, right = page.evaluate(place, selector)
    for key, steps in (("ArrowDown", down), ("ArrowUp", -down), ("ArrowRight", right), ("ArrowLeft", -right)):
        for _ in range(max(steps, 0)):
            page.keyboard.press(key)
    assert page.evaluate("s => document.activeElement.matches(s)", selector)


def to_button(page, name):
    tab_to(page, "form.moves button")
    names = page.locator("form.moves button").all_inner_texts()
    at = page.evaluate("[...document.querySelectorAll('form.moves button')].indexOf(document.activeElement)")
    steps = names.index(name) - at
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    page.keyboard.press("Enter")


def typed(person, action, name):  # noqa: ARG001
    person.page.fill("#typed", name.upper())
    person.page.press("#typed", "Enter")


WAYS = {"mouse": by_mouse, "keys": by_keys, "typed": typed}
EACH_WAY = [
    pytest.param(name, way, marks=() if way == "mouse" or name in QUICK else pytest.mark.slow)
    for way in WAYS
    for name in GAMES
]


@pytest.mark.parametrize(("name", "way"), EACH_WAY)
def test_a_whole_match(browser, served, name, way):
    with browser.new_context() as context:
        person = Person(context.new_page(), served)
        seat = GAMES[name].seats - 1
        person.begin(GAMES[name], seat)
        person.play_on(WAYS[way])
        person.page.get_by_role("button", name="Play again").click()
        person.page.locator('main input[name="number"][value="0"]').first.wait_for(state="attached")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in GAMES]
)
def test_a_whole_match_without_scripts(browser, served, name):
    with browser.new_context(java_script_enabled=False) as context:
        person = Person(context.new_page(), served)
        person.begin(GAMES[name])
        while not (view := person.session.view).over:
            action, move = person.choose.choice(view.moves)
            by_form(person, action, move)
        assert "The match is over: you " in person.page.inner_text("#said")


def by_form(person, action, name):
    """Links and buttons alone."""
    spot, page = spot_of(person, action), person.page
    button = page.locator(f'button.cell[value="{action}"]')
    if spot is not None and not button.count():
        page.locator(f"a.cell.at-{spot.board}-{spot.cell}").click()
    if not button.count():
        button = page.get_by_role("button", name=name, exact=True)
    button.click()


def test_escape_takes_the_source_back_and_the_focus_stays(browser, served):
    with browser.new_context() as context:
        person = Person(context.new_page(), served)
        person.begin(GENERALS)
        for number in (1, 2):  # until the general has an army of 2
            to_button(person.page, "pass")
            person.page.locator(f'main input[name="number"][value="{number}"]').first.wait_for(
                state="attached"
            )
        person.page.locator(".at-0-0").click()
        person.page.locator("[data-undo]").wait_for()
        assert "You chose a1. Now where to, or how?" in person.page.inner_text("#said")
        person.page.keyboard.press("Escape")
        person.page.locator("[data-undo]").wait_for(state="detached")
        assert person.page.evaluate("document.activeElement.matches('.at-0-0')")


def test_an_illegal_typed_move_is_told_and_a_double_click_is_one_move(browser, served):
    with browser.new_context() as context:
        person = Person(context.new_page(), served)
        person.begin(GAMES["phantom_tictactoe"])
        person.page.fill("#typed", "zz")
        person.page.press("#typed", "Enter")
        person.page.get_by_text("'zz' is not legal here; legal are a1 (0)").wait_for()
        person.page.locator(".at-0-4").dblclick()
        person.page.locator('main input[name="number"][value="1"]').first.wait_for(state="attached")
        assert person.session.view.played == ("b2",)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, served, scheme):
    with browser.new_context(color_scheme=scheme) as context:
        person = Person(context.new_page(), served)
        found = {"lobby": serious(person.page)}
        for name in QUICK:
            person.begin(GAMES[name])
            found[name] = serious(person.page)
        person.play_on(by_mouse)
        found["the end"] = serious(person.page)
        assert found == {page: [] for page in found}


def serious(page):
    told = Axe().run(page).response
    assert len(told["passes"]) > 10
    return [
        (one["id"], one["nodes"][0]["html"])
        for one in told["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", [360, 640])  # a phone; 1280 pixels at 200 %
def test_nothing_lies_beside_a_narrow_page(browser, served, width):
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        person = Person(context.new_page(), served)
        for name in GAMES:
            person.begin(GAMES[name])
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert person.page.evaluate(wide) <= 0
            cell = person.page.locator(".cell").first
            if cell.count():
                box = cell.bounding_box()
                assert min(box["width"], box["height"]) >= 23.9  # WCAG 2.2: 24 pixels


def test_looking_back_by_slider_keys_and_links(browser, served):
    with browser.new_context() as context:
        person = Person(context.new_page(), served)
        person.begin(GAMES["phantom_tictactoe"])
        person.play_on(typed)
        page = person.page
        page.get_by_role("link", name="look back at it").click()
        page.wait_for_url("**/replay")
        assert "before the first move" in page.inner_text("#said")
        page.focus("#ply")
        page.keyboard.press("ArrowRight")
        page.get_by_text("move 1: person (seat 0) plays").wait_for()
        assert page.evaluate("document.activeElement.id") == "ply"
        page.keyboard.press("End")
        page.get_by_text("; returns ").wait_for()
        page.select_option("#view", "both")
        page.locator(".side .picture").nth(1).wait_for()
        page.locator(".thumbnails a").nth(1).click()
        page.get_by_text("move 1: person (seat 0) plays").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("ArrowRight")
        page.get_by_text("move 2: random (seat 1) plays").wait_for()
        assert serious(page) == []
        assert person.errors == []
