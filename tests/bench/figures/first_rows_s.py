"""From the start of `steptrail run projector` to the first rows that a query finds, with 300,000 events waiting."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence

import psutil

from bench import topic
from bench.figure import Figure
from bench.session import Session
from bench.stack import STEPTRAIL
from steptrail.projections.clickhouse.client import ClickHouse, connect

BOUND = 1.5
EVENTS = 300_000
STARTS = 5
PATIENCE_S = 60


def measure(session: Session) -> Figure:
    """Median of several starts, each with a topic and tables of its own."""
    messages = topic.encoded(session.scaled(EVENTS))
    starts = [_start(session, messages) for _ in range(1 if session.quick else STARTS)]
    first, whole, spent = (list(each) for each in zip(*starts, strict=True))
    seconds = statistics.median(first)
    return Figure(
        "first_rows_s",
        seconds,
        "s",
        f"<= {BOUND}",
        seconds <= BOUND,
        {
            "starts": first,
            "all_rows_s": statistics.median(whole),
            "projector_processor_s": statistics.median(spent),
            "events": len(messages),
        },
    )


def _start(session: Session, messages: Sequence[topic.Message]) -> tuple[float, float, float]:
    """Seconds to the first rows and to all of them, and the projector's processor time until the first."""
    settings = session.workspace("first_rows")
    topic.fill(settings, messages)
    with connect(settings) as store:
        store.query("SELECT count() FROM steps")  # the connection is not what is measured
        started = time.monotonic()
        projector = subprocess.Popen(
            [*STEPTRAIL, "run", "projector"],
            env=session.environment(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = 0
            while not found:
                found = _count(store, started)
            first, spent = time.monotonic() - started, sum(psutil.Process(projector.pid).cpu_times()[:2])
            while found < len(messages):
                found = _count(store, started)
            whole = time.monotonic() - started
        finally:
            projector.terminate()
            projector.wait(30)
    session.forget(settings)
    return first, whole, spent


def _count(store: ClickHouse, started: float) -> int:
    if time.monotonic() - started > PATIENCE_S:
        raise RuntimeError(f"the events are not projected after {PATIENCE_S} s")
    time.sleep(0.02)
    [(found,)] = store.query("SELECT count() FROM steps")
    return int(found)
