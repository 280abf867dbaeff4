"""The floor, counted by hand for a tiny network, and what a training takes on paper."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

import agents
import envs
from agents.net.cells import CELLS
from agents.net.policy import RecurrentPolicy
from benchmarks import floor, memory
from benchmarks.floor import Part, Product

ROOT = Path(__file__).parents[2]
SIZES = {"lstm_hidden_size": 5, "features_dim": 3, "shared_lstm": True, "enable_critic_lstm": False}


def tiny(cell="gated", **more):
    """2 slots of 2 codes, 4 actions, 2 seats: context of 2 + 5 codes; heads 5 -> 6 -> 4 and 5 -> 6 -> 1."""
    return RecurrentPolicy(spaces.MultiDiscrete([2, 2]), 4, 2, cell=cell, net_arch=[6], **SIZES | more)


def test_the_products_forward():
    """7 steps of 10 matches: 70 rows; the gates are 4 x 5 numbers, and one U of 5 x 5 serves them."""
    assert floor.forward(tiny(), 7, 10) == [
        Product(70, 4, 3),
        Product(70, 7, 3),
        Product(70, 3, 20),
        Product(10, 5, 5, times=7),
        *(Product(70, 5, 6), Product(70, 6, 4)),
        *(Product(70, 5, 6), Product(70, 6, 1)),
    ]
    assert floor.forward(tiny("lstm"), 7, 10)[3] == Product(10, 5, 20, times=7)


def test_the_products_back():
    """Every weight's gradient, and what the layer before is told; nobody asks what the encoders read."""
    assert floor.backward(tiny(), 7, 10) == [
        Product(4, 70, 3),
        Product(7, 70, 3),
        *(Product(10, 5, 5, times=7), Product(20, 70, 3), Product(5, 70, 5), Product(70, 20, 3)),
        *(Product(6, 70, 5), Product(70, 6, 5), Product(4, 70, 6), Product(70, 4, 6)),
        *(Product(6, 70, 5), Product(70, 6, 5), Product(1, 70, 6), Product(70, 1, 6)),
    ]


def test_the_products_of_a_training():
    """A decision forward: 2 (4*3 + 7*3 + 3*20 + 5*5 + 5*6 + 6*4 + 5*6 + 6*1) = 416; back twice that less the
    encoders' inputs, 2 * 416 - 2 (4*3 + 7*3) = 766. T 7 and one more step in 10 matches; 3 epochs of 2
    minibatches of 5 matches, 7 + 4 steps each."""
    parts = floor.training(tiny(), 7, 10, n_epochs=3, minibatches=2, carried=4)
    assert [part.repeats for part in parts] == [8, 6]
    assert floor.flops(parts[:1]) == 8 * 10 * 416
    assert floor.flops(parts[1:]) == 6 * 11 * 5 * (416 + 766)


def test_a_cell_alone():
    """The gradient of the inputs is a product only where somebody asks for it."""
    gru = CELLS["gru"](3, 5)
    products = floor.cell_forward(gru, 7, 10) + floor.cell_backward(gru, 7, 10, False)
    assert floor.flops([Part(products)]) == 2 * 70 * (2 * 3 * 15 + 3 * 5 * 15)
    assert len(floor.cell_backward(gru, 7, 10)) == len(floor.cell_backward(gru, 7, 10, False)) + 1


def test_the_products_are_carried_out(monkeypatch):
    """So many multiplications of these shapes, and no others."""
    done = []
    mm = torch.mm
    monkeypatch.setattr(
        torch, "mm", lambda a, b, out: done.append((*a.shape, b.shape[1])) or mm(a, b, out=out)
    )
    floor.work([Part([Product(2, 3, 4, times=2), Product(5, 6, 7)], repeats=2)])()
    assert done == [(2, 3, 4), (2, 3, 4), (5, 6, 7)] * 2


@pytest.mark.parametrize(
    "more",
    [{"n_lstm_layers": 2}, {"skip_connection": True}, {"shared_lstm": False}, {"enable_critic_lstm": True}],
)
def test_what_nobody_has_counted_is_refused(more):
    more = more | ({"shared_lstm": False} if "enable_critic_lstm" in more else {})
    with pytest.raises(ValueError, match=r"^the floor is counted for linear and slot encoders"):
        floor.forward(tiny(**more), 1, 1)


def test_the_memory_of_a_training_on_paper():
    """4 x 4 = 16 decisions, 8 of them in a minibatch. Of a row: 27 + 12 one-hot codes, 3 features, h, c
    and five saved of 5 units, layers of 6 + 9 + 6 + 1, 9 log-probabilities; 4 bytes each."""
    batch = envs.Batch(envs.make("phantom_tictactoe"), 4, seed=0)
    kwargs = SIZES | {"net_arch": [6]}
    model = agents.MaskableRecurrentPPO(
        "MlpLstmPolicy", batch, n_steps=4, batch_size=8, n_epochs=1, policy_kwargs=kwargs, seed=0
    )
    told = memory.on_paper(model.learn(16).policy, model.rollout, 2)
    assert told["minibatch"] == 8 * 4 * (27 + 12 + 3 + 7 * 5 + 22 + 9)
    assert told["weights"] == 4 * 4 * sum(p.numel() for p in model.policy.parameters())
    # A decision: 9 codes seen and 9 legal; seat, previous, action and length of 8 bytes; 4 truths; log-prob,
    # value and bootstrap of 4, 9 log-probabilities, reward and earned of 2 seats. A match: next seat, value
    # and observation; h and c of both seats and what each played last.
    decision = 9 + 9 + 4 * 8 + 4 + 3 * 4 + 9 * 4 + 2 * 2 * 4
    assert told["rollout"] == 16 * decision + 4 * (8 + 4 + 9) + 4 * (2 * 2 * 5 * 4 + 2 * 8)


def test_memory_is_of_this_process_alone():
    """A peak that began with that of the process which started it would hide what it takes."""
    code = (
        "import sys; sys.path.insert(0, 'scripts'); from benchmarks import memory; print(memory._resident())"
    )
    held = np.ones(2**28, np.uint8)  # 268 MB
    now, peak = memory._resident()
    assert held.nbytes < now <= peak
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    their_now, their_peak = (float(number) for number in done.stdout.decode().strip("()\n").split(","))
    assert 0 < their_now <= their_peak < now - held.nbytes / 2
