"""Encoders: from an observation space to features, chosen by the space.

    MultiDiscrete               an embedding per slot and code, summed
    Box of planes [C, h, w]     two 3 x 3 convolutions
    any other Box, MultiBinary  linear

Leading dimensions are free: [..., observation] -> [..., features].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import Tensor, nn


class SlotEncoder(nn.Module):
    """A vector for every code of every slot; an observation is the sum of the vectors of its codes.

    Computed as the product with the one-hot codes: on 8,192 observations of 11 slots, forward and
    backward took 1.6 ms so, 6.2 ms with `embedding_bag` (2 CPU cores).

    Args:
        sizes: number of codes of each slot, K numbers.
        features: E.
    """

    offset: Tensor

    def __init__(self, sizes: Sequence[int], features: int) -> None:
        super().__init__()
        self.codes = sum(sizes)
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        self.register_buffer("offset", torch.tensor(starts), persistent=False)
        # Unit variance of the sum, whatever the number of slots.
        self.weight = nn.Parameter(torch.randn(self.codes, features) / math.sqrt(len(sizes)))

    def forward(self, codes: Tensor) -> Tensor:
        """Integer codes [..., K] -> [..., E]."""
        one_hot = self.weight.new_zeros(*codes.shape[:-1], self.codes)
        return one_hot.scatter_(-1, codes.long() + self.offset, 1.0) @ self.weight


class LinearEncoder(nn.Module):
    """Flattens `dimensions` trailing dimensions into `size` numbers; one linear layer."""

    def __init__(self, size: int, dimensions: int, features: int) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.linear = nn.Linear(size, features)

    def forward(self, observation: Tensor) -> Tensor:
        """[..., *shape] -> [..., E]."""
        x = observation.to(self.linear.weight.dtype)
        return self.linear(x.flatten(-self.dimensions) if self.dimensions else x.unsqueeze(-1))  # type: ignore[no-any-return]


class PlaneEncoder(nn.Module):
    """Two 3 x 3 convolutions over planes [C, h, w], then one linear layer."""

    def __init__(self, shape: tuple[int, int, int], features: int, channels: int = 32) -> None:
        super().__init__()
        planes, height, width = shape
        self.convolutions = nn.Sequential(
            nn.Conv2d(planes, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.linear = nn.Linear(channels * height * width, features)

    def forward(self, planes: Tensor) -> Tensor:
        """[..., C, h, w] -> [..., E]."""
        leading = planes.shape[:-3]
        x = planes.to(self.linear.weight.dtype).flatten(0, -4)
        return self.linear(self.convolutions(x)).unflatten(0, leading)  # type: ignore[no-any-return]


def make_encoder(space: spaces.Space, features: int) -> nn.Module:  # type: ignore[type-arg]
    """The encoder for `space`, with `features` outputs.

    Raises:
        ValueError: no encoder knows this kind of space.
    """
    match space:
        case spaces.MultiDiscrete() if space.nvec.ndim == 1:
            return SlotEncoder([int(n) for n in space.nvec], features)
        case spaces.Box() if len(space.shape) == 3:
            return PlaneEncoder(space.shape, features)
        case spaces.Box() | spaces.MultiBinary():
            return LinearEncoder(math.prod(space.shape), len(space.shape), features)
        case _:
            raise ValueError(
                f"no encoder for the observation space {space}; known are MultiDiscrete (one row of slots), "
                "Box and MultiBinary"
            )
