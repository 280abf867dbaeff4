"""Who sits opposite the learning policy: itself, its past selves, or fixed players."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agents.net.policy import RecurrentPolicy
from agents.net.task import Lanes
from agents.play.players import FIXED_PLAYERS, PLAYERS, Agent, Player, fixed_player, frozen
from envs import Game
from envs.batch import fitting
from envs.names import registered

SELF = -1


class Opposition:
    """Gives a share of B matches to other players; in the rest the policy plays every seat.

    In the first `round(share * B)` matches one seat is the policy's and a player drawn at random holds
    the others, for the whole match. The policy's seat moves on by one with every match of a lane.

    Args:
        game: of the matches.
        matches: B.
        share: 0..1.
        fixed: players that are always among the candidates; each is copied.
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
        self.game, self.matches, self.pool_size, self.seed = game, matches, pool_size, seed
        self.arguments = {
            "share": share,
            "players": [player.name for player in fixed],
            "pool_size": pool_size,
            "seed": seed,
        }
        """What `make_opposition` makes an equal one from."""
        self.is_savable = all(FIXED_PLAYERS.get(player.name) is type(player) for player in fixed)
        self.generator = torch.Generator().manual_seed(seed)
        self.players: dict[int, Player] = dict(enumerate(copy.deepcopy(list(fixed))))
        self.fixed = list(self.players)
        self.pool: list[int] = []
        self.newest = len(self.fixed) - 1
        self.lanes = round(share * matches)
        lanes = torch.arange(matches)
        self.has_opponent = lanes < self.lanes
        self.own_seat = lanes % game.seats  # of the policy, where it has an opponent
        self.opponent = torch.full((matches,), SELF)
        self._list_candidates()
        for player in self.players.values():
            player.reset(matches)
        self._draw(self.has_opponent)
        self.by_masks = False
        """Matches are marked and not counted, so that nothing waits for the device on which they are."""

    def to(self, device: torch.device) -> None:
        """Sit at matches on `device`; on another kind of device than before, the draws begin anew."""
        if device.type == self.generator.device.type:
            return
        self.by_masks = device.type != "cpu"
        self.has_opponent, self.own_seat = self.has_opponent.to(device), self.own_seat.to(device)
        self.opponent = self.opponent.to(device)
        self.generator = torch.Generator(device).manual_seed(self.seed)
        for player in self.players.values():
            player.to(device)
        self._list_candidates()

    def decides_on(self, device: torch.device) -> bool:
        """Neither the draw nor a player makes `device` wait in a step."""
        return self.by_masks and all(player.decides_on(device) for player in self.players.values())

    def generators(self) -> list[torch.Generator]:
        """What is drawn from in a step."""
        own = [_generator_of(player) for player in self.players.values()]
        return [self.generator, *(generator for generator in own if generator is not None)]

    def add(self, policy: RecurrentPolicy, name: str) -> None:
        """Put a frozen copy of `policy` into the pool."""
        if self.pool_size < 1:
            return
        self.newest += 1
        agent = Agent(frozen(policy), self.game, name, seed=self.newest)
        agent.reset(self.matches)
        self.players[self.newest] = agent
        self.pool = [*self.pool, self.newest][-self.pool_size :]
        self._list_candidates()
        if self.by_masks:
            self._let_go()

    def act(self, lanes: Lanes, action: Tensor) -> tuple[Tensor, Tensor]:
        """Replace the policy's actions where another player decides.

        Returns:
            actions [B] to play, and bool [B]: the policy decided itself.
        """
        if self.by_masks:
            return self._act_by_masks(lanes, action)
        seat = lanes.seat.cpu()
        theirs = (self.opponent != SELF) & (seat != self.own_seat)
        for number, player in self.players.items():
            rows = torch.nonzero(theirs & (self.opponent == number))[:, 0].to(lanes.device)
            if len(rows) > 0:
                chosen = player.act(lanes.observation[rows], lanes.legal[rows], lanes.seat[rows], rows)
                action = action.index_put((rows,), chosen)
        return action, ~theirs.to(lanes.device)

    def _act_by_masks(self, lanes: Lanes, action: Tensor) -> tuple[Tensor, Tensor]:
        """`act`, in which every player decides for all matches that have an opponent."""
        own, R = lanes.seat == self.own_seat, self.lanes
        theirs = (self.opponent != SELF) & ~own
        if R == 0:
            return action, ~theirs
        action = action.clone()
        for number, player in self.players.items():
            asked = (theirs & (self.opponent == number))[:R]
            chosen = player.choose_where(lanes.observation[:R], lanes.legal[:R], lanes.seat[:R], asked)
            action[:R] = torch.where(asked, chosen, action[:R])
        return action, ~theirs

    def restart(self, over: Tensor) -> None:
        """The matches marked in `over` (bool [B]) have ended: swap seats and draw their opponents anew."""
        if self.by_masks:
            self._restart_by_masks(over & self.has_opponent)
            return
        over = over.cpu() & self.has_opponent
        if not over.any():
            return
        self.own_seat = torch.where(over, (self.own_seat + 1) % self.game.seats, self.own_seat)
        self._draw(over)

    def _draw(self, lanes: Tensor) -> None:
        if len(self.candidates) > 0:
            drawn = torch.randint(len(self.candidates), (int(lanes.sum()),), generator=self.generator)
            self.opponent[lanes] = self.candidates[drawn]
        for player in self.players.values():
            player.restart(lanes)
        self._let_go()

    def _restart_by_masks(self, over: Tensor) -> None:
        """`restart`, in which all matches draw and those that have ended take what they drew."""
        self.own_seat.copy_(torch.where(over, (self.own_seat + 1) % self.game.seats, self.own_seat))
        if len(self.candidates) > 0:
            drawn = torch.randint(
                len(self.candidates), self.opponent.shape, generator=self.generator, device=over.device
            )
            self.opponent.copy_(torch.where(over, self.candidates[drawn], self.opponent))
        for player in self.players.values():
            player.restart(over)

    def _list_candidates(self) -> None:
        """Where the matches are, too."""
        self.candidates = torch.tensor([*self.fixed, *self.pool], device=self.opponent.device)

    def _let_go(self) -> None:
        """Forget the players who neither sit anywhere nor can be drawn."""
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
            if number not in self.fixed and isinstance(player, Agent):
                weights = player.policy.state_dict()
                state |= {f"weights.{number}.{name}": tensor for name, tensor in weights.items()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], policy: RecurrentPolicy, seed: int = 0) -> bool:
        """Go on where `state_dict` was taken, in as many matches.

        Args:
            policy: the pattern for the past selves.
            seed: of the draws that cannot go on: those of a player that was on another kind of device.

        Returns:
            all draws go on.

        Raises:
            ValueError: it is not the state of such an opposition.
        """
        players = self._saved_players(state, policy)
        own_seat = fitting(state, "own_seat", self.own_seat).cpu()
        opponent = fitting(state, "opponent", self.opponent).cpu()
        has_opponent = self.has_opponent.cpu()
        if not ((own_seat >= 0) & (own_seat < self.game.seats)).all():
            raise ValueError(
                f"the saved own_seat must be in 0..{self.game.seats - 1}, got {own_seat.unique().tolist()}"
            )
        sitting = set(opponent[has_opponent].tolist()) | {SELF}
        if sitting - {SELF, *players} or (opponent[~has_opponent] != SELF).any():
            raise ValueError(
                f"the saved opponents are {sorted(set(opponent.tolist()))}, expected some of "
                f"{[SELF, *players]}, and {SELF} in the {self.matches - self.lanes} matches without one"
            )
        goes_on = set_generator(self.generator, state, "generator", seed)
        for number, player in players.items():
            player.reset(self.matches)
            goes_on &= _restore(player, below(state, f"player.{number}."), seed + number + 1)
        self._take_pool(state, players)
        self.own_seat.copy_(own_seat)
        self.opponent.copy_(opponent)
        return goes_on

    def load_pool(self, state: Mapping[str, Tensor], policy: RecurrentPolicy) -> None:
        """Take over the past selves of a `state_dict`; seats, draws and memories begin anew.

        Args:
            policy: the pattern for the past selves.

        Raises:
            ValueError: it is not the state of such an opposition.
        """
        players = self._saved_players(state, policy)
        for player in players.values():
            player.reset(self.matches)
        self._take_pool(state, players)

    def _saved_players(self, state: Mapping[str, Tensor], policy: RecurrentPolicy) -> dict[int, Player]:
        """The fixed players and the past selves that a `state_dict` holds, these with their weights."""
        pool, newest = state.get("pool"), fitting(state, "newest", torch.tensor(0))
        if pool is None or pool.dim() != 1 or pool.dtype != torch.int64 or len(pool) > max(self.pool_size, 0):
            raise ValueError(f"the saved pool must hold at most {self.pool_size} numbers")
        pattern = policy.state_dict()
        numbers = sorted({int(part) if part.isdecimal() else -1 for part in _second_words(state, "weights.")})
        if not set(pool.tolist()) <= set(numbers) or any(n < len(self.fixed) for n in numbers):
            raise ValueError(
                f"the saved pool {pool.tolist()} and the saved weights {numbers} must be numbers from "
                f"{len(self.fixed)} on, and each of the pool have its weights"
            )
        if not max([*numbers, len(self.fixed) - 1]) <= int(newest) < 2**31:
            raise ValueError(f"the saved newest past self is {int(newest)}, the saved weights are {numbers}")
        players = {number: self.players[number] for number in self.fixed}
        known = {"own_seat", "opponent", "pool", "newest", "generator"}
        for number in numbers:
            weights = below(state, f"weights.{number}.")
            if weights.keys() != pattern.keys():
                raise ValueError(f"the saved past self {number} is another network")
            fits = {name: fitting(weights, name, like) for name, like in pattern.items()}
            agent = Agent(frozen(policy), self.game, f"past self {number}", seed=number)
            agent.policy.load_state_dict(fits)
            players[number] = agent
            known |= {f"weights.{number}.{name}" for name in pattern}
        for number, player in players.items():
            known |= {f"player.{number}.{name}" for name in player.state_dict()}
        if known != set(state):
            raise ValueError(
                f"the saved opposition has {sorted(set(state) - known)[:3]} too much and lacks "
                f"{sorted(known - set(state))[:3]}"
            )
        return players

    def _take_pool(self, state: Mapping[str, Tensor], players: dict[int, Player]) -> None:
        self.players, self.pool, self.newest = players, state["pool"].tolist(), int(state["newest"])
        self._list_candidates()


def make_opposition(
    game: Game, matches: int, share: float, players: list[str], pool_size: int, seed: int
) -> Opposition:
    """An `Opposition` whose fixed players are given by name; a file gives them, too, so nothing is imported.

    Raises:
        ValueError: a name is unknown; one from outside must have been found before, see `player_class`.
    """
    for name in players:
        registered("player", name, FIXED_PLAYERS, PLAYERS)
    fixed = [fixed_player(name, game, seed + k) for k, name in enumerate(players)]
    return Opposition(game, matches, share, fixed, pool_size, seed)


def _restore(player: Player, state: Mapping[str, Tensor], seed: int) -> bool:
    """Let a player that sits at as many matches go on; True if its draws do, too.

    Raises:
        ValueError: it is the state of another player.
    """
    told, goes_on = player.state_dict(), True
    for name, like in told.items():
        if name != "generator":
            told[name] = fitting(state, name, like)
    if isinstance(player, Agent):
        player.policy.family.check_known(told["previous"])
    if "generator" in told:
        own = _generator_of(player)
        draws = torch.Generator("cpu" if own is None else own.device)
        goes_on = set_generator(draws, state, "generator", seed)
        told["generator"] = draws.get_state()
    player.load_state_dict(told)
    return goes_on


def _generator_of(player: Player) -> torch.Generator | None:
    """Torch's, of its draws, if it has one."""
    generator = getattr(player, "generator", None)
    return generator if isinstance(generator, torch.Generator) else None


def set_generator(generator: torch.Generator, state: Mapping[str, Tensor], name: str, seed: int) -> bool:
    """Let a generator go on in the saved state `name`; if that is of another kind of device, begin at `seed`.

    Returns:
        it goes on.

    Raises:
        ValueError: the state is none that a generator can be in.
    """
    saved, here = state.get(name), generator.get_state()
    if saved is None or saved.dtype != torch.uint8 or saved.dim() != 1 or len(saved) not in GENERATOR_BYTES:
        raise ValueError(f"the saved {name} is not the state of a generator")
    if len(saved) != len(here):
        generator.manual_seed(seed)
        return False
    if len(saved) == GENERATOR_BYTES[0]:
        words = saved.cpu().numpy()
        left, seeded, following = (
            int(words[a:b].view(f"i{b - a}")[0]) for a, b in ((8, 12), (12, 16), (16, 24))
        )
        # Numbers left of its 624 and the place of the next one: torch reads there without looking again.
        if seeded != 1 or (
            (left, following) != (1, 0) and not (1 <= left <= 624 and left + following == 625)
        ):
            raise ValueError(f"the saved {name} is no state that a generator comes to")
    try:
        generator.set_state(saved.cpu())
    except RuntimeError as error:
        raise ValueError(f"the saved {name} is not the state of a generator ({error})") from error
    return True


GENERATOR_BYTES = (5056, 16)
"""Size of the state of torch's generators on CPU and CUDA."""


def _second_words(state: Mapping[str, Tensor], prefix: str) -> set[str]:
    return {name.split(".")[1] for name in state if name.startswith(prefix)}


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
