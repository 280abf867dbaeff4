"""The nearest names come first."""

from __future__ import annotations

from envs.names import known


def test_the_nearest_name_comes_first():
    games = ["kuhn_poker", "leduc_poker", "dark_hex", "generals"]
    assert known("darkhex", games) == "dark_hex, kuhn_poker, leduc_poker, generals"
    assert known("leduc", games) == "leduc_poker, kuhn_poker, dark_hex, generals"


def test_without_a_near_one_the_order_stays():
    assert known("zzz", ["b", "a"]) == "b, a"
    assert known("x", []) == "none"
