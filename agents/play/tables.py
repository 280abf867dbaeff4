"""Players by table: the probabilities of every information set, and the file in which they lie."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.files import FORMAT, Source, Stored, packed, save_zip
from agents.play.players import ScriptedPlayer
from envs import Game, name_of
from envs.compiled import compiled
from envs.tree import Progress, Tree, build

Array = npt.NDArray[Any]

KIND: Final = "table"
"""What such a file says instead of a policy's class."""

PART: Final = "probabilities"
"""What the tensor in it is called."""


class TablePlayer(ScriptedPlayer):
    """A player by table.

    Args:
        table: float64 [sequences], see `Tree.checked`.
        seed: of its draws.
        exploitability: NashConv / 2, if it is known.

    Raises:
        ValueError: the table is of another tree.
    """

    def __init__(
        self,
        tree: Tree,
        table: Array,
        name: str = "table",
        seed: int = 0,
        exploitability: float | None = None,
    ) -> None:
        super().__init__(tree.game, name, seed)
        self.tree, self.probabilities = tree, tree.checked(table)
        self.exploitability = exploitability
        self.reset()

    def reset(self, matches: int = 1) -> None:
        super().reset(matches)
        self.sequence = torch.arange(2).repeat(matches, 1)  # int64 [B, 2], each seat's own latest one

    def restart(self, over: Tensor) -> None:
        self.sequence[over.cpu()] = torch.arange(2)

    def choose(self, observation: Tensor, legal: Tensor, seat: Tensor, rows: Tensor | None) -> Tensor:  # noqa: ARG002
        tree, R = self.tree, len(seat)
        here = torch.arange(self.matches) if rows is None else rows.cpu()
        shown = observation.cpu().numpy().reshape(R, -1).astype(tree.observations.dtype, copy=False)
        actions = torch.empty(R, dtype=torch.int64)
        failed = _play(
            tree.parent, tree.begin, tree.sees, tree.observations.reshape(len(tree.observations), -1),
            tree.action, np.array([levels[[0, -1]] for levels in tree.levels]), self.probabilities,
            np.ascontiguousarray(shown), seat.cpu().numpy(), here.numpy(), self.ties(R).numpy(),
            self.sequence.numpy(), actions.numpy(),
        )  # fmt: skip
        if failed < R:
            raise ValueError(f"{self.name}: match {here[failed]} is at no information set of {tree.game}")
        return actions.to(observation.device)

    def table(self, tree: Tree, on_progress: Progress = lambda _: None, prune: float = 0.0) -> Array:  # noqa: ARG002
        on_progress(1.0)
        return tree.checked(self.probabilities)  # trees of one game are numbered alike

    def most_probable(self) -> TablePlayer:
        """The player that takes at every set the most probable action, the first among equals."""
        own = slice(2, None)
        largest = np.maximum.reduceat(self.probabilities[own], self.tree.begin[:-1] - 2)
        is_largest = self.probabilities[own] == np.repeat(largest, np.diff(self.tree.begin))
        _, first = np.unique(self.tree.owner()[is_largest], return_index=True)
        table = np.zeros(self.tree.sequences)
        table[:2] = table[2 + np.flatnonzero(is_largest)[first]] = 1.0
        return TablePlayer(self.tree, table, self.name, self.generator.initial_seed())

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"sequence": self.sequence.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.sequence = state["sequence"].cpu().clone()
        self.matches = len(self.sequence)

    def save(self, path: Source) -> None:
        """Write it as one `.zip`, which sits down wherever an agent's file does; the tree is walked again.

        Probabilities are kept in float32: see `rounded`.
        """
        agent = {
            "format": FORMAT,
            "game": name_of(self.tree.game),
            "options": dict(self.tree.game.options),
            "policy_class": KIND,
            "exploitability": self.exploitability,
        }
        table = torch.from_numpy(self.probabilities.astype(np.float32))
        save_zip(packed({"agent.json": agent, "policy.safetensors": {PART: table}}), path)


@functools.partial(compiled, nogil=True)
def _play(
    parent: Array, begin: Array, sees: Array, observations: Array, action: Array, own: Array,
    probabilities: Array, shown: Array, seat: Array, rows: Array, ties: Array, sequence: Array,
    actions: Array,
) -> int:  # fmt: skip
    """One decision in each of the matches `rows`: finds the set (as `Tree.find`), draws, and goes on there.

    Args:
        own: int64 [2, 2], by seat its first set and the one behind its last; the others are the tree's.
        sequence: int64 [B, 2], each seat's own latest one; changes.
        actions: int64 [R], is written.

    Returns:
        the first row whose match is at no set; R if all are.
    """
    for k in range(rows.shape[0]):
        q, (low, end) = sequence[rows[k], seat[k]], own[seat[k]]
        high = end
        while low < high:
            middle = (low + high) // 2
            if parent[middle] < q:
                low = middle + 1
            else:
                high = middle
        while low < end and parent[low] == q and not _is_shown(observations[sees[low]], shown[k]):
            low += 1
        if low >= end or parent[low] != q:
            return k
        total, below, chosen = 0.0, 0.0, begin[low]
        for i in range(begin[low], begin[low + 1]):
            total += probabilities[i]
        for i in range(begin[low], begin[low + 1]):
            below += probabilities[i]
            chosen = i
            if below > ties[k] * total:
                break
        sequence[rows[k], seat[k]], actions[k] = chosen, action[chosen]
    return int(rows.shape[0])


@compiled
def _is_shown(one: Array, other: Array) -> bool:
    k = 0
    while k < one.shape[0] and one[k] == other[k]:
        k += 1
    return bool(k == one.shape[0])


def as_fixed(player: TablePlayer) -> type[TablePlayer]:
    """A class of it that is made as fixed players are, with a game, a name and a seed."""

    class Fixed(TablePlayer):
        def __init__(self, game: Game, name: str, seed: int = 0) -> None:
            if game != player.game:
                raise ValueError(f"{name!r} plays {player.game}, expected a player of {game}")
            super().__init__(player.tree, player.probabilities, name, seed, player.exploitability)

    return Fixed


def rounded(tree: Tree, table: Array) -> Array:
    """The table as a file gives it back: from float32, float64 [sequences] that add up to 1 again."""
    told = table.astype(np.float32).astype(np.float64)
    sums = np.add.reduceat(told[2:], tree.begin[:-1] - 2)
    told[2:] /= np.repeat(sums, np.diff(tree.begin))
    return told


def read_table(stored: Stored, game: Game, name: str, seed: int) -> TablePlayer:
    """The player in a file that `TablePlayer.save` wrote.

    Args:
        game: that the file names; its tree is walked.

    Raises:
        CheckpointError: the table is of another tree, the game has none, or the exploitability is no number.
    """
    agent, tensors = stored.json("agent.json"), stored.tensors("policy.safetensors")
    table, told = tensors.get(PART), agent.get("exploitability")
    if table is None or table.dtype != torch.float32 or table.ndim != 1:
        raise stored.error(f"expected a table, float32 [sequences] called {PART!r}, got {sorted(tensors)}")
    if told is not None and not (isinstance(told, float) and 0.0 <= told < math.inf):
        raise stored.error(
            f"expected the exploitability as a number of at least 0, or null, got {told!r:.40}"
        )
    try:
        tree = build(game)
        if len(table) != tree.sequences:
            raise ValueError(f"expected {tree.sequences:,} probabilities of {game}, got {len(table):,}")
        return TablePlayer(tree, rounded(tree, tree.checked(table.numpy())), name, seed, told)
    except ValueError as error:
        raise stored.error(error) from error
