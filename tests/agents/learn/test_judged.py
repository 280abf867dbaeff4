"""How well decisions are predicted: each judged once, and means whose intervals know of groups."""

from __future__ import annotations

import math

import pytest
import torch

from agents.learn.judged import cluster_interval, judge, score
from agents.learn.learners import Said
from agents.learn.recorded import Recorded


class Fixed(torch.nn.Module):
    """Says log-probabilities [1/2, 1/4, 1/8, 1/8], and how many steps of a sequence it has seen."""

    is_masked = False

    def __init__(self, is_masked=False):
        super().__init__()
        self.p = torch.nn.Parameter(torch.tensor([0.5, 0.25, 0.125, 0.125]).log())
        self.network, self.is_masked = torch.nn.ParameterList([self.p]), is_masked

    def initial_cores(self, lanes):
        return (torch.zeros(1, lanes, 1, 1),)

    def say(self, told, start, cores):  # noqa: ARG002
        (count,) = cores
        seen = []
        for t in range(len(start)):
            count = count.masked_fill(start[t, None, :, None, None], 0.0) + 1.0
            seen.append(count[0, :, 0, 0])
        return Said(self.p.expand(*start.shape, 4), torch.stack(seen), (count,))


def recorded(target, lengths, legal=None, groups=None, **told):
    N = len(target)
    return Recorded(
        told=told,
        target=torch.tensor(target),
        legal=torch.ones(N, 4, dtype=torch.bool) if legal is None else torch.tensor(legal),
        counts=torch.ones(N, dtype=torch.bool),
        length=torch.tensor(lengths),
        group=torch.tensor(groups or list(range(len(lengths)))),
    )


def test_numbers_by_hand():
    """Decided: 0, 1, 3. Losses log 2, log 4, log 8; 3 is behind two others and level with one."""
    data = recorded([0, 1, 3], [2, 1])
    judged = judge(Fixed(), data)
    assert judged.loss.tolist() == pytest.approx([math.log(2), math.log(4), math.log(8)], rel=1e-6)
    assert judged.rank.tolist() == [0, 1, 2]
    told = score(data, judged)
    assert told.perplexity == pytest.approx(4.0, rel=1e-6)  # (2 * 4 * 8) ** (1 / 3)
    assert (told.top1, told.top3, told.illegal) == (pytest.approx(1 / 3), 1.0, 0.0)
    assert told.value_loss is None


def test_what_was_illegal_counts_for_those_alone_who_were_told():
    """0 is illegal: half the probability; among the others 1 has 1/2 of what is left."""
    data = recorded([1], [1], [[False, True, True, True]])
    for is_masked, loss in ((False, math.log(4)), (True, math.log(2))):
        judged = judge(Fixed(is_masked), data)
        assert judged.loss.tolist() == pytest.approx([loss], rel=1e-6)
        assert judged.legal_loss.tolist() == pytest.approx([math.log(2)], rel=1e-6)
        assert judged.illegal.tolist() == pytest.approx([0.5], rel=1e-6)
        assert judged.rank.tolist() == [0 if is_masked else 1]


@pytest.mark.parametrize(("lanes", "n_steps"), [(1, 1), (2, 3), (256, 128)])
def test_every_decision_is_judged_in_its_place_with_its_memory(lanes, n_steps):
    """The value counts the steps of the sequence: 1 2, 1 2 3, 1, 1 2, however they are laid out."""
    data = recorded([0] * 8, [2, 3, 1, 2])
    assert judge(Fixed(), data, lanes, n_steps).value.tolist() == [1, 2, 1, 2, 3, 1, 1, 2]


def test_the_value_is_judged_against_what_was_earned():
    data = recorded([0, 0], [2], **{"return": torch.tensor([1.0, 4.0])})
    assert score(data, judge(Fixed(), data)).value_loss == 2.0  # (0^2 + 2^2) / 2


def test_only_decisions_that_count_are_scored():
    data = recorded([0, 3], [2])
    data.counts[1] = False
    assert score(data, judge(Fixed(), data)).perplexity == pytest.approx(2.0, rel=1e-6)
    data.counts[0] = False
    with pytest.raises(ValueError, match="none of the 2 decisions is one to judge"):
        score(data, judge(Fixed(), data))


def test_the_loss_by_ply():
    """40 plies in ranges of 3; the last range holds ply 39 alone."""
    data = recorded([0] * 39 + [3], [40])
    told = score(data, judge(Fixed(), data)).by_ply
    assert [(first, last) for first, last, _ in told] == [(k, k + 2) for k in range(0, 40, 3)]
    assert told[-1][2] == pytest.approx(math.log(8), rel=1e-6)


# ---------------------------------------------------------------- intervals


def test_without_groups_it_is_the_normal_interval():
    x = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    half = 1.959964 * float(x.std()) / 2.0
    assert cluster_interval(x, torch.arange(4)) == pytest.approx((2.0 - half, 2.0 + half), rel=1e-12)


def test_what_stands_twice_in_a_group_tells_nothing_new():
    x = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    alone = cluster_interval(x, torch.arange(4))
    assert cluster_interval(x.repeat(9), torch.arange(4).repeat(9)) == pytest.approx(alone, rel=1e-12)


def test_of_one_group_nothing_is_known():
    assert cluster_interval(torch.ones(5), torch.zeros(5)) == (-math.inf, math.inf)


def test_it_holds_as_often_as_it_says():
    """Groups of 1 to 5 with a shift of their own: of 2,000 draws 95 +- 2 % hold the true mean."""
    torch.manual_seed(0)
    inside = 0
    for _ in range(2000):
        group = torch.repeat_interleave(torch.arange(60), torch.randint(1, 6, (60,)))
        x = torch.randn(60, dtype=torch.float64)[group] + torch.randn(len(group), dtype=torch.float64)
        low, high = cluster_interval(x, group)
        inside += low < 0.0 < high
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)
