"""The contract of a game: what a rule file must provide, and the words it may use.

A game is a frozen dataclass of its options. Its facts are properties, its rules are *verbs*: small
functions on one match's state record, written in plain scalar Python and compiled by numba. The same
verbs run one match for a person (`envs.Match`), thousands for a trainer (`envs.Batch`, CPU or CUDA)
and the exact tools that walk a game's tree. `envs/games/kuhn_poker.py` is the shortest example;
`envs.check.check_game` tests a rule file against every clause written here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.compiled import compiled

CHANCE: Final = -1
"""The seat of dice and cards: while `s.seat == CHANCE` the match waits for a chance outcome."""

REFEREE: Final = "referee"
"""The viewer who sees everything."""

Viewer = int | Literal["referee"]
State = Any
"""One match's state: a `numpy.record` in Python, a numba record in a kernel."""

Array = npt.NDArray[Any]

_Function = TypeVar("_Function", bound=Callable[..., Any])


NO_COUNTS: Final[dict[str, Any]] = {"_nrt": False}
"""numba's option for functions that allocate nothing: no reference counts of array slices, which took
more than half of a step's time (dark hex 5x5, one core: 292 ns a step with them, 129 ns without)."""


def verb(function: _Function) -> _Function:
    """Compile `function` for CPU cores; kernels for CUDA are made from the same function."""
    return compiled(function, **NO_COUNTS)


def record(seats: int, *fields: tuple[Any, ...]) -> np.dtype[Any]:
    """The state dtype of a game: the fields every match has, then the game's own.

    Common fields: `seed` (of this match), `draws` (random numbers used so far), `reward[P]` (earned
    by the last move), `seat` (who decides next, or CHANCE) and `over`.

    The record is aligned because CUDA reads no unaligned numbers, and based on `numpy.record` so that
    `s.field` also works where numba is switched off. A field cannot be called `view`, `size`, `shape`
    or another array attribute, and numba knows no array of bools in a record: take uint8.
    """
    common = [
        ("seed", np.uint64),
        ("draws", np.uint32),
        ("reward", np.float32, (seats,)),
        ("seat", np.int8),
        ("over", np.bool_),
    ]
    return np.dtype((np.record, np.dtype([*common, *fields], align=True)))


# Random numbers: splitmix64 (Steele, Lea & Flood 2014) used as a counter-based generator, so that a
# match's n-th number depends on its seed and n alone, on every device and in every batch.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


@verb
def mix(z: Any) -> Any:
    """splitmix64's finaliser: scatters the bits of a uint64."""
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@verb
def match_seed(seed: Any, lane: Any, episode: Any) -> Any:
    """Seed (uint64) of the `episode`-th match that lane `lane` of a batch plays."""
    z = mix(np.uint64(seed) + _GOLDEN)
    z = mix(z + (np.uint64(lane) + np.uint64(1)) * _GOLDEN)
    return mix(z + (np.uint64(episode) + np.uint64(1)) * _GOLDEN)


def seed_from_lane(seed: int, first: int) -> int:
    """The seed of a batch whose lanes 0, 1, ... deal what the lanes first, first + 1, ... deal with `seed`.

    `match_seed` takes seed and lane apart by one call of `mix`, which has an inverse.
    """
    whole = 2**64
    step, one, two = (int(x) for x in (_GOLDEN, _MIX_1, _MIX_2))
    z = (int(mix(np.uint64((seed + step) % whole))) + first * step) % whole
    z = _unshifted(z, 31) * pow(two, -1, whole) % whole
    z = _unshifted(z, 27) * pow(one, -1, whole) % whole
    return (_unshifted(z, 30) - step) % whole


def _unshifted(z: int, bits: int) -> int:
    """The x of 64 bits for which x ^ (x >> bits) is z."""
    x = z
    for _ in range(64 // bits):
        x = z ^ (x >> bits)
    return x


@verb
def draw(s: State) -> float:
    """The match's next random number, uniform in [0, 1) with 53 bits."""
    s.draws += 1
    bits = mix(s.seed + np.uint64(s.draws) * _GOLDEN)
    return np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)  # 2 ** 53


@verb
def draw_below(s: State, n: int) -> int:
    """Draw one of 0..n-1, all with the same probability."""
    return int(draw(s) * n)


@verb
def draw_outcome(s: State, probabilities: Array) -> int:
    """Draw an index with the given probabilities."""
    left = draw(s)
    outcome = 0
    for o in range(probabilities.shape[0]):
        if probabilities[o] > 0.0:
            outcome = o
            left -= probabilities[o]
            if left < 0.0:
                break
    return outcome


@verb
def no_chance(s: State, probabilities: Array) -> None:
    """`chance` of a game without dice or cards; never called."""


@verb
def share_of_forfeit(low: float, seats: int, seat: int, offender: int) -> float:
    """What `seat` earns where `offender` ends the match by an illegal action: that one gets the lowest return
    `low`, the others share its loss."""
    return low if seat == offender else -low / max(seats - 1, 1)


class Spot(NamedTuple):
    """Where on the drawing for a seat an action is made: in the square about (x, y), `side` wide."""

    board: int  # of the drawing, from the left
    cell: int  # of that board
    x: float
    y: float
    side: float
    to: int | None = None  # the cell where what moves arrives


class Game:
    """Base of all games; see the module's docstring.

    Options, of the rules: each of them changes a fact, or is written into the record by `blank`

    Facts, fixed by the options
        seats               P, number of seats
        simultaneous        all seats move at once: they decide one after the other, seat 0 first, and
                            until the last has nobody is shown anything new
        actions             A, number of actions a seat may name
        chance_outcomes     number of outcomes a chance node may have; 0 = no dice or cards
        max_length          most decisions a match can take, all seats together
        return_range        lowest and highest total reward of a seat
        observation_space   `MultiDiscrete` (K codes, uint8) or an integer `Box` of planes
        state               dtype of the state record, made by `record`

    Verbs, compiled
        deal(s)             set up a blank record: options are written, everything else is zero
        legal(s, mask)      mark the legal actions of `s.seat`; `mask` (bool [A]) arrives all False
        play(s, action)     apply a legal action (or chance outcome): update the board, `s.seat`,
                            `s.over` and `s.reward` (which arrives as zeros)
        observe(s, seat, out)  write what `seat` sees now; `out` arrives as zeros. It carries all that
                            is new since the seat's last decision and nothing it may not know
        chance(s, probabilities)  write the outcome's probabilities; they arrive as zeros

    Optional, for exact tools (see `envs.tree`), which work without, too, history by history
        private             fields with a row per seat, which only that seat's own verbs read and write
        notes               fields on which nothing depends but themselves

    Optional, for training
        potential(observation)  how well the seat stands that sees `observation` (a torch tensor
                            [..., *shape]): [...], in about -1..1. Rewards are shaped with it

    Optional, for records, where `deal` draws by itself
        deal_text(state)    the set-up of a record that was just dealt, in letters
        dealt(text)         a record with this set-up, as `deal` leaves one

    Drawn for a viewer, a seat number or REFEREE
        text(state, viewer), svg(state, viewer), action_name(action)

    Optional, for those who play on a page
        spots(seat)         where on the drawing for a seat its actions are made
        spoken              what the signs on the board of `text` are called aloud
    """

    name: ClassVar[str]
    simultaneous: ClassVar[bool] = False
    chance_outcomes: ClassVar[int] = 0
    private: ClassVar[tuple[str, ...]] = ()

    deal: ClassVar[Callable[..., Any]]
    legal: ClassVar[Callable[..., Any]]
    play: ClassVar[Callable[..., Any]]
    observe: ClassVar[Callable[..., Any]]
    chance: ClassVar[Callable[..., Any]] = staticmethod(no_chance)
    potential: ClassVar[Callable[..., Any] | None] = None
    spoken: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Check that every option has its declared type; a game adds its own limits."""
        hints = get_type_hints(type(self))
        for field in option_fields(self):
            value, kind = getattr(self, field.name), hints[field.name]
            if get_origin(kind) is Literal:
                fits, expected = value in get_args(kind), f"one of {', '.join(map(repr, get_args(kind)))}"
            else:
                fits, expected = type(value) is kind, f"of type {kind.__name__}"
            if not fits:
                raise ValueError(f"{self.name}: option {field.name!r} must be {expected}, got {value!r}")

    def _require(self, option: str, low: int, high: int) -> None:
        """Check that an integer option lies in low..high."""
        value = getattr(self, option)
        if not low <= value <= high:
            self._refuse(option, f"must be in {low}..{high}")

    def _refuse(self, option: str, expected: str) -> NoReturn:
        """Say in one line what an option's value must be."""
        raise ValueError(f"{self.name}: option {option!r} {expected}, got {getattr(self, option)!r}")

    @property
    def options(self) -> Mapping[str, Any]:
        """The options by name, as `envs.make` takes them."""
        return {field.name: getattr(self, field.name) for field in option_fields(self)}

    @property
    def seats(self) -> int:
        """Two, unless a game says otherwise (`seats = 1`) or has it as an option."""
        return 2

    @property
    def notes(self) -> tuple[str, ...]:
        """Fields that decide nothing, under these options."""
        return ()

    @property
    def actions(self) -> int:
        """A, number of actions that a seat may name."""
        raise NotImplementedError

    @property
    def max_length(self) -> int:
        """Most decisions that a match can take, all seats together."""
        raise NotImplementedError

    @property
    def return_range(self) -> tuple[float, float]:
        """Lowest and highest total reward of a seat; -1 and 1, unless a game says otherwise."""
        return (-1.0, 1.0)

    @property
    def observation_space(self) -> gymnasium.spaces.MultiDiscrete | gymnasium.spaces.Box:
        """What a seat is shown: `codes`, or planes of integers."""
        raise NotImplementedError

    @property
    def state(self) -> np.dtype[Any]:
        """Dtype of the state record, made by `record`."""
        raise NotImplementedError

    def forfeit(self, offender: int) -> Array:
        """Rewards, float64 [P], of a match that ends by an illegal action of the seat `offender`."""
        low, seats = self.return_range[0], self.seats
        return np.array([share_of_forfeit(low, seats, seat, offender) for seat in range(seats)])

    def blank(self) -> State:
        """A record before `deal`: zeros, with the options the verbs read written in (override)."""
        return np.zeros(1, self.state)[0]

    def deal_text(self, state: State) -> str | None:  # noqa: ARG002
        """The set-up of a record that was just dealt, in letters; None where `deal` draws nothing, or the
        game has no letters for it."""
        return None

    def dealt(self, text: str) -> State:
        """A record as `deal` leaves it, with the set-up `text` of `deal_text`; its seed is 0.

        Raises:
            ValueError: it is no set-up of this game.
        """
        raise ValueError(f"{self.name}: {self} has no set-up in letters, got {text!r:.80}")

    def action_name(self, action: int) -> str:
        """What a person calls the action."""
        raise NotImplementedError

    def spots(self, seat: int) -> Mapping[int, Spot]:  # noqa: ARG002
        """Where on the drawing for `seat` its actions are made, by action; they are no secret, as no state
        decides them. None, unless a game is played on a board."""
        return {}

    def text(self, state: State, viewer: Viewer = REFEREE) -> str:
        """The match in letters, as `viewer` may see it."""
        raise NotImplementedError

    def svg(self, state: State, viewer: Viewer = REFEREE) -> str:
        """The match drawn as an SVG document, as `viewer` may see it."""
        raise NotImplementedError


def option_fields(game: Game | type[Game]) -> tuple[dataclasses.Field[Any], ...]:
    """What a game's options are, in their order.

    Raises:
        TypeError: the game is no dataclass.
    """
    if not dataclasses.is_dataclass(game):
        raise TypeError(f"{game!r:.80}: a game is a frozen dataclass of its options")
    return dataclasses.fields(game)


def listed(actions: Sequence[int]) -> str:
    """Actions as an error names them in one line: all of them, or the first 20 and how many there are."""
    if len(actions) <= 20:
        return str(list(actions))
    return f"[{', '.join(map(str, actions[:20]))}, ...], {len(actions)} in all"


def named(game: Game, action: int) -> str:
    """An action as an error names it: its number, and what the game calls it if it is one of the game's."""
    return (
        f"action {action} ({game.action_name(action)!r})"
        if 0 <= action < game.actions
        else f"action {action}"
    )


class Sizes(np.ndarray[Any, np.dtype[np.uint8]]):
    """Numbers of codes, uint8 [K], that one iterates as Python's integers.

    Stable-Baselines3 adds a space's `nvec` up to get the width of its one-hot input: uint8 would wrap
    around at 256, and torch's LSTM takes no NumPy integer for a size.
    """

    def __iter__(self) -> Any:
        return iter(self.tolist())


def codes(*sizes: int) -> gymnasium.spaces.MultiDiscrete:
    """Observation space of K slots holding one of `sizes[k]` codes each, stored as uint8."""
    sizes_told = np.array(sizes, np.uint8)
    space: gymnasium.spaces.MultiDiscrete[Any] = gymnasium.spaces.MultiDiscrete(sizes_told, dtype=np.uint8)
    space.nvec = space.nvec.view(Sizes)
    return space
