"""From kill -9 of the projector to caught up, at 5,000 events a second, started again at once.

Caught up: the newest marker that a query finds is no older than the oldest that "the newest one" was in the seconds
before the kill. A successor on the same machine has the name of the killed member, hence its partitions. One on another
machine, which a folder of its own stands for, waits for the group's session time-out: both are measured.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.figure import Figure
from bench.session import Session
from bench.stack import STEPTRAIL
from steptrail.projections.clickhouse.client import ClickHouse, connect

RATE = 5000
MARK_EVERY = 100
STEADY_S = 8
KILLS = 3
PATIENCE_S = 60
BOUND = 5.0
QUESTION = "SELECT max(toUnixTimestamp64Micro(timestamp)) FROM steps WHERE pipeline = 'markers'"


def measure(session: Session) -> Figure:
    """Median over the kills, for a successor on the same machine."""
    kills = 1 if session.quick else KILLS
    with tempfile.TemporaryDirectory(prefix="steptrail-bench-") as here:
        same = [_recover(session, here, here) for _ in range(kills)]
        with tempfile.TemporaryDirectory(prefix="steptrail-bench-") as there:
            other = [_recover(session, here, there)]
    seconds = statistics.median(same)
    return Figure(
        "recovery_s",
        seconds,
        "s",
        f"<= {BOUND}",
        seconds <= BOUND,
        {
            "kills": same,
            "on_another_machine": statistics.median(other),
            "events_per_s": RATE,
        },
    )


def _recover(session: Session, state: str, state_of_successor: str) -> float:
    settings = session.workspace("recovery")
    environment = session.environment(settings) | {"XDG_STATE_HOME": state}
    seconds = STEADY_S * 2 + PATIENCE_S
    emitting = [sys.executable, "-m", "bench.paced", str(RATE), str(seconds), str(MARK_EVERY)]
    projecting = [*STEPTRAIL, "run", "projector"]
    with connect(settings) as store, _running(emitting, environment):
        with _running(projecting, environment) as projector:
            _until(store, lambda age: age <= 2.0)
            until, steady = time.monotonic() + STEADY_S, 0.0
            while time.monotonic() < until:
                steady = max(steady, _age(store))
            projector.kill()
            killed = time.monotonic()
        with _running(projecting, environment | {"XDG_STATE_HOME": state_of_successor}):
            _until(store, lambda age: age > steady)  # the want of it shows
            _until(store, lambda age: age <= steady)
            took = time.monotonic() - killed
    session.forget(settings)
    return took


def _age(store: ClickHouse) -> float:
    """Seconds since the newest marker in the table was emitted."""
    time.sleep(0.02)
    [(micros,)] = store.query(QUESTION)
    return time.time() - float(micros) / 1e6


def _until(store: ClickHouse, reached: Callable[[float], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not reached(found := _age(store)):
        if time.monotonic() > end:
            raise RuntimeError(f"the newest marker is {found:.1f} s old after {PATIENCE_S} s")


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
