"""The textbook's network is torch's own: embedding, LSTM and linear layer, in float64, with all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.net.cells import CELLS
from agents.net.tokens import TokenModel

V, E, H, T, B = 7, 5, 6, 9, 4


def model_of(cell, **arguments):
    torch.manual_seed(0)
    arguments = {"embedding_dim": E, "lstm_hidden_size": H} | arguments
    return TokenModel(V, cell=cell, **arguments).double()


def torch_order(blocks):
    """i, f, o, g -> i, f, g, o along the first dimension."""
    i, f, o, g = blocks.chunk(4)
    return torch.cat([i, f, g, o])


@pytest.mark.parametrize("cell", ["gated", "lstm"])
def test_it_is_torch_s_embedding_lstm_and_linear_layer(cell):
    """Two layers; of `gated` torch's four recurrent blocks are one U, whose gradient is their sum."""
    mine = model_of(cell)
    oracle = nn.LSTM(E, H, 2).double()
    with torch.no_grad():
        for layer, one in enumerate(mine.core.cells):
            nn.init.normal_(one.b)
            U = one.U.repeat(4, 1) if cell == "gated" else torch_order(one.U)
            getattr(oracle, f"weight_ih_l{layer}").copy_(torch_order(one.W))
            getattr(oracle, f"weight_hh_l{layer}").copy_(U)
            getattr(oracle, f"bias_ih_l{layer}").copy_(torch_order(one.b))
            getattr(oracle, f"bias_hh_l{layer}").zero_()
    embedding = nn.Embedding.from_pretrained(mine.embedding.weight.detach().clone(), freeze=False)
    head = nn.Linear(H, V).double()
    head.load_state_dict(mine.head.state_dict())

    torch.manual_seed(1)
    previous, target = torch.randint(V + 1, (T, B)), torch.randint(V, (T, B))
    start = torch.zeros(T, B, dtype=torch.bool)
    start[0] = True
    logits, _ = mine(previous, start, mine.initial_cores(B))
    expected = head(oracle(embedding(previous))[0])
    torch.testing.assert_close(logits, expected, rtol=0.0, atol=1e-14)

    for said in (logits, expected):
        nn.functional.cross_entropy(said.flatten(0, 1), target.flatten()).backward()

    def close(a, b):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-15)

    close(mine.embedding.weight.grad, embedding.weight.grad)
    close(mine.head.weight.grad, head.weight.grad)
    close(mine.head.bias.grad, head.bias.grad)
    for layer, one in enumerate(mine.core.cells):
        close(torch_order(one.W.grad), getattr(oracle, f"weight_ih_l{layer}").grad)
        close(torch_order(one.b.grad), getattr(oracle, f"bias_ih_l{layer}").grad)
        by_block = getattr(oracle, f"weight_hh_l{layer}").grad
        U = one.U.grad if cell == "gated" else torch_order(one.U.grad)
        close(U, sum(by_block.chunk(4)) if cell == "gated" else by_block)


@pytest.mark.parametrize("cell", CELLS)
def test_a_start_forgets_what_came_before(cell):
    """Two sequences one after another give what each gives alone."""
    model = model_of(cell)
    torch.manual_seed(1)
    previous = torch.randint(V, (5, 1))
    previous[0] = previous[2] = V
    start = torch.tensor([True, False, True, False, False])[:, None]
    both, _ = model(previous, start, model.initial_cores(1))
    first, _ = model(previous[:2], start[:2], model.initial_cores(1))
    second, _ = model(previous[2:], start[2:], model.initial_cores(1))
    torch.testing.assert_close(both, torch.cat([first, second]), rtol=0.0, atol=1e-15)


def test_steps_are_the_sequence():
    model = model_of("gru").eval()
    previous = torch.tensor([[V], [1], [2]])
    start = torch.tensor([[True], [False], [False]])
    whole, _ = model(previous, start, model.initial_cores(1))
    cores, told = model.initial_cores(1), []
    for t in range(3):
        one, cores = model.look(previous[t], start[t], cores)
        told.append(one)
    torch.testing.assert_close(torch.stack(told), whole.log_softmax(-1), rtol=0.0, atol=1e-15)


def test_dropout_leaves_out_while_it_trains_only():
    model = model_of("gated", dropout=0.5)
    previous, start = torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.bool)

    def said():
        return model(previous, start, model.initial_cores(2))[0]

    assert not torch.equal(said(), said())
    model.eval()
    assert torch.equal(said(), said())
    assert model.core.dropout.p == 0.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"dropout": 1.0}, "dropout must be a finite number of at least 0, below 1, got 1.0"),
        ({"embedding_dim": 0}, "embedding_dim must be a whole number in 1..2147483647, got 0"),
        ({"lstm_kwargs": {"forget": 1.0}}, "lstm_kwargs of cell 'gated' may hold"),
    ],
)
def test_what_no_network_can_have_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        model_of("gated", **arguments)
