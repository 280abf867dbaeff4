"""What every training run shares: its folder, its clean stop, its checkpoints, and how it goes on.

runs/<what>__<cell>__s<seed>__<UTC time>/
    config.yaml command.txt run.json    what was asked, and how it went
    metrics.jsonl tensorboard/          the curves; metrics.jsonl is the record of truth
    checkpoints/step_<n>/               complete states; latest.json and best.json name one
    replays/                            what the agent did, drawn
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from agents import checkpoint, lock, metrics
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

STATUSES = ("running", "finished", "interrupted", "failed")
"""What `run.json` may say."""

Say = Callable[[str], None]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What stops a run: Ctrl-C, the system's request, the end of the terminal."""


class Stopped(KeyboardInterrupt):
    """A second signal came, `number`: stop at once."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Unfailing:
    """A stream that anybody may stop reading: from then on it is silent, and nothing else happens."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            return self.write(text.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError, AttributeError):  # AttributeError: there is none (None)
            self._hush()
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError, AttributeError):
            self._hush()

    def isatty(self) -> bool:
        try:
            return bool(self.stream.isatty())
        except (OSError, ValueError, AttributeError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _hush(self) -> None:
        """What is still kept for the reader goes nowhere, also at the end of the process."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number = self.stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def say(line: str) -> None:
    """Print a line at once, also into a pipe, whether or not anybody reads it still."""
    print(line, file=Unfailing(sys.stdout), flush=True)


def say_aside(line: str) -> None:
    """The same on standard error."""
    print(line, file=Unfailing(sys.stderr), flush=True)


SAY: Say = say


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
    signal: int | None = None
    """What interrupted it."""

    @property
    def exit_code(self) -> int:
        """What a script ends with: 0, or as a shell tells a signal."""
        return 0 if self.signal is None else 128 + self.signal


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


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Train in a run's folder, alone; what a killed process left half done is cleared up first.

    Raises:
        RuntimeError: another process trains there.
    """
    with lock.locked(run):
        checkpoint.recover(run)
        yield


def found(path: str | Path) -> tuple[Path, Path | None]:
    """The run that `path` is or is a checkpoint of, and the checkpoint if it is one.

    Raises:
        FileNotFoundError: it is neither.
    """
    path = Path(path)
    if (path / "config.yaml").is_file():
        return path, None
    for part in (path, path.resolve()):
        if part.parent.name == "checkpoints" and (part.parent.parent / "config.yaml").is_file():
            return part.parent.parent, part
    raise FileNotFoundError(f"{path}: there is no run to resume (no config.yaml)")


def status(run: str | Path) -> str:
    """How a run stands: running, finished, interrupted (by a signal), failed, or killed.

    Killed is a run that says that it runs, or nothing yet, and that no process holds.

    Raises:
        FileNotFoundError: it is no run.
        ValueError: its `run.json` says something else.
    """
    run, _ = found(run)
    if lock.holder(run) is not None:
        return "running"
    told = _told(run)
    return "killed" if told == "running" else told


def _told(run: Path) -> str:
    """What `run.json` says; as long as there is none it is just beginning."""
    file = run / "run.json"
    if not file.exists():
        return "running"
    try:
        told = json.loads(file.read_bytes())["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: says not how the run stands ({error!r})") from error
    if told not in STATUSES:
        raise ValueError(f"{file}: expected a status of {', '.join(STATUSES)}, got {told!r}")
    return str(told)


def changed(run: Path, kind: type[C], change: Callable[[C], C]) -> C:
    """The configuration to go on with: the run's own, changed by `change` where a resumed run may be.

    Raises:
        FileNotFoundError, ValueError: it is no run, or `change` touches what may not change.
    """
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


def compare(run: Path, kind: type[C], start: Path, say: Say) -> None:
    """Refuse a `config.yaml` that is not the one with which the checkpoint `start` was trained.

    Only what a resumed run keeps is compared.

    Raises:
        ValueError: it is another one; the message says where.
    """
    files = checkpoint.read(start)
    kept = json.loads(files.get("training.json", b"{}")).get("config")
    if kept is None:
        say(f"note         {start.name} does not tell its configuration: config.yaml is believed")
        return
    asked, trained = _flat(_kept(read_config(run / "config.yaml", kind))), _flat(kept)
    differing = [key for key in {**asked, **trained} if asked.get(key) != trained.get(key)]
    if differing:
        key = differing[0]
        more = f" (and {', '.join(differing[1:])})" if differing[1:] else ""
        raise ValueError(
            f"{run / 'config.yaml'}: says {key} {asked.get(key)!r}, {start.name} was trained with "
            f"{trained.get(key)!r}{more}; a resumed run keeps it, another one begins anew"
        )


def _kept(config: RunConfig) -> dict[str, Any]:
    """What a resumed run keeps, as JSON gives it back."""
    kept = {name: x for name, x in dataclasses.asdict(config).items() if name not in MAY_CHANGE}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Mappings in each other as one, `policy.cell` and the like."""
    if not isinstance(values, Mapping) or not values:
        return {prefix.rstrip("."): values}
    return {key: x for name, part in values.items() for key, x in _flat(part, f"{prefix}{name}.").items()}


def go_on(run: Path, config: RunConfig, start: Path, timesteps: int, say: Say) -> None:
    """Write down the configuration that a run goes on with, from its checkpoint `start` at `timesteps`.

    Raises:
        ValueError: there is nothing left to do.
    """
    if timesteps >= config.total_timesteps and _told(run) == "finished":
        raise ValueError(
            f"{run}: is finished ({timesteps:,} of {config.total_timesteps:,} decisions); "
            "ask for more with --total-timesteps"
        )
    if checkpoint.pointed(run, "latest") != start.resolve():
        checkpoint.point(run, "latest", start)
        say(f"goes on from {start.name}, what came after it is given up")
    checkpoint.write_file(run / "config.yaml", write_config(config).encode())
    say(f"resumed at {timesteps:,} of {config.total_timesteps:,} decisions")
    if timesteps >= config.total_timesteps:
        say("only the last evaluation is left")


def resolve_device(name: str) -> str:
    """ "auto" is cuda where torch finds one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


# ---------------------------------------------------------------- the run itself


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

    def files(self) -> dict[str, bytes]:
        """The files of a checkpoint."""
        raise NotImplementedError

    # ------------------------------------------------ SB3's calls

    def _on_training_start(self) -> None:
        self._seen = self._evaluated = self._saved = self.model.num_timesteps
        self._best = _best_score(self.run, self.headline())
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
        if _crossed(self._evaluated, n, self.config.eval.every):
            self._evaluated = n
            self.evaluate()
        is_stopping = self.signal is not None  # read once: a signal may come at any moment
        if is_stopping or _crossed(self._saved, n, self.config.checkpoint_every):
            self._saved = n
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

    def start(self, model: BaseAlgorithm) -> None:
        """Take the signals and say that the run runs."""
        self.init_callback(model)
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
        """A checkpoint; the older ones beyond `keep_checkpoints` go, the best one stays.

        Raises:
            FloatingPointError: the weights are no longer finite; the checkpoints stay as they are.
        """
        path = self.run / "checkpoints" / f"step_{self.model.num_timesteps}"
        files = self.files()
        checkpoint.check_finite(files, path)
        training = json.loads(files.get("training.json", b"{}")) | {"config": _kept(self.config)}
        is_other = path.exists()
        was_written = checkpoint.save_folder(files | {"training.json": checkpoint.json_bytes(training)}, path)
        if checkpoint.pointed(self.run, "latest") != path.resolve():
            checkpoint.point(self.run, "latest", path)
        best = checkpoint.pointed(self.run, "best")
        if best is None:
            checkpoint.point(self.run, "best", path)
        elif is_other and was_written and best == path.resolve():
            self._best = -math.inf  # it was given up: what has its name now is yet to be judged
        try:
            checkpoint.prune(self.run, path, self.config.keep_checkpoints)
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
        score = sum(result.mean for result in results.values())
        if results and score > self._best:
            checkpoint.point(self.run, "best", self.save())
            self._best = score
        return results

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
        checkpoint.write_file(self.run / "run.json", (json.dumps(value, indent=2) + "\n").encode())

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """It comes at any moment, between any two lines: it does nothing but remember."""
        if self.signal is not None:  # a second signal: stop now; the latest checkpoint stands
            raise Stopped(number)
        self.signal = number


def learn(model: BaseAlgorithm, keeper: RunKeeper[K, R], resumed_at: int | None) -> Outcome[R]:
    """Learn, then evaluate, with everything written into the keeper's run, which is `locked`."""
    config, run = keeper.config, keeper.run
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.callback(keeper.release)
        try:
            keeper.start(model)
            left = config.total_timesteps - model.num_timesteps
            if left <= 0 and resumed_at is not None:
                metrics.forget_evaluation(run, resumed_at)
            logger = metrics.make_logger(run, resumed_at)
            stack.callback(logger.close)
            model.set_logger(logger)
            if resumed_at is None:
                metrics.record_hparams(logger, config, keeper.headline())
            keeper.say(f"run folder   {run}")
            keeper.say(f"curves       {typed('tensorboard', '--logdir', Path(config.run_dir))}")
            if left > 0:
                model.learn(left, keeper, reset_num_timesteps=resumed_at is None)
            else:
                keeper.on_training_start({}, {})
            if keeper.is_stopping:
                keeper.end(None)
            else:
                keeper.finish()
        except BaseException as error:
            keeper.end(error)
            raise
    seconds = time.perf_counter() - began
    is_finished = keeper.is_finished
    return Outcome(
        run, model.num_timesteps, seconds, not is_finished, keeper.results, keeper.anchors,
        None if is_finished else keeper.signal,
    )  # fmt: skip


def _crossed(before: int, now: int, every: int) -> bool:
    """A multiple of `every` lies in (before, now]."""
    return now // every > before // every


def _best_score(run: Path, tags: tuple[str, ...]) -> float:
    """The best sum of the `tags` that a resumed run has measured so far."""
    lines = metrics.read_lines(run / "metrics.jsonl")
    scores = [
        sum(line[tag] for tag in tags) for line in lines if all(line.get(tag) is not None for tag in tags)
    ]
    return max(scores, default=-math.inf)
