"""Bots: plain players that know the rules and follow a few of them, one file a game.

A bot's function decides once, compiled: `rules(observation, legal, seat, tie, columns, notes) -> action`,
with `tie` uniform in [0, 1) and `columns` the game's option `cols`. `notes` (int16 [A], zeros at a match's
start) is all that the seat remembers of the match, one number an action; the rules read it and write into it
what they like. Of `tie` they may ask what `int(tie * n)` tells, n up to A or 8: exact tools try every such
part of [0, 1). What the game's own rules say, such as where a move leads, is theirs: it is imported.
`agents.play.players.Bot` makes players of them.
"""

from __future__ import annotations

from agents.play.bots.concentration import concentration_bot
from agents.play.bots.dark_hex import dark_hex_bot
from agents.play.bots.deciding import Rules, batched
from agents.play.bots.generals import expander_bot, greedy_bot
from agents.play.bots.goofspiel import goofspiel_bot
from agents.play.bots.kuhn_poker import kuhn_bot
from agents.play.bots.leduc_poker import leduc_bot
from agents.play.bots.liars_dice import liars_bot
from agents.play.bots.new_action import new_action_bot
from agents.play.bots.phantom_tictactoe import tictactoe_bot

BOTS: dict[str, dict[str, Rules]] = {
    "kuhn_poker": {"bot": kuhn_bot},
    "leduc_poker": {"bot": leduc_bot},
    "liars_dice": {"bot": liars_bot},
    "goofspiel": {"bot": goofspiel_bot},
    "phantom_tictactoe": {"bot": tictactoe_bot},
    "dark_hex": {"bot": dark_hex_bot},
    "battleship": {"bot": new_action_bot},
    "concentration": {"bot": concentration_bot},
    "minesweeper": {"bot": new_action_bot},
    "generals": {"bot": greedy_bot, "expander": expander_bot, "greedy": greedy_bot},
}
"""Per game its bots by the names the scripts take; `bot` is the strongest one."""

__all__ = ["BOTS", "Rules", "batched"]
