"""How live tables and those beside them differ: by day, pipeline and status, with examples and reasons.

Compared are events that both ledgers cover, each once. Their places in Kafka do not count: of an event that was sent
twice, one table may have merged one copy away and the other not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.erased import document_hash
from steptrail.projections.lifecycle.rebuilds import Rebuild
from steptrail.projections.tables.step_events import STEPS

_PLACE: Final = ("broker_time", "topic_id", "kafka_partition", "kafka_offset")
CONTENT: Final = tuple(name for name in STEPS.columns if name not in _PLACE)
_HASH: Final = (
    "cityHash64(" + ", ".join(f"isNull({name}), ifNull(toString({name}), '')" for name in CONTENT) + ")"
)
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """A day (YYYY-MM-DD, UTC), pipeline and status whose events differ.

    `live` and `other` are counts. `only_live` events are in the live table alone, `only_other` ones in the other one
    alone, `changed` ones in both, but not the same.
    """

    day: str
    pipeline: str
    status: str
    live: int
    other: int
    only_live: int
    only_other: int
    changed: int


@dataclass(frozen=True, slots=True)
class Example:
    """An event that differs, and why, as far as can be told."""

    pipeline: str
    doc_id: str
    step_name: str
    status: str
    event_id: str
    kafka_partition: int
    kafka_offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Diff:
    """All differences, with some examples of each; `events` of the live tables were compared."""

    events: int
    differences: tuple[Difference, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    table: str
    cut: str

    def groups(self, clickhouse: ClickHouse) -> dict[tuple[str, str, str], tuple[int, int]]:
        found = clickhouse.query(
            f"SELECT toString(toDate(broker_time, 'UTC')) AS day, pipeline, toString(status), count(), sum({_HASH}) "
            f"FROM {self.table} FINAL WHERE {self.cut} GROUP BY day, pipeline, status"
        )
        return {(str(d), str(p), str(s)): (int(n), int(checksum)) for d, p, s, n, checksum in found}

    def not_in(self, clickhouse: ClickHouse, other: _Side, group: tuple[str, str, str], same: bool) -> Any:
        """How many events of a group are not in the other table (`same`: are there, but not the same); some of them."""
        day, pipeline, status = group
        of_pipeline = "WHERE pipeline = {pipeline:String}"
        ids = f"(doc_id, event_id) NOT IN (SELECT doc_id, event_id FROM {other.table} {of_pipeline})"
        if same:
            hashed = f"(doc_id, event_id, {_HASH})"
            ids = f"NOT ({ids}) AND {hashed} NOT IN (SELECT doc_id, event_id, {_HASH} FROM {other.table} {of_pipeline})"
        columns = (
            "pipeline, doc_id, step_name, toString(status), toString(event_id), kafka_partition, kafka_offset"
        )
        [(count, some)] = clickhouse.query(
            f"SELECT count(), groupArray({_EXAMPLES})(({columns})) FROM {self.table} FINAL {of_pipeline} "
            f"AND toDate(broker_time, 'UTC') = {{day:Date}} AND status = {{status:String}} AND {self.cut} AND {ids}",
            {"pipeline": pipeline, "day": day, "status": status},
        )
        return int(count), list(some)


def diff(
    clickhouse: ClickHouse,
    rebuild: Rebuild,
    shadow: str,
    marks: Mapping[int, int],
    first_offsets: Mapping[int, int],
) -> Diff:
    """Compare table `shadow` with `steps`, up to the last offset that both have of each partition (`marks`).

    `first_offsets` are those that the topic still has, for the reasons.
    """
    topic = f"unhex('{rebuild.topic_id.encode().hex()}')"
    numbers = ", ".join(str(int(p)) for p in marks)
    last = ", ".join(str(int(mark)) for mark in marks.values())
    cut = f"(topic_id != {topic} OR kafka_offset <= transform(kafka_partition, [{numbers}], [{last}], toInt64(-1)))"
    live, rebuilt = _Side("steps", cut), _Side(shadow, cut)
    left, right = live.groups(clickhouse), rebuilt.groups(clickhouse)
    differences, examples = [], []
    for group in sorted({*left, *right}):
        if left.get(group) == right.get(group):
            continue
        missing, gone = live.not_in(clickhouse, rebuilt, group, same=False)
        added, new = rebuilt.not_in(clickhouse, live, group, same=False)
        changed, other = live.not_in(clickhouse, rebuilt, group, same=True)
        if not (missing or added or changed):
            continue  # an event that was sent again, of which one copy lies beyond the cut
        counts = left.get(group, (0, 0))[0], right.get(group, (0, 0))[0]
        differences.append(Difference(*group, *counts, missing, added, changed))
        examples += [Example(*[*one, _why_missing(clickhouse, one, first_offsets)]) for one in gone]
        examples += [Example(*[*one, _why_added(clickhouse, rebuild, one)]) for one in new]
        examples += [Example(*[*one, _why_changed(clickhouse, shadow, one)]) for one in other]
    return Diff(sum(count for count, _ in left.values()), tuple(differences), tuple(examples))


def _why_missing(clickhouse: ClickHouse, one: tuple[Any, ...], first_offsets: Mapping[int, int]) -> str:
    if _erased(clickhouse, one):
        return "only in the live table: its document is erased"
    if one[6] < first_offsets.get(one[5], 0):
        return "only in the live table: it has expired from the topic"
    return "only in the live table: the topic has it, but this version does not read it as an event"


def _why_added(clickhouse: ClickHouse, rebuild: Rebuild, one: tuple[Any, ...]) -> str:
    [(letters,)] = clickhouse.query(
        "SELECT count() FROM dead_letters WHERE topic = {topic:String} AND source_partition = {partition:Int32} "
        "AND source_offset = {offset:Int64}",
        {"topic": rebuild.topic, "partition": one[5], "offset": one[6]},
    )
    if letters:
        return "only in the other table: it was a dead letter, and this version reads it"
    if _erased(clickhouse, one):
        return "only in the other table: its document is erased; the erasure is not finished"
    return "only in the other table: removed by age, deleted or lost in the live one"


def _why_changed(clickhouse: ClickHouse, shadow: str, one: tuple[Any, ...]) -> str:
    columns = ", ".join(f"toString({name})" for name in CONTENT)
    rows = [
        clickhouse.query(
            f"SELECT {columns} FROM {table} WHERE pipeline = {{pipeline:String}} AND doc_id = {{doc:String}} "
            "AND event_id = {event:UUID} ORDER BY broker_time DESC LIMIT 1",
            {"pipeline": one[0], "doc": one[1], "event": one[4]},
        )
        for table in ("steps", shadow)
    ]
    if not all(rows):
        return "changed"
    names = [name for name, a, b in zip(CONTENT, rows[0][0], rows[1][0], strict=True) if a != b]
    return f"changed: {', '.join(names)}; written by another version, or altered"


def _erased(clickhouse: ClickHouse, one: tuple[Any, ...]) -> bool:
    [(count,)] = clickhouse.query(
        "SELECT count() FROM erased_documents WHERE document = "
        + document_hash("{pipeline:String}", "{doc:String}"),
        {"pipeline": one[0], "doc": one[1]},
    )
    return bool(count)
