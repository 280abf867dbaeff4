"""Arrangements made for tests: few, quickly learned, and nobody's."""

from __future__ import annotations

import random

STOCK = "BBBBBBCDDDDDDDDEEEEEFFFFGGGGHHHHIIIJJKLM"


def made_lines(count, seed=0):
    """So many lines of a file, two to a group: bombs and flag behind, the rest in a random order in front."""
    draw, lines = random.Random(seed), []
    for k in range(count):
        front, back = [c for c in STOCK if c not in "BM"], list("BBBBBBM")
        draw.shuffle(front)
        draw.shuffle(back)
        lines.append(f"{k // 2} {''.join(front + back)}\n")
    return lines
