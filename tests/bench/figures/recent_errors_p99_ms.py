"""The last 100 errors of an hour and of a day, over all documents, with 10M events in the store."""

from __future__ import annotations

import random
import time
from datetime import timedelta

from bench.figure import Figure, percentile
from bench.session import Session
from bench.store import Uncached
from steptrail.projections.reading.reader import Reader

BOUND_MS = 100
QUESTIONS = 200
PIPELINES = (None, "invoices", "contracts", "web-archive")


def measure(session: Session) -> Figure:
    """The worst p99 of: an hour and a day, one pipeline and all."""
    count = session.scaled(QUESTIONS)
    rng = random.Random(2)
    store = session.store
    times: dict[str, list[float]] = {}
    with store.connect("large") as clickhouse:
        reader = Reader(Uncached(clickhouse))
        for number in range(count + 10):
            for hours in (1, 24):
                for scope in ("all_pipelines", "one_pipeline"):
                    pipeline = None if scope == "all_pipelines" else rng.choice(PIPELINES[1:])
                    since = store.last_event - timedelta(hours=hours, seconds=rng.random() * 60)
                    started = time.perf_counter()
                    errors = reader.recent_errors(pipeline, since, include_warnings=False, limit=100)
                    spent = (time.perf_counter() - started) * 1000
                    assert len(errors) == 100, f"{len(errors)} errors in {hours} h"
                    if number >= 10:
                        times.setdefault(f"{scope}_{hours}h", []).append(spent)
    p99 = {name: percentile(values, 0.99) for name, values in times.items()}
    worst = max(p99.values())
    return Figure(
        "recent_errors_p99_ms",
        worst,
        "ms",
        f"<= {BOUND_MS}",
        worst <= BOUND_MS,
        {
            "events": store.events * 10,
            "p50_ms": {name: percentile(values, 0.5) for name, values in times.items()},
            "p99_ms": p99,
            "questions_each": count,
        },
    )
