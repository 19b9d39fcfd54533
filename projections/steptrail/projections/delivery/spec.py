"""What a projection is: a staged record's columns and checks, and the tables that it is written to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from steptrail.projections.delivery.erased import Erasable


@dataclass(frozen=True, slots=True)
class Target:
    """A table that a batch is written to; `columns` maps its columns to expressions over the stage.

    `keeps_offsets`: its rows carry their Kafka offsets and broker time, so that the ledger can ask it
    what it has. One that does not must hold idempotent aggregates only: it may be given a record twice.
    `once_by` names the stage's column and the table's column that identify an event, for records that were sent
    again on purpose: of those, only events that are not there yet are written. With `EventOnce` that holds for all.
    `erasable` says how records of erased documents are known; None where its rows tell nothing of a document.
    `only` is SQL over the stage for the records that are written at all; empty: all of them.
    """

    table: str
    columns: Mapping[str, str]
    keeps_offsets: bool
    group_by: str = ""
    once_by: ResentOnce | EventOnce | None = None
    erasable: Erasable | None = None
    only: str = ""

    def insert(self, stage: str, conditions: list[str]) -> str:
        """The statement that copies the rows of table `stage` which meet all `conditions`."""
        grouped = f" GROUP BY {self.group_by}" if self.group_by else ""
        return (
            f"INSERT INTO {self.table} ({', '.join(self.columns)}) "
            f"SELECT {', '.join(self.columns.values())} FROM {stage} "
            f"WHERE {' AND '.join(conditions)}{grouped}"
        )


@dataclass(frozen=True, slots=True)
class ResentOnce:
    """How to see that an event is there already: its id, and what narrows the search (the table's primary key)."""

    staged_id: str
    stored_id: str
    narrowed_by: tuple[str, ...]

    def condition(self, table: str, stage: str) -> str:
        """SQL: the row was not sent again, or its event is neither in `table` nor earlier in `stage`.

        Exact because all records of an event have one key, hence one partition, hence one writer.
        """
        key = ", ".join(self.narrowed_by)
        return (
            f"(resent = 0 OR ({self.staged_id} NOT IN (SELECT {self.stored_id} FROM {table} "
            f"WHERE ({key}) IN (SELECT {key} FROM {stage} WHERE resent = 1) "
            f"AND {self.stored_id} IN (SELECT {self.staged_id} FROM {stage} WHERE resent = 1)) "
            f"AND {self.staged_id} NOT IN (SELECT {self.staged_id} FROM {stage} WHERE resent = 0) "
            f"AND (kafka_partition, kafka_offset) IN (SELECT kafka_partition, min(kafka_offset) FROM {stage} "
            f"WHERE resent = 1 GROUP BY kafka_partition, {self.staged_id})))"
        )


@dataclass(frozen=True, slots=True)
class EventOnce:
    """How to see that an event is there already, for a table that holds each event once, however it was sent twice.

    `staged` and `stored` are the same expressions over the stage and over the table: its primary key, which ends in
    the event's id. Of copies in one batch the first by broker time is written.
    """

    staged: tuple[str, ...]
    stored: tuple[str, ...]

    def condition(self, table: str, stage: str) -> str:
        """SQL: the event is neither in `table` nor earlier in `stage`."""
        staged, stored = ", ".join(self.staged), ", ".join(self.stored)
        return (
            f"(({staged}) NOT IN (SELECT {stored} FROM {table} WHERE ({stored}) IN (SELECT {staged} FROM {stage})) "
            "AND (kafka_partition, kafka_offset) IN (SELECT tupleElement(earliest, 2), tupleElement(earliest, 3) FROM "
            f"(SELECT min((broker_ms, kafka_partition, kafka_offset)) AS earliest FROM {stage} GROUP BY {staged})))"
        )


@dataclass(frozen=True, slots=True)
class ProjectionSpec:
    """A projection of one kind of record.

    `name` is its key in the ledger. `stage_columns` is the SQL of the stage's columns between the frame and the
    trailer, in the order of the record's fields, computed ones (MATERIALIZED) last. `checks` maps names to SQL
    that is true for a row that must not pass. `size` gives SQL for how many bytes the fields with these columns have
    in Avro; without it, numbers may be spelled longer than they need to be.
    """

    name: str
    stage_columns: str
    checks: Mapping[str, str]
    targets: tuple[Target, ...]
    size: Callable[[Collection[str]], str] | None = None
