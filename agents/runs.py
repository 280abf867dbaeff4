"""What every training run shares: its folder, its clean stop, its checkpoints, and how it goes on.

runs/<what>__<cell>__s<seed>__<UTC time>/
    config.yaml command.txt run.json    what was asked, and how it went
    metrics.jsonl tensorboard/          the curves; metrics.jsonl is the record of truth
    checkpoints/step_<n>/               complete states; latest.json and best.json name one
    replays/                            what the agent did, drawn
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from agents import checkpoint, metrics
from agents.config import Config, RunConfig, WorldConfig, read_config, write_config
from agents.written import typed

MAY_CHANGE = (
    "total_timesteps",
    "device",
    "run_dir",
    "checkpoint_every",
    "keep_checkpoints",
    "progress",
    "eval",
)
"""Parts of a configuration that a resumed run may change."""

Say = Callable[[str], None]

SAY: Say = functools.partial(print, flush=True)
"""Prints a line at once, also into a pipe."""


class Measured(Protocol):
    """What an evaluation gives: a mean with its 95 % interval."""

    @property
    def mean(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...


K = TypeVar("K", bound=RunConfig)
R = TypeVar("R", bound=Measured)
C = TypeVar("C", Config, WorldConfig)


@dataclasses.dataclass
class Outcome(Generic[R]):
    """How a run ended."""

    run: Path
    timesteps: int
    seconds: float
    was_interrupted: bool
    results: dict[str, R]
    """What the last evaluation gave, by name; empty if the run was interrupted."""
    anchors: dict[str, R]
    """What untrained players get in the same place, by name."""


# ---------------------------------------------------------------- beginning and going on


def begin(config: RunConfig, name: str, command: str) -> Path:
    """Make a run's folder, `name` and the time in its own name; what was asked is written down in it."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    run = _new_folder(Path(config.run_dir) / f"{name}__s{config.seed}__{now}")
    for folder in ("tensorboard", "checkpoints", "replays"):
        (run / folder).mkdir()
    checkpoint.write_file(run / "config.yaml", write_config(config).encode())
    checkpoint.write_file(run / "command.txt", (command + "\n").encode(errors="surrogateescape"))
    return run


def _new_folder(path: Path) -> Path:
    """Make the folder; if another run began in the same second, one with a number behind its name."""
    run, number = path, 1
    while True:
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            if not run.exists():  # what is in the way is above it
                raise
        else:
            return run
        number += 1
        run = path.with_name(f"{path.name}-{number}")


def changed(run: Path, kind: type[C], change: Callable[[C], C]) -> C:
    """The configuration to go on with: the run's own, changed by `change` where a resumed run may be.

    Raises:
        FileNotFoundError, ValueError: it is no run, or `change` touches what may not change.
    """
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"{run}: there is no run to resume (no config.yaml)")
    old = read_config(run / "config.yaml", kind)
    new = change(old)
    kept = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in MAY_CHANGE and getattr(old, field.name) != getattr(new, field.name)
    ]
    if kept:
        raise ValueError(
            f"{run}: a resumed run keeps its {', '.join(kept)}; only {', '.join(MAY_CHANGE)} may change"
        )
    return new


def go_on(run: Path, config: RunConfig, timesteps: int, say: Say) -> None:
    """Write down the configuration that a run of `timesteps` decisions goes on with.

    Raises:
        ValueError: there is nothing left to do.
    """
    if timesteps >= config.total_timesteps:
        raise ValueError(
            f"{run}: is finished ({timesteps:,} of {config.total_timesteps:,} decisions); "
            "ask for more with --total-timesteps"
        )
    checkpoint.write_file(run / "config.yaml", write_config(config).encode())
    say(f"resumed at {timesteps:,} of {config.total_timesteps:,} decisions")


def resolve_device(name: str) -> str:
    """ "auto" is cuda where torch finds one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


# ---------------------------------------------------------------- the run itself


class RunKeeper(BaseCallback, Generic[K, R]):
    """Keeps a run: progress bar, evaluations, checkpoints, and a clean stop on Ctrl-C or SIGTERM.

    It works between an update and the next rollout, where the state is whole: a checkpoint taken there
    is one to go on from. What an evaluation is and what a checkpoint holds, a subclass says.
    """

    def __init__(self, config: K, run: Path, say: Say) -> None:
        super().__init__()
        self.config, self.run, self.say = config, run, say
        self.results: dict[str, R] = {}
        self.anchors: dict[str, R] = {}
        self.is_interrupted = False
        """A signal came."""
        self.is_stopping = False
        """It came in time to end training, and all is saved."""
        self.is_finished = False
        self._best = -math.inf
        self._handlers: dict[int, Any] = {}
        self._bar: tqdm[Any] | None = None
        self._seen = 0

    # ------------------------------------------------ what a subclass says

    def headline(self) -> tuple[str, ...]:
        """The tags whose sum decides which checkpoint is the best."""
        raise NotImplementedError

    def judge(self, is_final: bool) -> dict[str, R]:
        """Evaluate the agent, record the numbers with the logger, and return them by name."""
        raise NotImplementedError

    def judge_anchors(self) -> dict[str, R]:
        """Evaluate untrained players where the agent was evaluated last."""
        return {}

    def describe(self, results: dict[str, R]) -> str:
        """An evaluation in a few words, for the line above the progress bar."""
        raise NotImplementedError

    def summary(self, result: R) -> dict[str, float]:
        """A result in `run.json`."""
        raise NotImplementedError

    def files(self) -> dict[str, bytes]:
        """The files of a checkpoint."""
        raise NotImplementedError

    # ------------------------------------------------ SB3's calls

    def _on_training_start(self) -> None:
        self._seen = self._evaluated = self._saved = self.model.num_timesteps
        self._best = _best_score(self.run, self.headline())
        self._status("running")
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._interrupt)
        is_shown = self.config.progress and sys.stderr.isatty()
        self._bar = tqdm(
            total=self.config.total_timesteps,
            initial=self._seen,
            unit="decision",
            unit_scale=True,
            disable=not is_shown,
        )

    def _on_rollout_start(self) -> None:
        n = self.model.num_timesteps
        if _crossed(self._evaluated, n, self.config.eval.every):
            self._evaluated = n
            self.evaluate()
        is_stopping = self.is_interrupted  # read once: a signal may come at any moment
        if is_stopping or _crossed(self._saved, n, self.config.checkpoint_every):
            self._saved = n
            self.save()
        self.is_stopping = is_stopping

    def _on_step(self) -> bool:
        assert self._bar is not None
        if self.is_stopping:
            self.model.num_timesteps = self._saved  # this step is not in the checkpoint: it does not count
            return False
        self._bar.update(self.model.num_timesteps - self._seen)
        self._seen = self.model.num_timesteps
        return True

    # ------------------------------------------------ what it keeps

    def finish(self) -> None:
        """The last evaluation, checkpoint and replay."""
        if self._bar is not None:
            self._bar.close()
        self.results = self.evaluate(is_final=True)
        self.anchors = self.judge_anchors()
        self.save()
        self._status("finished")
        self.is_finished = True

    def release(self) -> None:
        """Give back the terminal and the signals."""
        if self._bar is not None:
            self._bar.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
        if self.is_interrupted and not self.is_finished:
            self._status("interrupted")

    def save(self) -> Path:
        """A checkpoint; the older ones beyond `keep_checkpoints` go, the best one stays."""
        path = self.run / "checkpoints" / f"step_{self.model.num_timesteps}"
        checkpoint.save_folder(self.files(), path)
        checkpoint.point(self.run, "latest", path)
        if not (self.run / "best.json").exists():
            checkpoint.point(self.run, "best", path)
        best = json.loads((self.run / "best.json").read_text(encoding="utf-8"))["checkpoint"]
        steps = sorted(
            (self.run / "checkpoints").glob("step_*"), key=lambda p: int(p.name.removeprefix("step_"))
        )
        for old in steps[: -self.config.keep_checkpoints]:
            if old != self.run / best:
                shutil.rmtree(old)
        return path

    def evaluate(self, is_final: bool = False) -> dict[str, R]:
        """Judge the agent and log it; the best one so far is saved."""
        results = self.judge(is_final)
        self.model.logger.dump(self.model.num_timesteps)
        if self._bar is not None and not self._bar.disable:
            told = f"{self.model.num_timesteps:>12,} decisions: {self.describe(results)}"
            self._bar.write(told, file=sys.stderr)
        score = sum(result.mean for result in results.values())
        if results and score > self._best:
            self._best = score
            checkpoint.point(self.run, "best", self.save())
        return results

    def _status(self, status: str) -> None:
        """`run.json`: how the run stands."""
        value = {
            "status": status,
            "timesteps": self.model.num_timesteps,
            "total_timesteps": self.config.total_timesteps,
            "torch": torch.__version__,
            "results": {name: self.summary(result) for name, result in self.results.items()},
        }
        checkpoint.write_file(self.run / "run.json", (json.dumps(value, indent=2) + "\n").encode())

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.is_interrupted:  # a second signal: stop now; the latest checkpoint stands
            raise KeyboardInterrupt
        self.is_interrupted = True
        self.say("stopping after this update; once more stops at once")


def learn(model: BaseAlgorithm, keeper: RunKeeper[K, R], resumed_at: int | None) -> Outcome[R]:
    """Learn, then evaluate, with everything written into the keeper's run."""
    config, run = keeper.config, keeper.run
    logger = metrics.make_logger(run, resumed_at)
    model.set_logger(logger)
    if resumed_at is None:
        metrics.record_hparams(logger, config, keeper.headline())
    keeper.say(f"run folder   {run}")
    keeper.say(f"curves       {typed('tensorboard', '--logdir', Path(config.run_dir))}")
    began = time.perf_counter()
    try:
        model.learn(
            config.total_timesteps - model.num_timesteps, keeper, reset_num_timesteps=resumed_at is None
        )
        if not keeper.is_stopping:
            keeper.finish()
    finally:
        keeper.release()
        logger.close()
    seconds = time.perf_counter() - began
    return Outcome(run, model.num_timesteps, seconds, not keeper.is_finished, keeper.results, keeper.anchors)


def _crossed(before: int, now: int, every: int) -> bool:
    """A multiple of `every` lies in (before, now]."""
    return now // every > before // every


def _best_score(run: Path, tags: tuple[str, ...]) -> float:
    """The best sum of the `tags` that a resumed run has measured so far."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return max(
        (sum(line[tag] for tag in tags) for line in lines if set(tags) <= set(line)), default=-math.inf
    )
