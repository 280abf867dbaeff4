"""What an agent's memory does: how far back learning reaches, what is recalled, and how long gates keep it.

It plays matches with itself; lags count a seat's own decisions within a match (`docs/memory.md`).

python scripts/memory.py runs/<run>

python scripts/memory.py runs/<run> --against runs/<run> runs/<run> --labels gated elman gru --out memory.png
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import tyro

from agents.files import read
from agents.learn.ppo import decisions_of
from agents.learn.rollout import Collector
from agents.net.cells import Cell
from agents.net.probe import ByLag, Diagnosis, has_memory, layers_of
from agents.packaged import shipped_agent
from agents.play.agent_file import load
from agents.play.players import Agent, is_player_name
from agents.run import cli
from agents.run.curves import read_lines
from agents.run.keeper import resolve_device
from agents.run.memory import HIGH, LOSSES, LOW, looked_at
from agents.run.stream import SAY
from envs import Batch, Game

SINGULAR_LAGS: Final = (1, 2, 4, 8, 16)
SINGULAR_ROWS: Final = 8

WARM_UP: Final = 2
"""Rollouts before the one that is looked at: by then matches are at different decisions."""

TABLE_LAGS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Those that have a row, as far as there are some."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Whose memory is looked at."""

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """A run, a checkpoint, or an agent's file."""
    against: tuple[str, ...] = ()
    """Others of the same game to compare it with."""
    labels: tuple[str, ...] = ()
    """What to call them; by default as their files are called."""
    out: Path = Path("memory.svg")
    """The figure; its ending says whether it is drawn as svg, png or pdf."""
    steps: int = 64
    """Decisions that are looked back over; where seats take turns a seat has its share of them."""
    matches: int = 256
    """Matches that are played, a decision of each is looked back from."""
    seed: int = 0
    """Seed of the matches and of what the agents draw."""
    device: str = "cpu"
    """Where agents compute: cpu, cuda, or auto."""
    uses: tuple[str, ...] = ()
    """Games, cells and players of your own, module:Name, which an agent's file may name."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was found of one agent."""

    label: str
    cell: str
    told: Diagnosis
    returns: list[tuple[int, float]]
    """Mean returns of its run by decisions, if it has one."""

    def gradient(self, loss: str) -> ByLag | None:
        """Of the topmost layer that the loss depends on."""
        found = [layer.gradient[loss] for layer in self.told.layers.values() if loss in layer.gradient]
        return found[-1] if found else None


def main() -> None:
    """Print the tables and draw the figure."""
    a = cli.parse(Arguments, __doc__)
    cli.use(a.uses)
    specs = (a.agent, *a.against)
    if a.labels and len(a.labels) != len(specs):
        raise ValueError(f"expected a label for each of {len(specs)} agents, got {len(a.labels)}")
    if a.steps < 3 or a.matches < 2:
        raise ValueError(
            f"--steps must be at least 3 and --matches 2 to have a lag and another match, got {a.steps} and "
            f"{a.matches}"
        )
    if a.out.suffix not in (".svg", ".png", ".pdf"):
        raise ValueError(f"--out must end in .svg, .png or .pdf, got {a.out}")
    agents = [agent_of(spec, resolve_device(a.device)) for spec in specs]
    games = [game_of(agent, spec) for agent, spec in zip(agents, specs, strict=True)]
    if other := next((k for k, game in enumerate(games) if game != games[0]), None):
        raise ValueError(f"{specs[other]!r} plays {games[other]}, expected an agent of {games[0]}")
    labels = a.labels or tuple(agent.name for agent in agents)
    seen = [
        Seen(label, type(cell_of(agent)).__name__, look(agent, games[0], spec, a), returns_of(spec))
        for label, agent, spec in zip(labels, agents, specs, strict=True)
    ]
    for one in seen:
        show(one, games[0])
    draw(seen, games[0], a.out)
    SAY(f"{a.out}: {a.out.stat().st_size:,} bytes")


def agent_of(spec: str, device: str) -> Agent:
    """The agent of a path.

    Raises:
        FileNotFoundError, ValueError: there is none, or none with a memory.
    """
    if is_player_name(spec):
        raise ValueError(f"{spec!r} has no network whose memory could be looked at, expected an agent")
    agent = load(spec, device=device)
    if not has_memory(agent.policy):
        raise ValueError(f"{spec!r} has no memory (its cell is feedforward), so there is nothing to look at")
    return agent


def game_of(agent: Agent, spec: str) -> Game:
    """What it plays.

    Raises:
        ValueError: it is no game of ours.
    """
    if agent.task.rules is None:
        raise ValueError(
            f"{spec!r} was trained in a Gymnasium world, expected an agent of a game; its "
            "memory is told by rnn/* on the curves of its run"
        )
    return agent.task.rules


def cell_of(agent: Agent) -> Cell:
    """Its first cell."""
    return next(iter(layers_of(agent.policy).values()))


def returns_of(spec: str) -> list[tuple[int, float]]:
    """The mean returns that a run was evaluated with by its decisions; none if `spec` is no run."""
    path = Path(spec) / "metrics.jsonl"
    lines = read_lines(path) if path.is_file() else []
    tags = {tag for line in lines for tag in line if tag.startswith("eval/vs/") and tag.endswith("/mean")}
    tag = min(tags, default="")
    return [(int(line["step"]), float(line[tag])) for line in lines if line.get(tag) is not None]


def look(agent: Agent, game: Game, spec: str, a: Arguments) -> Diagnosis:
    """Let it play with itself, and look at the end of that.

    The losses are those of its own training, where its file tells their discount; else undiscounted returns.

    Raises:
        ValueError: no decision has an outcome yet.
    """
    device = agent.policy.no_action.device
    generator = torch.Generator(device).manual_seed(a.seed)
    collector = Collector(Batch(game, a.matches, device, a.seed), agent.policy)
    for _ in range(WARM_UP):
        collector.collect(agent.policy, a.steps, generator)
    rollout = collector.collect(agent.policy, a.steps, generator)
    assert rollout is not None  # nobody stopped it
    stored = read(shipped_agent(spec))
    training = stored.json("training.json")["arguments"] if "training.json" in stored else {}
    gamma, gae_lambda = (float(training.get(name, 1.0)) for name in ("gamma", "gae_lambda"))
    played = decisions_of(rollout, gamma, gae_lambda, agent.task.reward_scale)
    told = looked_at(agent.policy, rollout, played, a.matches, range(a.steps), SINGULAR_LAGS, SINGULAR_ROWS)
    if told is None:
        raise ValueError(
            f"in {a.steps} decisions of each match of {game} no outcome shows; --steps must be larger"
        )
    return told


# ---------------------------------------------------------------- tables


def show(seen: Seen, game: Game) -> None:
    """Print what was found of an agent: lag by lag, then layer by layer."""
    told = seen.told
    columns, rows = ["lag", "matches", "without"], []
    found = {
        f"{loss} loss by {name}": layer.gradient[loss]
        for loss in LOSSES
        for name, layer in told.layers.items()
        if loss in layer.gradient
    }
    columns += [*found, "recall (KL, mean)"]
    for k in (k for k in TABLE_LAGS if k < len(told.pairs) and told.pairs[k] > 0):
        cells = [number(by_lag, k) for by_lag in found.values()]
        recalled = float(told.recall.mean[k])
        recalled_told = "-" if math.isnan(recalled) else f"{recalled:.2e}"
        rows.append((str(k), f"{told.pairs[k]:,}", f"{told.absent[k]:,}", *cells, recalled_told))
    title = f"{seen.label}: {game}, cell {seen.cell}; |dL(t) / ds(t - k)|, median [{LOW:.0%}, {HIGH:.0%}]"
    cli.show(cli.as_table(title, columns, rows))
    cli.show(
        cli.as_table(
            "half-lives in own decisions after lag 1; time constants of the units",
            ("layer", *(f"half-life, {loss}" for loss in LOSSES), "time constant, median [band]",
             "gates closed / open", "largest singular value of k steps"),
            [layer_row(name, told) for name in told.layers],
        )
    )  # fmt: skip


def number(by_lag: ByLag, k: int) -> str:
    """A median with its band."""
    low, middle, high = (float(by_lag.quantile(share)[k]) for share in (LOW, 0.5, HIGH))
    return f"{middle:.2e} [{low:.1e}, {high:.1e}]"


def layer_row(name: str, told: Diagnosis) -> tuple[str, ...]:
    """What the second table says of a layer."""
    layer, gates = told.layers[name], told.layers[name].gates
    lives = [layer.gradient[loss].half_life if loss in layer.gradient else None for loss in LOSSES]
    constant = "-"
    if gates.time_constant is not None:
        low, middle, high = (float(gates.time_constant.quantile(share)) for share in (LOW, 0.5, HIGH))
        constant = f"{middle:.1f} [{low:.1f}, {high:.1f}]"
    saturated = ", ".join(f"{gate} {gates.closed[gate]:.1%} / {gates.open[gate]:.1%}" for gate in gates.mean)
    singular = ", ".join(f"{k}: {float(values.median()):.3g}" for k, values in layer.singular.items())
    return (name, *("-" if x is None else str(x) for x in lives), constant, saturated or "-", singular or "-")


# ---------------------------------------------------------------- the figure


def draw(seen: list[Seen], game: Game, out: Path) -> None:
    """Write the figure; the same findings give the same bytes."""
    from matplotlib.figure import Figure

    from agents.run import figures

    has_returns = all(one.returns for one in seen)
    figure = Figure(figsize=(11 if has_returns else 7.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 3 if has_returns else 2)
    draw_gradients(axes[0], seen)
    draw_recall(axes[1], seen)
    if has_returns:
        for one in seen:
            axes[2].plot(*zip(*one.returns, strict=True), marker="o", markersize=3)
        axes[2].set_title("mean return while trained")
        figures.count_decisions(axes[2])
    for panel in axes:
        figures.plain(panel)
        panel.title.set_fontsize(10)
    figure.suptitle(str(game), fontsize=10)
    figures.save(figure, out)


def draw_gradients(axes: Any, seen: list[Seen]) -> None:
    """The gradient of the policy's loss by lag, medians and bands."""
    for one in seen:
        by_lag = one.gradient(LOSSES[0])
        if by_lag is None:
            continue
        lags = torch.nonzero(by_lag.median > 0)[:, 0].tolist()
        life = by_lag.half_life
        label = one.label if life is None else f"{one.label}, half-life {life}"
        (line,) = axes.plot(lags, by_lag.median[lags].tolist(), label=label)
        low, high = (by_lag.quantile(share)[lags].tolist() for share in (LOW, HIGH))
        axes.fill_between(lags, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="lag, own decisions", yscale="log", title="policy loss by the state, |dL(t)/ds(t-k)|")
    axes.legend(frameon=False, fontsize=8)


def draw_recall(axes: Any, seen: list[Seen]) -> None:
    """What another observation k decisions back changes now."""
    for one in seen:
        recalled = one.told.recall.mean
        lags = torch.nonzero(recalled > 0)[:, 0].tolist()
        axes.plot(lags, recalled[lags].tolist(), label=one.label)
    axes.set(xlabel="lag, own decisions", yscale="log", title="KL now, another observation at the lag")
