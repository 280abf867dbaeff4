"""What a policy says about its next action, one class per kind of action space.

A distribution is kept as one tensor of parameters [..., D], so that a rollout stores it, a loss compares
two of them and a minibatch is cut from it without knowing which kind it is.

    Discrete        log-probabilities of the A actions, -inf where illegal
    MultiDiscrete   the same, component after component
    Box             means, then logarithms of the standard deviations
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from agents.net.kernels import choice


def masked_log_softmax(logits: Tensor, legal: Tensor) -> Tensor:
    """Log-probabilities [..., A] over the legal actions; -inf, so probability 0 exactly, elsewhere."""
    return logits.masked_fill(~legal, -torch.inf).log_softmax(-1)


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy [...] of masked log-probabilities [..., A], in nats; 0 log 0 = 0."""
    return -(log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(-1)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) [...] of masked log-probabilities [..., A] with the same mask; an illegal action adds 0."""
    least = torch.finfo(log_p.dtype).min
    return (log_p.exp() * (log_p.clamp(min=least) - log_q.clamp(min=least))).sum(-1)


def mixed(log_probs: Tensor, legal: Tensor, share: float) -> Tensor:
    """log((1 - share) p + share / n) of masked log-probabilities [..., A] where n actions are legal."""
    uniform = share / legal.sum(-1, keepdim=True)
    return ((1.0 - share) * log_probs.exp() + uniform).log().masked_fill(~legal, -torch.inf)


def sample(log_probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw an action [...] from masked log-probabilities [..., A]; never one of probability 0.

    The race of exponential clocks: with E_a ~ Exp(1), argmax p_a / E_a is distributed as p.
    """
    return (log_probs.exp() / clocks_of(log_probs, generator)).argmax(-1)


def clocks_of(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draws from Exp(1), shaped `like`."""
    return torch.empty_like(like).exponential_(generator=generator)


class Family(abc.ABC):
    """A family of distributions over actions. Leading dimensions are free: [...] stands for them."""

    dtype: ClassVar[torch.dtype] = torch.int64
    """Of an action."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one action."""

    @property
    @abc.abstractmethod
    def parameters(self) -> int:
        """D, numbers that it is kept as."""

    @property
    def outputs(self) -> int:
        """Numbers that a network gives for it."""
        return self.parameters

    @property
    @abc.abstractmethod
    def codes(self) -> tuple[int, ...]:
        """How many codes an action's components have; none for numbers."""

    @property
    def mask(self) -> int:
        """M, entries of a mask; 0 = it has none."""
        return sum(self.codes)

    def no_action(self) -> Tensor:
        """What stands for "no action yet" [*shape]: one code beyond the last; 0 for numbers."""
        return torch.tensor(self.codes, dtype=self.dtype).reshape(self.shape)

    def check_known(self, previous: Tensor) -> None:
        """Refuse previous actions [..., *shape] that are neither actions nor `no_action`.

        Raises:
            ValueError: a code is out of range.
        """
        none = self.no_action().to(previous.device)
        if self.codes and not ((previous >= 0) & (previous <= none)).all():
            raise ValueError(
                f"a saved previous action is out of range: codes are 0..{list(self.codes)}, got "
                f"{int(previous.min())}..{int(previous.max())}"
            )

    @abc.abstractmethod
    def normalise(self, outputs: Tensor, legal: Tensor) -> Tensor:
        """Parameters [..., D] from a network's numbers [..., D] and a mask, bool [..., M]."""

    @abc.abstractmethod
    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        """Log-probability or log-density [...] of actions [..., *shape]."""

    @abc.abstractmethod
    def entropy(self, parameters: Tensor) -> Tensor:
        """[...], in nats."""

    @abc.abstractmethod
    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """KL(p || q) [...]."""

    @abc.abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions [..., *shape]; never one of probability 0."""

    @abc.abstractmethod
    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable actions [..., *shape]."""

    def choose(
        self, outputs: Tensor, legal: Tensor, generator: torch.Generator | None, deterministic: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters [..., D], actions [..., *shape] and their log-probabilities [...], all at once.

        Args:
            outputs, legal: as `normalise` takes them.
            generator: of the draws, torch's default if None.
            deterministic: take the most probable actions instead.
        """
        parameters = self.normalise(outputs, legal)
        action = self.mode(parameters) if deterministic else self.sample(parameters, generator)
        return parameters, action, self.log_prob(parameters, action)

    def most_entropy(self, legal: Tensor) -> Tensor:  # noqa: ARG002
        """Entropy [...] of the uniform distribution over what a mask [..., M] allows, in nats."""
        raise ValueError(f"{type(self).__name__} has no uniform distribution to be drawn to")

    def mixed(self, parameters: Tensor, legal: Tensor, share: float) -> Tensor:  # noqa: ARG002
        """Parameters [..., D] of which `share` is uniform over what a mask [..., M] allows; where there is no
        uniform distribution, as they came."""
        return parameters

    def allows_something(self, legal: Tensor) -> Tensor:
        """Bool [...]: a mask [..., M] leaves an action to take."""
        return legal.new_ones(legal.shape[:-1])


@dataclasses.dataclass(frozen=True)
class Categorical(Family):
    """One choice among `actions`; parameters are log-probabilities [..., A]."""

    actions: int

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def parameters(self) -> int:
        return self.actions

    @property
    def codes(self) -> tuple[int, ...]:
        return (self.actions,)

    def normalise(self, outputs: Tensor, legal: Tensor) -> Tensor:
        if choice.can_run(outputs, legal):
            return choice.run(outputs, legal)[0]
        return masked_log_softmax(outputs, legal)

    def choose(
        self, outputs: Tensor, legal: Tensor, generator: torch.Generator | None, deterministic: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not choice.can_run(outputs, legal):
            return super().choose(outputs, legal, generator, deterministic)
        return choice.run(outputs, legal, None if deterministic else clocks_of(outputs, generator))

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        return parameters.gather(-1, action[..., None])[..., 0]

    def entropy(self, parameters: Tensor) -> Tensor:
        return entropy(parameters)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        return kl_divergence(p, q)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return sample(parameters, generator)

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(-1)

    def most_entropy(self, legal: Tensor) -> Tensor:
        return legal.sum(-1).log()

    def mixed(self, parameters: Tensor, legal: Tensor, share: float) -> Tensor:
        return mixed(parameters, legal, share)

    def allows_something(self, legal: Tensor) -> Tensor:
        return legal.any(-1)


@dataclasses.dataclass(frozen=True)
class MultiCategorical(Family):
    """A choice for each component; masks and log-probabilities stand one component after another."""

    sizes: tuple[int, ...]

    @property
    def codes(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.sizes),)

    @property
    def parameters(self) -> int:
        return sum(self.sizes)

    def normalise(self, outputs: Tensor, legal: Tensor) -> Tensor:
        blocks = zip(self._split(outputs), self._split(legal), strict=True)
        return torch.cat([masked_log_softmax(*block) for block in blocks], -1)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        blocks = zip(self._split(parameters), action.unbind(-1), strict=True)
        return torch.stack([block.gather(-1, a[..., None])[..., 0] for block, a in blocks]).sum(0)

    def entropy(self, parameters: Tensor) -> Tensor:
        return entropy(parameters)  # independent components: the sum of theirs

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        return kl_divergence(p, q)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.stack([sample(block, generator) for block in self._split(parameters)], -1)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.stack([block.argmax(-1) for block in self._split(parameters)], -1)

    def most_entropy(self, legal: Tensor) -> Tensor:
        return torch.stack([block.sum(-1).log() for block in self._split(legal)]).sum(0)

    def mixed(self, parameters: Tensor, legal: Tensor, share: float) -> Tensor:
        blocks = zip(self._split(parameters), self._split(legal), strict=True)
        return torch.cat([mixed(*block, share) for block in blocks], -1)

    def allows_something(self, legal: Tensor) -> Tensor:
        return torch.stack([block.any(-1) for block in self._split(legal)]).all(0)

    def _split(self, joined: Tensor) -> tuple[Tensor, ...]:
        blocks: tuple[Tensor, ...] = joined.split(self.sizes, -1)
        return blocks


@dataclasses.dataclass(frozen=True)
class Gaussian(Family):
    """Independent normal numbers in an array of shape `size`; parameters are means, then log-deviations.

    A world's bounds are its own business: actions are drawn unbounded and clipped when they are played.
    """

    size: tuple[int, ...]
    dtype: ClassVar[torch.dtype] = torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def codes(self) -> tuple[int, ...]:
        return ()

    @property
    def outputs(self) -> int:
        return math.prod(self.shape)

    @property
    def parameters(self) -> int:
        return 2 * self.outputs

    def no_action(self) -> Tensor:
        return torch.zeros(self.shape)

    def normalise(self, outputs: Tensor, legal: Tensor) -> Tensor:  # noqa: ARG002
        return outputs

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        mean, log_std = parameters.chunk(2, -1)
        z = (action.flatten(action.dim() - len(self.shape)) - mean) * torch.exp(-log_std)
        return -(0.5 * z.square() + log_std + 0.5 * math.log(2.0 * math.pi)).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        _, log_std = parameters.chunk(2, -1)
        return (log_std + 0.5 * math.log(2.0 * math.pi * math.e)).sum(-1)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        (mean_p, log_p), (mean_q, log_q) = p.chunk(2, -1), q.chunk(2, -1)
        spread = torch.exp(2.0 * (log_p - log_q)) + (mean_p - mean_q).square() * torch.exp(-2.0 * log_q)
        return (log_q - log_p + 0.5 * (spread - 1.0)).sum(-1)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_std = parameters.chunk(2, -1)
        noise = torch.empty_like(mean).normal_(generator=generator)
        return (mean + log_std.exp() * noise).unflatten(-1, self.shape)  # type: ignore[no-any-return]

    def mode(self, parameters: Tensor) -> Tensor:
        actions: Tensor = parameters.chunk(2, -1)[0].unflatten(-1, self.shape)
        return actions


def make_family(space: spaces.Space[Any]) -> Family:
    """The family over the actions of `space`.

    Raises:
        ValueError: no family knows this kind of space.
    """
    match space:
        case spaces.Discrete() if space.start == 0:
            return Categorical(int(space.n))
        case spaces.MultiDiscrete() if space.nvec.ndim == 1 and not space.start.any():
            return MultiCategorical(tuple(int(n) for n in space.nvec))
        case spaces.Box() if space.shape:
            return Gaussian(space.shape)
        case _:
            raise ValueError(
                f"no distribution for the action space {space}; known are Box, and Discrete and "
                "MultiDiscrete (one row) that begin at 0; a Box needs an axis"
            )
