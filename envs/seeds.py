"""Seeds made of a seed: one for every purpose, so that nothing shares its deals by accident."""

from __future__ import annotations

import hashlib


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Raises:
        ValueError: it has more than 64 bits, the sign among them.
    """
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed must be a whole number in -2^63..2^63 - 1, got {seed}")


def derived_seed(seed: int, purpose: str, number: int = 0, bits: int = 63) -> int:
    """A seed that depends on `seed`, what it is for, and a running number.

    Neighbouring seeds, purposes and numbers have nothing in common, unlike `seed + number`: the deals of a
    run, of its evaluations and of the run with the next seed are all different ones.

    Args:
        seed: any integer.
        purpose: a word, such as "training" or "evaluation".
        number: of the batches, evaluations, ... with this purpose.
        bits: of the result, 63 at most; NumPy's global generator takes 32, Stable-Baselines3's `seed` 31.

    Returns:
        an integer in 0 .. 2 ** bits - 1.
    """
    told = f"{seed}/{purpose}/{number}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big") >> (64 - bits)
