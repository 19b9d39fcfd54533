"""The health consumer, as `steptrail run health` runs it, with a clock on it.

Run as a process of its own: `python -m health_sim.timed_health COUNT`, settings from the environment. It reads
`COUNT` events, judges every slot of them but those that are still open, counts minutes and error groups, stops, and
prints one JSON object: `seconds` from the first message in hand to the last ledger row read back, as `bench.ours`
measures the projector, and `counted_s` to the last event counted in its minute and group.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from bench.ours import Clock, peak_rss_mb
from steptrail.consumers.judging.health import run_health
from steptrail.projections.aggregates import Aggregates
from steptrail.projections.clickhouse import connect
from steptrail.schemas import Settings


def main(count: int) -> dict[str, Any]:
    """Read and count `count` events; what was measured."""
    stop, read = threading.Event(), threading.Event()
    clock = Clock(count, read)
    clock.install()
    counting = 0.0
    count_now = Aggregates.count_now

    def timed(aggregates: Aggregates) -> Any:
        nonlocal counting
        began = time.perf_counter()
        done = count_now(aggregates)
        counting += time.perf_counter() - began
        return done

    setattr(Aggregates, "count_now", timed)  # noqa: B010  the checker would have it typed
    settings = Settings()
    counted_at = 0.0

    def watch() -> None:
        nonlocal counted_at
        read.wait()
        with connect(settings) as clickhouse:
            while not stop.is_set():
                [(counted,)] = clickhouse.query("SELECT sum(events) FROM step_minutes")
                if counted >= count:
                    counted_at = time.perf_counter()
                    stop.set()
                time.sleep(0.2)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    run_health(settings, stop)
    watcher.join(30)
    elapsed = clock.ended - clock.started
    return {
        "seconds": elapsed,
        "counted_s": counted_at - clock.started,
        "events": clock.rows,
        "batches": clock.batches,
        "counting_share": counting / max(elapsed, counted_at - clock.started),
        "peak_rss_mb": peak_rss_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
