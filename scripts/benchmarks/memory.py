"""What a large training takes of memory, beside a count on paper: one in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import agents
import envs
from agents.learn.rollout import Rollout
from agents.net.policy import RecurrentPolicy
from benchmarks import floor
from benchmarks.options import Common
from benchmarks.telling import Aim, Interval, Report, Row, Table, clock_of

BAR = 1.5
MATCHES, STEPS, HIDDEN, MINIBATCHES = 4096, 64, 256, 4

OPENING = (
    "Phantom tic-tac-toe by self-play, {B:,} matches, n_steps {T}, {H} units, {M} minibatches, two updates "
    "of one epoch: peak resident memory of a process, less what it held before the algorithm was made, "
    "kernels compiled and a small training done.",
    "On paper: the record of a rollout with the memories before it; of the rows of one minibatch what "
    "derivatives are made of (one-hot codes, features, the cell's state and saved gates, layers of the "
    "heads, the distribution), 4 bytes a number; weights, gradients and Adam's two means.",
)
HEADER = ("what", "MB")


def measure(options: Common) -> Report:
    """One training, measured in a child."""
    sizes = (MATCHES, STEPS, HIDDEN, options.threads or torch.get_num_threads())
    code = (
        f"import sys; sys.path.insert(0, sys.argv[1]); from benchmarks.memory import child; child(*{sizes})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parents[1])],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(f"the measured training failed: {done.stderr.strip()[-300:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    taken = told["peak"] - told["before"]
    paper = {name: told[name] for name in ("rollout", "minibatch", "weights")}
    share = taken / sum(paper.values())
    aim = f"memory of training, B {MATCHES:,}, T {STEPS}, H {HIDDEN}, beside the count on paper"
    lines = [(name, told[name]) for name in ("before", "peak")]
    lines += [("taken", taken), *paper.items(), ("on paper", sum(paper.values()))]
    return Report(
        "Memory of training",
        clock_of(options),
        opening=[line.format(B=MATCHES, T=STEPS, H=HIDDEN, M=MINIBATCHES) for line in OPENING],
        tables=[Table(HEADER, [[name, f"{number / 1e6:,.0f}"] for name, number in lines])],
        rows=[Row({"what": "memory, bytes", **dict(lines)}, {})],
        aims=[Aim(aim, Interval(share, share, share), BAR, None, "x", True)],
    )


def child(matches: int, steps: int, hidden: int, threads: int) -> None:
    """Train, and print what it took as JSON; bytes."""
    torch.set_num_threads(threads)
    _train(2 * MINIBATCHES, 8, hidden)
    before, _ = _resident()
    model = _train(matches, steps, hidden)
    told = {"before": before, "peak": _resident()[1]} | on_paper(model.policy, model.rollout, MINIBATCHES)
    print(json.dumps(told))


def _train(matches: int, steps: int, hidden: int) -> Any:
    model = agents.MaskableRecurrentPPO(
        "MlpLstmPolicy",
        envs.Batch(envs.make("phantom_tictactoe"), matches),
        n_steps=steps,
        batch_size=matches * steps // MINIBATCHES,
        n_epochs=1,
        policy_kwargs={
            "lstm_hidden_size": hidden,
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "net_arch": [64],
        },
        seed=0,
    )
    return model.learn(2 * matches * steps)


def _resident() -> tuple[float, float]:
    """Bytes that are resident now, and the most that were.

    Linux tells both in /proc; the peak that `getrusage` tells there is at least that of the process which
    started this one. Elsewhere (macOS, in bytes) the peak stands for both.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line.split() for line in status.read_text(encoding="utf-8").splitlines()]
        told = {line[0]: line[1] for line in lines if len(line) > 1}
        return 1024.0 * int(told["VmRSS:"]), 1024.0 * int(told["VmHWM:"])
    import resource  # not on Windows

    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak, peak


def on_paper(policy: RecurrentPolicy, rollout: Rollout, minibatches: int) -> dict[str, int]:
    """Bytes of the record, of what a minibatch's derivatives are made of, and of the weights."""
    T, B = rollout.shape
    record = [x for x in vars(rollout).values() if isinstance(x, Tensor)]
    record += [*rollout.memory.cores, rollout.memory.previous]
    encoders, cell, layers = floor.parts_of(policy)
    features = encoders[0][1]
    numbers = sum(codes for codes, _ in encoders) + features
    numbers += cell.hidden_size * (len(cell.parts) + len(cell.saved))
    numbers += sum(outputs for _, outputs in layers) + policy.family.parameters
    return {
        "rollout": sum(x.nbytes for x in record),
        "minibatch": 4 * numbers * T * B // minibatches,
        "weights": 4 * sum(p.nbytes for p in policy.parameters()),
    }
