"""Speed beside other packages: both in one process, by turns, as ratios with their spread.

    python scripts/benchmark.py env                     stepping games, beside OpenSpiel and generals-bots
    python scripts/benchmark.py env generals            some of them
    python scripts/benchmark.py train                   training with memory, beside sb3-contrib
    python scripts/benchmark.py env dark_hex:7 --matches 16384 --repeats 15
    python scripts/benchmark.py train --markdown        tables as docs/benchmarks.md holds them

Before anything is timed it is checked that both sides do the same thing; if they do not, nothing is timed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

import agents
import envs
from agents.net.distributions import sample
from agents.play.players import RandomPlayer
from envs.kernels import MATCHES_PER_THREAD
from envs.names import known

OPENSPIEL = {
    "dark_hex": "dark_hex(num_rows={size},num_cols={size},gameversion=cdh,obstype=reveal-nothing)",
    "phantom_tictactoe": "phantom_ttt(gameversion=classical,obstype=reveal-nothing)",
    "kuhn_poker": "kuhn_poker",
    "leduc_poker": "leduc_poker",
}
"""The same game in OpenSpiel."""

HEADLINE, ENV_GOAL, TRAIN_GOAL = "dark_hex:5", 30.0, 2.0
GENERALS_HEADLINE, GENERALS_GOAL = "generals:8", 200_000.0  # ticks a second
GENERALS_CHECK = 200  # matches of generals-bots before anything is timed: it plays some 1,000 ticks a second
MATCHES, GENERALS_MATCHES = 4096, 1024  # side by side
CHUNK = 16  # steps of ours between two looks at the clock
STANDARD_ERRORS = 4.0  # a mean of equal distributions lies further off once in 16,000 comparisons
STEPS, RATIO = "{:,.0f} ({:,.0f}..{:,.0f})", "{:.2f}x ({:.2f}..{:.2f})"


class ComparisonError(Exception):
    """The two sides do not do the same thing, so their times say nothing."""


@dataclass(frozen=True)
class Common:
    """What both comparisons take."""

    repeats: int = 9
    """How often the sides take turns."""
    threads: int | None = None
    """CPU threads, of stepping and of torch on both sides; None = what torch chooses."""
    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: `env` measures its GPU rows, too; `train` computes there on both sides."""
    seed: int = 0
    """Of all draws."""
    markdown: bool = False
    """Print Markdown."""
    progress: bool = True
    """Show a progress bar if the terminal can."""


@dataclass(frozen=True)
class Env(Common):
    """Random legal play with mask and observation; matches are played to their end and begin anew."""

    games: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="GAME")] = (
        *(HEADLINE, "phantom_tictactoe", "kuhn_poker", "leduc_poker", "dark_hex:11"),
        GENERALS_HEADLINE,
    )
    """Games to step; dark_hex and generals take the side of their board behind a colon."""
    matches: int | None = None
    """Matches side by side on our side; None = 4,096, of generals 1,024. The others play one at a time."""
    seconds: float = 0.5
    """Time per side and repeat."""
    check_matches: int = 4096
    """Matches of each side whose mean length and return are compared before."""


@dataclass(frozen=True)
class Train(Common):
    """Training, rollout and update, with one core shared by both heads: phantom tic-tac-toe by self-play,
    and one agent in a Gymnasium world."""

    cells: tuple[str, ...] = ("gated", "lstm")
    """Our cells; the peer's is always an LSTM."""
    matches: tuple[int, ...] = (64,)
    """Matches of phantom tic-tac-toe side by side, one table row each."""
    worlds: tuple[int, ...] = (8, 64, 256)
    """Gymnasium worlds side by side, one table row each."""
    world: str = "CartPole-v1"
    """Which."""
    hidden: int = 128
    """Units of the core, on both sides."""
    net_arch: tuple[int, ...] = (64,)
    """Widths of the layers between core and heads, on both sides."""
    n_steps: int = 32
    """Decisions of each match in a rollout."""
    n_epochs: int = 4
    """Passes over a rollout."""
    minibatches: int = 4
    """Minibatches of a pass."""
    updates: int = 2
    """Rollouts and updates per side and repeat."""


def main() -> int:
    options = tyro.cli(Env | Train, description=__doc__)
    try:
        _check(options)
        print(measure_env(options) if isinstance(options, Env) else measure_train(options))
    except ComparisonError as error:
        return _fail(error, 1)
    except (ValueError, ImportError) as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    return 0


# ---------------------------------------------------------------- stepping games


def measure_env(options: Env) -> str:
    """The whole comparison, as text."""
    generals = [_generals(name) for name in options.games if name.partition(":")[0] == "generals"]
    others = [name for name in options.games if name.partition(":")[0] != "generals"]
    sections = [measure_openspiel(options, others)] if others else []
    return "\n\n".join(sections + ([measure_generals(options, generals)] if generals else []))


def measure_openspiel(options: Env, names: Sequence[str]) -> str:
    """Games that OpenSpiel has, too, beside it."""
    try:
        import pyspiel  # noqa: F401
    except ImportError:
        raise ImportError("OpenSpiel is missing; install it with: pip install -e '.[oracles]'") from None
    threads = torch.get_num_threads()
    chosen = [(name, *_games(name)) for name in names]
    speeds, facts, verdicts = [], [], []
    with _bar(options, len(chosen) * options.repeats) as bar:
        for name, game, theirs in chosen:
            bar.set_description(name)
            peers = {
                "list": OpenSpiel(theirs, False, options.seed),
                "buffer": OpenSpiel(theirs, True, options.seed),
            }
            facts.append([name, *_compare_play(game, peers["list"], options)])

            sides: dict[str, Callable[[], float]] = {}
            for t in sorted({threads, 1}, reverse=True):
                sides[f"CPU, {t} thread{'s' * (t > 1)}"] = Ours(game, MATCHES, options, "cpu", t).speed
            if options.device == "cuda":
                sides["GPU"] = Ours(game, MATCHES, options, "cuda", threads).speed
            ours = list(sides)
            for way, peer in peers.items():
                sides[way] = functools.partial(peer.speed, options.seconds)
            measured = interleave(sides, options.repeats, bar)

            for side in ours:
                ratios = [_ratios(measured[side], measured[way]) for way in peers]
                ways = [spread(STEPS, measured[way]) for way in peers]
                speeds.append(
                    [name, side, spread(STEPS, measured[side]), *ways, *(spread(RATIO, r) for r in ratios)]
                )
                if name == HEADLINE and side == ours[0]:
                    for way, r in zip(peers, ratios, strict=True):
                        verdicts.append(_verdict(f"{name}, {side}, beside OpenSpiel ({way})", r, ENV_GOAL))
            if "GPU" not in ours:
                speeds.append([name, "GPU", _not_measured(), "-", "-", "-", "-"])
    torch.set_num_threads(threads)

    return _report(
        options,
        ["open_spiel"],
        "Stepping games",
        [
            f"{options.matches or MATCHES} matches side by side, beside OpenSpiel stepped from Python one "
            f"match at a time; {options.repeats} repeats by turns, {options.seconds} s per side each.",
            "A step is one decision: choose a random legal action, play it (with any chance outcomes), begin "
            "anew if the match ended, make mask and observation of the seat to move.",
            "OpenSpiel's observation is made in two ways: list = state.observation_tensor(); buffer = its "
            "Python observer, which fills a NumPy array (make_observation, set_from).",
        ],
        [
            (
                [
                    "game",
                    "ours on",
                    "ours, decisions/s, median (least..most)",
                    "OpenSpiel (list)",
                    "OpenSpiel (buffer)",
                    "ratio to list",
                    "ratio to buffer",
                ],
                speeds,
            ),
            (
                [
                    "game",
                    "state, bytes",
                    "observation, bytes",
                    "OpenSpiel's observation, bytes",
                    "first step, s",
                    "mean length, ours / theirs",
                    "mean return of seat 0",
                    "difference, standard errors",
                ],
                facts,
            ),
        ],
        [
            f"Checked before timing: mean length and return of {options.check_matches} random matches of "
            f"each side agree within {STANDARD_ERRORS:.0f} standard errors, in every game.",
            "First step: making the batch and its first step, kernels compiled or read from the disk cache; "
            "not part of the speeds.",
            *verdicts,
        ],
    )


class Ours:
    """A `Batch` under random play on one device."""

    def __init__(self, game: envs.Game, matches: int, options: Env, device: str, threads: int) -> None:
        self.batch = envs.Batch(game, options.matches or matches, device, options.seed)
        self.player = RandomPlayer(game, seed=options.seed)
        self.threads, self.seconds = threads, options.seconds
        torch.set_num_threads(threads)
        for _ in range(2 * min(game.max_length, 200)):  # matches are no longer in step with each other
            random_step(self.batch, self.player)

    def speed(self) -> float:
        """Decisions per second."""
        torch.set_num_threads(self.threads)
        _wait(self.batch.device)
        steps, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < self.seconds:
            for _ in range(CHUNK):
                random_step(self.batch, self.player)
            steps += CHUNK
            _wait(self.batch.device)
        return steps * self.batch.matches / passed


def random_step(batch: envs.Batch, player: RandomPlayer) -> None:
    """One random legal decision in every match; on a GPU drawn there."""
    if batch.device.type == "cuda":
        batch.step(sample(batch.legal.float().log()))
    else:
        batch.step(player.choose(batch.observation, batch.legal, batch.seat, None))


class OpenSpiel:
    """OpenSpiel stepped from Python: one match at a time, random legal actions."""

    def __init__(self, game: str, with_buffer: bool, seed: int) -> None:
        import pyspiel
        from open_spiel.python.observation import make_observation

        self.game = pyspiel.load_game(game)
        self.observer: Any = make_observation(self.game) if with_buffer else None
        self.random = random.Random(seed)

    def play_match(self) -> tuple[int, Any]:
        """One match to its end: how many decisions it took, and its last state."""
        uniform, observer = self.random.random, self.observer
        state, decisions = self.game.new_initial_state(), 0
        while not state.is_terminal():
            if state.is_chance_node():
                outcomes, probabilities = zip(*state.chance_outcomes(), strict=True)
                state.apply_action(self.random.choices(outcomes, probabilities)[0])
                continue
            if observer is None:
                state.observation_tensor()
            else:
                observer.set_from(state, state.current_player())
            legal = state.legal_actions()
            state.apply_action(legal[int(uniform() * len(legal))])
            decisions += 1
        return decisions, state

    def speed(self, seconds: float) -> float:
        """Decisions per second."""
        decisions, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            decisions += self.play_match()[0]
        return decisions / passed


def _games(name: str) -> tuple[envs.Game, str]:
    """Our game and OpenSpiel's for a name such as dark_hex:5, or ValueError."""
    base, _, size = name.partition(":")
    if base not in OPENSPIEL:
        raise ValueError(f"no comparison for {name!r}; known are {known(name, OPENSPIEL)}, e.g. dark_hex:7")
    if base != "dark_hex":
        if size:
            raise ValueError(f"{base} has one size only, got {name!r}")
        return envs.make(base), OPENSPIEL[base]
    if not size.isdecimal():
        raise ValueError(f"dark_hex needs the side of its board, e.g. dark_hex:5, got {name!r}")
    return envs.make(base, rows=int(size), cols=int(size)), OPENSPIEL[base].format(size=size)


def _compare_play(game: envs.Game, peer: OpenSpiel, options: Env) -> list[str]:
    """Both sides play the same game: the cells of its row of facts, or ComparisonError."""
    first = 0.0
    devices = ("cpu", "cuda") if options.device == "cuda" else ("cpu",)
    finished = [peer.play_match() for _ in range(options.check_matches)]
    theirs = np.array([(decisions, state.returns()[0]) for decisions, state in finished])
    for device in devices:
        ours, seconds = _first_matches(game, options, device)
        first = first or seconds
        off = [_standard_errors(ours[:, k], theirs[:, k]) for k in range(2)]
        for k, what in enumerate(("length", "return of seat 0")):
            if off[k] > STANDARD_ERRORS:
                raise ComparisonError(
                    f"{game} on {device}: mean {what} is {ours[:, k].mean():.4f}, OpenSpiel's "
                    f"{theirs[:, k].mean():.4f}; they lie {off[k]:.1f} standard errors apart, allowed are "
                    f"{STANDARD_ERRORS}"
                )
    space = game.observation_space
    return [
        str(game.state.itemsize),
        str(math.prod(space.shape) * space.dtype.itemsize),
        str(4 * math.prod(peer.game.observation_tensor_shape())),  # float32
        f"{first:.2f}",
        *(f"{ours[:, k].mean():.3f} / {theirs[:, k].mean():.3f}" for k in range(2)),
        " and ".join(f"{x:.1f}" for x in off),
    ]


def _first_matches(game: envs.Game, options: Env, device: str) -> tuple[Any, float]:
    """Decisions and return of seat 0 in the first match of every lane, [check_matches, 2], all of them to
    their end: no match is counted for being short. And the seconds until the first step was done."""
    began, first = time.perf_counter(), 0.0
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
            _wait(batch.device)
            first = time.perf_counter() - began
    if bool(is_first.any()):
        raise ComparisonError(f"{game}: a match on {device} took more than {game.max_length} decisions")
    return torch.stack([length, total], 1).cpu().numpy().astype(float), first


def _standard_errors(a: Any, b: Any) -> float:
    """How many standard errors the means of two samples lie apart."""
    apart = abs(a.mean() - b.mean())
    error = math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return float(apart / error) if error > 0.0 else (0.0 if apart == 0.0 else math.inf)


# ---------------------------------------------------------------- stepping Generals


def measure_generals(options: Env, games: Sequence[envs.Game]) -> str:
    """Generals, beside generals-bots if that is there."""
    threads = torch.get_num_threads()
    has_peer = importlib.util.find_spec("generals") is not None
    compared = _compare_generals(options) if has_peer else "nothing was compared: generals-bots is not here"
    speeds, facts, verdicts = [], [], []
    with _bar(options, len(games) * options.repeats) as bar:
        for game in games:
            name = f"generals:{game.options['rows']}"
            bar.set_description(name)
            ours = {
                f"CPU, {t} thread{'s' * (t > 1)}": Ours(game, GENERALS_MATCHES, options, "cpu", t)
                for t in sorted({threads, 1}, reverse=True)
            }
            if options.device == "cuda":
                ours["GPU"] = Ours(game, GENERALS_MATCHES, options, "cuda", threads)
            sides: dict[str, Callable[[], float]] = {
                place: functools.partial(_ticks, side) for place, side in ours.items()
            }
            if has_peer:
                peer = GeneralsBots(options.seed, game)
                sides["peer"] = functools.partial(peer.speed, options.seconds)
            measured = interleave(sides, options.repeats, bar)

            for place in ours:
                row = [name, place, spread(STEPS, measured[place]), "not here", "-"]
                if has_peer:
                    ratios = _ratios(measured[place], measured["peer"])
                    row[3:] = spread(STEPS, measured["peer"]), spread(RATIO, ratios)
                speeds.append(row)
            if "GPU" not in ours:
                speeds.append([name, "GPU", _not_measured(), "-", "-"])
            if name == GENERALS_HEADLINE:
                place, ticks = next(iter(ours)), measured[next(iter(ours))]
                reached = "reached" if statistics.median(ticks) >= GENERALS_GOAL else "NOT reached"
                said = f"{name}, {place}: {spread(STEPS, ticks)}, {reached}."
                verdicts.append(f"Goal {GENERALS_GOAL:,.0f} ticks/s, {said}")
            space = game.observation_space
            sizes = (game.state.itemsize, math.prod(space.shape) * space.dtype.itemsize, game.actions)
            facts.append([name, *map(str, sizes)])
    torch.set_num_threads(threads)

    matches = options.matches or GENERALS_MATCHES
    return _report(
        options,
        ["generals_bots"] if has_peer else [],
        "Stepping Generals",
        [
            f"{matches} matches side by side, beside generals-bots' PettingZoo environment stepped from "
            f"Python one match at a time; {options.repeats} repeats by turns, {options.seconds} s per side "
            "each.",
            "A tick is a move of both seats, random and legal: the observations and the masks of both are "
            "made, the moves chosen and carried out; a match that ended is followed by one on a new random "
            "map.",
        ],
        [
            (["game", "ours on", "ours, ticks/s, median (least..most)", "generals-bots", "ratio"], speeds),
            (["game", "state, bytes", "observation, bytes", "mask, bytes"], facts),
        ],
        [
            f"Checked before timing: {compared}.",
            f"A CPU thread is woken for {MATCHES_PER_THREAD} matches or more: fewer than twice as many are "
            "stepped by one.",
            *verdicts,
        ],
    )


def _generals(name: str) -> envs.Game:
    """The game for a name such as generals:8, or ValueError."""
    _, _, size = name.partition(":")
    if size and not size.isdecimal():
        raise ValueError(f"generals takes the side of its board, e.g. generals:8, got {name!r}")
    side = int(size or 8)
    return envs.make("generals", rows=side, cols=side)


def _ticks(side: Ours) -> float:
    """Ticks per second, of two decisions each."""
    return side.speed() / 2.0


class GeneralsBots:
    """generals-bots stepped from Python: one match at a time, random legal moves.

    Args:
        game: maps are drawn with its numbers; or the map itself, if it has one.
    """

    def __init__(self, seed: int, game: envs.Game) -> None:
        from generals.core.action import Action, compute_valid_move_mask
        from generals.core.grid import GridFactory
        from generals.envs import PettingZooGenerals

        o = game.options
        size = (o["rows"], o["cols"])
        shares = o["mountains"] / 100, o["castles"] / 100
        factory = GridFactory("uniform", size, size, *shares, seed=seed)
        self.env = PettingZooGenerals(list("AB"), factory, o["max_ticks"])
        self.reset_options = {"grid": o["map"].replace("/", "\n")} if o["map"] else {}
        self.move, self.mask = Action, compute_valid_move_mask
        self.random = random.Random(seed)

    def play_match(self) -> tuple[int, float]:
        """One match to its end: its ticks, and the return of seat 0."""
        seed = self.random.getrandbits(32)
        observations, _ = self.env.reset(seed, dict(self.reset_options))
        ticks, is_over = 0, False
        while not is_over:
            moves = {agent: self._choose(seen) for agent, seen in observations.items()}
            observations, _, is_won, is_late, infos = self.env.step(moves)
            ticks, is_over = ticks + 1, is_won or is_late
        return ticks, float(infos["A"]["is_winner"]) - float(infos["B"]["is_winner"])

    def _choose(self, seen: Any) -> Any:
        """Each legal move, of the whole army or of half, or a pass, with the same probability."""
        moves = np.argwhere(self.mask(seen))
        number = self.random.randrange(2 * len(moves) + 1)
        if number == 2 * len(moves):
            return self.move(to_pass=True)
        row, col, direction = moves[number // 2]
        return self.move(False, row, col, direction, to_split=number % 2 == 1)

    def speed(self, seconds: float) -> float:
        """Ticks per second."""
        ticks, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            ticks += self.play_match()[0]
        return ticks / passed


def _compare_generals(options: Env) -> str:
    """Both sides play the same game on a small map: what was found, or ComparisonError."""
    game = envs.make("generals", map="AB../..../..3./...#", max_ticks=120)
    peer = GeneralsBots(options.seed, game)
    theirs = np.array([peer.play_match() for _ in range(GENERALS_CHECK)])
    ours, _ = _first_matches(game, options, "cpu")
    ours[:, 0] /= 2.0
    found = []
    for k, what in enumerate(("number of ticks", "return of seat 0")):
        off = _standard_errors(ours[:, k], theirs[:, k])
        means = f"mean {what} {ours[:, k].mean():.2f} / {theirs[:, k].mean():.2f}"
        if off > STANDARD_ERRORS:
            raise ComparisonError(f"{game}: {means} (generals-bots) lie {off:.1f} standard errors apart")
        found.append(f"{means} ({off:.1f} standard errors)")
    return f"{len(ours)} / {GENERALS_CHECK} random matches on a map of 4 x 4, {', '.join(found)}"


# ---------------------------------------------------------------- training


def measure_train(options: Train) -> str:
    """The whole comparison, as text."""
    game = envs.make("phantom_tictactoe")
    if options.device == "cuda":
        envs.Batch(game, 1, "cuda")  # says so if there is no GPU
    speeds, notes, verdicts = [], [], []
    sizes: list[list[str]] = []
    games = [(f"{n} matches", n, MixedStream(game, n, options.seed)) for n in options.matches]
    worlds = [(f"{n} x {options.world}", n, _worlds(options, n)) for n in options.worlds]
    with _bar(options, (len(games) + len(worlds)) * options.repeats) as bar:
        for where, n, peers_env in games + worlds:
            bar.set_description(where)
            is_game = isinstance(peers_env, MixedStream)
            learners = {
                cell: make_ours(game if is_game else None, cell, n, options) for cell in options.cells
            }
            peer = make_peer(peers_env, options)
            learners["peer"] = Learner(peer, peer.policy, peer.policy.optimizer)

            decisions = options.updates * options.n_steps * n
            first = {name: decisions / learner.speed(decisions) for name, learner in learners.items()}
            check_train(learners, options)
            if isinstance(peers_env, MixedStream):
                peers_env.clear()
            sides: dict[str, Callable[[], float]] = {}
            for name, learner in learners.items():
                sides[name] = functools.partial(learner.speed, decisions)
            measured = interleave(sides, options.repeats, bar)
            check_train(learners, options)

            for cell in options.cells:
                what, ratios = f"{cell} H={options.hidden}", _ratios(measured[cell], measured["peer"])
                both = spread(STEPS, measured[cell]), spread(STEPS, measured["peer"])
                speeds.append([what, where, _place(options), *both, spread(RATIO, ratios)])
                if options.device == "cpu":
                    speeds.append([what, where, "GPU", _not_measured(), "-", "-"])
                if cell == "gated":
                    verdicts.append(_verdict(f"{what}, {where}, {_place(options)}", ratios, TRAIN_GOAL))
            if not sizes:
                sizes = [_size(f"ours, {cell}", learners[cell].policy, "core.") for cell in options.cells]
                sizes.append(_size("sb3-contrib, LSTM", peer.policy, "lstm_actor."))
            if isinstance(peers_env, MixedStream):
                notes.append(
                    f"{where}: of the peer's time {peers_env.share(measured['peer'], decisions):.1%} went to "
                    f"the environment, and {peers_env.illegal / peers_env.decisions:.1%} of its choices were "
                    "illegal."
                )
            notes.append(
                f"{where}: first call ({options.updates} updates, not part of the speeds): "
                + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in first.items())
                + "."
            )
    T, minibatches = options.n_steps, options.minibatches
    return _report(
        options,
        ["stable-baselines3", "sb3-contrib"],
        "Training with memory",
        [
            "MaskableRecurrentPPO beside sb3-contrib's RecurrentPPO, rollout and update together: phantom "
            f"tic-tac-toe by self-play, and one agent in {options.world}; n_steps {T}, {options.n_epochs} "
            f"epochs of {minibatches} minibatches; {options.repeats} repeats by turns, {options.updates} "
            "updates per side each.",
            f"Both have one core of {options.hidden} units shared by actor and critic, net_arch "
            f"{list(options.net_arch)}, Adam at the same learning rate, and as many torch threads. Ours "
            "encodes the observation, the seat and the seat's own previous action into as many features as "
            "the one-hot observation has entries that the peer feeds to its LSTM.",
            "By self-play ours keeps a memory per seat and masks illegal actions. The peer has neither: it "
            "sees one stream in which both seats' observations are mixed, and where its action is illegal "
            "the environment plays a random legal one, so that the matches stay alike.",
            "The peer's environment is our batch on the CPU behind SB3's VecEnv, so its cost hardly counts.",
            f"In {options.world} both sides step SB3's DummyVecEnv, one world after another in Python, which "
            "takes the same time on both sides and is part of it.",
        ],
        [
            (
                [
                    "ours",
                    "where",
                    "on",
                    "ours, decisions/s, median (least..most)",
                    "sb3-contrib",
                    "ratio",
                ],
                speeds,
            ),
            (["network", "parameters", "of these in the core", "recurrent weights"], sizes),
        ],
        [
            "Checked before and after timing: all sides made as many decisions and gradient steps, and the "
            "peer has one LSTM of exactly that size and nothing else recurrent.",
            *notes,
            *verdicts,
        ],
    )


def _worlds(options: Train, n: int) -> VecEnv:
    return make_vec_env(options.world, n, seed=options.seed)


def make_ours(game: envs.Game | None, cell: str, n: int, options: Train) -> Learner:
    """Our algorithm with the benchmark's sizes, in `n` matches of a game or worlds."""
    env = _worlds(options, n) if game is None else envs.Batch(game, n, options.device, options.seed)
    space = env.observation_space if isinstance(env, VecEnv) else env.game.observation_space
    model = agents.MaskableRecurrentPPO(
        "MlpLstmPolicy",
        env,
        n_steps=options.n_steps,
        batch_size=options.n_steps * n // options.minibatches,
        n_epochs=options.n_epochs,
        policy_kwargs={
            "cell": cell,
            "features_dim": spaces.flatdim(space),  # as many inputs as the peer's core has
            "lstm_hidden_size": options.hidden,
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "net_arch": list(options.net_arch),
        },
        seed=options.seed,
        device=options.device,
    )
    return Learner(model, model.policy, model.optimizer)


def make_peer(env: VecEnv, options: Train) -> RecurrentPPO:
    """sb3-contrib's algorithm with the same sizes, or ComparisonError if it made others."""
    peer = RecurrentPPO(
        "MlpLstmPolicy",
        env,
        n_steps=options.n_steps,
        batch_size=options.n_steps * env.num_envs // options.minibatches,
        n_epochs=options.n_epochs,
        policy_kwargs={
            "lstm_hidden_size": options.hidden,
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "net_arch": list(options.net_arch),
        },
        seed=options.seed,
        device=options.device,
    )
    policy, H = peer.policy, options.hidden
    lstms = [m for m in policy.modules() if isinstance(m, torch.nn.LSTM)]
    I = policy.features_dim  # noqa: E741
    expected = 4 * H * (I + H) + 8 * H  # torch keeps two biases
    found = sum(p.numel() for lstm in lstms for p in lstm.parameters())
    if len(lstms) != 1 or lstms[0].hidden_size != H or lstms[0].num_layers != 1 or found != expected:
        raise ComparisonError(
            f"the peer should have one LSTM of {H} units, {expected} parameters; it has {lstms}"
        )
    return peer


@dataclass(frozen=True)
class Learner:
    """An algorithm of either side."""

    model: Any
    policy: torch.nn.Module
    optimizer: torch.optim.Optimizer

    def speed(self, decisions: int) -> float:
        """Decisions per second while learning from so many more."""
        began = time.perf_counter()
        self.model.learn(decisions, reset_num_timesteps=self.model.num_timesteps == 0)
        _wait(self.model.device)
        return decisions / (time.perf_counter() - began)

    def gradient_steps(self) -> int:
        """How many there were so far."""
        return max(int(state["step"]) for state in self.optimizer.state.values())


def check_train(learners: dict[str, Learner], options: Train) -> None:
    """All sides did the same amount of work, or ComparisonError."""
    for what, count in (
        ("decisions", {name: it.model.num_timesteps for name, it in learners.items()}),
        ("gradient steps", {name: it.gradient_steps() for name, it in learners.items()}),
    ):
        if len(set(count.values())) != 1:
            raise ComparisonError(f"the sides differ in {what}: {count}")
    rollouts, rest = divmod(learners["peer"].gradient_steps(), options.n_epochs * options.minibatches)
    if rest or rollouts % options.updates:
        raise ComparisonError(f"expected {options.n_epochs} x {options.minibatches} gradient steps a rollout")


class MixedStream(VecEnv):
    """A `Batch` as SB3 users without masks and seats see it: each match is one stream of decisions.

    The observation is that of whoever moves, the reward that of whoever moved. An illegal action is
    replaced by a random legal one.
    """

    def __init__(self, game: envs.Game, matches: int, seed: int) -> None:
        self.batch = envs.Batch(game, matches, seed=seed)
        self.player = RandomPlayer(game, seed=seed)
        self.rows = torch.arange(matches)
        self.chosen = torch.zeros(matches, dtype=torch.int64)
        self.clear()
        # One-hot already here: SB3 takes the sum of a MultiDiscrete's sizes, a NumPy integer, for the LSTM's
        # input size, which torch refuses.
        codes = game.observation_space
        assert isinstance(codes, spaces.MultiDiscrete)
        self.sizes = codes.nvec.astype(np.int64)
        self.offset = np.cumsum(self.sizes) - self.sizes
        width = int(self.sizes.sum())
        super().__init__(matches, spaces.MultiBinary(width), spaces.Discrete(game.actions))

    def clear(self) -> None:
        """Begin counting anew."""
        self.spent, self.illegal, self.decisions = 0.0, 0, 0

    def share(self, speeds: Sequence[float], decisions: int) -> float:
        """The environment's share of the time that the peer took at `speeds`."""
        return self.spent / sum(decisions / speed for speed in speeds)

    def reset(self) -> np.ndarray[Any, Any]:
        self.batch.reset()
        return self.one_hot()

    def one_hot(self) -> np.ndarray[Any, Any]:
        """The observation of whoever moves, int8 [B, sum of codes]."""
        seen = np.zeros((self.num_envs, int(self.sizes.sum())), np.int8)
        np.put_along_axis(seen, self.batch.observation.numpy() + self.offset, 1, axis=1)
        return seen

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        self.chosen = torch.from_numpy(actions)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        began = time.perf_counter()
        batch, mover = self.batch, self.batch.seat.clone()
        is_legal = batch.legal[self.rows, self.chosen]
        instead = self.player.choose(batch.observation, batch.legal, mover, None)
        batch.step(torch.where(is_legal, self.chosen, instead))
        self.illegal += self.num_envs - int(is_legal.sum())
        self.decisions += self.num_envs
        reward = batch.reward[self.rows, mover].numpy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        result = self.one_hot(), reward, batch.over.numpy().copy(), infos
        self.spent += time.perf_counter() - began
        return result

    def close(self) -> None:
        """Nothing to free."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the matches have no attributes of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("the matches have no methods of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        return [False] * len(list(self._get_indices(indices)))


def _size(name: str, policy: torch.nn.Module, core: str) -> list[str]:
    """A network's row in the table of sizes."""
    parameters = dict(policy.named_parameters())
    in_core = {n: p for n, p in parameters.items() if n.startswith(core)}
    recurrent = [p for n, p in in_core.items() if n.endswith(".U") or "weight_hh" in n]
    counts = (parameters.values(), in_core.values(), recurrent)
    return [name, *(f"{sum(p.numel() for p in group):,}" for group in counts)]


# ---------------------------------------------------------------- common


def interleave(sides: dict[str, Callable[[], float]], repeats: int, bar: Any) -> dict[str, list[float]]:
    """Measure the sides by turns: each side's speed in every repeat."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, speed in sides.items():
            measured[name].append(speed())
        bar.update()
    return measured


def spread(pattern: str, values: Sequence[float]) -> str:
    """Median, least and most."""
    return pattern.format(statistics.median(values), min(values), max(values))


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def _verdict(what: str, ratios: Sequence[float], goal: float) -> str:
    reached = "reached" if statistics.median(ratios) >= goal else "NOT reached"
    return f"Goal {goal:.0f}x, {what}: {spread(RATIO, ratios)}, {reached}."


def _place(options: Common) -> str:
    threads = torch.get_num_threads()
    return "GPU" if options.device == "cuda" else f"CPU, {threads} thread{'s' * (threads > 1)}"


def _not_measured() -> str:
    return "not measured (--device cuda)" if torch.cuda.is_available() else "not measured (no GPU)"


def _check(options: Env | Train) -> None:
    """Options that make sense, or ValueError; sets the number of threads."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no CUDA device; use --device cpu")
    sizes = {"repeats": options.repeats} | ({} if options.threads is None else {"threads": options.threads})
    if isinstance(options, Env):
        sizes |= {} if options.matches is None else {"matches": options.matches}
        if options.check_matches < 2:
            raise ValueError(f"check-matches must be at least 2, got {options.check_matches}")
        if not options.seconds > 0.0:
            raise ValueError(f"seconds must be above 0, got {options.seconds}")
    else:
        sizes |= {"hidden": options.hidden, "n-steps": options.n_steps, "n-epochs": options.n_epochs}
        sizes |= {"minibatches": options.minibatches, "updates": options.updates}
        for matches in options.matches + options.worlds:
            if matches < 1 or options.minibatches < 1 or matches % options.minibatches:
                raise ValueError(
                    f"matches must be a multiple of {options.minibatches} minibatches, got {matches}"
                )
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if options.threads is not None:
        torch.set_num_threads(options.threads)


def _wait(device: torch.device) -> None:
    """Until the GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _bar(options: Common, total: int) -> Any:
    return tqdm(total=total, leave=False, unit="repeat", disable=None if options.progress else True)


def _machine(peers: Sequence[str]) -> str:
    """What it ran on and with."""
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")
        ]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "numba", *peers)]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{cpu}, {os.cpu_count()} cores, {gpu}; {torch.get_num_threads()} torch threads; "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def _report(
    options: Common,
    peers: Sequence[str],
    title: str,
    opening: Sequence[str],
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]],
    closing: Sequence[str],
) -> str:
    """Everything as text, or as Markdown."""
    heading = f"## {title}" if options.markdown else f"{title}\n{'=' * len(title)}"
    blocks = [heading, *opening, f"Machine: {_machine(peers)}"]
    blocks += [_table(header, rows, options.markdown) for header, rows in tables]
    blocks.append("\n".join(f"- {line}" for line in closing))
    return "\n\n".join(blocks)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> str:
    if markdown:
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines)


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
