"""The scripts, as a person types them: what they print, what they leave behind, and what they refuse."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from pairs import pairs
from PIL import Image

ROOT = Path(__file__).parents[2]
SMALL = ["--matches", "8", "--algo.n-steps", "8", "--algo.batch-size", "32", "--algo.n-epochs", "1"]
SMALL += ["--policy.lstm-hidden-size", "8", "--policy.features-dim", "8"]
SMALL += ["--eval.matches-per-seat", "4", "--eval.final-matches-per-seat", "8"]


def child(*arguments, **options):
    """The same as a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run of Kuhn poker by scripts/selfplay.py, and what the script printed."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = ["scripts/selfplay.py", "configs/kuhn_poker_gated.yaml", "-n", 128, "--run-dir", folder]
    process = child(*arguments, *SMALL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    (run,) = folder.iterdir()
    return run, out, err


# ---------------------------------------------------------------- training, then what it says to type next


def test_training_ends_with_a_table_and_the_next_commands(trained):
    run, out, err = trained
    assert err == ""  # no terminal: no bar
    assert "trained: 128 decisions" in out
    for player in ("random", "bot"):
        (row,) = [line for line in out.splitlines() if f" {player} " in line and "agent" in line]
        assert " 16 " in row  # 8 matches in each of two seats
        assert row.count("%") == 3
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["status"] == "finished"
    assert (run / "command.txt").read_text(encoding="utf-8").startswith("python")


def test_commands_are_printed_as_a_shell_takes_them(script, monkeypatch, tmp_path):
    """Also for a folder with a dash, blanks, quotes and a dollar sign in its name."""
    monkeypatch.chdir(tmp_path)
    folder = """-my "run's" $HOME"""
    ended = script("selfplay", "kuhn_poker_gated", "-n", 128, "--run-dir", folder, *SMALL)
    assert ended.code == 0, ended
    (run,) = (tmp_path / folder).iterdir()
    (curves,) = [line for line in ended.out.splitlines() if line.startswith("curves ")]
    typed = [shlex.split(line) for line in [curves, *ended.out.partition("\nnext\n")[2].splitlines()]]
    assert typed[0][1:] == typed[3] == ["tensorboard", "--logdir", f"./{folder}"]
    assert typed[1][:3] == ["python", "scripts/watch.py", f"./{folder}/{run.name}"]
    assert script("tournament", *typed[2][2:], "--matches-per-seat", 8).code == 0


def test_the_next_commands_work_as_they_are_printed(trained, script, monkeypatch, tmp_path):
    run, out, _ = trained
    monkeypatch.chdir(tmp_path)
    typed = [shlex.split(line) for line in out.partition("\nnext\n")[2].splitlines()]
    assert [words[:2] for words in typed] == [
        ["python", "scripts/watch.py"],
        ["python", "scripts/tournament.py"],
        ["tensorboard", "--logdir"],
    ]
    assert script("watch", *typed[0][2:]).code == 0
    with Image.open("match.gif") as gif:
        assert gif.n_frames > 2
    ended = script("tournament", *typed[1][2:], "--matches-per-seat", "8")
    assert ended.code == 0
    assert sum(" 16 " in line for line in ended.out.splitlines()) == 6  # each of three against each other
    assert typed[2][2] == str(run.parent)
    assert list(run.glob("tensorboard/events.out.tfevents.*"))


def test_a_setting_on_the_command_line_comes_before_the_file(trained):
    text = (trained[0] / "config.yaml").read_text(encoding="utf-8")
    assert "matches: 8\n" in text
    assert "cell: gated\n" in text
    assert "game: kuhn_poker\n" in text


@pytest.mark.parametrize(
    "name", ["selfplay", "train", "watch", "tournament", "exploitability", "solve", "benchmark"]
)
def test_help_is_there(script, name):
    ended = script(name, "--help")
    assert ended.code == 0
    assert "usage: " in ended.out
    assert f"scripts/{name}.py" in ended.out  # an example to type


# ---------------------------------------------------------------- watching


def test_watching_as_text_shows_every_move_and_the_end(trained, script):
    ended = script("watch", trained[0], "--games", 2)
    assert ended.code == 0
    assert "game 1: " in ended.out
    assert "game 2: " in ended.out
    assert "(seat 1)" in ended.out
    assert ended.out.count("returns: seat 0 ") == 2


def test_games_for_one_are_watched_and_compared(script):
    ended = script("watch", "bot", "--game", "minesweeper", "--viewer", "seat")
    assert ended.code == 0
    assert "game 1: bot (seat 0)\n" in ended.out
    assert ended.out.count("returns: seat 0 ") == 1
    ended = script("tournament", "random", "bot", "--game", "concentration", "--matches-per-seat", 20)
    assert ended.code == 0
    rows = [line for line in ended.out.splitlines() if " nobody " in line]
    assert ["random" in rows[0], "bot" in rows[1], len(rows)] == [True, True, 2]
    assert " 40 " in rows[0]


def test_simultaneous_moves_are_one_picture(script, tmp_path):
    """Eight ticks of Generals are nine drawings, not seventeen, for the referee and for a seat."""
    game = ["--game", "generals", "--options.rows", 4, "--options.cols", 4, "--options.max-ticks", 8]
    players = ["watch", "greedy", "--opponent", "expander", *game, "--render"]
    for viewer in ("referee", "seat"):
        folder = tmp_path / viewer
        ended = script(*players, "svg", "--viewer", viewer, "--out", folder)
        assert ended.out == f"9 drawings in {folder}\n"
        assert ["B sees" in path.read_text(encoding="utf-8") for path in folder.iterdir()] == [
            viewer == "referee"
        ] * 9
    ended = script(*players, "gif", "--width", 300, "--out", tmp_path / "match.gif")
    assert ended.out == f"9 frames in {tmp_path / 'match.gif'}\n"
    with Image.open(tmp_path / "match.gif") as gif:
        assert gif.size[0] == 300


def test_stepping_generals_is_measured(script):
    """On 4 x 4 cells: 112 bytes a match, 14 x 4 x 4 numbers of 2 bytes, 129 actions."""
    few = ["--matches", 64, "--repeats", 1, "--seconds", 0.01, "--check-matches", 500]
    ended = script("benchmark", "env", "generals:4", *few)
    assert ended.code == 0, ended
    assert "64 matches side by side" in ended.out
    (sizes,) = [line.split() for line in ended.out.splitlines() if line.startswith("generals:4  112")]
    assert sizes == ["generals:4", "112", "448", "129"]


def test_watching_one_seat_hides_the_other_card(script):
    both = script("watch", "random", "--opponent", "random", "--game", "kuhn_poker", "--seed", 3).out
    one = script(
        "watch", "random", "--opponent", "random", "--game", "kuhn_poker", "--seed", 3, "--viewer", "seat"
    ).out
    assert both != one
    assert "?" in one
    assert "?" not in both


def test_one_drawing_a_move_is_no_file(script, tmp_path):
    """A folder called x.svg would not be what was meant."""
    watched = "watch", "random", "--opponent", "random", "--game", "kuhn_poker", "--render", "svg"
    ended = script(*watched, "--out", tmp_path / "x.svg")
    assert ended.code == 2
    assert "one file a move: expected a folder as --out, such as x, got" in ended.err
    assert not (tmp_path / "x.svg").exists()


def test_watching_as_svg_leaves_one_drawing_a_move(trained, script, tmp_path):
    ended = script("watch", trained[0], "--opponent", trained[0], "--render", "svg", "--out", tmp_path / "m")
    drawings = sorted((tmp_path / "m").iterdir())
    assert ended.out == f"{len(drawings)} drawings in {tmp_path / 'm'}\n"
    assert drawings[0].name == "game1_move000.svg"
    for drawing in drawings:
        assert ET.parse(drawing).getroot().tag.endswith("svg")


def test_the_same_seed_shows_the_same_match(trained, script):
    first, again, other = (script("watch", trained[0], "--games", 3, "--seed", s).out for s in (1, 1, 2))
    assert first == again != other


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    process = child(
        "scripts/selfplay.py", "configs/kuhn_poker_gated.yaml", "-n", 10**9, "--run-dir", tmp_path, *SMALL
    )
    try:
        while not list(tmp_path.glob("*/metrics.jsonl")):  # it is learning
            assert process.poll() is None
            time.sleep(0.05)
        (run,) = tmp_path.iterdir()
        while not (run / "metrics.jsonl").read_text(encoding="utf-8"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == ""
    assert "stopping after this update" in out
    assert out.splitlines()[-2].startswith("stopped and saved (")
    went_on = shlex.split(out.splitlines()[-1])
    assert went_on == ["python", "scripts/selfplay.py", "--resume", str(run)]
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert told["status"] == "interrupted"

    process = child(*went_on[1:], "-n", told["timesteps"] + 64)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"resumed at {told['timesteps']:,} of {told['timesteps'] + 64:,} decisions" in out
    assert f"trained: {told['timesteps'] + 64:,} decisions" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_whose_reader_has_gone_is_saved_all_the_same(tmp_path, number, code):
    """`selfplay.py ... | head -2`, and then the terminal closes or the system asks it to end."""
    process = child(
        "scripts/selfplay.py", "configs/kuhn_poker_gated.yaml", "-n", 10**9, "--run-dir", tmp_path, *SMALL
    )
    try:
        head = [process.stdout.readline() for _ in range(2)]
        process.stdout.close()
        process.stderr.close()
        (run,) = tmp_path.iterdir()
        while not (run / "metrics.jsonl").read_text(encoding="utf-8"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=60) == code
    finally:
        process.kill()
    assert head[0] == f"run folder   {run}\n"
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert told["status"] == "interrupted"
    assert json.loads((run / "latest.json").read_text(encoding="utf-8"))["checkpoint"].endswith(
        f"step_{told['timesteps']}"
    )


def test_a_damaged_newest_checkpoint_is_told_in_one_line(trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    shutil.copytree(run / "checkpoints" / "step_128", run / "checkpoints" / "step_64")
    (run / "checkpoints" / "step_128" / "policy.safetensors").write_bytes(b"")
    process = child("scripts/tournament.py", run, "random", "--matches-per-seat", 4)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    (line,) = err.splitlines()
    assert line.startswith("warning: ")
    assert line.endswith("the newest whole one is used instead, step_64")


def test_a_terminal_shows_a_progress_bar(tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    arguments = ["scripts/selfplay.py", "configs/kuhn_poker_gated.yaml", "-n", "128", "--run-dir", tmp_path]
    process = subprocess.Popen(
        [sys.executable, *map(str, [*arguments, *SMALL])],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other end has closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert b"decision/s" in shown
    assert b"128/128" in shown


# ---------------------------------------------------------------- bad input: one line, code 2, nothing lost


def configuration(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_configuration(refused):
    refused("selfplay", told=["no configuration given", "usage: selfplay.py CONFIG.yaml"])
    refused("selfplay", "none.yaml", told="none.yaml: there is no such configuration")
    refused("selfplay", "--seed", "3", told="the configuration comes first")
    refused("selfplay", "--resume", told="--resume needs the folder of a run")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("game: kuhn", ["unknown game 'kuhn'", "kuhn_poker"]),
        ("{game: dark_hex, options: {colour: 3}}", ["dark_hex", "'colour'", "rows"]),
        ("{game: dark_hex, options: {rows: 1}}", "option 'rows' must be in 2..19, got 1"),
        ("{game: dark_hex, options: {rows: many}}", ["'rows'", "'many'"]),
        ("mathces: 3", "unknown key 'mathces'"),
        ("matches: some", "matches must be int, got 'some'"),
        ("{algo: {n_steps: 16, batch_size: 100}}", ["batch_size", "100"]),
        ("{policy: {cell: mgu}}", ["'mgu'", "gated"]),
        ("{device: tpu}", "device must be cpu or cuda, got tpu"),
        ("{eval: {players: [me]}}", ["'me'", "random", "bot"]),
        ("{opponents: {share: 0.5, players: [me]}}", ["'me'", "random", "bot"]),
        ("{opponents: {share: 2.0}}", ["share", "2.0"]),
        ("{algo: {n_steps: 0}}", ["n_steps", "0"]),
    ],
    ids=lambda case: case if isinstance(case, str) and ":" in case else "",
)
def test_a_configuration_no_run_can_use(refused, tmp_path, text, told):
    path = configuration(tmp_path, text)
    before = path.read_bytes()
    refused("selfplay", path, "--run-dir", tmp_path / "runs", told=told)
    assert path.read_bytes() == before
    assert not (tmp_path / "runs").exists()  # no half-made run


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (("--algo.lr", "3"), "--algo.lr"),
        (("--matches", "x"), "--matches"),
        (("--algo.magnet", "north"), "north"),
        (("--options.colour", "red"), "--options.colour"),
    ],
)
def test_a_slip_on_the_command_line(script, tmp_path, setting, told):
    """The command line's own parser tells it, in a frame, with what it might have meant."""
    ended = script("selfplay", "configs/dark_hex_gated.yaml", "--run-dir", tmp_path / "runs", *setting)
    assert ended.code == 2
    assert told in ended.err
    assert "--help" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("selfplay", ["configs/kuhn_poker_gated.yaml"]),
        ("tournament", ["random", "bot", "--game", "kuhn_poker"]),
        ("benchmark", ["env"]),
    ],
)
def test_a_gpu_that_is_not_there(refused, name, arguments):
    refused(name, *arguments, "--device", "cuda", told="torch finds no CUDA device")


def test_resuming_what_cannot_go_on(refused, trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused("selfplay", "--resume", run, told=["is finished (128 of 128 decisions)", "--total-timesteps"])
    refused("selfplay", "--resume", run, "-n", "300", "--seed", "9", told="a resumed run keeps its seed")
    refused("selfplay", "--resume", tmp_path / "none", told="there is no run to resume")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["watch", "tournament"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "pickled"])
def test_a_damaged_checkpoint(refused, trained, tmp_path, name, damage):
    run = shutil.copytree(trained[0], tmp_path / "run")
    (tensors,) = run.glob("checkpoints/step_128/policy.safetensors")
    content = bytearray(tensors.read_bytes())
    if damage == "truncated":
        tensors.write_bytes(content[:-100])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        tensors.write_bytes(content)
    elif damage == "missing":
        tensors.unlink()
    else:
        torch.save({"weights": torch.zeros(3)}, tensors)
    opponent = ["--opponent", "random"] if name == "watch" else ["random"]
    refused(name, run, *opponent, told="policy.safetensors")


def test_players_that_cannot_meet(refused, trained):
    run = trained[0]
    refused(
        "watch",
        "nobody",
        told="'nobody' is neither a fixed player (random, bot, expander, greedy) nor a path",
    )
    refused("watch", "random", told="say which game with --game; known are kuhn_poker")
    refused(
        "watch",
        run,
        "--game",
        "dark_hex",
        told=["plays KuhnPoker()", "expected an agent of DarkHex(rows=3, cols=3"],
    )
    refused("tournament", run, "random", "--game", "leduc_poker", told="expected an agent of LeducPoker()")
    refused("tournament", run, told="at least two players")
    refused("tournament", told="at least two players")
    refused("watch", run, "--games", 0, told="--games must be at least 1, got 0")
    refused("watch", run, "--frames-per-second", 0, told="--frames-per-second must be above 0, got 0")
    refused("watch", run, "--width", 0, told="--width must be at least 1, got 0")
    refused(
        "watch", "greedy", "--game", "kuhn_poker", told="kuhn_poker has no greedy; games with one are gen"
    )


def test_what_is_too_large_is_refused(refused):
    most, told = 10**12, "1,000,000,000,000 needs"
    many = ["--game", "kuhn_poker", "--matches-per-seat", most]
    refused("tournament", "random", "bot", *many, told=[f"--matches-per-seat {told}", "would fit"])
    refused("selfplay", "kuhn_poker_gated", "--matches", most, told=[f"matches {told}", "would fit"])
    refused("train", "cartpole_novel_gated", "--n-envs", most, told=[f"n_envs {told}", "would fit"])


def test_options_of_no_game(refused):
    refused("tournament", "random", "bot", "--options.rows", 4, told="unknown setting --options.rows")
    game = ["--game", "dark_hex", "--options", "rows", 4]
    refused("watch", "bot", *game, told="known are --options.rows, --options.cols")


def test_an_agent_of_another_size_is_refused(script, refused, tmp_path):
    folder, board = tmp_path / "runs", ["--options.rows", 2, "--options.cols", 2]
    ended = script(
        "selfplay", ROOT / "configs/dark_hex_gated.yaml", "-n", 64, "--run-dir", folder, *board, *SMALL
    )
    assert ended.code == 0, ended
    (run,) = folder.iterdir()
    size = ["--options.rows", 3, "--options.cols", 2]
    refused("watch", run, "--game", "dark_hex", *size, told=["rows=2", "expected an agent of", "rows=3"])


# ---------------------------------------------------------------- where letters are few


FEW_LETTERS = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": ""}


@pytest.mark.parametrize(
    ("encoding", "game"), pairs(["cp1252", "ascii"], ["dark_hex", "kuhn_poker", "minesweeper"])
)
def test_matches_are_watched_where_letters_are_few(tmp_path, encoding, game):
    environment = os.environ | FEW_LETTERS | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"}
    watch = [sys.executable, str(ROOT / "scripts/watch.py"), "random", "--game", game]
    for more in ([], ["--render", "svg", "--out", "naïve"]):
        told = subprocess.run(
            [*watch, *more], cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True, check=False,
        )  # fmt: skip
        assert (told.returncode, told.stderr) == (0, b""), told
    (folder,) = tmp_path.iterdir()
    drawings = sorted(folder.iterdir())
    assert len(drawings) > 1
    for drawing in drawings:
        ET.fromstring(drawing.read_text(encoding="utf-8"))


def test_a_run_begins_where_letters_are_few(tmp_path):
    environment = os.environ | FEW_LETTERS | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "scripts/selfplay.py", "configs/kuhn_poker_gated.yaml", "-n", "64"]
    told = subprocess.run(
        [*words, "--run-dir", str(tmp_path), *SMALL],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert b"trained: 64 decisions" in told.stdout
