"""Heads: from what a core says to what the family of the actions needs, and to a value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from agents.net.encoders import Board, pooled


def make_head(widths: Sequence[int], activation: Callable[[], nn.Module], gain: float) -> nn.Sequential:
    """Linear layers with activations between them; orthogonal start, `gain` at the last one."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(inputs, outputs)
        is_last = i == len(widths) - 2
        nn.init.orthogonal_(linear.weight, gain if is_last else 2**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear] if is_last else [linear, activation()]
    return nn.Sequential(*layers)


class BoardActionHead(nn.Module):
    """Logits of the actions on a board, in their order.

    A 3 x 3 convolution lets neighbours talk; then every square speaks for its own moves, with the same
    weights, and mean and maximum over the squares for the further actions.

    Args:
        board: S squares, k moves on each, m further actions.
        inputs: I, numbers of a square.
        channels: outputs of the convolution.
        widths: of the layers between.
        activation: between them.
    """

    def __init__(
        self,
        board: Board,
        inputs: int,
        channels: int,
        widths: Sequence[int],
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.board = board
        self.neighbours = nn.Sequential(nn.Conv2d(inputs, channels, 3, padding=1), activation())
        self.moves = make_head([channels, *widths, board.moves], activation, gain=0.01)
        self.further = (
            make_head([2 * channels, *widths, board.further], activation, gain=0.01)
            if board.further > 0
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[..., S, I] -> [..., S k + m]."""
        planes = x.flatten(0, -3).transpose(1, 2).unflatten(2, self.board[:2])
        talked = self.neighbours(planes).flatten(2).transpose(1, 2).unflatten(0, x.shape[:-2])
        logits = self.moves(talked).flatten(-2)
        return logits if self.further is None else torch.cat([logits, self.further(pooled(talked))], -1)


class BoardValueHead(nn.Module):
    """The value of a board, from mean and maximum over its squares.

    Args:
        inputs: I, numbers of a square.
        widths: of the layers between.
        activation: between them.
    """

    def __init__(self, inputs: int, widths: Sequence[int], activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.layers = make_head([2 * inputs, *widths, 1], activation, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """[..., S, I] -> [..., 1]."""
        value: Tensor = self.layers(pooled(x))
        return value
