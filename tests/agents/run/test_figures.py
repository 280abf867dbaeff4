"""Figures: the same numbers give the same bytes, and a file's ending says what it holds."""

import matplotlib.pyplot
from matplotlib.figure import Figure

from agents.run import figures


def drawn(out):
    figure = Figure(figsize=(2, 1))
    axes = figure.subplots()
    axes.plot([0, 200_000], [0.0, 1.0])
    figures.count_decisions(axes)
    figures.plain(axes)
    figures.save(figure, out)
    return axes, out.read_bytes()


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    assert drawn(tmp_path / "a.svg")[1] == drawn(tmp_path / "b.svg")[1]


def test_the_ending_says_what_it_holds(tmp_path):
    assert drawn(tmp_path / "a.svg")[1].startswith(b"<?xml")
    assert drawn(tmp_path / "a.png")[1].startswith(b"\x89PNG")


def test_decisions_are_counted_in_thousands(tmp_path):
    axes, _ = drawn(tmp_path / "a.svg")
    assert axes.get_xlabel() == "decisions"
    assert axes.xaxis.get_major_formatter()(200_000) == "200 k"
    assert not axes.spines["top"].get_visible()
    assert matplotlib.pyplot.get_fignums() == []  # no window, nothing kept
