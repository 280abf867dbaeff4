"""The scan in Triton: right in the interpreter or on a GPU, and compiled for a GPU where there is none.

pytest tests/agents/net/test_gpu.py --device cuda
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from agents.net.cells import CELLS
from agents.net.kernels import gpu
from agents.net.scan import KERNELS, reference, scan

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")

SIZES = {  # T, B, I, H, P
    "less than a tile": (5, 7, 3, 5, 1),
    "a tile": (3, 16, 4, 16, 1),
    "two blocks of matches": (6, 19, 4, 20, 2),
    "padded to 128": (3, 17, 5, 100, 3),
    "more than one tile": (3, 9, 8, 200, 2),
}

STARTS = {
    "none": lambda T, B: torch.zeros(T, B, dtype=torch.bool),
    "at both ends": lambda T, B: (torch.arange(T) % max(T - 1, 1) == 0)[:, None].expand(T, B),
    "some": lambda T, B: torch.rand(T, B) < 0.3,
    "everywhere": lambda T, B: torch.ones(T, B, dtype=torch.bool),
}


@pytest.fixture(autouse=True)
def precision():
    """Tests may set it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def given(name, T, B, inputs, H, P, starts="some"):
    """A cell, what it is given, and that once more in float64; all on the CPU."""
    torch.manual_seed(3)
    cell = CELLS[name](inputs, H)
    nn.init.normal_(cell.b)
    x, state = torch.randn(T, B, inputs), tuple(torch.randn(B, P, H) for _ in range(2))
    return cell, x, state, STARTS[starts](T, B), torch.randint(P, (T, B))


def everything(run, cell, x, state, start, seat):
    """Outputs, last state, and all gradients of a fixed mixture of them; in float64, on the CPU."""
    x, state = x.detach().requires_grad_(), tuple(part.detach().requires_grad_() for part in state)
    outputs, last = run(cell, x, state, start, seat)
    torch.manual_seed(5)
    mixed = sum((result * torch.randn(result.shape).to(result)).sum() for result in (outputs, *last))
    gradients = torch.autograd.grad(mixed, [x, *state, *cell.parameters()])
    return [result.detach().cpu().double() for result in (outputs, *last, *gradients)]


def compared(name, sizes, device, starts="some"):
    """The largest relative error of the results of the scan on a GPU, next to the rule in float64."""
    cell, x, state, start, seat = given(name, *sizes, starts)
    exact = copy.deepcopy(cell).double(), x.double(), tuple(part.double() for part in state)
    expected = everything(reference, *exact, start, seat)
    here = (part.to(device) for part in state)
    told = everything(
        gpu.recurrence, cell.to(device), x.to(device), tuple(here), start.to(device), seat.to(device)
    )
    return max(float((a - b).norm() / b.norm().clamp(min=1e-6)) for a, b in zip(told, expected, strict=True))


@pytest.mark.parametrize("starts", STARTS)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", ["gated", "lstm"])
def test_it_gives_what_the_rule_gives(name, sizes, starts, triton_device):
    """Outputs, last state and the gradients of inputs, state and every parameter."""
    assert compared(name, sizes, triton_device, starts) < 2e-6


@pytest.mark.parametrize("tile", [gpu.Tile(16, 128, 16, 2, 4), gpu.Tile(32, 16, 32, 1, 4)], ids=str)
def test_so_it_does_however_its_work_is_cut(tile, triton_device, monkeypatch):
    """All columns at a time and some of the sums, and the other way round."""
    monkeypatch.setattr(gpu, "tile_for", lambda *_: tile)
    for name in ("gated", "lstm"):
        assert compared(name, SIZES["padded to 128"], triton_device) < 2e-6


@pytest.mark.parametrize(("setting", "error"), [("high", 2e-3), ("medium", 2e-2)])
@pytest.mark.parametrize("name", ["gated", "lstm"])
def test_torch_s_setting_says_what_products_multiply(name, setting, error, gpu):
    """TF32 keeps 10 bits of a number, bfloat16 7; the interpreter knows neither."""
    torch.set_float32_matmul_precision(setting)
    for sizes in SIZES.values():
        assert 1e-7 < compared(name, sizes, gpu) < error


def test_without_gradients_the_same_numbers_come_out(triton_device):
    cell, x, state, start, seat = given("gated", *SIZES["two blocks of matches"])
    on = [part.to(triton_device) for part in (x, *state, start, seat)]
    arguments = cell.to(triton_device), on[0], tuple(on[1:3]), *on[3:]
    outputs, last = gpu.recurrence(*arguments)
    with torch.no_grad():
        again, last_again = gpu.recurrence(*arguments)
    assert not again.requires_grad
    assert torch.equal(outputs, again)
    assert all(map(torch.equal, last, last_again))


def test_one_step_after_another_is_the_whole(triton_device):
    """Play, a step at a time, with the memory carried over."""
    cell, x, state, start, seat = given("lstm", *SIZES["two blocks of matches"])
    cell, x, start, seat = (part.to(triton_device) for part in (cell, x, start, seat))
    state = tuple(part.to(triton_device) for part in state)
    with torch.no_grad():
        outputs, last = gpu.recurrence(cell, x, state, start, seat)
        played = []
        for t in range(len(x)):
            output, state = gpu.recurrence(cell, x[t : t + 1], state, start[t : t + 1], seat[t : t + 1])
            played.append(output)
    torch.testing.assert_close(torch.cat(played), outputs, rtol=0, atol=2e-6)
    for mine, whole in zip(state, last, strict=True):
        torch.testing.assert_close(mine, whole, rtol=0, atol=2e-6)


@pytest.mark.parametrize("matches", [1, 15, 17])
def test_nothing_is_written_beyond_the_matches(matches, triton_device):
    """Blocks of 16 over views whose storage goes on: what lies behind them stays."""
    cell, x, state, start, seat = given("gated", 2, matches, 3, 5, 2)
    room = [torch.full((matches + 40, 2, 5), 7.0, device=triton_device) for _ in state]
    for whole, part in zip(room, state, strict=True):
        whole[:matches] = part.to(triton_device)
    views = tuple(whole[:matches].requires_grad_() for whole in room)
    outputs, _ = gpu.recurrence(
        cell.to(triton_device), x.to(triton_device), views, start.to(triton_device), seat.to(triton_device)
    )
    outputs.sum().backward()
    assert all((whole[matches:] == 7.0).all() for whole in room)


def test_it_is_first_asked_and_takes_cells_on_cuda_alone():
    assert KERNELS[0] is gpu.KERNEL
    for name in CELLS:
        assert not gpu.KERNEL.fits(CELLS[name](3, 4), torch.zeros(2, 2, 3), True)


@pytest.mark.parametrize("wants", [True, False])
def test_on_a_gpu_it_runs_gated_cells_and_lstms(wants, gpu):
    fitting = {
        name
        for name, kind in CELLS.items()
        if KERNELS[0].fits(kind(3, 4).to(gpu), torch.zeros(2, 2, 3, device=gpu), wants)
    }
    assert fitting == {"gated", "lstm"}
    cell = CELLS["gated"](3, 4).to(gpu)
    start = torch.zeros(2, 2, dtype=torch.bool, device=gpu)
    outputs, _ = scan(cell, torch.zeros(2, 2, 3, device=gpu), cell.initial_state(2), start)
    assert outputs.shape == (2, 2, 4)


def test_u_stays_as_far_as_shared_memory_goes():
    """128 units take 64 KiB in TF32 and twice as much as two parts; a smaller GPU has 99 KiB."""
    assert gpu.tile_for(100, 1, 8) == gpu.Tile(16, 128, 128, 1, 8)
    assert gpu.tile_for(128, 1, 8, shared=99 * 1024) == gpu.Tile(16, 128, 32, 3, 8)
    assert gpu.tile_for(128, 1, 4, shared=99 * 1024) == gpu.Tile(16, 128, 128, 1, 8)
    assert gpu.tile_for(64, 4, 8) == gpu.Tile(16, 64, 64, 1, 4)
    assert gpu.tile_for(65, 4, 2) == gpu.tile_for(129, 1, 2) == gpu.Tile(16, 128, 32, 3, 8)
    assert gpu.tile_for(3, 1, 8) == gpu.Tile(16, 16, 16, 1, 4)


# ---------------------------------------------------------------- compiled


@pytest.fixture(scope="module")
def compiled():
    """What Triton's compiler says of every program, in a process without its interpreter."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton, which comes with torch for CUDA")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    root = Path(__file__).parents[3]
    paths = [str(root), *filter(None, [environment.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, Path(__file__).with_name("triton_compiler.py")],
        env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def test_every_program_compiles_for_an_h100(compiled):
    """To PTX, with the matrix units for its products."""
    assert {told["target"] for told in compiled.values()} == {".target sm_90a"}
    scans = {name: told for name, told in compiled.items() if name != "advantages"}
    assert len(scans) == 20
    for name, told in scans.items():
        assert told["products"], name
        assert all(("bf16" in product) == ("medium" in name) for product in told["products"]), name


def test_u_stays_where_it_fits(compiled):
    """64 KiB of shared memory hold the U of 128 units; of three TF32 products it is kept twice."""
    for way in ("forward", "backward"):
        assert compiled[f"{way} gated 128 high"]["shared"] >= 128 * 128 * 4
        assert compiled[f"{way} gated 128 highest"]["shared"] >= 2 * 128 * 128 * 4
        assert compiled[f"{way} gated 256 high"]["shared"] < 64 * 1024
