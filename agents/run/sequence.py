"""Learning from records: from a configuration and a file to a run (see `agents.run.keeper`).

The best checkpoint by validation loss is what the run ends with: at the end its weights are restored, and
`latest.json` names it, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agents import files
from agents.learn.judged import Score, judge, score
from agents.learn.learners import CloneLearner, Learner, TokenLearner
from agents.learn.penalties import share_near_zero
from agents.learn.recorded import Recorded
from agents.learn.sequence import Fit, FitSettings
from agents.net import settings
from agents.net.cells import cell_class
from agents.net.policy import RecurrentPolicy, with_names
from agents.net.settings import Network, TokenNetwork
from agents.net.task import task_of
from agents.net.tokens import TokenModel
from agents.play.agent_file import load, load_weights, parts_of
from agents.play.token_file import is_tokens, read_tokens, token_parts
from agents.run import curves, folder, keeper
from agents.run.choices import Choice, Choices, Chosen, cell_options, options_of_cell
from agents.run.config import SELF_PLAY_NETWORK, Paced, RunConfig, read_config, run_config
from agents.run.keeper import Outcome, RunKeeper, resolve_device
from agents.run.source import Model, Part, Source, read_source, sample_of, to_learn_from
from agents.run.stream import SAY, Say
from envs.batch import usable_device


@dataclasses.dataclass(frozen=True)
class FitEval(Paced):
    """How good it is on what it does not learn from."""

    memory_every: int = 0
    """Always 0: what the memory does is shown of matches that are played."""
    patience: int = 5
    """Evaluations without a lower validation loss, after which training ends; 0: it never ends early."""
    training_sequences: int = 2_000
    """Of the training sequences, judge so many at most beside the validation ones."""


@dataclasses.dataclass(frozen=True)
class SequenceConfig(RunConfig):
    """Learning from records."""

    data: str = ""
    """Folder or file of recorded matches, or of starting arrangements (.txt, .txt.gz). What is held out of
    them for validation follows from each one alone, see `agents.play.records`."""
    model: Model = "tokens"
    """tokens: the textbook's network, of the next piece or of what a seat saw and did next. clone: an agent
    that decides as it was recorded, which plays, is judged and learns on as any other."""
    player: str | None = None
    """Learn from the decisions of the player of this name alone; None: from all."""
    examples: int | None = None
    """Learn from so many of the training sequences alone; None: from all."""
    mirror: bool = False
    """Of arrangements, learn also from each one with left and right exchanged."""
    tokens: TokenNetwork = dataclasses.field(default_factory=TokenNetwork)
    """The network of model tokens."""
    policy: Network = SELF_PLAY_NETWORK
    """The network of model clone."""
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)
    eval: FitEval = dataclasses.field(default_factory=FitEval)

    def __post_init__(self) -> None:
        """See `RunConfig`."""
        super().__post_init__()
        self.at_least(0, "eval.patience")
        if self.eval.memory_every != 0:
            raise ValueError(
                "eval.memory_every must be 0, as nothing is played here (scripts/memory.py shows a clone's "
                f"memory), got {self.eval.memory_every}"
            )
        self.at_least(1, "eval.training_sequences")
        if self.examples is not None:
            self.at_least(1, "examples")

    @property
    def cell(self) -> str:
        """Of the network that learns."""
        return self.tokens.cell if self.model == "tokens" else self.policy.cell


def _cell_options(chosen: Chosen) -> Choice:
    """What `tokens.lstm_kwargs` may say."""
    return options_of_cell(chosen, "tokens", chosen.before("tokens.cell"), chosen.now("tokens.cell"))


SEQUENCE_CHOICES: Choices = {"tokens.lstm_kwargs": _cell_options, "policy.lstm_kwargs": cell_options}


# ---------------------------------------------------------------- a run


def train(config: SequenceConfig, command: str = "", say: Say = SAY) -> Outcome[Score]:
    """Learn from records in a new run folder.

    Args:
        command: what the user typed, kept in `command.txt`.
        say: takes the lines a person should read.

    Raises:
        FileNotFoundError, ValueError: there is no such data, or they or the configuration do not fit.
    """
    source = source_of(config)
    fit = make_fit(config, source)
    what = source.about["kind"] if source.game is None else f"{source.game.name}_{config.model}"
    run = folder.begin(config, f"{what}__{config.cell}", command)
    with folder.locked(run):
        return keeper.learn(fit, FitKeeper(config, run, say, source, fit.data), None)


def resume(
    run: str | Path, change: Callable[[SequenceConfig], SequenceConfig] = lambda c: c, say: Say = SAY
) -> Outcome[Score]:
    """Go on with an interrupted run: same folder, same curves, and on a CPU bit for bit the same run.

    Arguments and errors are those of `folder.resumed`; a finished run is refused, too, and other data.
    """
    with folder.resumed(run, SequenceConfig, change, say) as (run, config, start, stored):
        refuse_finished(run, config, start)
        source = source_of(config)
        if stored.json("training.json").get("data") != source.digest:
            raise ValueError(f"{config.data}: holds other data than {start.name} learned from")
        fit = make_fit(config, source)
        take(fit, stored)
        folder.go_on(run, config, start, fit.num_timesteps, say)
        return keeper.learn(fit, FitKeeper(config, run, say, source, fit.data), fit.num_timesteps)


def refuse_finished(run: Path, config: SequenceConfig, start: Path) -> None:
    """Nothing is left to do where a run ended and the same is asked for; its best checkpoint, with which it
    ended, may be of fewer decisions than it was to learn from.

    Raises:
        ValueError: it is so.
    """
    told, before = folder.status_told(run), read_config(run / "config.yaml", SequenceConfig)
    is_same = (config.total_timesteps, config.eval.patience) == (
        before.total_timesteps,
        before.eval.patience,
    )
    if told == "finished" and is_same and start.resolve() == files.pointed(run, "latest"):
        raise ValueError(
            f"{run}: is finished, with the weights of {start.name}, its best; ask for more with "
            f"--total-timesteps, or --eval.patience (they are {config.total_timesteps:,} and "
            f"{config.eval.patience})"
        )


def source_of(config: SequenceConfig) -> Source:
    """What a configuration says to learn from; errors as of `read_source`."""
    return read_source(config.data, config.model, config.player, config.fit.gamma)


def make_fit(config: SequenceConfig, source: Source) -> Fit:
    """The network and its trainer that a configuration describes, before training."""
    cell_class(config.cell)
    device = usable_device(resolve_device(config.device))
    torch.manual_seed(config.seed)
    learner: Learner
    if config.model == "tokens":
        learner = TokenLearner(TokenModel(len(source.names), **dataclasses.asdict(config.tokens)).to(device))
    else:
        assert source.game is not None
        task, arguments = task_of(source.game), policy_arguments(config)
        policy = RecurrentPolicy(task.observation_space, task.action_space, task.seats, **arguments)
        learner = CloneLearner(policy.to(device))
    data = to_learn_from(source, config.examples, config.mirror, config.seed)
    return Fit(learner, data, config.fit, config.seed)


def policy_arguments(config: SequenceConfig) -> dict[str, Any]:
    """What a clone's policy is made with, as data."""
    told = settings.plain(with_names(dataclasses.asdict(config.policy)), "policy")
    return dict(told)


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

    def __init__(
        self, config: SequenceConfig, run: Path, say: Say, source: Source, learned_from: Recorded
    ) -> None:
        super().__init__(config, run, say)
        self.source = source
        self.judged = {
            "validation": source.part("validation"),
            "training": sample_of(learned_from, config.eval.training_sequences, config.seed),
        }
        """The sequences that it is judged on."""
        self.is_over = False
        """Patience is at its end."""
        self._in_vain = 0

    def headline(self) -> tuple[str, ...]:
        return ("eval/validation/loss",)

    def bands(self) -> dict[str, tuple[str, str, str]]:
        tags = {name: f"eval/{name}/perplexity" for name in self.judged}
        return {f"perplexity, {name}": (tag, f"{tag}/low", f"{tag}/high") for name, tag in tags.items()}

    def score(self, results: dict[str, Score]) -> float:
        return results["validation"].loss

    def parts(self) -> files.Parts:
        return {
            **self._model_parts(),
            "training.json": {"arguments": {}, "data": self.source.digest},
            "fit.safetensors": self.model.state_dict(),
        }

    def _model_parts(self) -> files.Parts:
        """The file of a token model, or of an agent."""
        policy, n = self.model.policy, self.model.num_timesteps
        if isinstance(policy, TokenModel):
            return token_parts(policy, self.config.tokens, self.source.about, n)
        assert isinstance(policy, RecurrentPolicy)
        assert self.source.game is not None
        return parts_of(policy, task_of(self.source.game), policy_arguments(self.config), n, None, None)

    def describe(self, results: dict[str, Score]) -> str:
        told = (f"{name} {result.perplexity:.4f}" for name, result in results.items())
        return f"perplexity {', '.join(told)}; top-1 {results['validation'].top1:.2%}"

    def summary(self, result: Score) -> dict[str, float]:
        return {"decisions": result.decisions, "groups": result.groups, **result.numbers()}

    def judge(self, is_final: bool) -> dict[str, Score]:
        """Validation beside training, both without dropout."""
        group, logger, results = "final" if is_final else "eval", self.model.logger, {}
        for name, data in self.judged.items():
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


def score_run(
    run: str | Path, data: str | Path, part: Part | None = None, device: str = "cpu"
) -> tuple[Part, Score, dict[str, float]]:
    """How well a run's best model predicts recorded sequences.

    Args:
        part: of the data; None is validation where the run learned from them, else all.

    Returns:
        the part, the score, and where the part is validation what counting predicts (`Source.counted`).
    """
    stored = files.read(run, "best")
    if not (file := run_config(run)).is_file():
        raise ValueError(f"{run}: expected a run of scripts/sequence.py fit, or one of its checkpoints")
    config = read_config(file, SequenceConfig)
    source = read_source(data, config.model, config.player, config.fit.gamma)
    if part is None:
        part = "validation" if stored.json("training.json").get("data") == source.digest else "all"
    chosen, learner = source.part(part), _learner(run, stored, source, usable_device(device))
    return part, score(chosen, judge(learner, chosen)), source.counted() if part == "validation" else {}


def _learner(run: str | Path, stored: files.Stored, source: Source, device: torch.device) -> Learner:
    """The network of a checkpoint.

    Raises:
        ValueError: it knows other sequences than those of `source`.
    """
    if not is_tokens(stored):
        agent = load(run, which="best", device=device)
        if agent.task.rules != source.game:
            raise ValueError(f"{run}: plays {agent.task.rules}, the records are of {source.game}")
        return CloneLearner(agent.policy)
    model, about, _ = read_tokens(stored)
    if about.get("names") != source.about["names"]:
        raise ValueError(f"{run}: knows other tokens than the records have")
    return TokenLearner(model.to(device))
