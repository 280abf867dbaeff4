"""Gymnasium: a game as an environment for one agent (edge: gymnasium).

import envs                                             # registers the ids
env = gymnasium.make("fogbound/DarkHex-v0", opponent="bot", seat="alternate", rows=4)
observation, info = env.reset(seed=1)
over = False
while not over:
    action = env.action_space.sample(info["action_mask"])
    observation, reward, over, _, info = env.step(action)

envs = gymnasium.make_vec("fogbound/DarkHex-v0", num_envs=64)    # one `Batch`, no processes
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import envs
from envs.adapters.screen import RENDER_MODES, Screen
from envs.batch import Batch
from envs.core import Array, Game
from envs.match import Match
from envs.opponents import Opponent, OpponentChoice, make_opponent
from envs.seated import (
    IllegalRule,
    SeatChoice,
    SeatedBatch,
    check_options,
    copied,
    seated_space,
    with_seat,
)

Observation = npt.NDArray[Any]
Info = dict[str, Any]


def game_of(game: str | Game, options: dict[str, Any]) -> Game:
    """The game itself, or made by its name.

    Raises:
        ValueError: the name or an option is unknown, or options were given beside a game.
    """
    if isinstance(game, str):
        return envs.make(game, **options)
    if options:
        raise ValueError(f"options {sorted(options)} were given beside {game}, which has its own")
    return game


def game_played(id: str, arguments: dict[str, Any]) -> Game | None:
    """The game that `gymnasium.make(id, **arguments)` plays, told without making it; None if none of ours.

    Nothing is imported: an id that names a module (but `envs` itself) is of an unknown world, whatever it
    would be, and a game must be registered. So the configuration of a stranger's run can be read.

    Raises:
        ValueError: the game is not registered, or has no such options.
    """
    module, _, name = id.rpartition(":")
    spec = gymnasium.registry.get(name) if module in ("", envs.__name__) else None
    if spec is None or spec.entry_point != ENTRY_POINT:
        return None
    given = spec.kwargs | arguments
    if not isinstance(given["game"], str):
        return None
    own = inspect.signature(gymnasium.make).parameters | inspect.signature(FogboundEnv).parameters
    return envs.registered(given["game"], **{key: value for key, value in given.items() if key not in own})


class FogboundEnv(gymnasium.Env[Observation, np.int64]):
    """One match after the other of a game, for the agent in one seat.

    The opponent moves inside `reset` and `step`, as soon as it is its turn; the agent always decides
    next, or the match has ended. Rewards are what the agent's seat earned since its decision before (or
    since the match began); `truncated` is never True. Of the match nothing but the observation tells.

    Infos hold
        action_mask   int8 [A], 1 = legal, as `action_space.sample` takes it; zeros at the end
        seat          int, the agent's
        illegal       bool, after a step: the agent's action was illegal

    `action_masks()` gives the mask as bool [A], where MaskablePPO looks for it.

    Args:
        game: a game, or its name in `envs.GAMES` with the game's options as keyword arguments.
        opponent: who holds the other seats: "random", "bot", the path of an agent, a player of `agents`
            (which is copied), or a function `(observation, mask, seat) -> action` that gets the game's
            observation, bool [A] and 0..P-1. Players forget everything with every match.
        seat: the agent's, 0 by default; "alternate" = another in every match, the first drawn by the
            seed. The observation then ends with the seat, see `envs.seated.seated_space`.
        illegal: an illegal action of the agent "lose"s it the match (reward: the game's lowest return),
            as in a `Batch`, or "raise"s ValueError. A checker or an algorithm without masks needs "lose".
        render_mode: "ansi" (str), "rgb_array" (uint8 [height, width, 3]) or "human" (a window); all show
            what the referee sees.

    Raises:
        TypeError, ValueError: an argument does not fit the game; the message says what would.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": RENDER_MODES, "render_fps": 2}  # type: ignore[misc]

    def __init__(
        self,
        game: str | Game,
        opponent: OpponentChoice = "random",
        seat: SeatChoice = 0,
        illegal: IllegalRule = "lose",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.game = game_of(game, options)
        check_options(self.game, opponent, seat, illegal)
        self.render_mode = render_mode
        self.observation_space = seated_space(self.game, seat)
        self.action_space = spaces.Discrete(self.game.actions)
        self._screen = Screen(render_mode, self.game.name, self.metadata["render_fps"])
        self._alternates = seat == "alternate"
        self._seat = 0 if seat == "alternate" else int(seat)
        self._raises = illegal == "raise"
        self._opponent: Opponent | None = None
        if self.game.seats > 1:
            self._opponent = make_opponent(opponent, self.game)
        self._match: Match | None = None
        self._is_over = False
        self._paid = 0.0  # how much of the match's return was given as rewards

    @property
    def match(self) -> Match:
        """The match being played. Reading only.

        Raises:
            ResetNeeded: before the first `reset`.
        """
        if self._match is None:
            raise ResetNeeded(f"{self.game.name}: no match has begun; call reset() first")
        return self._match

    @property
    def seat(self) -> int:
        """The agent's seat in this match."""
        return self._seat

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin a new match, up to the agent's first decision.

        Args:
            seed: decides this match and all that follow: cards, the opponent's draws, the agent's seat;
                None goes on with the sequence.
            options: {"match_seed": n} begins the match that `envs.Match(game, seed=n)` is.

        Raises:
            ValueError: an option is unknown.
        """
        unknown = sorted(set(options or {}) - {"match_seed"})
        if unknown:
            raise ValueError(f"{self.game.name}: unknown reset options {unknown}; known is 'match_seed'")
        super().reset(seed=seed)
        if self._alternates and (seed is not None or self._match is None):
            self._seat = int(self.np_random.integers(self.game.seats))
        elif self._alternates:
            self._seat = (self._seat + 1) % self.game.seats
        self._begin((options or {}).get("match_seed"))
        while self.match.over:  # without a decision of the agent it is no episode
            self._begin(None)
        self._screen.refresh(self.match)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Play the agent's action and what follows until it is to move again.

        Returns:
            observation, reward, terminated, False, info.

        Raises:
            ResetNeeded: no match is going on.
            TypeError: the action is no integer.
            ValueError: the game has no such action; it is illegal and `illegal="raise"`; or the opponent
                made an illegal move.
        """
        match = self.match
        if self._is_over:
            raise ResetNeeded(f"{self.game.name}: the match is over; call reset() to begin another")
        action = self._known(action)
        is_illegal = not self._raises and not match.mask()[action]
        if is_illegal:
            reward = float(self.game.forfeit(self._seat)[self._seat])
        else:
            match.play(action)
            self._let_opponent_play()
            reward = float(match.returns[self._seat] - self._paid)
            self._paid += reward
        self._is_over = is_illegal or match.over
        self._screen.refresh(match)
        return self._observation(), reward, self._is_over, False, self._info() | {"illegal": is_illegal}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """The agent's legal actions, bool [A]; none after the end."""
        mask = self.match.mask()
        return mask if not self._is_over else np.zeros_like(mask)

    def render(self) -> Any:
        """The match as the referee sees it, in the render mode: a string, pixels, or None and a window."""
        return self._screen.show(self.match)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._screen.close()

    def _begin(self, match_seed: int | None) -> None:
        """Begin a match and let the opponent move, if it is to move first."""
        if match_seed is None:
            match_seed = int(self.np_random.integers(2**64, dtype=np.uint64))
        self._match, self._is_over, self._paid = Match(self.game, match_seed), False, 0.0
        if self._opponent is not None:
            self._opponent.reset(1)
            self._opponent.reseed(int(self.np_random.integers(2**63)))
            self._let_opponent_play()

    def _let_opponent_play(self) -> None:
        """Play the opponent's decisions until it has none left."""
        match = self.match
        while self._opponent is not None and not match.over and match.seat != self._seat:
            match.play(self._opponent.act(match.observation(match.seat), match.mask(), match.seat))

    def _known(self, action: Any) -> int:
        """An action of the game, as an int."""
        try:
            number = operator.index(action)
        except TypeError:
            raise TypeError(f"{self.game.name}: an action is an integer, got {action!r}") from None
        if not 0 <= number < self.game.actions:
            raise ValueError(f"{self.game.name}: actions are 0..{self.game.actions - 1}, got {number}")
        return number

    def _observation(self) -> Observation:
        seen = self.match.observation(self._seat)
        return with_seat(seen, self._seat) if self._alternates else seen

    def _info(self) -> Info:
        return {"action_mask": self.action_masks().astype(np.int8), "seat": self._seat}


ENTRY_POINT = f"{__name__}:{FogboundEnv.__name__}"
"""What the ids of games have as their entry point."""


class BatchVectorEnv(VectorEnv[Observation, Array, Array]):
    """B matches as one vector environment: a `Batch` seen from the agent's seat, without processes.

    A match that ends is replaced in the same step (`AutoresetMode.SAME_STEP`). Arrays are copies. Infos
    hold what `FogboundEnv`'s do, [B, ...] each, and after a step that ended matches `final_obs` and
    `final_info`, told as Gymnasium's own vector environments do: with `_<name>`, bool [B], beside each.

    Args:
        game, opponent, seat, illegal, options: as in `FogboundEnv`; with "alternate" lane b begins in
            seat b modulo P.
        num_envs: B.
        device: where the matches and the opponent's network are computed.
        render_mode: only None.

    Raises:
        TypeError, ValueError: an argument does not fit the game; the message says what would.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": [],
    }

    def __init__(
        self,
        game: str | Game,
        num_envs: int = 1,
        opponent: OpponentChoice = "random",
        seat: SeatChoice = 0,
        illegal: IllegalRule = "lose",
        device: str = "cpu",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode is not None:
            raise ValueError(
                f"render_mode must be None, got {render_mode!r}: matches of a batch are not drawn; "
                "vectorization_mode='sync' draws them"
            )
        self.game = game_of(game, options)
        self.num_envs = num_envs
        self._seated = SeatedBatch(Batch(self.game, num_envs, device), opponent, seat, illegal)
        self.single_observation_space = self._seated.observation_space
        self.single_action_space = spaces.Discrete(self.game.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._has_begun = False

    @property
    def seat(self) -> Array:
        """The agent's seats at its next decisions, int64 [B]."""
        return copied(self._seated.seat)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin new matches in all lanes.

        Args:
            seed: decides all that follows; None goes on with the sequence.
            options: none are known.

        Raises:
            ValueError: there are options.
        """
        if options:
            raise ValueError(f"{self.game.name}: reset takes no options here, got {sorted(options)}")
        super().reset(seed=seed)
        self._seated.reset(int(self.np_random.integers(2**64, dtype=np.uint64)))
        self._has_begun = True
        return copied(self._seated.observation), self._infos()

    def step(self, actions: Array) -> tuple[Observation, Array, Array, Array, Info]:
        """Play the agent's action in every match and what follows until it is to move again.

        Args:
            actions: integers [B].

        Returns:
            observations, rewards float64 [B], terminations bool [B], truncations (none), infos.

        Raises:
            ResetNeeded: before the first `reset`.
            TypeError, ValueError: as `SeatedBatch.step`.
        """
        if not self._has_begun:
            raise ResetNeeded(f"{self.game.name}: no match has begun; call reset() first")
        self._seated.step(actions)
        over = copied(self._seated.over)
        infos = self._infos() | _masked({"illegal": copied(self._seated.illegal) & ~over}, ~over)
        if over.any():
            infos |= self._finals(over)
        rewards = copied(self._seated.reward).astype(np.float64)
        return copied(self._seated.observation), rewards, over, np.zeros_like(over), infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """The agent's legal actions, bool [B, A]."""
        return copied(self._seated.legal)

    def _infos(self) -> Info:
        everywhere = np.ones(self.num_envs, np.bool_)
        mask = self.action_masks().astype(np.int8)
        return _masked({"action_mask": mask, "seat": self.seat}, everywhere)

    def _finals(self, over: npt.NDArray[np.bool_]) -> Info:
        """What the agent saw and was told at the ends of the matches marked in `over`."""
        seen, last = copied(self._seated.final), np.full(self.num_envs, None, object)
        for b in np.flatnonzero(over):
            last[b] = seen[b]
        told = {
            "action_mask": np.zeros((self.num_envs, self.game.actions), np.int8),
            "seat": np.where(over, copied(self._seated.final_seat), 0),
            "illegal": copied(self._seated.illegal) & over,
        }
        return _masked({"final_obs": last, "final_info": _masked(told, over)}, over)


def _masked(infos: Info, mask: npt.NDArray[np.bool_]) -> Info:
    """Gymnasium's vector infos: beside each entry, where it holds."""
    return infos | {f"_{name}": mask.copy() for name in infos}


class NoVelocity(
    gymnasium.ObservationWrapper[Observation, Any, Observation], gymnasium.utils.RecordConstructorArgs
):
    """An environment whose agent sees positions but no velocities, so that it needs a memory.

    The velocities are left out, as in the CartPoleNoVel of sb3-contrib's tests, whose bar is a mean
    return of 450 within 50,000 steps: CartPole has 2 numbers left, Pendulum the angle's 2. (RL Zoo's
    environments of this name keep the shape and show zeros.)

    Args:
        env: its observation is a `Box` of one axis.
        velocities: the entries to leave out.

    Raises:
        TypeError: the observation is none.
        ValueError: it has no such entries.
    """

    def __init__(self, env: gymnasium.Env[Observation, Any], velocities: Sequence[int]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, velocities=velocities)
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise TypeError(f"expected an environment that shows a Box of one axis, got {space}")
        if not set(velocities) < set(range(space.shape[0])):
            raise ValueError(f"velocities must be some of 0..{space.shape[0] - 1}, got {list(velocities)}")
        self._positions = [k for k in range(space.shape[0]) if k not in velocities]
        self.observation_space = spaces.Box(
            space.low[self._positions],
            space.high[self._positions],
            dtype=space.dtype,
        )

    def observation(self, observation: Observation) -> Observation:
        return observation[self._positions]
