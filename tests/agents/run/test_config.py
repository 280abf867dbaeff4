"""The configuration: every shipped file works, and a slip of the pen is told where it is made."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from agents import CELLS
from agents.gym import training as world_training
from agents.gym.config import WorldConfig, read_world
from agents.learn.schedules import Constant, Linear, Power
from agents.net.policy import BoardCore
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import (
    SELF_PLAY,
    SELF_PLAY_NETWORK,
    Config,
    read_config,
    write_config,
)
from agents.run.flags import read_flags
from agents.run.selfplay import make_model
from agents.run.written import MOST_BYTES

FOLDER = Path(__file__).parents[3] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
WORLDS = [path for path in FILES if re.search(r"^env:", path.read_text(encoding="utf-8"), re.MULTILINE)]
BOARDS = [path for path in FILES if re.search(r"_\d+x\d+$", path.stem)]
CONFIGS = [path for path in FILES if path not in WORLDS + BOARDS]


@pytest.fixture
def written(tmp_path):
    """Writes a configuration file."""

    def write(text):
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(path, *told, error=ValueError, kind=Config):
    """`read_config` says in one line what is wrong, and in which file."""
    with pytest.raises(error) as caught:
        read_config(path, kind)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for words in told:
        assert words in message
    return message


# ---------------------------------------------------------------- the files in configs/


def test_there_is_one_file_an_experiment_and_each_says_what_it_is_for():
    """The cell is a flag: a game or world has one file, named by the cell that it says; boards one a size."""
    assert len(FILES) == 12
    assert len(BOARDS) == 3
    for path in CONFIGS + WORLDS:
        assert path.stem.endswith("_gated")
    for path in FILES:
        comment, _, _ = path.read_text(encoding="utf-8").partition("\ngame:")
        assert comment.startswith("# ")
        assert "reaches" in comment or "Not measured" in comment or "become" in comment


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_file_makes_the_model_its_name_says(path):
    game, cell = path.stem.rsplit("_", 1)
    config = read_config(path)
    assert (config.game, config.policy.cell) == (game, cell)
    model = make_model(config)
    assert model.game.name == game
    assert [type(layer).__name__.lower() for layer in model.policy.core.cells] == [cell]
    assert model.n_steps * model.n_envs <= config.total_timesteps


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_a_flag(cell):
    """What fourteen files said that changed one to three lines: the cell, and the start of its gates."""
    path = FOLDER / "battleship_gated.yaml"
    gated = read_config(path)
    config = read_flags(Config, ["--policy.cell", cell], default=gated, choices=SELF_PLAY_CHOICES)
    start = {"chrono": 64.0} if cell in ("gated", "lstm", "gru") else {}
    policy = dataclasses.replace(gated.policy, cell=cell, lstm_kwargs=start)
    assert config == dataclasses.replace(gated, policy=policy)
    (layer,) = make_model(config).policy.core.cells
    assert type(layer) is CELLS[cell]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_file_named_by_a_board_makes_a_spatial_policy_of_that_size(path):
    game, size = path.stem.rsplit("_", 1)
    config = read_config(path)
    rows, cols = map(int, size.split("x"))
    assert (config.game, config.options["rows"], config.options["cols"]) == (game, rows, cols)
    model = make_model(config)
    assert isinstance(model.policy.core, BoardCore)
    assert model.policy.core.squares == rows * cols
    assert model.n_steps * model.n_envs <= config.total_timesteps


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_a_file_for_a_world_makes_the_model_its_name_says(path):
    world, cell = path.stem.rsplit("_", 1)
    config = read_config(path, WorldConfig)
    assert config.env.lower() == f"fogbound/{world.replace('_', '')}-v1"
    with world_training.open_worlds(config) as worlds:
        model = world_training.make_model(config, worlds)
    assert [type(layer).__name__.lower() for layer in model.policy.core.cells] == [cell]
    assert model.n_steps * model.n_envs <= config.total_timesteps


# ---------------------------------------------------------------- reading and writing


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
    refused(written(text), told)


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
    refused(written(text), f"key '{key}' is given twice, in lines {lines[0]} and {lines[1]}")


def test_a_mark_at_the_beginning_changes_nothing(written):
    """As editors on other systems write it: UTF-8 with a byte order mark, UTF-16, other line ends."""
    for content in ("\ufeffseed: 4\nmatches: 8", "seed: 4\r\nmatches: 8\r\n"):
        assert read_config(written(content)) == Config(seed=4, matches=8)
    assert read_config(written("seed: 4\nmatches: 8".encode("utf-16"))) == Config(seed=4, matches=8)


def test_null_is_for_what_may_be_left_out(written):
    assert read_config(written("algo: {target_kl: null}")).algo.target_kl is None
    refused(written("algo: {gamma: null}"), "algo.gamma must be float, got None")


def test_an_option_keeps_its_type(written):
    options = read_config(written("options: {rows: 3, abrupt: true, rule: pie}")).options
    assert options == {"rows": 3, "abrupt": True, "rule": "pie"}
    assert type(options["rows"]) is int
    assert type(options["abrupt"]) is bool


def test_what_is_written_of_a_world_reads_the_same(written):
    config = WorldConfig(
        env="module:World-v0",
        env_kwargs={"size": 3, "map": ["SF", "FG"]},
        algo="ppo",
        arguments={"learning_rate": Linear(1e-4), "normalize_advantage": False},
        policy_kwargs={"net_arch": {"pi": [8], "vf": []}},
    )
    assert read_config(written(write_config(config)), WorldConfig) == config
    assert read_config(written(""), WorldConfig) == WorldConfig()


def test_numbers_without_a_point_are_numbers_in_free_places_too(written):
    text = "log_std_init: -1e-3, deep: [2E5, {a: 1.5e1}], name: e5, n: 1_000, x: 010, t: '1e3', p: +3"
    read = read_config(written(f"policy_kwargs: {{{text}}}"), WorldConfig).policy_kwargs
    assert read == {
        "log_std_init": -0.001, "deep": [2e5, {"a": 15.0}], "name": "e5",
        "n": 1000, "x": 10, "t": "1e3", "p": 3,
    }  # fmt: skip


def test_a_run_in_a_world_is_told_by_its_path(tmp_path):
    """Of the run and its checkpoints; not of runs by self-play and of files that lie elsewhere."""
    for name, config in (("world", WorldConfig(env="CartPole-v1", seed=7)), ("game", Config())):
        (tmp_path / name / "checkpoints" / "step_8").mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text(write_config(config), encoding="utf-8")
    for path in ("world", "world/checkpoints/step_8"):
        assert read_world(tmp_path / path) == WorldConfig(env="CartPole-v1", seed=7)
    for path in ("game", "game/checkpoints/step_8", "world/agent.zip", "world/checkpoints", "nowhere"):
        assert read_world(tmp_path / path) is None


# ---------------------------------------------------------------- slips of the pen


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
            "algo: {learning_rate_schedule: linear}",
            "algo.learning_rate_schedule is no longer a key: write algo.l",
        ),
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
    refused(written(text), told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("game: kuhn_poker", "unknown key 'game'; known are "),
        ("arguments: {lr: 1.0e-3}", "unknown key 'arguments.lr'; known are learning_rate"),
        (
            "algo: a2c",
            "algo must be Literal['maskable_recurrent_ppo', 'recurrent_ppo', 'maskable_ppo', 'ppo']",
        ),
        ("env: 3", "env must be str, got 3"),
        ("env_kwargs: 3", "env_kwargs must be dict"),
        ("n_envs: 0", "n_envs must be at least 1, got 0"),
        ("eval: {episodes: 1}", "eval.episodes must be at least 2, got 1"),
        ("eval: {final_episodes: 1}", "eval.final_episodes must be at least 2, got 1"),
        ("arguments: {magnet: north}", "arguments.magnet must be"),
    ],
)
def test_a_slip_about_a_world_is_told_in_one_line(written, text, told):
    refused(written(text), told, kind=WorldConfig)


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
        refused(written(text(wrong)), f"{key} must be ", f"{allowed}, got {wrong}")
    assert read_config(written(text(least)))


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
    refused(written(text), "is not YAML (")


def test_a_file_that_grows_is_refused_before_it_has_grown(written):
    """Nine times nine lists of nine: 9 ** 9 words out of ten lines."""
    lines = ["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10))]
    refused(written("\n".join(lines)), "with its aliases written out it says more than 20,000 values")
    merged = [
        "a0: &a0 {k: 1}",
        *(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}" for k in range(1, 10)),
    ]
    refused(written("\n".join(merged)), "more than 20,000 values")
    refused(written("options: &o {rows: *o}"), "line 1: an alias must not stand within what it names")
    refused(written("options: &o {<<: *o}"), "an alias must not stand within")
    refused(written("game: " + "[" * 5000), "is nested too deeply")
    refused(
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


def test_a_configuration_is_found_by_its_name(tmp_path, monkeypatch):
    """From any folder, with or without its folder and ending; a file of one's own comes first."""
    monkeypatch.chdir(tmp_path)
    shipped = read_config(FOLDER / "dark_hex_gated.yaml")
    for name in (
        "dark_hex_gated",
        "dark_hex_gated.yaml",
        "configs/dark_hex_gated.yaml",
        "configs/dark_hex_gated",
    ):
        assert read_config(name) == shipped
    (tmp_path / "dark_hex_gated.yaml").write_text("seed: 4", encoding="utf-8")
    assert read_config("dark_hex_gated") == Config(seed=4)
    told = f"there is no such configuration; in {FOLDER} are dark_hex_gated, "
    for name in ("dark_hx_gated", "configs/dark_hex_gate.yaml", "elsewhere/dark_hex_gated.yml"):
        refused(name, told, error=FileNotFoundError)


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "none.yaml", "there is no such configuration", error=FileNotFoundError)
    refused(tmp_path, "there is no such configuration", error=FileNotFoundError)


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
    refused(
        written(text.replace("{proof}", str(proof))), "is not YAML (", "could not determine a constructor"
    )
    assert not proof.exists()
