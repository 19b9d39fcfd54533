"""The stage: a batch in a Memory table of its own, decoded by the engine and validated before anything is written."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from steptrail.projections.batch import Batch
from steptrail.projections.clickhouse import ClickHouse
from steptrail.projections.errors import BatchRejected, QueryError
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US

_log = logging.getLogger("steptrail.projection")

# Stages of consumers that died are dropped when they are older than any statement can run.
ABANDONED_AFTER_HOURS = 24

# Raw columns are what the bytes say, and are validated; the others are computed from them once, here, and every
# table is filled from them. A UUID's halves are stored least significant byte first, hence the reversals.
_STAGE = """
CREATE TABLE {stage}
(
    frame String,
    event_id FixedString(16), pipeline String, doc_id String, step_name String, execution_id FixedString(16),
    attempt Int32, status Int32, timestamp Int64, duration_ms Nullable(Float64),
    error_type Nullable(String), error_message Nullable(String), details String, metrics String,
    depends_on String, trace_id Nullable(String), worker String, emitter_id FixedString(8), sequence Int64,
    guard FixedString(8), trailer FixedString(20),
    kafka_partition Int32 MATERIALIZED reinterpretAsInt32(substring(trailer, 1, 4)),
    kafka_offset    Int64 MATERIALIZED reinterpretAsInt64(substring(trailer, 5, 8)),
    broker_ms       Int64 MATERIALIZED reinterpretAsInt64(substring(trailer, 13, 8)),
    event_uuid      UUID  MATERIALIZED reinterpretAsUUID(concat(reverse(substring(event_id, 1, 8)), reverse(substring(event_id, 9, 8)))),
    execution_uuid  UUID  MATERIALIZED reinterpretAsUUID(concat(reverse(substring(execution_id, 1, 8)), reverse(substring(execution_id, 9, 8))))
)
ENGINE = Memory
"""  # noqa: E501  one column a line reads better than a wrapped one

# By partition: what is there, then how many rows fail each check. The engine checks none of this by itself.
CHECKS: dict[str, str] = {
    "guard": "guard != unhex({guard:String})",
    "frame": "hex(frame) NOT IN {frames:Array(String)}",
    "status": "status < 0 OR status > 6",
    "attempt": "attempt < 1",
    "timestamp": f"timestamp < {MIN_TIMESTAMP_US} OR timestamp > {MAX_TIMESTAMP_US}",
    "duration_ms": "NOT isFinite(ifNull(duration_ms, 0))",
    "utf8": "NOT (isValidUTF8(pipeline) AND isValidUTF8(doc_id) AND isValidUTF8(step_name)"
    " AND isValidUTF8(ifNull(error_type, '')) AND isValidUTF8(ifNull(error_message, ''))"
    " AND isValidUTF8(details) AND isValidUTF8(metrics) AND isValidUTF8(depends_on)"
    " AND isValidUTF8(ifNull(trace_id, '')) AND isValidUTF8(worker))",
    "details": "NOT startsWith(details, '{{') OR NOT isValidJSON(details)",
    "metrics": "NOT startsWith(metrics, '{{') OR NOT isValidJSON(metrics)",
    "depends_on": "NOT startsWith(depends_on, '[') OR NOT isValidJSON(depends_on)",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A staged batch: `table` holds `batch.rows` rows until the context ends."""

    table: str
    batch: Batch

    @property
    def whole(self) -> str:
        """SQL, true or an error: the stage still has every row.

        An engine that was restarted between two statements has the table, but empty: without this the next
        statement would copy nothing and the ledger would call it done.
        """
        return f"throwIf((SELECT count() FROM {self.table}) != {self.batch.rows}, '{_LOST}') = 0"


_LOST = "steptrail: the stage has lost its rows"


@contextmanager
def staged(clickhouse: ClickHouse, projection: str, batch: Batch) -> Iterator[Stage]:
    """Stage and validate `batch`; the stage is dropped at the end, whatever happens.

    Raises BatchRejected when the batch does not hold what it should, InfrastructureError when the store is away.
    """
    stage = Stage(f"stage_{projection}_{uuid.uuid4().hex}", batch)
    clickhouse.command(_STAGE.format(stage=stage.table))
    try:
        _load(clickhouse, stage)
        _validate(clickhouse, stage)
        yield stage
    finally:
        drop_quietly(clickhouse, stage.table)


def drop_abandoned(clickhouse: ClickHouse, projection: str) -> None:
    """Drop the stages that consumers of this projection left behind long ago."""
    found = clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix:String}) "
        f"AND metadata_modification_time < now() - INTERVAL {ABANDONED_AFTER_HOURS} HOUR",
        {"prefix": f"stage_{projection}_"},
    )
    for (table,) in found:
        drop_quietly(clickhouse, table)


def drop_quietly(clickhouse: ClickHouse, table: str) -> None:
    """Drop a stage; a failure is no matter, since `drop_abandoned` finds it later."""
    try:
        clickhouse.command(f"DROP TABLE IF EXISTS {table} SYNC")
    except (InfrastructureError, QueryError) as error:
        _log.debug("stage %s stays for now: %s", table, error)


def _load(clickhouse: ClickHouse, stage: Stage) -> None:
    for run in stage.batch.runs:
        columns = ", ".join(run.schema.columns)
        try:
            clickhouse.command(f"INSERT INTO {stage.table} ({columns}) FORMAT Avro", data=run.avro())
        except QueryError as error:
            raise BatchRejected(f"the engine cannot parse the batch: {error}", {}) from error


def _validate(clickhouse: ClickHouse, stage: Stage) -> None:
    batch = stage.batch
    counts = ", ".join(f"countIf({condition})" for condition in CHECKS.values()).replace("{{", "{")
    found = clickhouse.query(
        "SELECT kafka_partition, count(), min(kafka_offset), max(kafka_offset), sum(kafka_offset), "
        f"min(broker_ms), max(broker_ms), {counts} FROM {stage.table} GROUP BY kafka_partition LIMIT 10000",
        {
            "guard": batch.guard.hex(),
            "frames": [run.schema.frame.hex().upper() for run in batch.runs],
        },
    )
    failed = dict.fromkeys(CHECKS, 0)
    seen = {}
    for partition, rows, first, last, total, first_ms, last_ms, *bad in found:
        seen[partition] = (rows, total)
        for name, count in zip(CHECKS, bad, strict=True):
            failed[name] += count
        span = batch.spans.get(partition)
        if span is None or first < span.first or last > span.last:
            failed["offsets"] = failed.get("offsets", 0) + rows
        elif first_ms < batch.first_time_ms or last_ms > batch.last_time_ms:
            failed["broker_time"] = failed.get("broker_time", 0) + rows
    expected = {p: (span.rows, span.offset_sum) for p, span in batch.spans.items() if span.rows}
    if seen != expected and "offsets" not in failed:
        staged_rows = sum(rows for rows, _ in seen.values())
        failed["offsets"] = abs(batch.rows - staged_rows) or 1
    failed = {name: count for name, count in failed.items() if count}
    if failed:
        told = ", ".join(f"{name} in {count}" for name, count in failed.items())
        raise BatchRejected(f"{batch.rows} records do not pass: {told}", failed)
