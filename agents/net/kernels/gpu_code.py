"""The scan on a GPU as two Triton programs, forward and back, see `agents.net.kernels.gpu` (edge: triton).

A program takes BLOCK matches through all of time. What a step reads is a row, as in the CPU's kernel: from 0
on that of an earlier step (t B + b), ZEROS nothing, below ZEROS an initial memory (ZEROS - 1 - (b P + p)). A
table of each seat's latest row walks along. Equations and letters are those of `agents.net.cells.FourGates`;
pre-activations lie in blocks i, f, o, g of H numbers, and U has OWN of them: 4, or 1 that serves all.

Columns go by N at a time and the sums over k by K. Where one tile holds a block of U (N = K >= H), U is read
once and stays. Numbers that some threads write and others read are parted by a `tl.debug_barrier`. Sizes that
fill no tile are masked.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import triton
import triton.language as tl

jit: Any = triton.jit

ZEROS: Any = tl.constexpr(-1)

SIZES: Final = ["T", "B"]
"""Arguments whose values nothing is compiled for."""

ANYWHERE: Final = ["start", "seat", "read"]
"""Those that may lie at any address."""


def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


def _tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


def _remembered(steps, initial, row, column, fits, H: tl.constexpr):
    """The numbers `column` of the rows `row`, which lie with the steps or with the initial memories."""
    written = tl.load(
        steps + row[:, None] * H + column[None, :], mask=(row >= 0)[:, None] & fits[None, :], other=0.0
    )
    given = tl.load(
        initial + (-row + (ZEROS - 1))[:, None] * H + column[None, :],
        mask=(row < ZEROS)[:, None] & fits[None, :],
        other=0.0,
    )
    return written + given


def _transposed(U, column, k, H: tl.constexpr, BF16: tl.constexpr):
    """A tile [K, N] of the transpose of a block of U."""
    tile = tl.load(
        U + column[None, :] * H + k[:, None], mask=(k < H)[:, None] & (column < H)[None, :], other=0.0
    )
    return tile.to(tl.bfloat16) if BF16 else tile


def _plain(U, k, column, ROWS: tl.constexpr, H: tl.constexpr, BF16: tl.constexpr):
    """A tile [K, N] of the first ROWS rows of U."""
    tile = tl.load(
        U + k[:, None] * H + column[None, :], mask=(k < ROWS)[:, None] & (column < H)[None, :], other=0.0
    )
    return tile.to(tl.bfloat16) if BF16 else tile


def _times(a, w, total, PRECISION: tl.constexpr, BF16: tl.constexpr):
    """total + a w, added up in float32."""
    return tl.dot(a.to(tl.bfloat16) if BF16 else a, w, total, input_precision=PRECISION)


sigmoid, tanh, remembered = jit(_sigmoid), jit(_tanh), jit(_remembered)
transposed, plain, times = jit(_transposed), jit(_plain), jit(_times)


def _forward(
    z, U, start, seat, h0, c0, h, c, h_old, read,
    last_h, last_c, T, B, H: tl.constexpr, P: tl.constexpr, SEATS: tl.constexpr,
    OWN: tl.constexpr, BLOCK: tl.constexpr, N: tl.constexpr, K: tl.constexpr, STAGES: tl.constexpr,
    KEEPS: tl.constexpr, PRECISION: tl.constexpr, BF16: tl.constexpr,
):  # fmt: skip
    """z [T, B, 4 H] becomes the gates if KEEPS, beside which h_old [T, B, H] and read [T, B] are kept."""
    b = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    plays = b < B
    seats = tl.arange(0, SEATS)
    latest = tl.where(plays[:, None], -(b[:, None] * P + seats[None, :]) + (ZEROS - 1), ZEROS)
    k = tl.arange(0, K)
    column = tl.arange(0, N)
    fits = column < H
    if K >= H:
        w_0 = transposed(U, column, k, H, BF16)
        if OWN == 4:
            w_1 = transposed(U + H * H, column, k, H, BF16)
            w_2 = transposed(U + 2 * H * H, column, k, H, BF16)
            w_3 = transposed(U + 3 * H * H, column, k, H, BF16)
    for t in range(T):
        here = b + t * B
        p = tl.load(seat + here, mask=plays, other=0)
        begins = tl.load(start + here, mask=plays, other=0) != 0
        latest = tl.where(begins[:, None], ZEROS, latest)
        is_mine = seats[None, :] == p[:, None]
        row = tl.sum(tl.where(is_mine, latest, 0), 1)
        row = tl.where(plays, row, ZEROS)
        latest = tl.where(is_mine & plays[:, None], here[:, None], latest)
        if KEEPS:
            tl.store(read + here, row, mask=plays)
        for first in range(0, H, N):
            column = first + tl.arange(0, N)
            fits = column < H
            inside = plays[:, None] & fits[None, :]
            at = z + here[:, None] * (4 * H) + column[None, :]
            z_i = tl.load(at, mask=inside, other=0.0)
            z_f = tl.load(at + H, mask=inside, other=0.0)
            z_o = tl.load(at + 2 * H, mask=inside, other=0.0)
            z_g = tl.load(at + 3 * H, mask=inside, other=0.0)
            old = remembered(c, c0, row, column, fits, H)
            u_0 = tl.zeros((BLOCK, N), tl.float32)
            u_1, u_2, u_3 = u_0, u_0, u_0
            if K >= H:
                mine = remembered(h, h0, row, k, k < H, H)
                u_0 = times(mine, w_0, u_0, PRECISION, BF16)
                if OWN == 4:
                    u_1 = times(mine, w_1, u_1, PRECISION, BF16)
                    u_2 = times(mine, w_2, u_2, PRECISION, BF16)
                    u_3 = times(mine, w_3, u_3, PRECISION, BF16)
            else:
                for step in tl.range(0, H, K, num_stages=STAGES):
                    k = step + tl.arange(0, K)
                    mine = remembered(h, h0, row, k, k < H, H)
                    u_0 = times(mine, transposed(U, column, k, H, BF16), u_0, PRECISION, BF16)
                    if OWN == 4:
                        w = transposed(U + H * H, column, k, H, BF16)
                        u_1 = times(mine, w, u_1, PRECISION, BF16)
                        w = transposed(U + 2 * H * H, column, k, H, BF16)
                        u_2 = times(mine, w, u_2, PRECISION, BF16)
                        w = transposed(U + 3 * H * H, column, k, H, BF16)
                        u_3 = times(mine, w, u_3, PRECISION, BF16)
            to = here[:, None] * H + column[None, :]
            if OWN == 1:  # by way of memory, else each of the gates is handed from thread to thread
                tl.store(h + to, u_0, mask=inside)
                tl.debug_barrier()
                u_0 = tl.load(h + to, mask=inside, other=0.0)
                u_1, u_2, u_3 = u_0, u_0, u_0
            i, f, o, g = sigmoid(z_i + u_0), sigmoid(z_f + u_1), sigmoid(z_o + u_2), tanh(z_g + u_3)
            new = f * old + i * g
            tl.store(c + to, new, mask=inside)
            tl.store(h + to, o * tanh(new), mask=inside)
            if KEEPS:
                tl.store(at, i, mask=inside)
                tl.store(at + H, f, mask=inside)
                tl.store(at + 2 * H, o, mask=inside)
                tl.store(at + 3 * H, g, mask=inside)
                tl.store(h_old + to, remembered(h, h0, row, column, fits, H), mask=inside)
        tl.debug_barrier()  # h and c are read by the next step
    for p in range(P):
        row = tl.sum(tl.where(seats[None, :] == p, latest, 0), 1)
        row = tl.where(plays, row, ZEROS)
        for first in range(0, H, N):
            column = first + tl.arange(0, N)
            fits = column < H
            to = (b * P + p)[:, None] * H + column[None, :]
            tl.store(
                last_h + to, remembered(h, h0, row, column, fits, H), mask=plays[:, None] & fits[None, :]
            )
            tl.store(
                last_c + to, remembered(c, c0, row, column, fits, H), mask=plays[:, None] & fits[None, :]
            )


def _backward(
    gates, U, start, seat, read, c0, c, d_h, dh, dc,
    dz, du, T, B, H: tl.constexpr, P: tl.constexpr, OWN: tl.constexpr,
    BLOCK: tl.constexpr, N: tl.constexpr, K: tl.constexpr, STAGES: tl.constexpr,
    PRECISION: tl.constexpr, BF16: tl.constexpr,
):  # fmt: skip
    """d_h [T, B, H] by the outputs; dh and dc [B, P, H] by the last memories become those by the first; dz
    [T, B, 4 H], and where one U serves all gates du [T, B, H], their sum, are written."""
    b = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    plays = b < B
    k = tl.arange(0, K)
    column = tl.arange(0, N)
    if K >= H:
        w_0 = plain(U, k, column, H, H, BF16)
        if OWN == 4:
            w_1 = plain(U + H * H, k, column, H, H, BF16)
            w_2 = plain(U + 2 * H * H, k, column, H, H, BF16)
            w_3 = plain(U + 3 * H * H, k, column, H, H, BF16)
    for back in range(T):
        here = b + (T - 1 - back) * B
        p = tl.load(seat + here, mask=plays, other=0)
        goes_on = tl.load(start + here, mask=plays, other=1) == 0
        row = tl.load(read + here, mask=plays, other=ZEROS)
        mine = b * P + p
        for first in range(0, H, N):
            column = first + tl.arange(0, N)
            fits = column < H
            inside = plays[:, None] & fits[None, :]
            at, to = here[:, None] * (4 * H) + column[None, :], here[:, None] * H + column[None, :]
            kept = mine[:, None] * H + column[None, :]
            i = tl.load(gates + at, mask=inside, other=0.0)
            f = tl.load(gates + at + H, mask=inside, other=0.0)
            o = tl.load(gates + at + 2 * H, mask=inside, other=0.0)
            g = tl.load(gates + at + 3 * H, mask=inside, other=0.0)
            tanh_c = tanh(tl.load(c + to, mask=inside, other=0.0))
            by_h = tl.load(dh + kept, mask=inside, other=0.0) + tl.load(d_h + to, mask=inside, other=0.0)
            by_c = tl.load(dc + kept, mask=inside, other=0.0) + by_h * o * (1.0 - tanh_c * tanh_c)
            a_i = by_c * g * i * (1.0 - i)
            a_f = by_c * remembered(c, c0, row, column, fits, H) * f * (1.0 - f)
            a_o = by_h * tanh_c * o * (1.0 - o)
            a_g = by_c * i * (1.0 - g * g)
            tl.store(dz + at, a_i, mask=inside)
            tl.store(dz + at + H, a_f, mask=inside)
            tl.store(dz + at + 2 * H, a_o, mask=inside)
            tl.store(dz + at + 3 * H, a_g, mask=inside)
            tl.store(dc + kept, tl.where(goes_on[:, None], by_c * f, 0.0), mask=inside)
            if OWN == 1:
                a_i = a_i + a_f + (a_o + a_g)
                tl.store(du + to, a_i, mask=inside)
        tl.debug_barrier()  # du is read, and dh written after it was read
        at = du + here[:, None] * (OWN * H)
        for first in range(0, H, N):
            column = first + tl.arange(0, N)
            total = tl.zeros((BLOCK, N), tl.float32)
            if K >= H:
                k = tl.arange(0, K)
                given = plays[:, None] & (k < H)[None, :]
                d_u = tl.load(at + k[None, :], mask=given, other=0.0)
                total = times(d_u, w_0, total, PRECISION, BF16)
                if OWN == 4:
                    d_u = tl.load(at + H + k[None, :], mask=given, other=0.0)
                    total = times(d_u, w_1, total, PRECISION, BF16)
                    d_u = tl.load(at + 2 * H + k[None, :], mask=given, other=0.0)
                    total = times(d_u, w_2, total, PRECISION, BF16)
                    d_u = tl.load(at + 3 * H + k[None, :], mask=given, other=0.0)
                    total = times(d_u, w_3, total, PRECISION, BF16)
            else:
                for step in tl.range(0, OWN * H, K, num_stages=STAGES):
                    k = step + tl.arange(0, K)
                    d_u = tl.load(at + k[None, :], mask=plays[:, None] & (k < OWN * H)[None, :], other=0.0)
                    w = plain(U, k, column, OWN * H, H, BF16)
                    total = times(d_u, w, total, PRECISION, BF16)
            tl.store(
                dh + mine[:, None] * H + column[None, :],
                tl.where(goes_on[:, None], total, 0.0),
                mask=plays[:, None] & (column < H)[None, :],
            )
        for other in range(P):  # a start clears the memories of all seats
            for first in range(0, H, N):
                column = first + tl.arange(0, N)
                to = (b * P + other)[:, None] * H + column[None, :]
                cleared = (plays & (goes_on == 0) & (p != other))[:, None] & (column < H)[None, :]
                tl.store(dh + to, tl.zeros((BLOCK, N), tl.float32), mask=cleared)
                tl.store(dc + to, tl.zeros((BLOCK, N), tl.float32), mask=cleared)
        tl.debug_barrier()  # dh and dc are read by the step before


program: Any = functools.partial(triton.jit, do_not_specialize=SIZES, do_not_specialize_on_alignment=ANYWHERE)
forward, backward = program(_forward), program(_backward)
