"""Seated: many matches from one seat's side, opponents included; what the vectorised adapters stand on."""

from __future__ import annotations

from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import torch
from torch import Tensor

from envs.batch import Batch
from envs.core import Array, Game, codes, listed, named
from envs.opponents import Opponent, OpponentChoice, make_opponent

SeatChoice = int | Literal["alternate"]
"""The agent's seat: always the same, or another in every match."""

IllegalRule = Literal["lose", "raise"]
"""What an illegal action of the agent does: it loses the match, as in a `Batch`, or raises ValueError."""
ILLEGAL_RULES = get_args(IllegalRule)


def check_options(game: Game, opponent: OpponentChoice, seat: SeatChoice, illegal: IllegalRule) -> None:
    """Refuse what does not fit the game.

    Raises:
        ValueError: the message says what would fit.
    """
    if game.seats == 1 and (not isinstance(opponent, str) or opponent != "random" or seat != 0):
        raise ValueError(f"{game.name} is played alone: it takes neither an opponent nor a seat")
    seats = [*range(game.seats), "alternate"]
    if seat not in seats:
        raise ValueError(f"{game.name}: seat must be one of {', '.join(map(repr, seats))}, got {seat!r}")
    if illegal not in ILLEGAL_RULES:
        raise ValueError(f"{game.name}: illegal must be 'lose' or 'raise', got {illegal!r}")


def seated_space(game: Game, seat: SeatChoice) -> gymnasium.spaces.MultiDiscrete | gymnasium.spaces.Box:
    """What an agent is shown: the game's observations; with "alternate" they end with its seat.

    An agent that changes seats must know where it sits, and not every game's observation tells. The
    seat is one slot more of a `MultiDiscrete`, one entry more along the first axis of a `Box` (a plane
    filled with it, where there are planes).
    """
    space = game.observation_space
    if seat != "alternate":
        return space
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return codes(*space.nvec, game.seats)
    slab = np.zeros((1, *space.shape[1:]), space.dtype)
    return gymnasium.spaces.Box(
        np.concatenate([space.low, slab]),
        np.concatenate([space.high, slab + (game.seats - 1)]),
        dtype=space.dtype,
    )


def with_seat(observation: Array, seat: int) -> Array:
    """An observation that ends with its seat; see `seated_space`."""
    return np.concatenate([observation, np.full((1, *observation.shape[1:]), seat, observation.dtype)])


def copied(tensor: Tensor) -> Array:
    """A tensor of a batch, which is written in place, as an array that stays."""
    return np.array(tensor.cpu())


def with_seats(observation: Tensor, seat: Tensor) -> Tensor:
    """The same of many: observations [B, ...] that end with their seats, int64 [B]."""
    seat = seat.to(observation.dtype).reshape(-1, *[1] * (observation.dim() - 1))
    return torch.cat([observation, seat.expand(-1, 1, *observation.shape[2:])], 1)


class SeatedBatch:
    """The matches of a `Batch` from one seat's side: a step is the agent's action and all that follows
    until the agent is to move again, in every match.

    Matches in which it is the agent's turn wait for the opponent in the others, so each step plays
    exactly one decision of the agent in each match. Tensors on the batch's device:

        observation  [B, ...]  of `observation_space`
        legal        [B, A]    bool
        seat         [B]       int64, the agent's
        reward       [B]       float32, what the agent earned since its decision before
        over         [B]       bool, the match ended and a new one has begun
        illegal      [B]       bool, by an illegal action of the agent, which lost
        final        [B, ...]  what the agent saw at the end, where `over`
        final_seat   [B]       int64, where it sat then

    What an agent earns before its first decision of a match is part of that decision's reward. A match
    that ends before the agent's first decision is no episode: another one begins.

    Args:
        batch: the matches; from now on they are stepped here only.
        opponent: who holds the other seats, see `envs.opponents`.
        seat: the agent's; "alternate" = (b + n) modulo P in the n-th match of lane b.
        illegal: "lose" or "raise".

    Raises:
        TypeError, ValueError: an option does not fit the game.
    """

    def __init__(
        self,
        batch: Batch,
        opponent: OpponentChoice = "random",
        seat: SeatChoice = 0,
        illegal: IllegalRule = "lose",
    ) -> None:
        check_options(batch.game, opponent, seat, illegal)
        self.batch, self.game = batch, batch.game
        self.observation_space = seated_space(self.game, seat)
        self._choice = seat
        self._raises = illegal == "raise"
        self._opponent: Opponent | None = None
        if self.game.seats > 1:
            self._opponent = make_opponent(opponent, self.game, batch.device)
        self._finals = batch.keep_final()
        self._lanes = torch.arange(batch.matches, device=batch.device)
        self.reward = self._ahead = torch.zeros(batch.matches, device=batch.device)
        self.over = torch.zeros_like(batch.over)
        self._generator = np.random.default_rng(batch.seed)
        self._begin()

    @property
    def observation(self) -> Tensor:
        """What the agent sees, [B, ...]; the batch's own memory, or a copy that ends with the seat."""
        return self._shown(self.batch.observation)

    @property
    def legal(self) -> Tensor:
        """The agent's legal actions, bool [B, A]; the batch's own memory."""
        return self.batch.legal

    def reset(self, seed: int | None = None) -> None:
        """Begin new matches.

        Args:
            seed: decides all that follows, the opponent's draws too; None goes on with the sequence that
                the latest seed began.
        """
        if seed is None:
            seed = int(self._generator.integers(2**64, dtype=np.uint64))
        else:
            self._generator = np.random.default_rng(seed % 2**64)
        self.batch.reset(seed)
        self._begin()

    def step(self, actions: Any) -> None:
        """Play the agent's action in every match, then the opponent's until the agent is to move.

        Args:
            actions: integers [B], a tensor or an array.

        Raises:
            TypeError, ValueError: `actions` has a wrong dtype or shape, names an action that the game does
                not have or, with illegal="raise", an illegal one; nothing was played.
            ValueError: the opponent made an illegal move.
        """
        actions = torch.as_tensor(actions)
        self._check(actions)
        self.reward, self._ahead = self._ahead, torch.zeros_like(self._ahead)
        self.over = torch.zeros_like(self.over)
        self.batch.step(actions)
        self.illegal = self.batch.illegal.clone()
        self._book()
        self._let_opponent_play()

    def _begin(self) -> None:
        """The first match of every lane, up to the agent's first decision."""
        lanes, everywhere = self._lanes, torch.ones_like(self.batch.over)
        self.seat = lanes % self.game.seats if self._choice == "alternate" else lanes * 0 + self._choice
        self.final_seat = self.seat
        self.final = self._shown(self.batch.observation * 0)
        self.illegal = ~everywhere
        self.reward = torch.zeros_like(self.reward)
        self._ahead = torch.zeros_like(self.reward)  # earned in a match before the agent's first decision
        if self._opponent is not None:
            self._opponent.reset(len(lanes))
            self._opponent.reseed(int(self._generator.integers(2**63)))
        self.over = everywhere  # so that what the agent earns now is booked for the new match
        self._let_opponent_play()
        self.over = ~everywhere

    def _let_opponent_play(self) -> None:
        """Play the opponent's decisions until it has none left."""
        batch = self.batch
        while self._opponent is not None:
            theirs = batch.seat != self.seat
            rows = torch.nonzero(theirs)[:, 0]
            if len(rows) == 0:
                return
            chosen = self._opponent.act(batch.observation[rows], batch.legal[rows], batch.seat[rows], rows)
            batch.step(torch.zeros_like(batch.seat).index_put((rows,), chosen), only=theirs)
            if bool(batch.illegal.any()):
                raise ValueError(f"{self.game.name}: the opponent {self._opponent.name!r} moved illegally")
            self._book()

    def _book(self) -> None:
        """Enter what the batch's last step brought."""
        batch = self.batch
        earned = batch.reward.gather(1, self.seat[:, None])[:, 0]
        self.reward = self.reward + earned.masked_fill(self.over, 0.0)
        self._ahead = (self._ahead + earned.masked_fill(~self.over, 0.0)).masked_fill(batch.over, 0.0)
        if not bool(batch.over.any()):
            return
        ended = batch.over & ~self.over  # an episode of the agent's, and not one it had no decision in
        seen = self._shown(self._finals[self._lanes, self.seat])
        self.final = torch.where(ended.reshape(-1, *[1] * (seen.dim() - 1)), seen, self.final)
        self.final_seat = torch.where(ended, self.seat, self.final_seat)
        self.over = self.over | ended
        if self._opponent is not None:
            self._opponent.restart(batch.over)
        if self._choice == "alternate":
            self.seat = (self.seat + batch.over) % self.game.seats

    def _shown(self, observation: Tensor) -> Tensor:
        """Observations [B, ...] of the agent's seat, as it is shown them."""
        return with_seats(observation, self.seat) if self._choice == "alternate" else observation

    def _check(self, actions: Tensor) -> None:
        """Refuse actions that the game does not have and, if they are not to lose, illegal ones."""
        name, count, legal = self.game.name, self.game.actions, self.batch.legal
        if actions.shape != self.seat.shape or actions.is_floating_point() or actions.is_complex():
            return  # the batch says what is wrong with them
        actions = actions.to(legal.device).long()
        unknown = (actions < 0) | (actions >= count)
        if bool(unknown.any()):
            raise ValueError(f"{name}: actions are 0..{count - 1}, got {int(actions[unknown][0])}")
        if self._raises:
            wrong = ~legal.gather(1, actions[:, None])[:, 0]
            if bool(wrong.any()):
                b = int(torch.nonzero(wrong)[0, 0])
                choices = torch.nonzero(legal[b])[:, 0].tolist()
                what = named(self.game, int(actions[b]))
                raise ValueError(
                    f"{name}: {what} of seat {int(self.seat[b])} in match {b} is illegal; "
                    f"legal are {listed(choices)}"
                )
