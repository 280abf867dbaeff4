"""What a memory does: gradients, recall and time constants by lag.

A lag counts the *own* decisions of a seat within its match: lag k of a decision at t is the seat's k-th
decision before it, whoever decided in between. Of each match (row) one decision is the target; a lag that it
does not have,
because its match or the record began later, is absent: it is counted, and never a zero.

Nothing here draws a random number or changes the policy that is asked.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from agents.net.cells import Cell, CellState, FeedForward
from agents.net.policy import Core, RecurrentPolicy
from agents.net.replay import Told

Losses = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Of what a policy says at the targets, outputs [R, D] and values [R]: losses [R] by name."""

SATURATED: Final = 0.05
"""A gate this close to 0 is closed, this close to 1 open (Karpathy, Johnson & Fei-Fei 2015 took 0.1)."""

LEAST_SHARE: Final = 0.1
"""A half-life is read from the lags that at least this share of the targets has."""


# ---------------------------------------------------------------- lags


def lags_of(seat: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """Which lag of its row's target each decision is.

    Args:
        seat: int64 [T, R], who decided.
        start: bool [T, R], the first decision of a match.
        target: int64 [R], the step of the target.

    Returns:
        int64 [T, R]: 0 at the target, k at the seat's k-th decision before it in the same match, -1
        elsewhere.
    """
    T, R = seat.shape
    rows, step = torch.arange(R, device=seat.device), torch.arange(T, device=seat.device)[:, None]
    match = start.cumsum(0)
    is_own = (seat == seat[target, rows]) & (match == match[target, rows]) & (step <= target)
    return torch.where(is_own, is_own.flip(0).cumsum(0).flip(0) - 1, -1)


def sorted_by_lag(x: Tensor, lag: Tensor) -> Tensor:
    """Numbers [T, R] of decisions as [T, R] by lag (from `lags_of`); NaN where a row has no such lag."""
    found = torch.full_like(x, torch.nan)
    step, row = torch.nonzero(lag >= 0, as_tuple=True)
    found[lag[step, row], row] = x[step, row]
    return found


@dataclasses.dataclass(frozen=True)
class ByLag:
    """Numbers of one target a row, by lag."""

    values: Tensor  # [K, R], NaN where the row's target has no such lag

    @property
    def pairs(self) -> Tensor:
        """How many targets have the lag, int64 [K]."""
        return (~self.values.isnan()).sum(1)

    @property
    def absent(self) -> Tensor:
        """How many have it not, int64 [K]."""
        return self.values.shape[1] - self.pairs

    def quantile(self, share: float) -> Tensor:
        """[K], NaN where nobody has the lag."""
        return torch.nanquantile(self.values, share, dim=1)

    @property
    def median(self) -> Tensor:
        """[K]."""
        return self.quantile(0.5)

    @property
    def mean(self) -> Tensor:
        """[K]."""
        return torch.nanmean(self.values, dim=1)

    @property
    def half_life(self) -> HalfLife | None:
        """Of the medians; None where they say nothing."""
        is_known = self.pairs >= max(1.0, LEAST_SHARE * self.values.shape[1])
        known = int(is_known.to(torch.int64).cumprod(0).sum())
        return half_life(self.median[:known].tolist())


class HalfLife(NamedTuple):
    """So many own decisions after lag 1 a curve has fallen to half of what it is there."""

    lags: float
    is_reached: bool
    """It falls so far; else `lags` is how far it was followed."""

    def __str__(self) -> str:
        return f"{'' if self.is_reached else '>= '}{self.lags:.1f}"


def half_life(curve: Sequence[float]) -> HalfLife | None:
    """The half-life of a curve by lag 0, 1, ..., which counts from lag 1 on: lag 0 is no memory yet.

    Between two lags the curve's logarithm is a straight line, so that of a^k it is log 2 / log(1 / a). None:
    it has not two such lags, or is 0 at lag 1.
    """
    if len(curve) < 3 or not curve[1] > 0.0:
        return None
    half = curve[1] / 2
    for k in range(2, len(curve)):
        if curve[k] <= half:
            fall = math.inf if curve[k] == 0.0 else math.log(curve[k - 1] / curve[k])
            return HalfLife(k - 2 + math.log(curve[k - 1] / half) / fall, True)
    return HalfLife(float(len(curve) - 2), False)


# ---------------------------------------------------------------- a network that is watched


class Watched(Cell):
    """Computes what `cell` computes, keeps what its steps read, and takes a zero `probe` beside.

        s' = cell(z, s) + probe        for all parts of the state

    The derivative of a loss by the probe of a step is that by the state which the step made, whoever reads
        it: the next step and the layer above. It has a step alone, so that `scan` runs it by its reference.
    """

    def __init__(self, cell: Cell) -> None:
        nn.Module.__init__(self)
        self.cell, self.parts = cell, cell.parts  # type: ignore[misc]  # of this one
        self.input_size, self.hidden_size = cell.input_size, cell.hidden_size
        self.probe: Tensor
        """[T, N, n H] of N rows and n parts, since it was run along time."""
        self.read: list[tuple[Tensor, CellState]] = []
        """What each step read, z [N, G] and the parts [N, H]."""

    def project(self, x: Tensor) -> Tensor:
        """The cell's z [T, N, G] with the probe behind it."""
        z = self.cell.project(x)
        self.read = []
        self.probe = z.new_zeros(*z.shape[:2], len(self.parts) * self.hidden_size).requires_grad_()
        return torch.cat([z, self.probe], -1)

    def step(self, z: Tensor, state: CellState, /) -> CellState:
        size = len(self.parts) * self.hidden_size
        z, probe = z[:, :-size], z[:, -size:]
        self.read.append((z.detach(), tuple(part.detach() for part in state)))
        new = self.cell.step(z, state)
        return tuple(part + p for part, p in zip(new, probe.split(self.hidden_size, -1), strict=True))

    def all_read(self) -> tuple[Tensor, CellState]:
        """z [T, N, G] and the parts [T, N, H] before each step."""
        z, states = zip(*self.read, strict=True)
        return torch.stack(z), tuple(torch.stack(part) for part in zip(*states, strict=True))


def has_memory(policy: RecurrentPolicy) -> bool:
    """One of its cells can remember."""
    return any(not isinstance(cell, FeedForward) for cell in layers_of(policy).values())


def layers_of(policy: RecurrentPolicy) -> dict[str, Cell]:
    """Its cells by name: layer1, layer2, ... of the core, critic_layer1, ... of the critic's own."""
    found = {}
    for prefix, core in (("", policy.core), ("critic_", policy.critic_core)):
        for number, cell in enumerate(() if core is None else core.cells, 1):
            assert isinstance(cell, Cell)
            found[f"{prefix}layer{number}"] = cell
    return found


def watched(policy: RecurrentPolicy) -> RecurrentPolicy:
    """A copy that learns nothing and drops nothing out, whose cells are `Watched`."""
    policy = copy.deepcopy(policy).eval().requires_grad_(False)
    for core in (policy.core, policy.critic_core):
        if isinstance(core, Core):
            core.cells = nn.ModuleList(Watched(cell) for cell in core.cells if isinstance(cell, Cell))
    return policy


# ---------------------------------------------------------------- what is measured


@dataclasses.dataclass(frozen=True)
class Gates:
    """How far the gates of a layer are open, over all decisions."""

    mean: dict[str, float]
    closed: dict[str, float]  # share within SATURATED of 0
    open: dict[str, float]  # share within SATURATED of 1
    all: dict[str, Tensor]  # [T * N, H]
    time_constant: Tensor | None
    """[H], of each unit, in own decisions; None: the cell names no gate that keeps."""


@dataclasses.dataclass(frozen=True)
class LayerMemory:
    """What the memory of one layer does."""

    hidden_norm: float
    gates: Gates
    gradient: dict[str, ByLag]
    """|dL_t / ds_{t-k}| of the losses that depend on it, by name."""
    singular: dict[int, Tensor]
    """The largest singular value of ds_t / ds_{t-k} by lag k, float64 [R']."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What the memory of a policy does in a record of play."""

    layers: dict[str, LayerMemory]
    recall: ByLag
    """KL of the policy now from what it would be had the observation k decisions back been another match's,
    of the asked lags alone; the others are NaN."""
    pairs: Tensor  # int64 [T], targets that have the lag
    absent: Tensor  # int64 [T], those that do not


def diagnose(
    policy: RecurrentPolicy,
    told: Told,
    legal: Tensor,
    target: Tensor,
    losses: Losses,
    recall_lags: Sequence[int],
    singular_lags: Sequence[int],
    singular_rows: int,
) -> Diagnosis:
    """What the memory of `policy` does.

    Args:
        told: T decisions in each of R matches, with the memory before them.
        legal: bool [T, R, M].
        target: int64 [R], the step of each row's target.
        losses: what is differentiated at the targets.
        recall_lags: those at which an observation is replaced.
        singular_lags: those of which singular values are found, of the `singular_rows` rows that remember
            longest: a Jacobian is large.

    Raises:
        ValueError: there is no row.
    """
    if len(target) == 0:
        raise ValueError("expected one decision at least to look back from, got none")
    lag = lags_of(told.seat, told.start, target)
    copied = watched(policy)
    found = gradients(copied, told, lag, losses)
    layers = {}
    for name, cell in layers_of(copied).items():
        assert isinstance(cell, Watched)
        z, state = cell.all_read()
        layers[name] = LayerMemory(
            float(state[0].norm(dim=-1).mean()),
            gates_of(cell.cell, z, state),
            {loss: by_layer[name] for loss, by_layer in found.items() if name in by_layer},
            spectrum(cell.cell, z, state, lag, singular_lags, singular_rows),
        )
    recalled = recall(policy, told, legal, lag, recall_lags)
    pairs = ByLag(sorted_by_lag(torch.zeros(lag.shape, device=lag.device), lag))
    return Diagnosis(layers, recalled, pairs.pairs, pairs.absent)


def gradients(
    policy: RecurrentPolicy, told: Told, lag: Tensor, losses: Losses
) -> dict[str, dict[str, ByLag]]:
    """|dL_t / ds_{t-k}| by loss and by layer, exactly: one pass forward, one back for each loss.

    A row's loss reaches no other row, so the sum over rows has the derivatives of all of them. Of a spatial
    policy a state is that of all squares.

    Args:
        policy: `watched`.
        told: of R rows.
        lag: int64 [T, R], from `lags_of`.

    Returns:
        nothing for a layer that the loss does not depend on.
    """
    T, R = lag.shape
    target, rows = (lag == 0).int().argmax(0), torch.arange(R, device=lag.device)
    with torch.enable_grad():
        outputs, value, _ = policy(*told)
        asked = losses(outputs[target, rows], value[target, rows])
    layers, found = layers_of(policy), dict[str, dict[str, ByLag]]()
    probes = [cell.probe for cell in layers.values() if isinstance(cell, Watched)]
    for loss, each in asked.items():
        derivatives: Sequence[Tensor | None] = [None] * len(probes)
        if each.requires_grad:
            derivatives = torch.autograd.grad(each.sum(), probes, retain_graph=True, allow_unused=True)
        found[loss] = {
            name: ByLag(sorted_by_lag(by.reshape(T, R, -1).norm(dim=-1), lag))
            for name, by in zip(layers, derivatives, strict=True)
            if by is not None
        }
    return found


@torch.no_grad()
def recall(policy: RecurrentPolicy, told: Told, legal: Tensor, lag: Tensor, lags: Sequence[int]) -> ByLag:
    """KL of the policy at the targets from what it would be, had one observation been another match's.

    What is seen at lag k is exchanged among the matches whose target is of the same seat and has that lag,
    too; all else stays as it was played. Lag 0 is what is seen now.

    Args:
        told: of R rows.
        legal: bool [T, R, M].
        lag: int64 [T, R], from `lags_of`.
        lags: those to replace; from T on there are none.

    Returns:
        [T, R], in nats; NaN at other lags and where no second match has the lag.
    """
    T, R = lag.shape
    policy = copy.deepcopy(policy).eval()
    target, rows = (lag == 0).int().argmax(0), torch.arange(R, device=lag.device)

    def asked(observation: Tensor) -> Tensor:
        outputs, _, _ = policy(*told._replace(observation=observation))
        return policy.family.normalise(outputs[target, rows], legal[target, rows])

    played, found = asked(told.observation), torch.full((T, R), torch.nan, device=lag.device)
    for k in (k for k in lags if k < T):
        step, other = (lag == k).int().argmax(0), partners(lag == k, told.seat)
        here = torch.nonzero(other >= 0)[:, 0]
        if len(here) > 0:
            seen, there = told.observation.clone(), other[here]
            seen[step[here], here] = told.observation[step[there], there]
            found[k, here] = policy.family.kl_divergence(played, asked(seen))[here].clamp(min=0.0).float()
    return ByLag(found)


def partners(has_lag: Tensor, seat: Tensor) -> Tensor:
    """With whom a row exchanges what is seen.

    Args:
        has_lag: bool [T, R], the decision of the row at one lag, at most one a row.
        seat: int64 [T, R].

    Returns:
        int64 [R], another row with the lag and the same seat; -1 = none.
    """
    other = torch.full((seat.shape[1],), -1, device=seat.device)
    for p in seat.unique().tolist():
        rows = torch.nonzero((has_lag & (seat == p)).any(0))[:, 0]
        if len(rows) > 1:
            other[rows] = rows.roll(1)
    return other


@torch.no_grad()
def gates_of(cell: Cell, z: Tensor, state: CellState) -> Gates:
    """How far the gates are open that a cell declares, and how long its units keep what they have.

    The time constant of a unit is -1 / log(mean f), f its gate that keeps (`Cell.keeps`): kept by f again and
    again, something has fallen to 1 / e after so many own decisions.

    Args:
        z: [T, N, G], read by the steps.
        state: parts [T, N, H], read by the steps.
    """
    if not cell.gates:
        return Gates({}, {}, {}, {}, None)
    opened = cell.open_gates(z.flatten(0, 1), tuple(part.flatten(0, 1) for part in state))
    named = dict(zip(cell.gates, opened, strict=True))
    time_constant = None
    if cell.keeps is not None:
        f = named[cell.keeps].mean(0)
        f = f.clamp(max=1.0 - torch.finfo(f.dtype).eps)  # it rounds to 1 where it only comes close
        time_constant = -1.0 / f.log()
    return Gates(
        {name: float(gate.mean()) for name, gate in named.items()},
        {name: float((gate < SATURATED).float().mean()) for name, gate in named.items()},
        {name: float((gate > 1.0 - SATURATED).float().mean()) for name, gate in named.items()},
        named,
        time_constant,
    )


def spectrum(
    cell: Cell,
    z: Tensor,
    state: CellState,
    lag: Tensor,
    lags: Sequence[int],
    most: int,
) -> dict[int, Tensor]:
    """The largest singular value of ds_t / ds_{t-k}, exactly: of the step's Jacobian, and of their products.

    The inputs are those that were played, so the products are of the layer alone. Of k = 1 it is the step's
    own.

    Args:
        z: [T, R * S, G], read by the steps; S squares of a spatial policy, of which one a row is taken, else
            1.
        state: parts [T, R * S, H], read by the steps.
        lag: int64 [T, R], from `lags_of`.
        lags: the k.
        most: rows, those with the longest memories.

    Returns:
        float64 [R'] by k, of the rows that have the lag.
    """
    cell, R = copy.deepcopy(cell).double(), lag.shape[1]
    length, rows = lag.max(0).values.sort(descending=True, stable=True)
    length, rows = length[:most], rows[:most]
    squares = z.shape[1] // R
    at = rows * squares + torch.arange(len(rows), device=rows.device) % squares
    found: dict[int, Tensor] = {}
    product: Tensor | None = None
    for j in range(min(max(lags), int(length.max()))):
        step = (lag[:, rows] == j).int().argmax(0)
        jacobian = jacobians(cell, z[step, at], tuple(part[step, at] for part in state))
        product = jacobian if product is None else product @ jacobian
        if j + 1 in lags:
            found[j + 1] = torch.linalg.matrix_norm(product[length > j], ord=2)
    return found


def jacobians(cell: Cell, z: Tensor, state: CellState) -> Tensor:
    """ds' / ds of one step of each row, s all parts of the state one behind another.

    Args:
        cell: in float64.
        z: [N, G].
        state: parts [N, H].

    Returns:
        float64 [N, n H, n H] of n parts.
    """
    old = torch.cat(state, -1).double()
    N, size = old.shape
    with torch.enable_grad():
        # A copy of a row for each entry of s': row by row the derivatives of one entry.
        copies = old.repeat_interleave(size, 0).requires_grad_()
        new = torch.cat(
            cell.step(z.double().repeat_interleave(size, 0), copies.split(cell.hidden_size, -1)), -1
        )
        entries = new.view(N, size, size).diagonal(dim1=1, dim2=2).sum()
        if not entries.requires_grad:  # no memory
            return old.new_zeros(N, size, size)
        (found,) = torch.autograd.grad(entries, copies, allow_unused=True)
    return old.new_zeros(N, size, size) if found is None else found.view(N, size, size)
