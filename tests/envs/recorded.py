"""Matches of Generals recorded from generals-bots 2.5.0, and how their file was made.

    python recorded.py RECORDING.npz generals-2.5.0.npz

RECORDING holds `<match>/<field>`: `map` (letters [H, W]), `actions` int8 [T, 2, 5] (pass, row, col,
direction, split), and before the first tick and after each one `armies` [T + 1, H, W], `owner` (-1 nobody),
`planes` [T + 1, 2, 9, H, W] (what each seat sees) and `totals` [T + 1, 5] (land and army of seat 0, of seat
1, time); `winner`, -1 where the recording stopped. The file beside this one holds the same in half of the
bytes: all matches in one array per field, numbers as differences from tick to tick.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("generals-2.5.0.npz")
FIELDS = ("armies", "owner", "planes", "totals")


def recorded_matches():
    """Each match as a dict of the fields above, `map` as its rows with "/" between them."""
    with np.load(FILE, allow_pickle=False) as file:
        data = dict(file)
    at = dict.fromkeys(FIELDS, 0)
    first = 0
    for layout, ticks, winner in zip(data["map"], data["ticks"].tolist(), data["winner"], strict=True):
        rows = str(layout).split("/")
        size = (len(rows), len(rows[0]))
        match = {"map": str(layout), "winner": int(winner), "actions": data["actions"][first : first + ticks]}
        first += ticks
        shapes = {"armies": size, "owner": size, "planes": (2, 9, *size), "totals": (5,)}
        for field, shape in shapes.items():
            count = (ticks + 1) * int(np.prod(shape))
            steps = data[field][at[field] : at[field] + count].reshape(ticks + 1, *shape)
            match[field] = steps.cumsum(0, dtype=np.int32)
            at[field] += count
        yield match


def encode(source, target):
    with np.load(source, allow_pickle=False) as recording:
        matches = [
            {field: recording[f"{m}/{field}"] for field in ("map", "actions", "winner", *FIELDS)}
            for m in range(len({key.split("/")[0] for key in recording}))
        ]
    packed = {
        "map": np.array(["/".join("".join(row) for row in match["map"]) for match in matches]),
        "ticks": np.array([len(match["actions"]) for match in matches], np.int16),
        "winner": np.array([match["winner"] for match in matches], np.int8),
        "actions": np.concatenate([match["actions"] for match in matches]),
    }
    for field in FIELDS:
        steps = [np.diff(match[field].astype(np.int16), axis=0, prepend=np.int16(0)) for match in matches]
        packed[field] = np.concatenate([step.ravel() for step in steps])
    np.savez_compressed(target, **packed)


if __name__ == "__main__":
    encode(*sys.argv[1:])
