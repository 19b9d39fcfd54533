"""The health consumer, as `steptrail run health` runs it, with a clock on it.

Run as a process of its own: `python -m health_sim.timed_health COUNT`, settings from the environment. It reads
`COUNT` events, judges, counts minutes and error groups, stops when all are counted, and prints one JSON object:
`seconds` from the first message in hand to the last ledger row read back, as `bench.ours` measures the projector,
and `counted_s` to the last event counted in its minute.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from bench.ours import peak_rss_mb
from steptrail.consumers.health.run import run_health
from steptrail.consumers.loop.buffer import Buffer
from steptrail.projections.aggregates.aggregates import Aggregates
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.schemas import Settings


class Clock:
    """Wraps the methods where a message comes in, a batch goes out, and what is in the table is counted."""

    def __init__(self) -> None:
        self.started = self.ended = self.counting = 0.0
        self.rows = self.batches = 0

    def install(self) -> None:
        """Put the clock on."""
        extend, write, count_now = Buffer.extend, Projection.write, Aggregates.count_now

        def first(buffer: Buffer, messages: Any, now: float) -> Any:
            if messages and not self.started:
                self.started = time.perf_counter()
            return extend(buffer, messages, now)

        def timed_write(projection: Projection, batch: Batch, *rest: Any) -> dict[int, int]:
            done = write(projection, batch, *rest)
            if projection._spec is HEALTH_EVENTS:
                self.ended = time.perf_counter()
                self.rows += sum(span.rows for part, span in batch.spans.items() if part in done)
                self.batches += 1
            return done

        def timed_count(aggregates: Aggregates) -> Any:
            began = time.perf_counter()
            done = count_now(aggregates)
            self.counting += time.perf_counter() - began
            return done

        for owner, name, timed in (
            (Buffer, "extend", first),
            (Projection, "write", timed_write),
            (Aggregates, "count_now", timed_count),
        ):
            setattr(owner, name, timed)


def main(count: int) -> dict[str, Any]:
    """Read and count `count` events; what was measured."""
    stop, clock, settings = threading.Event(), Clock(), Settings()
    clock.install()
    counted_at = 0.0

    def watch() -> None:
        nonlocal counted_at
        try:
            with connect(settings) as clickhouse:
                while not counted_at:
                    time.sleep(0.2)
                    if clock.rows >= count:
                        [(counted,)] = clickhouse.query("SELECT sum(events) FROM step_minutes")
                        counted_at = time.perf_counter() if counted >= count else 0.0
        finally:
            stop.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    run_health(settings, stop)
    watcher.join(30)
    return {
        "seconds": clock.ended - clock.started,
        "counted_s": counted_at - clock.started,
        "counting_share": clock.counting / (counted_at - clock.started),
        "events": clock.rows,
        "batches": clock.batches,
        "peak_rss_mb": peak_rss_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
