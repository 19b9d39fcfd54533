"""The stage: a batch in a Memory table of its own, decoded by the engine and validated before anything is written."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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


FailingRows = Mapping[tuple[int, int], str]
"""Partition and offset of each row that fails a check -> the first check that it fails."""

SetAside = Callable[[FailingRows], None]
"""Sets the failing rows of a batch aside; when it returns, the batch is written without them."""


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

    def remove_failing(self, spec: ProjectionSpec, others: Batch) -> None:
        """Delete the rows that fail a check. `whole` proves that those of `others` are left, and no more."""
        self.clickhouse.command(f"ALTER TABLE {self.table} DELETE WHERE {_failed_checks(spec)} != 0")
        self.batch = others

    @property
    def whole(self) -> str:
        """SQL, true or an error: the stage still has every row, each where it should be.

        An engine that was restarted between two statements has the table, but empty: without this the next
        statement would copy nothing and the ledger would call it done.
        """
        batch = self.batch
        whole = f"throwIf((SELECT count() FROM {self.table}) != {batch.rows}, '{_LOST}') = 0"
        if not batch.checked:
            return whole  # validated when it was staged
        return f"{whole} AND throwIf(guard != unhex('{batch.guard.hex()}'), '{_MISPLACED}') = 0"


_LOST = "steptrail: the stage has lost its rows"
_MISPLACED = "steptrail: a record is not where it should be"


@contextmanager
def staged(
    clickhouse: ClickHouse, spec: ProjectionSpec, batch: Batch, set_aside: SetAside | None = None
) -> Iterator[Stage]:
    """Stage and validate `batch`; the stage is dropped at the end, if it was not before, whatever happens.

    A batch that was `checked` is not validated: planning that query takes a fifth of what a small batch costs.
    Rows that fail a check go to `set_aside` where every record is in its place, and the stage is that of the others.
    Raises BatchRejected when the batch does not hold what it should, InfrastructureError when the store is away, and
    whatever `set_aside` raises.
    """
    stage = Stage(clickhouse, f"stage_{spec.name}_{uuid.uuid4().hex}", batch)
    clickhouse.command(_STAGE.format(table=stage.table, columns=spec.stage_columns.strip("\n")))
    try:
        _load(clickhouse, stage)
        if not batch.checked:
            _set_failing_aside(clickhouse, spec, stage, set_aside)
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
        sql = f"INSERT INTO {stage.table} ({columns}) FORMAT Avro"
        clickhouse.command(sql, data=file, settings=stage.batch.settings)

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


def _set_failing_aside(
    clickhouse: ClickHouse, spec: ProjectionSpec, stage: Stage, set_aside: SetAside | None
) -> None:
    rows, others = _validate(clickhouse, spec, stage)
    if rows:
        if set_aside is None:
            raise BatchRejected(
                f"{len(rows)} of {stage.batch.rows} records fail a check", Counter(rows.values())
            )
        set_aside(rows)
        stage.remove_failing(spec, others)


def _validate(clickhouse: ClickHouse, spec: ProjectionSpec, stage: Stage) -> tuple[FailingRows, Batch]:
    """The rows that fail a check of `spec`, and the batch without them; every record is in its place.

    Raises BatchRejected where that is not so. One query does it all: each check is computed once for a row.
    """
    batch = stage.batch
    counts = ", ".join(f"countIf({condition})" for condition in _COMMON_CHECKS.values())
    found = clickhouse.query(
        f"WITH {_failed_checks(spec)} AS failed_checks "
        "SELECT kafka_partition, count(), min(kafka_offset), max(kafka_offset), sum(kafka_offset), "
        f"min(broker_ms), max(broker_ms), sumIf({_size(spec, batch)}, failed_checks = 0), {counts}, "
        f"groupArrayIf((kafka_offset, failed_checks), failed_checks != 0) FROM {stage.table} "
        "GROUP BY kafka_partition LIMIT 10000",
        {"guard": batch.guard.hex(), "frames": [run.schema.frame.hex().upper() for run in batch.runs]},
    )
    wrong: Counter[str] = Counter()
    rows: dict[tuple[int, int], str] = {}
    names = list(spec.checks)
    seen = {}
    size = 0
    for partition, count, first, last, total, first_ms, last_ms, part_size, *bad, failing in found:
        seen[partition] = (count, total)
        size += part_size
        wrong.update(dict(zip(_COMMON_CHECKS, bad, strict=True)))
        for offset, checks in failing:
            rows[partition, offset] = names[(checks & -checks).bit_length() - 1]  # the lowest bit that is set
        span = batch.spans.get(partition)
        if span is None or first < span.first or last > span.last:
            wrong["offsets"] += count
        elif first_ms < batch.first_time_ms or last_ms > batch.last_time_ms:
            wrong["broker_time"] += count
    expected = {p: (span.rows, span.offset_sum) for p, span in batch.spans.items() if span.rows}
    if seen != expected and "offsets" not in wrong:
        wrong["offsets"] = abs(batch.rows - sum(count for count, _ in seen.values())) or 1
    others = batch
    if not +wrong:  # every record is in its place
        others = batch.without(rows) if rows else batch
        sent = sum(run.size - run.rows * TRAILER_BYTES for run in _sized(spec, others))
        wrong["size"] = abs(sent - size)  # else a number is spelled longer than it has to be
    if failed := +wrong:
        summary = ", ".join(f"{name} in {count}" for name, count in failed.items())
        raise BatchRejected(f"{batch.rows} records do not pass: {summary}", failed)
    return rows, others


def _failed_checks(spec: ProjectionSpec) -> str:
    """SQL: which checks a row fails, as bits. A sum, since `multiIf` and `OR` copy the columns for each condition."""
    bits = (f"toUInt64({condition}) * {1 << number}" for number, condition in enumerate(spec.checks.values()))
    return f"({' + '.join(['toUInt64(0)', *bits])})"


def _size(spec: ProjectionSpec, batch: Batch) -> str:
    """SQL: how long the message of a row is whose numbers are spelled as short as they can be.

    0 for rows with fields that are not staged: those are looked at in Python.
    """
    if spec.size is None:
        return "0"
    cases = [
        f"frame = unhex('{run.schema.frame.hex()}'), {len(run.schema.frame)} + {spec.size(run.schema.columns)}"
        for run in _sized(spec, batch)
    ]
    return f"multiIf({', '.join(cases)}, 0)" if cases else "0"


def _sized(spec: ProjectionSpec, batch: Batch) -> list[Run]:
    return [run for run in batch.runs if spec.size is not None and run.schema.whole]
