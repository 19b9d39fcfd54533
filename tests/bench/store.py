"""Engines that hold 1M and 10M events, built once and kept in the user's cache.

The million comes from the generator and goes through the projection, as if Kafka had delivered it as it was
emitted. The ten million are ten copies of it made by the engine, each later by the span of the first and with
documents and ids of its own, so that nothing but the volume differs.

The cache is keyed by what it was built from (the generator, the migrations, this file): a change of any of them
builds it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import generator
from bench.engine import running_engine
from steptrail.deploy.stack.jars import cache_dir
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.migrate import migrate, migrations
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.step_events import STEP_EVENTS, STEP_EXECUTIONS, STEPS
from steptrail.schemas import Settings, message_key, partition_for
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object

if TYPE_CHECKING:
    from bench.session import Session

# What the health consumer counts of the events.
_MINUTES = """
    INSERT INTO step_minute_rows
    SELECT toStartOfMinute(broker_time), pipeline, step_name, count(),
        countIf(status = 'PENDING'), countIf(status = 'RUNNING'), countIf(status = 'SUCCESS'),
        countIf(status = 'WARNING'), countIf(status = 'ERROR'), countIf(status = 'FAILED'), countIf(status = 'SKIPPED'),
        count(duration_ms), sum(ifNull(duration_ms, 0)), min(duration_ms), max(duration_ms),
        quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ms), 1
    FROM steps
    GROUP BY toStartOfMinute(broker_time), pipeline, step_name
"""

COPIES = 10
PARTITIONS = 6
BATCH = 50_000


@dataclass(frozen=True)
class Store:
    """An engine that runs, with the databases `small` (`events` of them) and `large` (ten times as many)."""

    url: str
    events: int
    built_in_s: float
    last_event: datetime

    def connect(self, database: str) -> ClickHouse:
        """A client of the database `small` or `large`."""
        return _connect(self.url, database)


class Uncached:
    """A store for the reader that answers no question from what an earlier one left behind."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[dict[str, Any]]:
        """As ClickHouse.rows."""
        return self._clickhouse.rows(sql, parameters, {"use_query_condition_cache": 0, **(settings or {})})


@contextmanager
def open_store(session: Session) -> Iterator[Store]:
    """Start the engine on the cached data, after building them if they are not there."""
    events = session.scaled(1_000_000)
    directory = cache_dir() / "bench" / f"store-{events}-{_key()}"
    about = directory / "complete.json"
    if not about.exists():
        for outdated in directory.parent.glob(f"store-{events}-*"):
            shutil.rmtree(outdated, ignore_errors=True)
        session.say(f"building the stores of {events:,} and {events * COPIES:,} events in {directory} (once)")
        started = time.monotonic()
        with running_engine(directory) as url:
            last_us = _build(url, events)
        told = {"built_in_s": time.monotonic() - started, "last_event_us": last_us}
        about.write_text(json.dumps(told))
    known = json.loads(about.read_text())
    with running_engine(directory) as url:
        last = datetime.fromtimestamp(known["last_event_us"] / 1e6, timezone.utc)
        yield Store(url, events, known["built_in_s"], last)


def _key() -> str:
    digest = hashlib.sha256()
    for path in (Path(generator.__file__), Path(__file__)):
        digest.update(path.read_bytes())
    for migration in migrations():
        digest.update(migration.sql.encode())
    return digest.hexdigest()[:12]


def _connect(url: str, database: str) -> ClickHouse:
    return ClickHouse(Settings(clickhouse=f"{url}/{database}").clickhouse_target(), timeout=600)


def _build(url: str, events: int) -> int:
    with _connect(url, "small") as small:
        migrate(small)
        first_us, last_us = project_generated(small, events)
    with _connect(url, "large") as large:
        migrate(large)
        for copy in range(COPIES):
            _copy(large, copy, copy * (last_us - first_us))
        large.command(_MINUTES)
        settle(large)
    return last_us + (COPIES - 1) * (last_us - first_us)


def project_generated(clickhouse: ClickHouse, events: int) -> tuple[int, int]:
    """Write generated events as the projector would; return the times of the first and the last, in µs."""
    projection = Projection(clickhouse, STEP_EVENTS, topic="bench", topic_id="bench")
    projection.open(range(PARTITIONS))
    offsets = dict.fromkeys(range(PARTITIONS), 0)
    builder = BatchBuilder()
    first_us = last_us = 0
    for event in generator.generate(events):
        first_us = first_us or event.timestamp
        last_us = event.timestamp
        partition = partition_for(message_key(event.pipeline, event.doc_id), PARTITIONS)
        broker_ms = event.timestamp // 1000 + 25  # lingered, sent, appended
        builder.add(partition, offsets[partition], broker_ms, frame_single_object(encode_event(event)))
        offsets[partition] += 1
        if builder.rows == BATCH:
            projection.write(builder.build())
            builder = BatchBuilder()
    if builder.rows:
        projection.write(builder.build())
    return first_us, last_us


def _copy(large: ClickHouse, copy: int, shift_us: int) -> None:
    """Add the small store's events once more, later by `shift_us`, with ids and documents of their own."""
    changed = {
        "doc_id": f"concat(doc_id, '~{copy}')" if copy else "doc_id",
        "timestamp": f"addMicroseconds(timestamp, {shift_us})",
        "broker_time": f"addMilliseconds(broker_time, {shift_us // 1000})",
        "event_id": _copied_id("event_id", copy, shift_us),
        "execution_id": _copied_id("execution_id", copy, shift_us),
    }
    columns = list(STEPS.columns)
    values = [changed.get(column, column) for column in columns]
    large.command(
        f"INSERT INTO steps ({', '.join(columns)}) SELECT {', '.join(values)} FROM small.steps",
        settings={"max_insert_threads": 2},
    )
    columns = list(STEP_EXECUTIONS.columns)
    large.command(
        f"""
        INSERT INTO step_executions ({", ".join(columns)})
        SELECT pipeline, step_name, doc_id, execution_id,
            (toUInt8(multiIf(status = 'PENDING', 0, status = 'RUNNING', 1, 2)), timestamp, toUInt128(event_id), status),
            attempt, if(status = 'RUNNING', toNullable(timestamp), NULL), timestamp, timestamp
        FROM steps WHERE {f"endsWith(doc_id, '~{copy}')" if copy else "true"}
        """
    )


def _copied_id(column: str, copy: int, shift_us: int) -> str:
    """SQL for a UUIDv7 that is later by `shift_us` and the same for every row with the same id."""
    if not copy:
        return column
    time_part = (
        f"lower(leftPad(hex(toUInt64(bitShiftRight(toUInt128({column}), 80)) + {shift_us // 1000}), 12, '0'))"
    )
    random_part = f"lower(hex(sipHash128({column}, {copy})))"
    return (
        f"toUUID(concat(substring({time_part}, 1, 8), '-', substring({time_part}, 9, 4), '-7', "
        f"substring({random_part}, 1, 3), '-b', substring({random_part}, 4, 3), '-', "
        f"substring({random_part}, 7, 12)))"
    )


def settle(clickhouse: ClickHouse, patience_s: float = 300) -> float:
    """Wait until the engine has merged what it wants to merge, at most so long; seconds that it took."""
    quiet = 0
    began = time.monotonic()
    deadline = began + patience_s
    while quiet < 5 and time.monotonic() < deadline:
        running = clickhouse.query("SELECT count() FROM system.merges")[0][0]
        quiet = 0 if running else quiet + 1
        time.sleep(1)
    return time.monotonic() - began
