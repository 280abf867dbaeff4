"""The processes that train one run together, as torchrun starts them (edge: torch.distributed).

Nobody else knows how they talk. What crosses the group is tensors, JSON and files' bytes: nothing that would
have to be unpickled. Sums are taken in an order that does not depend on how many processes there are: every
process gets all the parts, by the numbers of the shards that they belong to, and adds them one by one.

What torchrun says in the environment is read here: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT,
TORCHELASTIC_RUN_ID and TORCHELASTIC_RESTART_COUNT.
"""

from __future__ import annotations

import _thread
import contextlib
import datetime
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

PATIENCE: Final = datetime.timedelta(days=1)
"""Ranks wait so long for one another, while rank 0 walks a game's tree for one. Who is gone is noticed at
once, by its closed connection."""

BEGINNING: Final = datetime.timedelta(minutes=10)
"""They wait so long for one another to begin."""

LOOK: Final = 0.5
"""Seconds between two looks whether another rank has failed."""

MERCY: Final = 5.0
"""Seconds that a rank has to end by itself when another has failed; as many more once it is interrupted."""

TOLD: Final = (ValueError, TypeError, OSError, RuntimeError, ArithmeticError, MemoryError)
"""Errors that are told in one line, with the rank; others are mistakes of ours and keep their trace."""


class LostError(RuntimeError):
    """Another process of the group is gone, or cannot be reached."""


class Group:
    """The processes of a run, and what they tell one another; every rank calls the same things in turn.

    Args:
        rank: of this process, 0..world - 1; rank 0 writes the files.
        world: how many there are.
        store: where all of them can leave a word; None: this process is alone.
    """

    def __init__(self, rank: int = 0, world: int = 1, store: Any = None) -> None:
        self.rank, self.world, self.store = rank, world, store
        self._on_gpu: Any = None
        self._is_done = threading.Event()

    @property
    def is_launched(self) -> bool:
        """By torchrun, be it with one process."""
        return self.store is not None

    def owned(self, shards: int) -> range:
        """The numbers of the shards that are this rank's: r, r + world, r + 2 world, ...

        Raises:
            ValueError: there are fewer shards than processes.
        """
        if shards < self.world:
            raise ValueError(
                f"{self.world} processes cannot share a run of {shards} shard{'s' * (shards > 1)}: start at "
                f"most {shards} (--nproc-per-node times --nnodes), or begin a run with more shards"
            )
        return range(self.rank, shards, self.world)

    def use(self, device: torch.device) -> None:
        """Talk of tensors on this device, too: on a GPU by nccl, each rank on the one of its local number."""
        if device.type == "cuda" and self.world > 1 and self._on_gpu is None:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            with self._talking():
                self._on_gpu = dist.new_group(backend="nccl", timeout=PATIENCE)

    # ------------------------------------------------ what is told

    def rows(self, mine: Tensor, shards: int) -> Tensor:
        """What every shard tells, in their order.

        Args:
            mine: [k, n], of the k shards that are `owned`.
            shards: S.

        Returns:
            [S, n], the same on every rank.
        """
        if self.world == 1:
            return mine
        most = -(-shards // self.world)
        given = mine.contiguous().view(torch.uint8)
        if len(given) < most:
            given = torch.cat([given, given.new_zeros(most - len(given), given.shape[1])])
        parts = [torch.empty_like(given) for _ in range(self.world)]
        with self._talking():
            dist.all_gather(parts, given, group=self._on_gpu if mine.is_cuda else None)
        return torch.stack(parts, 1).flatten(0, 1)[:shards].view(mine.dtype)

    def total(self, mine: Tensor) -> Tensor:
        """The sum over all ranks, in whatever order is fast; `mine` becomes it."""
        if self.world > 1:
            with self._talking():
                dist.all_reduce(mine, group=self._on_gpu if mine.is_cuda else None)
        return mine

    def send(self, content: bytes = b"") -> bytes:
        """What rank 0 gives, on every rank."""
        if self.world == 1:
            return content
        with self._talking():
            size = torch.tensor([len(content)])
            dist.broadcast(size, 0)
            told = torch.zeros(int(size), dtype=torch.uint8) if self.rank else _tensor(content)
            dist.broadcast(told, 0)
        return told.numpy().tobytes()

    def tell(self, value: Any = None) -> Any:
        """What rank 0 gives, on every rank, as JSON has it."""
        return json.loads(self.send(json.dumps(value).encode() if self.rank == 0 else b""))

    def collect(self, content: bytes) -> list[bytes]:
        """What every rank gives, on rank 0; nothing on the others."""
        if self.world == 1:
            return [content]
        with self._talking():
            size = torch.tensor([len(content)])
            sizes = [torch.zeros_like(size) for _ in range(self.world)]
            dist.all_gather(sizes, size)
            most = int(torch.cat(sizes).max())
            given = _tensor(content.ljust(most, b"\0"))
            parts = [torch.empty_like(given) for _ in range(self.world)] if self.rank == 0 else None
            dist.gather(given, parts, dst=0)
        return [part[: int(n)].numpy().tobytes() for part, n in zip(parts or [], sizes, strict=False)]

    def first(self, number: int | None) -> tuple[int, int] | None:
        """The lowest rank that has a number, and its number; None if no rank has one."""
        if self.world == 1:
            return None if number is None else (self.rank, number)
        mine = torch.tensor([-1 if number is None else number])
        told = [torch.zeros_like(mine) for _ in range(self.world)]
        with self._talking():
            dist.all_gather(told, mine)
        return next(((rank, int(x)) for rank, x in enumerate(told) if int(x) >= 0), None)

    def wait(self) -> None:
        """Until every rank has come here."""
        self.total(torch.zeros(1))

    # ------------------------------------------------ how it ends

    def cause(self, error: BaseException) -> BaseException:
        """What made this rank end: what another one failed of, if it did, else `error`."""
        told = self._failure(LOOK if isinstance(error, (LostError, KeyboardInterrupt)) else 0.0)
        return error if told is None else RuntimeError(told)

    def leave(self, error: BaseException) -> NoReturn:
        """End by an error: the first rank tells it, the others are silent.

        Raises:
            RuntimeError: this is the first; the message names the rank.
            SystemExit: another one has told it.
        """
        if self.store is None or isinstance(error, SystemExit):
            raise error
        told = f"rank {self.rank} of {self.world}: {' '.join(str(error).split()) or type(error).__name__}"
        if self._failure(4 * LOOK if isinstance(error, LostError) else 0.0) is None:
            with contextlib.suppress(*TOLD):
                if self.store.compare_set("failure", "", told).decode() != told:
                    raise SystemExit(1) from error
            if isinstance(error, TOLD):
                raise RuntimeError(told) from error
            error.add_note(told)
            raise error
        raise SystemExit(1) from error

    def _failure(self, patience: float) -> str | None:
        """What a rank failed of, if one has said so within so many seconds."""
        end = time.monotonic() + patience
        while self.store is not None:
            with contextlib.suppress(*TOLD):  # who keeps the words is gone, too
                if self.store.check(["failure"]):
                    return str(self.store.get("failure").decode())
            if time.monotonic() >= end:
                return None
            time.sleep(LOOK / 5)
        return None

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise LostError("another process of the run is gone: killed, or cut off") from error

    def watch(self) -> None:
        """Look from now on whether another rank has failed; then this one ends, whatever it is doing."""
        threading.Thread(target=self._watch, daemon=True, name="fogbound-watch").start()

    def _watch(self) -> None:
        while self._failure(0.0) is None:
            if self._is_done.wait(LOOK):
                return
        if self._is_done.wait(MERCY):
            return
        for _ in range(2):  # a first signal is only remembered, a second one stops
            _thread.interrupt_main(signal.SIGINT)
            time.sleep(0.1)
        if not self._is_done.wait(MERCY):
            os._exit(1)

    def close(self) -> None:
        """Nobody is waited for any more."""
        self._is_done.set()
        if self.store is not None and dist.is_initialized():
            dist.destroy_process_group()


ALONE: Final = Group()
"""One process, and nobody started it."""


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0).byte()


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """The group of the processes that torchrun started with this one; `ALONE` where it started none.

    Raises:
        RuntimeError: what happened inside, the rank named, on the first rank that something happened to.
        SystemExit: on the others.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        yield ALONE
        return
    store, rank, world = next(iter(rendezvous("env://", timeout=BEGINNING)))
    store = _of_this_start(store, rank, world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=PATIENCE)
    group = Group(rank, world, store)
    group.watch()
    try:
        yield group
    except BaseException as error:
        group.leave(error)
    finally:
        group.close()


def _of_this_start(store: Store, rank: int, world: int) -> Store:
    """Room in the store for the processes that began together with this one.

    Torchrun keeps one store while it starts processes again and again, and what earlier ones left there would
    be read as said now. So each rank asks with a word that nobody has said before, and rank 0 answers it.

    Raises:
        LostError: they did not come.
    """
    word, end = uuid.uuid4().hex, time.monotonic() + BEGINNING.total_seconds()
    if rank > 0:
        store.set(f"asks/{rank}", word)
        room = store.get(f"answer/{word}").decode()
        store.add(f"came/{room}", 1)
        return PrefixStore(room, store)
    while store.add(f"came/{word}", 0) < world - 1:
        for other in range(1, world):
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", word)
        if time.monotonic() > end:
            raise LostError(f"of {world} processes some did not come within {BEGINNING}")
        time.sleep(0.05)
    return PrefixStore(word, store)


class Launch(NamedTuple):
    """One start of torchrun."""

    name: str
    """The same when it starts its processes again."""
    may_go_on: bool
    """An earlier one of this name may be this one."""


def launch() -> Launch | None:
    """By which this process was started; None: by none.

    Where nobody named it (--rdzv-id, --standalone), it is told by the process that keeps it, whose number
    another one may have had before: then only processes that are started again may go on with anything.
    """
    name, count = os.environ.get("TORCHELASTIC_RUN_ID"), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if name is None:
        return None
    if name != "none":
        return Launch(name, True)
    return Launch(f"{socket.gethostname()}/{os.getppid()}", count != "0")
