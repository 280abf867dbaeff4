"""Records: what a file says becomes values of the right type, and a slip is told where it is made."""

from __future__ import annotations

import dataclasses

import pytest
from reading import refused_file

from agents.gym.config import WorldConfig
from agents.learn.schedules import Constant, Linear, Power
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    Config,
    read_config,
    write_config,
)


def test_what_a_file_does_not_name_keeps_its_default(written):
    assert read_config(written("")) == Config()
    assert read_config(written("seed: 4\nalgo: {gamma: 0.5}")) == Config(
        seed=4, algo=dataclasses.replace(SELF_PLAY, gamma=0.5)
    )


def test_what_is_written_reads_the_same(written):
    config = Config(
        game="dark_hex",
        options={"rows": 4, "cols": 5, "abrupt": True, "rule": "words: with # signs"},
        algo=dataclasses.replace(SELF_PLAY, learning_rate=1e-4, target_kl=0.02),
        policy=dataclasses.replace(SELF_PLAY_NETWORK, net_arch=[16, 8]),
    )
    assert read_config(written(write_config(config))) == config
    assert read_config(written(write_config(Config()))) == Config()


@pytest.mark.parametrize(("number", "value"), [("1e-3", 1e-3), ("1.0e-3", 1e-3), ("1", 1.0), (".5", 0.5)])
def test_every_way_to_write_a_number_is_a_float(written, number, value):
    """YAML 1.1 takes `1e-3` for a word, because it lacks the point."""
    read = read_config(written(f"algo: {{learning_rate: {number}, clip_range_vf: {number}}}")).algo
    assert (read.learning_rate, read.clip_range_vf) == (value, value)
    assert type(read.learning_rate) is type(read.clip_range_vf) is float


@pytest.mark.parametrize(
    "number", ["1e3", "1_000", "1000", "+1000", "1.0e+3", "1000.0", "1E3", "0x3e8", ".1e4"]
)
def test_every_way_to_write_a_whole_number_is_an_int(written, number):
    config = read_config(
        written(f"matches: {number}\noptions: {{castles: {number}}}\npolicy: {{net_arch: [{number}]}}")
    )
    assert (config.matches, config.options, config.policy.net_arch) == (1000, {"castles": 1000}, [1000])
    assert {type(x) for x in (config.matches, config.options["castles"], *config.policy.net_arch)} == {int}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("matches: 1.25e1", "matches must be int, got 12.5 (a whole number is needed)"),
        ("matches: .inf", "matches must be int, got inf (a finite number is needed)"),
        ("matches: 1e400", "matches must be int, got inf (a finite number is needed)"),
        (
            "options: {rows: 1e-1}",
            "options.rows must be bool | int | str, got 0.1 (a whole number is needed)",
        ),
        ("algo: {gamma: .nan}", "algo.gamma must be float, got nan (a finite number is needed)"),
        (
            "algo: {target_kl: -.inf}",
            "algo.target_kl must be float | None, got -inf (a finite number is needed)",
        ),
        (f"algo: {{gamma: 1{'0' * 400}}}", "(a finite number is needed)"),
        ("algo: {gamma: nan}", "algo.gamma must be float, got 'nan'"),
        ("algo: {gamma: '1e-3'}", "algo.gamma must be float, got '1e-3'"),
        ("matches: 1,000", "matches must be int, got '1,000'"),
        ("seed: 12:30", "seed must be int, got '12:30'"),
        ("seed: 2026-01-01", "seed must be int, got '2026-01-01'"),
    ],
)
def test_a_number_that_does_not_fit_is_told(written, text, told):
    refused_file(written(text), told)


def test_a_text_stays_a_text(written):
    config = Config(
        options={"map": "1e3", "ships": "007", "reveal": "no", "a": ".5", "b": "null", "c": "~", "d": ""}
    )
    assert read_config(written(write_config(config))) == config
    assert read_config(written("options: {map: '1e3', ships: '2,3', level: 1:30}")).options == {
        "map": "1e3", "ships": "2,3", "level": "1:30",
    }  # fmt: skip


def test_truth_in_every_way_it_is_said(written):
    for word in ("true", "Yes", "on", "TRUE"):
        assert read_config(written(f"progress: {word}")).progress is True
    for word in ("false", "no", "OFF"):
        assert read_config(written(f"progress: {word}\noptions: {{abrupt: {word}}}")).options == {
            "abrupt": False
        }


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0.001", 0.001),
        ("{linear: 3e-3}", Linear(3e-3)),
        ("{constant: 1}", Constant(1.0)),
        ("{power: 1e-3}", Power(1e-3)),
        ("{power: {initial: 1e-3, exponent: 0.5}}", Power(1e-3, 0.5)),
    ],
)
def test_a_number_and_a_schedule_are_written_the_same_everywhere(written, text, schedule):
    """In both kinds of configuration, and read again as they are written."""
    for kind, part in ((Config, "algo"), (WorldConfig, "arguments")):
        config = read_config(written(f"{part}: {{learning_rate: {text}}}"), kind)
        told = config.algo.learning_rate if kind is Config else config.arguments["learning_rate"]
        assert told == schedule
        assert read_config(written(write_config(config)), kind) == config


@pytest.mark.parametrize(
    ("old", "schedule"),
    [
        ("learning_rate: 0.5, learning_rate_schedule: linear", Linear(0.5)),
        ("learning_rate: 0.5, learning_rate_schedule: constant", 0.5),
        ("learning_rate_schedule: power, learning_rate: 0.5", Power(0.5)),
    ],
)
def test_a_file_from_before_means_what_it_meant(written, old, schedule):
    """When a schedule's name stood beside its number, and a world said null of all that it left alone."""
    assert read_config(written(f"algo: {{{old}}}")).algo.learning_rate == schedule
    text = f"arguments: {{{old}, gamma: null, magnet: null}}"
    assert read_config(written(text), WorldConfig).arguments == {"learning_rate": schedule}
    unsaid = read_config(
        written("arguments: {learning_rate: null, learning_rate_schedule: constant}"), WorldConfig
    )
    assert unsaid.arguments == {}


@pytest.mark.parametrize(("name", "schedule"), [("linear", Linear), ("power", Power)])
def test_a_schedule_from_before_without_a_number_begins_at_the_usual_one(written, name, schedule):
    """0.001 in self-play, 0.0003 in worlds; constant stays there."""
    key = f"learning_rate_schedule: {name}"
    assert read_config(written(f"algo: {{{key}}}")).algo.learning_rate == schedule(0.001)
    text = f"arguments: {{learning_rate: null, {key}}}"
    assert read_config(written(text), WorldConfig).arguments == {"learning_rate": schedule(0.0003)}
    assert read_config(written("algo: {learning_rate_schedule: constant}")).algo.learning_rate == 0.001


def test_null_is_for_what_may_be_left_out(written):
    assert read_config(written("algo: {target_kl: null}")).algo.target_kl is None
    refused_file(written("algo: {gamma: null}"), "algo.gamma must be float, got None")


def test_an_option_keeps_its_type(written):
    options = read_config(written("options: {rows: 3, abrupt: true, rule: pie}")).options
    assert options == {"rows": 3, "abrupt": True, "rule": "pie"}
    assert type(options["rows"]) is int
    assert type(options["abrupt"]) is bool


def test_numbers_without_a_point_are_numbers_in_free_places_too(written):
    text = "log_std_init: -1e-3, deep: [2E5, {a: 1.5e1}], name: e5, n: 1_000, x: 010, t: '1e3', p: +3"
    read = read_config(written(f"policy_kwargs: {{{text}}}"), WorldConfig).policy_kwargs
    assert read == {
        "log_std_init": -0.001, "deep": [2e5, {"a": 15.0}], "name": "e5",
        "n": 1000, "x": 10, "t": "1e3", "p": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mathces: 8", "unknown key 'mathces'; known are matches, seed, device, total_timesteps"),
        ("algo: {lr: 1.0e-3}", "unknown key 'algo.lr'; known are learning_rate"),
        ("policy: {hidden: 8}", "unknown key 'policy.hidden'; known are lstm_hidden_size, cell"),
        ("1: 2", "unknown key '1'"),
        ("matches: x", "matches must be int, got 'x'"),
        ("matches: 1.5", "matches must be int, got 1.5 (a whole number is needed)"),
        ("matches: '8'", "matches must be int, got '8'"),
        ("seed: true", "seed must be int, got True"),
        ("progress: 1", "progress must be bool, got 1"),
        ("game: [kuhn_poker]", "game must be str, got ['kuhn_poker']"),
        ("game: 3", "game must be str, got 3"),
        ("options: 3", "options must be dict"),
        ("options: {rows: [3]}", "options.rows must be"),
        ("options: {rows: 3.5}", "options.rows must be"),
        ("options: {3: 3}", "options must be str, got 3"),
        ("algo: 3", "algo must be a mapping of keys, got 3"),
        ("eval:", "eval must be a mapping of keys, got None"),
        ("algo: {gamma: much}", "algo.gamma must be float, got 'much'"),
        ("algo: {gamma: true}", "algo.gamma must be float, got True"),
        ("algo: {magnet: north}", "algo.magnet must be"),
        ("algo: {magnet: north}", "'uniform', 'snapshot', 'ema'"),
        ("algo: {magnet: north}", "got 'north'"),
        (
            "algo: {learning_rate: {cosine: 1}}",
            "learning_rate must be a number or one schedule, such as {linear: 3",
        ),
        ("algo: {learning_rate: {cosine: 1}}", "known are linear, constant, power"),
        ("algo: {learning_rate: {linear: x}}", "algo.learning_rate.linear.initial must be a number, got 'x'"),
        (
            "algo: {learning_rate: {linear: {start: 1}}}",
            "algo.learning_rate.linear has no 'start'; known are init",
        ),
        ("algo: {learning_rate: {power: {exponent: 1}}}", "algo.learning_rate.power needs initial"),
        (
            "algo: {learning_rate: {linear: 1, power: 2}}",
            "algo.learning_rate must be a number or one schedule",
        ),
        (
            "algo: {learning_rate: [1]}",
            "algo.learning_rate must be a number or a schedule such as {linear: 0.001}",
        ),
        ("algo: {learning_rate: {linear: -1}}", "algo.learning_rate must be a finite number of at least 0"),
        ("algo: {gamma: {linear: 1}}", "algo.gamma must be float, got {'linear': 1}"),
        (
            "algo: {ent_coef: 1, ent_coef_schedule: cosine}",
            "algo.ent_coef_schedule is no longer a key: write",
        ),
        ("policy: {net_arch: 64}", "policy.net_arch must be list[int] | dict[str, list[int]], got 64"),
        ("policy: {net_arch: [64, x]}", "policy.net_arch[1] must be int, got 'x'"),
        ("eval: {players: random}", "eval.players must be list[str], got 'random'"),
        ("[]", "the file must be a mapping of keys, got []"),
        ("false", "the file must be a mapping of keys, got False"),
        ("on: 3", "unknown key 'on'; known are"),
        ("[1, 2]", "the file must be a mapping of keys, got [1, 2]"),
        ("kuhn_poker", "the file must be a mapping of keys, got 'kuhn_poker'"),
    ],
    ids=lambda case: case if isinstance(case, str) and len(case) < 30 else "",
)
def test_a_slip_is_told_in_one_line(written, text, told):
    refused_file(written(text), told)


@pytest.mark.parametrize(
    ("key", "least"),
    [
        *((key, 1) for key in ("matches", "total_timesteps", "checkpoint_every", "keep_checkpoints")),
        *(("eval.every", 1), ("opponents.snapshot_every", 1), ("algo.magnet_every", 1)),
        *(("eval.matches_per_seat", 2), ("eval.final_matches_per_seat", 2)),
    ],
)
def test_numbers_no_run_can_use_are_refused(written, key, least):
    *outer, inner = key.split(".")

    def text(value):
        return f"{outer[0]}: {{{inner}: {value}}}" if outer else f"{inner}: {value}"

    allowed = f"in {least}..2147483647" if outer == ["algo"] else f"at least {least}"
    for wrong in (least - 1, -5):
        refused_file(written(text(wrong)), f"{key} must be ", f"{allowed}, got {wrong}")
    assert read_config(written(text(least)))
