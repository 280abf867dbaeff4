"""Decisions of play by hand, step after step, where compiled kernels make the whole network.

Decisions and draws are those of `agents.net.policy.RecurrentPolicy.act`, bit for bit, see `agents.net.hand`.
Beyond its kernels a step is Python between them: with 8 matches that was four fifths of a decision.
"""

from __future__ import annotations

import operator

import numpy as np
import torch
from torch import Tensor

from agents.net import hand
from agents.net.distributions import clocks_of
from agents.net.kernels import choice, fused, heads, is_readable
from agents.net.policy import Decision, Memory, RecurrentPolicy
from envs.core import Array


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
        if not hand.is_known(policy):
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
        self._laid = [fused.Laid(chain.cell) for chain in chains]
        self._packed = packed = [heads.Packed(chain.weights, chain.heads) for chain in chains]
        states = [hand.cores_of(chains, tuple(part[0] for part in parts)) for parts in cores]
        self._cores = [
            [
                fused.Pass(laid.packed, encoder.x[None], state, 0, keeps=False, last=last)
                for laid, state, last in zip(self._laid, states[k], states[1 - k], strict=True)
            ]
            for k in (0, 1)
        ]
        self._heads = [
            [heads.Pass(w, core.outputs[0], keeps=False) for w, core in zip(packed, cores_, strict=True)]
            for cores_ in self._cores
        ]
        said = [[y for each in turn for y in each.outputs] for turn in self._heads]
        self._said = [(outputs.numpy(), value.view(B)) for outputs, value in said]
        self._made_of = policy, shown, _lying(policy)

    def renew(self, policy: RecurrentPolicy, *shown: Tensor) -> bool:
        """Go on with the weights as they are now; False if it was made of others, or they lie elsewhere."""
        was, seen, lying = self._made_of
        if was is not policy or not all(map(operator.is_, seen, shown)):
            return False
        if not hand.is_known(policy) or hand.chains_of(policy) is None or lying != _lying(policy):
            return False
        for laid, packed in zip(self._laid, self._packed, strict=True):
            laid.renew()
            packed.renew()
        return True

    @torch.no_grad()
    def act(self, memory: Memory, generator: torch.Generator | None) -> tuple[Decision, Memory]:
        """What is decided now: by what the tensors given to `of` show, and `memory`."""
        logits, value = self._ask(memory)
        clocks = clocks_of(self.distribution, generator).numpy()
        action = torch.empty(len(self.seat), dtype=torch.int64)
        actions = action.numpy()
        choice.choose(logits, self._legal, clocks, self._told[0], actions, self._told[1])
        self._known[self._rows, self._seat] = actions
        self.turn = 1 - self.turn
        decision = Decision(action, self.log_prob, value, self.distribution, self.previous)
        return decision, self.memories[self.turn]

    @torch.no_grad()
    def value(self, memory: Memory) -> Tensor:
        """What is expected now, [B]; nothing goes on."""
        known = self._known.copy()
        _, value = self._ask(memory)
        self._known[:] = known
        return value.clone()

    def _ask(self, memory: Memory) -> tuple[Array, Tensor]:
        """Logits [B, A] and values [B] now; the memory after it is written where the next turn reads."""
        if memory is not self.memories[self.turn]:
            self._take(memory)
        known, start, seat = self._known, self._start, self._seat
        if start.any():
            known[start] = self._no_action
        self._previous[:] = known[self._rows, seat]
        self.encoder.run(self.observation, self.seat, self.previous)
        for core, said in zip(self._cores[self.turn], self._heads[self.turn], strict=True):
            core.run(start[None], seat[None])
            said.run()
        return self._said[self.turn]

    def _take(self, memory: Memory) -> None:
        """Go on from a memory of somebody else."""
        mine = self.memories[self.turn]
        for part, given in zip((*mine.cores, mine.previous), (*memory.cores, memory.previous), strict=True):
            part.copy_(given)


def _lying(policy: RecurrentPolicy) -> list[tuple[int, torch.dtype]]:
    """Where its weights lie."""
    return [(p.data_ptr(), p.dtype) for p in policy.parameters()]
