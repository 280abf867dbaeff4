"""Learning from records: from a configuration and a file to a run (see `agents.run.keeper`).

The best checkpoint by validation loss is what the run ends with: at the end its weights are restored, and
`latest.json` names it, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from agents import files
from agents.learn.judged import Score, judge, score
from agents.learn.learners import Learner, TokenLearner
from agents.learn.penalties import share_near_zero
from agents.learn.recorded import Recorded, Split, split
from agents.learn.sequence import Fit, FitSettings
from agents.learn.streams import arrangements, pieces_of, with_mirrored
from agents.net.cells import cell_class
from agents.net.settings import TokenNetwork
from agents.net.tokens import TokenModel
from agents.play.agent_file import load_weights
from agents.play.continuing import continue_setups
from agents.play.setups import PIECES, counted, read_letters, read_setups, text
from agents.play.token_file import load_tokens, read_tokens, token_parts
from agents.run import curves, folder, keeper
from agents.run.choices import Choices, Chosen, options_of_cell
from agents.run.config import Paced, RunConfig, read_config
from agents.run.keeper import Outcome, RunKeeper, resolve_device
from agents.run.stream import SAY, Say
from envs.batch import usable_device
from envs.seeds import derived_seed


@dataclasses.dataclass(frozen=True)
class FitEval(Paced):
    """How good it is on what it does not learn from."""

    patience: int = 5
    """Evaluations without a lower validation loss, after which training ends; 0: it never ends early."""
    training_sequences: int = 2_000
    """Of the training sequences, judge so many at most beside the validation ones."""


@dataclasses.dataclass(frozen=True)
class SequenceConfig(RunConfig):
    """Learning from records."""

    data: str = ""
    """File of starting arrangements, a line each."""
    validation: float = 0.2
    """Share of the groups that are held out: judged at every evaluation, never learned from."""
    examples: int | None = None
    """Learn from so many of the other sequences alone; None: from all."""
    mirror: bool = False
    """Of arrangements, learn also from each one with left and right exchanged."""
    tokens: TokenNetwork = dataclasses.field(default_factory=TokenNetwork)
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)
    eval: FitEval = dataclasses.field(default_factory=FitEval)

    def __post_init__(self) -> None:
        """See `RunConfig`."""
        super().__post_init__()
        self.at_least(0, "eval.patience")
        self.at_least(1, "eval.training_sequences")
        if self.examples is not None:
            self.at_least(1, "examples")
        if not 0.0 < self.validation < 1.0:
            raise ValueError(f"validation must be a number above 0, below 1, got {self.validation}")


def _cell_options(chosen: Chosen) -> Any:
    """What `tokens.lstm_kwargs` may say."""
    return options_of_cell(chosen, "tokens", chosen.before("tokens.cell"), chosen.now("tokens.cell"))


SEQUENCE_CHOICES: Choices = {"tokens.lstm_kwargs": _cell_options}


# ---------------------------------------------------------------- what it learns from


@dataclasses.dataclass(frozen=True)
class Source:
    """What a file of records gives."""

    sha256: str
    about: Mapping[str, Any]
    """What the sequences are of, as data."""
    split: Split
    """To learn from, and held out."""
    everything: Recorded


def read_source(path: str | Path, validation: float) -> Source:
    """The arrangements in a file, parted by group. All runs part a file in the same way.

    Raises:
        FileNotFoundError, ValueError: see `read_setups` and `split`.
    """
    if not str(path):
        raise ValueError("say with --data which file to learn from")
    setups = read_setups(path)
    everything = arrangements(setups)
    stock = "".join(PIECES[k] for k in setups.pieces[0].sort().values.tolist())
    about = {"kind": "setups", "names": PIECES, "stock": stock}
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return Source(digest, about, split(everything, validation, 0), everything)


def training_part(config: SequenceConfig, source: Source) -> Recorded:
    """What is learned from of a source."""
    data = source.split.training
    if config.examples is not None:
        if config.examples > len(data):
            raise ValueError(f"examples must be at most the {len(data):,} there are, got {config.examples:,}")
        data = sample_of(data, config.examples, config.seed)
    return with_mirrored(data) if config.mirror else data


def sample_of(data: Recorded, count: int, seed: int) -> Recorded:
    """So many of the sequences at most, drawn with `seed`."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "examples"))
    return data.select(torch.randperm(len(data), generator=generator)[:count])


def baselines(source: Source) -> dict[str, float]:
    """Perplexity on the validation part of what counting on the training part predicts."""
    return counted(pieces_of(source.split.training), pieces_of(source.split.validation))


# ---------------------------------------------------------------- a run


def train(config: SequenceConfig, command: str = "", say: Say = SAY) -> Outcome[Score]:
    """Learn from records in a new run folder.

    Args:
        command: what the user typed, kept in `command.txt`.
        say: takes the lines a person should read.

    Raises:
        FileNotFoundError, ValueError: there is no such data, or they or the configuration do not fit.
    """
    source = read_source(config.data, config.validation)
    fit = make_fit(config, source)
    run = folder.begin(config, f"{source.about['kind']}__{config.tokens.cell}", command)
    with folder.locked(run):
        return keeper.learn(fit, FitKeeper(config, run, say, source), None)


def resume(
    run: str | Path, change: Callable[[SequenceConfig], SequenceConfig] = lambda c: c, say: Say = SAY
) -> Outcome[Score]:
    """Go on with an interrupted run: same folder, same curves, and on a CPU bit for bit the same run.

    Arguments and errors are those of `folder.resumed`; a finished run is refused, too, and other data.
    """
    with folder.resumed(run, SequenceConfig, change, say) as (run, config, start, stored):
        source = read_source(config.data, config.validation)
        told = stored.json("training.json").get("data")
        if told != source.sha256:
            raise ValueError(f"{config.data}: holds other data than {start.name} learned from")
        fit = make_fit(config, source)
        take(fit, stored)
        folder.go_on(run, config, start, fit.num_timesteps, say)
        return keeper.learn(fit, FitKeeper(config, run, say, source), fit.num_timesteps)


def make_fit(config: SequenceConfig, source: Source) -> Fit:
    """The network and its trainer that a configuration describes, before training."""
    cell_class(config.tokens.cell)
    torch.manual_seed(config.seed)
    network = TokenModel(len(source.about["names"]), **dataclasses.asdict(config.tokens))
    learner = TokenLearner(network.to(usable_device(resolve_device(config.device))))
    return Fit(learner, training_part(config, source), config.fit, config.seed)


def take(fit: Fit, stored: files.Stored) -> None:
    """Go on from a checkpoint.

    Raises:
        CheckpointError: it is of another network or of other data.
    """
    load_weights(fit.policy, stored, "policy.safetensors")
    try:
        fit.load_state_dict(stored.tensors("fit.safetensors"))
    except ValueError as error:
        raise stored.error(f"its training state does not fit: {error}") from error


class FitKeeper(RunKeeper[SequenceConfig, Score]):
    """Keeps a run that learns from records: judged on what was held out, ended where that no longer helps."""

    model: Fit  # type: ignore[assignment]
    is_lowest_best = True

    def __init__(self, config: SequenceConfig, run: Path, say: Say, source: Source) -> None:
        super().__init__(config, run, say)
        self.source = source
        self.shown = sample_of(training_part(config, source), config.eval.training_sequences, config.seed)
        self.is_over = False
        """Patience is at its end."""
        self._in_vain = 0

    def headline(self) -> tuple[str, ...]:
        return ("eval/validation/loss",)

    def score(self, results: dict[str, Score]) -> float:
        return results["validation"].loss

    def parts(self) -> files.Parts:
        fit = self.model
        assert isinstance(fit.policy, TokenModel)
        return {
            **token_parts(fit.policy, self.config.tokens, self.source.about, fit.num_timesteps),
            "training.json": {"arguments": {}, "data": self.source.sha256},
            "fit.safetensors": fit.state_dict(),
        }

    def describe(self, results: dict[str, Score]) -> str:
        told = (f"{name} {result.perplexity:.4f}" for name, result in results.items())
        return f"perplexity {', '.join(told)}; top-1 {results['validation'].top1:.2%}"

    def summary(self, result: Score) -> dict[str, float]:
        return {"decisions": result.decisions, "groups": result.groups, **result.numbers()}

    def judge(self, is_final: bool) -> dict[str, Score]:
        """Validation beside training, both without dropout."""
        group, logger, results = "final" if is_final else "eval", self.model.logger, {}
        for name, data in (("validation", self.source.split.validation), ("training", self.shown)):
            results[name] = score(data, judge(self.model.learner, data))
            for tag, value in results[name].numbers().items():
                logger.record(f"{group}/{name}/{tag}", value)
            for first, last, loss in results[name].by_ply:
                logger.record(f"{group}/{name}/by_ply/{first:03d}-{last:03d}", loss)
        logger.record(f"{group}/near_zero", share_near_zero(self.model.parameters))
        return results

    def evaluate(self, is_final: bool = False) -> dict[str, Score]:
        before = self._best
        results = super().evaluate(is_final)
        if not is_final:
            self._in_vain = 0 if self._best > before else self._in_vain + 1
        return results

    def finish(self) -> None:
        """The best weights are restored; then as every run ends."""
        if self._judged != self.model.num_timesteps:
            self.save()
            self.evaluate()
        self._restore()
        super().finish()

    def _restore(self) -> None:
        """Go back to the best checkpoint."""
        best, ended = files.pointed(self.run, "best"), self.model.num_timesteps
        assert best is not None
        take(self.model, files.read(best))
        self._judged = self.model.num_timesteps
        if self._judged != ended:
            self.say(f"restored     {best.name}, the lowest validation loss of {ended:,} decisions")

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self._in_vain = in_vain(self.run, self.headline()[0])

    def _on_rollout_start(self) -> None:
        super()._on_rollout_start()
        self.is_over = 0 < self.config.eval.patience <= self._in_vain

    def _on_step(self) -> bool:
        if self.is_over and not self.is_stopping:
            self.model.num_timesteps = self._seen  # this batch is not learned from
            return False
        return super()._on_step()


def in_vain(run: Path, tag: str) -> int:
    """Evaluations of a run so far after the one with the lowest `tag`."""
    found = [line[tag] for line in curves.read_lines(run / "metrics.jsonl") if line.get(tag) is not None]
    return len(found) - 1 - found.index(min(found)) if found else 0


# ---------------------------------------------------------------- a run that is there


Part = Literal["auto", "all", "training", "validation"]


def score_run(
    run: str | Path, data: str | Path, part: Part = "auto", device: str = "cpu"
) -> tuple[str, Score, dict[str, float]]:
    """How well a run's best model predicts the sequences of a file.

    Args:
        part: of the file; auto is validation where the run learned from that very file, else all of it.

    Returns:
        the part, the score, and what counting predicts (`baselines`) where the part is validation.
    """
    stored = files.read(run)
    config = read_config(folder.found(run)[0] / "config.yaml", SequenceConfig)
    source = read_source(data, config.validation)
    if part == "auto":
        part = "validation" if stored.json("training.json").get("data") == source.sha256 else "all"
    chosen = {
        "all": source.everything, "training": source.split.training, "validation": source.split.validation,
    }[part]  # fmt: skip
    learner: Learner = TokenLearner(read_tokens(stored).model.to(usable_device(device)))
    told = baselines(source) if part == "validation" else {}
    return part, score(chosen, judge(learner, chosen)), told


def sample_setups(run: str | Path, begin: str, count: int, temperature: float, seed: int) -> list[str]:
    """Arrangements that a run's best model draws, as text; arguments as of `continue_setups`.

    Raises:
        ValueError: the run is of other sequences, or an argument is none that can be used.
    """
    model, about, _ = load_tokens(run)
    if about.get("kind") != "setups" or not isinstance(about.get("stock"), str):
        raise ValueError(f"{run}: is no model of arrangements")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    stock = read_letters(about["stock"])
    return [text(one) for one in continue_setups(model, read_letters(begin), stock, count, temperature, seed)]
