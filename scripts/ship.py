"""Make an agent that comes with the package of a run: a small file in agents/shipped, and a card beside it.

python scripts/ship.py runs/<run> --name dark_hex_4x4_gated --machine "2 cores of a laptop"

The weights that play are written in float16 if the agent is as strong with them: it chooses the same in all
but a few of a thousand decisions, its means against everyone whom the run was judged by do not differ (95 %),
and a best response gets hardly more. The card tells command, machine, seed, numbers with intervals, and the
file's SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import os
import platform
import re
import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import tyro

import envs
from agents import load
from agents.files import Stored, Which, read, run_named, save_zip, write_file
from agents.packaged import SHIPPED
from agents.play.agent_file import Numbers, alone, load_player
from agents.play.arena import Result, play_alone, play_matches
from agents.play.exploit import exploitability
from agents.play.players import Player, fixed_player
from agents.run import cli
from agents.run.config import Config, read_config
from agents.run.curves import read_lines
from agents.run.selfplay import MANY, PRUNE, make_tree, opponents
from agents.run.stream import SAY
from envs import Batch, Game
from envs.tree import Tree

MORE = 0.02
"""With float16 a best response may get this share more."""

OTHERWISE = 0.001
"""With float16 the agent may choose otherwise in this share of its decisions."""

ELSEWHERE = {"--run-dir", "--progress", "--no-progress"}
"""Flags that change nothing of a run but where it lies and how it looks."""

FOLDERS = {"--data": "records", "--start-from": "runs"}
"""In which folder the documentation's commands have what these flags name."""

LANES, STEPS = 256, 64
"""Matches side by side, and decisions in each, in which that is counted."""

ENOUGH = {"float16": 2**20, "float32": 2**21}
"""Bytes that a file may have: they all travel with the package."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to ship."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run by self-play that has ended."""
    name: str
    """What to call the agent."""
    which: Which = "latest"
    """The run's checkpoint."""
    matches_per_seat: int = 2_000
    """Matches against each player in each seat."""
    seed: int = 1
    """Seed of these matches."""
    machine: str | None = None
    """Where the run was trained; None describes this machine."""
    folder: Path = SHIPPED
    """Where the two files go."""


def main() -> None:
    """Measure, write both files, and print the card."""
    a = cli.parse(Arguments, __doc__)
    run = run_named(a.run)
    if not re.fullmatch(r"[a-z0-9_]+", a.name):
        raise ValueError(f"expected a --name of a-z, 0-9 and _, got {a.name!r}")
    if not (run / "config.yaml").is_file():
        raise ValueError(f"{run}: expected the folder of a run")
    stored, config = read(run, a.which), read_config(run / "config.yaml", Config)
    tree = make_tree(config, envs.make(config.game, **config.options))
    measured = {numbers: judged(stored, config, numbers, tree, a) for numbers in get_args(Numbers)}
    measured["float16"]["otherwise"] = round(otherwise(stored, a.seed), 6)
    is_same = is_as_strong(measured["float16"], measured["float32"])
    numbers: Numbers = "float16" if is_same else "float32"
    file = a.folder / f"{a.name}.zip"
    save_zip(alone(stored, numbers=numbers), file)
    if file.stat().st_size > ENOUGH[numbers]:
        file.unlink()
        raise ValueError(f"{run}: the agent is too large to travel with the package")
    card = {
        "agent": a.name,
        "game": {"name": config.game, "options": dict(stored.json("agent.json")["options"])},
        **training_of(run, config, stored),
        "machine": a.machine or this_machine(),
        "weights": numbers,
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "measured": measured[numbers],
        "other_numbers": {other: told for other, told in measured.items() if other != numbers},
    }
    told = json.dumps(card, indent=2) + "\n"
    write_file(a.folder / f"{a.name}.json", told.encode())
    SAY(told)


def judged(
    stored: Stored, config: Config, numbers: Numbers, tree: Tree | None, a: Arguments
) -> dict[str, Any]:
    """How good the agent is with its weights written so."""
    game = envs.make(config.game, **config.options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{a.name}.zip"
        save_zip(alone(stored, numbers=numbers), file)
        player = load_player(file, game, seed=a.seed)
        told: dict[str, Any] = {
            "matches_per_seat": a.matches_per_seat,
            "against": {name: against(game, player, name, a) for name in opponents(config)},
        }
        if tree is not None:
            told["exploitability"] = exploited(tree, player)
    return told


def against(game: Game, player: Player, name: str, a: Arguments) -> dict[str, float]:
    """The mean return against a fixed player, or alone, with its 95 % interval."""
    player.reseed(a.seed)
    if game.seats == 1:
        result = play_alone(game, player, 2 * a.matches_per_seat, a.seed)
    else:
        result = play_matches(game, player, fixed_player(name, game, a.seed + 1), a.matches_per_seat, a.seed)
    return told_of(result)


def told_of(result: Result) -> dict[str, float]:
    """A result in numbers."""
    low, high = result.interval
    numbers = {"mean": result.mean, "low": low, "high": high}
    numbers |= {"win": result.win, "draw": result.draw, "loss": result.loss}
    return {"matches": result.matches, **{name: round(x, 4) for name, x in numbers.items()}}


def exploited(tree: Tree, player: Player) -> dict[str, float]:
    """What a best response gets, exactly or within `error`, as evaluations of a run tell it."""
    told = exploitability(tree, player, prune=PRUNE if sum(tree.counts.sets) > MANY else 0.0)
    return {"value": round(told.exploitability, 5), "error": round(told.error, 5)}


def otherwise(stored: Stored, seed: int) -> float:
    """The share of decisions in which float16 makes the agent choose otherwise: the mean total variation
    distance of what the two draw from, along matches of the agent with itself as trained.

    An opponent's mean return can change by no more than the range of returns times this, times the agent's
    decisions in a match.
    """
    with tempfile.TemporaryDirectory() as folder:
        policies = []
        for numbers in get_args(Numbers):
            save_zip(alone(stored, numbers=numbers), Path(folder) / f"{numbers}.zip")
            agent = load(Path(folder) / f"{numbers}.zip")
            policies.append(agent.policy)
    assert isinstance(agent.game, Game)
    batch, draws = Batch(agent.game, LANES, seed=seed), torch.Generator().manual_seed(seed)
    memories = [policy.initial_memory(LANES) for policy in policies]
    begins, apart = torch.ones(LANES, dtype=torch.bool), 0.0
    for _ in range(STEPS):
        told = [
            policy.look(batch.observation, batch.legal, batch.seat, begins, memory)
            for policy, memory in zip(policies, memories, strict=True)
        ]
        one, other = (probabilities for probabilities, _ in told)
        apart += float((one - other).abs().sum(-1).mean()) / 2
        actions = torch.multinomial(one, 1, generator=draws)[:, 0]
        memories = [memory.remember(batch.seat, actions) for _, memory in told]
        batch.step(actions)
        begins = batch.over.clone()
    return apart / STEPS


def is_as_strong(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """`one` is as good as `other`, as far as was measured: no difference of means is beyond the interval of
    that difference, the root of the sum of the squares of both half widths."""
    for name, result in one["against"].items():
        peer = other["against"][name]
        half = math.hypot(*((told["high"] - told["low"]) / 2 for told in (result, peer)))
        if abs(result["mean"] - peer["mean"]) > half:
            return False
    if one["otherwise"] > OTHERWISE:
        return False
    if "exploitability" not in one:
        return True
    return bool(one["exploitability"]["value"] <= (1.0 + MORE) * other["exploitability"]["value"])


def training_of(run: Path, config: Config, stored: Stored) -> dict[str, Any]:
    """How the run was made, and, if it began with another one, how that one was."""
    origin = None if config.start_from is None else run_named(config.start_from)
    is_run = origin is not None and (origin / "command.txt").is_file()
    return {
        "command": command_of(run),
        **({"begins_with": command_of(origin)} if origin is not None and is_run else {}),
        "seed": config.seed,
        "decisions": stored.json("agent.json")["timesteps"],
        "seconds": seconds_of(read_lines(run / "metrics.jsonl")),
        "torch": json.loads((run / "run.json").read_text(encoding="utf-8"))["torch"],
    }


def command_of(run: Path) -> str:
    """The command that made a run, as one types it elsewhere: without folders of this machine."""
    told = shlex.split((run / "command.txt").read_text(encoding="utf-8"))
    words = []
    for before, word in itertools.pairwise(["", *told]):
        if word in ELSEWHERE or before == "--run-dir":
            continue
        words.append(f"{FOLDERS[before]}/{Path(word).name}" if before in FOLDERS else word)
    return shlex.join(words)


def seconds_of(lines: list[dict[str, Any]]) -> int | None:
    """How long a run took by its curves, all its parts together: the clock begins anew when it goes on."""
    told = [line["time/time_elapsed"] for line in lines if "time/time_elapsed" in line]
    ends = [one for one, after in itertools.pairwise([*told, -1]) if after < one]
    return round(sum(ends)) if told else None


def this_machine() -> str:
    """Its cores, and its GPU if there is one."""
    told = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", told.read_text(encoding="utf-8") if told.is_file() else "")
    words = f"{os.cpu_count()} cores, {found[1] if found else platform.processor() or platform.machine()}"
    return f"{words}, {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else words


if __name__ == "__main__":
    cli.run(main)
