"""scripts/train.py as a person types it: what it prints, what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from agents.gym.config import WorldConfig
from agents.gym.training import train
from agents.run.config import read_config

ROOT = Path(__file__).parents[2]

SMALL = """
env: CartPole-v1
n_envs: 2
normalize: true
device: cpu
total_timesteps: 64
arguments: {n_steps: 16, batch_size: 16, n_epochs: 1}
eval: {every: 32, episodes: 2, final_episodes: 3}
checkpoint_every: 32
"""

OURS = SMALL + "policy_kwargs: {cell: gru, lstm_hidden_size: 8, features_dim: 8}\n"


@pytest.fixture
def written(tmp_path):
    """Writes a configuration whose runs stay in the test's folder."""

    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(f"{text}\nrun_dir: {tmp_path / 'runs'}\n", encoding="utf-8")
        return path

    return write


def start(*arguments, **environment):
    """The script as a process with a group of its own, as a terminal makes one."""
    return subprocess.Popen(
        [sys.executable, "scripts/train.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_training_ends_with_a_table_and_the_next_commands(script, written, tmp_path, monkeypatch):
    ended = script("train", written(OURS))
    assert ended.code == 0, ended
    assert ended.err == ""  # no terminal: no bar
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("CartPole-v1__gru__s0__")
    assert "trained: 64 decisions" in ended.out
    for player in ("agent", "random"):
        (row,) = [line for line in ended.out.splitlines() if f" {player} " in line]
        assert " 3 " in row  # episodes
        assert row.count("[") == 1  # the interval
    assert f"an episode   {run / 'replays' / 'step_64.gif'}" in ended.out
    typed = [shlex.split(line) for line in ended.out.partition("\nnext\n")[2].splitlines()]
    assert typed == [
        ["python", "scripts/watch.py", str(run), "--render", "gif", "--out", "episode.gif"],
        ["python", "scripts/train.py", "--resume", str(run), "--total-timesteps", "128"],
        ["tensorboard", "--logdir", str(run.parent)],
    ]
    monkeypatch.chdir(tmp_path)
    ended = script("watch", *typed[0][2:])
    assert (ended.code, ended.err) == (0, "")
    told, drawn = ended.out.splitlines()
    decisions = int(re.fullmatch(r"episode 1: reward (\d+), \1 decisions", told)[1])
    assert drawn == f"{decisions + 1} frames in episode.gif"
    with Image.open("episode.gif") as gif:
        assert gif.n_frames > 5  # equal neighbours are one
    ended = script("train", *typed[1][2:])
    assert ended.code == 0, ended
    assert "resumed at 64 of 128 decisions\nthe worlds begin anew\n" in ended.out
    assert "trained: 128 decisions" in ended.out


def test_a_setting_on_the_command_line_comes_before_the_file(script, written, tmp_path):
    settings = ["--policy-kwargs.cell", "elman", "--arguments.learning-rate", "1e-2", "--seed", "5"]
    assert script("train", written(OURS), *settings, "--eval.no-gif", "-n", "32").code == 0
    (run,) = (tmp_path / "runs").iterdir()
    text = (run / "config.yaml").read_text(encoding="utf-8")
    for line in ("cell: elman", "learning_rate: 0.01", "seed: 5", "total_timesteps: 32", "gif: false"):
        assert f"{line}\n" in text
    assert run.name.startswith("CartPole-v1__elman__s5__")


# ---------------------------------------------------------------- watched and met


@pytest.fixture(scope="module")
def crosses(tmp_path_factory):
    """A finished run in a world of phantom tic-tac-toe; not to be changed."""
    folder = tmp_path_factory.mktemp("crosses")
    (folder / "config.yaml").write_text(
        OURS.replace("CartPole-v1", "fogbound/PhantomTicTacToe-v0").replace("normalize: true", "")
        + f"env_kwargs: {{opponent: bot, seat: alternate}}\nrun_dir: {folder / 'runs'}\n",
        encoding="utf-8",
    )
    return train(read_config(folder / "config.yaml", WorldConfig), say=lambda _: None).run


def test_an_agent_of_a_games_world_is_watched_there_and_at_the_game(script, crosses, tmp_path):
    ended = script("watch", crosses, "--games", 2)
    assert (ended.code, ended.err) == (0, "")
    assert len(re.findall(r"^episode [12]: reward -?[01], \d decisions$", ended.out, re.M)) == 2
    assert ended.out.count("to move, attempts: ") > 2  # the referee's board
    assert ended.out.count("attempts") == ended.out.count("  a b c")

    ended = script("watch", crosses, "--opponent", "bot", "--viewer", "seat", "--games", 2)
    assert ended.code == 0, ended
    assert f"game 1: {crosses.name} (seat 0) against bot (seat 1)" in ended.out
    assert f"game 2: bot (seat 0) against {crosses.name} (seat 1)" in ended.out

    ended = script("watch", crosses, "--render", "gif", "--out", tmp_path / "x.gif")
    assert ended.out.splitlines()[-1].endswith(f" frames in {tmp_path / 'x.gif'}")
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.n_frames > 2


def test_an_agent_of_a_games_world_takes_part_in_a_tournament(script, crosses):
    ended = script("tournament", crosses, "random", "bot", crosses, "--matches-per-seat", 8)
    assert ended.code == 0, ended
    assert "PhantomTicTacToe(abrupt=False, reveal='nothing')" in ended.out
    assert sum(" 16 " in line for line in ended.out.splitlines()) == 12  # each of four against each other


def test_what_a_world_cannot_show(refused, script, written, crosses, tmp_path):
    refused(
        "watch", crosses, "--render", "svg",
        told=["fogbound/PhantomTicTacToe-v0 draws itself: expected --render ansi or gif or human", "got svg"],
    )  # fmt: skip
    refused("watch", crosses, "--viewer", "seat", told="and --viewer referee, got ansi and seat; matches")
    refused("watch", crosses, "--game", "kuhn_poker", told=["plays PhantomTic", "an agent of KuhnPoker()"])
    assert script("train", written(OURS), "--eval.no-gif").code == 0
    (run,) = (tmp_path / "runs").iterdir()
    refused("watch", run, told="CartPole-v1 draws itself: expected --render gif or human and")
    refused("watch", run, "--opponent", "bot", told="in a Gymnasium world; expected an agent of a game")
    refused("watch", run, "--game", "dark_hex", told=["plays World(observation_space=Box(", "of DarkHex(row"])
    refused("tournament", run, "random", told="in a Gymnasium world; expected an agent of a game")
    assert script("train", written(SMALL + "algo: ppo"), "--eval.no-gif", "--seed", 1).code == 0
    (run,) = (tmp_path / "runs").glob("*__ppo__*")
    refused("tournament", run, "random", told="is an agent of the stock algorithm 'PPO'")


@pytest.mark.parametrize(
    ("text", "what", "number"),
    [
        (SMALL + "algo: ppo\n", "ppo", signal.SIGINT),
        (OURS + "subprocesses: true\n", "gru", signal.SIGINT),
        pytest.param(OURS + "subprocesses: true\n", "gru", signal.SIGTERM, marks=pytest.mark.slow),
        (OURS + "subprocesses: true\n", "gru", signal.SIGHUP),
    ],
    ids=["stock", "processes", "term", "hup"],
)
def test_a_signal_saves_and_says_how_to_go_on(written, tmp_path, text, what, number):
    """The terminal signals every process of the group; those of the worlds must outlive it."""
    process = start(written(text), "-n", 10**9, "--eval.every", 10**9)
    try:
        deadline = time.monotonic() + 100
        while not any(path.stat().st_size for path in tmp_path.glob("runs/*/metrics.jsonl")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    (run,) = (tmp_path / "runs").iterdir()
    assert process.returncode == 128 + number, err
    assert err == ""
    assert f"__{what}__" in run.name
    assert "stopping after this update" in out
    assert out.splitlines()[-2].startswith("stopped and saved (")
    assert shlex.split(out.splitlines()[-1]) == ["python", "scripts/train.py", "--resume", str(run)]
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"


@pytest.mark.parametrize("algo", ["maskable_recurrent_ppo", "ppo"])
def test_the_end_of_a_worlds_process_is_told(written, tmp_path, algo):
    (tmp_path / "mortal.py").write_text(
        """
import os
import gymnasium
from gymnasium import spaces

class Mortal(gymnasium.Env):
    observation_space, action_space = spaces.Box(0, 1), spaces.Discrete(2)
    def reset(self, **_):
        return self.observation_space.sample(), {}
    def step(self, action):
        os._exit(1)

gymnasium.register("Mortal-v0", Mortal)
""",
        encoding="utf-8",
    )
    text = SMALL.replace("CartPole-v1", "mortal:Mortal-v0") + f"subprocesses: true\nalgo: {algo}\n"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = start(written(text), PYTHONPATH=path)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2, err
    assert err.splitlines()[-1].startswith("error: the process of a world ended")


# ---------------------------------------------------------------- bad input: one line, code 2, nothing lost


def test_no_configuration(refused):
    refused("train", told=["no configuration given", "usage: train.py CONFIG.yaml"])
    refused("train", "none.yaml", told="none.yaml: there is no such configuration")
    refused("train", "--seed", "3", told="the configuration comes first")
    refused("train", "--resume", told="--resume needs the folder of a run")
    refused("train", "--resume", "nowhere", told="nowhere: there is no run to resume")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("env: CartPool-v1", ["env 'CartPool-v1'", "Did you mean: `CartPole`?"]),
        ("env: CartPole-v9", ["CartPole", "`v1`"]),
        ("env_kwargs: {colour: red}", "unexpected keyword argument 'colour'"),
        ("algo: a2c", ["algo must be", "'maskable_recurrent_ppo'", "got 'a2c'"]),
        ("algo: maskable_ppo", "maskable_ppo needs a world with action_masks()"),
        (
            "env: Blackjack-v1",
            ["Tuple(Discrete(32)", "is not supported; known are Box, MultiBinary, Discrete and MultiDisc"],
        ),
        ("env: FrozenLake-v1\nnormalize: true", "normalize needs observations of numbers (a Box of floats)"),
        ("arguments: {batch_size: 100}", "batch_size 100 does not fit 8 matches x n_steps 128"),
        ("algo: ppo\narguments: {batch_size: 100}", "batch_size 100 does not divide the rollout"),
        ("arguments: {lr: 3}", "unknown key 'arguments.lr'; known are learning_rate"),
        (
            "algo: ppo\narguments: {ema_decay: 0.9}",
            "ppo has no argument 'ema_decay'; known are learning_rate",
        ),
        ("policy_kwargs: {cells: gru}", "has no policy_kwargs 'cells'; known are cell"),
        ("game: kuhn_poker", "unknown key 'game'; known are "),
        ("device: tpu", "device must be cpu or cuda, got tpu"),
    ],
)
def test_a_configuration_no_run_can_use(refused, written, tmp_path, text, told):
    refused("train", written(text), told=told)
    assert not (tmp_path / "runs").exists()  # no half-made run


def test_resuming_what_cannot_go_on(script, refused, written, tmp_path):
    assert script("train", written(OURS), "--eval.no-gif").code == 0
    (run,) = (tmp_path / "runs").iterdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused("train", "--resume", run, told=["is finished (64 of 64 decisions)", "--total-timesteps"])
    refused("train", "--resume", run, "-n", 99, "--seed", 9, told="a resumed run keeps its seed")
    refused("selfplay", "--resume", run, told="unknown key 'env'")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
