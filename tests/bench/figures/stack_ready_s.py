"""How long `steptrail up` takes until READY, from nothing but cached jars: median of three new folders."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from bench import stack
from bench.figure import Figure
from bench.session import Session
from steptrail.deploy.stack.jars import ensure_jars

BOUND = 15.0


def measure(session: Session) -> Figure:
    """Also start again in a folder that has data."""
    ensure_jars(say=session.say)
    first: list[float] = []
    again: list[float] = []
    for _ in range(1 if session.quick else 3):
        with tempfile.TemporaryDirectory(prefix="steptrail-bench-") as name:
            directory = Path(name)
            for times in (first, again):
                try:
                    times.append(stack.up(directory).seconds)
                finally:
                    stack.down(directory)
    value = statistics.median(first)
    return Figure(
        "stack_ready_s",
        value,
        "s",
        f"<= {BOUND}",
        value <= BOUND,
        {"new_folder_s": first, "existing_folder_s": again},
    )
