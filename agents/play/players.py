"""Players: anything that can hold a seat. A trained agent, a random player, a bot that knows the rules.

A player sits at B matches at once and keeps its own memory of each:

    player.reset(matches=B)                         B fresh matches
    actions = player.act(observation, legal, seat)  one decision in each
    player.restart(over)                            the matches marked in bool [B] have ended
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.net.normalizer import Normalizer
from agents.net.policy import Memory, RecurrentPolicy
from agents.net.task import Task, World, task_of
from agents.play import asked
from agents.play.bots import BOTS, batched
from agents.play.minds import BotMind, PolicyMind, roll
from envs import Game, name_of
from envs.compiled import compiled
from envs.core import mix
from envs.kernels import launch_cpu
from envs.names import find, installed
from envs.seated import with_seats
from envs.tree import Progress, Tree


class Player:
    """Holds a seat in B matches of `game`; a subclass decides in `choose`.

    Args:
        game: a game, a Gymnasium world as an agent knows it, or the task that either is.
        name: shown in tables.
    """

    def __init__(self, game: Game | World | Task, name: str) -> None:
        self.task = task_of(game)
        self.name = name
        self.matches = 1

    @property
    def game(self) -> Game | World:
        """What it plays."""
        return self.task.plays

    def reset(self, matches: int = 1) -> None:
        """Forget everything and sit down at `matches` fresh matches."""
        self.matches = matches

    def restart(self, over: Tensor) -> None:
        """The matches marked in `over` (bool [B]) have ended and new ones have begun."""

    def reseed(self, seed: int) -> None:
        """Draw from now on what a player made with `seed` draws; nothing for one that never draws."""

    def act(self, observation: Any, legal: Any = None, seat: Any = None, rows: Tensor | None = None) -> Any:
        """Decide.

        Args:
            observation: [B, ...] of the seat that decides, or one observation without B (B = 1).
            legal: bool [B, M]; None = every action.
            seat: int [B], who decides; None only in games with one seat.
            rows: int64 [R], the matches that are asked, all by default; then B above is R.

        Returns:
            actions int64 [B], or an int for one observation; of a Gymnasium world NumPy's, as it takes them.

        Raises:
            ValueError: a shape or dtype does not fit the game, or nobody says who decides; the message says
                what would fit.
        """
        task, B = self.task, self.matches if rows is None else len(rows)
        try:
            observation, is_single = task.pack(self._seen(observation))
            if len(observation) != B:
                raise ValueError(f"it sits in {B} matches, got {len(observation)} observations")
            legal = asked.masks_of(task.family, legal, B, is_single, "legal")
            if seat is not None:
                seat = torch.as_tensor(seat).reshape(-1).long()
                if len(seat) != B:
                    raise ValueError(f"expected {B} seats in 0..{task.seats - 1}, got {seat.tolist()}")
            seat = asked.seats_of(task.seats, seat, B)
        except ValueError as error:
            raise ValueError(f"{self.name} plays {self.game}: {error}") from error
        actions = task.hand_out(self.choose(observation, legal, seat.to(observation.device), rows))
        if not is_single:
            return actions
        return actions[0] if actions.ndim > 1 else int(actions[0])

    def _seen(self, observation: Any) -> Any:
        """What was shown, as the player reads it."""
        return observation

    def choose(self, observation: Tensor, legal: Tensor, seat: Tensor, rows: Tensor | None) -> Tensor:
        """`act` on checked tensors: int64 [B]."""
        raise NotImplementedError

    def decides_on(self, device: torch.device) -> bool:  # noqa: ARG002
        """`choose_where` on this kind of device waits for nothing."""
        return False

    def choose_where(self, observation: Tensor, legal: Tensor, seat: Tensor, asked: Tensor) -> Tensor:
        """`act` in those of the first R matches that are marked in `asked` (bool [R]); on a GPU it waits for
        them, unless it `decides_on` it.

        Returns:
            int64 [R]; what stands where nobody was asked means nothing.
        """
        rows = torch.nonzero(asked)[:, 0]
        if len(rows) == 0:
            return torch.zeros_like(seat)
        chosen = self.act(observation[rows], legal[rows], seat[rows], rows)
        return torch.zeros_like(seat).index_put((rows,), chosen)

    def to(self, device: torch.device) -> None:
        """Decide from now on for matches on `device`."""

    def table(self, tree: Tree, on_progress: Progress = lambda _: None) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """Its probabilities at every information set of its game, float64 [sequences], see `Tree.checked`.

        Raises:
            ValueError: this kind of player cannot tell them.
        """
        raise ValueError(f"{self.name} ({type(self).__name__}) tells no exact probabilities")

    def state_dict(self) -> dict[str, Tensor]:
        """What decides how it plays on, as tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken."""


class Agent(Player):
    """A trained policy with its own memory; `agents.load` makes one from a file.

    Args:
        policy: the network; the agent does not change it.
        game: the game it was trained on.
        name: shown in tables.
        deterministic: take the most probable action. In games with hidden information a player that
            does is easily read, so agents draw from their policy by default.
        seed: of its draws.
        scale: applied to what it sees, where it was trained on scaled observations.

    Raises:
        ValueError: a weight is not finite.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        game: Game | World | Task,
        name: str = "agent",
        deterministic: bool = False,
        seed: int = 0,
        scale: Normalizer | None = None,
    ) -> None:
        task = task_of(game)
        super().__init__(task if scale is None else task.scaled_by(scale.entries), name)
        if broken := [part for part, x in policy.state_dict().items() if not torch.isfinite(x).all()]:
            raise ValueError(
                f"{name}: expected weights that are numbers, {broken[0]} holds NaN or infinity"
                f"{f' and {len(broken) - 1} more' if len(broken) > 1 else ''}"
            )
        self.scale = scale
        self.policy = policy.eval()
        self.deterministic = deterministic
        self.device = next(policy.parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.reset()

    def reset(self, matches: int = 1) -> None:
        super().reset(matches)
        self.memory = self.policy.initial_memory(matches)
        self.start = torch.ones(matches, dtype=torch.bool, device=self.device)

    def restart(self, over: Tensor) -> None:
        self.start |= over.to(self.device)

    def reseed(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def _seen(self, observation: Any) -> Any:
        if self.scale is None:
            return observation
        return self.scale(self.task.checked(observation)[0])  # scaled, infinity would be cut to clip_obs

    def choose(self, observation: Tensor, legal: Tensor, seat: Tensor, rows: Tensor | None) -> Tensor:
        here = (observation.to(self.device), legal.to(self.device), seat.to(self.device))
        rows = torch.arange(self.matches, device=self.device) if rows is None else rows.to(self.device)
        decision, memory = self.policy.act(
            *here, self.start[rows], self.memory.select(rows), self.generator, self.deterministic
        )
        for whole, part in zip(self.memory.cores, memory.cores, strict=True):
            whole[:, rows] = part
        self.memory.previous[rows] = memory.previous
        self.start[rows] = False
        return decision.action.to(observation.device)

    def decides_on(self, device: torch.device) -> bool:
        return self.scale is None and device.type == self.device.type

    def choose_where(self, observation: Tensor, legal: Tensor, seat: Tensor, asked: Tensor) -> Tensor:
        """All of the matches are computed, and what is remembered changes where it was asked."""
        if not self.decides_on(observation.device):
            return super().choose_where(observation, legal, seat, asked)
        R = len(asked)
        cores, previous, start = (
            tuple(x[:, :R] for x in self.memory.cores),
            self.memory.previous[:R],
            self.start[:R],
        )
        decision, memory = self.policy.act(
            observation, legal, seat, start, Memory(cores, previous), self.generator, self.deterministic
        )
        for whole, part in zip(cores, memory.cores, strict=True):
            whole.copy_(torch.where(asked[:, None, None], part, whole))
        is_asked = asked.reshape(-1, *[1] * (previous.dim() - 1))
        previous.copy_(torch.where(is_asked, memory.previous, previous))
        start &= ~asked
        return decision.action

    def table(self, tree: Tree, on_progress: Progress = lambda _: None) -> npt.NDArray[np.float64]:
        def read(shown: npt.NDArray[Any], seat: Tensor) -> tuple[Tensor, Tensor]:
            return self.task.pack(self._seen(shown))[0], seat

        return roll(tree, PolicyMind(self.policy, self.deterministic, read), on_progress=on_progress)

    def state_dict(self) -> dict[str, Tensor]:
        cores = {f"core.{k}": part.clone() for k, part in enumerate(self.memory.cores)}
        return cores | {
            "previous": self.memory.previous.clone(),
            "start": self.start.clone(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        cores = tuple(state[f"core.{k}"].to(self.device) for k in range(len(self.memory.cores)))
        self.memory = Memory(cores, state["previous"].to(self.device))
        self.start = state["start"].to(self.device)
        self.matches = len(self.start)
        self.generator.set_state(state["generator"].cpu())


class SeatedAgent(Player):
    """An agent that was trained in a world of a game, at the game itself.

    In the world it had one memory; here it has one for each seat of a match. Where its world showed the
    seat ("alternate", see `envs.seated.seated_space`), it is shown here, too. An agent that always had the
    same seat sits in the others as well, untrained for them.

    Args:
        agent: of a world whose spaces are the game's own.

    Raises:
        ValueError: they are not.
    """

    def __init__(self, agent: Agent, game: Game) -> None:
        super().__init__(game, agent.name)
        seen, own = agent.task.observation_space, self.task
        if (
            agent.task.rules is not None
            or agent.task.action_space != own.action_space
            or seen not in (own.observation_space, own.seated)
        ):
            raise ValueError(f"{agent.name!r} plays {agent.game}, expected an agent of {game}")
        self.agent = agent
        self.sees_seat = seen == own.seated
        self.reset()

    def reset(self, matches: int = 1) -> None:
        super().reset(matches)
        self.agent.reset(matches * self.task.seats)

    def restart(self, over: Tensor) -> None:
        self.agent.restart(over.repeat_interleave(self.task.seats))

    def reseed(self, seed: int) -> None:
        self.agent.reseed(seed)

    def choose(self, observation: Tensor, legal: Tensor, seat: Tensor, rows: Tensor | None) -> Tensor:
        rows = torch.arange(self.matches, device=seat.device) if rows is None else rows.to(seat.device)
        seen = with_seats(observation, seat) if self.sees_seat else observation
        return self.agent.choose(seen, legal, torch.zeros_like(seat), rows * self.task.seats + seat)

    def table(self, tree: Tree, on_progress: Progress = lambda _: None) -> npt.NDArray[np.float64]:
        agent = self.agent

        def read(shown: npt.NDArray[Any], seat: Tensor) -> tuple[Tensor, Tensor]:
            seen = torch.from_numpy(shown)
            seen = agent._seen(with_seats(seen, seat) if self.sees_seat else seen)
            return agent.task.pack(seen)[0], torch.zeros_like(seat)

        return roll(tree, PolicyMind(agent.policy, agent.deterministic, read), on_progress=on_progress)

    def state_dict(self) -> dict[str, Tensor]:
        return self.agent.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.agent.load_state_dict(state)
        self.matches = self.agent.matches // self.task.seats


def frozen(policy: RecurrentPolicy) -> RecurrentPolicy:
    """A copy that no longer learns."""
    return copy.deepcopy(policy).eval().requires_grad_(False)


class ScriptedPlayer(Player):
    """A player without a network that draws one number per decision to break its ties."""

    def __init__(self, game: Game, name: str, seed: int = 0) -> None:
        super().__init__(game, name)
        self.generator = torch.Generator().manual_seed(seed)

    def reseed(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def ties(self, decisions: int) -> Tensor:
        """Uniform numbers in [0, 1), float32 [decisions]."""
        return torch.rand(decisions, generator=self.generator)

    def state_dict(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.generator.set_state(state["generator"].cpu())


class RandomPlayer(ScriptedPlayer):
    """Every legal action with the same probability."""

    def __init__(self, game: Game, name: str = "random", seed: int = 0) -> None:
        super().__init__(game, name, seed)

    def choose(self, observation: Tensor, legal: Tensor, seat: Tensor, rows: Tensor | None) -> Tensor:  # noqa: ARG002
        bits = torch.empty(len(legal), dtype=torch.int64).random_(generator=self.generator)
        actions = torch.empty_like(bits)
        threads = min(torch.get_num_threads(), len(legal) // DRAWS_PER_THREAD)
        launch_cpu(_pick_legal, len(legal), threads, legal.cpu().numpy(), bits.numpy(), actions.numpy())
        return actions.to(legal.device)

    def decides_on(self, device: torch.device) -> bool:
        return device.type == self.generator.device.type

    def choose_where(self, observation: Tensor, legal: Tensor, seat: Tensor, asked: Tensor) -> Tensor:
        """The legal action with the largest of as many random numbers."""
        if not self.decides_on(legal.device):
            return super().choose_where(observation, legal, seat, asked)
        numbers = torch.rand(legal.shape, generator=self.generator, device=legal.device)
        return torch.where(legal, numbers, -1.0).argmax(1)

    def to(self, device: torch.device) -> None:
        if not self.decides_on(device):
            self.generator = torch.Generator(device).manual_seed(self.generator.initial_seed())

    def table(self, tree: Tree, on_progress: Progress = lambda _: None) -> npt.NDArray[np.float64]:
        on_progress(1.0)
        return tree.uniform()


DRAWS_PER_THREAD = 8192
"""A thread is worth waking for about so many draws of 8 ns."""


@partial(compiled, nogil=True)
def _attempt(bits: Any, attempt: int, A: int) -> Any:
    """One of 0..A-1 at random, by numbers that begin at `bits`."""
    number = mix(np.uint64(bits) + np.uint64(attempt)) >> np.uint64(32)
    return np.int64(number * np.uint64(A) >> np.uint64(32))


@partial(compiled, nogil=True)
def _pick_legal(first: int, last: int, legal: Any, bits: Any, actions: Any) -> None:
    """In the rows first..last-1: name actions at random until one is legal. `bits` [rows] begin the numbers.

    The first two without a branch between, as nothing foretells it: 6 ns a draw instead of 9 (dark hex 5x5).
    64 A attempts miss the only legal one of A actions with a probability of e ** -64.
    """
    A = legal.shape[1]
    for b in range(first, last):
        action, second = _attempt(bits[b], 0, A), _attempt(bits[b], 1, A)
        action = action if legal[b, action] else second
        if not legal[b, action]:
            for attempt in range(2, 64 * A):
                action = _attempt(bits[b], attempt, A)
                if legal[b, action]:
                    break
        actions[b] = action


class Bot(ScriptedPlayer):
    """A plain player that knows the rules: it follows a few of them, and may take notes.

    Args:
        name: of its rules, see `agents.play.bots.BOTS`.

    Raises:
        ValueError: the game has no such bot.
    """

    def __init__(self, game: Game, name: str = "bot", seed: int = 0) -> None:
        super().__init__(game, name, seed)
        bots = BOTS.get(name_of(game), {})
        if name not in bots:
            titles = [title for title, bots in BOTS.items() if name in bots]
            raise ValueError(f"{game.name} has no {name}; games with one are {', '.join(sorted(titles))}")
        self.rules = bots[name]
        self.decide_all = batched(self.rules)
        self.columns = int(game.options.get("cols", 1))
        self.reset()

    def reset(self, matches: int = 1) -> None:
        super().reset(matches)
        self.notes = torch.zeros(matches, self.task.seats, self.task.actions, dtype=torch.int16)

    def restart(self, over: Tensor) -> None:
        self.notes[over.cpu()] = 0

    def choose(self, observation: Tensor, legal: Tensor, seat: Tensor, rows: Tensor | None) -> Tensor:
        actions = torch.empty(len(seat), dtype=torch.int64)
        self.decide_all(
            observation.cpu().contiguous().numpy(),
            legal.cpu().contiguous().numpy(),
            seat.cpu().numpy(),
            self.ties(len(seat)).numpy(),
            self.columns,
            self.notes.numpy(),  # the same memory
            np.arange(self.matches) if rows is None else rows.cpu().numpy(),
            actions.numpy(),
        )
        return actions.to(observation.device)

    def table(self, tree: Tree, on_progress: Progress = lambda _: None) -> npt.NDArray[np.float64]:
        mind = BotMind(self.name, self.rules, self.task.actions, self.columns)
        return roll(tree, mind, on_progress=on_progress)

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"notes": self.notes.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.notes = state["notes"].cpu().clone()
        self.matches = len(self.notes)


FIXED_PLAYERS: dict[str, type[Player]] = {
    "random": RandomPlayer,
    **{name: Bot for bots in BOTS.values() for name in bots},
}
"""Players that need no training, by the name the scripts take; a game has some of them. One of your own is
`module:Name`, a class made with a game, a name and a seed."""

PLAYERS = "fogbound.players"
"""The entry points of installed packages."""


def player_class(name: str) -> type[Player]:
    """The class of the fixed player that a person calls `name`; one from outside the package is imported.

    Raises:
        ValueError: there is none.
    """
    return find("player", name, FIXED_PLAYERS, Player, PLAYERS)


def is_player_name(spec: object) -> bool:
    """`spec` names a fixed player, of the package or from outside, and is no path."""
    if spec in FIXED_PLAYERS:
        return True
    return isinstance(spec, str) and not Path(spec).exists() and (":" in spec or spec in installed(PLAYERS))


def fixed_player(name: str, game: Game, seed: int = 0) -> Player:
    """A player of `FIXED_PLAYERS`, or one from outside, see `player_class`.

    Raises:
        ValueError: the name is unknown, or the game has no such player.
    """
    kind: Any = player_class(name)
    made: Player = kind(game, name, seed)
    return made
