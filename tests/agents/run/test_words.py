"""Words on a command line: truths in every form, and what is unknown."""

from __future__ import annotations

import pytest
from flagged import HEX, read


@pytest.mark.parametrize(
    ("words", "abrupt"),
    [
        (["--options.abrupt"], True),
        (["--options.no-abrupt"], False),
        (["--options.abrupt", "True"], True),
        (["--options.abrupt=no"], False),
        (["--options.abrupt", "off", "--options.reveal", "turns"], False),
        (["--options.no-abrupt", "false"], True),
    ],
)
def test_a_truth_value_is_said_as_one_likes(words, abrupt):
    assert read(HEX, *words)[0].options["abrupt"] is abrupt


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--options.colour", "--options.cols, "),
        ("--options", "--options.rows, --options.cols, "),
        ("--algo.gama", "--algo.gamma, "),
        ("--learning-rate", "--algo.learning-rate;"),
        ("--matchs", "--matches, "),
        ("--policy.cel", "--policy.cell, "),
        ("--env-kwargs.rows", "--options.rows;"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known_nearest_first(word, told):
    for given in ([word, "3"], [f"{word}=3"]):
        with pytest.raises(ValueError, match="unknown setting") as caught:
            read(HEX, *given)
        assert str(caught.value).startswith(f"unknown setting {word}; known are {told}")
        assert str(caught.value).endswith("--help tells more")


@pytest.mark.parametrize("word", ["none", "None", "null", "NULL"])
def test_nothing_is_said_as_one_likes(word):
    assert read(HEX, "--algo.target-kl", word, "--seed", "3")[0].algo.target_kl is None
    assert read(HEX, f"--algo.batch-size={word}")[0].algo.batch_size is None
    assert read(HEX, "--start-from", word)[0].start_from is None


def test_an_older_setting_says_what_to_write():
    with pytest.raises(ValueError, match=r"write --algo.learning-rate linear:0.001, say"):
        read(HEX, "--algo.learning-rate-schedule", "constant")
