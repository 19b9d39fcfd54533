"""From `emit` in a worker to the row that a query finds, at 5,000 events a second.

A process emits at this rate; one event in a hundred is a marker whose timestamp is the moment of its call. The
projector runs as users run it. This process asks ClickHouse for markers that it has not seen, over and over, and
takes the time of the answer: the time between two questions is part of the figure.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.figure import Figure, percentile
from bench.session import Session
from bench.stack import STEPTRAIL
from steptrail.projections.clickhouse.client import ClickHouse, connect

BOUND_P50_S = 1.0
BOUND_P99_S = 2.5
RATE = 5000
MARK_EVERY = 100
QUESTION = """
    SELECT doc_id, toUnixTimestamp64Micro(timestamp) FROM steps
    WHERE pipeline = 'markers' AND doc_id > {last:String} ORDER BY doc_id
"""


def measure(session: Session) -> Figure:
    """p50 and p99 over all markers of the run after its first five seconds."""
    seconds = 5 + session.scaled(40)
    settings = session.workspace("latency")
    environment = session.environment(settings)
    with running([*STEPTRAIL, "run", "projector"], environment), connect(settings) as clickhouse:
        emitter = [sys.executable, "-m", "bench.paced", str(RATE), str(seconds), str(MARK_EVERY)]
        with running(emitter, environment):
            delays, questions = watch(clickhouse, seconds * RATE // MARK_EVERY)
        rows = clickhouse.query("SELECT count(), uniqExact(event_id) FROM steps")[0]
    steady = delays[5 * RATE // MARK_EVERY :]
    p50, p99 = percentile(steady, 0.5), percentile(steady, 0.99)
    return Figure(
        "emit_to_readable_s",
        p50,
        "s",
        f"p50 <= {BOUND_P50_S}, p99 <= {BOUND_P99_S}",
        p50 <= BOUND_P50_S and p99 <= BOUND_P99_S,
        {
            "p50": p50,
            "p99": p99,
            "max": max(steady),
            "first_marker": delays[0],
            "markers": len(steady),
            "events_per_s": RATE,
            "question_every_s": seconds / questions,
            "rows": rows[0],
            "distinct_events": rows[1],
        },
    )


def watch(
    clickhouse: ClickHouse, markers: int, patience_s: float = 30, *, pause_s: float = 0.01
) -> tuple[list[float], int]:
    """The delay of each marker in the order of their numbers, and how many questions were asked.

    `pause_s` between two questions; so much more a delay may be.
    """
    delays: list[float] = []
    last, questions, heard = "", 0, time.monotonic()
    while len(delays) < markers:
        found = clickhouse.query(QUESTION, {"last": last})
        now = time.time()
        questions += 1
        # A marker may overtake another on a different partition: only an unbroken row of them counts as read.
        for number, (doc_id, micros) in enumerate(found, len(delays)):
            if doc_id != f"marker-{number:08d}":
                break
            delays.append(now - micros / 1e6)
            last, heard = doc_id, time.monotonic()
        if time.monotonic() - heard > patience_s:
            raise RuntimeError(f"no new marker for {patience_s:.0f} s after {len(delays)} of {markers}")
        time.sleep(pause_s)
    return delays, questions


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended with the context."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
