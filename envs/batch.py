"""Batch: many matches of one game stepped together on one device, straight into torch tensors."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from envs import kernels
from envs.core import Game
from envs.room import check_room


def usable_device(device: str | torch.device) -> torch.device:
    """`device` as torch's, or ValueError if it is neither the CPU nor a CUDA device of this machine."""
    try:
        usable = torch.device(device)
    except RuntimeError:  # torch's own message lists every kind of device it has a name for
        raise ValueError(f"device must be cpu or cuda, got {device}") from None
    if usable.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, got {device}")
    if usable.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no CUDA device; use device='cpu'")
    return usable


def fitting(state: Mapping[str, torch.Tensor], name: str, like: torch.Tensor) -> torch.Tensor:
    """The saved tensor `name`, of the shape and dtype of `like`, its numbers finite.

    Raises:
        ValueError: there is none, or it is another.
    """
    saved = state.get(name)
    if saved is None:
        raise ValueError(f"the saved state lacks {name!r}")
    if saved.shape != like.shape or saved.dtype != like.dtype:
        raise ValueError(
            f"the saved {name} is {saved.dtype} {tuple(saved.shape)}, expected {like.dtype} "
            f"{tuple(like.shape)}"
        )
    if saved.is_floating_point() and not torch.isfinite(saved).all():
        raise ValueError(f"the saved {name} holds numbers that are not finite")
    return saved


def bytes_of(game: Game) -> int:
    """Memory that each match of a `Batch` takes."""
    space = game.observation_space
    shown = math.prod(space.shape or ()) * np.dtype(space.dtype).itemsize
    # twice the mask; seat, episode and action of 8 bytes, over, illegal and only of 1
    return int(shown + 2 * game.actions + 4 * game.seats + 3 * 8 + 3 + game.state.itemsize)


class Batch:
    """B matches of `game` side by side; a match that ends is replaced by a new one in the same step.

    Everything a trainer reads lies in torch tensors on `device` that are written in place, so they
    keep their addresses from step to step (clone what must outlive the next step):

        observation  [B, ...]  of the seat to move, dtype of the game's observation space
        legal        [B, A]    bool, actions of the seat to move
        seat         [B]       int64, who moves
        reward       [B, P]    float32, earned by the last step
        over         [B]       bool, the last step ended a match and a new one has begun
        illegal      [B]       bool, the last action was illegal: its seat lost, the match ended
        final        [B, P, ...]  what each seat saw when the lane's latest match ended, zeros before;
                               None until `keep_final`, or a step of some matches only, needs it

    The n-th match of lane b depends on (seed, b, n) and its actions alone: it is the same, byte for
    byte, in any batch size, on any number of threads, on CPU and CUDA, and in a `Match` with the same
    seed.

    Args:
        game: a game made by `envs.make`.
        matches: B, at least 1.
        device: "cpu" or a CUDA device. On CUDA the kernels run on torch's current stream.
        seed: 64-bit seed of the whole batch.

    Raises:
        TypeError: `game` is no game.
        ValueError: an argument cannot be used, or the game's observation space, or the matches do not fit
            into memory; the message says how many would.
    """

    def __init__(self, game: Game, matches: int, device: str | torch.device = "cpu", seed: int = 0) -> None:
        if not isinstance(game, Game):
            raise TypeError(f"expected a game as envs.make makes it, got {game!r}")
        space = game.observation_space
        if not isinstance(space, (spaces.MultiDiscrete, spaces.Box)):
            raise ValueError(
                f"{game.name}: the observation space {space} is not supported; known are MultiDiscrete, Box"
            )
        if operator.index(matches) < 1:
            raise ValueError(f"matches must be at least 1, got {matches}")
        self.game = game
        self.matches = operator.index(matches)
        self.device = usable_device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())

        check_room(f"{game.name}: matches", self.matches, bytes_of(game), self.device)
        self.observation = self._zeros(*space.shape, dtype=space.dtype)
        self.legal = self._zeros(game.actions, dtype=np.bool_)
        # What `legal` tells, where no caller writes; on CUDA actions are judged afresh.
        self._may = self._zeros(game.actions, dtype=np.bool_) if self.device.type == "cpu" else self.legal
        self.seat = self._zeros(dtype=np.int64)
        self.reward = self._zeros(game.seats, dtype=np.float32)
        self.over = self._zeros(dtype=np.bool_)
        self.illegal = self._zeros(dtype=np.bool_)

        self._episode = self._zeros(dtype=np.int64)  # matches begun in each lane
        self._states = self._zeros(game.state.itemsize, dtype=np.uint8)  # the state records, as bytes
        blank = np.zeros(1, game.state)
        blank[0] = game.blank()
        self._blank = torch.from_numpy(blank.view(np.uint8)).to(self.device)
        self._actions = self._zeros(dtype=np.int64)
        self._only = self._zeros(dtype=np.bool_)
        self.final: torch.Tensor | None = None
        self._played: torch.Tensor | None = None  # [B, max_length], actions of the matches going on
        self._length = self._zeros(dtype=np.int64)  # decisions of each so far; -1 = nobody wrote them down
        bind = kernels.cpu_kernels if self.device.type == "cpu" else kernels.cuda_kernels
        self._kernels = bind(type(game))
        self._seed = torch.zeros(1, dtype=torch.int64, device=self.device)  # its 64 bits
        # The device's arrays behind the tensors; a kernel's arguments but for the actions.
        self._views = (
            self._array(self._states, self.game.state),
            self._array(self._blank, self.game.state),
            self._array(self._seed, np.uint64),
            *map(self._array, (self._episode, self.observation, self.legal, self.seat)),
            *map(self._array, (self.reward, self.over, self.illegal)),
        )
        self._action_view, self._only_view = self._array(self._actions), self._array(self._only)
        self._may_view = self._array(self._may)
        self._final_view: Any = None
        self._is_unwritten = False  # all of `_length` is -1
        self.reset(seed)

    @property
    def num_envs(self) -> int:
        """The number of matches, by the name that Stable-Baselines3's tools read."""
        return self.matches

    @property
    def seed(self) -> int:
        """The 64-bit seed that the matches began from."""
        return int(self._seed.cpu().numpy().view(np.uint64)[0])

    def reset(self, seed: int | None = None) -> None:
        """Begin anew with the first match of every lane, from `seed` (None: the batch's own again)."""
        if seed is not None:
            bits = np.array([operator.index(seed) & 0xFFFF_FFFF_FFFF_FFFF], np.uint64)
            self._seed.copy_(torch.from_numpy(bits.view(np.int64)))
        self._write(self._episode, 0)
        if self.final is not None:
            self._write(self.final, 0)
        self._write(self._length, 0)
        self._is_unwritten = False
        self._launch(self._kernels.reset)

    def keep_final(self) -> torch.Tensor:
        """From now on write into `final` what each seat sees when a match ends; returns `final`."""
        if self.final is None:
            space: Any = self.game.observation_space
            self.final = self._zeros(self.game.seats, *space.shape, dtype=space.dtype)
            self._final_view = self._array(self.final)
        return self.final

    @property
    def states(self) -> np.ndarray[Any, Any]:
        """The state records of all matches [B], of the game's `state` dtype; a copy."""
        return self._states.cpu().numpy().copy().reshape(-1).view(self.game.state)

    def keep_actions(self) -> None:
        """From now on write down what is played in the matches going on, which `state_dict` needs."""
        if self._played is None:
            shape = (self.matches, self.game.max_length)
            self._played = torch.zeros(shape, dtype=torch.int32, device=self.device)

    def step(self, actions: torch.Tensor, only: torch.Tensor | None = None) -> None:
        """Play one action in every match, or in some.

        Args:
            actions: [B] of an integer dtype. An action that is not legal ends its match (`illegal`).
            only: bool [B], the matches to play in; None = all. The others wait: their actions are not
                looked at, what is shown of them stays, and they earn nothing.

        Raises:
            TypeError, ValueError: `actions` or `only` has a wrong dtype or shape; nothing was played.
        """
        actions = torch.as_tensor(actions)
        if actions.dtype == torch.bool or actions.is_floating_point() or actions.is_complex():
            raise TypeError(f"actions must have an integer dtype, got {actions.dtype}")
        if actions.shape != self.seat.shape:
            raise ValueError(f"actions must have shape ({self.matches},), got {tuple(actions.shape)}")
        if only is not None:
            only = torch.as_tensor(only)
            if only.dtype != torch.bool or only.shape != self.seat.shape:
                raise ValueError(
                    f"only must be bool of shape ({self.matches},), got {only.dtype} of {tuple(only.shape)}"
                )
        self._write(self._actions, actions)
        turn = (self._action_view, np.float32(self.game.return_range[0]))
        if only is None and self.final is None:
            self._launch(self._kernels.step, *turn)
        else:
            self.keep_final()
            self._write(self._only, True if only is None else only)
            self._launch(self._kernels.step_if, *turn, self._only_view, self._final_view)
        self._write_down(only)

    def _write_down(self, only: torch.Tensor | None) -> None:
        """Add the step that was just made to what the matches going on have played."""
        if self._played is None:
            if not self._is_unwritten:
                self._write(self._length, -1)
                self._is_unwritten = True
            return
        last = self._played.shape[1] - 1
        # Where a match waits, or its beginning was not written down, this writes where nobody reads.
        at = self._length.clamp(0, last)[:, None]
        self._played.scatter_(1, at, self._actions[:, None].to(torch.int32))
        goes_on = self._length >= 0
        self._length += goes_on if only is None else goes_on & self._only
        self._length.masked_fill_(self.over, 0)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """How the matches came to stand where they do, as tensors (for checkpoints).

        The seed, how many matches each lane has begun, and what was played in those going on: enough to
        play them again, and nothing that the rules do not check. Of a batch that has been stepped it needs
        `keep_actions`, asked for before the first step.

            game     uint8 [*]    the game and its options in words, UTF-8
            seed     int64 [1]    its 64 bits
            episode  int64 [B]    matches begun in each lane
            length   int64 [B]    decisions of the match going on; -1 = they were not written down
            actions  int32 [B, L] those decisions; L is the most there are
            reward   float32 [B, P], over and illegal bool [B], as the last step left them
        """
        longest = max(0, int(self._length.max()))
        played = self._length.new_zeros(self.matches, longest, dtype=torch.int32)
        if self._played is not None:
            written = torch.arange(longest, device=self.device) < self._length[:, None]
            played = torch.where(written, self._played[:, :longest], played)
        game = torch.from_numpy(np.frombuffer(str(self.game).encode(), np.uint8).copy())
        kept = {"seed": self._seed, "episode": self._episode, "length": self._length}
        told = {name: getattr(self, name) for name in self._TOLD}
        return {name: x.clone() for name, x in ({"game": game, "actions": played} | kept | told).items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on where `state_dict` was taken, in a batch of the same game and size.

        The matches are dealt again and their actions played by the rules.

        Raises:
            ValueError: it is the state of another game, or none that these rules can lead to; nothing was
                changed.
        """
        missing = sorted({"game", "seed", "episode", "length", "actions", *self._TOLD} - set(state))
        if missing:
            raise ValueError(f"the saved batch lacks {missing}")
        letters = state["game"]
        text = bytes(letters.flatten()[:1000].tolist()) if letters.dtype == torch.uint8 else b""
        if text.decode(errors="replace") != str(self.game):
            raise ValueError(
                f"the saved batch does not fit {self.game}: it plays {text[:100].decode(errors='replace')!r}"
            )
        likes = {"seed": self._seed, "episode": self._episode, "length": self._length}
        likes |= {name: getattr(self, name) for name in self._TOLD}
        seed, episode, length, *told = (fitting(state, name, like) for name, like in likes.items())
        actions = state["actions"]
        longest = int(actions.shape[1]) if actions.dim() == 2 else -1
        expected = actions.new_zeros(self.matches, min(max(longest, 0), self.game.max_length))
        actions = fitting(state, "actions", expected.to(torch.int32))
        if (length < 0).any():
            raise ValueError(
                "the saved batch cannot go on: its matches were begun before keep_actions was asked for"
            )
        if (length > longest).any() or not ((episode >= 1) & (episode < 2**62)).all():
            raise ValueError(
                f"the saved batch holds lengths up to {int(length.max())} and counters "
                f"{int(episode.min())}..{int(episode.max())}; allowed are lengths up to {longest}, the "
                "actions that it holds, and counters from 1"
            )
        again = Batch(self.game, self.matches, self.device)
        again.keep_actions()
        again._replay(*(x.to(self.device) for x in (seed, episode, length, actions)))
        if self._played is not None or longest > 0:
            self.keep_actions()
        for name in ("observation", "legal", "seat", "_may", "_seed", "_episode", "_states", "_length"):
            getattr(self, name).copy_(getattr(again, name))
        if self._played is not None and again._played is not None:
            self._played.copy_(again._played)
        self._is_unwritten = False
        for name, x in zip(self._TOLD, told, strict=True):
            getattr(self, name).copy_(x)

    def _replay(
        self, seed: torch.Tensor, episode: torch.Tensor, length: torch.Tensor, actions: torch.Tensor
    ) -> None:
        """Deal the `episode`-th matches of all lanes and play the first `length` actions of each.

        Raises:
            ValueError: the rules do not allow one, or end a match by it.
        """
        self._seed.copy_(seed)
        self._episode.copy_(episode - 1)
        self._length.zero_()
        self._launch(self._kernels.reset)
        for t in range(actions.shape[1]):
            self.step(actions[:, t], t < length)
            if self.over.any():
                lane = int(torch.nonzero(self.over)[0])
                how = "is illegal" if self.illegal[lane] else "ends the match"
                raise ValueError(
                    f"the saved batch is none of {self.game}: action {int(actions[lane, t])}, decision "
                    f"{t + 1} of {int(length[lane])} in lane {lane}, {how}"
                )

    _TOLD = ("reward", "over", "illegal")
    """What the last step left, which no later step reads."""

    # On a CPU what a step needs is done by NumPy: torch's own threads are gone in a forked process, and with
    # tensors of some size it waits for them for ever.

    def _zeros(self, *shape: int, dtype: Any) -> torch.Tensor:
        """Zeros [B, *shape] on the device, of a dtype of NumPy's."""
        if self.device.type == "cpu":
            return torch.from_numpy(np.zeros((self.matches, *shape), dtype))
        like = torch.from_numpy(np.zeros(0, dtype)).dtype
        return torch.zeros(self.matches, *shape, dtype=like, device=self.device)

    def _write(self, tensor: torch.Tensor, values: torch.Tensor | float) -> None:
        """Copy `values`, a tensor of any device or one number, into `tensor`."""
        if self.device.type == "cpu":
            given = values.cpu().numpy() if isinstance(values, torch.Tensor) else values
            np.copyto(tensor.numpy(), given, casting="unsafe")
        elif isinstance(values, torch.Tensor):
            tensor.copy_(values)
        else:
            tensor.fill_(values)

    def _array(self, tensor: torch.Tensor, dtype: np.dtype[Any] | type | None = None) -> Any:
        """The memory of `tensor` as an array that a kernel takes, flat and reread as `dtype` if given."""
        if dtype is not None:
            tensor = tensor.reshape(-1)
        if self.device.type == "cpu":
            array: Any = tensor.numpy()
        else:
            from numba import cuda

            array = cuda.as_cuda_array(tensor)
        return array if dtype is None else array.view(dtype)

    def _launch(self, kernel: Any, *extra: Any) -> None:
        if self.device.type == "cpu":
            arguments = (*self._views, self._may_view, *extra)
            kernels.launch_cpu(kernel, self.matches, torch.get_num_threads(), *arguments)
        else:
            arguments = (*self._views, *extra)
            with torch.cuda.device(self.device):
                stream = torch.cuda.current_stream(self.device).cuda_stream
                kernels.launch_cuda(kernel, self.matches, stream, *arguments)
