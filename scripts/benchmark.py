"""Speed beside other packages: both in one process, by turns, as ratios with their spread.

    python scripts/benchmark.py env                     stepping games, beside OpenSpiel and generals-bots
    python scripts/benchmark.py env generals            some of them
    python scripts/benchmark.py train                   training with memory, beside sb3-contrib
    python scripts/benchmark.py cell                    recurrent cells, beside torch's layers
    python scripts/benchmark.py env dark_hex:7 --matches 16384 --repeats 15
    python scripts/benchmark.py train --markdown        the tables as Markdown

Before anything is timed it is checked that both sides do the same thing; if they do not, nothing is timed.
"""

from __future__ import annotations

import sys

import torch
import tyro

from benchmarks import cell, stepping, training
from benchmarks.options import Cell, Env, Train
from benchmarks.telling import ComparisonError


def main() -> int:
    options = tyro.cli(Env | Train | Cell, description=__doc__)
    try:
        options.check()
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        print(_measure(options))
    except ComparisonError as error:
        return _fail(error, 1)
    except (ValueError, ImportError) as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    return 0


def _measure(options: Env | Train | Cell) -> str:
    if isinstance(options, Env):
        return stepping.measure(options)
    return training.measure(options) if isinstance(options, Train) else cell.measure(options)


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
