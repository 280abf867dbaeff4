"""What records become for those who learn from them: arrangements, decisions to imitate, and what a seat saw.

Every match is played again by the rules for it, so what is told of a decision is what the seat was told.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agents.learn.recorded import Recorded
from agents.net.task import task_of
from agents.play import records
from agents.play.records.setups import CELLS, COLUMNS, LETTERS, Setups
from envs.room import check_room

LANES, STEPS = 256, 64
"""Matches are played again so many at once, so many decisions at a time; only time depends on it."""


# ---------------------------------------------------------------- arrangements


def arrangements(setups: Setups) -> Recorded:
    """One sequence of pieces for each arrangement; what may come is what is left of its pieces."""
    return _arrangements(torch.from_numpy(setups.pieces.astype(np.int64)), torch.from_numpy(setups.groups))


def with_mirrored(data: Recorded) -> Recorded:
    """Each arrangement a second time, left and right exchanged: as good a one, and nobody set it up."""
    pieces = data.target.view(-1, CELLS)
    mirrored = pieces.view(-1, CELLS // COLUMNS, COLUMNS).flip(2).reshape(-1, CELLS)
    return _arrangements(torch.cat([pieces, mirrored]), data.group.repeat(2))


def _arrangements(pieces: Tensor, group: Tensor) -> Recorded:
    """Pieces int64 [S, CELLS]."""
    S, V = len(pieces), len(LETTERS)
    before = torch.cat([torch.full((S, 1), V), pieces[:, :-1]], 1)
    one_hot = torch.nn.functional.one_hot(pieces, V).to(torch.int8)
    left = one_hot.sum(1, keepdim=True) - (one_hot.cumsum(1) - one_hot)
    return Recorded(
        told={"previous": before.flatten()},
        target=pieces.flatten(),
        legal=(left > 0).flatten(0, 1),
        counts=torch.ones(S * CELLS, dtype=torch.bool),
        length=torch.full((S,), CELLS),
        group=group,
    )


# ---------------------------------------------------------------- decisions


def decisions(matches: records.Matches, player: str | None = None, gamma: float = 1.0) -> Recorded:
    """One sequence of decisions for each match that came to an end, all seats in turn, as a policy has them.

    Told are `observation`, `seat`, `previous`, and `return`: what the seat earns from this decision on,
    discounted per own decision, in the unit of the task's values.

    Args:
        player: learn from the decisions of the player of this name alone; None: from all.

    Raises:
        ValueError: nobody is called so, no match came to an end, or there is no memory for all of them.
    """
    number = None if player is None else matches.number_of(player)
    space: Any = matches.game.observation_space
    size = int(np.prod(space.shape)) * np.dtype(space.dtype).itemsize + matches.game.actions + 8 * 8
    check_room("decisions", int(matches.lengths.sum()), size, torch.device("cpu"))
    match, length, told = _played(matches)
    sequence = torch.repeat_interleave(torch.arange(len(match)), length)
    earned = discounted(told.pop("to_come"), sequence * matches.game.seats + told["seat"], gamma)
    played_by = told.pop("player")
    return Recorded(
        target=told.pop("action"),
        legal=told.pop("legal"),
        told={**told, "return": earned * task_of(matches.game).reward_scale},
        counts=torch.ones_like(played_by, dtype=torch.bool) if number is None else played_by == number,
        length=length,
        group=match,
    )


def _played(matches: records.Matches) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The decisions of all matches that came to an end, match by match; each is written to its place at once,
    so that they lie in memory no more than once.

    Returns:
        the matches' numbers int64 [S], their lengths int64 [S], and what `records.Laid` tells, [N, ...] each.
    """
    is_told = matches.can_be_laid
    match, lengths = np.flatnonzero(is_told), np.where(is_told, matches.lengths, 0)
    free = torch.from_numpy(lengths.cumsum() - lengths)  # where the next decision of a match goes
    names = ("observation", "seat", "previous", "action", "legal", "player", "to_come")
    told: dict[str, Tensor] = {}
    for piece in records.lay(matches, LANES, STEPS):
        real = piece.real.T  # column by column: there a match's decisions stand one after another
        of, count = piece.match.T[real].unique_consecutive(return_counts=True)
        place = torch.repeat_interleave(free[of] - (count.cumsum(0) - count), count)
        place += torch.arange(len(place))
        free[of] += count
        for name in names:
            found = getattr(piece, name).transpose(0, 1)[real]
            if name not in told:
                told[name] = found.new_empty(int(lengths.sum()), *found.shape[1:])
            told[name][place] = found
    return torch.from_numpy(match), torch.from_numpy(lengths[match]), told


def discounted(to_come: Tensor, stream: Tensor, gamma: float) -> Tensor:
    """What is earned from each decision on, a reward k own decisions later times gamma^k.

    Args:
        to_come: float32 [N], the same without a discount, in time.
        stream: int64 [N], decisions of one seat in one match have one number.
    """
    if gamma == 1.0:
        return to_come
    order = stream.argsort(stable=True)
    x, same = to_come[order].double().numpy(), stream[order].numpy()
    found = np.zeros_like(x)
    for k in range(len(x) - 1, -1, -1):
        goes_on = k + 1 < len(x) and same[k + 1] == same[k]
        found[k] = x[k] - x[k + 1] + gamma * found[k + 1] if goes_on else x[k]
    return torch.empty_like(to_come).index_copy(0, order, torch.from_numpy(found).float())


# ---------------------------------------------------------------- what a seat saw and did


NOTHING: Final = 0
"""The code that every slot of an observation is taken to show before a seat's first decision."""


def seat_streams(matches: records.Matches, player: str | None = None) -> Recorded:
    """One sequence of tokens for each seat of each match: what it saw change, then what it did, and so on.

    With A actions and an observation of K slots, whose k-th holds one of n_k codes, token a < A is the seat's
    own action, and token A + n_0 + ... + n_{k-1} + c says that slot k now shows c. Before each of its
    decisions stand the slots that changed since its last one, in order; so an opponent's move is what the
    seat saw of it, and nothing where it saw nothing. What the match showed after its last decision no longer
    counts.

    What is not legal is an own action, where it was one's turn, that the rules forbid. (Whether another slot
    changed before it nobody can know who reads from left to right.)

    Args:
        player: only the seats of the player of this name.

    Raises:
        ValueError: the observation has no slots, the player decided nothing, or as of `decisions`.
    """
    space = matches.game.observation_space
    if not isinstance(space, spaces.MultiDiscrete):
        raise ValueError(
            f"{matches.game.name} shows {space}: tokens need an observation of slots (MultiDiscrete); "
            "clones of it can be learned"
        )
    data = decisions(matches, player)
    A = matches.game.actions
    starts = A + torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(space.nvec[:-1]).cumsum(0)])
    V = A + int(space.nvec.sum())
    stream = data.sequence * matches.game.seats + data.told["seat"]
    order = stream.argsort(stable=True)
    order = order[data.counts[order]]
    if len(order) == 0:
        raise ValueError(f"{matches.source}: {player} decided nothing in the matches that came to an end")
    seen, same = data.told["observation"][order].long(), stream[order]
    before = torch.cat([torch.full_like(seen[:1], NOTHING), seen[:-1]])
    begins = torch.cat([torch.ones(1, dtype=torch.bool), same[1:] != same[:-1]])
    before[begins] = NOTHING
    changed = seen != before  # [n, K]
    # Row by row: the slots that changed, then the action.
    tokens = torch.cat([starts + seen, data.target[order][:, None]], 1)
    there = torch.cat([changed, torch.ones(len(changed), 1, dtype=torch.bool)], 1)
    target = tokens[there]
    decision, slot = there.nonzero().unbind(1)
    is_action = slot == seen.shape[1]
    legal = torch.ones(len(target), V, dtype=torch.bool)
    legal[is_action, :A] = data.legal[order]
    _, length = same[decision].unique_consecutive(return_counts=True)
    first = length.cumsum(0) - length
    previous = torch.cat([target[:1], target[:-1]])
    previous[first] = V
    return Recorded(
        told={"previous": previous},
        target=target,
        legal=legal,
        counts=torch.ones_like(is_action),
        length=length,
        group=data.group[data.sequence[order]][decision][first],
    )


def seat_stream(matches: records.Matches, seat: int) -> Tensor:
    """The tokens of one seat of one match, int64 [n], also where a player met itself; errors as of
    `seat_streams`."""
    called = [f"seat {k}" for k in range(matches.game.seats)]
    apart = dataclasses.replace(matches, names=tuple(called), players=np.arange(len(called))[None])
    return seat_streams(apart, called[seat]).target


def token_names(matches: records.Matches) -> list[str]:
    """What the tokens of `seat_streams` stand for."""
    game, space = matches.game, matches.game.observation_space
    assert isinstance(space, spaces.MultiDiscrete)
    acts = [game.action_name(action) for action in range(game.actions)]
    return acts + [f"slot {k} shows {c}" for k, n in enumerate(space.nvec.tolist()) for c in range(n)]
