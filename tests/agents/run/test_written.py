"""What people write and are told to write: numbers, and commands as a shell takes them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from reading import refused_file

from agents.gym.config import WorldConfig
from agents.run.config import Config, read_config
from agents.run.written import MOST_BYTES, number, read_yaml, typed, write_yaml


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


# ---------------------------------------------------------------- YAML


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("seed: 1\nmatches: 8\nseed: 2", "seed", (1, 3)),
        ("algo:\n  gamma: 1\n\n# more\nalgo:\n  n_steps: 8", "algo", (1, 5)),
        ("algo:\n  gamma: 1\n  gamma: 1", "gamma", (2, 3)),
        ("options: {rows: 3,\n 'rows': 3}", "rows", (1, 2)),
    ],
)
def test_what_is_given_twice_is_told_with_both_lines(written, text, key, lines):
    refused_file(written(text), f"key '{key}' is given twice, in lines {lines[0]} and {lines[1]}")


def test_a_mark_at_the_beginning_changes_nothing(written):
    """As editors on other systems write it: UTF-8 with a byte order mark, UTF-16, other line ends."""
    for content in ("\ufeffseed: 4\nmatches: 8", "seed: 4\r\nmatches: 8\r\n"):
        assert read_config(written(content)) == Config(seed=4, matches=8)
    assert read_config(written("seed: 4\nmatches: 8".encode("utf-16"))) == Config(seed=4, matches=8)


@pytest.mark.parametrize(
    "text",
    [
        "game: [",
        "a: b: c",
        "\tgame: x",
        "game: 'x",
        b"game: \xff\xfe",
        b"\x00\x01",
        "&a *b",
    ],
)
def test_what_is_no_yaml_is_told_in_one_line(written, text):
    refused_file(written(text), "is not YAML (")


def test_a_file_that_grows_is_refused_before_it_has_grown(written):
    """Nine times nine lists of nine: 9 ** 9 words out of ten lines."""
    lines = ["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10))]
    refused_file(written("\n".join(lines)), "with its aliases written out it says more than 20,000 values")
    merged = [
        "a0: &a0 {k: 1}",
        *(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}" for k in range(1, 10)),
    ]
    refused_file(written("\n".join(merged)), "more than 20,000 values")
    refused_file(written("options: &o {rows: *o}"), "line 1: an alias must not stand within what it names")
    refused_file(written("options: &o {<<: *o}"), "an alias must not stand within")
    refused_file(written("game: " + "[" * 5000), "is nested too deeply")
    refused_file(
        written("#" * (MOST_BYTES + 1)),
        f"has {MOST_BYTES + 1:,} bytes, a configuration has {MOST_BYTES:,} at",
    )


def test_an_alias_says_the_same_again(written):
    config = read_config(written("policy: {net_arch: &w [8, 4]}\neval: &e {every: 9}"))
    assert config.policy.net_arch == [8, 4]
    read = read_config(
        written("env_kwargs: {a: &a {b: 1, c: 2}, d: {<<: *a, c: 3}, e: *a}"), WorldConfig
    ).env_kwargs
    assert read == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}, "e": {"b": 1, "c": 2}}


@pytest.mark.parametrize(
    "text",
    [
        "game: !!python/object/apply:os.system ['touch {proof}']",
        "game: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{proof}']]",
        "!!python/object/new:subprocess.check_output [[touch, '{proof}']]",
        "game: !!python/name:os.system ''",
        "game: !!python/module:os ''",
    ],
)
def test_a_file_executes_nothing(written, tmp_path, text):
    proof = tmp_path / "proof"
    refused_file(
        written(text.replace("{proof}", str(proof))), "is not YAML (", "could not determine a constructor"
    )
    assert not proof.exists()
