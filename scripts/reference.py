"""The API reference, built from the docstrings into build/docs, by pdoc: `make docs`.

python scripts/reference.py [FOLDER]
"""

from __future__ import annotations

import argparse
import re
import warnings
from pathlib import Path
from typing import Any

import jinja2
import pdoc
import pdoc.render

import envs

PUBLIC = (
    *("agents", "agents.net", "agents.play", "agents.learn", "agents.run", "agents.gym"),
    *("envs", "envs.core", "envs.match", "envs.batch", "envs.check", "envs.drawing"),
    *("envs.games", "envs.adapters"),
)
"""What a user imports; packages with all that is in them, unless their `__all__` says otherwise."""

NEEDS_A_GPU = ("agents.net.kernels.gpu_code", "agents.learn.returns_gpu")
"""What cannot be imported where Triton is missing, and so has no page."""

_HEADED = re.compile(r"^(?! |(?:- |\* |\d+\. )|[A-Z][A-Z a-z]+:$)(.+)\n(?=    )", re.MULTILINE)


def preformatted(docstring: str) -> str:
    """The docstring with what is indented below a line kept as it is written, e.g. the tables of a manual.

    Markdown asks for an empty line above such a block. Lists and sections such as `Args:` are left alone.

    >>> preformatted("Actions\\n    0 pass, 1 bet")
    'Actions\\n\\n    0 pass, 1 bet'
    """
    return _HEADED.sub(r"\1\n\n", docstring)


def build(folder: Path) -> None:
    """Write the pages into `folder`. Their scripts and styles lie in them: nothing is fetched."""
    vars(envs)["Batch"] = envs.Batch  # it comes when it is asked for, and pdoc looks without asking
    plain = pdoc.render.env.filters["to_markdown"]

    @jinja2.pass_context
    def to_markdown(context: jinja2.runtime.Context, docstring: str) -> Any:
        return plain(context, preformatted(docstring))

    pdoc.render.env.filters["to_markdown"] = to_markdown
    pdoc.render.configure(docformat="google", show_source=False, footer_text="fogbound")
    with warnings.catch_warnings():
        for name in NEEDS_A_GPU:  # left out or not, pdoc looks
            warnings.filterwarnings("ignore", message=f"Couldn't import {name}")
        pdoc.pdoc(*PUBLIC, *(f"!{name}" for name in NEEDS_A_GPU), output_directory=folder)


def main() -> None:
    """Build the pages where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/docs"), help="where they go")
    folder = parser.parse_args().folder
    build(folder)
    print(f"{len(list(folder.rglob('*.html')))} pages in {folder}; begin with {folder / 'index.html'}")


if __name__ == "__main__":
    main()
