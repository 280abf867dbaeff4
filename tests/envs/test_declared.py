"""What a game declares of its record is tried out: every wrong declaration is found."""

from __future__ import annotations

import dataclasses
import re

import pytest

from envs.check import check_game
from envs.declared import check_declared
from envs.games.dark_hex import DarkHex
from envs.games.kuhn_poker import KuhnPoker
from envs.games.phantom_tictactoe import PhantomTicTacToe
from envs.tree import build


@pytest.mark.parametrize("abrupt", [False, True])
@pytest.mark.parametrize("reveal", ["nothing", "turns"])
@pytest.mark.parametrize("kind", [PhantomTicTacToe, DarkHex])
def test_what_the_phantom_games_declare_is_right(kind, abrupt, reveal):
    check_declared(kind(abrupt=abrupt, reveal=reveal))


@dataclasses.dataclass(frozen=True)
class HiddenCards(KuhnPoker):
    """Who wins is decided by both cards."""

    private = ("card",)


@dataclasses.dataclass(frozen=True)
class HiddenMoves(KuhnPoker):
    notes = ("move",)


@dataclasses.dataclass(frozen=True)
class HiddenCount(DarkHex):
    """With reveal="turns" the number of attempts is shown."""

    notes = ("mover", "attempts")


@dataclasses.dataclass(frozen=True)
class HiddenBoard(DarkHex):
    notes = ("board",)


@dataclasses.dataclass(frozen=True)
class Rowless(DarkHex):
    private = ("board",)


@dataclasses.dataclass(frozen=True)
class Unknown(DarkHex):
    private = ("stones",)


@dataclasses.dataclass(frozen=True)
class Common(DarkHex):
    private = ("reward",)


@pytest.mark.parametrize(
    ("game", "told"),
    [
        (HiddenCards(), "play of chance writes into another seat's row"),
        (HiddenMoves(), "reads others"),
        (HiddenCount(reveal="turns"), "observe of seat 0 reads others"),
        (HiddenBoard(), "play of seat 0 reads others"),
        (Rowless(), "private fields have a row per seat, expected shape (2, ...), 'board' has (9,)"),
        (
            Unknown(),
            "dark_hex declares 'stones'; fields of its own are edges, linked, loose, cols, board, known",
        ),
        (Common(), "dark_hex declares 'reward'; fields of its own are"),
    ],
)
def test_a_wrong_declaration_is_refused_before_the_walk(game, told):
    for check in (check_declared, build):
        with pytest.raises(ValueError, match=re.escape(told)) as error:
            check(game)
        assert "\n" not in str(error.value)


def test_the_contract_test_tries_declarations_out():
    with pytest.raises(AssertionError, match="observe of seat 0 reads others"):
        check_game(HiddenCount(reveal="turns"), matches=1)
