"""Where a run's numbers go: TensorBoard, and `metrics.jsonl`, the record of truth (edge)."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import HParam, Image, KVWriter, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from agents.files import STEP, write_file
from agents.play.arena import NOBODY, Result
from agents.play.ratings import ANCHOR
from agents.play.standings import Standings
from agents.run.records import plain
from envs.drawing import rasterise


class TensorBoard(TensorBoardOutputFormat):
    """SB3's writer, which on resuming also hides what the killed run logged after its checkpoint."""

    def __init__(self, folder: Path, resume_step: int | None) -> None:
        self.writer = SummaryWriter(str(folder), purge_step=None if resume_step is None else resume_step + 1)
        self._is_closed = False


class JSONLines(KVWriter):
    """One line a dump: the step and every number. Lines after the resumed step are dropped."""

    def __init__(self, path: Path, resume_step: int | None) -> None:
        if resume_step is not None and path.exists():
            keep_lines(path, lambda line: line["step"] <= resume_step)
        self.file = path.open("a", encoding="utf-8")

    def write(
        self, key_values: dict[str, Any], _key_excluded: Mapping[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Append a line with the numbers among `key_values`; texts and pictures are TensorBoard's."""
        numbers = {
            key: _finite(value.item() if isinstance(value, np.generic) else value)
            for key, value in key_values.items()
            if isinstance(value, (int, float, np.generic))
        }
        if numbers:
            self.file.write(json.dumps({"step": step} | numbers) + "\n")
            self.file.flush()

    def close(self) -> None:
        """The file is complete."""
        self.file.close()


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, without what a kill cut off or a disk damaged."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("step"), (int, float)):
                lines.append(line)
    return lines


def keep_lines(path: Path, is_kept: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the other lines of a `metrics.jsonl`."""
    lines = [json.dumps(line) + "\n" for line in read_lines(path) if is_kept(line)]
    write_file(path, "".join(lines).encode())


def forget_evaluation(run: Path, step: int) -> None:
    """Drop the evaluation at `step` from the record: it is made again."""
    path = run / "metrics.jsonl"
    if path.exists():
        keep_lines(
            path, lambda line: line["step"] != step or not any(tag.startswith("eval/") for tag in line)
        )


def make_logger(run: Path, resume_step: int | None = None) -> Logger:
    """The logger of a run folder; with `resume_step` it goes on behind that step."""
    outputs = [TensorBoard(run / "tensorboard", resume_step), JSONLines(run / "metrics.jsonl", resume_step)]
    return Logger(str(run), outputs)


def record_result(logger: Logger, name: str, result: Result, group: str = "eval") -> None:
    """What matches against the player `name` gave, or matches alone; the tags begin with `group`."""
    low, high = result.interval
    numbers = {"mean": result.mean, "low": low, "high": high}
    if name != NOBODY:
        numbers |= {"win": result.win, "draw": result.draw, "loss": result.loss}
    for tag, value in numbers.items():
        logger.record(f"{group}/vs/{name}/{tag}", value)
    for seat in result.seat.unique().tolist():
        logger.record(f"{group}/by_seat/{name}/{seat}", result.mean_in_seat(seat))


def record_standings(logger: Logger, standings: Standings, agent: str) -> None:
    """Ratings of the player named `agent` and of all but its checkpoints, and how far to trust them.

    An open end of an interval is not recorded.
    """
    for name, rating in standings.ratings.items():
        if name == agent or not STEP.fullmatch(name):
            numbers = {"points": rating.points, "low": rating.low, "high": rating.high}
            for tag, value in numbers.items():
                if math.isfinite(value) and name != ANCHOR:
                    logger.record(f"selfplay/rating/{'agent' if name == agent else name}/{tag}", value)
    if standings.cycles.share is not None:
        logger.record("selfplay/cyclic_share", standings.cycles.share)
    record_image(logger, "selfplay/payoffs", rasterise(standings.heat_map()))


def record_image(logger: Logger, tag: str, pixels: np.ndarray[Any, Any]) -> None:
    """A picture, uint8 [H, W, 3]."""
    logger.record(tag, Image(pixels, "HWC"), exclude="json")


def record_hparams(logger: Logger, config: Any, headline: tuple[str, ...]) -> None:
    """The run's configuration for TensorBoard's HParams page, judged by the `headline` tags."""
    told: dict[str, bool | str | float | int | None] = {}

    def flatten(values: Mapping[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if isinstance(value, Mapping):
                flatten(value, f"{prefix}{key}.")
            else:
                told[prefix + key] = value if isinstance(value, (bool, int, float)) else str(value)

    flatten(plain(config), "")
    logger.record("hparams", HParam(told, dict.fromkeys(headline, 0.0)), exclude="json")


def record_layout(logger: Logger, layout: Mapping[str, Mapping[str, Any]], config: str) -> None:
    """TensorBoard's page of charts side by side, as `SummaryWriter.add_custom_scalars` takes it; and the
    configuration, YAML, as text."""
    for output in logger.output_formats:
        if isinstance(output, TensorBoard):
            output.writer.add_custom_scalars(layout)
            output.writer.add_text("config", "".join(f"    {line}\n" for line in config.splitlines()))
