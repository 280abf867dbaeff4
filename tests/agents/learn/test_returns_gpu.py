"""Advantages in Triton give what the readable function gives."""

from __future__ import annotations

import pytest
import torch

from agents.learn import returns


@pytest.mark.parametrize(
    ("T", "B", "P", "carried"), [(9, 130, 2, 0), (9, 130, 2, 4), (5, 3, 1, 0), (12, 7, 3, 3), (6, 5, 4, 1)]
)
def test_a_gpu_gives_the_same_advantages(T, B, P, carried, triton_device):
    """Matches that fill no block, seats that fill no vector, decisions carried over."""
    from agents.learn import returns_gpu

    torch.manual_seed(0)
    given = (
        *(torch.randn(T, B, P), torch.randn(T, B), torch.randint(P, (T, B)), torch.rand(T, B) < 0.3),
        *(torch.randn(B), torch.randint(P, (B,))),
    )
    expected, counts = returns.seat_advantages(*given, 0.9, 0.8, carried)
    there = [x.to(triton_device) for x in given]
    told, told_counts = returns_gpu.seat_advantages(*there, 0.9, 0.8, carried)
    torch.testing.assert_close(told.cpu(), expected, rtol=0, atol=2e-6)
    assert torch.equal(told_counts.cpu(), counts)
    assert 0 < counts.sum() <= T * B


def test_on_a_gpu_it_is_the_one_that_runs(gpu, monkeypatch):
    from agents.learn import returns_gpu

    asked = []
    monkeypatch.setattr(returns_gpu, "seat_advantages", lambda *given: asked.append(given))
    zeros = torch.zeros(2, 3, device=gpu)
    numbers = zeros.long()
    returns.seat_advantages(zeros[..., None], zeros, numbers, zeros.bool(), zeros[0], numbers[0], 1.0, 1.0)
    assert len(asked) == 1
