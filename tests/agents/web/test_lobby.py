"""The lobby: who can be played, by names that the command line made."""

from __future__ import annotations

import dataclasses

import pytest
from models import model_of
from saved import TICTACTOE
from toys import Guess
from visits import KUHN, Visitor, app_for, buttons, lobby

import envs
from agents.packaged import shipped_agents
from agents.play.agent_file import load_player
from agents.play.players import fixed_player
from agents.web.lobby import NOBODY, Offer, agents_in, fixed_offers, lobby_of, usual_games
from agents.web.sessions import Sessions


def test_every_game_is_offered_in_every_form():
    offers = lobby_of([], usual_games(), [])
    assert {offer.game.name for offer in offers.values()} == set(envs.GAMES)
    assert list(offers)[:2] == ["kuhn_poker: bot", "kuhn_poker: random"]
    assert f"minesweeper: {NOBODY}" in offers
    assert {f"battleship: {NOBODY}", "battleship seats=2: random"} <= set(offers)


def test_what_the_command_line_names_comes_first_and_once():
    small = envs.make("dark_hex", rows=4, cols=4)
    first = Offer(small, fixed_player("bot", small))
    offers = lobby_of([first], [KUHN, small], [])
    assert list(offers) == [
        "dark_hex rows=4 cols=4: bot",
        "dark_hex rows=4 cols=4: random",
        "kuhn_poker: bot",
        "kuhn_poker: random",
    ]
    assert offers["dark_hex rows=4 cols=4: bot"] is first
    assert [offer.name for offer in fixed_offers(envs.make("minesweeper"))] == [f"minesweeper: {NOBODY}"]


def test_agents_of_a_folder(tmp_path):
    model = model_of(envs.Batch(TICTACTOE, 8))
    model.save(tmp_path / "one.zip")
    (tmp_path / "two.zip").write_bytes(b"no agent")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    *along, agent = agents_in(tmp_path, "cpu")
    assert [one.name for one in along] == shipped_agents()
    assert [agent.name] == [name.partition(": ")[2] for name in lobby_of([], [], [agent])][:1]
    with pytest.raises(ValueError, match="--agents must be a folder"):
        agents_in(tmp_path / "none", "cpu")


def test_each_match_has_a_memory_of_its_own(tmp_path):
    model_of(envs.Batch(TICTACTOE, 8)).save(tmp_path / "one.zip")
    offer = Offer(TICTACTOE, load_player(tmp_path / "one.zip", None))
    one, other = offer.opposite(1), offer.opposite(1)
    one.reset(1)
    match = envs.Match(TICTACTOE, 0)
    shown = match.observation(0), match.mask(), 0
    before = [part.clone() for part in other.memory.cores]
    played = [one.act(*shown) for _ in range(3)]
    assert all(part.equal(old) for part, old in zip(other.memory.cores, before, strict=True))
    other.reset(1)
    assert [other.act(*shown) for _ in range(3)] == played  # the same seed draws the same
    assert lobby((KUHN, "bot"))["kuhn_poker: bot"].title == "kuhn_poker"


def test_a_game_from_outside_is_offered_and_played(monkeypatch):
    """It has no board and draws no size; its moves are buttons."""
    monkeypatch.setitem(envs.GAMES, "toys:Guess", Guess)
    offers = lobby_of([], usual_games(), [])
    visitor = Visitor(app_for(Sessions(offers, seed=1)))
    text = visitor.begin(f"{Guess.name}: {NOBODY}")
    assert visitor.get("/boards/0.css").text == "\n"
    for _ in range(3):
        if "The match is over" not in text:
            text = visitor.play(move=str(min(buttons(text))))[1].text
    assert "The match is over: you ended " in text


def test_a_game_without_usual_options_is_offered_where_it_is_named(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Asks(Guess):
        cards: int
        name = "asks"

    monkeypatch.setitem(envs.GAMES, "toys:Asks", Asks)
    assert "asks" not in {game.name for game in usual_games()}
    game = Asks(cards=3)
    assert list(lobby_of([Offer(game, fixed_player("random", game))], [], [])) == ["asks cards=3: nobody"]
