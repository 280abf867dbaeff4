"""The CUDA kernels: simulated, compiled without a GPU, and on a GPU where there is one.

pytest tests/envs/test_cuda.py --device cuda
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from listed import LISTED, small

import envs
from envs import Batch, kernels, make

cuda = pytest.importorskip("numba.cuda", reason="needs numba-cuda")

ROOT = Path(__file__).parents[2]
OUTPUTS = ("observation", "legal", "seat", "reward", "over", "illegal")

VARIANTS = [
    *LISTED,
    ("phantom_tictactoe", {"abrupt": True, "reveal": "turns"}),
    ("dark_hex", {"rows": 2, "cols": 2, "abrupt": True}),
    ("dark_hex", {"rows": 5, "cols": 4, "reveal": "turns"}),
    ("battleship", {"seats": 2, "rows": 3, "cols": 3, "ships": "2,3,1", "shots": 6}),
    ("concentration", {"level": "hard"}),
    ("minesweeper", {"level": "medium"}),
]
NEIGHBOURS = ("generals", {"map": "AB../..../..0./...#", "max_ticks": 16})
"""Generals that sometimes fall; for the compiler it is the same as another board of this size."""
EVERY, SOME = "every match", "some matches"  # `step` and `step_if`
PLAYS = [(name, options, which) for name, options in (*VARIANTS, NEIGHBOURS) for which in (EVERY, SOME)]
PLAY_IDS = [f"{name}-{options}-{which}" for name, options, which in PLAYS]


def is_repeated(variant):
    """A variant of rules that are listed before it; what the compiler makes of it differs in sizes alone."""
    before = VARIANTS[: VARIANTS.index(variant)]
    kind = type(make(variant[0], **variant[1]))
    return any(type(make(name, **options)) is kind for name, options in before)


REPEATED = [variant for variant in VARIANTS if is_repeated(variant)]


def fast(cases, is_slow):
    """Parameters of which some are marked slow."""
    return [pytest.param(*case, marks=pytest.mark.slow if is_slow(case) else ()) for case in cases]


def shown(batch):
    """Every output and the state's bytes, by name."""
    told = {name: getattr(batch, name) for name in OUTPUTS} | {"episode": batch.state_dict()["episode"]}
    told["states"] = torch.from_numpy(batch.states.view(np.uint8).reshape(batch.matches, -1))
    if batch.final is not None:
        told["final"] = batch.final
    return {name: tensor.cpu().numpy().copy() for name, tensor in told.items()}


def play_on_cpu(game, matches, steps, seed, which=EVERY):
    """Random play: the actions [T, B], the matches that were stepped [T, B] (SOME: three in four, EVERY:
    None) and what was shown, the reset first.

    One action in twenty is wild, half of these out of range; fewer in a long game, whose matches shall
    come to their own end too.
    """
    random = np.random.default_rng(seed)
    share = min(0.05, 1 / game.max_length)
    batch = Batch(game, matches, seed=seed)
    if which == SOME:
        batch.keep_final()
    actions, only, told = [], [], [shown(batch)]
    for _ in range(steps):
        legal = batch.legal.numpy()
        now = np.where(legal, random.random(legal.shape), -1.0).argmax(1)
        wild = random.random(matches) < share
        outside = random.choice([-1, game.actions], matches)
        anything = np.where(
            random.random(matches) < 0.5, outside, random.integers(game.actions, size=matches)
        )
        now[wild] = anything[wild]
        stepped = random.random(matches) < 0.75
        batch.step(torch.from_numpy(now), torch.from_numpy(stepped) if which == SOME else None)
        actions.append(now)
        only.append(stepped)
        told.append(shown(batch))
    stacked = {name: np.stack([moment[name] for moment in told]) for name in told[0]}
    return np.stack(actions), np.stack(only) if which == SOME else None, stacked


# ---------------------------------------------------------------- simulated


@pytest.fixture(scope="module")
def simulated(request, tmp_path_factory):
    """Every play that a selected test asks for on the CPU, replayed in the simulator, in one child process:
    at least two whole matches in each lane."""
    folder = tmp_path_factory.mktemp("simulator")
    test = test_simulated_kernels_give_the_same_bytes.__name__
    asked = sorted(item.callspec.params["i"] for item in request.session.items if item.originalname == test)
    on_cpu, variants = {}, {}
    for i in asked:
        name, options, which = PLAYS[i]
        game, seed = make(name, **options), 2**64 - 1 - i
        steps = max(40, 2 * game.max_length + 6) if which == EVERY else max(54, 3 * game.max_length + 6)
        on_cpu[i] = play_on_cpu(game, 7, steps, seed, which)
        variants[i] = [name, options, seed]
    given = {f"actions_{i}": actions for i, (actions, _, _) in on_cpu.items()}
    given |= {f"only_{i}": only for i, (_, only, _) in on_cpu.items() if only is not None}
    np.savez(folder / "in.npz", variants=np.array(json.dumps(variants)), **given)

    child = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("cuda_simulator.py"),
            folder / "in.npz",
            folder / "out.npz",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    with np.load(folder / "out.npz", allow_pickle=False) as results:
        return on_cpu, dict(results)


@pytest.mark.parametrize(
    "i",
    fast(((i,) for i in range(len(PLAYS))), lambda case: PLAYS[case[0]][:2] in REPEATED and case[0] % 2 == 0),
    ids=PLAY_IDS,
)
def test_simulated_kernels_give_the_same_bytes(simulated, i):
    """7 matches: they end and begin, some actions are illegal, one thread a match."""
    on_cpu, results = simulated
    told = on_cpu[i][2]
    assert ("final" in told) == (PLAYS[i][2] == SOME)
    for name, array in told.items():
        assert results[f"{name}_{i}"].dtype == array.dtype
        np.testing.assert_array_equal(results[f"{name}_{i}"], array, err_msg=name)
    assert told["episode"][-1].min() >= 2  # each lane began a second match at least
    assert told["illegal"].sum() >= 3
    assert (told["over"] & ~told["illegal"]).sum() >= 5


# ---------------------------------------------------------------- compiled


def signature(game, kernel):
    """Types of the arguments of `kernel` (its name), in `envs.kernels`' order."""
    from numba import types

    state, code = numba.from_dtype(game.state), numba.from_dtype(game.observation_space.dtype)

    def array(dtype, dimensions):
        return types.Array(dtype, dimensions, "C")

    dimensions = 1 + len(game.observation_space.shape)
    arguments = (
        *(types.int64, types.int64),  # first, last
        *(array(state, 1), array(state, 1), array(types.uint64, 1)),  # states, blank, seed
        *(array(types.int64, 1), array(code, dimensions)),  # episode, observation
        *(array(types.boolean, 2), array(types.int64, 1)),  # mask, seat
        *(array(types.float32, 2), array(types.boolean, 1), array(types.boolean, 1)),  # reward, over, illegal
    )
    turn = (array(types.int64, 1), types.float32)  # actions, low
    some = (array(types.boolean, 1), array(code, 1 + dimensions))  # only, final
    return arguments + {"reset": (), "step": turn, "step_if": turn + some}[kernel]


@pytest.mark.parametrize(("name", "options"), fast(VARIANTS, lambda case: case in REPEATED), ids=str)
def test_kernels_compile_to_ptx(name, options, monkeypatch):
    """For the GPU at hand, or where there is none for an H100 (sm_90): numba-cuda asks a device for
    nothing but its compute capability, and NVIDIA's compiler libraries need no GPU."""
    pytest.importorskip("cuda.bindings.nvvm", reason="needs nvidia-nvvm and nvidia-cuda-nvrtc")
    if torch.cuda.is_available():
        capability = torch.cuda.get_device_capability()
    else:
        capability = (9, 0)

        class H100:
            compute_capability = capability

        monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", H100)

    game = make(name, **options)
    for kernel, compiled in kernels.cuda_kernels(type(game))._asdict().items():
        ptx, result = cuda.compile_ptx(compiled.py_func, signature(game, kernel), cc=capability)
        assert ".target sm_{}{}".format(*capability) in ptx
        assert ".visible .entry" in ptx
        assert ".extern .func" not in ptx  # it needs nothing linked to it
        assert result == numba.types.none


# ---------------------------------------------------------------- on a GPU


@pytest.mark.parametrize(("name", "options", "which"), PLAYS, ids=PLAY_IDS)
def test_a_gpu_gives_the_same_bytes(name, options, which, gpu):
    """1,000 matches, 60 steps, some actions illegal: every output and every state byte."""
    game = make(name, **options)
    actions, only, told = play_on_cpu(game, matches=1_000, steps=60, seed=7, which=which)
    batch = Batch(game, 1_000, device=gpu, seed=7)
    if which == SOME:
        batch.keep_final()
    addresses = [getattr(batch, output).data_ptr() for output in OUTPUTS]
    for t, now in enumerate([None, *actions]):
        if now is not None:
            batch.step(torch.from_numpy(now), None if only is None else torch.from_numpy(only[t - 1]))
        for output, array in shown(batch).items():
            np.testing.assert_array_equal(array, told[output][t], err_msg=f"{output} after step {t}")
    assert [getattr(batch, output).data_ptr() for output in OUTPUTS] == addresses


def test_a_saved_batch_moves_between_devices(gpu):
    game = make("dark_hex")
    actions, _, told = play_on_cpu(game, matches=100, steps=40, seed=3)
    there, back = Batch(game, 100, device=gpu), Batch(game, 100)
    start = Batch(game, 100, seed=3)
    there.keep_actions()
    there.load_state_dict(start.state_dict())
    for now in actions[:20]:
        there.step(torch.from_numpy(now).to(gpu))
    back.load_state_dict(there.state_dict())
    for now in actions[20:]:
        back.step(torch.from_numpy(now))
    for output, array in shown(back).items():
        np.testing.assert_array_equal(array, told[output][-1], err_msg=output)


@pytest.mark.parametrize("name", envs.GAMES)
def test_a_step_can_be_captured_in_a_cuda_graph(name, gpu):
    """Choosing (the first legal action) and stepping, captured once and replayed 50 times, is what the
    CPU plays; the graph reads and writes the batch's own tensors."""
    game = small(name)
    batch = Batch(game, 300, device=gpu, seed=1)

    def move():
        batch.step(batch.legal.int().argmax(1))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warming up compiles and loads the kernels
        move()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        move()
    batch.reset(seed=2)  # the graph reads the seed where the batch keeps it

    here = Batch(game, 300, seed=2)
    for _ in range(50):
        graph.replay()
        here.step(here.legal.int().argmax(1))
        told = shown(here)
        for output, array in shown(batch).items():
            np.testing.assert_array_equal(array, told[output], err_msg=output)
