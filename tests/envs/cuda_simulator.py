"""Replays batches with the CUDA kernels in numba's CUDA simulator: `cuda_simulator.py IN.npz OUT.npz`.

Run as its own process by `test_cuda.py`: the simulator is chosen when numba is imported, and under it
the verbs must be plain Python. IN holds `variants` (JSON: [name, options, seed] by a number i) and for
each of them `actions_i` [T, B] and, if not every match is stepped, `only_i` [T, B]; OUT gets for each
`<output>_i` [T + 1, B, ...], the reset first.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
os.environ["NUMBA_DISABLE_JIT"] = "1"

import numpy as np

import envs
from envs import kernels

THREADS = 4  # a block; with one block too many, so that some threads have no match


def replay(game, actions, only, seed):
    """Play `actions` [T, B] where `only` [T, B] (None: everywhere) says so; returns every output and the
    state's bytes, stacked along time."""
    matches = actions.shape[1]
    blank = np.zeros(1, game.state)
    blank[0] = game.blank()
    states = np.zeros(matches, game.state)
    episode = np.zeros(matches, np.int64)
    outputs = {
        "observation": np.zeros((matches, *game.observation_space.shape), game.observation_space.dtype),
        "legal": np.zeros((matches, game.actions), np.bool_),
        "seat": np.zeros(matches, np.int64),
        "reward": np.zeros((matches, game.seats), np.float32),
        "over": np.zeros(matches, np.bool_),
        "illegal": np.zeros(matches, np.bool_),
    }
    arguments = (0, matches, states, blank, np.array([seed], np.uint64), episode, *outputs.values())
    shown = outputs | {"episode": episode, "states": states.view(np.uint8).reshape(matches, -1)}
    if only is not None:
        shape = (matches, game.seats, *game.observation_space.shape)
        shown["final"] = np.zeros(shape, game.observation_space.dtype)
    reset, step, step_if = kernels.cuda_kernels(type(game))
    blocks = -(-matches // THREADS) + 1

    reset[blocks, THREADS](*arguments)
    told = [{name: array.copy() for name, array in shown.items()}]
    for t, now in enumerate(actions):
        turn = (*arguments, now, np.float32(game.return_range[0]))
        if only is None:
            step[blocks, THREADS](*turn)
        else:
            step_if[blocks, THREADS](*turn, only[t], shown["final"])
        told.append({name: array.copy() for name, array in shown.items()})
    return {name: np.stack([moment[name] for moment in told]) for name in shown}


def main(source, target):
    # Random numbers wrap around at 2 ** 64; NumPy mentions it, compiled code does not.
    warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
    results = {}
    with np.load(source, allow_pickle=False) as given:
        for i, (name, options, seed) in json.loads(str(given["variants"])).items():
            only = given.get(f"only_{i}")
            told = replay(envs.make(name, **options), given[f"actions_{i}"], only, seed)
            results |= {f"{output}_{i}": array for output, array in told.items()}
    np.savez(target, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
