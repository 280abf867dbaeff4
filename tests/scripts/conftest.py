"""What the tests of scripts/ share: running a script as a person types it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a script ended, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def script(monkeypatch, capfd):
    """Runs scripts/<name>.py in this process, which spares every call the imports."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(script):
    """The script ends with code 2 after one line on standard error that holds all of `told`."""

    def run(name, *arguments, told):
        ended = script(name, *arguments)
        assert ended.code == 2, ended
        assert ended.out == ""
        assert ended.err.startswith("error: ")
        assert ended.err.count("\n") == 1
        for words in [told] if isinstance(told, str) else told:
            assert words in ended.err

    return run
