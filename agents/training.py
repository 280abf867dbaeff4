"""A training run: its folder, its curves, its checkpoints and what it shows at the end.

runs/<game>__<cell>__s<seed>__<UTC time>/
    config.yaml command.txt run.json    what was asked, and how it went
    metrics.jsonl tensorboard/          the curves; metrics.jsonl is the record of truth
    checkpoints/step_<n>/               complete states; latest.json and best.json name one
    replays/                            the drawn matches, as moves (JSON) and as a GIF
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
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

import envs
from agents import checkpoint, metrics
from agents.arena import NOBODY, Result, play_alone, play_matches, watch
from agents.config import Config, read_config, write_config
from agents.players import Agent, fixed_player, frozen
from agents.policy import RecurrentPolicy
from agents.ppo import MaskableRecurrentPPO
from agents.schedules import SCHEDULES
from envs.drawing import rasterise, save_gif

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

SAY: Callable[[str], None] = functools.partial(print, flush=True)
"""Prints a line at once, also into a pipe."""


@dataclasses.dataclass
class Outcome:
    """How a run ended."""

    run: Path
    timesteps: int
    seconds: float
    was_interrupted: bool
    results: dict[str, Result]
    """Against each fixed player (see `opponents`), at the end; empty if the run was interrupted."""
    anchors: dict[str, Result]
    """Of the fixed players themselves on the same deals, in a game for one seat."""


def train(config: Config, command: str = "", say: Callable[[str], None] = SAY) -> Outcome:
    """Train an agent by self-play in a new run folder.

    Args:
        command: what the user typed, kept in `command.txt`.
        say: takes the lines a person should read.

    Raises:
        ValueError: the configuration does not fit the game, the sizes each other or the machine.
    """
    model = make_model(config)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    run = Path(config.run_dir) / f"{config.game}__{config.policy.cell}__s{config.seed}__{now}"
    for folder in ("tensorboard", "checkpoints", "replays"):
        (run / folder).mkdir(parents=True)
    checkpoint.write_file(run / "config.yaml", write_config(config).encode())
    checkpoint.write_file(run / "command.txt", (command + "\n").encode())
    return _run(model, config, run, None, say)


def resume(
    run: str | Path, change: Callable[[Config], Config] = lambda c: c, say: Callable[[str], None] = SAY
) -> Outcome:
    """Go on with an interrupted run: same folder, same curves, and on a CPU bit for bit the same run.

    Args:
        change: makes the configuration to go on with from the run's own.

    Raises:
        FileNotFoundError, ValueError: it is no run, it is finished, or `change` touches what may not change.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"{run}: there is no run to resume (no config.yaml)")
    old = read_config(run / "config.yaml")
    config = change(old)
    changed = [
        field.name
        for field in dataclasses.fields(Config)
        if field.name not in MAY_CHANGE and getattr(old, field.name) != getattr(config, field.name)
    ]
    if changed:
        raise ValueError(
            f"{run}: a resumed run keeps its {', '.join(changed)}; only {', '.join(MAY_CHANGE)} may change"
        )
    model = MaskableRecurrentPPO.load(run, device=resolve_device(config.device))
    for name in config.eval.players:
        fixed_player(name, model.batch.game)
    if model.num_timesteps >= config.total_timesteps:
        raise ValueError(
            f"{run}: is finished ({model.num_timesteps:,} of {config.total_timesteps:,} decisions); "
            "ask for more with --total-timesteps"
        )
    checkpoint.write_file(run / "config.yaml", write_config(config).encode())
    say(f"resumed at {model.num_timesteps:,} of {config.total_timesteps:,} decisions")
    return _run(model, config, run, model.num_timesteps, say)


def make_model(config: Config) -> MaskableRecurrentPPO:
    """The model that a configuration describes, before training."""
    game = envs.make(config.game, **config.options)
    batch = envs.Batch(game, config.matches, resolve_device(config.device), config.seed)
    o = config.opponents
    opposition = None
    if o.share > 0.0:
        opposition = checkpoint.make_opposition(
            game, config.matches, o.share, o.players, o.pool_size, config.seed
        )
    for name in config.eval.players:
        fixed_player(name, game)  # an unknown name is refused now, not after the first evaluation

    algo = dataclasses.asdict(config.algo)
    for name in ("learning_rate", "ent_coef", "magnet_coef"):
        kind = SCHEDULES[algo.pop(f"{name}_schedule")]
        algo[name] = kind(algo[name])
    return MaskableRecurrentPPO(
        "MlpLstmPolicy",
        batch,
        policy_kwargs=dataclasses.asdict(config.policy),
        seed=config.seed,
        opposition=opposition,
        snapshot_every=o.snapshot_every,
        **algo,
    )


def opponents(config: Config) -> list[str]:
    """Whom the agent meets when it is judged: the fixed players, or nobody in a game for one seat."""
    seats = envs.make(config.game, **config.options).seats
    return [NOBODY] if seats == 1 else list(config.eval.players)


def resolve_device(name: str) -> str:
    """ "auto" is cuda where torch finds one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _run(
    model: MaskableRecurrentPPO, config: Config, run: Path, resumed_at: int | None, say: Callable[[str], None]
) -> Outcome:
    """Learn, then evaluate, with everything written into `run`."""
    logger = metrics.make_logger(run, resumed_at)
    model.set_logger(logger)
    if resumed_at is None:
        metrics.record_hparams(logger, config, tuple(f"eval/vs/{name}/mean" for name in opponents(config)))
    say(f"run folder   {run}")
    say(f"curves       tensorboard --logdir {config.run_dir}")

    keeper = RunKeeper(config, run, say)
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


class RunKeeper(BaseCallback):
    """Keeps a run: progress bar, evaluations, checkpoints, and a clean stop on Ctrl-C or SIGTERM.

    It works between an update and the next rollout, where the state is whole: a checkpoint taken there
    continues bit for bit.
    """

    model: MaskableRecurrentPPO

    def __init__(self, config: Config, run: Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self.config, self.run, self.say = config, run, say
        self.results: dict[str, Result] = {}
        self.anchors: dict[str, Result] = {}
        self.is_interrupted = False
        """A signal came."""
        self.is_stopping = False
        """It came in time to end training, and all is saved."""
        self.is_finished = False
        self._best = _best_score(run, config)
        self._handlers: dict[int, Any] = {}
        self._bar: tqdm[Any] | None = None
        self._seen = 0

    def _on_training_start(self) -> None:
        self._seen = self._evaluated = self._saved = self.model.num_timesteps
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
            self.evaluate(self.config.eval.matches_per_seat)
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

    def finish(self) -> None:
        """The last evaluation, checkpoint and replay."""
        if self._bar is not None:
            self._bar.close()
        self.results = self.evaluate(self.config.eval.final_matches_per_seat, save_as_gif=True)
        if NOBODY in self.results:
            self.anchors = self._anchors(self.config.eval.final_matches_per_seat)
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
        checkpoint.save_folder(checkpoint.files_of(self.model), path)
        checkpoint.point(self.run, "latest", path)
        if not (self.run / "best.json").exists():
            checkpoint.point(self.run, "best", path)
        best = json.loads((self.run / "best.json").read_text())["checkpoint"]
        steps = sorted(
            (self.run / "checkpoints").glob("step_*"), key=lambda p: int(p.name.removeprefix("step_"))
        )
        for old in steps[: -self.config.keep_checkpoints]:
            if old != self.run / best:
                shutil.rmtree(old)
        return path

    def evaluate(self, matches_per_seat: int, save_as_gif: bool = False) -> dict[str, Result]:
        """Play the fixed players, or alone, and log it: averaged weights as the agent, raw ones beside."""
        model, logger = self.model, self.model.logger
        results = {}
        for name in opponents(self.config):
            results[name] = self._against(name, model.ema or model.policy, matches_per_seat)
            metrics.record_result(logger, name, results[name])
            if model.ema is not None:
                raw = self._against(name, model.policy, matches_per_seat)
                logger.record(f"eval/raw_vs/{name}/mean", raw.mean)
        if model.rollout is not None:
            statistics = metrics.memory_statistics(model.policy, model.rollout)
            for tag, value in (statistics | metrics.gradient_by_lag(model.policy, model.rollout)).items():
                logger.record(tag, value)
        self._replay(save_as_gif)
        logger.dump(model.num_timesteps)
        if self._bar is not None and not self._bar.disable:
            scores = ", ".join(f"{result.mean:+.3f} against {name}" for name, result in results.items())
            self._bar.write(f"{model.num_timesteps:>12,} decisions: mean return {scores}", file=sys.stderr)
        score = sum(result.mean for result in results.values())
        if results and score > self._best:
            self._best = score
            checkpoint.point(self.run, "best", self.save())
        return results

    def _against(self, name: str, policy: RecurrentPolicy, matches_per_seat: int) -> Result:
        game, seed = self.model.batch.game, self.config.seed
        agent = Agent(frozen(policy), game, seed=seed)
        if name == NOBODY:
            return play_alone(game, agent, matches_per_seat, seed, self.model.device)
        opponent = fixed_player(name, game, seed + 1)
        return play_matches(game, agent, opponent, matches_per_seat, seed, self.model.device)

    def _anchors(self, matches: int) -> dict[str, Result]:
        """The fixed players alone, on the deals that the agent gets."""
        game, seed = self.model.batch.game, self.config.seed
        players = [fixed_player(name, game, seed + 1) for name in self.config.eval.players]
        return {p.name: play_alone(game, p, matches, seed, self.model.device) for p in players}

    def _replay(self, save_as_gif: bool) -> None:
        """A match of the agent with itself: its moves as JSON, its end as an image, if asked a GIF."""
        game, step = self.model.batch.game, self.model.num_timesteps
        agent = Agent(frozen(self.model.ema or self.model.policy), game, seed=step)
        frames = []
        for match in watch(game, [agent] * game.seats, seed=step):
            frames.append(match.svg())
        moves = {
            "game": game.name,
            "options": dict(game.options),
            "seed": step,
            "actions": match.actions,
            "returns": match.returns.tolist(),
        }
        checkpoint.write_file(self.run / "replays" / f"step_{step}.json", (json.dumps(moves) + "\n").encode())
        metrics.record_image(self.model.logger, "eval/match", rasterise(frames[-1]))
        if save_as_gif:
            save_gif(self.run / "replays" / f"step_{step}.gif", [rasterise(frame) for frame in frames])

    def _status(self, status: str) -> None:
        """`run.json`: how the run stands."""
        value = {
            "status": status,
            "timesteps": self.model.num_timesteps,
            "total_timesteps": self.config.total_timesteps,
            "torch": torch.__version__,
            "results": {
                name: {
                    "matches": r.matches,
                    "mean": r.mean,
                    "low": r.interval[0],
                    "high": r.interval[1],
                    "win": r.win,
                }
                for name, r in self.results.items()
            },
        }
        checkpoint.write_file(self.run / "run.json", (json.dumps(value, indent=2) + "\n").encode())

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.is_interrupted:  # a second signal: stop now; the latest checkpoint stands
            raise KeyboardInterrupt
        self.is_interrupted = True
        self.say("stopping after this update; once more stops at once")


def _crossed(before: int, now: int, every: int) -> bool:
    """A multiple of `every` lies in (before, now]."""
    return now // every > before // every


def _best_score(run: Path, config: Config) -> float:
    """The best sum of mean returns that a resumed run has measured so far."""
    tags = [f"eval/vs/{name}/mean" for name in opponents(config)]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return max(
        (sum(line[tag] for tag in tags) for line in lines if set(tags) <= set(line)), default=-math.inf
    )
