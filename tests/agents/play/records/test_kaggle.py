"""Kaggle's dark hex: a whole match as both seats saw it, and pickles beside it that are never touched."""

from __future__ import annotations

import base64
import json

import pytest

import envs
from agents.play import records
from agents.play.records import kaggle

ATTEMPTS = [2, 2, 7, 4, 8, 8, 3, 1, 1, 7, 5, 4, 3, 5, 0, 0, 6]

# What x and o know after each attempt, rows from the top; as kaggle-environments' own test replay has it.
BOARDS = [
    (".../.../...", ".../.../..."),
    ("..x/.../...", ".../.../..."),
    ("..x/.../...", "..x/.../..."),  # o hits the stone of x
    ("..x/.../...", "..x/.../.o."),
    ("..x/.x./...", "..x/.../.o."),
    ("..x/.x./...", "..x/.../.oo"),
    ("..x/.x./..o", "..x/.../.oo"),
    ("..x/xx./..o", "..x/.../.oo"),
    ("..x/xx./..o", ".ox/.../.oo"),
    (".ox/xx./..o", ".ox/.../.oo"),
    (".ox/xx./.oo", ".ox/.../.oo"),
    (".ox/xxx/.oo", ".ox/.../.oo"),
    (".ox/xxx/.oo", ".ox/.x./.oo"),
    (".ox/xxx/.oo", ".ox/xx./.oo"),
    (".ox/xxx/.oo", ".ox/xxx/.oo"),
    (".ox/xxx/.oo", "oox/xxx/.oo"),
    ("oox/xxx/.oo", "oox/xxx/.oo"),
    ("oox/xxx/xoo", "oox/xxx/.oo"),
]


class Poison:
    """Unpickled it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def episode(tmp_path):
    """The match in Kaggle's form; every state beside it is a pickle that would make the file `poisoned`."""
    import pickle  # only to make what nobody may open

    poison = base64.b64encode(pickle.dumps(Poison(tmp_path / "poisoned"))).decode()
    seen = {"observation": {"serializedGameAndState": f"[State]\n__dict__={poison}\n"}, "reward": None}
    states = [
        json.dumps(
            {
                f"board_player_{p}": [list(row) for row in told.split("/")]
                for p, told in zip("xo", boards, strict=True)
            }
        )
        for boards in BOARDS
    ]
    parameters = {
        "board_size": 3,
        "gameversion": "cdh",
        "num_cols": 3,
        "num_rows": 3,
        "obstype": "reveal-nothing",
    }
    return {
        "name": "open_spiel_dark_hex",
        "configuration": {"openSpielGameName": "dark_hex", "openSpielGameParameters": parameters},
        "steps": [[seen, seen] for _ in range(19)],
        "rewards": [1.0, -1.0],
        "statuses": ["DONE", "DONE"],
        "info": {"actionHistory": list(map(str, ATTEMPTS)), "stateHistory": states},
    }


@pytest.fixture
def write(tmp_path):
    def run(episode):
        path = tmp_path / "episode.json"
        path.write_text(json.dumps(episode), encoding="utf-8")
        return path

    return run


def test_the_pickle_would_do_harm(episode, tmp_path):
    import pickle

    text = episode["steps"][0][0]["observation"]["serializedGameAndState"].partition("__dict__=")[2]
    pickle.loads(base64.b64decode(text)).close()  # noqa: S301
    assert (tmp_path / "poisoned").exists()


def test_both_seats_see_what_kaggle_shows_and_no_pickle_is_touched(episode, write, tmp_path, monkeypatch):
    monkeypatch.setattr(base64, "b64decode", lambda *_: pytest.fail("somebody decoded it"))
    matches = kaggle.read([write(episode)])
    assert not (tmp_path / "poisoned").exists()
    assert matches.game == envs.make("dark_hex")
    assert matches.script.actions.tolist() == ATTEMPTS
    assert matches.returns.tolist() == [[1.0, -1.0]]
    assert matches.names == ("x", "o")
    match = envs.Match(matches.game)
    for t, boards in enumerate(BOARDS):
        for seat, told in enumerate(boards):
            assert ["".join(row) for row in kaggle.view(match, seat)] == told.split("/")
        if t < len(ATTEMPTS):
            match.play(ATTEMPTS[t])
    assert match.over
    with records.Writer(tmp_path / "records", matches.game) as writer:
        writer.add(matches)
    assert records.load(tmp_path / "records").seeds == [None]


def test_names_and_sizes_are_kaggles(episode, write):
    """6 x 6 although the board's size says 3; a match that is not over has no rewards to compare."""
    told = episode["configuration"]["openSpielGameParameters"] | {"num_rows": 6, "num_cols": 6}
    episode["configuration"]["openSpielGameParameters"] = told
    episode["info"] = {"actionHistory": ["22", "29"], "TeamNames": ["Ann", "Bob"]}
    episode["rewards"] = [None, None]
    matches = kaggle.read([write(episode)])
    assert matches.game == envs.make("dark_hex", rows=6, cols=6)
    assert (matches.names, records.ENDS[matches.ends[0]]) == (("Ann", "Bob"), "stopped")


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("configuration",), 3, "expected an episode of Kaggle's with an object 'configuration', got 3"),
        (("info",), None, "with an object 'info'"),
        (("configuration", "openSpielGameName"), "chess", "expected an episode of dark_hex, got 'chess'"),
        (
            ("configuration", "openSpielGameParameters", "gameversion"),
            "x",
            "expected a gameversion of cdh, adh",
        ),
        (("configuration", "openSpielGameParameters", "num_rows"), 99, "option 'rows' must be in 2..19"),
        (("configuration", "openSpielGameParameters", "num_rows"), "3", "option 'rows' must be of type int"),
        (("info", "actionHistory"), [2, 2], "must be a list of numbers as texts"),
        (("info", "actionHistory"), [], "must be a list of numbers as texts"),
        (("info", "actionHistory"), ["2", "99999"], "must be a list of numbers as texts"),
        (
            ("info", "actionHistory"),
            [*map(str, ATTEMPTS[:-1]), "8"],
            "move 17: dark_hex: action 8 ('c3') of seat 0",
        ),
        (("info", "stateHistory"), [], "stateHistory must be 18 states, got []"),
        (("info", "stateHistory", 3), "{}", "after move 3: expected that x sees"),
        (("info", "stateHistory", 3), "pickle", "it is no whole JSON object"),
        (("info", "TeamNames"), ["Ann"], "TeamNames must be 2 names"),
        (("rewards",), [-1.0, 1.0], "expected rewards [1.0, -1.0], as our rules give, got [-1.0, 1.0]"),
        (("rewards",), None, "expected rewards [1.0, -1.0]"),
    ],
)
def test_what_is_no_such_episode(episode, write, where, value, told):
    inside = episode
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    path = write(episode)
    with pytest.raises(records.RecordError) as refused:
        kaggle.read([path])
    assert str(refused.value).startswith(f"{path}: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
