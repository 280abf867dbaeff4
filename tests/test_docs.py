"""The documents: their Python runs as it stands there, and their links lead somewhere."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest
import sb3_contrib

import agents
import envs

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def python_blocks(text: str) -> list[str]:
    """What is fenced as python, and indented paragraphs that begin with an import, in their order."""
    fenced = r"^```python\n(?P<fenced>(?:.*\n)*?)```$"
    indented = r"(?<=\n\n)(?P<indented>    (?:import|from) .*\n(?:    .*\n)*)"
    found = re.finditer(f"{fenced}|{indented}", text, re.MULTILINE)
    return [textwrap.dedent(one["fenced"] or one["indented"]) for one in found]


def test_what_counts_as_code():
    text = """Text.

    import a
    b = 1

    make test

More.

```python
d = 3
```
```yaml
e: 4
```
"""
    assert [block.strip() for block in python_blocks(text)] == ["import a\nb = 1", "d = 3"]


@pytest.fixture
def run_code(tmp_path, monkeypatch):
    """Runs a document's blocks one after the other in one namespace, as a reader would type them, in an
    empty folder. A block with `# <name>.py` on top is that file. Documents show sizes that teach something:
    here every `learn` ends after one rollout and its update."""
    for algorithm in (agents.MaskableRecurrentPPO, sb3_contrib.RecurrentPPO, sb3_contrib.MaskablePPO):
        learn = algorithm.learn
        monkeypatch.setattr(
            algorithm, "learn", lambda self, _, *rest, learn=learn, **named: learn(self, 1, *rest, **named)
        )

    def run(name):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        blocks = python_blocks((ROOT / name).read_text(encoding="utf-8"))
        assert blocks
        namespace = {"__name__": "__main__"}
        for number, block in enumerate(blocks):
            if is_file := re.match(r"# (\w+)\.py\n", block):
                (tmp_path / f"{is_file[1]}.py").write_text(block, encoding="utf-8")
                monkeypatch.delitem(sys.modules, is_file[1], raising=False)
            else:
                exec(compile(block, f"{name}, block {number}", "exec"), namespace)
        return namespace

    return run


@pytest.mark.filterwarnings("ignore::tqdm.TqdmExperimentalWarning")  # of a progress bar
@pytest.mark.parametrize("name", ["README.md", "docs/from-sb3.md"])
def test_the_code_of_a_document_runs(run_code, name):
    run_code(name)


def test_the_game_of_the_tutorial(run_code, capsys):
    """Seven stones: shown to each seat once, then covered. 2, 1 and 2 leave two: seat 1 wins."""
    game = run_code("docs/tutorial.md")["game"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("0.17")  # as the page says
    match = envs.Match(game, chance="ask")
    match.play(7 - 5)  # outcome 0 lays out 5
    seen = []
    for taken in (2, 1, 2, 2):
        seen.append((match.seat, match.observation(match.seat).tolist()))
        match.play(taken - 1)
    assert seen == [(0, [7, 0]), (1, [7, 2]), (0, [0, 1]), (1, [0, 2])]
    assert match.over
    assert match.returns.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_only_files_that_are_there(path):
    text = path.read_text(encoding="utf-8")
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in linked if not (path.parent / link).exists()] == []
    named = re.findall(r"`(docs/[\w./-]+\.md|scripts/\w+\.py|configs/\w+\.yaml)`", text)
    gone = {"docs/benchmarks.md", "docs/how_it_learns.md"} if path.name == "CHANGELOG.md" else set()
    assert [name for name in named if not (ROOT / name).exists() and name not in gone] == []
