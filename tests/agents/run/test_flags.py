"""Flags: values as a file has them, and the help."""

from __future__ import annotations

import pytest
from flagged import HEX, read, world

import envs
from agents.learn.schedules import Linear, Power


def test_a_map_in_a_yaml_block_is_a_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(
        "game: generals\noptions:\n  map: |\n    A...\n    .#..\n    ..#.\n    #..B\n", encoding="utf-8"
    )
    config, _ = read(path, "--options.max-ticks", "1e2")
    assert envs.make(config.game, **config.options).options["map"] == "A.../.#../..#./#..B"


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("words", "key", "number"),
    [
        (["-n", "1e6"], "total_timesteps", 1_000_000),
        (["--matches", "1_000"], "matches", 1000),
        (["--seed", "-3"], "seed", -3),
        (["--matches=2.0e1"], "matches", 20),
    ],
)
def test_every_form_of_a_whole_number(words, key, number):
    value = getattr(read(HEX, *words)[0], key)
    assert (value, type(value)) == (number, int)


def test_every_form_of_a_number():
    for text, number in (("1.5e-1", 0.15), (".5", 0.5), ("5.", 5.0), ("1E3", 1000.0), ("2", 2.0)):
        value = read(HEX, "--algo.ent-coef", text)[0].algo.ent_coef
        assert (value, type(value)) == (number, float)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("3e-3", 3e-3),
        ("linear:3e-3", Linear(3e-3)),
        ("linear: 3e-3", Linear(3e-3)),
        ("{linear: 3e-3}", Linear(3e-3)),
        ("{power: {initial: 1e-3, exponent: .5}}", Power(1e-3, 0.5)),
    ],
)
def test_a_schedule_is_a_value_like_a_number(text, schedule):
    assert read(HEX, "--algo.learning-rate", text)[0].algo.learning_rate == schedule
    assert read(HEX, f"--algo.clip-range-vf={text}")[0].algo.clip_range_vf == schedule
    assert read(HEX, "--algo.clip-range-vf", "None")[0].algo.clip_range_vf is None
    for more in ((), ("--algo", "ppo")):
        assert world("--arguments.learning-rate", text, *more)[0].arguments["learning_rate"] == schedule


def test_a_setting_out_of_range_is_told_with_its_path():
    with pytest.raises(
        ValueError, match=r"^algo.learning_rate must be a finite number of at least 0, got -1.0 of"
    ):
        read(HEX, "--algo.learning-rate", "linear:-1")
    with pytest.raises(
        ValueError, match=r"^algo.clip_range must be a finite number in 0..1, or a schedule of"
    ):
        read(HEX, "--algo.clip-range", "2")
    with pytest.raises(ValueError, match=r"^arguments.gamma must be a finite number in 0..1, got 2"):
        world("--arguments.gamma", "2")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--matches", "1.5"], "expected a whole number, got '1.5'"),
        (["--options.rows", "x"], "expected a whole number, got 'x'"),
        (["--algo.gamma", "nan"], "expected a finite number, got 'nan'"),
        (["--algo.gamma", ".inf"], "expected a finite number, got '.inf'"),
        (["--algo.ent-coef", "much"], "expected a number or a schedule such as linear:3e-3, got 'much'"),
        (["--algo.ent-coef", "cosine:3"], "known are linear, constant, power"),
    ],
)
def test_a_number_that_does_not_fit(capsys, words, told):
    with pytest.raises(SystemExit) as ended:
        read(HEX, *words)
    assert ended.value.code == 2
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())


# ---------------------------------------------------------------- slips and help


def test_help_tells_every_option_of_what_is_chosen(capsys):
    with pytest.raises(SystemExit):
        read(HEX, "--game", "generals", "--policy.cell", "elman", "--help")
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "--options.castles INT Of random maps, per cent of the cells, 0..20. (default: 5)",
        "--options.max-ticks INT Ticks after which it is a draw. (default: 500)",
        "--policy.lstm-kwargs.nonlinearity STR",
        "--matches INT Matches played side by side.",
    ):
        assert words in told
    assert "--options.abrupt" not in told
    with pytest.raises(SystemExit):
        world("--help")
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "--policy-kwargs.skip-connection",
        "The heads read the features beside the core's output",
        "--env-kwargs.sutton-barto-reward",
    ):
        assert words in told
