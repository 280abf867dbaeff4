"""Over-fitting and its cures: the same network learns 1,000 starting arrangements by heart, or does not.

python scripts/overfitting.py setups.txt.gz --out docs/overfitting.svg

Every run learns from equally many decisions, and none is ended early. The gap is what the loss on
arrangements that were held out is above that on those that were learned from, at the end.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from agents.learn.sequence import FitSettings
from agents.net.settings import TokenNetwork
from agents.run import cli, figures
from agents.run.curves import read_lines
from agents.run.sequence import FitEval, SequenceConfig, train

EXAMPLES = 1_000

PLAIN = SequenceConfig(
    examples=EXAMPLES,
    fit=FitSettings(n_steps=40, learning_rate=2e-3),
    eval=FitEval(patience=0, training_sequences=EXAMPLES),
)

CURES = {
    "no cure": PLAIN,
    "dropout 0.4": dataclasses.replace(PLAIN, tokens=TokenNetwork(dropout=0.4)),
    "L2 1e-4": dataclasses.replace(PLAIN, fit=dataclasses.replace(PLAIN.fit, l2_coef=1e-4)),
    "24 units of 128": dataclasses.replace(PLAIN, tokens=TokenNetwork(lstm_hidden_size=24)),
    "10 times the data": dataclasses.replace(PLAIN, examples=10 * EXAMPLES),
}
"""What is tried, by the name that the figure shows."""

Curve = list[tuple[int, float, float]]
"""Decisions, training loss, validation loss."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to learn from, and where to draw it."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Starting arrangements."""
    decisions: int = 4_000_000
    """Of every run."""
    run_dir: Path = Path("runs")
    """Folder that the runs are made in."""
    out: Path = Path("overfitting.svg")
    """The figure."""


def main() -> None:
    """Learn in every way, print the gaps, draw the curves."""
    a = cli.parse(Arguments, __doc__)
    curves = {name: learned(config, a) for name, config in CURES.items()}
    plain = gap(curves["no cure"])
    rows = [
        (
            name,
            f"{curve[-1][1]:.4f}",
            f"{curve[-1][2]:.4f}",
            f"{gap(curve):.4f}",
            f"{1 - gap(curve) / plain:.0%}",
        )
        for name, curve in curves.items()
    ]
    columns = ("cure", "training loss", "validation loss", "gap", "narrower by")
    cli.show(cli.as_table(f"after {a.decisions:,} decisions", columns, rows))
    draw(curves, a.out)
    print(f"{a.out}: {a.out.stat().st_size:,} bytes")


def learned(config: SequenceConfig, a: Arguments) -> Curve:
    """The losses of a run of its own."""
    config = dataclasses.replace(
        config,
        data=str(a.data),
        total_timesteps=a.decisions,
        run_dir=str(a.run_dir),
        checkpoint_every=a.decisions,
        eval=dataclasses.replace(config.eval, every=max(a.decisions // 20, 1)),
    )
    run = train(config, "scripts/overfitting.py").run
    told = [line for line in read_lines(run / "metrics.jsonl") if "eval/validation/loss" in line]
    return [(int(line["step"]), line["eval/training/loss"], line["eval/validation/loss"]) for line in told]


def gap(curve: Curve) -> float:
    """Validation loss less training loss, at the end."""
    _, training, validation = curve[-1]
    return validation - training


def draw(curves: dict[str, Curve], out: Path) -> None:
    """Write the figure: validation in full lines, training broken; the same numbers give the same bytes."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        steps, training, validation = zip(*curve, strict=True)
        (line,) = axes.plot(steps, validation, label=name)
        axes.plot(steps, training, color=line.get_color(), linestyle="--", linewidth=1.0)
    axes.set_ylabel("loss in nats (broken: in training)")
    figures.count_decisions(axes)
    figures.plain(axes)
    axes.legend(frameon=False)
    figures.save(figure, out)


if __name__ == "__main__":
    cli.run(main)
