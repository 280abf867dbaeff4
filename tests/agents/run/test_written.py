"""What people write and are told to write: numbers, and commands as a shell takes them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from agents.run.written import number, read_yaml, typed, write_yaml


@pytest.mark.parametrize("name", ["plain", "a run", "it's", 'say "so"', "$HOME", "a;b", "*", "a\nb", "~x"])
def test_a_command_is_typed_as_it_is_told(name):
    told = typed("python", "scripts/watch.py", Path("runs") / name, "--games", 3)
    assert shlex.split(told) == ["python", "scripts/watch.py", f"runs/{name}", "--games", "3"]


def test_a_path_is_not_taken_for_a_flag():
    assert typed("watch", Path("-x/run"), "--seed", -3) == "watch ./-x/run --seed -3"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1_000", -1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("1.", 1.0),
        ("-.5e-1", -0.05),
        ("1e3", 1e3),
    ],
)
def test_a_number_is_read(text, value):
    assert (number(text), type(number(text))) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["", "e3", "1e", "1_", "_1", "1 2", "1,000", "1:30", "0x", "--1", "inf", "nan", "."]
)
def test_what_is_no_number_is_none(text):
    assert number(text) is None


def test_what_is_written_is_read_as_the_same():
    data = {
        "a": [1, 1.5, True, None, "1e3", "yes", "", "a: b", "#", "1_000", "<<", "line\nbreak"],
        "b": {"c": 1e-5},
    }
    assert read_yaml(write_yaml(data)) == data
