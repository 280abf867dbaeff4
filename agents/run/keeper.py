"""What keeps a run while it trains: progress, evaluations, checkpoints, and a clean stop on a signal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from tqdm import tqdm

from agents import files
from agents.learn.saving import check_finite
from agents.run import curves, memory
from agents.run.config import RunConfig, write_config
from agents.run.folder import kept_of
from agents.run.stream import Say, Unfailing
from agents.run.written import typed

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What stops a run: Ctrl-C, the system's request, the end of the terminal."""


class Stopped(KeyboardInterrupt):
    """A second signal came, `number`: stop at once."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Measured(Protocol):
    """What an evaluation gives: a mean with its 95 % interval."""

    @property
    def mean(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...


class Learning(Protocol):
    """What learns: one of Stable-Baselines3's algorithms, or what is called as they are."""

    num_timesteps: int

    @property
    def policy(self) -> Any:
        """The network."""

    def set_logger(self, logger: Logger, /) -> None: ...
    def learn(self, total_timesteps: int, callback: BaseCallback, *, reset_num_timesteps: bool) -> object: ...


K = TypeVar("K", bound=RunConfig)
R = TypeVar("R", bound=Measured)


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
    signal: int | None = None
    """What interrupted it."""

    @property
    def exit_code(self) -> int:
        """What a script ends with: 0, or as a shell tells a signal."""
        return 0 if self.signal is None else 128 + self.signal


def resolve_device(name: str) -> str:
    """ "auto" is cuda where torch finds one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


class RunKeeper(BaseCallback, Generic[K, R]):
    """Keeps a run: progress bar, evaluations, checkpoints, and a clean stop on a signal (see `SIGNALS`).

    It works between an update and the next rollout, where the state is whole: a checkpoint taken there
    is one to go on from. What an evaluation is and what a checkpoint holds, a subclass says.
    """

    reads_locals = False
    """Of what the steps of matches tell it looks at nothing."""

    def __init__(self, config: K, run: Path, say: Say) -> None:
        super().__init__()
        self.config, self.run, self.say = config, run, say
        self.memory = memory.MemoryCurves(run, config)
        self.results: dict[str, R] = {}
        self.anchors: dict[str, R] = {}
        self.signal: int | None = None
        """What signal came."""
        self.is_stopping = False
        """It came in time to end training, and all is saved."""
        self.is_finished = False
        self._best = -math.inf
        self._judged: int | None = None  # the step of the latest evaluation but the final one
        self._handlers: dict[int, Any] = {}
        self._bar: tqdm[Any] | None = None
        self._seen = 0
        self._has_told = False

    # ------------------------------------------------ what a subclass says

    def headline(self) -> tuple[str, ...]:
        """The tags whose sum decides which checkpoint is the best."""
        raise NotImplementedError

    def bands(self) -> dict[str, tuple[str, str, str]]:
        """The tags of means and of their 95 % intervals' ends, by what the first page calls them."""
        raise NotImplementedError

    is_lowest_best: bool = False
    """The lowest sum is the best one."""

    def score(self, results: dict[str, R]) -> float:
        """The sum of what stands under these tags."""
        return sum(result.mean for result in results.values())

    def judge(self, is_final: bool) -> dict[str, R]:
        """Evaluate the agent, record the numbers with the logger, and return them by name.

        Every evaluation has deals of its own, which neither training nor another evaluation sees; the final
        one is recorded as final/... instead of eval/...
        """
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

    def parts(self) -> files.Parts:
        """What a checkpoint consists of."""
        raise NotImplementedError

    def gather(self) -> None:
        """Get ready to be judged and saved as it stands."""

    def is_asked_to_stop(self) -> bool:
        """A signal has come."""
        return self.signal is not None

    def cause(self, error: BaseException) -> BaseException:
        """What it is that ended the run, by an error."""
        return error

    def best_so_far(self) -> float:
        """The best score that the run has measured."""
        return _best_score(self.run, self.headline(), self._sign)

    # ------------------------------------------------ SB3's calls

    def _on_training_start(self) -> None:
        self._seen = self._evaluated = self._saved = self.model.num_timesteps
        self._best = self.best_so_far()
        self._stream = Unfailing(sys.stderr)
        self._bar = tqdm(
            total=self.config.total_timesteps,
            initial=self._seen,
            unit="decision",
            unit_scale=True,
            file=self._stream,
            disable=not (self.config.progress and self._stream.isatty()),
        )

    def _on_rollout_start(self) -> None:
        self._tell_of_signal()
        self._check_weights()
        n = self.model.num_timesteps
        is_judged = _crossed(self._evaluated, n, self.config.eval.every)
        is_saved = _crossed(self._saved, n, self.config.checkpoint_every)
        if is_judged or is_saved:
            self.gather()
        if is_judged:
            self._evaluated = n
            self.evaluate()
        is_stopping = self.is_asked_to_stop()  # read once: a signal may come at any moment
        if is_stopping or is_saved:
            self._saved = n
            self.gather()
            self.save()
        self.is_stopping = is_stopping

    def _on_step(self) -> bool:
        assert self._bar is not None
        self._tell_of_signal()
        if self.is_stopping:
            self.model.num_timesteps = self._saved  # this step is not in the checkpoint: it does not count
            return False
        self._bar.update(self.model.num_timesteps - self._seen)
        self._seen = self.model.num_timesteps
        return True

    # ------------------------------------------------ what it keeps

    def start(self, model: Learning) -> None:
        """Take the signals and say that the run runs."""
        self.init_callback(model)  # type: ignore[arg-type]  # it asks for no more than `Learning`
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # Who started it with nohup wants it to outlive the terminal.
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._interrupt)
        self._status("running")

    def finish(self) -> None:
        """The last checkpoint, evaluation and replay."""
        if self._bar is not None:
            self._bar.close()
        self.gather()
        self.save()
        self.results = self.evaluate(is_final=True)
        self.anchors = self.judge_anchors()
        self._status("finished")
        self.is_finished = True

    def end(self, error: BaseException | None) -> None:
        """Write down how a run ended that is not finished: by a signal or by an error."""
        if error is None or isinstance(error, KeyboardInterrupt):
            self._status("interrupted")
            return
        with contextlib.suppress(OSError):  # a full disk, for one; `error` is the thing to tell
            self._status("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")

    def release(self) -> None:
        """Give back the terminal and the signals."""
        if self._bar is not None:
            self._bar.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def save(self) -> Path:
        """A checkpoint; of the older ones beyond `keep_checkpoints` those go that `files.prune` says.

        Raises:
            FloatingPointError: the weights are no longer finite; the checkpoints stay as they are.
        """
        path = self.run / "checkpoints" / f"step_{self.model.num_timesteps}"
        parts = self.parts()
        check_finite(parts, path)
        training = {**parts.get("training.json", {}), "config": kept_of(self.config)}
        is_other = path.exists()
        was_written = files.save_folder(files.packed({**parts, "training.json": training}), path)
        if files.pointed(self.run, "latest") != path.resolve():
            files.point(self.run, "latest", path)
        best = files.pointed(self.run, "best")
        if best is None:
            files.point(self.run, "best", path)
        elif is_other and was_written and best == path.resolve():
            self._best = -math.inf  # it was given up: what has its name now is yet to be judged
        try:
            files.prune(self.run, path, self.config.keep_checkpoints)
        except OSError as error:
            self.say(f"note         an old checkpoint stays: {error}")
        return path

    def evaluate(self, is_final: bool = False) -> dict[str, R]:
        """Judge the agent and log it; the best one so far is saved.

        The final evaluation decides nothing: what is the best is decided by the ordinary ones, of which there
        is one at the same step.
        """
        if is_final and self._judged != self.model.num_timesteps:
            self.evaluate()
        results = self.judge(is_final)
        self.model.logger.dump(self.model.num_timesteps)
        if self._bar is not None and not self._bar.disable:
            told = f"{self.model.num_timesteps:>12,} decisions: {self.describe(results)}"
            self._bar.write(told, file=self._stream)
        if is_final:
            return results
        self._judged = self.model.num_timesteps
        score = self._sign * self.score(results)
        if self.headline() and score > self._best:
            files.point(self.run, "best", self.save())
            self._best = score
        return results

    @property
    def _sign(self) -> int:
        """Of scores, so that the highest one is the best."""
        return -1 if self.is_lowest_best else 1

    def _check_weights(self) -> None:
        """Refuse to play with weights that are not finite; a loss that is told nothing of it."""
        weights = dict(self.model.policy.named_parameters())
        if not bool(torch.stack([torch.isfinite(x).all() for x in weights.values()]).all()):
            name = next(name for name, x in weights.items() if not torch.isfinite(x).all())
            raise FloatingPointError(
                f"after {self.model.num_timesteps:,} decisions the weights are no longer finite ({name}); "
                "a smaller learning_rate or max_grad_norm may help, or rewards in a smaller range"
            )

    def _tell_of_signal(self) -> None:
        if self.signal is not None and not self._has_told:
            self._has_told = True
            self.say("stopping after this update; once more stops at once")

    def _status(self, status: str, reason: str | None = None) -> None:
        """`run.json`: how the run stands, and why."""
        value = {
            "status": status,
            **({} if reason is None else {"reason": reason}),
            "timesteps": self.model.num_timesteps,
            "total_timesteps": self.config.total_timesteps,
            "torch": torch.__version__,
            "results": {name: self.summary(result) for name, result in self.results.items()},
        }
        files.write_file(self.run / "run.json", (json.dumps(value, indent=2) + "\n").encode())

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """It comes at any moment, between any two lines: it does nothing but remember."""
        if self.signal is not None:  # a second signal: stop now; the latest checkpoint stands
            raise Stopped(number)
        self.signal = number


def learn(model: Learning, keeper: RunKeeper[K, R], resumed_at: int | None) -> Outcome[R]:
    """Learn, then evaluate, with everything written into the keeper's run, which is `locked`."""
    config, run = keeper.config, keeper.run
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.callback(keeper.release)
        try:
            keeper.start(model)
            left = config.total_timesteps - model.num_timesteps
            if left <= 0 and resumed_at is not None:
                curves.forget_evaluation(run, resumed_at)
            logger = curves.make_logger(run, resumed_at)
            stack.callback(logger.close)
            model.set_logger(logger)
            if resumed_at is None:
                curves.record_hparams(logger, config, keeper.headline())
                shown = model.policy if config.eval.memory_every > 0 else None
                curves.record_layout(logger, memory.layout_of(keeper.bands(), shown), write_config(config))
            keeper.say(f"run folder   {run}")
            keeper.say(f"curves       {typed('tensorboard', '--logdir', run.parent)}")
            if left > 0:
                model.learn(left, keeper, reset_num_timesteps=resumed_at is None)
            else:
                keeper.on_training_start({}, {})
            if keeper.is_stopping:
                keeper.end(None)
            else:
                keeper.finish()
        except BaseException as error:
            keeper.end(keeper.cause(error))
            raise
    seconds = time.perf_counter() - began
    is_finished = keeper.is_finished
    return Outcome(
        run, model.num_timesteps, seconds, not is_finished, keeper.results, keeper.anchors,
        None if is_finished else keeper.signal,
    )  # fmt: skip


def follow(model: Learning, keeper: RunKeeper[K, R], resumed_at: int | None) -> Outcome[R]:
    """`learn` beside the process that keeps the run, with a keeper that writes nothing."""
    began = time.perf_counter()
    try:
        keeper.start(model)
        left = keeper.config.total_timesteps - model.num_timesteps
        if left > 0:
            model.learn(left, keeper, reset_num_timesteps=resumed_at is None)
        else:
            keeper.on_training_start({}, {})
        if not keeper.is_stopping:
            keeper.finish()
    finally:
        keeper.release()
    seconds = time.perf_counter() - began
    number = keeper.signal if keeper.is_stopping else None
    return Outcome(keeper.run, model.num_timesteps, seconds, keeper.is_stopping, {}, {}, number)


def _crossed(before: int, now: int, every: int) -> bool:
    """A multiple of `every` lies in (before, now]."""
    return now // every > before // every


def _best_score(run: Path, tags: tuple[str, ...], sign: int = 1) -> float:
    """The best sum of the `tags`, times `sign`, that a resumed run has measured so far; what is no number is
    left out."""
    lines = curves.read_lines(run / "metrics.jsonl")
    told: list[list[Any]] = [[line.get(tag) for tag in tags] for line in lines]
    scores = [sign * sum(numbers) for numbers in told if all(isinstance(x, (int, float)) for x in numbers)]
    scores = [score for score in scores if math.isfinite(score)]
    return max(scores, default=-math.inf)
