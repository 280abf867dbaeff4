"""Who sits opposite the learning policy: itself, its past selves, or fixed players."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agents.players import Agent, Player, ScriptedPlayer, frozen
from agents.policy import RecurrentPolicy
from envs import Batch, Game

SELF = -1


class Opposition:
    """Gives a share of B matches to other players; in the rest the policy plays every seat.

    In the first `round(share * B)` matches one seat is the policy's and a player drawn at random holds
    the others, for the whole match. The policy's seat moves on by one with every match of a lane.

    Args:
        game: of the matches.
        matches: B.
        share: 0..1.
        fixed: players that are always among the candidates.
        pool_size: how many past selves are kept; the oldest leaves first.
        seed: of the draws.
    """

    def __init__(
        self,
        game: Game,
        matches: int,
        share: float,
        fixed: Sequence[Player] = (),
        pool_size: int = 0,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"the share of matches against others must be in 0..1, got {share}")
        if share > 0.0 and game.seats == 1:
            raise ValueError(
                f"{game.name} is played alone here: the share of matches against others must be 0"
            )
        if share > 0.0 and not fixed and pool_size < 1:
            raise ValueError(
                "matches against others need opponents: fixed players or a pool_size of at least 1"
            )
        self.game, self.matches, self.pool_size = game, matches, pool_size
        self.arguments = {
            "share": share,
            "players": [player.name for player in fixed],
            "pool_size": pool_size,
            "seed": seed,
        }
        """What `agents.checkpoint.make_opposition` makes an equal one from."""
        self.is_savable = all(isinstance(player, ScriptedPlayer) for player in fixed)
        self.generator = torch.Generator().manual_seed(seed)
        self.players: dict[int, Player] = dict(enumerate(fixed))
        self.fixed = list(self.players)
        self.pool: list[int] = []
        self.newest = len(self.fixed) - 1
        self.lanes = round(share * matches)
        lanes = torch.arange(matches)
        self.has_opponent = lanes < self.lanes
        self.own_seat = lanes % game.seats  # of the policy, where it has an opponent
        self.opponent = torch.full((matches,), SELF)
        for player in self.players.values():
            player.reset(matches)
        self._draw(self.has_opponent)

    def add(self, policy: RecurrentPolicy, name: str) -> None:
        """Put a frozen copy of `policy` into the pool."""
        if self.pool_size < 1:
            return
        self.newest += 1
        agent = Agent(frozen(policy), self.game, name, seed=self.newest)
        agent.reset(self.matches)
        self.players[self.newest] = agent
        self.pool = [*self.pool, self.newest][-self.pool_size :]

    def act(self, batch: Batch, action: Tensor) -> tuple[Tensor, Tensor]:
        """Replace the policy's actions where another player decides.

        Returns:
            actions [B] to play, and bool [B]: the policy decided itself.
        """
        seat = batch.seat.cpu()
        theirs = (self.opponent != SELF) & (seat != self.own_seat)
        for number, player in self.players.items():
            rows = torch.nonzero(theirs & (self.opponent == number))[:, 0].to(batch.device)
            if len(rows) > 0:
                chosen = player.act(batch.observation[rows], batch.legal[rows], batch.seat[rows], rows)
                action = action.index_put((rows,), chosen)
        return action, ~theirs.to(batch.device)

    def restart(self, over: Tensor) -> None:
        """The matches marked in `over` (bool [B]) have ended: swap seats and draw their opponents anew."""
        over = over.cpu() & self.has_opponent
        if not over.any():
            return
        self.own_seat = torch.where(over, (self.own_seat + 1) % self.game.seats, self.own_seat)
        self._draw(over)

    def _draw(self, lanes: Tensor) -> None:
        candidates = torch.tensor([*self.fixed, *self.pool])
        if len(candidates) > 0:
            drawn = torch.randint(len(candidates), (int(lanes.sum()),), generator=self.generator)
            self.opponent[lanes] = candidates[drawn]
        for player in self.players.values():
            player.restart(lanes)
        sitting = {*self.opponent.tolist(), *self.fixed, *self.pool}
        self.players = {number: player for number, player in self.players.items() if number in sitting}

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides how it goes on, as tensors; past selves with their weights."""
        state = {
            "own_seat": self.own_seat,
            "opponent": self.opponent,
            "pool": torch.tensor(self.pool, dtype=torch.int64),
            "newest": torch.tensor(self.newest),
            "generator": self.generator.get_state(),
        }
        for number, player in self.players.items():
            state |= {f"player.{number}.{name}": tensor for name, tensor in player.state_dict().items()}
            if isinstance(player, Agent):
                weights = player.policy.state_dict()
                state |= {f"weights.{number}.{name}": tensor for name, tensor in weights.items()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], policy: RecurrentPolicy) -> None:
        """Go on where `state_dict` was taken; `policy` is the pattern for the past selves."""
        self.own_seat, self.opponent = state["own_seat"].clone(), state["opponent"].clone()
        self.pool, self.newest = state["pool"].tolist(), int(state["newest"])
        self.generator.set_state(state["generator"])
        self.players = {number: self.players[number] for number in self.fixed}
        numbers = {int(name.split(".")[1]) for name in state if name.startswith("weights.")}
        for number in sorted(numbers):
            agent = Agent(frozen(policy), self.game, f"past self {number}", seed=number)
            agent.policy.load_state_dict(below(state, f"weights.{number}."))
            self.players[number] = agent
        for number, player in self.players.items():
            player.load_state_dict(below(state, f"player.{number}."))


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
