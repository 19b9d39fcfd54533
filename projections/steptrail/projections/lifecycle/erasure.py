"""Erasing documents: from every table, for good, whatever is written meanwhile and whoever replays the topic.

1. **Tombstones** are written. No statement that begins later takes in a record of the documents (`delivery.erased`).
2. **Wait** for writing statements that began before. What the documents have in the tables is final then.
3. **Hide** their rows from every query, and count anew the minutes and error groups that they were part of.
4. **Take out** the hidden rows: the parts are written anew without them.

Each step is written down once it is done, and repeating one changes nothing: an erasure that was cut off anywhere is
finished by `finish`, which needs no document's name. None of the statements that ClickHouse keeps (mutations) has one.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

import orjson

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.concurrency import together
from steptrail.projections.clickhouse.queries import stored
from steptrail.projections.clickhouse.running import wait_for_writers
from steptrail.projections.delivery.erased import document_hash
from steptrail.projections.delivery.holds import TablesHeld, standing
from steptrail.projections.delivery.staging import drop_abandoned, drop_quietly
from steptrail.projections.lifecycle.erasures import Erasure, ErasureState, write
from steptrail.projections.lifecycle.folding import executions_of
from steptrail.projections.lifecycle.mutations import hide, take_out
from steptrail.projections.lifecycle.recounting import recount
from steptrail.projections.lifecycle.shadow_tables import shadow_event_tables, shadow_prefixes
from steptrail.projections.lifecycle.stored_tables import (
    EVENT_TABLES,
    HEALTH_EVENTS,
    STEPS,
    EventTable,
    document_tables,
)
from steptrail.projections.tables.step_events import STEP_EVENTS

Document = tuple[str, str]
"""Pipeline and document id."""

GROUPS: Final = "error_group_hours"
_AT_ONCE: Final = 10_000
_BY_MINUTE: Final = (STEPS, HEALTH_EVENTS)


@contextmanager
def selected(clickhouse: ClickHouse, documents: Collection[Document]) -> Iterator[str]:
    """A table in memory, dropped at the end, with these documents as they are stored: `pipeline` and `doc_id`.

    Yields its name. So no statement that does more than insert into it holds a document's name.
    """
    drop_abandoned(clickhouse, "erasure")
    table = f"stage_erasure_{uuid.uuid4().hex}"
    rows = list(dict.fromkeys((stored(p, clickhouse), stored(d, clickhouse)) for p, d in documents))
    clickhouse.command(f"CREATE TABLE {table} (pipeline String, doc_id String) ENGINE = Memory")
    try:
        for begin in range(0, len(rows), _AT_ONCE):
            lines = [
                orjson.dumps({"pipeline": pipeline, "doc_id": doc_id})
                for pipeline, doc_id in rows[begin : begin + _AT_ONCE]
            ]
            clickhouse.command(f"INSERT INTO {table} FORMAT JSONEachRow", data=b"\n".join(lines))
        yield table
    finally:
        drop_quietly(clickhouse, table)


def rows_of(clickhouse: ClickHouse, selection: str) -> dict[Document, dict[str, int]]:
    """How many rows each document of a `selected` table has, by table; of error groups, how many name it.

    Documents of which nothing is stored are left out.
    """
    found: dict[Document, dict[str, int]] = defaultdict(dict)
    these = f"IN (SELECT pipeline, doc_id FROM {selection})"
    asked = {
        table.name: f"SELECT pipeline, doc_id, count() FROM {table.name} WHERE (pipeline, doc_id) {these} "
        "GROUP BY pipeline, doc_id"
        for table in document_tables()
    }
    asked[GROUPS] = (
        f"SELECT pipeline, example.doc_id, uniqExact(group_id) FROM {GROUPS} FINAL ARRAY JOIN examples AS example "
        f"WHERE (pipeline, example.doc_id) {these} GROUP BY pipeline, example.doc_id"
    )
    for table, sql in asked.items():
        for pipeline, doc_id, count in clickhouse.query(sql):
            found[str(pipeline), str(doc_id)][table] = int(count)
    return dict(found)


def begin(
    clickhouse: ClickHouse,
    selection: str,
    rows: Mapping[str, int],
    *,
    requested_by: str,
    reason: str = "",
    not_before_us: int = 0,
) -> Erasure:
    """Write tombstones for the documents of a `selected` table, and down that their erasure was begun.

    `rows` are counts by table, for the record. What happened or arrived up to now by the store's clock, or up to
    `not_before_us` (microseconds since 1970) where that is later, is erased.
    """
    request = uuid.uuid4()
    [(documents, pipelines, now_us)] = clickhouse.query(
        f"SELECT count(), arraySort(groupUniqArray(pipeline)), toUnixTimestamp64Micro(now64(6)) FROM {selection}"
    )
    erased_to_us = max(int(now_us), not_before_us)
    erasure = Erasure(
        request,
        ErasureState.BEGUN,
        tuple(pipelines),
        int(documents),
        rows,
        erased_to_us,
        requested_by,
        reason,
    )
    clickhouse.command(
        "INSERT INTO erased_documents (document, erased_to, request) "
        f"SELECT {document_hash()}, fromUnixTimestamp64Micro({erased_to_us}, 'UTC'), toUUID('{request}') "
        f"FROM {selection}"
    )
    write(clickhouse, erasure)
    return erasure


def finish(clickhouse: ClickHouse, erasure: Erasure, selection: str | None = None) -> Erasure:
    """Go on with an erasure from the state that it came to until no query shows its documents.

    With the `selection` that it was begun with, where that is still there, they are found faster. Returns it in state
    HIDDEN, or DONE where it was done already. Raises InfrastructureError when the store is away or does not come to an
    end; calling it again goes on.
    """
    _require_unheld(clickhouse)
    whose = _hashed(erasure)
    if selection is not None:
        whose = f"(pipeline, doc_id) IN (SELECT pipeline, doc_id FROM {selection})"
    if erasure.state is ErasureState.BEGUN:
        wait_for_writers(clickhouse)
        minutes = clickhouse.query(
            " UNION DISTINCT ".join(
                f"SELECT pipeline, toUnixTimestamp(toStartOfMinute(broker_time)) FROM {table.name} "
                f"WHERE {_before(table, erasure)} AND {whose}"
                for table in _BY_MINUTE
            )
        )
        erasure = erasure.now(
            ErasureState.FOUND, minutes=tuple((str(pipeline), int(begin)) for pipeline, begin in minutes)
        )
        write(clickhouse, erasure)
    if erasure.state is ErasureState.FOUND:
        prefixes = shadow_prefixes(clickhouse)
        tables = (*document_tables(), *shadow_event_tables(prefixes))
        together(partial(hide, clickhouse, table.name, _theirs(table, erasure)) for table in tables)
        for prefix in ("", *prefixes):
            # What is left in `steps` are events that came after the erasure: their executions stand on them alone.
            again = executions_of(f"{prefix}steps", whose)
            clickhouse.command(f"INSERT INTO {prefix}step_executions {again}")
        recount(clickhouse, erasure.request)
        erasure = erasure.now(ErasureState.HIDDEN)
        write(clickhouse, erasure)
    return erasure


def remove(clickhouse: ClickHouse, erasure: Erasure) -> Erasure:
    """Write the parts anew that have hidden rows, after `finish`. Returns it in state DONE."""
    if erasure.state is not ErasureState.DONE:
        _require_unheld(clickhouse)
        for table in (*EVENT_TABLES, *shadow_event_tables(shadow_prefixes(clickhouse))):
            take_out(clickhouse, table)
        erasure = erasure.now(ErasureState.DONE)
        write(clickhouse, erasure)
    return erasure


def _require_unheld(clickhouse: ClickHouse) -> None:
    """Raise TablesHeld while tables are exchanged: rows would be hidden in one set of them alone.

    Called after the erasure was written down, so that an exchange which begins later sees it and does not go on.
    """
    if (found := standing(clickhouse, STEP_EVENTS.name)) is not None:
        raise TablesHeld(f"the erasure waits for an exchange of tables: {found.reason}")


def _hashed(erasure: Erasure) -> str:
    """SQL: the row is of one of the documents."""
    pipelines = ", ".join(f"unhex('{name.encode().hex()}')" for name in erasure.pipelines)
    return (
        f"pipeline IN ({pipelines}) AND {document_hash()} IN "
        f"(SELECT document FROM erased_documents WHERE request = toUUID('{erasure.request}'))"
    )


def _before(table: EventTable, erasure: Erasure) -> str:
    """SQL: the row tells of what happened, or arrived, before the erasure."""
    return f"{table.happened} <= fromUnixTimestamp64Micro({erasure.erased_to_us}, 'UTC')"


def _theirs(table: EventTable, erasure: Erasure) -> str:
    """SQL: the row is of one of the documents, and tells of what is to be erased; for statements that are kept.

    Once the minutes are known, most rows of a large table are told apart by them, without a hash.
    """
    theirs = f"{_before(table, erasure)} AND {_hashed(erasure)}"
    if table not in _BY_MINUTE:
        return theirs
    minutes = (
        f"SELECT one.2 FROM erasures ARRAY JOIN minutes AS one WHERE request = toUUID('{erasure.request}')"
    )
    return f"toStartOfMinute(broker_time) IN ({minutes}) AND {theirs}"
