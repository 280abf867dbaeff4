"""Concentration (memory, pairs): turn two cards, keep them if they match, remember them if they do not.

Rules
    Shuffled cards lie face down, every order with the same probability. One seat turns cards, one after
    the other. The second card of a turn decides: if it matches the first (and is another card), both
    stay face up for good; else both are turned down again when the next card is turned. Naming a card
    that lies face up for good ends the turn without a pair. The match ends when every pair is found, or
    after a fixed number of cards turned.

        level    cards   that match in      cards turned
        easy        52   colour (2 x 26)             104
        medium     104   colour (2 x 52)             208
        hard        52   rank (13 x 4)               104

Options
    level   "easy", or "medium", "hard"

Observation, uint8 [cards]
    codes           meaning
    0..1, or 0..12  the card's colour (black, red) or rank (ace to king): it lies face up, found or just
                    turned. A second card is seen together with the first, also where they do not match
    2, or 13        face down

Actions
    The card to turn. Every card may be named at any time, also one that lies face up: that is punished,
    not illegal.

Rewards, with n cards turned at most
    +2/cards    a pair
    -2/n        two cards that do not match, or the same card twice
    -1/n        a card that lies face up for good, -2/n if it was the second of a turn
    0           the first card of a turn
    A match is worth -1 to 1.

The order of the cards is drawn by `deal` from the match's own random numbers: no chance node, as no tree
of all orders can be walked.

Source of the rules: POPGym `ConcentrationEasy`, `ConcentrationMedium`, `ConcentrationHard` (Morad et al.
2023), where the limit of cards turned is a truncation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np

from envs.core import REFEREE, Array, Game, Spot, State, Viewer, codes, draw_below, record, verb
from envs.drawing import (
    COLLISION,
    INK,
    LATEST,
    PAPER,
    SEATS,
    Board,
    Panel,
    cell_name,
    grid_text,
    panels,
    rectangle,
    spots,
    square_board,
    words,
)

LEVELS = {"easy": (52, 2), "medium": (104, 2), "hard": (52, 13)}  # cards, faces that tell them apart
COLUMNS = 13
COLOURS = "br"
SIGNS = {
    ".": "face down",
    "b": "black",
    "r": "red",
    "A": "ace",
    "T": "ten",
    "J": "jack",
    "Q": "queen",
    "K": "king",
}  # aloud
RANKS = "A23456789TJQK"
NONE = -1


def concentration_record(cards: int) -> np.dtype[Any]:
    """The state: cards on a table.

     0  1  2 ... 12
    13 14 15 ... 25     52 cards, 13 in a row
    26 27 28 ... 38
    39 40 41 ... 51
    """
    return record(
        1,
        ("face", np.int8, (cards,)),  # of each card: its colour or rank
        ("found", np.uint8, (cards,)),  # 1: the card lies face up for good
        ("turned", np.int16, (2,)),  # the latest turn's cards, NONE where there is none
        ("is_open", np.bool_),  # that turn waits for its second card
        ("pairs", np.int16),  # found so far
        ("turns", np.int16),  # cards turned so far
        ("faces", np.int16),
        ("limit", np.int16),  # cards that may be turned
    )


@verb
def deal(s: State) -> None:
    """As many cards of every face, shuffled (Fisher and Yates)."""
    cards = s.face.shape[0]
    for k in range(cards):
        other = draw_below(s, k + 1)
        s.face[k] = s.face[other]
        s.face[other] = k % s.faces
    s.turned[0] = NONE
    s.turned[1] = NONE


@verb
def legal(s: State, mask: Array) -> None:
    """Every card, at any time."""
    for k in range(s.face.shape[0]):
        mask[k] = True


@verb
def play(s: State, action: int) -> None:
    """Turn a card; cards that were no pair are turned down first."""
    if not s.is_open:
        s.turned[0] = NONE
        s.turned[1] = NONE
    second = 1 if s.is_open else 0
    s.turned[second] = action
    s.turns += 1
    if s.found[action]:
        s.is_open = False
        s.reward[0] = -(second + 1.0) / s.limit
    elif second == 0:
        s.is_open = True
    else:
        s.is_open = False
        judge(s, s.turned[0], action)
    s.over = s.pairs * 2 == s.face.shape[0] or s.turns == s.limit


@verb
def judge(s: State, first: int, second: int) -> None:
    """The turn's two cards: a pair, or not."""
    if first != second and s.face[first] == s.face[second]:
        s.found[first] = 1
        s.found[second] = 1
        s.pairs += 1
        s.reward[0] = 2.0 / s.face.shape[0]
    else:
        s.reward[0] = -2.0 / s.limit


@verb
def observe(s: State, _seat: int, out: Array) -> None:
    """The faces of the cards that lie face up."""
    for k in range(s.face.shape[0]):
        out[k] = s.face[k] if s.found[k] else s.faces
    for t in range(2):
        if s.turned[t] != NONE:
            out[s.turned[t]] = s.face[s.turned[t]]


@dataclasses.dataclass(frozen=True)
class Concentration(Game):
    """Concentration for one seat; see the module's docstring."""

    level: Literal["easy", "medium", "hard"] = "easy"
    """How many cards there are, and whether colours or ranks make a pair."""

    name = "concentration"
    seats = 1
    spoken = SIGNS

    deal = staticmethod(deal)
    legal = staticmethod(legal)
    play = staticmethod(play)
    observe = staticmethod(observe)

    @property
    def faces(self) -> int:
        """How many faces tell the cards apart: two colours or thirteen ranks."""
        return LEVELS[self.level][1]

    @property
    def actions(self) -> int:
        return LEVELS[self.level][0]

    @property
    def max_length(self) -> int:
        return 2 * self.actions

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete:
        return codes(*[self.faces + 1] * self.actions)

    @property
    def state(self) -> np.dtype[Any]:
        return concentration_record(self.actions)

    def blank(self) -> State:
        s = super().blank()
        s.faces, s.limit = self.faces, self.max_length
        return s

    @property
    def signs(self) -> str:
        """A letter for each face."""
        return COLOURS if self.faces == len(COLOURS) else RANKS

    def deal_text(self, state: State) -> str:
        """The faces of all cards in order: "brrb..." or "A7T2..."."""
        return "".join(self.signs[face] for face in state.face.tolist())

    def dealt(self, text: str) -> State:
        signs, each = self.signs, self.actions // self.faces
        if len(text) != self.actions or any(text.count(sign) != each for sign in signs):
            raise ValueError(
                f"{self.name}: expected {self.actions} letters, {each} of each of {signs}, got {text!r:.80}"
            )
        s = self.blank()
        s.face[:] = [signs.index(sign) for sign in text]
        s.turned[:] = NONE
        return s

    def action_name(self, action: int) -> str:
        return cell_name(action, COLUMNS)

    @property
    def board(self) -> Board:
        """Where the cards lie."""
        return square_board(self.actions // COLUMNS, COLUMNS, 44.0)

    def spots(self, seat: int) -> Mapping[int, Spot]:  # noqa: ARG002
        return spots(self.board, ((cell, cell, None) for cell in range(self.actions)))

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        """Cards face up by their sign; face down a point, after their sign for the referee."""
        signs = []
        for card in range(self.actions):
            sign = (COLOURS if self.faces == 2 else RANKS)[state.face[card]]
            hidden = f"{sign}." if viewer == REFEREE else "."
            signs.append(sign if self._is_up(state, card) else hidden)
        return f"{grid_text(signs, COLUMNS)}\n{self._situation(state)}"

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        drawn = []
        for card, (x, y) in enumerate(self.board.centres):
            is_up = self._is_up(state, card)
            face = LATEST if card in state.turned else "#ffffff" if is_up else "#8d9bb8"
            drawn.append(rectangle(x - 18, y - 20, 36, 40, rx=5, fill=face, stroke=INK))
            if is_up or viewer == REFEREE:
                drawn.append(self._drawn_face(state, card, x, y, faint=not is_up))
        heading = "the cards" if viewer == REFEREE else "face up"
        panel = Panel(heading, SEATS[0], self.board, "".join(drawn))
        options = f"{self.level}: pairs of equal {'colour' if self.faces == 2 else 'rank'}"
        return panels("Concentration", options, self._situation(state), 0, [panel])

    def _drawn_face(self, state: State, card: int, x: float, y: float, faint: bool) -> str:
        """Its suit's sign where colours count, else its rank."""
        if self.faces == 2:
            sign, colour = (("♠", INK), ("♥", COLLISION))[state.face[card]]
        else:
            sign, colour = RANKS[state.face[card]].replace("T", "10"), INK
        return words(x, y + 8, sign, 20, PAPER if faint and colour == INK else colour, bold=True)

    def _is_up(self, state: State, card: int) -> bool:
        return bool(state.found[card] or card in state.turned)

    def _situation(self, state: State) -> str:
        said = f"{state.pairs} of {self.actions // 2} pairs, cards turned: {state.turns} of {self.max_length}"
        if not state.over:
            return said
        return f"{said}, {'all found' if 2 * state.pairs == self.actions else 'no turns left'}"
