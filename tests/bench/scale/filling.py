"""Copies of a million real events: at other times, with documents and ids of their own, spread over 39 pipelines.

A copy differs from the million only in what identifies an event, so lengths, retries, errors and their texts are as
the generator made them and the projection stored them. The documents of a copy lie together in every table's order, as
those of a day do: what a copy repeats of another never meets in one compressed block.

A copy goes into the tables of the projector and of the health consumer as these write them, up to merges; minutes and
error groups are counted by the health consumer's own statements.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from steptrail.projections.aggregates.error_group_counts import Crowd, count_error_hours, count_error_minutes
from steptrail.projections.aggregates.step_minutes import count_minutes
from steptrail.projections.aggregates.touched import HOUR, Touched, spans
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.step_events import EMITTER_SEQUENCES, STEP_EXECUTIONS, STEPS

TENANTS = 13
"""Each of the generator's three pipelines is split into so many."""
SEED = "seed"
"""The database with the million."""

_HOURS_AT_ONCE = 6
_RANDOM_BITS = (1 << 62) - 1 | ((1 << 12) - 1) << 64  # of a UUIDv7, all but time, version and variant


@dataclass(frozen=True)
class Copy:
    """Which copy it is, and by how many milliseconds it is later than the million (negative: earlier)."""

    number: int
    shift_ms: int

    @property
    def pipeline(self) -> str:
        return f"concat(pipeline, '-', toString(sipHash64(doc_id) % {TENANTS}))"

    @property
    def doc_id(self) -> str:
        batch = f"b{self.number:04d}"
        return (
            f"multiIf(startsWith(doc_id, 'https://www.'), concat('https://{batch}.', substring(doc_id, 13)), "
            f"position(doc_id, '/') = 0, lower(hex(sipHash128(doc_id, {self.number}))), "
            f"concat('{batch}/', doc_id))"
        )

    @property
    def emitter_id(self) -> str:
        return f"lower(hex(sipHash64(emitter_id, {self.number})))"

    def number_of(self, column: str) -> str:
        """SQL: an id as a number, shifted in time and with random bits of its own."""
        flipped = random.Random(self.number).getrandbits(128) & _RANDOM_BITS
        changed = f"bitXor({column}, toUInt128('{flipped}'))"
        shift = f"bitShiftLeft(toUInt128({abs(self.shift_ms)}), 80)"
        return f"CAST({changed} {'-' if self.shift_ms < 0 else '+'} {shift} AS UInt128)"

    def uuid(self, column: str) -> str:
        """SQL: the same as a UUID, whose halves are stored in the other order."""
        number = self.number_of(f"toUInt128({column})")
        return (
            f"reinterpretAsUUID(reinterpretAsFixedString(bitOr(bitShiftLeft({number}, 64), "
            f"bitShiftRight({number}, 64))))"
        )

    def shifted(self, column: str) -> str:
        """SQL: a time of the million, shifted."""
        return f"addMilliseconds({column}, {self.shift_ms})"


def add_copy(clickhouse: ClickHouse, copy: Copy) -> None:
    """Write one copy into the tables of the projector and of the health consumer, two tables at a time."""
    health = HEALTH_EVENTS.targets[0]
    sequences = {
        "emitter_id": copy.emitter_id,
        "pipeline": f"concat(pipeline, '-', toString(block % {TENANTS}))",
        "first_time": copy.shifted("first_time"),
        "last_time": copy.shifted("last_time"),
    }
    inserts = (
        (STEPS.table, STEPS.columns, _of_event(copy), "steps"),
        (health.table, health.columns, _of_event(copy), "steps"),
        (STEP_EXECUTIONS.table, STEP_EXECUTIONS.columns, _of_execution(copy), "step_executions"),
        (EMITTER_SEQUENCES.table, EMITTER_SEQUENCES.columns, sequences, "emitter_sequences"),
    )
    with ThreadPoolExecutor(2) as two:
        for written in [two.submit(_insert, clickhouse, *insert) for insert in inserts]:
            written.result()


def add_batch(clickhouse: ClickHouse, copy: Copy, first_offset: int, end_offset: int) -> int:
    """Write a part of a copy as the projector writes a batch, each event a row of its own; how many events it has.

    The part is that of the million between two offsets of each Kafka partition.
    """
    within = f"WHERE kafka_offset >= {first_offset} AND kafka_offset < {end_offset}"
    _insert(clickhouse, STEPS.table, STEPS.columns, _of_event(copy), "steps", within)
    rank = "toUInt8(multiIf(status = 'PENDING', 0, status = 'RUNNING', 1, 2))"
    happened = copy.shifted("timestamp")
    executions = {
        "pipeline": copy.pipeline,
        "doc_id": copy.doc_id,
        "execution_id": copy.uuid("execution_id"),
        "winner": f"({rank}, {happened}, {copy.number_of('toUInt128(event_id)')}, status)",
        "first_run": f"if(status = 'RUNNING', toNullable({happened}), NULL)",
        "first_any": happened,
        "last_any": happened,
    }
    _insert(clickhouse, STEP_EXECUTIONS.table, STEP_EXECUTIONS.columns, executions, "steps", within)
    return int(clickhouse.query(f"SELECT count() FROM {SEED}.steps {within}")[0][0])


def count_span(clickhouse: ClickHouse, first_us: int, end_us: int, version: int) -> None:
    """Count minutes and error groups of the hours from one time to another."""
    hour = (
        first_us // 1_000_000 // HOUR
    )  # the hour in which an earlier span ends is counted again, with all of it
    while hour * HOUR * 1_000_000 < end_us:
        touched = [Touched((hour + each) * HOUR, 0, 0) for each in range(_HOURS_AT_ONCE)]
        times = spans("broker_time", touched, HOUR)
        count_minutes(clickhouse, times, version)
        count_error_minutes(clickhouse, times, version, Crowd.FEW)
        count_error_hours(clickhouse, spans("minute", touched, HOUR), version)
        hour += _HOURS_AT_ONCE


def _of_event(copy: Copy) -> dict[str, str]:
    return {
        "pipeline": copy.pipeline,
        "doc_id": copy.doc_id,
        "timestamp": copy.shifted("timestamp"),
        "broker_time": copy.shifted("broker_time"),
        "event_id": copy.uuid("event_id"),
        "execution_id": copy.uuid("execution_id"),
        "emitter_id": copy.emitter_id,
        "topic_id": "'scale'",
        "kafka_offset": f"kafka_offset + {copy.number} * 1000000",
    }


def _of_execution(copy: Copy) -> dict[str, str]:
    return {
        "pipeline": copy.pipeline,
        "doc_id": copy.doc_id,
        "execution_id": copy.uuid("execution_id"),
        "winner": f"(winner.1, {copy.shifted('winner.2')}, {copy.number_of('winner.3')}, winner.4)",
        "first_run": copy.shifted("first_run"),
        "first_any": copy.shifted("first_any"),
        "last_any": copy.shifted("last_any"),
    }


def _insert(
    clickhouse: ClickHouse,
    table: str,
    columns: Iterable[str],
    changed: dict[str, str],
    source: str,
    within: str = "",
) -> None:
    values = ", ".join(changed.get(column, column) for column in columns)
    # Names of the source's columns in an expression are the columns, whatever else is called so.
    clickhouse.command(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {SEED}.{source} {within}",
        settings={"max_insert_threads": 2, "prefer_column_name_to_alias": 1},
    )
