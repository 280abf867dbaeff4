"""The heads on CPU cores as two compiled kernels, forward and back: linear layers with tanh between them.

Heads of the same depth that read the same rows are one network: their layers stand side by side, and from the
second on a head's block of the matrix meets its own numbers alone. A block of rows goes through all layers at
once, so that it stays in the core's cache, on the tiles of `agents.net.kernels.vector`; back, all of its
derivatives follow each other the same way. A row's numbers come from that row alone, so play and replay agree
bit for bit, and the gradients of the weights are added slice by slice, as in `agents.net.kernels.fused`.

It takes `make_head`'s layers, in float32; what they compute stands there.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numba import types
from numba.np.numpy_support import carray
from torch import Tensor, nn

from agents.net.kernels import is_plain, is_readable, is_traced, usable
from agents.net.kernels.fused import (
    BLOCK,
    FLOAT,
    GAP,
    SLICES,
    WORK,
    add_up,
    changed,
    edges_of,
    multiply,
    outer_all,
)
from agents.net.kernels.vector import COLUMNS, ROWS, clear, floats_at, move, squash, sum_rows, unsquash
from envs.compiled import compiled
from envs.threads import at_once

SLICE: Final = 1024
"""Rows whose weight gradients are kept apart, at least."""


class Layer(NamedTuple):
    """A row of the kernels' table of layers: sizes in numbers, then addresses."""

    inputs: int
    outputs: int  # a multiple of COLUMNS
    forward: int  # panels [inputs, outputs]
    bias: int  # [outputs]
    backward: int  # panels [outputs, inputs]
    weight: int  # where its gradient [outputs, inputs] begins among those of a slice
    more: int  # and that of its bias


def _forward(
    first: int, last: int, layers: Any, hidden: Any, heads: Any, x: int, zeros: int, keeps: int, scratch: int
) -> None:
    """Rows first..last-1 forward.

    `hidden`: addresses of the layers' outputs between, [N, outputs] where somebody `keeps` them, else of a
    block; `heads`: of each the address of its output, width and first column.
    """
    depth, most = layers.shape[0], layers[layers.shape[0] - 1, 1]
    table = np.empty((2, BLOCK), np.int64)
    rows, results = table[0], table[1]
    for begin in range(first, last, BLOCK):
        n = min(BLOCK, last - begin)
        tiles = (n + ROWS - 1) // ROWS
        for k in range(depth):
            inputs, outputs = layers[k, 0], layers[k, 1]
            for m in range(tiles * ROWS):
                at = begin + m if keeps else m
                if k == 0:
                    rows[m] = x + (begin + m) * inputs * FLOAT if m < n else zeros
                else:
                    rows[m] = results[m]
                if k == depth - 1 or m >= n:
                    results[m] = scratch + m * (outputs + GAP) * FLOAT
                else:
                    results[m] = hidden[k] + at * outputs * FLOAT
            blocks = outputs // COLUMNS
            multiply(rows.ctypes.data, layers[k, 2], inputs, layers[k, 3], tiles, blocks, results.ctypes.data)
            if k < depth - 1:
                for m in range(tiles * ROWS):
                    squash(results[m], outputs)
        for m in range(n):
            for h in range(heads.shape[0]):
                row = scratch + (m * (most + GAP) + heads[h, 2]) * FLOAT
                move(row, heads[h, 0] + (begin + m) * heads[h, 1] * FLOAT, heads[h, 1])


def _backward(
    first: int, last: int, layers: Any, hidden: Any, heads: Any, x: int, zeros: int, dx: int, scratch: int,
    wide: int, sums: int, length: int,
) -> None:  # fmt: skip
    """Rows first..last-1 back; `heads` tell of the derivatives, `sums` are the weights' gradients of these
    rows, `length` numbers; dx 0: nobody wants it. Rows of scratch are `wide`."""
    depth = layers.shape[0]
    table = np.empty((3, BLOCK), np.int64)
    rows, above, below = table[0], table[1], table[2]
    other = scratch + BLOCK * wide * FLOAT
    nobody = other + BLOCK * wide * FLOAT
    clear(sums, length)
    for begin in range(first, last, BLOCK):
        n = min(BLOCK, last - begin)
        tiles = (n + ROWS - 1) // ROWS
        for m in range(tiles * ROWS):
            above[m] = scratch + m * wide * FLOAT
            clear(above[m], layers[depth - 1, 1])
            if m < n:
                for h in range(heads.shape[0]):
                    source = heads[h, 0] + (begin + m) * heads[h, 1] * FLOAT
                    move(source, above[m] + heads[h, 2] * FLOAT, heads[h, 1])
        for k in range(depth - 1, -1, -1):
            inputs, outputs = layers[k, 0], layers[k, 1]
            for m in range(tiles * ROWS):
                if k == 0:
                    rows[m] = x + (begin + m) * inputs * FLOAT if m < n else zeros
                    below[m] = dx + (begin + m) * inputs * FLOAT if m < n else nobody
                else:
                    rows[m] = hidden[k - 1] + (begin + m) * inputs * FLOAT if m < n else zeros
                    below[m] = (other if (depth - k) % 2 else scratch) + m * wide * FLOAT
            outer_all(above.ctypes.data, outputs, rows.ctypes.data, inputs, n, sums + layers[k, 5] * FLOAT)
            sum_rows(above.ctypes.data, n, sums + layers[k, 6] * FLOAT, outputs)
            if k > 0 or dx != 0:
                blocks = inputs // COLUMNS
                multiply(above.ctypes.data, layers[k, 4], outputs, zeros, tiles, blocks, below.ctypes.data)
            if k > 0:
                for m in range(tiles * ROWS):
                    unsquash(below[m], rows[m], inputs)
                    above[m] = below[m]


def _pack(blocks: Any, weights: Any, layers: Any, panels: int) -> None:
    """The heads' matrices and biases, at the addresses `weights`, into the panels of their layers; `blocks`:
    see `_Layout`."""
    for n in range(blocks.shape[0]):
        k, top, left, height, width = blocks[n, 0], blocks[n, 1], blocks[n, 2], blocks[n, 3], blocks[n, 4]
        W, b = (
            carray(floats_at(weights[2 * n]), (height, width)),
            carray(floats_at(weights[2 * n + 1]), (height,)),
        )
        inputs, outputs = layers[k, 0], layers[k, 1]
        there = carray(floats_at(panels + layers[k, 2] * FLOAT), (outputs // COLUMNS, inputs, COLUMNS))
        back = carray(floats_at(panels + layers[k, 4] * FLOAT), (inputs // COLUMNS, outputs, COLUMNS))
        bias = carray(floats_at(panels + layers[k, 3] * FLOAT), (outputs,))
        for o in range(height):
            j = top + o
            bias[j] = b[o]
            for i in range(width):
                there[j // COLUMNS, left + i, j % COLUMNS] = W[o, i]
                back[(left + i) // COLUMNS, j, (left + i) % COLUMNS] = W[o, i]


def _is_new(blocks: Any, weights: Any, known: int) -> bool:
    """A bit of a matrix or bias differs from what is known of them, one after the other."""
    for n in range(blocks.shape[0]):
        height, width = blocks[n, 3], blocks[n, 4]
        if changed(known, weights[2 * n], height * width):
            return True
        known += height * width * FLOAT
        if changed(known, weights[2 * n + 1], height):
            return True
        known += height * FLOAT
    return False


_inline: Any = functools.partial(compiled, nogil=True)
forward, backward, pack, is_new = _inline(_forward), _inline(_backward), _inline(_pack), _inline(_is_new)


def _compile() -> None:
    long, table = types.int64, types.Array(types.int64, 2, "C")
    line = types.Array(types.int64, 1, "C")
    forward.compile((long, long, table, line, table, *[long] * 4))
    backward.compile((long, long, table, line, table, *[long] * 7))
    pack.compile((table, line, table, long))
    is_new.compile((table, line, long))
    add_up.compile((long, long, long))


# ---------------------------------------------------------------- weights


class _Layout(NamedTuple):
    """Where heads of some shapes lie in their layers."""

    blocks: Any  # int64 [heads * L, 5]: layer, first row, first column, rows, columns; head after head
    layers: Any  # int64 [L, 7], see `Layer`, with offsets for the addresses
    numbers: int  # of the panels and biases
    length: int  # of the gradients
    heads: Any  # int64 [heads, 2], width and first column of their outputs
    widths: list[int]  # the heads' outputs
    sizes: list[tuple[int, int]]  # the layers' inputs and outputs
    most: int  # of them


@functools.lru_cache(64)
def _layout(shapes: tuple[tuple[int, int], ...], heads: int) -> _Layout:
    """Of heads whose matrices have these shapes, head after head."""
    depth = len(shapes) // heads
    layers, blocks = [], {}
    inputs, numbers, length = shapes[0][1], 0, 0
    starts = [0] * heads  # columns of the heads' blocks
    for k in range(depth):
        mine = [shapes[h * depth + k] for h in range(heads)]
        edges = [0, *itertools.accumulate(height for height, _ in mine)]
        outputs = -(-edges[-1] // COLUMNS) * COLUMNS
        size = inputs * outputs
        layers.append(
            Layer(inputs, outputs, numbers, numbers + 2 * size, numbers + size, length, length + size)
        )
        for h, shape in enumerate(mine):
            blocks[h, k] = (k, edges[h], starts[h], *shape)
        numbers, length = numbers + 2 * size + outputs, length + size + outputs
        inputs, starts = outputs, edges[:-1]
    last = [(blocks[h, depth - 1][3], blocks[h, depth - 1][1]) for h in range(heads)]
    tables = (np.array(x, np.int64) for x in ([blocks[at] for at in sorted(blocks)], layers, last))
    in_order, layers_, ends = tables
    sizes = [(layer.inputs, layer.outputs) for layer in layers]
    widths = [width for width, _ in last]
    return _Layout(in_order, layers_, numbers, length, ends, widths, sizes, max(map(max, sizes)))


class Packed:
    """The weights of heads as the kernels read them.

    Args:
        weights: W and b of a head's layers, head after head.
        heads: how many.
    """

    made_of: Tensor
    """A copy of what they were made of, where `packed_of` keeps them."""

    @torch.no_grad()
    def __init__(self, weights: Sequence[Tensor], heads: int) -> None:
        self.layout = _layout(tuple(W.shape for W in weights[::2]), heads)
        self.memory = torch.zeros(self.layout.numbers + self.layout.most)
        self.zeros = self.memory[self.layout.numbers :]
        self.layers = self.layout.layers.copy()
        """With addresses."""
        self.layers[:, 2:5] = self.layers[:, 2:5] * FLOAT + self.memory.data_ptr()
        self._places = np.array([x.data_ptr() for x in weights], np.int64)
        self.renew()

    def renew(self) -> None:
        """The weights, which lie where they did, have changed."""
        pack(self.layout.blocks, self._places, self.layout.layers, self.memory.data_ptr())


_PACKED: weakref.WeakKeyDictionary[nn.Module, Packed] = weakref.WeakKeyDictionary()
"""By the first head."""


@torch.no_grad()
def packed_of(first: nn.Module, weights: Sequence[Tensor], heads: int) -> Packed:
    """The weights (W and b of a head's layers, head after head), packed anew if they changed, bit for bit."""
    layout = _layout(tuple(W.shape for W in weights[::2]), heads)
    places = np.array([x.data_ptr() for x in weights], np.int64)
    known = _PACKED.get(first)
    if (
        known is not None
        and known.layout is layout
        and not is_new(layout.blocks, places, known.made_of.data_ptr())
    ):
        return known
    _PACKED[first] = made = Packed(weights, heads)
    made.made_of = torch.cat([w.reshape(-1) for w in weights])
    return made


# ---------------------------------------------------------------- calls


def _empty(*shape: int) -> Tensor:
    """Memory that the kernels write; tests put guards around it."""
    return torch.empty(shape)


def _threads(sizes: Sequence[Sequence[int]], rows: int, most: int) -> int:
    """Threads that a pass over so many rows through layers of such sizes is worth."""
    work = rows * sum(inputs * outputs for inputs, outputs in sizes)
    return max(1, min(torch.get_num_threads(), most, work // WORK))


def _table_of(outputs: Sequence[Tensor], packed: Packed) -> Any:
    """Address, width and first column of each head's output."""
    table = np.empty((len(outputs), 3), np.int64)
    table[:, 0] = [y.data_ptr() for y in outputs]
    table[:, 1:] = packed.layout.heads
    return table


class Pass:
    """A forward pass over rows, which may be made again and again: its memory is laid once.

    Args:
        packed: the weights.
        x: [N, I], which `can_run` has looked at.
        keeps: somebody goes back.

    Attributes:
        outputs: [N, *] of each head.
        hidden: what lies between the layers, [N, *] if it `keeps` them.
    """

    def __init__(self, packed: Packed, x: Tensor, keeps: bool) -> None:
        N, layout = x.shape[0], packed.layout
        self.outputs = [_empty(N, width) for width in layout.widths]
        threads = _threads(layout.sizes, N, max(1, N // ROWS))
        rows = N if keeps else threads * BLOCK
        self.hidden = [_empty(rows, width) for _, width in layout.sizes[:-1]]
        scratch = _empty(threads, BLOCK * (layout.most + GAP))
        heads, zeros = _table_of(self.outputs, packed), packed.zeros.data_ptr()
        self._used = packed, x, scratch  # whose addresses are told
        self._calls = []
        for thread, edges in enumerate(edges_of(N, threads)):
            first = 0 if keeps else thread * BLOCK * FLOAT
            places = np.array([h.data_ptr() + first * h.shape[1] for h in self.hidden], np.int64)
            told = packed.layers, places, heads, x.data_ptr(), zeros, int(keeps), scratch[thread].data_ptr()
            self._calls.append(functools.partial(forward, *edges, *told))

    def run(self) -> None:
        """Make it."""
        at_once(self._calls)


class Back:
    """The way back of a `Pass` that kept its rows, which may be gone again and again, too.

    Args:
        hidden: what the pass kept.
        dx: [N, I], None = nobody wants it.
    """

    def __init__(self, packed: Packed, x: Tensor, hidden: Sequence[Tensor], dx: Tensor | None) -> None:
        N, layout = x.shape[0], packed.layout
        slices = max(1, min(SLICES, N // SLICE))
        self._threads = _threads(layout.sizes, N, slices)
        wide = layout.most + GAP
        scratch = _empty(self._threads, (2 * BLOCK + 1) * wide)
        self._sums = _empty(slices, layout.length)
        self._edges = list(edges_of(N, slices))
        places = np.array([h.data_ptr() for h in hidden], np.int64)
        ends = x.data_ptr(), packed.zeros.data_ptr(), 0 if dx is None else dx.data_ptr()
        self._used, self._packed = (x, hidden, dx, scratch), packed  # whose addresses are told
        self._told, self._ends, self._wide = (packed.layers, places), ends, wide
        self._scratch = [rows.data_ptr() for rows in scratch]
        self._at = [rows.data_ptr() for rows in self._sums]

    def run(self, d_outputs: Sequence[Tensor]) -> list[Tensor]:
        """Go it from the derivatives [N, *] by the outputs, contiguous.

        Returns:
            those by W and b of each head's layers, in memory that is written again.
        """
        slices, threads, length = len(self._edges), self._threads, self._sums.shape[1]
        heads = _table_of(d_outputs, self._packed)

        def some(thread: int) -> None:
            for k in range(slices * thread // threads, slices * (thread + 1) // threads):
                rows = self._scratch[thread], self._wide, self._at[k], length
                backward(*self._edges[k], *self._told, heads, *self._ends, *rows)

        at_once([functools.partial(some, thread) for thread in range(threads)])
        add_up(self._at[0], slices, length)
        return self.derivatives

    @functools.cached_property
    def derivatives(self) -> list[Tensor]:
        """Where `run` leaves them; of a layer that is one of several they are no single piece."""
        return _gradients(self._packed.layout, self._sums[0])


class Heads(torch.autograd.Function):
    """Packed weights, rows x [N, I], W and b of the heads' layers -> outputs [N, *] of each."""

    @staticmethod
    def forward(ctx: Any, packed: Packed, x: Tensor, *_weights: Tensor) -> tuple[Tensor, ...]:
        made = Pass(packed, x, keeps=any(ctx.needs_input_grad))
        made.run()
        ctx.packed = packed
        ctx.save_for_backward(x, *made.hidden)
        return tuple(made.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, *hidden = ctx.saved_tensors
        dx = _empty(*x.shape) if ctx.needs_input_grad[1] else None
        back = Back(ctx.packed, x, hidden, dx)
        found = back.run([d.contiguous() for d in d_outputs])
        return None, dx, *(part.contiguous() for part in found)


def _gradients(layout: _Layout, sums: Tensor) -> list[Tensor]:
    """Of W and b of each head's layers, head after head."""
    found, layers = [], layout.layers.tolist()
    for k, top, left, height, width in layout.blocks.tolist():
        inputs, _, *_, dW, db = layers[k]
        if width == inputs:
            found.append(sums[dW + top * inputs : dW + (top + height) * inputs].view(height, width))
        else:
            rows = sums[dW + top * inputs : dW + (top + height) * inputs].view(height, inputs)
            found.append(rows[:, left : left + width])
        found.append(sums[db + top : db + top + height])
    return found


_differentiable: Callable[..., tuple[Tensor, ...]] = Heads.apply


def _are_layers(kinds: tuple[type, ...]) -> bool:
    """Linear layers and tanh between them."""
    return len(kinds) % 2 == 1 and all(kind is (nn.Linear, nn.Tanh)[k % 2] for k, kind in enumerate(kinds))


def weights_of(heads: Sequence[nn.Module]) -> list[Tensor] | None:
    """W and b of the layers of heads that the kernels can run side by side, head after head; else None."""
    weights: list[Any] = []
    counts = set()
    for head in heads:
        modules: list[Any] = [*head._modules.values()]
        is_known = type(head) is nn.Sequential and _are_layers(tuple(map(type, modules)))
        if not is_known or not all(map(is_plain, (head, *modules))):
            return None
        counts.add(len(modules))
        for layer in modules[::2]:
            weights += (layer._parameters["weight"], layer._parameters["bias"])  # as attributes 5 us a call
    return weights if len(counts) == 1 and all(map(is_readable, weights)) else None


def can_run(x: Tensor) -> bool:
    """The kernels can read what heads are told, [..., I]."""
    return not x.shape[-1] % COLUMNS and not is_traced() and is_readable(x) and usable("heads", _compile)


def run(heads: Sequence[nn.Module], x: Tensor) -> tuple[Tensor, ...] | None:
    """What each of the heads makes of x [..., I]: [..., its outputs]; None if the kernels cannot tell.

    The same numbers, to rounding, and the same gradients as `head(x)` for each of them.
    """
    weights = weights_of(heads)
    if weights is None or not can_run(x):
        return None
    rows = x.view(-1, x.shape[-1])
    packed = packed_of(heads[0], weights, len(heads))
    if torch.is_grad_enabled():
        outputs = _differentiable(packed, rows, *weights)
    else:
        made = Pass(packed, rows, keeps=False)
        made.run()
        outputs = tuple(made.outputs)
    return tuple(y.view(*x.shape[:-1], -1) for y in outputs)
