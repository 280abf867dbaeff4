"""Records: matches written down, one a line, and read back by playing them again.

records.record(players, 1_000, records.Writer("records/hex", game))
matches = records.load("records/hex", split="train")
for piece in records.lay(matches, columns=128, steps=32):    # [T, B], as a rollout
    policy(piece.observation, piece.seat, piece.previous, piece.start, cores)
"""

from __future__ import annotations

from agents.play.records.folder import Writer, load, load_line, split_at
from agents.play.records.laid import Laid, lay
from agents.play.records.lines import head_of, written
from agents.play.records.matches import ENDS, OVER, Matches, RecordError, Split, check, played
from agents.play.records.recorder import again, of_match, record, watch

__all__ = [
    "ENDS",
    "OVER",
    "Laid",
    "Matches",
    "RecordError",
    "Split",
    "Writer",
    "again",
    "check",
    "head_of",
    "lay",
    "load",
    "load_line",
    "of_match",
    "played",
    "record",
    "split_at",
    "watch",
    "written",
]
