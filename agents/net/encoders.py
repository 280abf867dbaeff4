"""Encoders: from an observation space to features, chosen by the space.

    MultiDiscrete, Discrete     an embedding per slot and code, summed
    Box of an image, uint8      the three convolutions of Mnih et al. (2015)
    Box of planes [C, h, w]     two 3 x 3 convolutions
    any other Box, MultiBinary  linear
    Dict                        the sum over its entries, each by its own encoder

A spatial policy takes `BoardEncoder` instead, whose features belong to the squares of a board one by one.

Leading dimensions are free: [..., observation] -> [..., features]. A rollout keeps observations as one
tensor, so `pack` lays the entries of a Dict side by side as numbers, and the encoder takes them apart.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn


class SlotEncoder(nn.Module):
    """A vector for every code of every slot; an observation is the sum of the vectors of its codes.

    Computed as the product with the one-hot codes: on 8,192 observations of 11 slots, forward and
    backward took 1.6 ms so, 6.2 ms with `embedding_bag` (2 CPU cores). On a CPU a policy reads the rows of
    this one and of its context by `agents.net.kernels.slots` instead.

    Args:
        sizes: number of codes of each slot, K numbers.
        features: E.
    """

    offset: Tensor
    starts: Tensor

    def __init__(self, sizes: Sequence[int], features: int) -> None:
        super().__init__()
        self.codes = sum(sizes)
        starts = [0, *itertools.accumulate(sizes)]
        self.register_buffer("offset", torch.tensor(starts[:-1]), persistent=False)
        self.register_buffer("starts", torch.tensor(starts), persistent=False)  # where its kernel reads
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
        features: Tensor = self.linear(x.flatten(-self.dimensions) if self.dimensions else x.unsqueeze(-1))
        return features


class PlaneScale(nn.Module):
    """Planes [C, h, w] as numbers of like size: integer counts that may exceed 1 become log2(1 + x) / 4.

    A count of 15 becomes 1 and one of 255 becomes 2, whatever the bounds, so that it means the same on
    boards of all sizes. Other planes stay: those of 0 and 1, those with negative numbers, and floats.
    """

    counts: Tensor

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        is_count = (space.high > 1).any((1, 2)) & (space.low >= 0).all((1, 2))
        is_count &= np.issubdtype(space.dtype, np.integer)
        self.register_buffer("counts", torch.from_numpy(is_count)[:, None, None], persistent=False)

    def forward(self, planes: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, h, w] -> `dtype` of the same shape, channels last in memory, as convolutions like it."""
        x = planes.to(dtype, memory_format=torch.channels_last)
        return torch.where(self.counts, torch.log2(x + 1.0) * 0.25, x)


class PlaneEncoder(nn.Module):
    """Two 3 x 3 convolutions over planes [C, h, w], see `PlaneScale`, then one linear layer."""

    def __init__(self, space: spaces.Box, features: int, channels: int = 32) -> None:
        super().__init__()
        planes, height, width = space.shape
        self.scale = PlaneScale(space)
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
        x = self.convolutions(self.scale(planes.flatten(0, -4), self.linear.weight.dtype))
        features: Tensor = self.linear(x).unflatten(0, planes.shape[:-3])
        return features


class Board(NamedTuple):
    """Where the actions of a game lie on the planes it shows.

    Action (row * cols + col) * moves + what is made on a square; behind them come the further actions.
    """

    rows: int
    cols: int
    moves: int  # on each square
    further: int  # on none, such as to pass

    @property
    def squares(self) -> int:
        """S."""
        return self.rows * self.cols


def board_of(space: spaces.Space[Any], actions: int) -> Board:
    """The board that `space` shows and `actions` are made on, as many on its squares as fit.

    Raises:
        ValueError: the observations are no integer planes, or there are fewer actions than squares.
    """
    if isinstance(space, spaces.Box) and len(space.shape) == 3 and np.issubdtype(space.dtype, np.integer):
        _, rows, cols = space.shape
        moves, further = divmod(actions, rows * cols)
        if moves > 0:
            return Board(rows, cols, moves, further)
    raise ValueError(
        "spatial needs integer planes Box [C, rows, cols] and at least rows * cols Discrete actions, "
        f"got {type(space).__name__} {list(space.shape or ())} of {space.dtype} and {actions} actions"
    )


def pooled(x: Tensor) -> Tensor:
    """Mean and maximum over the squares: [..., S, E] -> [..., 2 E]."""
    return torch.cat([x.mean(-2), x.amax(-2)], -1)


class BoardEncoder(nn.Module):
    """Features of every square from planes [C, rows, cols]: two 3 x 3 convolutions, see `PlaneScale`.

    Every square also learns of all others: mean and maximum over the board come in through one linear
    layer. No weight depends on the size of the board.
    """

    def __init__(self, space: spaces.Space[Any], features: int) -> None:
        super().__init__()
        assert isinstance(space, spaces.Box)  # `board_of` sees to it
        self.scale = PlaneScale(space)
        self.convolutions = nn.Sequential(
            nn.Conv2d(space.shape[0], features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.whole = nn.Linear(2 * features, features)

    def forward(self, planes: Tensor) -> Tensor:
        """[..., C, rows, cols] -> [..., S, E]."""
        scaled = self.scale(planes.flatten(0, -4), self.whole.weight.dtype)
        x = self.convolutions(scaled).flatten(2).transpose(1, 2)
        features: Tensor = (x + self.whole(pooled(x))[:, None]).unflatten(0, planes.shape[:-3])
        return features


class BoardContext(nn.Module):
    """What the squares are told beside the planes: all of them who decides, one what was last done on it.

    Args:
        board: S squares.
        seats: P, or 0 if the seat is not told.
        has_previous: the previous action is told; a further one, or none yet, to all squares.
        features: E.
    """

    def __init__(self, board: Board, seats: int, has_previous: bool, features: int) -> None:
        super().__init__()
        self.board = board
        self.seat = SlotEncoder([seats], features) if seats > 0 else None
        codes = board.moves + board.further + 1  # the last: none yet
        self.previous = SlotEncoder([codes], features) if has_previous else None

    def forward(self, slots: Tensor) -> Tensor:
        """Codes [..., K], the seat and the previous action as far as they are told -> [..., S or 1, E]."""
        told: list[Tensor] = [] if self.seat is None else [self.seat(slots[..., None, :1])]
        if self.previous is not None:
            action, S, k = slots[..., None, -1:], self.board.squares, self.board.moves
            is_further = action >= S * k
            what = torch.where(is_further, action - S * k + k, action % k)
            squares = torch.arange(S, device=slots.device)[:, None]
            told.append(self.previous(what) * (is_further | (action // k == squares)))
        return functools.reduce(torch.add, told)


class ImageEncoder(nn.Module):
    """Three convolutions over an image uint8 [C, h, w], then one linear layer (Mnih et al. 2015)."""

    def __init__(self, shape: tuple[int, int, int], features: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(shape[0], 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
        )
        height, width = shape[1:]
        for kernel, stride in ((8, 4), (4, 2), (3, 1)):
            height, width = ((size - kernel) // stride + 1 for size in (height, width))
        self.linear = nn.Linear(64 * height * width, features)

    def forward(self, image: Tensor) -> Tensor:
        """[..., C, h, w] -> [..., E]."""
        leading = image.shape[:-3]
        x = image.to(self.linear.weight.dtype).flatten(0, -4) / 255.0
        features: Tensor = self.linear(self.convolutions(x)).unflatten(0, leading)
        return features


class DictEncoder(nn.Module):
    """Takes a packed Dict apart and adds up what its entries' encoders say."""

    def __init__(self, space: spaces.Dict, features: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {_module_name(key): make_encoder(entry, features) for key, entry in entries_of(space)}
        )
        self.shapes = [packed(entry)[0] for _, entry in entries_of(space)]

    def forward(self, observation: Tensor) -> Tensor:
        """[..., N] -> [..., E]."""
        parts = observation.split([math.prod(shape) for shape in self.shapes], -1)
        entries = zip(self.encoders.values(), parts, self.shapes, strict=True)
        return torch.stack([encoder(part.unflatten(-1, shape)) for encoder, part, shape in entries]).sum(0)


def entries_of(space: spaces.Dict) -> list[tuple[str, spaces.Space[Any]]]:
    """The entries of a Dict in the order in which they are packed, whichever order it has itself."""
    return sorted(space.items())


def _module_name(key: str) -> str:
    """A key of a Dict as torch takes it for a module: no dots, and nothing that modules have themselves."""
    return "key:" + quote(key, safe="").replace(".", "%2E")


def packed(space: spaces.Space[Any]) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and dtype of one observation of `space` in a rollout."""
    match space:
        case spaces.Dict():
            return (sum(math.prod(packed(entry)[0]) for _, entry in entries_of(space)),), torch.float32
        case spaces.Discrete():
            return (1,), torch.int64
        case _ if space.shape is not None and space.dtype is not None:
            dtype = torch.from_numpy(np.zeros(0, space.dtype)).dtype
            return space.shape, torch.float32 if dtype == torch.float64 else dtype
        case _:
            raise ValueError(f"observations of {space} cannot be kept as a tensor")


def pack(space: spaces.Space[Any], observation: Any, device: torch.device | str = "cpu") -> Tensor:
    """Observations of `space`, B stacked in NumPy's or SB3's way, as one tensor [B, *packed(space)[0]]."""
    if isinstance(space, spaces.Dict):
        entries = [pack(entry, observation[key], device) for key, entry in entries_of(space)]
        return torch.cat([entry.flatten(1).float() for entry in entries], 1)
    shape, dtype = packed(space)
    return torch.as_tensor(np.asarray(observation), dtype=dtype, device=device).reshape(-1, *shape)


def make_encoder(space: spaces.Space[Any], features: int) -> nn.Module:
    """The encoder for `space`, with `features` outputs.

    Raises:
        ValueError: no encoder knows this kind of space.
    """
    match space:
        case spaces.MultiDiscrete() if space.nvec.ndim == 1:
            return SlotEncoder([int(n) for n in space.nvec], features)
        case spaces.Discrete():
            return SlotEncoder([int(space.n)], features)
        case spaces.Dict():
            return DictEncoder(space, features)
        case spaces.Box() if len(space.shape) == 3 and space.dtype == np.uint8 and min(space.shape[1:]) >= 36:
            return ImageEncoder(space.shape, features)
        case spaces.Box() if len(space.shape) == 3:
            return PlaneEncoder(space, features)
        case spaces.Box() | spaces.MultiBinary():
            return LinearEncoder(math.prod(space.shape), len(space.shape), features)
        case _:
            raise ValueError(
                f"no encoder for the observation space {space}; known are MultiDiscrete (one row of slots), "
                "Discrete, MultiBinary, Box, and Dict of these"
            )
