"""scripts/sequence.py as a person types it: fit, stop, resume, score, sample, and what it refuses."""

from __future__ import annotations

import re

import pytest
from made_setups import STOCK, made_lines
from reading import run_json

TINY = (
    *("--total-timesteps", 1920, "--device", "cpu", "--eval.every", 1920, "--fit.sequences", 16),
    *("--tokens.lstm-hidden-size", 8, "--tokens.embedding-dim", 8, "--no-mirror"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("setups") / "made.txt"
    path.write_text("".join(made_lines(60)), encoding="utf-8")
    return path


def test_fit_score_and_sample(script, data, tmp_path):
    runs = tmp_path / "runs"
    ended = script("sequence", "fit", "configs/setups_gated.yaml", "--data", data, "--run-dir", runs, *TINY)
    assert ended.code == 0, ended.err
    (run,) = runs.iterdir()
    assert f"sequence.py score {run} --data {data}\n" in ended.out
    assert f"sequence.py sample {run}\n" in ended.out
    assert re.search(r"validation .* 560 .* \d+\.\d{4} \[\d+\.\d{4}, \d+\.\d{4}\]", ended.out)
    command = (run / "command.txt").read_text(encoding="utf-8")
    assert "scripts/sequence.py fit configs/setups_gated.yaml --data" in command

    scored = script("sequence", "score", run, "--data", data)
    told = run_json(run)["results"]["validation"]
    assert f"perplexity        {told['perplexity']:.4f} [" in scored.out
    assert f"top-1             {100 * told['top1']:.2f} [" in scored.out
    assert "by counting       perplexity 6.7413, every order alike" in scored.out
    assert "train of" in script("sequence", "score", run, "--data", data, "--part", "train").out

    drawn = script("sequence", "sample", run, "--begin", "LM", "--count", 2, "--seed", 3).out
    first, second, _ = drawn.split("\n\n")
    for one in (first, second):
        assert sorted(one.replace("\n", "")) == sorted(STOCK)
        assert one.startswith("LM")

    again = script("sequence", "fit", "--resume", run)
    assert again.code == 2
    assert "is finished, with the weights of step_" in again.err
    again = script("sequence", "fit", "--resume", run, "--total-timesteps", 3840)
    assert again.code == 0, again.err
    assert run_json(run)["total_timesteps"] == 3840


def test_what_it_refuses(refused, data, tmp_path):
    refused("sequence", "ft", told="unknown command 'ft'; known are fit, score, sample")
    config = "configs/setups_gated.yaml"
    refused("sequence", "fit", config, told="say with --data which records to learn from")
    refused("sequence", "fit", told="sequence.py fit CONFIG.yaml")
    refused("sequence", "fit", config, "--data", tmp_path / "none.txt", told="none.txt")
    (tmp_path / "bad.txt").write_text("".join(made_lines(4)) + "9 BBB\n", encoding="utf-8")
    refused(
        "sequence",
        "fit",
        config,
        "--data",
        tmp_path / "bad.txt",
        told="bad.txt: line 5: expected a group's number and 40 letters",
    )
    refused("sequence", "score", tmp_path, "--data", data, told="holds no checkpoint")


def test_help_tells_what_there_is(script):
    ended = script("sequence", "--help")
    assert ended.code == 0
    assert "fit|score|sample" in ended.out
    assert "--tokens.dropout" in script("sequence", "fit", "configs/setups_gated.yaml", "--help").out


def test_a_stream_goes_on_from_what_is_kept(script, refused, tmp_path):
    """A seat's stream of a recorded match; of matches the commands to type next name the records."""
    data, runs = tmp_path / "records", tmp_path / "runs"
    script("record", "random", "bot", "--game", "kuhn_poker", "--matches", 30, "--out", data)
    ended = script("sequence", "fit", "configs/setups_gated.yaml", "--data", data, "--run-dir", runs, *TINY)
    (run,) = runs.iterdir()
    sample = ("sequence", "sample", run, "--data", data)
    assert f"sequence.py sample {run} --data {data}\n" in ended.out
    assert script(*sample, "--after", 2, "--count", 1).out.count("\n") == 3
    refused(*sample, "--after", -1, told="--after: seat 0 saw and did")
    refused(*sample, "--after", 1000, told="tokens of this match: expected to keep 0 to")
    refused(*sample, "--count", -1, told="count must be at least 0, got -1")
    agent = "agents/shipped/leduc_poker_gated.zip"
    refused(
        "sequence", "score", agent, "--data", data, told=f"{agent}: expected a run of scripts/sequence.py"
    )
