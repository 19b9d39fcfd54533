"""From kill -9 of the projector to caught up, at 5,000 events a second, started again at once.

Caught up: the newest marker that a query finds is no older than the oldest that "the newest one" was in the seconds
before the kill. Most of it is the group's session time-out, which a member with a name of its own in the group
(`group_instance_id`) does not wait for: both are measured.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
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
QUESTION = "SELECT max(toUnixTimestamp64Micro(timestamp)) FROM steps WHERE pipeline = 'markers'"


def measure(session: Session) -> Figure:
    """Median over the kills, for a projector without a name in its group."""
    kills = 1 if session.quick else KILLS
    nameless = [_recover(session, {}) for _ in range(kills)]
    named = [_recover(session, {"STEPTRAIL_GROUP_INSTANCE_ID": "bench"}) for _ in range(kills)]
    seconds = statistics.median(nameless)
    return Figure(
        "recovery_s",
        seconds,
        "s",
        "",
        True,
        {
            "kills": nameless,
            "with_group_instance_id": statistics.median(named),
            "kills_with_group_instance_id": named,
            "events_per_s": RATE,
        },
    )


def _recover(session: Session, more: dict[str, str]) -> float:
    settings = session.workspace("recovery")
    environment = session.environment(settings) | more
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
        with _running(projecting, environment):
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
