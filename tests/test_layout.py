"""The layout: read from the imports, which run one way, scripts -> agents -> envs, and from the files."""

from __future__ import annotations

import ast
import graphlib
import itertools
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("envs", "agents", "scripts")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

ONLY_IN = {
    "pettingzoo": {"envs/adapters/pettingzoo.py"},
    "stable_baselines3": {
        *("agents/net/observations.py", "agents/net/normalizer.py"),
        *("agents/learn/algorithm.py", "agents/learn/exploiter.py", "agents/learn/worlds.py"),
        *("agents/run/curves.py", "agents/run/keeper.py", "agents/gym/evaluation.py"),
        *("agents/gym/episodes.py", "agents/gym/training.py", "agents/gym/sb3.py", "agents/gym/stock.py"),
        "envs/adapters/sb3.py",
        *(f"scripts/benchmarks/{name}.py" for name in ("learners", "self_play", "worlds")),
    },
    "sb3_contrib": {
        *("agents/learn/worlds.py", "agents/gym/evaluation.py", "agents/gym/episodes.py"),
        *("agents/gym/training.py", "agents/gym/sb3.py", "agents/gym/stock.py"),
        "scripts/benchmarks/learners.py",
    },
    "torch.utils.tensorboard": {"agents/run/curves.py"},
    "resvg_py": {"envs/drawing.py"},
    "PIL": {"envs/drawing.py"},
    "matplotlib": {
        *("envs/drawing.py", "scripts/curves.py", "scripts/overfitting.py", "scripts/benchmarks/plot.py"),
        *("agents/run/figures.py", "agents/commands/exploitability.py", "agents/commands/memory.py"),
    },
    "scipy": {"agents/play/ratings.py"},
    "pygame": {"envs/window.py"},
    "starlette": {"agents/web/guard.py", "agents/web/server.py"},
    "uvicorn": {"agents/web/server.py"},
    "jinja2": {"agents/web/pages.py", "scripts/reference.py"},
    "onnx": {"agents/play/export.py"},
    "onnxscript": {"agents/play/export.py"},
    "yaml": {"agents/run/written.py"},
    "safetensors": {"agents/files.py"},
    "rich": {"agents/run/cli.py", "agents/commands/train.py"},
    "tyro": {
        *("agents/run/config.py", "agents/run/flags.py"),
        *("scripts/benchmark.py", "scripts/benchmarks/options.py", "scripts/curves.py"),
        *("scripts/overfitting.py", "scripts/ship.py"),
        *(f"agents/commands/{p.name}" for p in (ROOT / "agents/commands").iterdir()),
    },
    "numba.cuda": {"envs/kernels.py", "envs/batch.py"},
    "triton": {"agents/net/kernels/gpu_code.py", "agents/learn/returns_gpu.py"},
    "pdoc": {"scripts/reference.py"},
    "pyspiel": {"scripts/benchmarks/openspiel.py", "scripts/benchmarks/exploit.py"},
    "open_spiel": {"scripts/benchmarks/openspiel.py"},
    "generals": {"scripts/benchmarks/generals.py"},
}
"""Libraries at the edge, and the files that may touch them."""

NEVER_IN = {
    "envs": ("agents", "scripts", "tensorboard", "tyro", "tests"),
    "agents": ("scripts", "tests", "pygame", "pettingzoo", "PIL"),
    "scripts": ("scripts", "tests"),
}

WINGS = ("commands", "web", "gym", "run", "learn", "play", "net")
"""Of `agents`, from the top floor down; beside them stand files that know none of them."""

TESTED_IN = {
    "envs/walk.py": "envs/test_tree.py",
    "agents/commands/doctor.py": "scripts/test_console.py",
    "agents/commands/exploitability.py": "scripts/test_scripts.py",
    "agents/commands/export.py": "scripts/test_export_script.py",
    "agents/commands/memory.py": "scripts/test_memory_script.py",
    "agents/commands/play.py": "scripts/test_console.py",
    "agents/commands/selfplay.py": "scripts/test_scripts.py",
    "agents/commands/record.py": "scripts/test_records_script.py",
    "agents/commands/records.py": "scripts/test_records_script.py",
    "agents/commands/sequence.py": "scripts/test_sequence.py",
    "agents/commands/solve.py": "scripts/test_scripts.py",
    "agents/commands/tournament.py": "scripts/test_standings_script.py",
    "agents/commands/train.py": "scripts/test_train.py",
    "agents/commands/watch.py": "scripts/test_scripts.py",
    "agents/learn/learners.py": "agents/learn/test_sequence.py",
    "agents/net/hand.py": "agents/net/test_replay.py",
    "agents/net/heads.py": "agents/net/test_spatial.py",
    "agents/net/kernels/explicit.py": "agents/net/test_kernels.py",
    "agents/net/kernels/choice.py": "agents/net/test_replay.py",
    "agents/net/kernels/fused.py": "agents/net/test_fused.py",
    "agents/net/kernels/gpu.py": "agents/net/test_gpu.py",
    "agents/net/kernels/gpu_code.py": "agents/net/test_gpu.py",
    "agents/net/kernels/heads.py": "agents/net/test_replay.py",
    "agents/net/kernels/slots.py": "agents/net/test_replay.py",
    "agents/net/kernels/vector.py": "agents/net/test_fused.py",
    "agents/net/settings.py": "agents/learn/test_settings.py",
    "agents/net/task.py": "agents/net/test_observations.py",
    **{
        f"agents/play/bots/{name}.py": "agents/play/test_bots.py"
        for name in (
            *("concentration", "dark_hex", "deciding", "generals", "goofspiel", "kuhn_poker"),
            *("leduc_poker", "liars_dice", "new_action", "phantom_tictactoe"),
        )
    },
    "agents/run/source.py": "agents/run/test_sequence.py",
    "agents/run/sentences.py": "agents/learn/test_settings.py",
    "envs/core.py": "envs/test_check.py",
    "envs/room.py": "agents/run/test_sizes.py",
    "envs/seated.py": "envs/adapters/test_sb3.py",
    "envs/adapters/screen.py": "envs/adapters/test_pettingzoo.py",
    "envs/games/battleship.py": "envs/test_match.py",
    "envs/games/battleship_alone.py": "envs/test_rules_popgym.py",
    "envs/games/battleship_duel.py": "envs/test_rules_openspiel.py",
    "envs/games/concentration.py": "envs/test_rules_popgym.py",
    "envs/games/dark_hex.py": "envs/test_rules_openspiel.py",
    "envs/games/generals.py": "envs/test_rules_generals.py",
    "envs/games/generals_maps.py": "envs/test_rules_generals.py",
    "envs/games/generals_picture.py": "envs/test_drawing.py",
    "envs/games/goofspiel.py": "envs/test_rules_openspiel.py",
    "envs/games/kuhn_poker.py": "envs/test_rules_openspiel.py",
    "envs/games/leduc_poker.py": "envs/test_rules_openspiel.py",
    "envs/games/liars_dice.py": "envs/test_rules_openspiel.py",
    "envs/games/minesweeper.py": "envs/test_rules_popgym.py",
    "envs/games/phantom_tictactoe.py": "envs/test_rules_openspiel.py",
    "envs/rules/fleet.py": "envs/test_match.py",
    "envs/rules/grids.py": "envs/test_match.py",
    "envs/rules/phantom.py": "envs/test_contract.py",
}
"""Where a file is tested whose name no test has: `agents/net/scan.py` has `tests/agents/net/test_scan.py`."""

DANGEROUS = (
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy"),
    *("torch.load", "torch.save", "numpy.load", "pandas"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader"),
    *("os.system", "os.popen", "subprocess", "eval", "exec", "compile", "__import__"),
)
"""What executes what a file says."""


class Import(NamedTuple):
    """`module` as written, `name` for `from module import name`."""

    module: str
    name: str | None
    is_at_start: bool  # it runs when the file is imported: not in a function, not for types only

    def touches(self, package: str) -> bool:
        full = self.module if self.name is None else f"{self.module}.{self.name}"
        return full == package or full.startswith(package + ".")


def imports(source: str) -> list[Import]:
    """Every import of a file, wherever it stands."""
    found: list[Import] = []

    def visit(node: ast.AST, is_at_start: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, None, is_at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.extend(Import(node.module or "", alias.name, is_at_start) for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            is_at_start = False
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.body:
                visit(child, False)
            for child in node.orelse:
                visit(child, is_at_start)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, is_at_start)

    visit(ast.parse(source), True)
    return found


def dangers(source: str) -> set[str]:
    """The names in DANGEROUS that a file uses, under whatever name it imported them."""
    tree = ast.parse(source)
    alias = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            alias |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            alias |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    used = {found.module for found in imports(source)} | {f"{m}.{n}" for m, n, _ in imports(source) if n}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
            first, *rest = ast.unparse(node).split(".")
            used.add(".".join([alias.get(first, first), *rest]))
    return {bad for bad in DANGEROUS for name in used if name == bad or name.startswith(bad + ".")}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


IMPORTS = {name_of(path): imports(path.read_text(encoding="utf-8")) for path in FILES}


# ---------------------------------------------------------------- the readers themselves


def test_an_import_is_found_wherever_it_hides():
    source = """
import a.b as c
if TYPE_CHECKING:
    from t import u
def f():
    import g
    class C:
        from h.i import j
try:
    import k
except ImportError:
    k = None
"""
    assert imports(source) == [
        Import("a.b", None, True),
        Import("t", "u", False),
        Import("g", None, False),
        Import("h.i", "j", False),
        Import("k", None, True),
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", {"pickle"}),
        ("from pickle import loads", {"pickle"}),
        ("import torch as t\nt.load(path)", {"torch.load"}),
        ("from torch import load", {"torch.load"}),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", {"numpy.load"}),
        ("import yaml\nyaml.load(text, yaml.Loader)", {"yaml.load", "yaml.Loader"}),
        ("eval('1')", {"eval"}),
        ("def f():\n    exec(code)", {"exec"}),
        ("import yaml\nyaml.safe_load(text)", set()),
        ("class Config:\n    eval: int = 3", set()),
        ("policy.eval()\nre.compile('x')\nagents.load(path)", set()),
        ("import safetensors.torch\nsafetensors.torch.load(content)", set()),
    ],
)
def test_what_executes_a_file_is_found(source, found):
    assert dangers(source) == found


# ---------------------------------------------------------------- the direction


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_run_one_way(folder):
    turned_back = [
        f"{path} imports {package}"
        for path, found in IMPORTS.items()
        if path.startswith(folder + "/")
        for package, one in itertools.product(NEVER_IN[folder], found)
        if one.touches(package)
    ]
    assert turned_back == []


@pytest.mark.parametrize("wing", WINGS)
def test_between_wings_imports_go_down_types_included(wing):
    above = [f"agents.{other}" for other in WINGS[: WINGS.index(wing)]]
    turned_back = [
        f"{path} imports {one.module}"
        for path, found in IMPORTS.items()
        if path.startswith(f"agents/{wing}/")
        for one in found
        if any(one.touches(package) for package in above)
    ]
    assert turned_back == []


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_library_at_the_edge_is_touched_only_there(package):
    users = {path for path, found in IMPORTS.items() if any(one.touches(package) for one in found)}
    assert users <= ONLY_IN[package]
    assert users, f"nobody uses {package} any more"


def test_envs_comes_without_training_or_drawing_libraries():
    """Importing the games loads nothing that only learning, drawing or other people's tools need."""
    unwanted = (
        "agents",
        "stable_baselines3",
        "tensorboard",
        "tyro",
        "pettingzoo",
        "pygame",
        "PIL",
        "resvg_py",
    )
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, envs; print([n for n in {unwanted} if n in sys.modules])"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["envs", "agents"])
def test_no_file_imports_itself_by_a_detour(folder):
    """No circle, types and imports inside functions included; but for those of a package's face, which hands
    on names that somebody asks for later."""
    module_of = {
        path: path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in IMPORTS
    }
    modules = set(module_of.values())
    graph = {
        module_of[path]: {
            next((m for m in (f"{one.module}.{one.name}", one.module) if m in modules), module_of[path] + "?")
            for one in found
            if one.touches(folder) and (one.is_at_start or not path.endswith("__init__.py"))
        }
        for path, found in IMPORTS.items()
        if path.startswith(folder + "/")
    }
    assert not [name for needs in graph.values() for name in needs if name.endswith("?")]
    order = list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle
    assert order[-1] == folder or folder not in graph[order[-1]]


# ---------------------------------------------------------------- the tests


def test_the_test_of_a_file_is_found_by_its_name():
    sources = {path for path in IMPORTS if not path.startswith("scripts/") and "__init__" not in path}
    named = {p for p in sources if (ROOT / "tests" / p).with_name(f"test_{Path(p).name}").is_file()}
    assert sources - named == set(TESTED_IN)
    assert [test for test in TESTED_IN.values() if not (ROOT / "tests" / test).is_file()] == []


def test_no_test_file_is_long():
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in (ROOT / "tests").rglob("*.py")}
    assert {name_of(path): count for path, count in lines.items() if count > 600} == {}


# ---------------------------------------------------------------- what no file does


@pytest.mark.parametrize("path", [p for p in IMPORTS if not p.startswith("scripts/benchmark")])
def test_nothing_executes_what_a_file_says(path):
    assert dangers((ROOT / path).read_text(encoding="utf-8")) == set()


def unnamed(source: str) -> list[str]:
    """The calls of a file that read or write text and leave the encoding to the machine."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        given = {keyword.arg: ast.unparse(keyword.value).strip("'") for keyword in call.keywords}
        owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile") and owner not in ("Image",):
            where = 0 if owner not in ("", "io", "os") and name == "open" else 1
            words = [a.value for a in call.args[where:] if isinstance(a, ast.Constant)]
            mode = given.get("mode", next((w for w in words if isinstance(w, str)), "r"))
            is_text = "b" not in mode and not (owner == "os" and name == "open") and "temp" not in owner
            is_bad = is_text and "encoding" not in given
        elif name == "read_text":
            is_bad = "encoding" not in given and not call.args
        elif name == "write_text":
            is_bad = "encoding" not in given and len(call.args) < 2
        else:
            is_bad = "encoding" not in given and "True" in (
                given.get("text"),
                given.get("universal_newlines"),
            )
        if is_bad:
            found.append(ast.unparse(call)[:80])
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("open('x')", 1),
        ("open('x', 'w')", 1),
        ("path.open('a')", 1),
        ("path.open(mode='w')", 1),
        ("path.open()", 1),
        ("os.fdopen(3, 'w')", 1),
        ("path.read_text()", 1),
        ("path.write_text(text)", 1),
        ("subprocess.run(words, text=True)", 1),
        ("open('x', 'rb'); path.open('wb'); os.open(path, os.O_RDONLY); Image.open(path)", 0),
        ("open('x', encoding='utf-8'); path.read_text('utf-8'); path.write_text(text, 'utf-8')", 0),
        ("subprocess.run(words, encoding='utf-8'); subprocess.run(words)", 0),
    ],
)
def test_a_text_whose_encoding_is_left_open_is_found(source, count):
    assert len(unnamed(source)) == count


@pytest.mark.parametrize("folder", [*FOLDERS, "tests"])
def test_the_encoding_is_named_wherever_text_is_read_or_written(folder):
    left_open = {name_of(p): unnamed(p.read_text(encoding="utf-8")) for p in (ROOT / folder).rglob("*.py")}
    assert {path: calls for path, calls in left_open.items() if calls} == {}


def test_no_version_is_pinned_that_torch_asks_for_itself():
    """`nvidia-cuda-nvrtc==13.5.37` beside torch 2.13, which wants 13.0.88, cannot be solved on Linux."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [pin for pin in pins if pin.lower().startswith(("nvidia", "cuda-toolkit", "triton"))] == []


def test_every_package_is_installed():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [path.parent for folder in ("agents", "envs") for path in (ROOT / folder).rglob("__init__.py")]
    packages = {name_of(folder).replace("/", ".") for folder in folders}
    assert set(told["packages"]) == packages | {"agents.configs"}
    assert told["package-dir"] == {"agents.configs": "configs"}
    code = {path.parent for path in FILES if not path.is_relative_to(ROOT / "scripts")}
    assert code == set(folders)  # no folder of code lacks its __init__.py
    for package in ("agents", "envs"):
        assert (ROOT / package / "py.typed").is_file()
        assert "py.typed" in told["package-data"][package]


def test_no_file_names_a_package_registry():
    """Where packages come from is the reader's own setting."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert ROOT / "pyproject.toml" in paths
    hosts = [f"pypi.{end}".encode() for end in ("org", "python.org")] + [b"python" + b"hosted"]
    naming = [name_of(p) for p in paths if p.is_file() and any(host in p.read_bytes() for host in hosts)]
    assert naming == []
