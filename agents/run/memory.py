"""What the memory does (`agents.net.probe`) on a run's curves: numbers, histograms, an image, a page of
them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from agents.learn.algorithm import MaskableRecurrentPPO
from agents.learn.ppo import Sample, decisions_of
from agents.learn.rollout import Rollout
from agents.net.policy import RecurrentPolicy
from agents.net.probe import ByLag, Diagnosis, LayerMemory, diagnose, layers_of
from agents.net.replay import Told
from agents.run.config import RunConfig
from agents.run.curves import read_lines, record_image
from envs.drawing import INK, PAPER, SEATS, document, rasterise, rectangle, words

LOSSES: Final = ("policy", "value")

LOW, HIGH = 0.1, 0.9
"""The band around a median."""

ROWS: Final = 32
"""Matches, at most, that are looked at while a run trains."""

SINGULAR_LAGS: Final = (1, 2, 4)
SINGULAR_ROWS: Final = 2
"""What is found of Jacobians while a run trains."""

SHOWN: Final = 4096
"""Gates, at most, in a histogram."""


def lags_below(T: int) -> list[int]:
    """The lags that have curves, where there are T decisions: 1, 2, 4, 8, ..."""
    return [2**k for k in range(T.bit_length()) if 2**k < T]


def looked_at(
    policy: RecurrentPolicy,
    rollout: Rollout,
    played: Sample,
    rows: int,
    recall_lags: Sequence[int],
    singular_lags: Sequence[int],
    singular_rows: int,
) -> Diagnosis | None:
    """What the memory of a policy does in a rollout.

    Of each match the latest decision counts that the loss does. The losses are its own, of a first step:

        policy: -A log pi(a)        value: (target - V)^2

    Args:
        played: its decisions as `decisions_of` tells them, those before the rollout among them.
        rows: so many matches at most, evenly spread.
        recall_lags, singular_lags, singular_rows: see `diagnose`.

    Returns:
        None: no decision counts.
    """
    (T, B), device = rollout.shape, rollout.seat.device
    chosen = torch.arange(0, B, math.ceil(B / rows), device=device)
    step = torch.arange(T, device=device)[:, None]
    target = torch.where(played.counts[-T:, chosen], step, -1).max(0).values
    chosen, target = chosen[target >= 0], target[target >= 0]
    if len(chosen) == 0:
        return None
    there, family = (target, chosen), policy.family
    action, legal = rollout.action[there], rollout.legal[there]
    advantage, aim = played.advantage[-T:][there], played.target[-T:][there]

    def losses(outputs: Tensor, value: Tensor) -> dict[str, Tensor]:
        log_prob = family.log_prob(family.normalise(outputs, legal), action)
        return dict(zip(LOSSES, (-advantage * log_prob, (aim - value).square()), strict=True))

    told = Told(
        rollout.observation[:, chosen],
        rollout.seat[:, chosen],
        rollout.previous[:, chosen],
        rollout.start[:, chosen],
        rollout.memory.select(chosen).cores,
        None,
    )
    return diagnose(
        policy, told, rollout.legal[:, chosen], target, losses, recall_lags, singular_lags, singular_rows
    )


class MemoryCurves:
    """Records what the memory of a run's model does, in the evaluations that `Paced.memory_every` says.

    Args:
        run: its folder, whose metrics.jsonl tells what was recorded before it was resumed.
    """

    def __init__(self, run: Path, config: RunConfig) -> None:
        self.run, self.config = run, config
        self._past: list[Mapping[str, Any]] | None = None

    def show(self, model: MaskableRecurrentPPO) -> None:
        """Record it if it is time: of the raw weights, in the rollout that they learned from last.

        Training goes on as if this were not.
        """
        rollout, n, every = model.rollout, model.num_timesteps, self.config.eval.memory_every
        if rollout is None or every == 0:
            return
        before = n - max(self.config.eval.every, model.n_steps * model.n_envs)  # the last was not earlier
        if n // every == before // every and n < self.config.total_timesteps:
            return
        now, T = model.settings.at(model._current_progress_remaining), rollout.shape[0]
        scale, potential = model.reward_scale, model.potential
        played = decisions_of(rollout, now.gamma, now.gae_lambda, scale, potential, now.shaping_coef)
        lags = [0, *lags_below(T)]
        told = looked_at(model.policy, rollout, played, ROWS, lags, SINGULAR_LAGS, SINGULAR_ROWS)
        if told is None:
            return
        numbers = numbers_of(told)
        for tag, value in (numbers | histograms_of(told)).items():
            model.logger.record(tag, value)
        record_image(
            model.logger, "rnn/gradient_by_lag", rasterise(self._image(numbers, n, list(told.layers), T))
        )

    def _image(self, numbers: dict[str, float], step: int, layers: Sequence[str], T: int) -> str:
        """`lags_in_time` of all that was recorded so far, these numbers the latest."""
        tag = medians(layers[0], T)[:1]
        if self._past is None:
            lines = read_lines(self.run / "metrics.jsonl")
            self._past = [line for line in lines if line["step"] < step and all(t in line for t in tag)]
        self._past.append({"step": step, **numbers})
        return lags_in_time(self._past, layers, T)


def numbers_of(told: Diagnosis) -> dict[str, float]:
    """The curves' numbers by their tags; the first layer's stand also under names without a layer."""
    numbers = _of_first(next(iter(told.layers.values())))
    lags = lags_below(len(told.pairs))
    for k in lags:
        numbers[f"rnn/pairs/lag{k}"] = float(told.pairs[k])
        numbers[f"rnn/absent/lag{k}"] = float(told.absent[k])
    numbers |= {f"rnn/recall/lag{k}": float(told.recall.mean[k]) for k in (0, *lags)}
    for name, layer in told.layers.items():
        numbers[f"rnn/hidden_norm/{name}"] = layer.hidden_norm
        for what in ("mean", "closed", "open"):
            shares: dict[str, float] = getattr(layer.gates, what)
            numbers |= {f"rnn/gate_{what}/{name}/{gate}": share for gate, share in shares.items()}
        if layer.gates.time_constant is not None:
            numbers |= banded(f"rnn/time_constant/{name}", ByLag(layer.gates.time_constant[None]), 0)
        for loss, by_lag in layer.gradient.items():
            for k in lags:
                numbers |= banded(f"rnn/gradient/{loss}/{name}/lag{k}", by_lag, k)
            if (found := by_lag.half_life) is not None:
                numbers[f"rnn/half_life/{loss}/{name}"] = found.lags
        for k, values in layer.singular.items():
            value = float(values.median())
            numbers[f"rnn/singular_value/{name}/lag{k}"] = value
            numbers[f"rnn/growth/{name}/lag{k}"] = value ** (1.0 / k)
    return {tag: value for tag, value in numbers.items() if not math.isnan(value)}


def _of_first(layer: LayerMemory) -> dict[str, float]:
    """What every run has told of its first layer, under the same tags."""
    gates = layer.gates
    numbers = {"rnn/hidden_norm": layer.hidden_norm}
    numbers |= {f"rnn/gate_mean/{gate}": share for gate, share in gates.mean.items()}
    if gates.mean:
        saturated = [gates.closed[gate] + gates.open[gate] for gate in gates.mean]
        numbers["rnn/gate_saturation"] = sum(saturated) / len(saturated)
    return numbers


def banded(tag: str, by_lag: ByLag, k: int) -> dict[str, float]:
    """The median at a lag and the band around it."""
    shares = {"median": 0.5, "low": LOW, "high": HIGH}
    return {f"{tag}/{name}": float(by_lag.quantile(share)[k]) for name, share in shares.items()}


def histograms_of(told: Diagnosis) -> dict[str, Tensor]:
    """What TensorBoard shows as histograms by their tags."""
    found: dict[str, Tensor] = {}
    for name, layer in told.layers.items():
        for gate, opened in layer.gates.all.items():
            every = math.ceil(opened.numel() / SHOWN)
            found[f"rnn/gates/{name}/{gate}"] = opened.flatten()[::every]
        if layer.gates.time_constant is not None:
            found[f"rnn/log10_time_constant/{name}"] = layer.gates.time_constant.clamp(min=1e-3).log10()
    return found


# ---------------------------------------------------------------- pictures


def medians(layer: str, T: int, loss: str = LOSSES[0]) -> list[str]:
    """The tags of a layer's medians, lag by lag."""
    return [f"rnn/gradient/{loss}/{layer}/lag{k}/median" for k in lags_below(T)]


SIDE, LEFT, TOP, MOST, DEPTH = 24.0, 90.0, 58.0, 32, 3.0
"""Of the image: a field's side, where fields begin, columns at most, powers of ten between white and blue."""


def lags_in_time(lines: Sequence[Mapping[str, Any]], layers: Sequence[str], T: int) -> str:
    """The gradient of the policy's loss by lag (down) and by training time (to the right), as SVG.

    Blue is as much as at lag 1, white a thousandth of it or less; a dot: no match has the lag.

    Args:
        lines: of metrics.jsonl, those with the tags of `medians`.
    """
    kept = np.unique(np.linspace(0, len(lines) - 1, min(MOST, len(lines))).round().astype(int))
    shown, lags = [lines[k] for k in kept], lags_below(T)
    title = "policy loss: |dL(t) / ds(t - k)| against that at lag 1"
    drawn = [words(10, 22, title, 13, anchor="start")]
    top = TOP
    for layer in layers:
        drawn.append(words(10, top - 10, layer, 12, anchor="start"))
        tags = medians(layer, T)
        for row, (k, tag) in enumerate(zip(lags, tags, strict=True)):
            y = top + SIDE * row
            drawn.append(words(LEFT - 8, y + SIDE / 2 + 4, f"lag {k}", 11, anchor="end"))
            for column, line in enumerate(shown):
                x, share = LEFT + SIDE * column, _share(line.get(tag), line.get(tags[0]))
                fill = PAPER if share is None else _shade(share)
                drawn.append(rectangle(x, y, SIDE, SIDE, fill=fill, stroke=PAPER))
                if share is None:
                    drawn.append(words(x + SIDE / 2, y + SIDE / 2 + 4, "·", 11, INK))
        top += SIDE * len(lags) + TOP / 2
    steps = f"{shown[0]['step']:,} to {shown[-1]['step']:,} decisions"
    drawn.append(words(LEFT, top - 8, steps, 11, anchor="start"))
    return document(max(LEFT + SIDE * len(shown) + 10, 420), top + 4, *drawn)


def _share(value: float | None, first: float | None) -> float | None:
    """0..1 on the logarithm's scale; None where one of them is unknown."""
    if value is None or first is None or first <= 0.0:
        return None
    return 0.0 if value <= 0.0 else min(1.0, max(0.0, 1.0 + math.log10(value / first) / DEPTH))


def _shade(share: float) -> str:
    """From white at 0 to blue at 1."""
    parts = (int(SEATS[0][k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in parts)


Chart = list[Any]


def layout_of(bands: Mapping[str, tuple[str, str, str]], policy: Any) -> dict[str, dict[str, Chart]]:
    """TensorBoard's CUSTOM SCALARS: the headline first, then the memory, if `policy` is one of ours.

    Args:
        bands: tags of a mean and of its interval's ends, by the chart's title.
    """
    layout: dict[str, dict[str, Chart]] = {
        "Headline": {title: ["Margin", list(tags)] for title, tags in bands.items()}
    }
    if isinstance(policy, RecurrentPolicy):
        layout["Memory"] = _memory_charts(layers_of(policy))
    return layout


def _memory_charts(layers: Mapping[str, Any]) -> dict[str, Chart]:
    charts: dict[str, Chart] = {
        "half-life of the gradient, in own decisions": ["Multiline", ["rnn/half_life/.*"]],
        "recall: KL after another observation k decisions back": ["Multiline", ["rnn/recall/.*"]],
    }
    for name, cell in layers.items():
        for loss in LOSSES:
            tag = f"rnn/gradient/{loss}/{name}"
            charts[f"{loss} loss by the state k decisions back, medians, {name}"] = [
                "Multiline", [f"{tag}/lag.*/median"],
            ]  # fmt: skip
            charts[f"{loss} loss by the state one decision back, {LOW:.0%} to {HIGH:.0%}, {name}"] = [
                "Margin", [f"{tag}/lag1/{what}" for what in ("median", "low", "high")],
            ]  # fmt: skip
        if cell.keeps is not None:
            charts[f"time constants of gate {cell.keeps}, {LOW:.0%} to {HIGH:.0%} of the units, {name}"] = [
                "Margin", [f"rnn/time_constant/{name}/{what}" for what in ("median", "low", "high")],
            ]  # fmt: skip
        if cell.gates:
            charts[f"gates saturated at 0 (closed) and at 1 (open), {name}"] = [
                "Multiline", [f"rnn/gate_(closed|open)/{name}/.*"],
            ]  # fmt: skip
    charts["growth of a state's change per decision (largest singular value)"] = [
        "Multiline", ["rnn/growth/.*"],
    ]  # fmt: skip
    charts["matches that have the lag"] = ["Multiline", ["rnn/pairs/.*"]]
    return charts
