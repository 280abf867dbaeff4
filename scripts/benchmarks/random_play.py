"""Our side of stepping games, a `Batch` under random play, and whether two sides play alike."""

from __future__ import annotations

import math
from typing import Any

import torch

import envs
from agents.net.distributions import sample
from agents.play.players import RandomPlayer
from benchmarks.options import Env
from benchmarks.telling import Clock, ComparisonError, cpu

CHUNK = 16  # steps of ours between two looks at the clock
STANDARD_ERRORS = 4.0  # a mean of equal distributions lies further off once in 16,000 comparisons


class Ours:
    """A `Batch` under random play on one device."""

    def __init__(
        self, game: envs.Game, matches: int, options: Env, device: str, threads: int, clock: Clock
    ) -> None:
        self.batch = envs.Batch(game, matches, device, options.seed)
        self.player = RandomPlayer(game, seed=options.seed)
        self.threads, self.seconds, self.clock = threads, options.seconds, clock
        torch.set_num_threads(threads)
        for _ in range(2 * min(game.max_length, 200)):  # matches are no longer in step with each other
            random_step(self.batch, self.player)

    def speed(self) -> float:
        """Decisions per second."""
        torch.set_num_threads(self.threads)
        steps, began = 0, self.clock.now()
        while (passed := self.clock.now() - began) < self.seconds:
            for _ in range(CHUNK):
                random_step(self.batch, self.player)
            steps += CHUNK
        return steps * self.batch.matches / passed


def places(game: envs.Game, options: Env, threads: int, clock: Clock) -> dict[tuple[int, str], Ours]:
    """Our side by the number of matches and the name of the place: all threads, one, and the GPU if it was
    asked for."""
    ours = {}
    for matches in options.matches:
        for t in sorted({threads, 1}, reverse=True):
            ours[matches, cpu(t)] = Ours(game, matches, options, "cpu", t, clock)
        if options.device == "cuda":
            ours[matches, "GPU"] = Ours(game, matches, options, "cuda", threads, clock)
    return ours


def random_step(batch: envs.Batch, player: RandomPlayer) -> None:
    """One random legal decision in every match; on a GPU drawn there."""
    if batch.device.type == "cuda":
        batch.step(sample(batch.legal.float().log()))
    else:
        batch.step(player.choose(batch.observation, batch.legal, batch.seat, None))


def first_matches(game: envs.Game, options: Env, device: str, clock: Clock) -> tuple[Any, float]:
    """Decisions and return of seat 0 in the first match of every lane, [check_matches, 2], all of them to
    their end: no match is counted for being short. And the seconds until the first step was done."""
    began, first = clock.now(), 0.0
    batch = envs.Batch(game, options.check_matches, device, options.seed)
    player = RandomPlayer(game, seed=options.seed)
    length = torch.zeros(batch.matches, device=batch.device)
    total = torch.zeros(batch.matches, device=batch.device)
    is_first = torch.ones(batch.matches, dtype=torch.bool, device=batch.device)
    for step in range(game.max_length):
        random_step(batch, player)
        length += is_first
        total += is_first * batch.reward[:, 0]
        is_first &= ~batch.over
        if step == 0:
            first = clock.now() - began
    if bool(is_first.any()):
        raise ComparisonError(f"{game}: a match on {device} took more than {game.max_length} decisions")
    return torch.stack([length, total], 1).cpu().numpy().astype(float), first


def standard_errors(a: Any, b: Any) -> float:
    """How many standard errors the means of two samples lie apart."""
    apart = abs(a.mean() - b.mean())
    error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(apart / error) if error > 0.0 else (0.0 if apart == 0.0 else math.inf)


def observation_bytes(game: envs.Game) -> int:
    space = game.observation_space
    return math.prod(space.shape) * space.dtype.itemsize
