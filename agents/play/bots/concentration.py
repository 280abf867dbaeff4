"""The bot of concentration."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled

UNSEEN, GONE, NAMED, OPEN = 0, -1, -2, 100


@compiled
def concentration_bot(
    observation: Any, _legal: Any, _seat: int, tie: float, _columns: int, notes: Any
) -> int:
    """Forgets no card: takes a pair it knows, else turns a card it has not seen, and then that one's
    match if it knows it, else another card it has not seen.

    Notes of a card: UNSEEN; 1 + its face; OPEN + 1 + its face while its turn waits for the second card;
    GONE when its match is found; NAMED by the latest action.
    """
    first = _note_what_was_turned(observation, notes)
    card = _match_of(notes, notes[first] - OPEN) if first >= 0 else _card_with_a_match(notes)
    if card < 0:
        card = _any_unseen(notes, tie)
    notes[card] = NAMED
    return card


@compiled
def _note_what_was_turned(observation: Any, notes: Any) -> int:
    """Returns the card whose turn waits for a second one, or -1."""
    first, latest = -1, -1
    for card in range(notes.shape[0]):
        if notes[card] == NAMED:
            latest = card
        elif notes[card] > OPEN:
            first = card
    if latest < 0:  # the match begins
        return -1
    face = 1 + np.int16(observation[latest])
    if first < 0:
        notes[latest] = OPEN + face
        return latest
    is_pair = notes[first] == OPEN + face
    notes[first] = GONE if is_pair else notes[first] - OPEN
    notes[latest] = GONE if is_pair else face
    return -1


@compiled
def _match_of(notes: Any, note: int, after: int = -1) -> int:
    """The next card with this note, or -1."""
    for card in range(after + 1, notes.shape[0]):
        if notes[card] == note:
            return card
    return -1


@compiled
def _card_with_a_match(notes: Any) -> int:
    """A card that is known as well as its match, or -1."""
    for card in range(notes.shape[0]):
        if notes[card] > UNSEEN and _match_of(notes, notes[card], card) >= 0:
            return card
    return -1


@compiled
def _any_unseen(notes: Any, tie: float) -> int:
    """One of the cards not seen yet. There is one: of the cards that are left and known, two match."""
    count = 0
    for card in range(notes.shape[0]):
        count += notes[card] == UNSEEN
    wanted = int(tie * count)
    card = _match_of(notes, UNSEEN)
    for _ in range(wanted):
        card = _match_of(notes, UNSEEN, card)
    return card
