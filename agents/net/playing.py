"""Decisions of play by hand, step after step, where compiled kernels make the whole network.

Decisions and draws are those of `agents.net.policy.RecurrentPolicy.act`, bit for bit, see `agents.net.hand`.
Beyond its kernels a step is Python between them: with 8 matches that was four fifths of a decision.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.net import hand
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
        cls,
        policy: RecurrentPolicy,
        observation: Tensor,
        legal: Tensor,
        seat: Tensor,
        start: Tensor,
        memory: Memory,
    ) -> Playing | None:
        """For what these tensors show from step to step, see `act`; None if a kernel cannot tell."""
        if not hand.is_known(policy) or not observation.is_cpu:
            return None
        chains = hand.chains_of(policy)
        encoder = hand.encoder_of(policy, observation, seat, memory.previous[:, 0])
        if chains is None or encoder is None:
            return None
        if not choice.can_run(torch.empty(legal.shape), legal) or not all(map(is_readable, memory.cores)):
            return None
        return cls(policy, chains, encoder, (observation, legal, seat, start), memory)

    def __init__(
        self,
        policy: RecurrentPolicy,
        chains: list[hand.Chain],
        encoder: hand.Encoder,
        shown: tuple[Tensor, Tensor, Tensor, Tensor],
        memory: Memory,
    ) -> None:
        self.encoder = encoder
        self.observation, legal, self.seat, start = shown
        B = len(self.seat)
        self._rows, self._seat, self._start = np.arange(B), self.seat.numpy(), start.numpy()
        self._no_action, self._legal = policy.no_action.numpy(), legal.numpy()
        self.previous, known = torch.empty(B, dtype=torch.int64), memory.previous.clone()
        self._known, self._previous = known.numpy(), self.previous.numpy()
        self.distribution, self.log_prob = torch.empty(legal.shape), torch.empty(B)
        self._told = self.distribution.numpy(), self.log_prob.numpy()

        cores = [tuple(part.clone() for part in memory.cores) for _ in (0, 1)]
        self.memories = [Memory(parts, known) for parts in cores]
        """Read and written in turns."""
        self.turn = 0
        laid = [fused.Laid(chain.cell).packed for chain in chains]
        packed = [heads.Packed(chain.weights, chain.heads) for chain in chains]
        states = [hand.cores_of(chains, tuple(part[0] for part in parts)) for parts in cores]
        self._cores = [
            [
                fused.Pass(weights, encoder.x[None], state, 0, keeps=False, last=last)
                for weights, state, last in zip(laid, states[k], states[1 - k], strict=True)
            ]
            for k in (0, 1)
        ]
        self._heads = [
            [heads.Pass(w, core.outputs[0], keeps=False) for w, core in zip(packed, cores_, strict=True)]
            for cores_ in self._cores
        ]
        said = [[y for each in turn for y in each.outputs] for turn in self._heads]
        self._said = [(outputs.numpy(), value.view(B)) for outputs, value in said]

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
        for core, said in zip(self._cores[turn], self._heads[turn], strict=True):
            core.run(self._start[None], self._seat[None])
            said.run()
        logits, value = self._said[turn]
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
