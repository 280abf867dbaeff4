"""What SB3's `VecNormalize` has learned of a world, as tensors instead of a pickle (edge: SB3).

An agent that was trained behind a `VecNormalize` sees everything scaled by it: the statistics belong to the
agent as its weights do, and are kept in its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from agents.encoders import entries_of, packed

PARTS = ("mean", "var", "count")


def statistics(worlds: VecNormalize) -> dict[str, RunningMeanStd]:
    """The running moments by name: `reward`, and `observation` or, of a Dict, `observation/<key>` each."""
    named = {"reward": worlds.ret_rms}
    if not worlds.norm_obs:
        return named
    if isinstance(worlds.obs_rms, RunningMeanStd):
        return named | {"observation": worlds.obs_rms}
    return named | {f"observation/{key}": moments for key, moments in worlds.obs_rms.items()}


def state_of(worlds: VecNormalize) -> dict[str, Tensor]:
    """What it has learned: float64 moments, and the two numbers that the formula needs beside them."""
    state = {
        f"{name}.{part}": torch.as_tensor(np.asarray(getattr(moments, part), dtype=np.float64))
        for name, moments in statistics(worlds).items()
        for part in PARTS
    }
    return state | {
        name: torch.tensor(getattr(worlds, name), dtype=torch.float64) for name in ("clip_obs", "epsilon")
    }


def restore(worlds: VecNormalize, state: Mapping[str, Tensor]) -> None:
    """Let `worlds` go on with what `state_of` told.

    Raises:
        ValueError: they are statistics of other observations.
    """
    named = statistics(worlds)
    told = {name.rpartition(".")[0] for name in state} - {""}
    if told != set(named):
        raise ValueError(f"the statistics are of {sorted(told)}, the worlds have {sorted(named)}")
    for name, moments in named.items():
        mean, var, count = (state[f"{name}.{part}"].numpy() for part in PARTS)
        if mean.shape != np.shape(moments.mean):
            raise ValueError(
                f"the statistics of {name} have the shape {mean.shape}, expected {np.shape(moments.mean)}"
            )
        moments.mean, moments.var, moments.count = mean.copy(), var.copy(), float(count)


class Normalizer:
    """Scales observations as the `VecNormalize` did that `state` comes from."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = {name: part.cpu().numpy() for name, part in state.items()}

    def __call__(self, observation: Any) -> Any:
        """One observation or a batch of them; of a Dict the entries that were scaled."""
        if isinstance(observation, Mapping):
            return {key: self._scale(f"observation/{key}", entry) for key, entry in observation.items()}
        return self._scale("observation", observation)

    def _scale(self, name: str, numbers: Any) -> Any:
        """clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs)"""
        if f"{name}.mean" not in self.state:
            return numbers
        clip = float(self.state["clip_obs"])
        deviation = np.sqrt(self.state[f"{name}.var"] + self.state["epsilon"])
        scaled = (np.asarray(numbers) - self.state[f"{name}.mean"]) / deviation
        return np.clip(scaled, -clip, clip).astype(np.float32)

    def module(self, space: spaces.Space[Any]) -> nn.Module:
        """The same on tensors [B, ...] as `agents.encoders.pack` lays observations of `space` out."""
        if not isinstance(space, spaces.Dict):
            return Scaling(*self._moments("observation", space))
        parts = [self._moments(f"observation/{key}", entry) for key, entry in entries_of(space)]
        return Scaling(*(torch.cat([x.flatten() for x in part]) for part in zip(*parts, strict=True)))

    def _moments(self, name: str, space: spaces.Space[Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, deviation and bound of each number of a packed entry; 0, 1, infinity if it is not scaled."""
        if f"{name}.mean" not in self.state:
            zero = torch.zeros(packed(space)[0], dtype=torch.float64)
            return zero, zero + 1.0, zero + torch.inf
        mean, var = (torch.from_numpy(self.state[f"{name}.{part}"]) for part in ("mean", "var"))
        clip = torch.full_like(mean, float(self.state["clip_obs"]))
        return mean, torch.sqrt(var + float(self.state["epsilon"])), clip


class Scaling(nn.Module):
    """clip((x - mean) / deviation, -bound, bound), in double precision as NumPy computes it."""

    mean: Tensor
    deviation: Tensor
    bound: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, bound: Tensor) -> None:
        super().__init__()
        for name, x in (("mean", mean), ("deviation", deviation), ("bound", bound)):
            self.register_buffer(name, x)

    def forward(self, x: Tensor) -> Tensor:
        scaled = (x.double() - self.mean) / self.deviation
        return torch.minimum(torch.maximum(scaled, -self.bound), self.bound).float()
