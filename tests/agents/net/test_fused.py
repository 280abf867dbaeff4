"""The fused scan: how exact it is on any sizes, that play is replay, that it writes only where it may."""

from __future__ import annotations

import collections
import copy
import functools
import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from agents.net.cells import CELLS
from agents.net.kernels import fused, vector
from agents.net.scan import reference, scan

NAMES = ("elman", "gated", "lstm", "gru")
"""The cells that it takes."""

EXACT = 2e-6
"""The most that a number may differ from the same in float64, in units of 1 or of the largest beside it."""


def problem(name, T, B, inputs, H, seats, rate=0.2, seed=0):
    """A cell with biases, inputs and memories that want gradients, starts, and who decides."""
    torch.manual_seed(seed)
    cell = CELLS[name](inputs, H)
    for bias in (x for x in cell.parameters() if x.dim() == 1):
        nn.init.normal_(bias, std=0.5)
    x = torch.randn(T, B, inputs, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in cell.initial_state(B, seats))
    return cell, x, state, torch.rand(T, B) < rate, torch.randint(seats, (T, B))


def everything(run, cell, x, state, start, seat):
    """Outputs, last memories and all gradients of a fixed mixture of them."""
    outputs, last = run(cell, x, state, start, seat)
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(part.shape, generator=generator).to(part) for part in (outputs, *last)]
    mixed = sum((part * w).sum() for part, w in zip((outputs, *last), weights, strict=True))
    wanted = [x, *state, *cell.parameters()]
    gradients = torch.autograd.grad(mixed, wanted, materialize_grads=True)
    return [part.detach() for part in (outputs, *last)] + list(gradients)


def errors(name, *sizes, **options):
    """Of everything, against the readable loop in float64."""
    cell, x, state, start, seat = problem(name, *sizes, **options)
    ours = everything(fused.recurrence, cell, x, state, start, seat)
    x, *state = (part.detach().double().requires_grad_() for part in (x, *state))
    exact = everything(reference, copy.deepcopy(cell).double(), x, tuple(state), start, seat)
    return [
        float((mine - right).abs().max() / right.abs().max().clamp(min=1.0)) if right.numel() else 0.0
        for mine, right in zip(ours, exact, strict=True)
    ]


def assert_same_bits(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def threads(monkeypatch, count):
    """So many threads, however small the work."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    monkeypatch.setattr(fused, "WORK", 1)


# ---------------------------------------------------------------- how exact


@pytest.mark.parametrize("draws", [500, pytest.param(10_000, marks=pytest.mark.slow)], ids=["some", "many"])
def test_any_sizes_starts_and_seats_are_exact(draws):
    """Most of them fill no tile."""
    generator = torch.Generator().manual_seed(2026)

    def draw(most):
        return int(torch.randint(1, most + 1, (), generator=generator))

    for k in range(draws):
        sizes = draw(6), draw(40), draw(70), draw(70), draw(3)
        rate = float(torch.rand((), generator=generator)) ** 2
        found = errors(NAMES[k % len(NAMES)], *sizes, rate=rate, seed=k)
        assert max(found) <= EXACT, (NAMES[k % len(NAMES)], sizes, k, found)


@pytest.mark.parametrize("name", NAMES)
def test_a_minibatch_of_training_is_exact(name):
    assert max(errors(name, 32, 40, 128, 128, 2, rate=0.1)) <= EXACT


def test_what_is_no_number_stays_none():
    """It must not be hidden: whoever looks for it would not see that training has failed."""
    cell, x, state, start, seat = problem("gated", 2, 3, 4, 5, 1, rate=0.0)
    x = x.detach().clone()
    x[0, 1, 2] = float("nan")
    outputs, _ = fused.recurrence(cell, x, state, start, seat)
    assert torch.isnan(outputs).flatten(2).all(-1)[:, 1].all()
    assert torch.isfinite(outputs[:, [0, 2]]).all()


def test_large_numbers_close_and_open_gates():
    cell, x, state, start, seat = problem("lstm", 3, 4, 5, 6, 1)
    outputs, last = fused.recurrence(cell, 1e30 * x, state, start, seat)
    assert all(torch.isfinite(part).all() for part in (outputs, *last))
    exact, _ = reference(cell, 1e30 * x, state, start, seat)
    torch.testing.assert_close(outputs, exact, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- play is replay


@pytest.mark.parametrize("name", NAMES)
def test_play_and_replay_agree_bit_for_bit(name):
    """Step by step without gradients, all steps at once with them, and some of the matches alone."""
    cell, x, state, start, seat = problem(name, 7, 21, 19, 33, 2)
    replayed, last = scan(cell, x, state, start, seat)
    played, memory = [], tuple(part.detach() for part in state)
    with torch.no_grad():
        for t in range(len(x)):
            now = slice(t, t + 1)
            output, memory = scan(cell, x[now], memory, start[now], seat[now])
            played.append(output)
    assert_same_bits([torch.cat(played), *memory], [replayed, *last])
    some = torch.tensor([20, 3, 4])
    few, _ = scan(cell, x[:, some], tuple(part[some] for part in state), start[:, some], seat[:, some])
    assert torch.equal(few, replayed[:, some])


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_changes_no_bit(name, monkeypatch):
    given = problem(name, 5, 150, 20, 40, 2)
    alone = everything(fused.recurrence, *given)
    for count in (2, 3, 7):
        threads(monkeypatch, count)
        assert_same_bits(everything(fused.recurrence, *given), alone)


def output(cell, *given):
    with torch.no_grad():
        return scan(cell, *given)[0]


def exchanged(cell):
    cell.W.data = cell.W.detach() * 2


def learned(cell, **options):
    optimizer = torch.optim.Adam(cell.parameters(), lr=0.1, **options)
    cell.U.grad = torch.ones_like(cell.U)
    optimizer.step()


CHANGES = {
    "in place": lambda cell: nn.init.normal_(cell.b),
    "loaded": lambda cell: cell.load_state_dict({k: v + 1 for k, v in cell.state_dict().items()}),
    "learned": learned,
    "learned by Adam's own kernel": functools.partial(learned, fused=True),
    "behind torch's back": lambda cell: cell.U.data.mul_(2),
    "exchanged": exchanged,
    "new parameter": lambda cell: setattr(cell, "U", nn.Parameter(cell.U.detach() * 2)),
    "the last number": lambda cell: cell.W.data[-1, -1].add_(1),
    "d alone": lambda cell: nn.init.normal_(cell.d),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("H", [6, 32])
def test_packed_weights_follow_the_weights(change, H):
    cell, *given = problem("gru", 3, 4, 5, H, 1)
    before = output(cell, *given)
    assert torch.equal(output(cell, *given), before)
    CHANGES[change](cell)
    after = output(cell, *given)
    torch.testing.assert_close(after, reference(cell, *given)[0], rtol=0, atol=1e-6)
    assert not torch.equal(after, before)


def test_weights_stay_packed_while_nothing_changes(monkeypatch):
    cell, *given = problem("gru", 3, 4, 5, 6, 1)
    packed = []
    panels = fused.panels_of
    monkeypatch.setattr(fused, "panels_of", lambda matrix: packed.append(matrix.shape) or panels(matrix))
    for _ in range(3):
        output(cell, *given)
    assert len(packed) == 2  # W and U


def test_packed_weights_belong_to_no_copy_and_no_file():
    cell, *given = problem("gated", 3, 4, 5, 6, 1)
    names, content = set(vars(cell)), pickle.dumps(cell)
    output(cell, *given)
    assert set(vars(cell)) == names
    assert pickle.dumps(cell) == content
    other = copy.deepcopy(cell)
    nn.init.zeros_(other.W)
    assert not torch.equal(output(other, *given), output(cell, *given))
    gc.collect()
    known = len(fused._PACKED)
    del other
    gc.collect()
    assert len(fused._PACKED) == known - 1


# ---------------------------------------------------------------- memory


GUARD = 4096
"""Numbers before and behind everything."""


def guarded(made, *shape):
    """Memory of no numbers between guards of none."""
    count = torch.Size(shape).numel()
    whole = torch.full((count + 2 * GUARD,), float("nan"))
    made.append((whole, count))
    return whole[GUARD : GUARD + count].view(shape)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_and_writes_only_where_it_may(name, monkeypatch):
    """What is read beyond or before it was written is no number, and no guard is written."""
    monkeypatch.setattr(fused._Lent, "spare", collections.deque())
    cases = [(4, 33, 17, 9, 3), (3, 8, 32, 32, 1), (1, 1, 1, 1, 1), (2, 65, 70, 64, 2)]
    for sizes in cases:
        cell, x, state, start, seat = problem(name, *sizes)
        expected = everything(fused.recurrence, cell, x, state, start, seat)
        alone = output(cell, x, state, start, seat)
        made = []
        take = functools.partial(guarded, made)
        with monkeypatch.context() as patch:
            patch.setattr(fused, "_empty", take)
            patch.setattr(fused._Lent, "spare", collections.deque())
            threads(patch, 2)
            x, *state = (take(*part.shape).copy_(part.detach()).requires_grad_() for part in (x, *state))
            for parameter in cell.parameters():
                parameter.data = take(*parameter.shape).copy_(parameter.detach())
            assert_same_bits(everything(fused.recurrence, cell, x, tuple(state), start, seat), expected)
            assert torch.equal(output(cell, x, tuple(state), start, seat), alone)
        assert len(made) > 10
        for whole, count in made:
            assert torch.isnan(whole[:GUARD]).all()
            assert torch.isnan(whole[GUARD + count :]).all()


def test_memory_that_waits_serves_whoever_it_suffices_and_makes_room_for_more(monkeypatch):
    """Of two pieces the smaller that will do; where none will, the largest goes; little is left alone."""
    monkeypatch.setattr(fused._Lent, "spare", collections.deque())
    small, large = fused.LARGE, 3 * fused.LARGE

    def lent(*numbers):
        return [piece.memory.numel() for piece in [fused._Lent(n) for n in numbers]]

    def waiting():
        return sorted(piece.numel() for piece in fused._Lent.spare)

    assert lent(large, small) == [large, small]
    assert waiting() == [small, large]
    assert lent(small) == [small]
    assert lent(small + 1) == [large]
    assert lent(small - 1) == [small - 1]
    assert waiting() == [small, large]
    assert lent(large + 1) == [large + 1]
    assert waiting() == [small, large + 1]


def test_what_one_pass_saved_is_safe_from_the_next():
    """Two passes forward before either goes back, and one that goes back twice."""
    one, other = problem("gated", 4, 9, 5, 8, 2, seed=1), problem("gated", 4, 9, 5, 8, 2, seed=2)
    apart = [everything(fused.recurrence, *given)[-3:] for given in (one, other)]

    def forward(cell, *given):
        outputs, last = fused.recurrence(cell, *given)
        generator = torch.Generator().manual_seed(5)
        return sum((part * torch.randn(part.shape, generator=generator)).sum() for part in (outputs, *last))

    first, second = forward(*one), forward(*other)
    again = torch.autograd.grad(first, list(one[0].parameters()), retain_graph=True)
    assert_same_bits(torch.autograd.grad(second, list(other[0].parameters())), apart[1])
    assert_same_bits(torch.autograd.grad(first, list(one[0].parameters())), again)
    assert_same_bits(again, apart[0])


@pytest.mark.parametrize("wrong", [-1, 2])
def test_a_seat_that_is_none_is_refused(wrong):
    """A compiled kernel would write beside the memories."""
    cell, x, state, start, seat = problem("gated", 3, 4, 5, 6, 2)
    seat[1, 2] = wrong
    with pytest.raises(IndexError, match=r"^seat must be in 0\.\.1, got "):
        fused.recurrence(cell, x, state, start, seat)


def test_a_state_of_another_kind_is_refused():
    cell, x, state, start, seat = problem("lstm", 3, 4, 5, 6, 2)
    with pytest.raises(
        ValueError, match=r"^the state must be float32 on the CPU, as the inputs are, got torch"
    ):
        fused.recurrence(cell, x, tuple(part.double() for part in state), start, seat)


def test_weights_of_other_shapes_are_refused():
    cell, *given = problem("gated", 3, 4, 5, 6, 1)
    cell.U = nn.Parameter(torch.zeros(7, 6))
    with pytest.raises(ValueError, match=r"^Gated\(5, 6\) must have weights of the shapes .* got .*\(7, 6\)"):
        fused.recurrence(cell, *given)


def test_views_and_other_strides_do():
    cell, x, state, start, seat = problem("lstm", 3, 4, 6, 5, 2)
    plain, _ = fused.recurrence(cell, x, state, start, seat)
    x = x.detach().transpose(0, 2).contiguous().transpose(0, 2)
    state = tuple(part.detach().transpose(0, 1).contiguous().transpose(0, 1) for part in state)
    strided, _ = fused.recurrence(cell, x, state, start.t().contiguous().t(), seat.to(torch.int32))
    assert torch.equal(strided, plain)
    fused.recurrence(cell, x, state, start, seat)[
        0
    ].sum().backward()  # a derivative without memory of its own
    assert torch.isfinite(cell.U.grad).all()


def test_no_match_at_all():
    cell, x, state, start, seat = problem("gru", 3, 0, 5, 6, 2)
    outputs, (last,) = fused.recurrence(cell, x, state, start, seat)
    assert outputs.shape == (3, 0, 6)
    assert last.shape == (0, 2, 6)
    outputs.sum().backward()
    assert cell.U.grad.abs().sum() == 0.0


# ---------------------------------------------------------------- machines


@pytest.fixture
def unready():
    """What is known of this machine is forgotten, before and after."""

    def forget():
        fused._is_ready.cache_clear()
        fused._cannot.cache_clear()

    forget()
    yield
    forget()


def fail(*_, **__):
    raise NotImplementedError("no such thing")


@pytest.mark.parametrize(
    ("name", "broken", "why"),
    [
        ("instruction_set", lambda: None, "this processor's vectors are unknown to it"),
        ("_compile", fail, "it does not compile: NotImplementedError: no such thing"),
    ],
)
@pytest.mark.usefixtures("unready")
def test_where_it_cannot_run_another_does_and_it_is_said_once(name, broken, why, monkeypatch):
    monkeypatch.setattr(fused, name, broken)
    cell, *given = problem("gated", 3, 4, 5, 6, 2)
    message = f"^the fused scan cannot run here, a slower one does: {why}$"
    with pytest.warns(RuntimeWarning, match=message) as told:
        outputs = [scan(cell, *given)[0] for _ in range(3)]
    assert len(told) == 1
    torch.testing.assert_close(outputs[2], reference(cell, *given)[0], rtol=0, atol=1e-6)


ELSEWHERE = """
import sys, warnings, torch, test_fused
from agents.net.kernels import vector
assert (vector.WIDTH, vector.ROWS, vector.COLUMNS // vector.WIDTH) == vector.TILES[sys.argv[1]]
for name in test_fused.NAMES:
    for sizes in ((5, 33, 17, 40, 2), (3, 7, 64, 32, 1)):
        assert max(test_fused.errors(name, *sizes)) <= test_fused.EXACT
print("exact")
"""

ARM = """
import numba, llvmlite.binding as binding
numba.njit(lambda: 0)()  # by now it knows its machine
told, binding.get_process_triple = binding.get_process_triple, lambda: "aarch64-unknown-linux-gnu"
from agents.net.kernels import vector
binding.get_process_triple = told
vector.instruction_set = lambda: "neon"
"""

WITHOUT = """
import warnings, torch, test_fused
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    cell, *given = test_fused.problem("gated", 3, 4, 5, 6, 2)
    for _ in range(2):
        test_fused.scan(cell, *given)
print([str(one.message) for one in told if "fused" in str(one.message)])
"""


def told_by(program, *arguments, **environment):
    """What a process of its own prints."""
    here = Path(__file__)
    paths = os.pathsep.join(str(path) for path in (here.parents[3], here.parent))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(vector.instruction_set() not in ("avx512", "avx2"), reason="needs AVX2")
@pytest.mark.parametrize(
    ("kind", "cpu", "features"),
    [("avx2", "haswell", "+avx,+avx2,+fma"), ("sse", "generic", "")],
)
def test_it_is_exact_on_older_machines(kind, cpu, features):
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    assert told_by(ELSEWHERE, kind, **environment) == "exact"


@pytest.mark.slow
def test_the_tile_of_arm_is_exact(tmp_path):
    """Its shape, on whatever vectors this machine has."""
    assert told_by(ARM + ELSEWHERE, "neon", NUMBA_CACHE_DIR=str(tmp_path)) == "exact"


def test_without_a_compiler_it_steps_aside():
    assert told_by(WITHOUT, NUMBA_DISABLE_JIT="1") == (
        "['the fused scan cannot run here, a slower one does: numba compiles nothing (NUMBA_DISABLE_JIT)']"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    threads(monkeypatch, 2)
    cell, *given = problem("gated", 3, 64, 5, 6, 2)
    expected = output(cell, *given)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(output(cell, *given), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_who_traces_is_given_operations():
    """Numbers that stand for others have no address, and nobody would notice a kernel's work."""
    cell, x, state, start, seat = problem("gated", 2, 3, 4, 5, 1)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert not fused.KERNEL.fits(cell, mode.from_tensor(x), True)
    cell.requires_grad_(False)
    x, *state = (part.detach() for part in (x, *state))
    with torch.no_grad():
        traced = torch.jit.trace(lambda x: scan(cell, x, tuple(state), start, seat)[0], x, check_trace=False)
        torch.testing.assert_close(traced(2 * x), scan(cell, 2 * x, tuple(state), start, seat)[0])
