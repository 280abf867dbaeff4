"""RecurrentPolicy: encoder -> recurrent core -> masked action head and value head.

What a seat remembers is a `Memory`: it comes in as an argument and leaves as a result; the network
itself keeps nothing between calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.net import settings
from agents.net.cells import CELLS, Cell, cell_class
from agents.net.distributions import Categorical, Gaussian, make_family
from agents.net.encoders import (
    Board,
    BoardContext,
    BoardEncoder,
    LinearEncoder,
    SlotEncoder,
    board_of,
    make_encoder,
)
from agents.net.heads import BoardActionHead, BoardValueHead, make_head
from agents.net.kernels import heads, slots
from agents.net.scan import scan
from envs import names

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}


def with_names(policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A person's arguments of a policy, as files can hold them.

    The cell is found, and so registered, see `agents.net.cells.cell_class`. An activation may be given as its
    class, SB3's way, and comes back as its name.

    Raises:
        ValueError: there is no such cell or activation.
    """
    if isinstance(cell := policy_kwargs.get("cell"), str):
        cell_class(cell)
    given = policy_kwargs.get("activation_fn")
    if not inspect.isclass(given):
        return dict(policy_kwargs)
    same = [name for name, kind in ACTIVATIONS.items() if kind is given]
    if not same:
        raise ValueError(f"unknown activation_fn {given!r}; known are {names.known(given, ACTIVATIONS)}")
    return {**policy_kwargs, "activation_fn": same[0]}


class Memory(NamedTuple):
    """What the seats of B matches remember."""

    cores: tuple[Tensor, ...]  # [L, B, P, H] per part of the cell's state; the actor's, then the critic's.
    # Of a spatial policy [L, B, P, S * H].
    previous: Tensor  # [B, P, *], each seat's own latest action; `RecurrentPolicy.no_action` = none yet

    def select(self, rows: Tensor) -> Memory:
        """The memory of the matches `rows` (int64 [R] or bool [B])."""
        return Memory(tuple(part[:, rows] for part in self.cores), self.previous[rows])

    def remember(self, seat: Tensor, action: Tensor) -> Memory:
        """The memory once each `seat` (int64 [B]) knows that its own latest action is `action` [B, *]."""
        here = _seat_of(self.previous, seat)
        return self._replace(previous=self.previous.scatter(1, here, action[:, None]))


class Decision(NamedTuple):
    """What the policy did, one row a match."""

    action: Tensor  # [B, *], of the family's shape and dtype
    log_prob: Tensor  # [B], of the action
    value: Tensor  # [B], the expected return of the seat that decided
    distribution: Tensor  # [B, D] of the policy's family; for Discrete log-probabilities, -inf where illegal
    previous: Tensor  # [B, *], what the seat knew as its own action before


class Core(nn.Module):
    """L cells of one kind on top of each other.

    Args:
        cell: a name in `agents.CELLS`; nothing is imported here, `agents.net.cells.cell_class` does.
        input_size: I.
        hidden_size: H.
        layers: L.
        options: sb3-contrib's `lstm_kwargs`: `dropout` between the layers, and the options of the cell:
            `nonlinearity` of elman, `forget_bias` and `chrono` of gated, lstm and gru, the keyword
            arguments of one's own.

    Raises:
        ValueError: an argument does not fit; the message says what would.
    """

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, layers: int, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        kind = names.registered("cell", cell, CELLS)  # a file's word reaches this line, too
        hidden_size = settings.check("lstm_hidden_size", hidden_size)
        layers = settings.check("n_lstm_layers", layers)
        _, _, *own = inspect.signature(kind).parameters  # after input_size and hidden_size
        known = ["dropout", *own]
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(
                f"lstm_kwargs of cell {cell!r} may hold {names.known(unknown[0], known)}; got "
                f"{', '.join(unknown)}"
            )
        settings.check_all(options)
        of_cell = {name: settings.plain_number(value) for name, value in options.items()}
        dropout = of_cell.pop("dropout", 0.0)
        if dropout and layers == 1:
            raise ValueError(
                "dropout works between layers, and n_lstm_layers is 1: raise it, or leave dropout out"
            )
        self.cells = nn.ModuleList(
            kind(input_size if layer == 0 else hidden_size, hidden_size, **of_cell) for layer in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.parts = len(kind.parts)

    def initial_state(self, matches: int, seats: int) -> tuple[Tensor, ...]:
        """Zeros, [L, B, P, H] per part."""
        layers = [self._cell(layer).initial_state(matches, seats) for layer in range(len(self.cells))]
        return tuple(torch.stack(part) for part in zip(*layers, strict=True))

    def forward(
        self,
        x: Tensor,
        state: tuple[Tensor, ...],
        start: Tensor,
        seat: Tensor | None = None,
        renewed: tuple[int, tuple[Tensor, ...]] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x [T, B, I] and parts [L, B, P, H] -> outputs [T, B, H] and the new parts; no seat: P is 1.

        See `scan` for `renewed`.
        """
        layers = []
        for layer in range(len(self.cells)):
            x = self.dropout(x) if layer > 0 else x
            again = None if renewed is None else (renewed[0], tuple(part[layer] for part in renewed[1]))
            x, new = scan(self._cell(layer), x, tuple(part[layer] for part in state), start, seat, again)
            layers.append(new)
        if len(layers) == 1:
            return x, tuple(part[None] for part in layers[0])
        return x, tuple(torch.stack(part) for part in zip(*layers, strict=True))

    def _cell(self, layer: int) -> Cell:
        cell = self.cells[layer]
        assert isinstance(cell, Cell)
        return cell


class BoardCore(Core):
    """A `Core` on each of the S squares of a board: the same weights, a memory of its own.

    Parts of the state are [L, B, P, S * H].
    """

    def __init__(self, squares: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.squares = squares

    def initial_state(self, matches: int, seats: int) -> tuple[Tensor, ...]:
        """Zeros, [L, B, P, S * H] per part."""
        return tuple(part.repeat(1, 1, 1, self.squares) for part in super().initial_state(matches, seats))

    def forward(
        self,
        x: Tensor,
        state: tuple[Tensor, ...],
        start: Tensor,
        seat: Tensor | None = None,
        renewed: tuple[int, tuple[Tensor, ...]] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x [T, B, S, I] and parts [L, B, P, S * H] -> outputs [T, B, S, H] and the new parts."""
        S = self.squares

        def on_squares(rows: Tensor) -> Tensor:  # [T, B] -> [T, B * S]
            return rows[:, :, None].expand(-1, -1, S).flatten(1)

        def apart(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(part.unflatten(-1, (S, -1)).transpose(2, 3).flatten(1, 2) for part in parts)

        x, new = super().forward(
            x.flatten(1, 2),
            apart(state),
            on_squares(start),
            None if seat is None else on_squares(seat),
            None if renewed is None else (renewed[0], apart(renewed[1])),
        )
        joined = (part.unflatten(1, (-1, S)).transpose(2, 3).flatten(3) for part in new)
        return x.unflatten(1, (-1, S)), tuple(joined)


class RecurrentPolicy(nn.Module):
    """A policy with memory for games in which seats take turns. Names are sb3-contrib's where it has them.

    Args:
        observation_space: decides the encoder, see `agents.net.encoders`.
        actions: A, or the action space: Discrete, MultiDiscrete or Box, see `agents.net.distributions`.
        seats: P; every seat has its own memory.
        cell: a name in `agents.CELLS`, where `agents.net.cells.cell_class` puts one of your own.
        lstm_hidden_size: H, of whichever cell.
        n_lstm_layers: L.
        lstm_kwargs: options of the cores, see `Core`.
        shared_lstm: the critic reads the actor's core. Its gradient passes through, too, unless
            `detach_critic` (sb3-contrib always detaches).
        enable_critic_lstm: the critic has a core of its own. With neither, the critic has no memory.
        features_dim: E, outputs of the encoder.
        net_arch: widths of the layers between core and heads, for both heads or as
            {"pi": [...], "vf": [...]}.
        activation_fn: "tanh", "relu" or "silu".
        skip_connection: the heads read the features beside the core's output, which then need not carry
            what can be seen at the moment.
        previous_action: feed the seat's own previous action to the core.
        seat_input: feed the seat to the core (with one seat there is nothing to feed).
        spatial: for boards. Every square of the board that the observation shows has features, a core with a
            memory of its own and logits for the actions made on it, all with the same weights, so that a
            policy of one size of board can play on another. H and E then count per square. It needs integer
            planes Box [C, rows, cols] and Discrete actions (row * cols + col) * k + what, behind which may
            come fewer than rows * cols further ones, such as to pass.
        log_std_init: where the logarithms of the standard deviations of Box actions begin.

    Raises:
        ValueError: an argument does not fit; the message says what would.
    """

    no_action: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        actions: int | spaces.Space[Any],
        seats: int = 1,
        *,
        cell: str = "gated",
        lstm_hidden_size: int = 256,
        n_lstm_layers: int = 1,
        lstm_kwargs: Mapping[str, Any] | None = None,
        shared_lstm: bool = False,
        enable_critic_lstm: bool = True,
        detach_critic: bool = False,
        features_dim: int = 128,
        net_arch: list[int] | Mapping[str, list[int]] | None = None,
        activation_fn: str = "tanh",
        skip_connection: bool = False,
        previous_action: bool = True,
        seat_input: bool = True,
        spatial: bool = False,
        log_std_init: float = 0.0,
    ) -> None:
        super().__init__()
        settings.check_all(
            {
                "shared_lstm": shared_lstm,
                "enable_critic_lstm": enable_critic_lstm,
                "detach_critic": detach_critic,
                "skip_connection": skip_connection,
                "previous_action": previous_action,
                "seat_input": seat_input,
                "spatial": spatial,
            }
        )
        log_std_init = settings.check("log_std_init", log_std_init)
        if shared_lstm and enable_critic_lstm:
            raise ValueError("choose one of shared_lstm and enable_critic_lstm: the critic has one core")
        activation = _activation(activation_fn)
        self.family = Categorical(actions) if isinstance(actions, int) else make_family(actions)
        self.seats = seats
        self.shared_lstm, self.detach_critic = shared_lstm, detach_critic
        self.skip_connection = skip_connection
        self.feeds_seat, self.feeds_previous = seat_input and seats > 1, previous_action
        board = self._board(observation_space) if spatial else None
        E = settings.check("features_dim", features_dim)
        H = settings.check("lstm_hidden_size", lstm_hidden_size)

        # The order of what follows is that of the random draws and of the names in files.
        self._make_encoders(observation_space, board, E)
        self.register_buffer("no_action", self.family.no_action(), persistent=False)
        deviations = torch.full((self.family.outputs,), log_std_init)
        self.log_std = nn.Parameter(deviations) if isinstance(self.family, Gaussian) else None
        self.activation = activation()
        make_core = Core if board is None else functools.partial(BoardCore, board.squares)
        core = functools.partial(make_core, cell, E, H, n_lstm_layers, lstm_kwargs or {})
        self.core, self.critic_core = core(), core() if enable_critic_lstm else None
        self.critic = None if shared_lstm or enable_critic_lstm else nn.Linear(E, H)
        self._make_heads(board, H + E if skip_connection else H, H, net_arch, activation)

    def _board(self, observation_space: spaces.Space[Any]) -> Board:
        """Where the actions lie on what is observed, or ValueError."""
        actions = self.family.actions if isinstance(self.family, Categorical) else 0
        return board_of(observation_space, actions)

    def _make_encoders(self, observation_space: spaces.Space[Any], board: Board | None, E: int) -> None:
        """Of what is observed, and of what else is fed to the core."""
        self.encoder = (
            make_encoder(observation_space, E) if board is None else BoardEncoder(observation_space, E)
        )
        slots = [self.seats] if self.feeds_seat else []
        slots += [n + 1 for n in self.family.codes] if self.feeds_previous else []
        self.context: nn.Module | None = None
        if slots and board is None:
            self.context = SlotEncoder(slots, E)
        elif slots and board is not None:
            self.context = BoardContext(board, self.seats if self.feeds_seat else 0, self.feeds_previous, E)
        self.previous_numbers = (
            LinearEncoder(self.family.outputs, len(self.family.shape), E)
            if isinstance(self.family, Gaussian) and self.feeds_previous
            else None
        )

    def _make_heads(
        self, board: Board | None, inputs: int, H: int, net_arch: Any, activation: type[nn.Module]
    ) -> None:
        """Of the actions and of the value, on `inputs` numbers."""
        pi, vf = _widths(net_arch)
        self.action_head: nn.Module
        self.value_head: nn.Module
        if board is None:
            self.action_head = make_head([inputs, *pi, self.family.outputs], activation, gain=0.01)
            self.value_head = make_head([inputs, *vf, 1], activation, gain=1.0)
        else:
            self.action_head = BoardActionHead(board, inputs, H, pi, activation)
            self.value_head = BoardValueHead(inputs, vf, activation)

    def initial_memory(self, matches: int) -> Memory:
        """The memory of seats that have seen nothing."""
        cores = self.core.initial_state(matches, self.seats)
        if self.critic_core is not None:
            cores += self.critic_core.initial_state(matches, self.seats)
        return Memory(cores, self.no_action.repeat(matches, self.seats, *[1] * self.no_action.dim()))

    def forward(
        self,
        observation: Tensor,
        seat: Tensor,
        previous: Tensor,
        start: Tensor,
        cores: tuple[Tensor, ...],
        renewed: tuple[int, tuple[Tensor, ...]] | None = None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Run along time.

        Args:
            observation: [T, B, ...] of the seat that decides.
            seat: int64 [T, B].
            previous: [T, B, *], the seat's own previous action, `no_action` = none.
            start: bool [T, B], the first decision of a match.
            cores: `Memory.cores` before the first step.
            renewed: a step above 0 and the cores from there on, see `scan`.

        Returns:
            what the family's `normalise` takes [T, B, D], for Discrete unmasked logits; values [T, B];
            cores after the last step.
        """
        features = self.features(observation, seat, previous)
        parts = self.core.parts
        actor_again = critic_again = None
        if renewed is not None:
            k, later = renewed
            actor_again, critic_again = (k, later[:parts]), (k, later[parts:])
        latent, actor_state = self.core(features, cores[:parts], start, seat, actor_again)
        critic_state: tuple[Tensor, ...] = ()
        if self.critic_core is not None:
            critic_latent, critic_state = self.critic_core(features, cores[parts:], start, seat, critic_again)
        elif self.critic is not None:
            critic_latent = self.activation(self.critic(features))
        else:
            critic_latent = latent.detach() if self.detach_critic else latent
        if self.skip_connection:
            latent, critic_latent = (torch.cat([x, features], -1) for x in (latent, critic_latent))
        outputs, value = self._say(latent, critic_latent)
        if self.log_std is not None:
            outputs = torch.cat([outputs, self.log_std.expand_as(outputs)], -1)
        return outputs, value, actor_state + critic_state

    def _say(self, latent: Tensor, critic_latent: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads make of the cores' outputs [..., *]: the family's numbers [..., D], values [...]."""
        both = None
        if critic_latent is latent:
            both = heads.run((self.action_head, self.value_head), latent)
        else:
            apart = [
                heads.run((head,), x)
                for head, x in ((self.action_head, latent), (self.value_head, critic_latent))
            ]
            if apart[0] is not None and apart[1] is not None:
                both = apart[0] + apart[1]
        outputs, value = both or (self.action_head(latent), self.value_head(critic_latent))
        return outputs, value.squeeze(-1)

    def features(self, observation: Tensor, seat: Tensor, previous: Tensor) -> Tensor:
        """What the core is fed: observation [..., *], seat [...] and previous action [..., *].

        Returns:
            [..., E], of a spatial policy [..., S, E].
        """
        if type(self.encoder) is SlotEncoder and type(self.context) is SlotEncoder:
            codes, tables = self.codes_of(observation, seat, previous), self.tables()
            if slots.can_run(codes, *tables):
                squashes = type(self.activation) is nn.Tanh
                summed = slots.run(codes, squashes, *tables).view(*seat.shape, -1)
                return summed if squashes else self.activation(summed)
        features = self.encoder(observation)
        if self.context is not None:
            told = [seat[..., None]] if self.feeds_seat else []
            if self.feeds_previous and self.family.codes:
                told.append(previous.reshape(*seat.shape, -1))
            features = features + self.context(torch.cat(told, -1))
        if self.previous_numbers is not None:
            features = features + self.previous_numbers(previous)
        activated: Tensor = self.activation(features)
        return activated

    def codes_of(self, observation: Tensor, seat: Tensor, previous: Tensor) -> slots.Slots:
        """What `features` reads where both encoders are of slots; same arguments."""
        N, feeds_codes = seat.numel(), self.feeds_previous and bool(self.family.codes)
        codes = previous.reshape(N, len(self.family.codes)) if feeds_codes else previous.new_empty(N, 0)
        starts = (encoder.starts for encoder in self._slot_encoders())
        seen = observation.reshape(N, observation.shape[-1]), seat.reshape(N), codes
        return slots.Slots(*(x.contiguous() for x in seen), *starts)

    def tables(self) -> tuple[Tensor, Tensor]:
        """The weights of both encoders, where they are of slots."""
        seen, told = self._slot_encoders()
        return seen.weight, told.weight

    def _slot_encoders(self) -> tuple[SlotEncoder, SlotEncoder]:
        assert isinstance(self.encoder, SlotEncoder)
        assert isinstance(self.context, SlotEncoder)
        return self.encoder, self.context

    @torch.no_grad()
    def look(
        self, observation: Tensor, legal: Tensor, seat: Tensor, start: Tensor, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """What it would do in each of B matches, for solvers, pages and exporters that choose by themselves.

        The whole loop of one who does:

            probabilities, memory = policy.look(observation, legal, seat, start, memory)
            action = ...                            # int64 [B], whichever
            memory = memory.remember(seat, action)  # before the next decision

        Args:
            observation: [B, ...] of the seat that decides.
            legal: bool [B, A], at least one True a row; of MultiDiscrete one in each component.
            seat: int64 [B].
            start: bool [B], the first decision of a match: all its seats' memories are cleared first.
            memory: of the B matches.

        Returns:
            the probabilities that `act` draws from, float32 [B, A], 0 exactly where illegal; of MultiDiscrete
            those of the components, one after another. And the memory after the decision, in which the seat
            does not know its own action yet: `Memory.remember` tells it.

        Raises:
            ValueError: the actions are a Box, where numbers have a density and no probability; `weigh`
                returns its parameters.
        """
        if isinstance(self.family, Gaussian):
            raise ValueError(
                f"look tells probabilities, which Discrete and MultiDiscrete actions have, got Box "
                f"{list(self.family.shape)}; weigh tells means and log standard deviations"
            )
        distribution, _, memory = self.weigh(observation, legal, seat, start, memory)
        return distribution.exp(), memory

    @torch.no_grad()
    def weigh(
        self, observation: Tensor, legal: Tensor, seat: Tensor, start: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor, Memory]:
        """What `act` and `look` decide from, of every family; same arguments as `look`.

        Returns:
            distributions [B, D], values [B], and the memory after it as `look` returns it.
        """
        known, previous = self.recall(memory, seat, start)
        memory = memory._replace(previous=known)
        outputs, value, memory = self._ask(observation, seat, previous, start, memory)
        return self.family.normalise(outputs, legal), value, memory

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        legal: Tensor,
        seat: Tensor,
        start: Tensor,
        memory: Memory,
        generator: torch.Generator | None = None,
        deterministic: bool = False,
    ) -> tuple[Decision, Memory]:
        """One decision in each of B matches, and the memory after it; see `look` for the first arguments.

        Args:
            observation: [B, ...].
            legal: bool [B, A].
            seat: int64 [B].
            start: bool [B].
            memory: of the B matches.
            generator: torch's default if None.
            deterministic: take the most probable action instead of drawing one.
        """
        family = self.family
        known, previous = self.recall(memory, seat, start)
        memory = memory._replace(previous=known)
        outputs, value, memory = self._ask(observation, seat, previous, start, memory)
        distribution, action, log_prob = family.choose(outputs, legal, generator, deterministic)
        decision = Decision(action, log_prob, value, distribution, previous)
        return decision, memory.remember(seat, action)

    def _ask(
        self, observation: Tensor, seat: Tensor, previous: Tensor, start: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor, Memory]:
        """What the family's `normalise` takes [B, D], values [B], and the memory after it."""
        outputs, value, cores = self(observation[None], seat[None], previous[None], start[None], memory.cores)
        return outputs[0], value[0], memory._replace(cores=cores)

    def recall(self, memory: Memory, seat: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Previous actions of all seats [B, P, *] and of the seats that decide [B, *]; none at a start."""
        begins = start.reshape(-1, *[1] * (memory.previous.dim() - 1))
        known = torch.where(begins, self.no_action, memory.previous)
        return known, known.gather(1, _seat_of(known, seat))[:, 0]


def _activation(name: str) -> type[nn.Module]:
    """The activation of this name, or ValueError."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation_fn {name!r}; known are {names.known(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _widths(net_arch: Any) -> tuple[list[int], list[int]]:
    """The widths of the layers before the action head and before the value head."""
    parts = net_arch if isinstance(net_arch, Mapping) else {"pi": net_arch, "vf": net_arch}
    if set(parts) - {"pi", "vf"}:
        raise ValueError(f"net_arch has the parts 'pi' and 'vf', got {sorted(parts, key=str)}")
    widths = []
    for part in ("pi", "vf"):
        given = parts.get(part)
        if given is not None and not isinstance(given, (list, tuple)):
            raise ValueError(
                f"net_arch must be a list of widths, or one for each of pi and vf, got {given!r:.80}"
            )
        widths.append([settings.check("net_arch", width) for width in given or []])
    return widths[0], widths[1]


def _seat_of(previous: Tensor, seat: Tensor) -> Tensor:
    """Index [B, 1, *] of the rows `seat` [B] in `previous` [B, P, *]."""
    return seat.reshape(-1, *[1] * (previous.dim() - 1)).expand(-1, 1, *previous.shape[2:])
