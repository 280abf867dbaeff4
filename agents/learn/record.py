"""Where rollouts are written, and one step of them as a CUDA graph."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor

WARM_UP: Final = 2
"""Steps that are made as they are, before one is captured: they compile and load what it launches."""


class Room:
    """Memory for two rollouts of T steps, written in turns: the latest stays while the next is made.

    Args:
        whole: of both, [2 T, B, ...] by name; what is empty stays so.
        steps: T.
        key: what the sizes follow from.
    """

    def __init__(self, whole: dict[str, Tensor], steps: int, key: Any) -> None:
        self.whole, self.steps, self.key = whole, steps, key
        self.halves = [{name: x[k * steps : (k + 1) * steps] for name, x in whole.items()} for k in (0, 1)]
        self.rows = [{name: _array(x) for name, x in half.items()} for half in self.halves]
        """Where a step is written."""
        self.at = 0
        self.t = 0
        self.counter: Tensor | None = None
        """The row that is written, int64 [1] on the device, where a graph counts the steps."""
        self._given: list[Callable[[], Any]] = [lambda: None, lambda: None]

    def turn(self) -> bool:
        """Begin in the other half; False if somebody still has the rollout there."""
        self.at = 1 - self.at
        if self._given[self.at]() is not None:
            return False
        self.begin()
        return True

    def begin(self) -> None:
        """Write the first step next."""
        self.t = 0
        self.now["bootstrap"].zero_()
        if self.counter is not None:
            self.counter.fill_(self.at * self.steps)

    @property
    def now(self) -> dict[str, Tensor]:
        """The half that is being written, [T, B, ...] by name."""
        return self.halves[self.at]

    def put(self, **values: Tensor) -> None:
        """Write [B, ...] by name into the step that is made."""
        for name, value in values.items():
            if self.counter is None:
                self.rows[self.at][name][self.t] = _array(value)
            else:
                self.whole[name].index_copy_(0, self.counter, value[None])

    def next(self) -> None:
        """The step has been made."""
        self.t += 1
        if self.counter is not None:
            self.counter += 1

    def give(self, rollout: Any) -> None:
        """This is the rollout that was written; its half is free again once nobody has it."""
        self._given[self.at] = weakref.ref(rollout)


def _array(x: Tensor) -> Any:
    """On the CPU NumPy's array of the same memory, which is written in a fifth of the time."""
    return x.numpy() if x.is_cpu else x


class StepGraph:
    """A step that is made `WARM_UP` times as it is, then captured, and from then on replayed.

    Args:
        step: reads and writes memory that stays where it is, and waits for nothing.
        generators: what it draws from, beside torch's own.
        key: the objects that it was made of; a graph of others is another.
    """

    def __init__(
        self, step: Callable[[], None], generators: Iterable[torch.Generator], key: tuple[Any, ...]
    ) -> None:
        self.step, self.generators, self.key = step, list(generators), key
        self.made = 0
        self.can_capture = True
        self.graph: torch.cuda.CUDAGraph | None = None

    def is_of(self, key: tuple[Any, ...]) -> bool:
        """It was made of these."""
        return len(key) == len(self.key) and all(a is b for a, b in zip(key, self.key, strict=True))

    def __call__(self) -> None:
        """Make a step."""
        if self.graph is None and self.can_capture and self.made >= WARM_UP:
            self._try_to_capture()
        self.made += 1
        if self.graph is None:
            self.step()
        else:
            self.graph.replay()

    def _try_to_capture(self) -> None:
        try:
            self.graph = self._capture()
        except Exception as error:  # whatever a library does that a graph cannot hold
            self.can_capture = False
            why = f"{type(error).__name__}: {str(error).strip()[:200]}"
            warn_of_launches(f"a step cannot be captured ({why})")

    def _capture(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            self.step()
        return graph


def warn_of_launches(why: str) -> None:
    """Say that there is no graph, and why."""
    warnings.warn(
        f"cuda_graph was asked for, but {why}: steps are launched one kernel at a time",
        RuntimeWarning,
        stacklevel=3,
    )
