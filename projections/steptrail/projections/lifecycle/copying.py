"""Copies rows from the live tables to those of a rebuild, for offsets that the topic does not have any more.

By day and topic, so that each statement is short, and one that was cut off is repeated without writing a row twice: it
leaves out the offsets that are there. Rows of erased documents are left out as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.erased import Erasable
from steptrail.projections.delivery.projection import HELD, Projection
from steptrail.projections.lifecycle.folding import executions_of
from steptrail.projections.lifecycle.rebuilds import Rebuild
from steptrail.projections.tables.step_events import STEPS

_HAPPENED: Final = "least(timestamp, toDateTime64(broker_time, 6, 'UTC'))"
_ERASABLE: Final = "kafka_partition, kafka_offset, pipeline, doc_id, timestamp, broker_time"
_COLUMNS: Final = ", ".join(STEPS.columns)


def initial(rebuild: Rebuild) -> str:
    """SQL: a row of `steps` that has to be copied whatever the topic has: of another topic, or of other pipelines."""
    conditions = [f"topic_id != {_text(rebuild.topic_id)}"]
    if rebuild.pipelines:
        names = ", ".join(map(_text, rebuild.pipelines))
        spans = offsets({p: (0, cut) for p, cut in rebuild.cuts.items() if cut >= 0}, rebuild)
        conditions.append(f"(pipeline NOT IN ({names}) AND {spans})")
    return f"({' OR '.join(conditions)})"


def offsets(spans: Mapping[int, tuple[int, int]], rebuild: Rebuild) -> str:
    """SQL: a row of `steps` with one of these offsets of the topic: partition → first and last."""
    each = " OR ".join(
        f"(kafka_partition = {int(p)} AND kafka_offset BETWEEN {int(first)} AND {int(last)})"
        for p, (first, last) in sorted(spans.items())
    )
    return f"(topic_id = {_text(rebuild.topic_id)} AND ({each or '0'}))"


def rows_to_copy(clickhouse: ClickHouse, which: str) -> int:
    """How many rows of `steps` meet the condition."""
    [(count,)] = clickhouse.query(f"SELECT count() FROM steps WHERE {which}")
    return int(count)


def copy(
    clickhouse: ClickHouse, projection: Projection, prefix: str, which: str, done: Callable[[int], None]
) -> None:
    """Copy the rows of `steps` that meet the condition `which`, with their executions, under the claims held.

    Calls `done` with the number of rows after each piece. Raises ClaimLost when the claims are taken over.
    """
    for where, rows in _pieces(clickhouse, which):
        there = f"SELECT kafka_partition, kafka_offset FROM {prefix}steps WHERE {where}"
        source = f"(SELECT {_ERASABLE} FROM steps WHERE {where})"
        kept = f"{where} AND {Erasable(_HAPPENED).condition(source)}"
        projection.fill(
            f"INSERT INTO {prefix}steps ({_COLUMNS}) SELECT {_COLUMNS} FROM steps WHERE {HELD} AND {kept} "
            f"AND (kafka_partition, kafka_offset) NOT IN ({there})"
        )
        projection.fill(f"INSERT INTO {prefix}step_executions {executions_of('steps', f'{HELD} AND {kept}')}")
        done(rows)


def copy_sequences(projection: Projection, prefix: str) -> None:
    """Copy which events of each emitter have arrived: of what the topic has let go of, nothing else tells."""
    projection.fill(f"INSERT INTO {prefix}emitter_sequences SELECT * FROM emitter_sequences WHERE {HELD}")


def _pieces(clickhouse: ClickHouse, which: str) -> Iterator[tuple[str, int]]:
    """The condition of each piece, which names one topic and one day, and its rows."""
    found = clickhouse.query(
        "SELECT topic_id, toString(toDate(broker_time, 'UTC')) AS day, count() "
        f"FROM steps WHERE {which} GROUP BY topic_id, day ORDER BY day, topic_id"
    )
    for topic_id, day, rows in found:
        begin = f"toDateTime64('{day} 00:00:00', 3, 'UTC')"
        yield (
            f"(topic_id = {_text(str(topic_id))} AND broker_time >= {begin} "
            f"AND broker_time < {begin} + INTERVAL 1 DAY AND {which})",
            int(rows),
        )


def _text(value: str) -> str:
    return f"unhex('{value.encode().hex()}')"
