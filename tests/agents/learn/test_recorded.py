"""Recorded decisions: how sequences are laid out, with numbers one can follow."""

from __future__ import annotations

import torch

from agents.learn.recorded import (
    Recorded,
    lay,
    of_lanes,
    piece_at,
    pieces,
    told_of,
    with_lanes,
)


def recorded(lengths, groups=None):
    """Sequences of such lengths; what is decided is the decision's own number."""
    N = sum(lengths)
    return Recorded(
        told={"number": torch.arange(N) * 10},
        target=torch.arange(N),
        legal=torch.ones(N, N, dtype=torch.bool),
        counts=torch.arange(N) % 2 == 0,
        length=torch.tensor(lengths),
        group=torch.tensor(groups or list(range(len(lengths)))),
    )


def test_decisions_know_their_sequence_and_place():
    data = recorded([2, 3, 1])
    assert data.first.tolist() == [0, 2, 5]
    assert data.sequence.tolist() == [0, 0, 1, 1, 1, 2]
    assert data.ply.tolist() == [0, 1, 0, 1, 2, 0]


def test_selected_sequences_keep_all_of_theirs_in_the_order_asked_for():
    data = recorded([2, 3, 1], [7, 8, 9]).select(torch.tensor([2, 0]))
    assert data.target.tolist() == [5, 0, 1]
    assert data.told["number"].tolist() == [50, 0, 10]
    assert (data.length.tolist(), data.group.tolist()) == ([1, 2], [9, 7])
    assert data.counts.tolist() == [False, True, False]


def test_each_sequence_goes_to_the_shortest_lane():
    """Lengths 2, 3, 1, 2 in two lanes: 2 | 3, then 1 behind the 2, then 2 behind lane 0's 3 (a tie)."""
    data = recorded([2, 3, 1, 2])
    layout = lay(data.length, torch.arange(4), 2)
    assert layout.decision.tolist() == [[0, 2], [1, 3], [5, 4], [6, -1], [7, -1]]
    assert layout.start.tolist() == [[1, 1], [0, 0], [1, 0], [1, 0], [0, 0]]


def test_there_are_no_more_lanes_than_sequences():
    assert lay(torch.tensor([1, 1]), torch.arange(2), 128).decision.tolist() == [[0, 1]]


def test_a_lane_that_has_ended_is_left_out_of_the_next_piece():
    layout = lay(torch.tensor([2, 3, 1, 2]), torch.arange(4), 2)
    first, second, third = pieces(layout, 2)
    assert first.lanes.tolist() == [*second.lanes.tolist()[:1], 1]
    assert second.decision.tolist() == [[5, 4], [6, 0]]
    assert second.is_there.tolist() == [[True, True], [True, False]]
    assert (third.lanes.tolist(), third.decision.tolist()) == ([0], [[7]])
    assert piece_at(layout, 4, 2).start.tolist() == [[False]]


def test_every_decision_stands_in_one_place():
    torch.manual_seed(0)
    length = torch.randint(1, 20, (100,))
    order = torch.randperm(100)
    layout = lay(length, order, 8)
    found = torch.cat([piece.decision[piece.is_there] for piece in pieces(layout, 16)])
    assert sorted(found.tolist()) == list(range(int(length.sum())))
    assert int(layout.start.sum()) == 100
    ends = (layout.decision >= 0).sum(0)
    assert int(ends.max() - ends.min()) < 20  # no lane is longer than another by a sequence


def test_what_is_told_and_remembered_is_that_of_the_lanes():
    data = recorded([2, 3, 1, 2])
    *_, last = pieces(lay(data.length, torch.arange(4), 2), 2)
    assert told_of(data, last, torch.device("cpu"))["number"].tolist() == [[70]]
    cores = (torch.tensor([[[1.0], [2.0]]]),)
    assert of_lanes(cores, last)[0].tolist() == [[[1.0]]]
    after = (torch.tensor([[[5.0]]], requires_grad=True),)
    kept = with_lanes(cores, last, after)[0]
    assert (kept.tolist(), kept.requires_grad) == ([[[5.0], [2.0]]], False)
