"""Faster copies of what is readable elsewhere, a file each; every one is checked against that.

Of `agents.net.scan.reference`: `fused`, `explicit`. Of the heads (`agents.net.heads`), the encoder of slots
(`agents.net.encoders`) and a choice among actions (`agents.net.distributions`): `heads`, `slots`, `choice`.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Final

import torch
from numba.core import config
from torch import Tensor, nn

from agents.net.cells import Cell, CellState


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A way to run a cell along time, an entry of `agents.net.scan.KERNELS`."""

    name: str

    fits: Callable[[Cell, Tensor, bool], bool]
    """Whether it can run this cell on these inputs' device and dtype; the bool: gradients are wanted."""

    run: Callable[..., tuple[Tensor, CellState]]
    """Arguments, results and gradients of `agents.net.scan.reference`."""

    renews: bool = False
    """`run` takes `renewed`, too, see `agents.net.scan.scan`."""


def is_traced() -> bool:
    """torch writes down what is done, instead of doing it."""
    return torch._C._is_tracing() or torch.compiler.is_compiling()


def is_readable(x: Tensor) -> bool:
    """Compiled code can read it: float32 on the CPU, row after row, no stand-in of a tracer."""
    return (
        type(x) in _PLAIN
        and x.dtype is torch.float32
        and x.is_cpu
        and x.is_contiguous()
        and not x.is_neg()  # a view that torch negates when it is read
    )


_PLAIN: Final = frozenset({Tensor, nn.Parameter})


def is_plain(module: nn.Module) -> bool:
    """Nobody listens to it: computed elsewhere, it is missed by no one."""
    return not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


@functools.cache
def usable(name: str, compile_all: Callable[[], None]) -> bool:
    """The kernels called `name` are compiled, or one warning says why they cannot be."""
    if vars(config)["DISABLE_JIT"]:
        return False
    try:
        compile_all()
    except Exception as error:  # whatever an older numba or LLVM has against it
        warnings.warn(
            f"the compiled {name} cannot run here, a slower one does: it does not compile: "
            f"{type(error).__name__}: {str(error).strip()[:200]}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
