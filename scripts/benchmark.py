"""Speed beside other packages and beside the matrix products alone, as ratios with their intervals.

    python scripts/benchmark.py env                     stepping games, beside OpenSpiel and generals-bots
    python scripts/benchmark.py env generals            some of them
    python scripts/benchmark.py cell                    cells, beside torch's layers and the products
    python scripts/benchmark.py play                    a policy in the loop, beside the products
    python scripts/benchmark.py train                   training, beside sb3-contrib and the products
    python scripts/benchmark.py train --memory          what a large training takes, beside a count on paper
    python scripts/benchmark.py exploit                 exact exploitability, beside OpenSpiel
    python scripts/benchmark.py scale                   training in two processes, beside one
    python scripts/benchmark.py all                     all with small settings; ends with the bars and goals
    python scripts/benchmark.py train --threads 1 --json train.json --plot train.svg --markdown

Both sides run in one process and take turns; those of `scale` start processes of their own, by turns. Before
anything is timed it is checked that they do the same thing; if they do not, nothing is timed. (That those of
`scale` do is what `tests/agents/run/test_scale.py` checks.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import torch
import tyro

from benchmarks import cell, exploit, memory, play, plot, processes, stepping, telling, training
from benchmarks.options import All, Cell, Env, Exploit, Play, Scale, Train
from benchmarks.telling import ComparisonError, Report

MEASURES: dict[type, Callable[[Any], list[Report]]] = {
    Env: stepping.measure,
    Cell: cell.measure,
    Play: play.measure,
    Train: training.measure,
    Exploit: exploit.measure,
    Scale: processes.measure,
}


def main() -> int:
    options = tyro.cli(Env | Cell | Play | Train | Exploit | Scale | All, description=__doc__)
    try:
        options.check()
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        _run(options)
    except ComparisonError as error:
        return _fail(error, 1)
    except (ValueError, ImportError, OSError, gymnasium.error.Error) as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    return 0


def _run(options: Env | Cell | Play | Train | Exploit | Scale | All) -> None:
    """Measure and tell."""
    threads, before = torch.get_num_threads(), telling.load()
    if warning := telling.busy(before, before, threads):
        print(warning, file=sys.stderr)
    reports = []
    for report in _measured(options):
        print(report.text(options), end="\n\n", flush=True)
        reports.append(report)
    here = telling.machine(threads, before)
    print(telling.told_machine(here, telling.versions(reports)))
    if warning := telling.busy(before, here["load_after"], threads):
        print(warning)
    if isinstance(options, All):
        print("", telling.aims_of(reports).text(options.markdown), sep="\n")
    if options.json is not None:
        options.json.write_text(telling.as_json(reports, here, sys.argv), encoding="utf-8")
    if isinstance(options, Train) and options.plot is not None:
        plot.draw(reports[0].rows, options.plot)


def _measured(options: Env | Cell | Play | Train | Exploit | Scale | All) -> Iterator[Report]:
    """One comparison after another; of all of them those for which everything is installed."""
    if isinstance(options, Train) and options.memory:
        yield memory.measure(options)
    elif not isinstance(options, All):
        yield from MEASURES[type(options)](options)
    else:
        for part in options.parts():
            try:
                yield from MEASURES[type(part)](part)
            except ImportError as error:
                print(f"not measured: {error}", end="\n\n")
        yield memory.measure(options)


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
