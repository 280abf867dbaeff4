"""Who learns from records: a network, and how it is asked about recorded decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from agents.net.policy import RecurrentPolicy
from agents.net.tokens import TokenModel


class Said(NamedTuple):
    """What a network says of the decisions of a piece."""

    logits: Tensor  # [T, R, A], of all actions, legal or not
    value: Tensor | None  # [T, R]
    cores: tuple[Tensor, ...]  # [L, R, ...] each, after the last step


class Learner(Protocol):
    """A network, and how it is asked about recorded decisions."""

    @property
    def network(self) -> nn.Module:
        """What learns."""

    @property
    def is_masked(self) -> bool:
        """It chooses among what is legal; else it must know that by itself."""

    def initial_cores(self, lanes: int) -> tuple[Tensor, ...]:
        """What is remembered before the first decision, [L, B, ...] each."""

    def say(self, told: Mapping[str, Tensor], start: Tensor, cores: tuple[Tensor, ...]) -> Said:
        """Run along time; `told` is `Recorded.told`, [T, R, ...] each."""


class TokenLearner:
    """A `TokenModel`, which is told the token before."""

    is_masked = False

    def __init__(self, network: TokenModel) -> None:
        self.network = network

    def initial_cores(self, lanes: int) -> tuple[Tensor, ...]:
        """See `Learner`."""
        return self.network.initial_cores(lanes)

    def say(self, told: Mapping[str, Tensor], start: Tensor, cores: tuple[Tensor, ...]) -> Said:
        """See `Learner`."""
        logits, cores = self.network(told["previous"], start, cores)
        return Said(logits, None, cores)


class CloneLearner:
    """A policy of Discrete actions, which is told what it would be told when it plays."""

    is_masked = True

    def __init__(self, network: RecurrentPolicy) -> None:
        self.network = network

    def initial_cores(self, lanes: int) -> tuple[Tensor, ...]:
        """See `Learner`."""
        return self.network.initial_memory(lanes).cores

    def say(self, told: Mapping[str, Tensor], start: Tensor, cores: tuple[Tensor, ...]) -> Said:
        """See `Learner`."""
        logits, value, cores = self.network(told["observation"], told["seat"], told["previous"], start, cores)
        return Said(logits, value, cores)
