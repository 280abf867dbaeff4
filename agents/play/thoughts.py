"""What an agent thought at the decisions of a match: its best moves, its value, its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from agents.net.cells import Cell
from agents.net.distributions import entropy
from agents.net.policy import Memory
from agents.play.players import Agent, Player, SeatedAgent
from envs import Match
from envs.seated import with_seats

BEST = 5
"""Moves that are told."""


class Thought(NamedTuple):
    """What an agent thought at a decision."""

    best: tuple[tuple[str, float], ...]
    """Its most probable moves by name, with their probabilities."""
    value: float
    """The return that it expected for its seat."""
    entropy: float
    """Of its probabilities, in nats."""
    hidden: float
    """Norm of the new h of the first layer; on boards of all squares' together."""
    gates: Mapping[str, float]
    """How far the gates of the first layer's cell were open, 0..1, on average."""


class Thinker:
    """Asks an agent at the decisions of one match, as it was asked when it played; the agent stays as it is.

    Args:
        player: an agent of a game, or of one of its worlds.
    """

    def __init__(self, player: Agent | SeatedAgent) -> None:
        self.agent = player.agent if isinstance(player, SeatedAgent) else player
        self._seated = player if isinstance(player, SeatedAgent) else None
        rows = player.task.seats if self._seated else 1  # an agent of a world has a memory for each seat
        self._memories = [self.agent.policy.initial_memory(1) for _ in range(rows)]
        self._begins = [True] * rows

    def think(self, match: Match) -> Thought:
        """At the decision that is now to be made."""
        policy, row, inner = self.agent.policy, *self._place(match.seat)
        shown = torch.from_numpy(match.observation(match.seat))[None]
        if self._seated is not None and self._seated.sees_seat:
            shown = with_seats(shown, torch.tensor([match.seat]))
        observation = self.agent.task.pack(self.agent._seen(shown))[0].to(self.agent.device)
        legal = torch.from_numpy(match.mask())[None].to(self.agent.device)
        seat = torch.tensor([inner], device=self.agent.device)
        start = torch.tensor([self._begins[row]], device=self.agent.device)
        before = self._memories[row]
        distribution, value, after = policy.weigh(observation, legal, seat, start, before)
        gates = self._gates(observation, seat, start, before)
        self._memories[row], self._begins[row] = after, False
        probabilities = distribution[0].exp()
        best = probabilities.topk(min(BEST, int(legal.sum())))
        names = [match.game.action_name(action) for action in best.indices.tolist()]
        return Thought(
            tuple(zip(names, best.values.tolist(), strict=True)),
            float(value),
            float(entropy(distribution)[0]),
            float(after.cores[0][0, 0, inner].norm()),
            gates,
        )

    def remember(self, seat: int, action: int) -> None:
        """It played this; tell it before its next decision."""
        row, inner = self._place(seat)
        device = self.agent.device
        self._memories[row] = self._memories[row].remember(
            torch.tensor([inner], device=device), torch.tensor([action], device=device)
        )

    def _place(self, seat: int) -> tuple[int, int]:
        """Which memory is the seat's, and which seat it is there."""
        return (seat, 0) if self._seated is not None else (0, seat)

    @torch.no_grad()
    def _gates(
        self, observation: torch.Tensor, seat: torch.Tensor, start: torch.Tensor, memory: Memory
    ) -> dict[str, float]:
        policy = self.agent.policy
        cell = policy.core.cells[0]
        assert isinstance(cell, Cell)
        if not cell.gates:
            return {}
        _, previous = policy.recall(memory, seat, start)
        features = policy.features(observation, seat, previous).reshape(-1, cell.input_size)
        state = tuple(
            part[0, :, int(seat)].masked_fill(start[:, None], 0.0).reshape(-1, cell.hidden_size)
            for part in memory.cores[: policy.core.parts]
        )
        opened = cell.open_gates(cell.project(features), state)
        return {name: float(gate.mean()) for name, gate in zip(cell.gates, opened, strict=True)}


def thinker_of(player: Player | None) -> Thinker | None:
    """Who can ask the player what it thought; nobody if it has no network."""
    return Thinker(player) if isinstance(player, (Agent, SeatedAgent)) else None
