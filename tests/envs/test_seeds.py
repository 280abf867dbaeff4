"""Derived seeds: no two purposes, numbers or neighbouring seeds meet."""

from __future__ import annotations

import pytest

from envs.seeds import derived_seed


def test_nothing_shares_a_seed():
    seeds = {
        derived_seed(seed, purpose, number)
        for seed in range(50)
        for purpose in ("training", "evaluation", "final")
        for number in range(50)
    }
    assert len(seeds) == 50 * 3 * 50


def test_a_derived_seed_is_always_the_same():
    assert derived_seed(0, "training") == derived_seed(0, "training", 0) == 5118025409139821123


@pytest.mark.parametrize("bits", [31, 32, 63])
def test_it_has_so_many_bits(bits):
    seeds = [derived_seed(seed, "x", bits=bits) for seed in range(200)]
    assert all(0 <= seed < 2**bits for seed in seeds)
    assert max(seeds) > 2 ** (bits - 1)
