"""What SB3's `VecNormalize` has learned of a world, as tensors instead of a pickle (edge: SB3).

An agent that was trained behind a `VecNormalize` sees everything scaled by it: the statistics belong to the
agent as its weights do, and are kept in its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
    unwrap_vec_normalize,
)
from torch import Tensor, nn

from agents.net.encoders import entries_of, packed

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

PARTS = ("mean", "var", "count")

ABOVE = (VecMonitor, VecCheckNan, VecTransposeImage, VecVideoRecorder)
"""What may lie around a `VecNormalize`: wrappers that leave the numbers as they are."""


def check_wrappers(worlds: VecEnv) -> None:
    """Refuse what an agent alone could not repeat: it scales the numbers of the world, and nothing else.

    Raises:
        ValueError: there are two `VecNormalize`, or one scales integers, or something else lies around it.
    """
    around: list[VecEnvWrapper] = []
    found: VecNormalize | None = None
    layer: Any = worlds
    while isinstance(layer, VecEnvWrapper):
        if isinstance(layer, VecNormalize):
            if found is not None:
                raise ValueError("expected one VecNormalize around the worlds, got two; leave one out")
            found, above = layer, [*around]
        around.append(layer)
        layer = layer.venv
    if found is None:
        return
    for wrapper in above:
        if type(wrapper) not in ABOVE:
            name = type(wrapper).__name__
            raise ValueError(
                f"a {name} around a VecNormalize changes what was scaled, which the agent alone could not "
                f"repeat; put it inside: VecNormalize({name}(env)). Around it may be "
                f"{', '.join(kind.__name__ for kind in ABOVE)}"
            )
    for key in scaled_entries(found):
        space = found.observation_space
        entry = space[key] if isinstance(space, spaces.Dict) else space
        if not np.issubdtype(entry.dtype, np.floating):
            which = f"entry {key!r}" if key else "observation"
            raise ValueError(
                f"VecNormalize scales numbers, and the {which} is {entry}: leave it out with norm_obs_keys "
                "or norm_obs=False, or declare a Box of floats"
            )


def scaled_entries(worlds: VecEnv) -> frozenset[str]:
    """The entries of a Dict that a `VecNormalize` around `worlds` scales; of no Dict "", if it does."""
    found = unwrap_vec_normalize(worlds)
    if found is None or not found.norm_obs:
        return frozenset()
    return frozenset(found.norm_obs_keys or [""])


def keep(model: Any, state: Mapping[str, Tensor]) -> None:
    """Let a model that has no worlds yet keep the statistics that it learned with."""
    model.statistics = dict(state)
    model.task = model.task.scaled_by(Normalizer(state).entries)


def known_to(model: BaseAlgorithm) -> dict[str, Tensor] | None:
    """The statistics that the model learned with: its env's, or while it has none those from its file."""
    worlds = model.get_vec_normalize_env()
    if worlds is not None:
        return state_of(worlds)
    return getattr(model, "statistics", None)


def hand_on(model: BaseAlgorithm, worlds: VecEnv) -> None:
    """Let the `VecNormalize` around new worlds of a model go on with the statistics that it learned with.

    Raises:
        ValueError: there is none, or the model learned without, or with one of other entries.
    """
    state, found = known_to(model), unwrap_vec_normalize(worlds)
    if state is not None and found is None:
        raise ValueError(
            "the model was trained with VecNormalize, the env has none: give it VecNormalize(env), which "
            "gets the model's statistics"
        )
    if found is not None and state is None:
        raise ValueError(
            "the model was trained without VecNormalize, the env has one: give it the env without"
        )
    if found is not None and state is not None and found is not model.get_vec_normalize_env():
        restore(found, state)


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
    worlds.clip_obs, worlds.epsilon = float(state["clip_obs"]), float(state["epsilon"])


def like(state: Mapping[str, Tensor], worlds: VecEnv) -> VecNormalize:
    """`worlds` scaled by what `state_of` told, which stays as it is; rewards are not scaled."""
    names = {name.rpartition(".")[0] for name in state}
    keys = sorted(name.removeprefix("observation/") for name in names if name.startswith("observation/"))
    has_observations = bool(keys) or "observation" in names
    scaled = VecNormalize(
        worlds, training=False, norm_obs=has_observations, norm_reward=False, norm_obs_keys=keys or None
    )
    restore(scaled, state)
    return scaled


class Normalizer:
    """Scales observations as the `VecNormalize` did that `state` comes from."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = {name: part.cpu().numpy() for name, part in state.items()}
        means = [
            name.removesuffix(".mean") for name in state if name.endswith(".mean") and name != "reward.mean"
        ]
        self.entries = frozenset(name.removeprefix("observation").removeprefix("/") for name in means)
        """Of the observations that are scaled, by key; "" for those of no Dict."""

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
        """The same on tensors [B, ...] as `agents.net.encoders.pack` lays observations of `space` out."""
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
