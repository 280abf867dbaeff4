"""The scan on CPU cores as two compiled kernels, forward and back, products and weight gradients included.

Five ideas make it a faster copy of `agents.net.scan.reference`:
- A block of matches goes through all of time at once, so that its pre-activations stay in the core's cache:
  input product, recurrent product and gates of a step follow each other, and so do all of its derivatives.
- A table of each seat's latest row walks along, so a step reads where that row lies and nothing is gathered;
  at a start it points to zeros. Which rows were read is kept for the way back.
- Products are tiles in registers, on weights that were packed for them (`agents.net.kernels.vector`).
- Weights stay packed until they change, so play, one step at a time, uses the same code. A row's numbers
  come from that row alone, whatever stands beside it, before or after it: play and replay agree bit for bit.
- Threads take slices of the matches, handed over once a pass. Gradients of the weights are added slice by
  slice, and the slices depend on the number of matches alone: so the number of threads changes no bit.

It takes cells that name their gates (`Cell.fused`), in float32. Sizes that fill no tile are padded.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import torch
from numba import types
from numba.core import config
from torch import Tensor, nn

from agents.net.cells import Cell, CellState
from agents.net.kernels import Kernel
from agents.net.kernels.vector import (
    COLUMNS,
    GATES,
    ROWS,
    activate,
    clear,
    copy,
    differ,
    differentiate,
    fetch,
    instruction_set,
    outer,
    product,
    product_add,
    sum_rows,
)
from envs.compiled import compiled
from envs.core import Array
from envs.threads import at_once

BLOCK: Final = 32
"""Matches that go through time together, a multiple of ROWS; 16 to 128 took the same time."""

GAP: Final = 16
"""Numbers between the rows of scratch memory: rows 2^k bytes apart would share a few lines of the cache."""

FLOAT: Final = 4
"""Bytes of a number."""

AHEAD: Final = 2
"""Matches before its turn a row of an earlier step is fetched on the way back: with several seats such rows
lie here and there, which no processor foresees."""

SLICES: Final = 16
"""The most slices whose weight gradients are kept apart, and so the most threads of a backward pass."""

SPARE: Final = 8
"""Pieces of memory that wait for the next pass, two for each core and layer of most policies."""

LARGE: Final = 2**18
"""Numbers of memory that are worth keeping; pieces of less than a megabyte the allocator keeps itself."""

WORK: Final = 5_000_000
"""Multiplications for which a thread is worth waking: they take about as long as that, 50 us."""

ZEROS: Final = -1
"""In the table of latest rows: no row. From 0 on it is the row t B + b, below ZEROS an initial memory."""


class Sizes(NamedTuple):
    """What both kernels are told. Sizes in numbers, H and those made of it multiples of COLUMNS."""

    kind: int  # `Gates.number`
    parts: int  # of the state
    T: int
    B: int
    P: int
    I: int  # noqa: E741  the dimension key's letter
    H: int
    G: int  # pre-activations of a row
    R: int  # rows of U
    S: int  # numbers that a row saves
    keeps: int  # somebody comes back for them; back: somebody told derivatives by the last memories
    u_block: int  # between the blocks of u, 0 = one serves all
    own_du: int  # du is not dz
    block: int  # matches that go through time together
    needs_dx: int
    renewed: int  # the step whose memories are the second ones of h0 and c0, 0 = none


class Places(NamedTuple):
    """Addresses. W and U are panels, forward of their transposes."""

    x: int  # [T, B, I]
    W: int  # [I, G]; back [G, I]
    U: int  # [H, R]; back [R, H]
    b: int  # [G]; back zeros
    d: int  # [R], beside u; back unused
    zeros: int  # a row of any length
    h0: int  # [B, P, H], or two of them one after the other
    c0: int
    h: int  # [T, B, H]
    c: int
    saved: int  # [T, B, S]
    last_h: int  # [B, P, H]; back d_outputs [T, B, H]
    last_c: int
    dh: int  # [B, P, H] of the last memories, that become those of the first
    dc: int
    dx: int  # [T, B, I]


def _lies(row: int, steps: int, initial: int, zeros: int, H: int) -> int:
    """Where the row of the table of latest rows lies."""
    if row >= 0:
        return steps + row * H * FLOAT
    if row == ZEROS:
        return zeros
    return initial + (ZEROS - 1 - row) * H * FLOAT


def _multiply(rows: int, panels: int, depth: int, bias: int, tiles: int, blocks: int, out: int) -> None:
    """out = bias + rows x panels, all of its tiles."""
    for j in range(blocks):
        for k in range(tiles):
            table = k * ROWS * 8
            product(rows + table, panels + j * depth * COLUMNS * FLOAT, depth, bias, out + table, j * COLUMNS)


def _multiply_add(rows: int, panels: int, depth: int, tiles: int, blocks: int, out: int) -> None:
    """out += rows x panels."""
    for j in range(blocks):
        for k in range(tiles):
            table = k * ROWS * 8
            product_add(rows + table, panels + j * depth * COLUMNS * FLOAT, depth, out + table, j * COLUMNS)


def _outer_all(left: int, height: int, right: int, width: int, count: int, out: int) -> None:
    """out [height, width] += the sum of `count` outer products."""
    for k in range(0, height, ROWS):
        for j in range(0, width, COLUMNS):
            outer(left, k, right, j, count, out, width)


_inline: Any = functools.partial(compiled, nogil=True)
lies, multiply = _inline(_lies), _inline(_multiply)
multiply_add, outer_all = _inline(_multiply_add), _inline(_outer_all)


def scratch_forward(s: Sizes) -> int:
    """Numbers of scratch memory that `_forward` needs: z, u and what nobody wants saved."""
    return s.block * (s.G + GAP + s.R + GAP) + s.S


def _forward(
    first: int, last: int, s: Sizes, at: Places, start: Any, seat: Any, read: Any, scratch: int
) -> bool:
    """The matches first..last-1 forward; False if a seat is none."""
    z_row, u_row = (s.G + GAP) * FLOAT, (s.R + GAP) * FLOAT
    latest = np.empty((s.block, s.P), np.int64)
    table = np.empty((5, s.block), np.int64)
    xs, hs, cs, zs, us = table[0], table[1], table[2], table[3], table[4]
    for m in range(s.block):
        zs[m] = scratch + m * z_row
        us[m] = scratch + s.block * z_row + m * u_row
    unwanted = scratch + s.block * (z_row + u_row)
    for begin in range(first, last, s.block):
        n = min(s.block, last - begin)
        tiles = (n + ROWS - 1) // ROWS
        for m in range(n):
            for p in range(s.P):
                latest[m, p] = ZEROS - 1 - ((begin + m) * s.P + p)
        for m in range(n, tiles * ROWS):
            xs[m] = at.zeros
            hs[m] = at.zeros
        for t in range(s.T):
            for m in range(n):
                b = begin + m
                p = seat[t, b]
                if p < 0 or p >= s.P:
                    return False
                if t == s.renewed and t > 0:
                    for q in range(s.P):
                        latest[m, q] = ZEROS - 1 - ((s.B + b) * s.P + q)
                if start[t, b]:
                    for q in range(s.P):
                        latest[m, q] = ZEROS
                row = latest[m, p]
                read[t, b] = row
                latest[m, p] = t * s.B + b
                xs[m] = at.x + (t * s.B + b) * s.I * FLOAT
                hs[m] = lies(row, at.h, at.h0, at.zeros, s.H)
                cs[m] = lies(row, at.c, at.c0, at.zeros, s.H)
            multiply(xs.ctypes.data, at.W, s.I, at.b, tiles, s.G // COLUMNS, zs.ctypes.data)
            multiply(hs.ctypes.data, at.U, s.H, at.d, tiles, s.R // COLUMNS, us.ctypes.data)
            for m in range(n):
                k = t * s.B + begin + m
                h, c = at.h + k * s.H * FLOAT, at.c + k * s.H * FLOAT
                saved = at.saved + k * s.S * FLOAT if s.keeps else unwanted
                activate(s.kind, zs[m], us[m], s.u_block, hs[m], cs[m], h, c, saved, s.H)
        for m in range(n):
            for p in range(s.P):
                to = ((begin + m) * s.P + p) * s.H * FLOAT
                copy(lies(latest[m, p], at.h, at.h0, at.zeros, s.H), at.last_h + to, s.H)
                if s.parts == 2:
                    copy(lies(latest[m, p], at.c, at.c0, at.zeros, s.H), at.last_c + to, s.H)
    return True


def scratch_backward(s: Sizes) -> int:
    """Numbers of scratch memory that `_backward` needs: dz and du of a block, a row of zeros for both, and a
    row for what no match owns."""
    return (BLOCK + 1) * (s.G + GAP + s.R + GAP) + max(s.H, s.I)


def sums_backward(s: Sizes) -> int:
    """Numbers of the weights' gradients: dW [G, I], dU [R, H], db [G], dd [R], one after another."""
    return s.G * s.I + s.R * s.H + s.G + s.R


def _sum_up(s: Sizes, dzs: int, by_u: int, xs: int, hs: int, count: int, sums: int) -> None:
    """Add what `count` rows of dz and du, x and h make to the weights' gradients."""
    dU = sums + s.G * s.I * FLOAT
    db = dU + s.R * s.H * FLOAT
    outer_all(dzs, s.G, xs, s.I, count, sums)
    outer_all(by_u, s.R, hs, s.H, count, dU)
    sum_rows(dzs, count, db, s.G)
    if s.own_du:
        sum_rows(by_u, count, db + s.G * FLOAT, s.R)


def _forget(s: Sizes, at: Places, first: int, count: int) -> None:
    """No derivatives reach what `count` matches remembered."""
    to = first * s.P * s.H * FLOAT
    clear(at.dh + to, count * s.P * s.H)
    if s.parts == 2:
        clear(at.dc + to, count * s.P * s.H)


sum_up, forget = _inline(_sum_up), _inline(_forget)


def _backward(
    first: int, last: int, s: Sizes, at: Places, start: Any, seat: Any, read: Any, scratch: int, sums: int
) -> bool:
    """The matches first..last-1 back; `sums` are the weights' gradients of these matches.

    Of few matches several steps wait for one sum: to read and write all sums takes longer than few products.
    """
    z_row, u_row = (s.G + GAP) * FLOAT, (s.R + GAP) * FLOAT
    wide, inner = np.empty((4, BLOCK + ROWS), np.int64), np.empty((4, BLOCK), np.int64)
    xs, hs, dzs, dus = wide[0], wide[1], wide[2], wide[3]  # of all steps that wait
    dxs, dhs, cs, dcs = inner[0], inner[1], inner[2], inner[3]
    dz, du = scratch, scratch + (BLOCK + 1) * z_row
    zero_z, zero_u = dz + BLOCK * z_row, du + BLOCK * u_row
    nobody = du + (BLOCK + 1) * u_row
    clear(zero_z, s.G)
    clear(zero_u, s.R)
    by_u = dus.ctypes.data if s.own_du else dzs.ctypes.data
    clear(sums, s.G * s.I + s.R * s.H + s.G + s.R)
    for begin in range(first, last, s.block):
        n = min(s.block, last - begin)
        tiles, at_most = (n + ROWS - 1) // ROWS, BLOCK // n * n
        if not s.keeps:
            forget(s, at, begin, n)
        for m in range(n, tiles * ROWS):
            dxs[m] = nobody
            dhs[m] = nobody
        waiting = 0
        for t in range(s.T - 1, -1, -1):
            for m in range(n):
                b, w = begin + m, waiting + m
                k, mine = t * s.B + b, (b * s.P + seat[t, b]) * s.H * FLOAT
                xs[w] = at.x + k * s.I * FLOAT
                dxs[m] = at.dx + k * s.I * FLOAT
                hs[w] = lies(read[t, b], at.h, at.h0, at.zeros, s.H)
                cs[m] = lies(read[t, b], at.c, at.c0, at.zeros, s.H)
                dzs[w], dus[w] = dz + w * z_row, du + w * u_row
                dhs[m], dcs[m] = at.dh + mine, at.dc + mine
            for w in range(waiting + n, waiting + tiles * ROWS):
                dzs[w], dus[w] = zero_z, zero_u
            for m in range(n):
                k, w, ahead = t * s.B + begin + m, waiting + m, min(m + AHEAD, n - 1)
                fetch(hs[waiting + ahead], s.H)
                if s.parts == 2:
                    fetch(cs[ahead], s.H)
                differentiate(
                    s.kind, at.saved + k * s.S * FLOAT, hs[w], cs[m],
                    at.h + k * s.H * FLOAT, at.c + k * s.H * FLOAT, at.last_h + k * s.H * FLOAT,
                    dhs[m], dcs[m], dzs[w], dus[w], s.H,
                )  # fmt: skip
            here = waiting * 8
            multiply_add(by_u + here, at.U, s.R, tiles, s.H // COLUMNS, dhs.ctypes.data)
            if s.needs_dx:
                blocks = s.I // COLUMNS
                multiply(dzs.ctypes.data + here, at.W, s.G, at.b, tiles, blocks, dxs.ctypes.data)
            waiting += n
            if waiting == at_most or t == 0:
                sum_up(s, dzs.ctypes.data, by_u, xs.ctypes.data, hs.ctypes.data, waiting, sums)
                waiting = 0
            for b in range(begin, begin + n):
                if start[t, b] or (t == s.renewed and t > 0):
                    forget(s, at, b, 1)
    return True


def _add_up(sums: int, slices: int, length: int) -> None:
    """All slices' gradients into the first one's, in their order."""
    table = np.empty(slices, np.int64)
    for k in range(slices):
        table[k] = sums + k * length * FLOAT
    sum_rows(table.ctypes.data + 8, slices - 1, sums, length)


def _lay(matrix: Any, there: Any, back: Any) -> None:
    """[N, K] as `panels_of` its transpose [K, N] and as those of itself; `back` has whole panels, K or more
    columns, of which the others stay as they are."""
    N, K = matrix.shape
    for j in range(N // COLUMNS):
        for c in range(COLUMNS):
            for k in range(K):
                there[j, k, c] = matrix[j * COLUMNS + c, k]
    for n in range(N):
        for j in range(back.shape[0]):
            for c in range(min(COLUMNS, K - j * COLUMNS)):
                back[j, n, c] = matrix[n, j * COLUMNS + c]


def _changed(old: int, new: int, numbers: int) -> bool:
    """Whether any bit of two pieces of memory differs."""
    return bool(differ(old, new, numbers))


# ---------------------------------------------------------------- compiled, once a machine


forward, backward = _inline(_forward), _inline(_backward)
add_up, changed, lay = _inline(_add_up), _inline(_changed), _inline(_lay)


@functools.cache
def _is_ready(needs_gradient: bool) -> bool:
    """The kernels are compiled, or one warning says why they cannot be."""
    if vars(config)["DISABLE_JIT"]:
        return _cannot("numba compiles nothing (NUMBA_DISABLE_JIT)")
    if instruction_set() is None:
        return _cannot("this processor's vectors are unknown to it")
    try:
        _compile(backward if needs_gradient else forward, sums=needs_gradient)
    except Exception as error:  # whatever an older numba or LLVM has against it
        return _cannot(f"it does not compile: {type(error).__name__}: {str(error).strip()[:200]}")
    return True


def _compile(kernel: Any, sums: bool) -> None:
    long = types.int64
    tuples = [types.NamedUniTuple(long, len(kind._fields), kind) for kind in (Sizes, Places)]
    tables = [types.Array(dtype, 2, "C") for dtype in (types.boolean, long, long)]
    kernel.compile((long, long, *tuples, *tables, *[long] * (2 if sums else 1)))
    (add_up if sums else changed).compile((long, long, long))
    if sums:
        panels = types.Array(types.float32, 3, "C")
        lay.compile((types.Array(types.float32, 2, "C"), panels, panels))


@functools.cache
def _cannot(why: str) -> bool:
    warnings.warn(f"the fused scan cannot run here, a slower one does: {why}", RuntimeWarning, stacklevel=2)
    return False


# ---------------------------------------------------------------- weights


@dataclasses.dataclass(frozen=True)
class _Packed:
    """A cell's weights as the forward kernel reads them."""

    made_of: list[Tensor]  # a copy of what they were made of
    W: Tensor  # panels of [I, G]
    U: Tensor  # panels of [H, R]
    b: Tensor  # [G]
    d: Tensor  # [R]
    zeros: Tensor
    gates: str

    def is_of(self, weights: list[Tensor]) -> bool:
        """Bit for bit. torch's count of changes would cost as much to read, and not everything counts: its
        own Adam with `fused=True` does not, nor does what writes through `parameter.data`."""
        return all(
            old.shape == new.shape and not changed(old.data_ptr(), new.data_ptr(), old.numel())
            for old, new in zip(self.made_of, weights, strict=True)
        )


_PACKED: weakref.WeakKeyDictionary[Cell, _Packed] = weakref.WeakKeyDictionary()
"""By cell, and gone with it. Outside of it, so that copies and files of a cell know nothing of it."""


def _padded(cell: Cell) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """W, U, b and d, each block with as many units as a tile has columns, or a multiple; by operations that
    gradients flow through."""
    H = cell.hidden_size
    more = -H % COLUMNS
    bias = cell.recurrent_bias()
    if more == 0:
        return cell.W, cell.U, cell.b, bias

    def by_unit(x: Tensor) -> Tensor:
        blocks = x.view(-1, H, *x.shape[1:])
        padding = [0, 0] * (blocks.dim() - 2) + [0, more]
        return nn.functional.pad(blocks, padding).flatten(0, 1)

    U = nn.functional.pad(by_unit(cell.U), [0, more])
    return by_unit(cell.W), U, by_unit(cell.b), None if bias is None else by_unit(bias)


def panels_of(matrix: Tensor) -> Tensor:
    """[K, N] as panels [N / COLUMNS, K, COLUMNS]."""
    return matrix.reshape(len(matrix), -1, COLUMNS).transpose(0, 1).contiguous()


def _check_shapes(cell: Cell, weights: list[Tensor]) -> None:
    """W, U, b and d are as its sizes say, or ValueError."""
    G, R = (blocks * cell.hidden_size for blocks in (cell.blocks, cell.recurrent_blocks))
    expected = [(G, cell.input_size), (R, cell.hidden_size), (G,), (R,)][: len(weights)]
    if expected != (shapes := [tuple(x.shape) for x in weights]):
        raise ValueError(f"{cell} must have weights of the shapes {expected}, got {shapes}")


@torch.no_grad()
def _packed(cell: Cell) -> _Packed:
    """The cell's weights, packed anew if they changed.

    Raises:
        ValueError: they have other shapes than its sizes say.
    """
    bias = cell.recurrent_bias()
    weights = [x.contiguous() for x in (cell.W, cell.U, cell.b, *([] if bias is None else [bias]))]
    known = _PACKED.get(cell)
    if known is not None and known.is_of(weights):
        return known
    _check_shapes(cell, weights)
    W, U, b, d = _padded(cell)
    _PACKED[cell] = made = _Packed(
        [x.clone() for x in weights],
        panels_of(W.t()),
        panels_of(U.t()),
        b.clone(),
        W.new_zeros(len(U)) if d is None else d.clone(),
        W.new_zeros(max(len(W), len(U), *W.shape, *U.shape) + COLUMNS),
        cell.fused_gates or "",
    )
    return made


class Laid:
    """A cell's weights as both kernels read them, for one who knows when they change.

    Args:
        cell: of whole tiles, its weights float32 on the CPU; they stay where they are.

    Raises:
        ValueError: they have other shapes than its sizes say.
    """

    def __init__(self, cell: Cell) -> None:
        W, U, bias = cell.W.detach(), cell.U.detach(), cell.recurrent_bias()
        _check_shapes(cell, [W, U, cell.b, *([] if bias is None else [bias])])
        (G, I), (R, H) = W.shape, U.shape  # noqa: E741
        there = [torch.empty(n // COLUMNS, k, COLUMNS) for n, k in ((G, I), (R, H))]
        self.panels = W.new_zeros(-(-I // COLUMNS), G, COLUMNS), U.new_empty(H // COLUMNS, R, COLUMNS)
        """For `Back`."""
        zeros = W.new_zeros(max(G, R, I, H) + COLUMNS)
        d = W.new_zeros(R) if bias is None else bias.detach()
        self.packed = _Packed([], there[0], there[1], cell.b.detach(), d, zeros, cell.fused_gates or "")
        """For `Pass`."""
        told = zip((W, U), there, self.panels, strict=True)
        self._told = [[x.numpy() for x in matrix] for matrix in told]
        self.renew()

    def renew(self) -> None:
        """They have changed."""
        for matrix in self._told:
            lay(*matrix)


# ---------------------------------------------------------------- calls


def _empty(*shape: int) -> Tensor:
    """Memory that the kernels write; tests put guards around it."""
    return torch.empty(shape)


class _Lent:
    """Memory for `numbers` or more that nobody sees from outside, handed on when it is left.

    The system clears each page of new memory when it is first touched, which took a third of a large pass.
    """

    spare: ClassVar[collections.deque[Tensor]] = collections.deque(maxlen=SPARE)

    def __init__(self, numbers: int) -> None:
        found = self._taken(numbers) if numbers >= LARGE else None
        if found is None or found.numel() < numbers:
            del found  # before its successor comes
            found = _empty(numbers)
        self.memory = found

    @classmethod
    def _taken(cls, numbers: int) -> Tensor | None:
        """Of the pieces that wait the smallest that will do, else the largest."""

        def fitness(piece: Tensor) -> tuple[bool, int]:
            does = piece.numel() >= numbers
            return does, -piece.numel() if does else piece.numel()

        best: Tensor | None = None
        with contextlib.suppress(IndexError):  # another thread may have taken it
            for _ in range(len(cls.spare)):
                piece = cls.spare.popleft()
                if best is None or fitness(piece) > fitness(best):
                    best, piece = piece, best
                if piece is not None:
                    cls.spare.append(piece)
        return best

    def __del__(self) -> None:
        if self.memory.numel() >= LARGE:
            self.spare.append(self.memory)


def edges_of(matches: int, slices: int) -> Iterable[tuple[int, int]]:
    """The matches cut into slices, of whole tiles as far as they go."""
    edges = [matches * i // slices // ROWS * ROWS for i in range(slices)]
    return itertools.pairwise([*edges, matches])


def _threads(sizes: Sizes, most: int) -> int:
    """Threads that a pass is worth."""
    work = sizes.T * sizes.B * (sizes.I * sizes.G + sizes.H * sizes.R)
    return max(1, min(torch.get_num_threads(), most, work // WORK))


def _block(matches: int) -> int:
    """As many matches as go through time together, in whole tiles."""
    return min(BLOCK, max(1, -(-matches // ROWS)) * ROWS)


class Pass:
    """A forward pass, which may be made again and again: its memory is laid once, and written anew.

    Everything is float32, contiguous and of the right kind, and stays where it is.

    Args:
        packed: the weights.
        x: [T, B, I].
        state: parts [B, P, H], of which the second half [2 B, P, H] comes at the step that is `renewed`.
        renewed: that step, 0 = none.
        keeps: somebody goes back.
        last: where the last parts [B, P, H] go; None = to memory of its own.

    Attributes:
        outputs: [T, B, H].
        last: the last parts.
        saved: what the gates save [T, B, S], then c [T, B, H].
        read: int64 [T, B], which rows were read.
    """

    def __init__(
        self, packed: _Packed, x: Tensor, state: CellState, renewed: int, keeps: bool, last: CellState = ()
    ) -> None:
        gates = GATES[packed.gates]
        (T, B, I), (_, P, H) = x.shape, state[0].shape  # noqa: E741
        G, R, S = packed.b.shape[0], packed.d.shape[0], gates.saved * H
        self.outputs = outputs = _empty(T, B, H)
        self.last = last = last or tuple(_empty(B, P, H) for _ in state)
        kept = T * B * S if keeps else 0
        self.saved = saved = _Lent(kept + T * B * H * (gates.parts - 1))
        self.read = torch.empty(T, B, dtype=torch.int64)
        sizes = Sizes(
            gates.number, gates.parts, T, B, P, I, H, G, R, S, int(keeps),
            u_block=H if R == G else 0, own_du=0, block=_block(B), needs_dx=0, renewed=renewed,
        )  # fmt: skip
        threads = _threads(sizes, max(1, B // ROWS))
        scratch = _empty(threads, scratch_forward(sizes))
        places = Places(
            x.data_ptr(), packed.W.data_ptr(), packed.U.data_ptr(), packed.b.data_ptr(), packed.d.data_ptr(),
            packed.zeros.data_ptr(), state[0].data_ptr(), state[-1].data_ptr(), outputs.data_ptr(),
            saved.memory.data_ptr() + kept * FLOAT, saved.memory.data_ptr(), last[0].data_ptr(),
            last[-1].data_ptr(), 0, 0, 0,
        )  # fmt: skip
        self._used = packed, x, state, scratch  # whose addresses are told
        self._told = sizes, places
        self._slices = [
            (*edges, rows.data_ptr()) for edges, rows in zip(edges_of(B, threads), scratch, strict=True)
        ]
        self._read = self.read.numpy()

    def run(self, start: Array, seat: Array) -> None:
        """Make it: bool and int64 [T, B], contiguous.

        Raises:
            IndexError: a seat is none.
        """
        calls = [
            functools.partial(forward, first, last, *self._told, start, seat, self._read, scratch)
            for first, last, scratch in self._slices
        ]
        if not all(at_once(calls)):
            P = self._told[0].P
            raise IndexError(f"seat must be in 0..{P - 1}, got {int(seat.min())}..{int(seat.max())}")


class Back:
    """The way back of a `Pass`, which may be gone again and again, too.

    Args:
        gone: outputs, saved and read of the pass.
        panels: of W [G, I] and U [R, H], see `panels_of`.
        x: [T, B, I], I a multiple of COLUMNS.
        state: as the pass had it.
        renewed: as the pass had it.
        d_outputs: [T, B, H].
        grad: derivatives by the last parts, which become those by the first ones.
        is_told: somebody told them; else they begin as zeros.
        dx: [T, B, I], None = nobody wants it.
    """

    def __init__(
        self, packed: _Packed, gone: tuple[Tensor, _Lent, Tensor], panels: tuple[Tensor, Tensor], x: Tensor,
        state: CellState, renewed: int, d_outputs: Tensor, grad: CellState, is_told: bool, dx: Tensor | None,
    ) -> None:  # fmt: skip
        outputs, saved, read = gone
        gates, zeros, (W_panels, U_panels) = GATES[packed.gates], packed.zeros, panels
        (T, B, I), (_, P, H) = x.shape, state[0].shape  # noqa: E741
        G, R = W_panels.shape[1], U_panels.shape[1]
        sizes = Sizes(
            gates.number, gates.parts, T, B, P, I, H, G, R, gates.saved * H,
            keeps=int(is_told), u_block=0, own_du=int(R != G or gates.own_du), block=_block(B),
            needs_dx=int(dx is not None), renewed=renewed,
        )  # fmt: skip
        memory = saved.memory.data_ptr()
        places = Places(
            x.data_ptr(), W_panels.data_ptr(), U_panels.data_ptr(), zeros.data_ptr(), 0, zeros.data_ptr(),
            state[0].data_ptr(), state[-1].data_ptr(), outputs.data_ptr(),
            memory + T * B * gates.saved * H * FLOAT, memory, d_outputs.data_ptr(), 0,
            grad[0].data_ptr(), grad[-1].data_ptr(), x.data_ptr() if dx is None else dx.data_ptr(),
        )  # fmt: skip
        slices = max(1, min(SLICES, B // BLOCK))
        self._threads = _threads(sizes, slices)
        numbers = slices * sums_backward(sizes)
        self._lent = _Lent(numbers)
        self._sums = self._lent.memory[:numbers].view(slices, -1)
        self._edges = list(edges_of(B, slices))
        scratch = _empty(self._threads, scratch_backward(sizes))
        self._used = packed, gone, panels, x, state, d_outputs, grad, dx, scratch  # whose addresses are told
        self._told, self._read = (sizes, places), read.numpy()
        self._scratch = [rows.data_ptr() for rows in scratch]
        self._at = [rows.data_ptr() for rows in self._sums]

    def run(self, start: Array, seat: Array) -> tuple[Tensor, ...]:
        """Go it, start and seat as on the way there.

        Returns:
            derivatives by W [G, I], U [R, H], b [G] and d [R], in memory that is written again.
        """
        slices, threads = len(self._edges), self._threads

        def some(thread: int) -> None:
            for k in range(slices * thread // threads, slices * (thread + 1) // threads):
                tables = start, seat, self._read
                backward(*self._edges[k], *self._told, *tables, self._scratch[thread], self._at[k])

        at_once([functools.partial(some, thread) for thread in range(threads)])
        add_up(self._at[0], slices, self._sums.shape[1])
        return self.derivatives

    @functools.cached_property
    def derivatives(self) -> tuple[Tensor, ...]:
        """Where `run` leaves them."""
        s = self._told[0]
        dW, dU, db, dd = self._sums[0].split([s.G * s.I, s.R * s.H, s.G, s.R])
        return dW.view(s.G, s.I), dU.view(s.R, s.H), db, dd


class Scan(torch.autograd.Function):
    """What `arguments` tells -> outputs [T, B, H] and the last parts of the state."""

    @staticmethod
    def forward(
        ctx: Any,
        packed: _Packed,
        x: Tensor,
        W: Tensor,
        U: Tensor,
        _b: Tensor,
        d: Tensor | None,
        start: Tensor,
        seat: Tensor,
        renewed: int,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        keeps = any(ctx.needs_input_grad)
        done = Pass(packed, x, state, renewed, keeps)
        done.run(start.numpy(), seat.numpy())
        ctx.set_materialize_grads(False)
        ctx.packed, ctx.has_d, ctx.saved, ctx.renewed = packed, d is not None, done.saved, renewed
        if keeps:
            ctx.save_for_backward(x, W, U, start, seat, done.read, done.outputs, *state)
        return done.outputs, *done.last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_outputs: Tensor | None, *d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        x, W, U, start, seat, read, outputs, *state = ctx.saved_tensors
        needs = ctx.needs_input_grad
        I, B = x.shape[2], x.shape[1]  # noqa: E741
        more = -I % COLUMNS
        if more:
            x, W = (nn.functional.pad(matrix, [0, more]) for matrix in (x, W))
        is_told = any(part is not None for part in d_last)
        grad = tuple(
            _copied(part, like) if is_told else _empty(*like.shape)
            for part, like in zip(d_last, (part[:B] for part in state), strict=True)
        )
        d_outputs = _copied(None, outputs) if d_outputs is None else d_outputs.contiguous()
        dx = _empty(*x.shape) if needs[1] else None
        gone, panels = (outputs, ctx.saved, read), (panels_of(W), panels_of(U))
        back = Back(ctx.packed, gone, panels, x, tuple(state), ctx.renewed, d_outputs, grad, is_told, dx)
        dW, dU, db, dd = (part.clone() for part in back.run(start.numpy(), seat.numpy()))
        return (
            None,
            None if dx is None else dx[..., :I],
            dW[:, :I],
            dU,
            db,
            dd if ctx.has_d else None,
            None,
            None,
            None,
            *(part if needed else None for part, needed in zip(grad, needs[9:], strict=True)),
        )


def _copied(derivatives: Tensor | None, like: Tensor) -> Tensor:
    """Of their own; zeros where nobody asked."""
    memory = _empty(*like.shape)
    return memory.zero_() if derivatives is None else memory.copy_(derivatives)


_differentiable: Callable[..., tuple[Tensor, ...]] = Scan.apply


def recurrence(
    cell: Cell,
    inputs: Tensor,
    state: CellState,
    start: Tensor,
    seat: Tensor,
    renewed: tuple[int, CellState] | None = None,
) -> tuple[Tensor, CellState]:
    """`agents.net.scan.scan` by the ideas above; same arguments, results and gradients. A state that is
    `renewed` wants none.

    Raises:
        ValueError: the state is not float32 on the CPU, as the inputs are.
        IndexError: a seat is none.
    """
    told = arguments(cell, inputs, state, start, seat, renewed)
    if torch.is_grad_enabled():
        outputs, *last = _differentiable(*told)
    else:
        packed, x, *_, start, seat, at = told[:9]
        done = Pass(packed, x, told[9:], at, keeps=False)
        done.run(start.numpy(), seat.numpy())
        outputs, last = done.outputs, list(done.last)
    H = cell.hidden_size
    if H % COLUMNS:
        outputs, *last = (result[..., :H].contiguous() for result in (outputs, *last))
    return outputs, tuple(last)


def arguments(
    cell: Cell,
    inputs: Tensor,
    state: CellState,
    start: Tensor,
    seat: Tensor,
    renewed: tuple[int, CellState] | None,
) -> tuple[Any, ...]:
    """What `Scan` takes: packed weights, x, W, U, b, d, start, seat, the step that renews, and the state."""
    if any(part.dtype != torch.float32 or part.device.type != "cpu" for part in state):
        kinds = ", ".join(f"{part.dtype} on {part.device}" for part in state)
        raise ValueError(f"the state must be float32 on the CPU, as the inputs are, got {kinds}")
    at = 0
    if renewed is not None:
        at, later = renewed
        state = tuple(torch.cat(both) for both in zip(state, later, strict=True))
    H = cell.hidden_size
    more = -H % COLUMNS
    if more:
        state = tuple(nn.functional.pad(part, [0, more]) for part in state)
    state = tuple(part.contiguous() for part in state)
    x, start, seat = inputs.contiguous(), start.contiguous(), seat.to(torch.int64).contiguous()
    return _packed(cell), x, *_padded(cell), start, seat, at, *state


def _fits(cell: Cell, inputs: Tensor, needs_gradient: bool) -> bool:
    gates = GATES.get(cell.fused_gates or "")
    is_plain = type(inputs) in (Tensor, nn.Parameter) and not inputs.is_neg()  # no stand-in of a tracer
    return (
        gates is not None
        and (cell.blocks, len(cell.parts)) == (gates.blocks, gates.parts)
        and cell.recurrent_blocks in (1, cell.blocks)
        and is_plain
        and inputs.dtype == cell.W.dtype == torch.float32
        and inputs.device.type == cell.W.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and _is_ready(False)
        and (not needs_gradient or _is_ready(True))
    )


KERNEL = Kernel("fused", _fits, recurrence, renews=True)
"""For cells that name their gates, in float32 on the CPU."""
