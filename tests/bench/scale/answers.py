"""How long a store takes to answer a question, and how many rows it reads for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

from bench.figure import Figure, percentile
from bench.scale.questions import QUESTIONS, Asked, documents
from bench.scale.world import World
from steptrail.projections.clickhouse.client import ClickHouse

_FIRST = 5
_MOST_S = 90.0
_WHOLE = {"wait_end_of_query": 1}
"""What was read is told before the answer, so it has to be over by then."""


class Counting:
    """A store for reading that counts statements and the rows that were read for them."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self.statements = 0
        self.rows_read = 0

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """As ClickHouse.rows."""
        answer = self._clickhouse.answer(sql, parameters, {**_WHOLE, **(settings or {})})
        self.statements += 1
        self.rows_read += answer.read_rows
        return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def measure(world: World, name: str) -> Figure:
    """p99 over all questions of a name; median, rows read and the engine's peak of memory beside it."""
    question = QUESTIONS[name]
    wanted = question.times if not world.session.quick else min(question.times, 20)
    times: list[float] = []
    with world.connect() as clickhouse, world.peak_memory() as memory:
        asked = Asked(world, documents(clickhouse, world.events, wanted + _FIRST))
        for _ in range(min(_FIRST, wanted)):
            question.ask(clickhouse, asked)  # opens connections and files
        store = Counting(clickhouse)
        began, processor_s = time.monotonic(), world.processor_s()
        while len(times) < wanted and time.monotonic() - began < _MOST_S:
            started = time.perf_counter()
            question.ask(store, asked)
            times.append((time.perf_counter() - started) * 1000)
        processor_s = world.processor_s() - processor_s
    p99, p50 = percentile(times, 0.99), statistics.median(times)
    detail: dict[str, Any] = {
        "p50_ms": p50,
        "max_ms": max(times),
        "engine_processor_ms": processor_s / len(times) * 1000,
        "rows_read": store.rows_read / len(times),
        "statements": store.statements / len(times),
        "questions": len(times),
        "engine_peak_mb": memory["peak_mb"],
    }
    bounds, ok = [], True
    if question.bound_ms is not None:
        bounds.append(f"<= {question.bound_ms:g}")
        ok = p99 <= question.bound_ms
    smaller = world.figures.get(f"{name}_p99_ms", [])
    if smaller:
        detail["growth_of_median"] = p50 / smaller[-1].detail["p50_ms"]
        if question.bound_growth is not None:
            bounds.append(f"growth of the median <= {question.bound_growth:g}")
            ok = ok and detail["growth_of_median"] <= question.bound_growth
    return Figure(f"{name}_p99_ms", p99, "ms", "; ".join(bounds), ok, detail)
