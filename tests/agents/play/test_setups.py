"""Starting arrangements: how a file is read, and what counting predicts of them."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
import torch

from agents.learn.recorded import split
from agents.learn.streams import arrangements, pieces_of
from agents.play.setups import PIECES, counted, left, mirrored, read_letters, read_setups, text

FULL = Path(__file__).parents[3] / ".." / "shared" / "oracles" / "setups-full.txt.gz"
LINE = "BBBBBBHJLKEFFHFFDIEJDDDCEDHHIIDDDMEEGGGG"


@pytest.fixture
def written(tmp_path):
    def write(content, name="setups.txt"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["setups.txt", "setups.txt.gz"])
def test_a_line_is_a_group_and_forty_letters(written, name):
    setups = read_setups(written(f"0 {LINE}\n\n17 {LINE[::-1]}\n", name))
    assert setups.group.tolist() == [0, 17]
    assert "".join(PIECES[k] for k in setups.pieces[0].tolist()) == LINE
    assert text(setups.pieces[0]) == "BBBBBBHJLK\nEFFHFFDIEJ\nDDDCEDHHII\nDDDMEEGGGG"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"0 {LINE}\n1 {LINE[:39]}", "line 2: expected 40 letters of A to M"),
        (f"0 {LINE[:39]}N", "line 1: expected 40 letters of A to M"),
        (LINE, "line 1: expected a group's number and an arrangement"),
        (f"one {LINE}", "line 1: expected a group's number and an arrangement"),
        ("\n", "holds no arrangement"),
        ("0 \u00e9", "is no text of arrangements"),
    ],
)
def test_a_line_that_is_none_is_named(written, content, told):
    with pytest.raises(ValueError, match=told):
        read_setups(written(content))


def test_a_truncated_file_is_refused(written, tmp_path):
    whole = written(f"0 {LINE}\n" * 50, "setups.txt.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="is no text of arrangements"):
        read_setups(tmp_path / "cut.gz")


def test_left_and_right_are_exchanged_row_by_row():
    pieces = torch.arange(40)[None]
    assert mirrored(pieces)[0, :10].tolist() == list(range(9, -1, -1))
    assert torch.equal(mirrored(mirrored(pieces)), pieces)


def test_what_is_left_is_what_will_still_come():
    """Of six bombs on the first six squares: 6, 5, 4, 3, 2, 1, then none."""
    pieces = read_letters(LINE)[None]
    bombs = left(pieces)[0, :, PIECES.index("B")]
    assert bombs.tolist() == [6, 5, 4, 3, 2, 1, *[0] * 34]
    assert bool((left(pieces).gather(2, pieces[..., None]) > 0).all())
    assert left(pieces)[0].sum(1).tolist() == list(range(40, 0, -1))


def test_counting_where_one_can_do_it_by_hand():
    """Two pieces, A 39 times and B once, always on square 3. Every order alike: 40 orders, 40^(1/40)."""
    one = torch.zeros(1, 40, dtype=torch.int64)
    one[0, 3] = 1
    told = counted(one.repeat(1000, 1), one)
    assert told["uniform"] == pytest.approx(40 ** (1 / 40), rel=1e-12)
    assert told["square and piece before"] < 1.002
    assert told["square and pieces left"] < 1.002


@pytest.mark.skipif(not FULL.is_file(), reason=f"{FULL.name} is not there (it is never committed)")
def test_the_full_setups_are_predicted_by_counting_as_they_are_known_to_be():
    """6.74 for every order alike and 7.79 for square and piece before are what others counted, too."""
    setups = read_setups(FULL)
    assert len(setups.pieces) == 37_510
    training, validation = (pieces_of(part) for part in split(arrangements(setups), 0.2, 0))
    told = counted(training, validation)
    orders = math.lgamma(41) - sum(
        math.lgamma(n + 1) for n in torch.bincount(setups.pieces[0], minlength=13).tolist()
    )
    assert told["uniform"] == pytest.approx(math.exp(orders / 40), rel=1e-9)
    assert {name: round(x, 1) for name, x in told.items()} == {
        "uniform": 6.7,
        "square and piece before": 7.8,
        "square and pieces left": 5.6,
    }
