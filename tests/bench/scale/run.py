"""`make bench-scale`: what questions cost with ten million and with a hundred million events.

Prints one JSON line a figure and size. A figure that misses its bound is said on standard error; the exit code is 1
only where one could not be measured. `--only NAME` (more than once) measures some of them, `--up-to 10M` leaves out the
larger size, `--store FOLDER` keeps the store for another run, `--quick` takes a hundredth of the events: that is for
trying the benchmark itself, not for publishing.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from functools import partial
from pathlib import Path

from bench.reporting import report
from bench.scale.answers import measure as answered
from bench.scale.questions import QUESTIONS
from bench.scale.world import World, open_world
from bench.session import Session

SIZES = {"10M": 10_000_000, "100M": 100_000_000}
AT_EACH_SIZE = (*QUESTIONS, "bytes_per_event", "restart_s")
AT_SMALLEST = ("erase_s", "rebuild_vs_projector")
AT_LARGEST = ("merge_backlog", "health_of_10k_steps")


def main() -> int:
    """Measure what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Measure a store of 10 and of 100 million events, one JSON line a figure and size."
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=(*AT_EACH_SIZE, *AT_SMALLEST, *AT_LARGEST),
        help="measure this figure (repeatable)",
    )
    parser.add_argument("--up-to", choices=SIZES, default="100M", help="the largest size (default: 100M)")
    parser.add_argument(
        "--quick", action="store_true", help="a hundredth of the events, to try the benchmark itself"
    )
    parser.add_argument(
        "--store", type=Path, metavar="FOLDER", help="keep the store here, and go on with it in the next run"
    )
    arguments = parser.parse_args()
    sizes = {name: events for name, events in SIZES.items() if events <= SIZES[arguments.up_to]}

    failed = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped then too
    with (
        Session(quick=arguments.quick, quick_divisor=100) as session,
        open_world(session, arguments.store) as world,
    ):
        for size, events in sizes.items():
            took = world.grow(session.scaled(events))
            session.say(f"{world.events:,} events are there after {took:.0f} s")
            names = list(AT_EACH_SIZE)
            if size == min(sizes, key=SIZES.__getitem__):
                names += AT_SMALLEST
            if size == max(sizes, key=SIZES.__getitem__):
                names += AT_LARGEST
            for name in names:
                if name in (arguments.only or names):
                    failed += _failed(world, name, size)
    return 1 if failed else 0


def _failed(world: World, name: str, size: str) -> bool:
    if name in QUESTIONS:
        measure = partial(answered, world, name)
    else:
        measure = partial(importlib.import_module(f"bench.scale.figures.{name}").measure, world)
    figure = report(world.session, name, measure, size=size, events=world.events)
    if figure is None:
        return True
    world.figures.setdefault(figure.name, []).append(figure)
    return False


if __name__ == "__main__":
    sys.exit(main())
