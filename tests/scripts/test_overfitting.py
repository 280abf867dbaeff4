"""The figure of over-fitting: every cure is run, and its gap told; the same numbers give the same bytes."""

from __future__ import annotations

import dataclasses

import pytest
from made_setups import made_lines

import overfitting
from agents.net.settings import TokenNetwork


def test_each_cure_is_learned_judged_and_drawn(tmp_path):
    data = tmp_path / "made.txt"
    data.write_text("".join(made_lines(60)), encoding="utf-8")
    small = dataclasses.replace(
        overfitting.PLAIN,
        device="cpu",
        examples=20,
        tokens=TokenNetwork(embedding_dim=4, lstm_hidden_size=4),
    )
    a = overfitting.Arguments(data, decisions=1600, run_dir=tmp_path / "runs", out=tmp_path / "a.svg")
    curve = overfitting.learned(small, a)
    assert [step for step, _, _ in curve][-1] == 1600
    assert overfitting.gap(curve) == curve[-1][2] - curve[-1][1]
    overfitting.draw({"no cure": curve, "other": curve}, a.out)
    first = a.out.read_bytes()
    overfitting.draw({"no cure": curve, "other": curve}, a.out)
    assert a.out.read_bytes() == first


@pytest.mark.parametrize("name", overfitting.CURES)
def test_a_cure_changes_one_thing(name):
    """All else is as without one, so that the gap is its work."""
    plain, cured = vars(overfitting.PLAIN), vars(overfitting.CURES[name])
    assert len([key for key in plain if plain[key] != cured[key]]) == (name != "no cure")
