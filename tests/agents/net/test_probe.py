"""What a memory does, against what one can work out: powers of a weight, of a gate, a copy that is always
right."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from gymnasium import spaces
from leaky import Leaky

from agents.net import probe
from agents.net.cells import CELLS
from agents.net.policy import RecurrentPolicy
from agents.net.replay import Told

CODES, ACTIONS = 5, 3


def made(cell="gated", hidden=4, layers=1, seats=1, options=None, **arguments):
    """A policy in float64 that sees one code, and whose weights make its memory matter."""
    torch.manual_seed(3)
    arguments = {"shared_lstm": True, "enable_critic_lstm": False} | arguments
    policy = RecurrentPolicy(
        spaces.MultiDiscrete([CODES]), ACTIONS, seats, cell=cell, lstm_hidden_size=hidden, features_dim=4,
        n_lstm_layers=layers, lstm_kwargs=options or {}, **arguments,
    ).double()  # fmt: skip
    with torch.no_grad():
        policy.action_head[-1].weight.mul_(100.0)
    return policy.eval()


def played(policy, T=9, R=6, start=None, seat=None):
    """T decisions in each of R matches."""
    generator = torch.Generator().manual_seed(4)
    start = torch.zeros(T, R, dtype=torch.bool) if start is None else start
    seat = torch.zeros(T, R, dtype=torch.int64) if seat is None else seat
    memory = policy.initial_memory(R)
    cores = tuple(torch.randn(part.shape, generator=generator).double() for part in memory.cores)
    observation = torch.randint(CODES, (T, R, 1), generator=generator, dtype=torch.uint8)
    previous = torch.randint(ACTIONS, (T, R), generator=generator)
    return Told(observation, seat, previous, start, cores, None)


def last(told):
    """Every row's last decision, and which lag of it each other one is."""
    T, R = told.seat.shape
    target = torch.full((R,), T - 1)
    return target, probe.lags_of(told.seat, told.start, target)


def both(outputs, value):
    """Two losses that depend on everything."""
    return {"policy": -outputs.log_softmax(-1)[:, 1], "value": (value - 0.3).square()}


def gradients(policy, told, losses=both):
    return probe.gradients(probe.watched(policy), told, last(told)[1], losses)


# ---------------------------------------------------------------- lags


def test_a_lag_counts_the_seats_own_decisions_in_its_match():
    """One match that changes at step 3, seats 0 1 0 | 0 1 0 0: of the last, by seat 0, lags 1 and 2 are steps
    5 and 3; steps 0 and 2 are another match's."""
    seat = torch.tensor([0, 1, 0, 0, 1, 0, 0])[:, None]
    start = torch.tensor([0, 0, 0, 1, 0, 0, 0]).bool()[:, None]
    lag = probe.lags_of(seat, start, torch.tensor([6]))
    assert lag[:, 0].tolist() == [-1, -1, -1, 2, -1, 1, 0]
    assert probe.lags_of(seat, start, torch.tensor([4]))[:, 0].tolist() == [-1, -1, -1, -1, 0, -1, -1]
    assert probe.lags_of(seat, start, torch.tensor([2]))[:, 0].tolist() == [1, -1, 0, -1, -1, -1, -1]


def test_what_is_absent_is_counted_and_never_a_zero():
    """Two rows of three steps; the second's match began at its last but one."""
    lag = torch.tensor([[2, -1], [1, 1], [0, 0]])
    by_lag = probe.ByLag(probe.sorted_by_lag(torch.tensor([[8.0, 100.0], [4.0, 3.0], [2.0, 1.0]]), lag))
    assert by_lag.pairs.tolist() == [2, 2, 1]
    assert by_lag.absent.tolist() == [0, 0, 1]
    assert by_lag.mean.tolist() == [1.5, 3.5, 8.0]
    assert by_lag.quantile(0.1).tolist() == pytest.approx([1.1, 3.1, 8.0])


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (
            [7.0, 0.9, 0.81, 0.9**3, 0.9**4, 0.9**5, 0.9**6, 0.9**7, 0.9**8],
            (math.log(2) / -math.log(0.9), True),
        ),
        ([0.0, 1.0, 0.5], (1.0, True)),
        ([0.0, 1.0, 1.0, 0.0], (1.0, True)),  # all is there at lag 2, nothing at lag 3
        ([0.0, 1.0, 0.9, 0.8], (2.0, False)),
    ],
)
def test_a_half_life_is_read_from_lag_1_on(curve, expected):
    found = probe.half_life(curve)
    assert found.lags == pytest.approx(expected[0], rel=1e-12)
    assert found.is_reached is expected[1]


@pytest.mark.parametrize("curve", [[], [1.0, 1.0], [1.0, 0.0, 0.0], [1.0, math.nan, 1.0]])
def test_what_says_nothing_has_no_half_life(curve):
    assert probe.half_life(curve) is None


def test_a_half_life_that_is_not_reached_is_told_as_a_bound():
    assert str(probe.half_life([0.0, 1.0, 0.9, 0.8])) == ">= 2.0"


# ---------------------------------------------------------------- gradients


def first_unit(policy):
    """The value is what the first unit remembers."""
    with torch.no_grad():
        policy.value_head[-1].weight.zero_()[0, 0] = 1.0
        policy.value_head[-1].bias.zero_()
    return policy, lambda _outputs, value: {"value": value}


def test_a_linear_memory_has_gradients_a_to_the_k():
    """relu where all is above 0, U = a I."""
    policy, loss = first_unit(made("elman", options={"nonlinearity": "relu"}))
    (cell,) = policy.core.cells
    a = 0.9
    with torch.no_grad():
        cell.U.copy_(a * torch.eye(4).double())
        cell.b.fill_(10.0)
    told = played(policy, T=12)
    by_lag = gradients(policy, told._replace(cores=tuple(x.abs() for x in told.cores)), loss)["value"][
        "layer1"
    ]
    expected = a ** torch.arange(12).double()[:, None].expand(12, 6)
    torch.testing.assert_close(by_lag.values, expected, rtol=0.0, atol=1e-12)
    assert by_lag.half_life.lags == pytest.approx(math.log(2) / -math.log(a), rel=1e-9)


@pytest.mark.parametrize("kind", ["gated", "lstm"])
def test_fixed_gates_have_gradients_f_to_the_k(kind):
    """W = U = 0: c keeps the share f = sigmoid(b_f) a step, and h = o tanh(c) is what is asked."""
    policy, loss = first_unit(made(kind))
    (cell,) = policy.core.cells
    with torch.no_grad():
        cell.W.zero_()
        cell.U.zero_()
        cell.b.copy_(torch.linspace(-0.5, 1.5, 16))
    told = played(policy, T=10)
    f, o = (torch.sigmoid(b)[0].item() for b in cell.b.chunk(4)[1:3])
    c = policy(*told)[2][1][0, :, 0, 0]
    expected = torch.stack([o * (1.0 - c.tanh().square()) * f**k for k in range(1, 10)])
    values = gradients(policy, told, loss)["value"]["layer1"].values
    torch.testing.assert_close(values[1:], expected, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(values[0], torch.ones(6).double(), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("kind", ["gru", Leaky])
def test_fixed_gates_of_others_have_gradients_y_to_the_k(kind, monkeypatch):
    monkeypatch.setitem(CELLS, "leaky:Leaky", Leaky)
    policy, loss = first_unit(made(kind if isinstance(kind, str) else "leaky:Leaky"))
    (cell,) = policy.core.cells
    y_at = list(cell.gates).index(cell.keeps)
    with torch.no_grad():
        cell.W.zero_()
        cell.U.zero_()
        cell.b.copy_(torch.linspace(-0.5, 1.5, len(cell.b)))
    y = torch.sigmoid(cell.b.chunk(cell.blocks)[y_at])[0].item()
    values = gradients(policy, played(policy, T=10), loss)["value"]["layer1"].values
    torch.testing.assert_close(values[:, 0], y ** torch.arange(10).double(), rtol=0.0, atol=1e-12)


def one_by_one(policy, told, row):
    """|dL / ds| of a row's last decision by every state that its seat has been in, an autograd call for each:
    [loss][layer][step]. Seats and matches are told apart step by step, by hand."""
    T, seat = told.seat.shape[0], told.seat[:, row].tolist()
    features = policy.features(told.observation[:, row], told.seat[:, row], told.previous[:, row])
    cells, n = list(policy.core.cells), policy.core.parts
    states = {
        p: [tuple(part[layer, row, p][None] for part in told.cores[:n]) for layer in range(len(cells))]
        for p in range(policy.seats)
    }
    made_at = []
    for t in range(T):
        if told.start[t, row]:
            states = {p: [tuple(torch.zeros_like(x) for x in s) for s in mine] for p, mine in states.items()}
        x, mine = features[t][None], []
        for cell, state in zip(cells, states[seat[t]], strict=True):
            new = tuple(part.clone() for part in cell.step(cell.project(x), state))  # h and c side by side
            mine.append(new)
            x = new[0]
        states[seat[t]] = mine
        made_at.append(mine)
    losses = both(policy.action_head(x), policy.value_head(x).squeeze(-1))
    found = {}
    for name, loss in losses.items():
        found[name] = [[], []][: len(cells)]
        for layer in range(len(cells)):
            for t in range(T):
                by = torch.autograd.grad(loss, made_at[t][layer], retain_graph=True, allow_unused=True)
                parts = [torch.zeros(1, 1) if x is None else x for x in by]
                found[name][layer].append(torch.cat(parts, -1).norm())
    return found


@pytest.mark.parametrize("cell", [*CELLS, "leaky:Leaky"])
@pytest.mark.parametrize("layers", [1, 2])
def test_one_pass_equals_an_autograd_call_for_every_step(cell, layers, monkeypatch):
    """Two seats in no order, matches that begin anywhere."""
    monkeypatch.setitem(CELLS, "leaky:Leaky", Leaky)
    policy = made(cell, layers=layers, seats=2)
    generator = torch.Generator().manual_seed(8)
    seat = torch.randint(2, (9, 6), generator=generator)
    start = torch.rand(9, 6, generator=generator) < 0.15
    told = played(policy, start=start, seat=seat)
    _, lag = last(told)
    found = gradients(policy, told)
    assert {name: sorted(by_layer) for name, by_layer in found.items()} == {
        name: [f"layer{k + 1}" for k in range(layers)] for name in ("policy", "value")
    }
    for row in range(6):
        expected = one_by_one(policy, told, row)
        for name, by_layer in found.items():
            for layer in range(layers):
                values = by_layer[f"layer{layer + 1}"].values
                for t in torch.nonzero(lag[:, row] >= 0)[:, 0].tolist():
                    difference = values[lag[t, row], row] - expected[name][layer][t]
                    assert abs(float(difference)) < 1e-10


def test_two_seats_that_alternate_have_the_curves_of_two_streams_alone():
    policy = made("gated", layers=2, seats=2)
    seat = (torch.arange(12)[:, None] + torch.arange(6)) % 2
    told = played(policy, T=12, seat=seat)
    together = gradients(policy, told)
    for row in range(6):
        own = torch.nonzero(seat[:, row] == seat[-1, row])[:, 0]
        alone = Told(
            *(x[own][:, row : row + 1] for x in told[:4]),
            tuple(x[:, row : row + 1] for x in told.cores),
            None,
        )
        for name, by_layer in gradients(policy, alone).items():
            for layer, by_lag in by_layer.items():
                both_seats = together[name][layer].values
                torch.testing.assert_close(both_seats[:6, row], by_lag.values[:, 0], rtol=0.0, atol=1e-14)
                assert both_seats[6:, row].isnan().all()


def test_the_critics_own_core_is_told_apart():
    """The policy's loss does not depend on it, nor the value's on the actor's."""
    policy = made("gated", layers=2, shared_lstm=False, enable_critic_lstm=True)
    found = gradients(policy, played(policy))
    assert list(found["policy"]) == ["layer1", "layer2"]
    assert list(found["value"]) == ["critic_layer1", "critic_layer2"]


def test_a_critic_without_memory_has_no_gradients_by_it():
    found = gradients(policy := made("gated", shared_lstm=False), played(policy))
    assert list(found["policy"]) == ["layer1"]
    assert found["value"] == {}


def test_a_policy_that_is_looked_at_stays_as_it_is():
    policy = made("lstm", layers=2, options={"dropout": 0.5}).train()
    before, cells = copy.deepcopy(policy.state_dict()), list(policy.core.cells)
    drawn = torch.get_rng_state()
    told = played(policy)
    target, _ = last(told)
    legal = torch.ones(9, 6, ACTIONS, dtype=torch.bool)
    one, two = (probe.diagnose(policy, told, legal, target, both, (0, 1, 2), (1, 2), 2) for _ in range(2))
    assert torch.equal(one.recall.values[:3], two.recall.values[:3])  # dropout is off
    assert torch.equal(torch.get_rng_state(), drawn)
    assert policy.training
    assert list(policy.core.cells) == cells
    assert all(p.grad is None and p.requires_grad for p in policy.parameters())
    assert all(torch.equal(x, before[name]) for name, x in policy.state_dict().items())


# ---------------------------------------------------------------- recall


def copier(d):
    """What was seen d decisions ago decides: a memory of d + 1 places that hands on what it holds."""
    policy = made("elman", hidden=d + 1, options={"nonlinearity": "relu"}, previous_action=False)
    policy.activation = torch.nn.ReLU()
    (cell,) = policy.core.cells
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        policy.encoder.weight[:, 0] = 1.0 + torch.arange(CODES)  # above 0: relu lets all of it through
        cell.W[0, 0] = 1.0
        cell.U[1:, :-1] = torch.eye(d)
        policy.action_head[-1].weight[1, d] = 1.0
    return policy


@pytest.mark.parametrize("d", [1, 3, 6])
def test_a_copy_task_peaks_at_its_lag(d):
    """KL elsewhere is 0 exactly; the gradient is there until the code is used up, and then 0 exactly."""
    policy = copier(d)
    told = played(policy, T=10, R=32)
    _, lag = last(told)
    recalled = probe.recall(policy, told, torch.ones(10, 32, ACTIONS, dtype=torch.bool), lag, range(10)).mean
    assert recalled[d] > 0.1
    assert recalled.sum() == recalled[d]
    values = gradients(policy, told, lambda outputs, _: {"policy": outputs[:, 1]})["policy"]["layer1"].values
    assert (values[: d + 1] == 1.0).all()
    assert (values[d + 1 :] == 0.0).all()


def test_observations_change_hands_within_a_seat():
    """Rows 0 and 2 are of seat 0, row 1 of seat 1, row 3 has not got the lag."""
    has_lag = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0]]).bool()
    seat = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 0]])
    assert probe.partners(has_lag, seat).tolist() == [2, -1, 0, -1]


def test_the_kl_of_one_exchange_by_hand():
    """Two matches of one decision; logits are 0 but for the code of now: KL of p from q and of q from p."""
    policy = copier(1)
    with torch.no_grad():
        policy.action_head[-1].weight.zero_()[1, 0] = 1.0
    told = played(policy, T=1, R=2)._replace(observation=torch.tensor([[[0], [2]]], dtype=torch.uint8))
    legal = torch.ones(1, 2, ACTIONS, dtype=torch.bool)
    found = probe.recall(policy, told, legal, torch.zeros(1, 2, dtype=torch.int64), [0]).values[0]

    def p(logit):
        total = math.exp(logit) + 2.0
        return [1.0 / total, math.exp(logit) / total, 1.0 / total]

    def kl(one, two):
        return sum(a * math.log(a / b) for a, b in zip(one, two, strict=True))

    assert found.tolist() == pytest.approx([kl(p(1.0), p(3.0)), kl(p(3.0), p(1.0))], abs=1e-6)


# ---------------------------------------------------------------- Jacobians and gates


def composed(cell, z, state, size):
    """The steps with inputs z, one after another, of one flat state."""

    def run(flat):
        parts = tuple(x[None] for x in flat.split(size))
        for one in z:
            parts = cell.step(one[None], parts)
        return torch.cat(parts, -1)[0]

    return run(state) if state is not None else run


@pytest.mark.parametrize("kind", [*CELLS, "leaky"])
def test_singular_values_are_those_that_torch_finds(kind):
    torch.manual_seed(5)
    cell = (Leaky if kind == "leaky" else CELLS[kind])(3, 5).double()
    z, n = cell.project(torch.randn(4, 2, 3).double()), len(cell.parts)
    lag = torch.arange(3, -1, -1)[:, None].expand(4, 2)
    states = [tuple(torch.randn(2, 5).double() for _ in range(n))]
    for t in range(3):
        states.append(tuple(x.detach() for x in cell.step(z[t], states[-1])))
    stacked = tuple(torch.stack(part) for part in zip(*states, strict=True))
    found = probe.spectrum(cell, z, stacked, lag, (1, 2, 3), 2)
    assert sorted(found) == [1, 2, 3]
    for k, values in found.items():
        for row in range(2):
            run = composed(cell, z[4 - k :, row].detach(), None, 5)
            begin = torch.cat([part[4 - k, row] for part in stacked])
            jacobian = torch.autograd.functional.jacobian(run, begin)
            assert float(values[row]) == pytest.approx(float(torch.linalg.svdvals(jacobian)[0]), abs=1e-6)


def test_a_state_that_grows_by_a_factor_grows_by_its_power():
    """relu with U = 1.5 times a rotation, all above 0: 1.5, 2.25 and 5.0625."""
    cell = CELLS["elman"](1, 2, nonlinearity="relu").double()
    with torch.no_grad():
        cell.U.copy_(1.5 * torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64))
    z, state = torch.full((5, 1, 2), 9.0).double(), (torch.ones(5, 1, 2).double(),)
    found = probe.spectrum(cell, z, state, torch.arange(4, -1, -1)[:, None], (1, 2, 4), 1)
    assert {k: float(x) for k, x in found.items()} == pytest.approx({1: 1.5, 2: 2.25, 4: 5.0625}, rel=1e-12)


def test_fixed_gates_have_the_time_constants_of_their_logarithm():
    """Units that keep 0.5, 0.9 and 0.99 of it a step: 1.44, 9.49 and 99.5 steps; 0.01 is closed, 0.99
    open."""
    cell = CELLS["gated"](2, 3).double()
    b_f, b_i, b_o = (torch.tensor(x).double().logit() for x in ([0.5, 0.9, 0.99], [0.01] * 3, [0.5] * 3))
    with torch.no_grad():
        cell.W.zero_()
        cell.U.zero_()
        cell.b[:9] = torch.cat([b_i, b_f, b_o])
    z = cell.project(torch.ones(4, 6, 2).double())
    gates = probe.gates_of(cell, z, (torch.zeros(4, 6, 3).double(), torch.zeros(4, 6, 3).double()))
    assert gates.time_constant.tolist() == pytest.approx([-1.0 / math.log(f) for f in (0.5, 0.9, 0.99)])
    assert gates.mean == pytest.approx({"i": 0.01, "f": 2.39 / 3, "o": 0.5})
    assert gates.closed == {"i": 1.0, "f": 0.0, "o": 0.0}
    assert gates.open == pytest.approx({"i": 0.0, "f": 1 / 3, "o": 0.0})


def test_a_gate_that_rounds_to_one_has_a_long_time_constant_not_an_endless_one():
    cell = CELLS["gru"](2, 3, forget_bias=100.0)
    gates = probe.gates_of(cell, cell.project(torch.zeros(1, 1, 2)), (torch.zeros(1, 1, 3),))
    assert gates.time_constant.tolist() == pytest.approx([2.0**23] * 3, rel=0.01)


@pytest.mark.parametrize(("cell", "gates"), [("elman", ""), ("gated", "ifo"), ("lstm", "ifo"), ("gru", "ry")])
def test_every_layer_of_every_cell_shows_the_gates_it_declares(cell, gates):
    policy = made(cell, layers=2, seats=2)
    told = played(policy, seat=torch.arange(9)[:, None].expand(9, 6) % 2)
    target, _ = last(told)
    legal = torch.ones(9, 6, ACTIONS, dtype=torch.bool)
    found = probe.diagnose(policy, told, legal, target, both, [0, 1, 2, 4], [1, 2, 4], 3)
    assert list(found.layers) == ["layer1", "layer2"]
    assert found.pairs.tolist() == [6] * 5 + [0] * 4
    assert found.absent.tolist() == [0] * 5 + [6] * 4
    for layer in found.layers.values():
        for shares in (layer.gates.mean, layer.gates.closed, layer.gates.open):
            assert "".join(shares) == gates
        assert (layer.gates.time_constant is None) == (cell == "elman")
        assert sorted(layer.singular) == [1, 2, 4]
        assert layer.hidden_norm > 0.0
    assert (found.recall.mean.isnan().logical_not()).nonzero()[:, 0].tolist() == [0, 1, 2, 4]


def test_no_decision_to_look_back_from_is_refused():
    policy = made()
    with pytest.raises(ValueError, match="expected one decision at least to look back from, got none"):
        probe.diagnose(
            policy, played(policy, R=0), torch.ones(9, 0, 3).bool(), torch.zeros(0).long(), both, [], [], 1
        )


def test_who_has_a_memory():
    assert probe.has_memory(made("gru"))
    assert not probe.has_memory(made("feedforward"))
