"""Decisions of play by hand, step after step, where compiled kernels make the whole network.

Decisions and draws are those of `agents.net.policy.RecurrentPolicy.act`, bit for bit, see `agents.net.hand`. What
a step costs beyond its kernels is Python between them: with 8 matches it was four fifths of a decision.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.net import hand
from agents.net.cells import Cell
from agents.net.distributions import clocks_of
from agents.net.kernels import choice, fused, heads, is_readable
from agents.net.policy import Decision, Memory, RecurrentPolicy


class Playing:
    """What `policy.act` does in B matches, while its weights stay as they are; see `of`.

    Of a decision the action is the caller's; all else, and the memory, is written again by the next steps.
    Whoever keeps it copies it.
    """

    @classmethod
    @torch.no_grad()
    def of(
        cls, policy: RecurrentPolicy, observation: Tensor, legal: Tensor, seat: Tensor, start: Tensor, memory: Memory
    ) -> Playing | None:
        """For the decisions that these tensors show from step to step, see `act`; None if a kernel cannot tell."""
        if not hand.is_known(policy) or not observation.is_cpu:
            return None
        cell, weights = hand.cell_of(policy), heads.weights_of((policy.action_head, policy.value_head))
        encoder = hand.encoder_of(policy, observation, seat, memory.previous[:, 0])
        if cell is None or weights is None or encoder is None:
            return None
        logits = torch.empty(legal.shape)
        fits = (
            fused.KERNEL.fits(cell, encoder.x, False)
            and heads.can_run(torch.empty(1, cell.hidden_size))
            and choice.can_run(logits, legal)
            and all(map(is_readable, memory.cores))
        )
        return cls(policy, cell, weights, encoder, (observation, legal, seat, start), memory) if fits else None

    def __init__(
        self,
        policy: RecurrentPolicy,
        cell: Cell,
        weights: list[Tensor],
        encoder: hand.Encoder,
        shown: tuple[Tensor, Tensor, Tensor, Tensor],
        memory: Memory,
    ) -> None:
        self.encoder = encoder
        self.observation, legal, self.seat, start = shown
        B, x = len(self.seat), encoder.x[None]
        self._rows, self._seat, self._start = np.arange(B), self.seat.numpy(), start.numpy()
        self._no_action, self._legal = policy.no_action.numpy(), legal.numpy()
        self.previous = torch.empty(B, dtype=torch.int64)
        known = memory.previous.clone()
        self._known, self._previous = known.numpy(), self.previous.numpy()

        cores = [tuple(part.clone() for part in memory.cores) for _ in (0, 1)]  # read and written in turns
        self.memories = [Memory(parts, known) for parts in cores]
        self.turn = 0
        laid, packed = fused.Laid(cell).packed, heads.Packed(weights, 2)
        states = [tuple(part[0] for part in parts) for parts in cores]
        self._passes = [fused.Pass(laid, x, states[k], 0, keeps=False, last=states[1 - k]) for k in (0, 1)]
        self._says = [heads.Pass(packed, core.outputs[0], keeps=False) for core in self._passes]
        self.distribution, self.log_prob = torch.empty(legal.shape), torch.empty(B)
        self._told = self.distribution.numpy(), self.log_prob.numpy()
        self._outputs = [(says.outputs[0].numpy(), says.outputs[1].view(B)) for says in self._says]

    @torch.no_grad()
    def act(self, memory: Memory, generator: torch.Generator | None) -> tuple[Decision, Memory]:
        """What is decided now: by what the tensors given to `of` show, and `memory`."""
        if memory is not self.memories[self.turn]:
            self._take(memory)
        turn, known = self.turn, self._known
        if self._start.any():
            known[self._start] = self._no_action
        self._previous[:] = known[self._rows, self._seat]
        self.encoder.run(self.observation, self.seat, self.previous)
        self._passes[turn].run(self._start[None], self._seat[None])
        self._says[turn].run()
        logits, value = self._outputs[turn]
        clocks = clocks_of(self.distribution, generator).numpy()
        action = torch.empty(len(self.seat), dtype=torch.int64)
        actions = action.numpy()
        choice.choose(logits, self._legal, clocks, self._told[0], actions, self._told[1])
        known[self._rows, self._seat] = actions
        self.turn = 1 - turn
        decision = Decision(action, self.log_prob, value, self.distribution, self.previous)
        return decision, self.memories[self.turn]

    def _take(self, memory: Memory) -> None:
        """Go on from a memory of somebody else."""
        mine = self.memories[self.turn]
        for part, given in zip((*mine.cores, mine.previous), (*memory.cores, memory.previous), strict=True):
            part.copy_(given)
