"""The stage: a batch in a Memory table of its own, decoded by the engine and validated before anything is written."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.concurrency import together
from steptrail.projections.clickhouse.errors import BatchRejected, QueryError
from steptrail.projections.delivery.batch import TRAILER_BYTES, Batch, Run
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.projection")

# Stages of consumers that died are dropped when they are older than any statement can run.
ABANDONED_AFTER_HOURS = 24

_FILE_ROWS = 20_000

_STAGE = """
CREATE TABLE {table}
(
    frame String,
{columns},
    guard FixedString(8), trailer FixedString(21),
    kafka_partition Int32 MATERIALIZED reinterpretAsInt32(substring(trailer, 1, 4)),
    kafka_offset    Int64 MATERIALIZED reinterpretAsInt64(substring(trailer, 5, 8)),
    broker_ms       Int64 MATERIALIZED reinterpretAsInt64(substring(trailer, 13, 8)),
    resent          UInt8 MATERIALIZED reinterpretAsUInt8(substring(trailer, 21, 1))
)
ENGINE = Memory
"""

# What every staged record is checked for, whatever it is a record of.
_COMMON_CHECKS = {
    "guard": "guard != unhex({guard:String})",
    "frame": "hex(frame) NOT IN {frames:Array(String)}",
}


@dataclass(slots=True)
class Stage:
    """A staged batch: `table` holds `batch.rows` rows until it is dropped."""

    clickhouse: ClickHouse
    table: str
    batch: Batch
    dropped: bool = False

    def drop(self) -> None:
        """Drop the table, once; raises nothing."""
        if not self.dropped:
            self.dropped = True
            drop_quietly(self.clickhouse, self.table)

    @property
    def whole(self) -> str:
        """SQL, true or an error: the stage still has every row.

        An engine that was restarted between two statements has the table, but empty: without this the next
        statement would copy nothing and the ledger would call it done.
        """
        return f"throwIf((SELECT count() FROM {self.table}) != {self.batch.rows}, '{_LOST}') = 0"


_LOST = "steptrail: the stage has lost its rows"


@contextmanager
def staged(clickhouse: ClickHouse, spec: ProjectionSpec, batch: Batch) -> Iterator[Stage]:
    """Stage and validate `batch`; the stage is dropped at the end, if it was not before, whatever happens.

    Raises BatchRejected when the batch does not hold what it should, InfrastructureError when the store is away.
    """
    stage = Stage(clickhouse, f"stage_{spec.name}_{uuid.uuid4().hex}", batch)
    clickhouse.command(_STAGE.format(table=stage.table, columns=spec.stage_columns.strip("\n")))
    try:
        _load(clickhouse, stage)
        _validate(clickhouse, spec, stage)
        yield stage
    finally:
        stage.drop()


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
    def insert(columns: str, file: bytes) -> None:
        clickhouse.command(f"INSERT INTO {stage.table} ({columns}) FORMAT Avro", data=file)

    # The engine decodes a file in one thread: a large batch goes as two.
    most = max(_FILE_ROWS, -(-stage.batch.rows // 2))
    try:
        together(
            partial(insert, ", ".join(run.schema.columns), file)
            for run in stage.batch.runs
            for file in run.files(most)
        )
    except QueryError as error:
        raise BatchRejected(f"the engine cannot parse the batch: {error}", {}) from error


def _validate(clickhouse: ClickHouse, spec: ProjectionSpec, stage: Stage) -> None:
    batch = stage.batch
    checks = {**_COMMON_CHECKS, **spec.checks}
    counts = ", ".join(f"countIf({condition})" for condition in checks.values())
    parameters = {
        "guard": batch.guard.hex(),
        "frames": [run.schema.frame.hex().upper() for run in batch.runs],
    }
    found = clickhouse.query(
        "SELECT kafka_partition, count(), min(kafka_offset), max(kafka_offset), sum(kafka_offset), "
        f"min(broker_ms), max(broker_ms), sum({_size(spec, batch)}), {counts} FROM {stage.table} "
        "GROUP BY kafka_partition LIMIT 10000",
        parameters,
    )
    failed = dict.fromkeys(checks, 0)
    seen = {}
    size = 0
    for partition, rows, first, last, total, first_ms, last_ms, part_size, *bad in found:
        seen[partition] = (rows, total)
        size += part_size
        for name, count in zip(checks, bad, strict=True):
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
    # A record that ends in another place than it should shifts all behind it, and what tells their places.
    in_place = failed.keys() <= spec.checks.keys()
    sent = sum(run.size - run.rows * TRAILER_BYTES for run in _sized(spec, batch))
    if in_place and size != sent:
        failed["size"] = abs(sent - size)  # a number is spelled longer than it has to be
    if failed:
        rows_of = _failing_rows(clickhouse, spec, stage) if in_place else {}
        told = ", ".join(f"{name} in {count}" for name, count in failed.items())
        raise BatchRejected(f"{batch.rows} records do not pass: {told}", failed, rows_of)


def _failing_rows(clickhouse: ClickHouse, spec: ProjectionSpec, stage: Stage) -> dict[tuple[int, int], str]:
    """Partition and offset of each row that fails a check, with the first that it fails."""
    first = ", ".join(f"{condition}, '{name}'" for name, condition in spec.checks.items())
    found = clickhouse.query(
        f"SELECT kafka_partition, kafka_offset, multiIf({first}, '') AS failed FROM {stage.table} "
        f"WHERE failed != '' LIMIT {stage.batch.rows}"
    )
    return {(int(partition), int(offset)): name for partition, offset, name in found}


def _size(spec: ProjectionSpec, batch: Batch) -> str:
    """SQL: how long the message of a row is whose numbers are spelled as short as they can be.

    0 for rows with fields that are not staged: those are looked at in Python.
    """
    cases = [
        f"frame = unhex('{run.schema.frame.hex()}'), {len(run.schema.frame)} + "
        + " + ".join(spec.sizes[column] for column in run.schema.columns if column in spec.sizes)
        for run in _sized(spec, batch)
    ]
    return f"multiIf({', '.join(cases)}, 0)" if cases else "0"


def _sized(spec: ProjectionSpec, batch: Batch) -> list[Run]:
    return [run for run in batch.runs if spec.sizes and run.schema.whole]
