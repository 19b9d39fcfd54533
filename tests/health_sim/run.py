"""`make health-sim`: simulated days drive the real rule, an oracle that knows the truth scores; one JSON line a figure.

Seeded: the same figures each time. `--quick` takes fewer trials and days (at most 2 minutes), `--only NAME` (more
than once) some of the modules. A figure that misses its bound is said on standard error; the exit code is then 1,
as it is for one that could not be measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench.figure import Figure
from health_sim.plotting import draw
from health_sim.simulation import Simulation

FIRST = ("consumer_sight",)  # real parts in real time: it mostly waits
ALONE = ("size", "consumer_speed", "asking", "grouping")
FOUND = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "figures")])}
SIDE_BY_SIDE = (*FIRST, *sorted(FOUND.difference(FIRST, ALONE)))
MODULES = (*SIDE_BY_SIDE, *ALONE)
"""The order in which they run: every module of `figures`; each has `measure(simulation)`, which gives figures."""

ON_A_STACK = ("consumer_sight", "consumer_speed", "asking", "grouping")
"""Real parts in real time, on a local stack of their own: not in the quick form unless they are named."""

Measured = tuple[list[Figure], float]
"""Figures, and the seconds that they took."""


def measured(simulation: Simulation, name: str) -> Measured:
    """What the module measures."""
    started = time.monotonic()
    figures: list[Figure] = importlib.import_module(f"health_sim.figures.{name}").measure(simulation)
    return figures, time.monotonic() - started


def measurements(
    simulation: Simulation, names: Sequence[str]
) -> Iterator[tuple[str, Callable[[], Measured]]]:
    """By module, a call that gives its figures or raises why there are none; the calls are to be made in order."""
    crowd = [name for name in names if name in SIDE_BY_SIDE]
    # Not forked: librdkafka, of which some make clients, does not survive that.
    with ProcessPoolExecutor(min(2, len(crowd)) or 1, mp_context=get_context("spawn")) as pool:
        for name, begun in [(name, pool.submit(measured, simulation, name)) for name in crowd]:
            yield name, begun.result
    for name in names:
        if name not in crowd:
            yield name, partial(measured, simulation, name)


def main() -> int:
    """Measure what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Simulate the health rule, one JSON line for each figure.")
    parser.add_argument(
        "--only", action="append", choices=(*MODULES, "plots"), help="run this module (repeatable)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer trials and days, at most 2 minutes")
    parser.add_argument("--seed", type=int, default=1, help="of all randomness (1)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the plots of docs/health.md into DIR")
    arguments = parser.parse_args()
    if arguments.only == ["plots"] and arguments.plots is None:
        parser.error("--only plots needs --plots DIR")

    names = [name for name in arguments.only or MODULES if name != "plots"]
    if arguments.quick and arguments.only is None:
        names = [name for name in names if name not in ON_A_STACK]
        print(
            f"left out of the quick form: {', '.join(ON_A_STACK)} (real parts, in real time)",
            file=sys.stderr,
        )
    simulation = Simulation(quick=arguments.quick, seed=arguments.seed)
    failed = 0
    for name, measure in measurements(simulation, names):
        try:
            figures, took = measure()
        except Exception:
            failed += 1
            print(f"{name} could not be measured:\n{traceback.format_exc()}", file=sys.stderr)
            continue
        for figure in figures:
            line = figure.as_line(took / len(figures)) | {"quick": arguments.quick, "seed": arguments.seed}
            print(json.dumps(line), flush=True)
            if not figure.ok:
                failed += 1
                print(f"{figure.name} misses: {line['value']}, asked is {figure.bound}", file=sys.stderr)
    if arguments.plots is not None:
        for path in draw(simulation, arguments.plots):
            print(f"drew {path}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
