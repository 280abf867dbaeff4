"""The vocabulary of the fused scan: vectors, activations, a tile of a product, and the gates of the cells.

It writes LLVM's own code for whole vectors and hands it to numba as functions on addresses (int64) that
`agents.net.kernels.fused` calls. Loops in Python would not do: numba keeps no arrays in registers, promises
LLVM nothing about arrays that overlap, and LLVM alone takes half of a 512-bit register.

Matrices [K, N] on the right of a product come as *panels* [N / COLUMNS, K, COLUMNS]. Rows are told by tables
of addresses, so that they may lie anywhere. Every length is a multiple of WIDTH; see `GATES` for the letters.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.extending import intrinsic

# ---------------------------------------------------------------- the machine


class Tile(NamedTuple):
    """A piece of a product that stays in registers."""

    width: int  # floats of a vector
    rows: int
    vectors: int  # of a row


TILES: Final = {
    "avx512": Tile(16, 8, 2),  # 16 of 32 registers; as fast as MKL where it was measured (EPYC 9005, Xeon)
    "avx2": Tile(8, 4, 2),
    "neon": Tile(4, 4, 4),
    "sse": Tile(4, 4, 2),
}
"""By instruction set. None is needed to be right: LLVM splits what a machine cannot hold."""


def instruction_set() -> str | None:
    """The best of `TILES` for the machine that numba compiles for; None where nobody has tried."""
    kind = llvm.get_process_triple().partition("-")[0]
    if kind in ("aarch64", "arm64"):
        return "neon"
    if kind not in ("x86_64", "amd64"):
        return None
    told = vars(config)["CPU_FEATURES"]
    if told is None:
        told = llvm.get_host_cpu_features().flatten() if vars(config)["CPU_NAME"] in (None, "host") else ""
    has = set(told.split(","))
    if "+avx512f" in has:
        return "avx512"
    return "avx2" if {"+avx2", "+fma"} <= has else "sse"


WIDTH, ROWS, _VECTORS = TILES[instruction_set() or "sse"]
COLUMNS: Final = WIDTH * _VECTORS

# ---------------------------------------------------------------- vectors and activations

_INT, _LONG, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_INT, WIDTH), ir.VectorType(_FLOAT, WIDTH)

ROUNDER: Final = 1.5 * 2.0**23
"""What is added to it loses its fraction, and the whole number stands in the last bits of the sum."""

MOST_BITS: Final = 120.0
"""Powers of two are taken between minus this and this, far from where floats end."""

POWERS: Final[Any] = np.polynomial.Chebyshev.interpolate(
    lambda r: np.expm1(r * math.log(2.0)) / r, 5, [-0.5, 0.5]
).convert(kind=np.polynomial.Polynomial)
"""(2^r - 1) / r for |r| <= 1/2, to 4e-9 of itself."""


class Vector:
    """WIDTH floats, while code is written: what is done to it, the code does."""

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self.builder, self.value = builder, value

    def like(self, number: float) -> Vector:
        """The number in every place."""
        return Vector(self.builder, ir.Constant(_FLOATS, [float(number)] * WIDTH))

    def _with(self, name: str, other: Vector | float, swapped: bool = False) -> Vector:
        pair = (self, other if isinstance(other, Vector) else self.like(other))
        left, right = pair[::-1] if swapped else pair
        return Vector(self.builder, getattr(self.builder, name)(left.value, right.value))

    def __add__(self, other: Vector | float) -> Vector:
        return self._with("fadd", other)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._with("fsub", other)

    def __rsub__(self, other: float) -> Vector:
        return self._with("fsub", other, True)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._with("fmul", other)

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._with("fdiv", other)

    def __rtruediv__(self, other: float) -> Vector:
        return self._with("fdiv", other, True)

    def _called(self, name: str, *others: Vector) -> Vector:
        """What LLVM's own function makes of vectors."""
        values = [self.value, *(x.value for x in others)]
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * len(values))
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{WIDTH}f32")
        return Vector(self.builder, self.builder.call(function, values))

    def plus(self, x: Vector, y: Vector) -> Vector:
        """self + x * y, rounded once where the machine can."""
        return x._called("fmuladd", y, self)

    def magnitude(self) -> Vector:
        """Without its sign."""
        return self._called("fabs")

    def signed_as(self, other: Vector) -> Vector:
        """With the other's sign."""
        return self._called("copysign", other)

    def as_exponent(self) -> Vector:
        """2^n, where self is n + ROUNDER."""
        b = self.builder
        n = b.shl(b.bitcast(self.value, _INTS), ir.Constant(_INTS, [23] * WIDTH))
        return Vector(b, b.bitcast(b.add(b.bitcast(self.like(1.0).value, _INTS), n), _FLOATS))

    def between(self, least: float, most: float) -> Vector:
        """Clamped; what is no number stays none."""
        value = self.value
        for sign, limit in (("<", self.like(least).value), (">", self.like(most).value)):
            value = self.builder.select(self.builder.fcmp_ordered(sign, value, limit), limit, value)
        return Vector(self.builder, value)


def expm1(x: Vector, factor: float) -> Vector:
    """e^(factor x) - 1 = 2^n (2^r - 1) + (2^n - 1), n a whole number and |r| <= 1/2.

    To about 1e-7 of itself, however small it is.
    """
    bits = factor / math.log(2.0)
    x = x.between(-MOST_BITS / abs(bits), MOST_BITS / abs(bits))
    rounded = (x * bits) + ROUNDER
    n = rounded - ROUNDER
    r = (0.0 - n).plus(x, x.like(bits))
    *others, power = [r.like(c) for c in POWERS.coef]
    for c in reversed(others):
        power = c.plus(power, r)
    scale = rounded.as_exponent()
    return (scale - 1.0).plus(scale, power * r)


def sigmoid(x: Vector) -> Vector:
    """1 / (1 + e^-x)."""
    return 1.0 / (expm1(x, -1.0) + 2.0)


def tanh(x: Vector) -> Vector:
    """(e^2x - 1) / (e^2x + 1), of |x|, where the errors of e^2x hardly count."""
    e = expm1(x.magnitude(), 2.0)
    return (e / (e + 2.0)).signed_as(x)


# ---------------------------------------------------------------- the gates


Vectors = Sequence[Vector]


class Gates(NamedTuple):
    """What a cell makes of its pre-activations, for WIDTH units of a row."""

    number: int  # by which compiled code is asked for them
    parts: int  # of the state, h and c
    blocks: int  # of z = W x + b
    saved: int  # numbers a unit that `backward` needs beside the states
    own_du: bool  # du is not dz, even where U has a block for each of W's

    forward: Callable[[Vectors, Vectors, Vectors], tuple[Vectors, Vectors]]
    """z, u (a block for each of z) and the old parts -> the new parts, and what is saved."""

    backward: Callable[[Vectors, Vectors, Vectors, Vectors], tuple[Vectors, Vectors, Vectors]]
    """What was saved, the old parts, the new ones and the derivatives by these -> dz, du (empty: it is dz)
    and what reaches the old parts beside u."""


def _four_gates(z: Vectors, u: Vectors, old: Vectors) -> tuple[Vectors, Vectors]:
    a_i, a_f, a_o, a_g = map(operator.add, z, u)
    i, f, o, g = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o), tanh(a_g)
    c = (i * g).plus(f, old[1])
    return (o * tanh(c), c), (i, f, o, g)


def _four_gates_back(
    saved: Vectors, old: Vectors, new: Vectors, grad: Vectors
) -> tuple[Vectors, Vectors, Vectors]:
    (i, f, o, g), (dh, dc) = saved, grad
    tanh_c = tanh(new[1])
    dc = dc.plus(dh * o, 1.0 - tanh_c * tanh_c)
    da_i = dc * g * i * (1.0 - i)
    da_f = dc * old[1] * f * (1.0 - f)
    da_o = dh * tanh_c * o * (1.0 - o)
    da_g = dc * i * (1.0 - g * g)
    return (da_i, da_f, da_o, da_g), (da_i + da_f + (da_o + da_g),), (dh.like(0.0), dc * f)


def _gru(z: Vectors, u: Vectors, old: Vectors) -> tuple[Vectors, Vectors]:
    r, y = sigmoid(z[0] + u[0]), sigmoid(z[1] + u[1])
    n = tanh(z[2].plus(r, u[2]))
    return (n.plus(y, old[0] - n),), (r, y, n, u[2])


def _gru_back(saved: Vectors, old: Vectors, _new: Vectors, grad: Vectors) -> tuple[Vectors, Vectors, Vectors]:
    (r, y, n, u_n), (h,), (dh,) = saved, old, grad
    da_n = dh * (1.0 - y) * (1.0 - n * n)
    du_n = da_n * r
    da_r = du_n * u_n * (1.0 - r)
    da_y = dh * (h - n) * y * (1.0 - y)
    return (da_r, da_y, da_n), (da_r, da_y, du_n), (dh * y,)


def _tanh(z: Vectors, u: Vectors, _old: Vectors) -> tuple[Vectors, Vectors]:
    return (tanh(z[0] + u[0]),), ()


def _tanh_back(
    _saved: Vectors, _old: Vectors, new: Vectors, grad: Vectors
) -> tuple[Vectors, Vectors, Vectors]:
    (h,), (dh,) = new, grad
    return (dh * (1.0 - h * h),), (), (dh.like(0.0),)


GATES: Final = {
    "four_gates": Gates(0, 2, 4, 4, False, _four_gates, _four_gates_back),
    "gru": Gates(1, 1, 3, 4, True, _gru, _gru_back),
    "tanh": Gates(2, 1, 1, 0, False, _tanh, _tanh_back),
}
"""By the name that a cell gives in `fused`; the equations stand there, in `agents.net.cells`."""


# ---------------------------------------------------------------- what compiled code calls


def _callable(write: Callable[..., Any], result: Any = types.void) -> Any:
    """What `write(code, ...)` writes, as a function of compiled code whose arguments are all int64."""
    parameters = list(inspect.signature(write).parameters.values())[1:]

    def typed(_context: Any, *_arguments: Any) -> Any:
        def written(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
            value = write(_Code(builder), *values)
            return context.get_dummy_value() if value is None else value

        return result(*[types.int64] * len(parameters)), written

    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(typed)["__signature__"] = inspect.Signature([context, *parameters])
    typed.__name__ = write.__name__.lstrip("_")
    return intrinsic(typed)


class _Code:
    """Memory and loops."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def number(self, value: int) -> Any:
        return ir.Constant(_LONG, value)

    def place(self, address: Any, index: Any, kind: Any = _FLOAT) -> Any:
        """Where number `index` behind an address lies."""
        b = self.builder
        return b.gep(b.inttoptr(address, kind.as_pointer()), [index])

    def entry(self, table: Any, index: Any) -> Any:
        """An address out of a table."""
        return self.builder.load(self.place(table, index, _LONG))

    def load(self, address: Any, index: Any) -> Vector:
        place = self.builder.bitcast(self.place(address, index), _FLOATS.as_pointer())
        return Vector(self.builder, self.builder.load(place, align=4))

    def store(self, vector: Vector, address: Any, index: Any) -> None:
        place = self.builder.bitcast(self.place(address, index), _FLOATS.as_pointer())
        self.builder.store(vector.value, place, align=4)

    def fetch(self, address: Any, index: Any, writes: bool = True) -> None:
        """Into the nearest cache, soon to be read, and written unless it says not."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        name = "llvm.prefetch.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        numbers = [ir.Constant(_INT, k) for k in (int(writes), 3, 1)]  # to write, to stay, data
        self.builder.call(function, [self.builder.bitcast(self.place(address, index), byte), *numbers])

    def everywhere(self, address: Any, index: Any) -> Vector:
        """One number in every place."""
        b = self.builder
        one = b.insert_element(
            ir.Constant(_FLOATS, ir.Undefined), b.load(self.place(address, index)), ir.Constant(_INT, 0)
        )
        return Vector(b, b.shuffle_vector(one, one, ir.Constant(_INTS, [0] * WIDTH)))

    def load_spread(self, address: Any, index: Any) -> list[Vector]:
        """ROWS numbers, each of them everywhere in a vector of its own. As `everywhere` of one number after
        another, LLVM reads each twice (8 x 2 vectors: 190 instead of 275 GFLOP/s)."""
        b = self.builder
        kind = ir.VectorType(_FLOAT, ROWS)
        few = b.load(b.bitcast(self.place(address, index), kind.as_pointer()), align=4)
        spread = (ir.Constant(_INTS, [m] * WIDTH) for m in range(ROWS))
        return [Vector(b, b.shuffle_vector(few, few, places)) for places in spread]

    def each(self, count: Any, step: int, body: Callable[[Any], None], first: Any = None) -> None:
        """body(i) for i in range(first, count, step); from 0 on if no first is told."""
        bounds = self.number(0) if first is None else first, count, self.number(step)
        with cgutils.for_range_slice(self.builder, *bounds, _LONG) as (index, _):
            body(index)

    def kept(self, vector: Vector) -> Any:
        """A variable with this vector in it."""
        return cgutils.alloca_once_value(self.builder, vector.value)

    def add_to(self, variable: Any, x: Vector, y: Vector) -> None:
        """Add x * y to it."""
        old = Vector(self.builder, self.builder.load(variable))
        self.builder.store(old.plus(x, y).value, variable)


def _columns(code: _Code, column: Any) -> list[Any]:
    """Where the vectors of a tile begin."""
    return [code.builder.add(column, code.number(WIDTH * v)) for v in range(_VECTORS)]


def _multiply(
    code: _Code, rows: Any, panel: Any, depth: Any, start: Callable[[Any, Any], Vector], out: Any, column: Any
) -> None:
    """One tile: out[m][column..] = start(out[m], column..) + sum over k of rows[m][k] panel[k]."""
    b = code.builder
    left = [code.entry(rows, code.number(m)) for m in range(ROWS)]
    right = [code.entry(out, code.number(m)) for m in range(ROWS)]
    columns = _columns(code, column)
    sums = [[code.kept(start(target, i)) for i in columns] for target in right]

    def body(k: Any) -> None:
        base = b.mul(k, code.number(COLUMNS))
        panels = [code.load(panel, i) for i in _columns(code, base)]
        for m in range(ROWS):
            x = code.everywhere(left[m], k)
            for v in range(_VECTORS):
                code.add_to(sums[m][v], x, panels[v])

    code.each(depth, 1, body)
    for m in range(ROWS):
        for v in range(_VECTORS):
            code.store(Vector(b, b.load(sums[m][v])), right[m], columns[v])


def _product(code: _Code, rows: Any, panel: Any, depth: Any, bias: Any, out: Any, column: Any) -> None:
    _multiply(code, rows, panel, depth, lambda _, i: code.load(bias, i), out, column)


def _product_add(code: _Code, rows: Any, panel: Any, depth: Any, out: Any, column: Any) -> None:
    _multiply(code, rows, panel, depth, code.load, out, column)


def _outer(
    code: _Code, left: Any, row: Any, right: Any, column: Any, count: Any, out: Any, width: Any
) -> None:
    b = code.builder
    columns = _columns(code, column)
    rows = [b.mul(b.add(row, code.number(m)), width) for m in range(ROWS)]
    places = [[b.add(at, i) for i in columns] for at in rows]
    for place in itertools.chain(*places):
        code.fetch(out, place)
    zero = code.load(out, columns[0]).like(0.0)
    sums = [[code.kept(zero) for _ in columns] for _ in rows]

    def body(k: Any) -> None:
        x, y = code.entry(left, k), code.entry(right, k)
        vectors = [code.load(y, i) for i in columns]
        lefts = code.load_spread(x, row)
        for m in range(ROWS):
            for v in range(_VECTORS):
                code.add_to(sums[m][v], lefts[m], vectors[v])

    code.each(count, 1, body)
    for m in range(ROWS):
        for v in range(_VECTORS):
            total = Vector(b, b.load(sums[m][v])) + code.load(out, places[m][v])
            code.store(total, out, places[m][v])


def _sum_rows(code: _Code, rows: Any, count: Any, out: Any, length: Any) -> None:
    b = code.builder

    def body(j: Any) -> None:
        total = code.kept(code.load(out, code.number(0)).like(0.0))

        def add(k: Any) -> None:
            both = Vector(b, b.load(total)) + code.load(code.entry(rows, k), j)
            b.store(both.value, total)

        code.each(count, 1, add)
        code.store(code.load(out, j) + Vector(b, b.load(total)), out, j)

    code.each(length, WIDTH, body)


def _copy(code: _Code, source: Any, target: Any, length: Any) -> None:
    code.each(length, WIDTH, lambda j: code.store(code.load(source, j), target, j))


def _clear(code: _Code, target: Any, length: Any) -> None:
    code.each(length, WIDTH, lambda j: code.store(code.load(target, j).like(0.0), target, j))


def _fetch(code: _Code, source: Any, length: Any) -> None:
    code.each(length, WIDTH, lambda j: code.fetch(source, j, writes=False))


def _move(code: _Code, source: Any, target: Any, length: Any) -> None:
    b = code.builder
    code.each(length, 1, lambda j: b.store(b.load(code.place(source, j)), code.place(target, j)))


def _squash(code: _Code, row: Any, length: Any) -> None:
    code.each(length, WIDTH, lambda j: code.store(tanh(code.load(row, j)), row, j))


def _unsquash(code: _Code, derivatives: Any, squashed: Any, length: Any) -> None:
    def body(j: Any) -> None:
        y = code.load(squashed, j)
        code.store(code.load(derivatives, j) * (1.0 - y * y), derivatives, j)

    code.each(length, WIDTH, body)


def _add(code: _Code, source: Any, target: Any, length: Any) -> None:
    code.each(length, WIDTH, lambda j: code.store(code.load(target, j) + code.load(source, j), target, j))


def _differ(code: _Code, a: Any, b: Any, length: Any) -> Any:
    builder = code.builder
    whole = builder.and_(length, code.number(-WIDTH))
    found = {
        kind: cgutils.alloca_once_value(builder, ir.Constant(kind, None if kind is _INTS else 0))
        for kind in (_INTS, _INT)
    }

    def compare(kind: Any, i: Any) -> None:
        places = (builder.bitcast(code.place(x, i), kind.as_pointer()) for x in (a, b))
        bits = builder.xor(*(builder.load(place, align=4) for place in places))
        builder.store(builder.or_(builder.load(found[kind]), bits), found[kind])

    code.each(whole, WIDTH, functools.partial(compare, _INTS))
    code.each(length, 1, functools.partial(compare, _INT), whole)
    total, vector = builder.load(found[_INT]), builder.load(found[_INTS])
    for k in range(WIDTH):
        total = builder.or_(total, builder.extract_element(vector, ir.Constant(_INT, k)))
    return builder.icmp_signed("!=", total, ir.Constant(_INT, 0))


def _by_kind(code: _Code, kind: Any, H: Any, body: Callable[[Gates, Any], None]) -> None:
    """body(gates, j) for every vector of units, with the gates that compiled code asks for."""
    for gates in GATES.values():
        is_asked = code.builder.icmp_signed("==", kind, code.number(gates.number))
        with code.builder.if_then(is_asked):
            code.each(H, WIDTH, functools.partial(body, gates))


def _blocks(code: _Code, count: int, size: Any, j: Any) -> list[Any]:
    """Where unit j of each block lies."""
    return [code.builder.add(code.builder.mul(code.number(k), size), j) for k in range(count)]


def _activate(
    code: _Code, kind: Any, z: Any, u: Any, u_block: Any, h_old: Any, c_old: Any,
    h_new: Any, c_new: Any, saved: Any, H: Any,
) -> None:  # fmt: skip
    def body(gates: Gates, j: Any) -> None:
        zs = [code.load(z, i) for i in _blocks(code, gates.blocks, H, j)]
        us = [code.load(u, i) for i in _blocks(code, gates.blocks, u_block, j)]
        old = [code.load(part, j) for part in (h_old, c_old)[: gates.parts]]
        new, kept = gates.forward(zs, us, old)
        for vector, part in zip(new, (h_new, c_new)[: gates.parts], strict=True):
            code.store(vector, part, j)
        for vector, i in zip(kept, _blocks(code, gates.saved, H, j), strict=True):
            code.store(vector, saved, i)

    _by_kind(code, kind, H, body)


def _differentiate(
    code: _Code, kind: Any, saved: Any, h_old: Any, c_old: Any, h_new: Any, c_new: Any,
    d_output: Any, dh: Any, dc: Any, dz: Any, du: Any, H: Any,
) -> None:  # fmt: skip
    def body(gates: Gates, j: Any) -> None:
        kept = [code.load(saved, i) for i in _blocks(code, gates.saved, H, j)]
        old = [code.load(part, j) for part in (h_old, c_old)[: gates.parts]]
        new = [code.load(part, j) for part in (h_new, c_new)[: gates.parts]]
        by_h, *others = [code.load(part, j) for part in (dh, dc)[: gates.parts]]
        grad = [by_h + code.load(d_output, j), *others]
        dzs, dus, direct = gates.backward(kept, old, new, grad)
        for vectors, target in ((dzs, dz), (dus, du)):
            for vector, i in zip(vectors, _blocks(code, len(vectors), H, j), strict=True):
                code.store(vector, target, i)
        for vector, part in zip(direct, (dh, dc)[: gates.parts], strict=True):
            code.store(vector, part, j)

    _by_kind(code, kind, H, body)


product = _callable(_product)
"""(rows, panel, depth, bias, out, column): out[m][column + n] = bias[column + n] + sum over k < depth of
rows[m][k] panel[k][n], for m < ROWS and n < COLUMNS; `rows` and `out` are tables of ROWS addresses."""

product_add = _callable(_product_add)
"""(rows, panel, depth, out, column): the same, added to what stands there."""

outer = _callable(_outer)
"""(left, row, right, column, count, out, width): out[row + m][column + n] += sum over k < count of
left[k][row + m] right[k][column + n]; tables of `count` addresses, and a matrix with rows of `width`."""

sum_rows = _callable(_sum_rows)
"""(rows, count, out, length): out[n] += sum over k < count of rows[k][n]."""

copy = _callable(_copy)
"""(source, target, length)."""

clear = _callable(_clear)
"""(target, length): zeros."""

fetch = _callable(_fetch)
"""(source, length): into the nearest cache, soon to be read."""

move = _callable(_move)
"""(source, target, length): a copy of whichever length."""

squash = _callable(_squash)
"""(row, length): tanh of it, in place."""

unsquash = _callable(_unsquash)
"""(derivatives, squashed, length): from those by what came out to those by what was squashed, in place."""

add = _callable(_add)
"""(source, target, length): target += source."""

differ = _callable(_differ, types.boolean)
"""(a, b, length): whether any bit of two pieces of memory differs, of whichever length."""

activate = _callable(_activate)
"""(kind, z, u, u_block, h_old, c_old, h_new, c_new, saved, H): one row through the gates `kind`. The
blocks of u lie `u_block` numbers apart, 0 = one serves all."""

differentiate = _callable(_differentiate)
"""(kind, saved, h_old, c_old, h_new, c_new, d_output, dh, dc, dz, du, H): one row back. dh and dc are of the
new parts and become what reaches the old ones beside u."""


def _floats_at(_context: Any, _address: Any) -> Any:
    kind = types.CPointer(types.float32)

    def written(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(kind))

    return kind(types.int64), written


floats_at: Any = intrinsic(_floats_at)
"""(address): the floats there, as numba's `carray` takes them."""
