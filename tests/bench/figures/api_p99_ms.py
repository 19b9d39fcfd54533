"""The API while it is read and written to: twenty readers at one request a second each, 5,000 events/s projected.

The readers ask, in turns, what the pages ask, at ten million events; the events go into another database of the same
engine. How much the readers slow the projection is read from a backlog: as many events as fast as it goes, without
readers and with them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice

from bench.figure import Figure, percentile
from bench.served import Served, serving
from bench.session import Session
from bench.stack import STEPTRAIL
from bench.topic import encoded, fill
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas import Settings

BOUND_MS = 300
BOUND_SLOWED = 0.25
READERS = 20
SECONDS = 30
RATE = 5000
BACKLOG = 400_000


def measure(session: Session) -> Figure:
    """The p99 over all requests of the readers, once each question was asked; by how much the projection was slower."""
    with serving(session) as served:
        questions = _questions(served)
        times = _beside_projection(session, served, questions)
        alone = _drained(session, None, questions)
        read = _drained(session, served, questions)
    p99 = percentile(times, 0.99)
    slowed = 1 - read / alone
    return Figure(
        "api_p99_ms",
        p99,
        "ms",
        f"<= {BOUND_MS}; projection slowed by <= {BOUND_SLOWED:.0%}",
        p99 <= BOUND_MS and slowed <= BOUND_SLOWED,
        {
            "p50_ms": statistics.median(times),
            "requests": len(times),
            "projection_slowed": slowed,
            "events_per_s_alone": alone,
            "events_per_s_while_read": read,
        },
    )


def _questions(served: Served) -> list[tuple[str, dict[str, str]]]:
    failing = served.ask("/failing", limit="20")["items"]
    hours = served.span(6)
    shared: list[tuple[str, dict[str, str]]] = [
        ("/overview", hours),
        ("/failing", {"limit": "50"}),
        ("/throughput", hours),
        ("/error-groups", {}),
    ]
    documents = [("/document", {"pipeline": each["pipeline"], "doc_id": each["doc_id"]}) for each in failing]
    return [question for pair in zip(cycle(shared), documents, strict=False) for question in pair]


@contextmanager
def _readers(served: Served, questions: list[tuple[str, dict[str, str]]]) -> Iterator[list[float]]:
    times: list[float] = []
    stop = threading.Event()

    def read(number: int) -> None:
        mine = islice(cycle(questions), number, None)
        due = time.monotonic() + number / READERS
        while not stop.wait(max(0.0, due - time.monotonic())):
            path, parameters = next(mine)
            started = time.perf_counter()
            served.ask(path, **parameters)
            times.append((time.perf_counter() - started) * 1000)
            due += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        yield times
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _beside_projection(
    session: Session, served: Served, questions: list[tuple[str, dict[str, str]]]
) -> list[float]:
    seconds = session.scaled(SECONDS)
    settings = _target(session)
    environment = _environment(session, settings)
    emitting = subprocess.Popen(
        [sys.executable, "-m", "bench.paced", str(RATE), str(seconds + 10), "100"], env=environment
    )
    projecting = subprocess.Popen(
        [*STEPTRAIL, "run", "projector"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        with connect(settings) as store:
            _until(store, 1)
        for path, parameters in questions:  # a server that has just started counts first
            served.ask(path, **parameters)
        with _readers(served, questions) as times:
            time.sleep(3)
            times.clear()
            time.sleep(seconds)
        return times
    finally:
        for process in (emitting, projecting):
            process.terminate()
            process.wait()


def _drained(session: Session, served: Served | None, questions: list[tuple[str, dict[str, str]]]) -> float:
    """Events a second of a backlog, while it is read, or without readers."""
    count = session.scaled(BACKLOG)
    settings = _target(session)
    fill(settings, encoded(count))
    projecting = subprocess.Popen(
        [*STEPTRAIL, "run", "projector"], env=_environment(session, settings), stderr=subprocess.DEVNULL
    )
    try:
        with connect(settings) as store:
            if served is None:
                return _rate(store, count)
            with _readers(served, questions):
                return _rate(store, count)
    finally:
        projecting.terminate()
        projecting.wait()


def _rate(store: ClickHouse, count: int) -> float:
    first = _until(store, 1)
    began = time.perf_counter()
    _until(store, count)
    return (count - first) / (time.perf_counter() - began)


def _until(store: ClickHouse, rows: int) -> int:
    deadline = time.monotonic() + 120
    while (found := int(store.query("SELECT count() FROM steps")[0][0])) < rows:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found:,} of {rows:,} events were projected within 120 s")
        time.sleep(0.05)
    return found


def _target(session: Session) -> Settings:
    """A workspace whose tables are in the engine that is read."""
    settings = session.workspace("read")
    settings = settings.with_values(clickhouse=f"{session.store.url}/{settings.topic_prefix}")
    with connect(settings) as clickhouse:
        migrate(clickhouse)
    return settings


def _environment(session: Session, settings: Settings) -> dict[str, str]:
    return session.environment(settings) | {"STEPTRAIL_CLICKHOUSE": settings.clickhouse.get_secret_value()}
