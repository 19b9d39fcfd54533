"""One document's timeline over HTTP, with 1M and with 10M events in the store; documents drawn at random.

The two stores take turns, each document is asked for once, and nothing is answered from a cache of conditions.
"""

from __future__ import annotations

import random
import statistics
import time

from bench.figure import Figure, percentile
from bench.session import Session
from bench.store import Uncached
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.reading.reader import Reader

BOUND_MS = 50
BOUND_RATIO = 1.5
QUESTIONS = 500


def measure(session: Session) -> Figure:
    """The worse p99 of the two stores; the ratio of their medians beside it."""
    count = session.scaled(QUESTIONS)
    times: dict[str, list[float]] = {"small": [], "large": []}
    items = 0
    with session.store.connect("small") as small, session.store.connect("large") as large:
        readers = {"small": Reader(Uncached(small)), "large": Reader(Uncached(large))}
        documents = {"small": _documents(small, count + 20), "large": _documents(large, count + 20)}
        for number in range(count + 20):
            for name, reader in readers.items():
                pipeline, doc_id = documents[name][number]
                started = time.perf_counter()
                page = reader.timeline(pipeline, doc_id, limit=100)
                spent = (time.perf_counter() - started) * 1000
                if number >= 20:  # the first ones open connections and files
                    times[name].append(spent)
                    items += len(page)
    p99 = {name: percentile(values, 0.99) for name, values in times.items()}
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["large"] / medians["small"]
    worst = max(p99.values())
    return Figure(
        "timeline_p99_ms",
        worst,
        "ms",
        f"<= {BOUND_MS} at both sizes; ratio of medians <= {BOUND_RATIO}",
        worst <= BOUND_MS and ratio <= BOUND_RATIO,
        {
            "events": {"small": session.store.events, "large": session.store.events * 10},
            "p50_ms": medians,
            "p99_ms": p99,
            "ratio_of_medians": ratio,
            "questions": count,
            "events_per_answer": items / (2 * count),
        },
    )


def _documents(clickhouse: ClickHouse, count: int) -> list[tuple[str, str]]:
    found = clickhouse.query(
        "SELECT pipeline, doc_id FROM steps GROUP BY pipeline, doc_id ORDER BY sipHash64(doc_id) LIMIT {count:UInt32}",
        {"count": count},
    )
    rows = [(str(pipeline), str(doc_id)) for pipeline, doc_id in found]
    random.Random(1).shuffle(rows)
    return rows
