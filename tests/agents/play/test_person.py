"""A person in a seat: what it may know, what others do unseen, and what typed words mean."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

import envs
from agents.play.person import Move, Sitting, listed_moves, understood
from agents.play.players import fixed_player
from envs import Match

TICTACTOE = envs.make("phantom_tictactoe")


class Says:
    """Plays the moves it is given, in turn."""

    name = "says"

    def __init__(self, *actions):
        self.actions = actions

    def reset(self, matches=1):  # noqa: ARG002
        self.left = iter(self.actions)

    def act(self, observation, legal, seat):  # noqa: ARG002
        return next(self.left)


def test_the_others_play_until_it_is_the_persons_turn():
    """x plays b2, where the person's o collides and goes on; o plays a1, where x collides and goes on."""
    sitting = Sitting(TICTACTOE, Says(4, 0, 1), seat=1, seed=0)
    assert (sitting.view().number, sitting.view().played) == (0, ())
    sitting.play(4)
    view = sitting.view()
    assert "o collided on b2" in view.text
    assert view.number == 1
    assert [move.name for move in view.moves] == ["a1", "b1", "c1", "a2", "c2", "a3", "b3", "c3"]
    sitting.play(0)  # x collides there, unseen, and goes on to b1
    view = sitting.view()
    assert sitting.match.actions == [4, 4, 0, 0, 1]
    assert "o placed a1" in view.text
    assert view.played == ("b2", "a1")
    assert not view.over


def test_the_end_is_seen_as_the_referee_sees_it():
    sitting = Sitting(TICTACTOE, Says(0, 1, 8), seat=1, seed=0)
    for action in (3, 4, 5):  # o has the middle row, x a1 and b1
        view = sitting.view()
        assert "b1" not in view.text
        sitting.play(action)
    view = sitting.view()
    assert view.over
    assert (view.result, view.returns, view.moves) == ("won", (-1.0, 1.0), ())
    assert view.text == sitting.match.text("referee")


def test_an_illegal_move_changes_nothing():
    sitting = Sitting(TICTACTOE, Says(0, 1), seat=0, seed=0)
    sitting.play(4)
    before = sitting.view()
    with pytest.raises(ValueError, match=r"action 4 \('b2'\) of seat 0 is illegal"):
        sitting.play(4)
    assert sitting.view() == before
    with pytest.raises(ValueError, match=r"--seat must be in 0\.\.1, got 2"):
        Sitting(TICTACTOE, Says(), seat=2, seed=0)


def reachable(thing):
    """Everything that can be reached from an object, classes and modules left out."""
    found, new = {id(thing): thing}, [thing]
    while new:
        for one in gc.get_referents(new.pop()):
            if id(one) not in found and not isinstance(one, type) and not hasattr(one, "__spec__"):
                found[id(one)] = one
                new.append(one)
    return list(found.values())


@pytest.mark.parametrize("name", envs.GAMES)
def test_from_a_view_no_way_leads_to_the_match(name):
    game = envs.make(name)
    player = fixed_player("random", game)
    sitting = Sitting(game, player, 0, seed=1)
    view = sitting.view()
    kinds = (Match, np.ndarray, np.void, torch.Tensor, torch.nn.Module, envs.Game, type(player))
    assert not [one for one in reachable(view) if isinstance(one, kinds)]
    assert [one for one in reachable(sitting) if isinstance(one, Match)]  # the search finds one where it is


@pytest.mark.parametrize("name", [name for name in envs.GAMES if envs.make(name).seats == 2])
def test_the_opponent_moves_as_it_does_without_a_page(name):
    """The same seeds give the match that the player plays when asked move by move."""
    game = envs.make(name)
    moves = np.random.default_rng(0)
    sitting = Sitting(game, fixed_player("random", game, 7), 0, seed=5)
    while not (view := sitting.view()).over and view.number < 5:
        sitting.play(int(moves.choice([move.action for move in view.moves])))
    match, player = Match(game, 5), fixed_player("random", game, 7)
    for action in sitting.match.actions:
        if match.seat == 1:
            assert action == player.act(match.observation(1), match.mask(), 1)
        match.play(action)


# ---------------------------------------------------------------- typed


def moves_of(game):
    return [Move(action, game.action_name(action)) for action in range(game.actions)]


def test_a_beginning_is_enough_where_only_one_move_has_it():
    moves = moves_of(envs.make("dark_hex", rows=3, cols=12))
    names = {move.name: move.action for move in moves}
    assert understood(moves, "A2") == names["a2"]  # whatever case
    assert understood(moves, f" {names['b2']} ") == names["b2"]
    with pytest.raises(ValueError, match=r"'b' begins b1, b2, b3$"):
        understood(moves, "b")
    with pytest.raises(ValueError, match=r"'a9' is not legal here; legal are .* 36 in all$"):
        understood(moves, "a9")
    with pytest.raises(ValueError, match=r"^legal are "):
        understood(moves, "")


def test_a_name_comes_before_a_number():
    """Goofspiel's action 0 is the card 1."""
    moves = moves_of(envs.make("goofspiel"))
    assert [understood(moves, str(card)) for card in (1, 2, 3, 4)] == [0, 1, 2, 3]
    assert understood(moves, "0") == 0


def test_a_whole_name_comes_before_longer_ones():
    moves = moves_of(envs.make("generals", rows=4, cols=4))
    assert understood(moves, "b2 up") + 1 == understood(moves, "b2 up (half)")
    assert understood(moves, "pa") == 128
    assert listed_moves(moves[-1:]) == "pass (128)"
    assert listed_moves([]) == "none"


def test_names_tell_moves_apart():
    for name in envs.GAMES:
        names = [move.name.casefold() for move in moves_of(envs.make(name))]
        assert len(set(names)) == len(names)
