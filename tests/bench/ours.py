"""Our projector, as `steptrail run projector` runs it, with a clock on it.

Run as a process of its own: `python -m bench.ours COUNT`, settings from the environment. It projects `COUNT`
events, stops, and prints one JSON object: `seconds` from the first message in hand to the last ledger row read
back, what part of them each kind of statement took, the processor time of the two threads, the peak of memory.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steptrail.consumers.ingest.sink import ProjectorSink
from steptrail.consumers.loop.buffer import Buffer, ConsumedBatch
from steptrail.consumers.projector.run import run_projector
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.staging import FailingRows, SetAside
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas import Settings


class Clock:
    """Times the projector from outside: it wraps the methods where a message comes in and a batch goes out."""

    def __init__(self, count: int, stop: threading.Event) -> None:
        self.count = count
        self.stop = stop
        self.started = 0.0
        self.ended = 0.0
        self.rows = 0
        self.batches = 0
        self.writing = 0.0
        self.asking_kafka = 0.0
        self.writer_cpu = 0.0
        self.statements: dict[str, float] = {}

    def install(self) -> None:
        """Put the clock on."""
        self._on_first_message()
        self._on_write()
        self._on_sink()
        self._on_statements()

    def _on_first_message(self) -> None:
        extend = Buffer.extend

        def first(buffer: Buffer, messages: Any, now: float) -> Any:
            if messages:
                self.started = time.perf_counter()
                _replace(Buffer, "extend", extend)
            return extend(buffer, messages, now)

        _replace(Buffer, "extend", first)

    def _on_write(self) -> None:
        write = Projection.write

        def timed(projection: Projection, batch: Batch, set_aside: SetAside | None = None) -> dict[int, int]:
            if projection._spec is not STEP_EVENTS:  # dead letters, emitters' reports
                return write(projection, batch, set_aside)

            def counted(rows: FailingRows) -> None:
                assert set_aside is not None
                set_aside(rows)
                self.rows -= len(rows)

            before, cpu = time.perf_counter(), time.thread_time()
            done = write(projection, batch, set_aside and counted)
            self.ended = time.perf_counter()
            self.writing += self.ended - before
            self.writer_cpu += time.thread_time() - cpu
            self.rows += sum(span.rows for part, span in batch.spans.items() if part in done)
            self.batches += 1
            if self.rows >= self.count:
                self.stop.set()
            return done

        _replace(Projection, "write", timed)

    def _on_sink(self) -> None:
        write = ProjectorSink.write

        def timed(sink: ProjectorSink, batch: ConsumedBatch) -> dict[int, int]:
            before, written = time.perf_counter(), self.writing
            done = write(sink, batch)
            self.asking_kafka += time.perf_counter() - before - (self.writing - written)
            return done

        _replace(ProjectorSink, "write", timed)

    def _on_statements(self) -> None:
        command, query = ClickHouse.command, ClickHouse.query

        def timed_command(store: ClickHouse, sql: str, *rest: Any, **more: Any) -> None:
            before = time.perf_counter()
            command(store, sql, *rest, **more)
            self._spent(sql, before)

        def timed_query(store: ClickHouse, sql: str, *rest: Any, **more: Any) -> Any:
            before = time.perf_counter()
            result = query(store, sql, *rest, **more)
            self._spent(sql, before)
            return result

        _replace(ClickHouse, "command", timed_command)
        _replace(ClickHouse, "query", timed_query)

    def _spent(self, sql: str, before: float) -> None:
        if self.started:
            kind = kind_of(sql)
            self.statements[kind] = self.statements.get(kind, 0.0) + time.perf_counter() - before


def _replace(owner: type, method: str, by: Callable[..., Any]) -> None:
    setattr(owner, method, by)


def kind_of(sql: str) -> str:
    """Which part of the projection a statement is."""
    if "FORMAT Avro" in sql:
        return "stage"
    if "projection_ledger" in sql or "projection_claims" in sql[:60]:
        return "ledger"
    words = sql.split(None, 3)
    if words[:2] == ["INSERT", "INTO"]:
        return f"insert_{words[2]}"
    if words[0] in ("CREATE", "DROP"):
        return "create_and_drop_stage"
    return "validate" if "failed_checks" in sql else "other"


def peak_rss_mb(pid: int | str = "self") -> float:
    """The most memory that a process ever held. Not `ru_maxrss`: that begins with what the parent held.

    Raises OSError or ValueError for a process that has ended.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def main(count: int) -> dict[str, Any]:
    """Project `count` events; what was measured."""
    stop = threading.Event()
    clock = Clock(count, stop)
    clock.install()
    run_projector(Settings(), stop)
    reading_cpu = time.thread_time()  # this thread ran the loop: it consumed and wrapped
    elapsed = clock.ended - clock.started
    statements = {kind: spent / elapsed for kind, spent in sorted(clock.statements.items())}
    return {
        "seconds": elapsed,
        "events": clock.rows,
        "batches": clock.batches,
        "peak_rss_mb": peak_rss_mb(),
        "shares": {
            **statements,
            "wrap_and_rest_of_writer": clock.writing / elapsed - sum(statements.values()),
            "ask_kafka_for_the_topic": clock.asking_kafka / elapsed,
            "writer_waits": 1 - (clock.writing + clock.asking_kafka) / elapsed,
        },
        "cpu_shares": {"consume_and_wrap": reading_cpu / elapsed, "write": clock.writer_cpu / elapsed},
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
