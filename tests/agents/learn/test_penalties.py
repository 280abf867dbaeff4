"""Penalties: their gradients are those of what is added, by finite differences, and biases are free."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.learn.penalties import add_penalties, matrices, penalty, share_near_zero
from agents.net.tokens import TokenModel


def network():
    torch.manual_seed(0)
    return TokenModel(3, embedding_dim=2, lstm_hidden_size=2, n_lstm_layers=1).double()


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_the_gradient_is_that_of_the_penalty(l1, l2):
    """Central differences in every single weight; no weight is nearer to 0 than the step."""
    parameters = list(network().parameters())
    step = 1e-5
    for p in parameters:
        p.grad = torch.zeros_like(p)
    add_penalties(parameters, l1, l2)
    for p in parameters:
        flat = p.data.view(-1)
        for k in range(flat.numel()):
            was = float(flat[k])
            assert p.dim() == 1 or abs(was) > step
            told = []
            for changed in (was + step, was - step):
                flat[k] = changed
                told.append(float(penalty(parameters, l1, l2)))
            flat[k] = was
            assert (told[0] - told[1]) / (2 * step) == pytest.approx(float(p.grad.view(-1)[k]), abs=1e-9)


def test_matrices_are_weights_and_embeddings_and_no_biases():
    model = network()
    kept = {id(p) for p in matrices(model.parameters())}
    named = {name for name, p in model.named_parameters() if id(p) in kept}
    assert named == {"embedding.weight", "core.cells.0.W", "core.cells.0.U", "head.weight"}


def test_it_is_added_to_what_is_there():
    """W = [2, -1], loss w_0: gradients [1, 0]; l1 0.5 adds [0.5, -0.5], l2 0.25 adds [1, -0.5]."""
    w = nn.Parameter(torch.tensor([[2.0, -1.0]]))
    w[0, 0].backward()
    add_penalties([w], 0.5, 0.25)
    assert w.grad.tolist() == [[2.5, -1.0]]
    assert float(penalty([w], 0.5, 0.25)) == 0.5 * 3 + 0.25 * 5


def test_without_coefficients_nothing_is_touched():
    w = nn.Parameter(torch.tensor([[2.0, -1.0]]))
    w.grad = torch.full_like(w, -0.0)
    add_penalties([w], 0.0, 0.0)
    assert torch.equal(w.grad.signbit(), torch.ones(1, 2, dtype=torch.bool))


def test_the_share_near_zero_counts_matrices_alone():
    """Of 4 numbers of a matrix 0 and 0.0005 are within 0.001; the bias of zeros does not count."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0005], [0.002, -1.0]]))
        layer.bias.zero_()
    assert share_near_zero(layer.parameters()) == 0.5
