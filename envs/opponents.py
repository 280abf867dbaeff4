"""Opponents: who holds the other seats where an environment is for one agent.

An opponent is named ("random", "bot"), loaded (an agent's path), or given: a player of `agents`, or a
plain function that makes one decision:

    def cautious(observation, mask, seat):      # the game's observation, bool [A], 0..P-1
        return int(np.flatnonzero(mask)[0])     # a legal action
"""

from __future__ import annotations

import copy
import operator
import os
import pkgutil
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from envs.core import Array, Game, listed, named


class Opponent(Protocol):
    """What the environments ask of an opponent: the verbs of `agents.play.players.Player`, told there."""

    game: Game
    name: str

    def reset(self, matches: int = 1) -> None:
        """Sit down at so many fresh matches."""

    def restart(self, over: Tensor) -> None:
        """The matches marked in bool [B] have ended, others begin there."""

    def reseed(self, seed: int) -> None:
        """Draw the same from now on as after any other `reseed` with this number."""

    def act(self, observation: Any, legal: Any, seat: Any, rows: Tensor | None = None) -> Any:
        """One decision in each of the matches `rows`; without, one for a single observation."""


Chooser = Callable[[Array, Array, int], int]
"""`(observation, mask, seat) -> action`: one decision, from NumPy arrays of the game's own shapes."""

OpponentChoice = str | os.PathLike[str] | Chooser | Opponent


def make_opponent(choice: OpponentChoice, game: Game, device: str | torch.device = "cpu") -> Opponent:
    """The opponent that a user's `opponent=` means. It belongs to the caller: a player is copied.

    Args:
        device: where an agent's network computes.

    Raises:
        TypeError: the choice is of no kind that can play.
        ValueError: nobody has this name, nothing is at this path, or it plays another game.
    """
    if isinstance(choice, str) and choice == "random":
        return RandomOpponent(game)
    if isinstance(choice, (str, os.PathLike)):
        # Bots and agents live in the package above, which `envs` must not need: it is asked for by name,
        # as Gymnasium's registry asks for an entry point, and only when a user wants such an opponent.
        load_player = pkgutil.resolve_name("agents.play.agent_file:load_player")
        return cast(Opponent, load_player(choice, game, device=device))
    if hasattr(choice, "act"):
        player = cast(Opponent, choice)
        if player.game != game:
            raise ValueError(f"the opponent {player.name!r} plays {player.game}, expected a player of {game}")
        return copy.deepcopy(player)
    if callable(choice):
        return FunctionOpponent(choice, game)
    raise TypeError(
        "opponent must be a name such as 'random' or 'bot', the path of an agent, a player, or a function "
        f"(observation, mask, seat) -> action; got {choice!r}"
    )


class RandomOpponent:
    """Every legal action with the same probability.

    The default opponent, so that an environment needs no `agents`; `agents.play.players.RandomPlayer` is for
    matches between players, whose draws are saved with a run.
    """

    name = "random"

    def __init__(self, game: Game) -> None:
        self.game = game
        self.reseed(0)

    def reset(self, matches: int = 1) -> None:
        """It remembers nothing."""

    def restart(self, over: Tensor) -> None:
        """It remembers nothing."""

    def reseed(self, seed: int) -> None:
        """Decide all draws from now on."""
        self._generator = np.random.default_rng(seed)

    def act(self, observation: Any, legal: Any, seat: Any, rows: Tensor | None = None) -> Any:  # noqa: ARG002
        """A legal action in each match."""
        if rows is None:
            choices = np.flatnonzero(legal)
            return int(choices[self._generator.integers(len(choices))])
        lots = torch.from_numpy(self._generator.random(legal.shape, np.float32)).to(legal.device)
        return torch.where(legal, lots, -1.0).argmax(1)


class FunctionOpponent:
    """A user's function as an opponent; asked once per decision, also where many matches run."""

    def __init__(self, choose: Chooser, game: Game) -> None:
        self.game = game
        self.name = getattr(choose, "__name__", type(choose).__name__)
        self._choose = choose

    def reset(self, matches: int = 1) -> None:
        """What it remembers is its own affair."""

    def restart(self, over: Tensor) -> None:
        """What it remembers is its own affair."""

    def reseed(self, seed: int) -> None:
        """What it draws is its own affair."""

    def act(self, observation: Any, legal: Any, seat: Any, rows: Tensor | None = None) -> Any:
        """The function's action in each match."""
        if rows is None:
            return self._decide(observation, legal, int(seat))
        decisions = zip(observation.cpu().numpy(), legal.cpu().numpy(), seat.tolist(), strict=True)
        return torch.tensor([self._decide(*decision) for decision in decisions], device=legal.device)

    def _decide(self, observation: Array, mask: Array, seat: int) -> int:
        """The function's action, checked.

        Raises:
            TypeError: it is no integer.
            ValueError: it is illegal.
        """
        action = self._choose(observation, mask.copy(), seat)
        who = f"{self.game.name}: the opponent {self.name!r} in seat {seat}"
        try:
            action = operator.index(action)
        except TypeError:
            raise TypeError(f"{who} must return an integer action, got {action!r}") from None
        if not 0 <= action < len(mask) or not mask[action]:
            raise ValueError(
                f"{who} chose {named(self.game, action)}; legal are {listed(np.flatnonzero(mask).tolist())}"
            )
        return action
