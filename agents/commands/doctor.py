"""Tell what is installed, what this machine has, and what is missing for which command.

python scripts/doctor.py
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import re

import torch

from agents.packaged import card_of, shipped_agents, version
from agents.run import cli
from agents.run.stream import SAY

NEEDED_FOR = {
    "web": "play on a page, watch --render web",
    "window": "watch --render human",
    "onnx": "export",
    "cuda": "--device cuda: games on a GPU",
}
"""What the extras of the package are for; all else needs none."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """There is nothing to set."""


def main() -> None:
    """Print everything."""
    cli.parse(Arguments, __doc__)
    for line in told():
        SAY(line)


def told() -> list[str]:
    """All lines."""
    needs = requirements()
    lines = [f"fogbound     {version()}, Python {platform.python_version()}, {platform.system()}"]
    installed = [f"{name} {found}" for name in needs.get("", ()) if (found := version_of(name))]
    lines.append(f"versions     {', '.join(installed)}")
    if missing := [name for name in needs.get("", ()) if version_of(name) is None]:
        lines.append(f"missing      {', '.join(missing)}: everything needs them; pip install -e .")
    lines.append(f"threads      {torch.get_num_threads()} of torch, {os.cpu_count()} cores")
    lines += [f"device       {device}" for device in devices()]
    for extra, commands in NEEDED_FOR.items():
        lacking = [name for name in needs.get(extra, ()) if version_of(name) is None]
        state = f"missing {', '.join(lacking)}: pip install 'fogbound[{extra}]'" if lacking else "installed"
        lines.append(f"{extra:<13}{state} ({commands})")
    lines += [f"agents       {line}" for line in agents_told()] or ["agents       none come with the package"]
    return lines


def agents_told() -> list[str]:
    """The shipped agents, and how good each is by its card."""
    lines = []
    for name in shipped_agents():
        told = card_of(name)["measured"]
        numbers = [
            f"{one['mean']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}] against {other}"
            for other, one in told["against"].items()
        ]
        if "exploitability" in told:
            numbers.append(f"exploitability {told['exploitability']['value']:.3f}")
        lines.append(f"{name}: {', '.join(numbers)}")
    return lines


def devices() -> list[str]:
    """Where may be computed."""
    if not torch.cuda.is_available():
        return [f"cpu (torch {torch.__version__} finds no GPU)"]
    return ["cpu", *(f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(torch.cuda.device_count()))]


def requirements() -> dict[str, list[str]]:
    """The packages that fogbound asks for, by the extra that asks; "" for those that are always needed."""
    needs: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("fogbound") or ():
        extra = re.search(r"extra == ['\"]([^'\"]+)", line)
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        needs.setdefault(extra[1] if extra else "", []).append(name)
    return needs


def version_of(name: str) -> str | None:
    """The installed version of a package, if there is one."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
