"""What the scripts share: of several processes with the same words one says what there is to say."""

from __future__ import annotations

import pytest

from agents.run import cli
from agents.run.choices import SELF_PLAY_CHOICES
from agents.run.config import Config


def nobody(*_):
    raise AssertionError("nothing is trained")


@pytest.mark.parametrize("words", [["--help"], ["--matches", "many"]])
def test_of_a_wrong_word_and_of_help_one_process_tells(monkeypatch, capsys, words):
    """Under torchrun the others read the same words; they end after it."""
    waited = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    monkeypatch.setattr("sys.argv", ["scripts/selfplay.py", "configs/kuhn_poker_gated.yaml", *words])
    for is_heard in (False, True):
        with pytest.raises(SystemExit):
            cli.start_or_resume(Config, nobody, nobody, "", SELF_PLAY_CHOICES, is_heard)
        told = capsys.readouterr()
        assert ("matches" in told.out + told.err) is is_heard
        assert waited == [cli.LAST_WORD]
