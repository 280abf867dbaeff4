"""The console command `fogbound`, and how a person plays by it."""

from __future__ import annotations

import importlib.metadata
import io
import os
import sys
from pathlib import Path

import pytest

import agents
import envs
from agents.commands import COMMANDS, doctor, fogbound
from agents.files import run_named
from agents.packaged import CONFIGS, SHIPPED, shipped_agent, version
from tests.scripts.conftest import Ended


@pytest.fixture
def console(monkeypatch, capfd):
    """Runs `fogbound ...` in this process, the lines `typed` on its standard input."""

    def run(*arguments, typed=""):
        monkeypatch.setattr(sys, "argv", ["/somewhere/bin/fogbound", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capfd.readouterr()
        code = 0
        try:
            fogbound()
        except SystemExit as ended:
            code = ended.code or 0
        return Ended(code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_the_commands_are_listed(console, arguments, code):
    ended = console(*arguments)
    assert (ended.code, ended.err) == (code, "")
    for command in COMMANDS:
        assert f"\n  {command} " in ended.out


def test_the_version_is_told(console):
    assert console("--version").out == f"fogbound {agents.__version__}\n"
    assert agents.__version__ == version() == "0.1.0"


def test_an_unknown_command(console):
    ended = console("selfply")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: unknown command 'selfply'; known are selfplay, ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_what_to_type_here(console, command):
    ended = console(command, "--help")
    assert ended.code == 0
    assert f"fogbound {command} " in ended.out
    assert "scripts/" not in ended.out


SMALL = ["-n", 64, "--matches", 8, "--algo.n-steps", 8, "--algo.batch-size", 32, "--algo.n-epochs", 1]
SMALL += ["--policy.lstm-hidden-size", 8, "--policy.features-dim", 8]
SMALL += ["--eval.matches-per-seat", 4, "--eval.final-matches-per-seat", 8]


def test_a_run_by_the_name_of_a_configuration_then_what_it_says_to_type(console, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = console("selfplay", "kuhn_poker_gated", *SMALL)
    assert ended.code == 0, ended
    (run,) = (tmp_path / "runs").iterdir()
    written = (run / "command.txt").read_text(encoding="utf-8")
    assert written.startswith("fogbound selfplay kuhn_poker_gated -n 64 ")
    typed = [line.split() for line in ended.out.partition("\nnext\n")[2].splitlines()]
    assert [words[:2] for words in typed[:2]] == [["fogbound", "watch"], ["fogbound", "tournament"]]
    assert console(*typed[0][1:]).code == 0
    assert (tmp_path / "match.gif").stat().st_size > 0
    assert console(*typed[1][1:], "--matches-per-seat", 4).code == 0
    assert "seat 1)" in console("play", run, "--terminal", typed="").out


def test_what_is_no_configuration_names_those_there_are(console):
    ended = console("selfplay", "kuhn_poker_gate")
    assert ended.code == 2
    assert str(CONFIGS) in ended.err
    assert "kuhn_poker_gated" in ended.err


def test_a_shipped_agent_is_named_like_a_player(console, tmp_path, monkeypatch):
    small = {"cell": "elman", "lstm_hidden_size": 4, "features_dim": 4}
    batch = envs.Batch(envs.make("kuhn_poker"), 4)
    model = agents.MaskableRecurrentPPO(
        "MlpLstmPolicy", batch, n_steps=8, batch_size=32, policy_kwargs=small, device="cpu"
    )
    model.save(tmp_path / "kuhn_small.zip")
    monkeypatch.setattr("agents.packaged.SHIPPED", tmp_path)
    assert shipped_agent("kuhn_small") == tmp_path / "kuhn_small.zip"
    assert shipped_agent("kuhn_large") == "kuhn_large"
    assert agents.load("kuhn_small").game == envs.make("kuhn_poker")
    ended = console("watch", "kuhn_small", "--opponent", "kuhn_small")
    assert ended.code == 0, ended
    assert "kuhn_small (seat 0) against kuhn_small (2) (seat 1)" in ended.out
    assert SHIPPED.parent.name == "agents"


# ---------------------------------------------------------------- a person plays


KUHN = ["play", "bot", "--terminal", "--game", "kuhn_poker", "--seed", 3]


def test_a_person_bets_with_the_jack_and_loses(console):
    """The bot calls with its king: each has put in 2."""
    ended = console(*KUHN, typed="?\nfold\n0\nbe\n")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("kuhn_poker: you (seat 0) against bot (seat 1), seed 3; ")
    assert "seat 0: J   seat 1: ?   moves: -" in ended.out
    assert "your move> legal are pass (0), bet (1)\n" in ended.out
    assert "'fold' is not legal here; legal are pass (0), bet (1)\n" in ended.out
    shown, _, end = ended.out.partition("seat 0: J   seat 1: K   moves: pass bet bet")
    assert "K" not in shown  # the other card is shown at the end, not before
    assert end.endswith("\n\nyou lost\nreturns: seat 0 -2, seat 1 +2\n")


def test_a_person_passes_in_the_other_seat(console):
    ended = console(*KUHN, "--seat", 1, typed="pass\n")
    assert ended.out.splitlines()[0].startswith("kuhn_poker: you (seat 1) against bot (seat 0)")
    assert ended.out.splitlines()[-1] == "returns: seat 0 -1, seat 1 +1"
    assert ended.out.splitlines()[-2] == "you won"


@pytest.mark.parametrize("typed", ["", "what\n"])
def test_ctrl_d_leaves(console, typed):
    ended = console(*KUHN, typed=typed)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("\nleft before the end\n")


def test_ctrl_c_leaves(console, monkeypatch):
    def interrupted(prompt):  # noqa: ARG001
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    ended = console(*KUHN)
    assert (ended.code, ended.err) == (130, "stopped\n")


def test_a_game_for_one_is_played_alone(console):
    moves = "".join(f"{a}\n" for a in range(16)) * 2
    ended = console("play", "--terminal", "--game", "minesweeper", "--seed", 1, "--seat", 0, typed=moves)
    assert ended.code == 0, ended
    assert "minesweeper: you (seat 0), seed 1;" in ended.out


def test_moves_at_once_are_typed_before_the_other_is_seen(console):
    board = ["--options.rows", 4, "--options.cols", 4, "--options.max-ticks", 2]
    who = ["play", "greedy", "--terminal", "--game", "generals", "--seat", 1]
    ended = console(*who, *board, typed="pass\npass\n")
    assert ended.code == 0, ended
    assert ended.out.count("your move> ") == 2
    assert "you drew\n" in ended.out


def test_what_cannot_be_played(console):
    ended = console(*KUHN, "--seat", 2)
    assert (ended.code, ended.err) == (2, "error: kuhn_poker: --seat must be in 0..1, got 2\n")
    assert "--seat must be random or in 0..1, got x" in console(*KUHN, "--seat", "x").err
    assert "say which game with --game" in console("play", "--terminal").err


# ---------------------------------------------------------------- what there is


def test_the_doctor_tells_versions_threads_devices_and_what_is_missing(console, monkeypatch):
    ended = console("doctor")
    assert (ended.code, ended.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert lines["fogbound"].startswith(f"{agents.__version__}, Python 3.")
    assert f"torch {importlib.metadata.version('torch')}" in lines["versions"]
    assert lines["threads"].endswith(f"{os.cpu_count()} cores")
    assert "cpu" in lines["device"]
    found = doctor.version_of
    export = {"onnx": None, "onnxscript": "1.0", "onnxruntime": "1.0"}  # whatever is installed here
    monkeypatch.setattr(doctor, "version_of", lambda name: export[name] if name in export else found(name))
    told = dict(line.split(maxsplit=1) for line in doctor.told())
    assert told["onnx"] == "missing onnx: pip install 'fogbound[onnx]' (export)"


def test_the_doctor_knows_every_extra_that_a_command_needs():
    known = set(doctor.requirements()) - {"", "dev", "oracles"}
    assert known <= set(doctor.NEEDED_FOR)


def test_the_latest_run_and_the_best_checkpoint_have_names(console, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        assert console("selfplay", "kuhn_poker_gated", *SMALL, "--seed", seed).code == 0
    (last,) = (tmp_path / "runs").glob("*__s1__*")
    assert run_named("runs/latest") == Path("runs") / last.name
    ended = console("watch", "runs/latest", "--which", "best")
    assert ended.code == 0, ended
    assert f"{last.name} (seat 0) against random" in ended.out
    assert console("tournament", "runs/latest", "random", "--matches-per-seat", 4).code == 0
    assert console("watch", "runs/latst").code == 2
    (tmp_path / "empty").mkdir()
    assert run_named("empty/latest") == Path("empty/latest")


# ---------------------------------------------------------------- looking back


def test_a_film_is_one_file(console, tmp_path):
    path = tmp_path / "match.html"
    ended = console("watch", "bot", "--game", "kuhn_poker", "--render", "html", "--out", path)
    assert ended.code == 0, ended
    text = path.read_text(encoding="utf-8")
    assert text.count("<figure>") == int(ended.out.split()[0]) >= 3
    assert "bot (seat 0) against random (seat 1)" in text


def test_a_typed_match_is_a_record_that_is_watched(console, tmp_path, monkeypatch):
    path = tmp_path / "played.jsonl"
    assert console(*KUHN, "--record", path, typed="bet\n").code == 0
    ended = console("records", "check", path)
    assert ended.code == 0, ended
    assert "person (seat 0) against bot (seat 1)" in console("watch", "--replay", path).out
    served = []
    monkeypatch.setattr("agents.web.server.serve", lambda sessions, *_: served.append(sessions))
    for told in (["--replay", path], ["bot", "--game", "kuhn_poker"]):
        assert console("watch", *told, "--render", "web").code == 0
    recorded, live = (sessions.story(sessions.enter()) for sessions in served)
    assert recorded.title == "kuhn_poker: person (seat 0) against bot (seat 1)"
    assert live.title == "kuhn_poker: bot (seat 0) against random (seat 1)"
