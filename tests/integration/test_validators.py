"""What is an event to one is an event to all: the strict decoder, the quick look, and the engine itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steptrail.consumers.ingest.finding import fault_of
from steptrail.consumers.ingest.prefilter import suspects
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import BatchRejected, StoreRefused
from steptrail.projections.delivery.batch import Batch, BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.delivery.staging import staged
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US
from steptrail.schemas.ids import uuid7
from steptrail.schemas.values.json_text import MAX_JSON_DEPTH, MAX_JSON_DIGITS
from support.consumed import TIME_MS, event_value, message
from support.effort import ONLY_IN_TEST_ALL, effort
from support.odd_events import EVENTS, ROWS, VALUES, damaged
from support.stack import Stack, new_workspace

SCHEMAS = WriterSchemas()
SEARCH = settings(
    derandomize=True,
    max_examples=effort(15, 40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[ClickHouse]:
    with new_workspace(stack) as workspace, connect(workspace) as clickhouse:
        yield clickhouse


def batch_of(values: Sequence[bytes]) -> Batch:
    builder = BatchBuilder()
    for offset, value in enumerate(values):
        builder.add(0, offset, TIME_MS, value)
    return builder.build()


def takes(store: ClickHouse, values: Sequence[bytes]) -> bool:
    try:
        with staged(store, STEP_EVENTS, batch_of(values)):
            return True
    except BatchRejected:
        return False


def all_agree(store: ClickHouse, values: Sequence[bytes]) -> None:
    """The events are taken together, and each of the others is refused."""
    faults = [fault_of(message(0, offset, value), SCHEMAS) for offset, value in enumerate(values)]
    assert suspects(values) == [number for number, fault in enumerate(faults) if fault is not None]
    events = [value for value, fault in zip(values, faults, strict=True) if fault is None]
    if events and not takes(store, events):
        assert [value for value in events if not takes(store, [value])] == []
        raise AssertionError("events that are taken one by one are refused together")
    odd = [(value, fault) for value, fault in zip(values, faults, strict=True) if fault is not None]
    assert [(value, str(fault)) for value, fault in odd if takes(store, [value])] == []


@pytest.mark.thorough
@SEARCH
@given(st.lists(VALUES, min_size=1, max_size=30))
def test_they_agree_at_and_beyond_every_limit(store: ClickHouse, values: list[bytes]) -> None:
    """Numbers, doubles, JSON, texts, unions and fixed fields, spelled well and badly."""
    all_agree(store, values)


@ONLY_IN_TEST_ALL
@pytest.mark.thorough
@SEARCH
@given(st.data())
def test_they_agree_on_damaged_bytes(store: ClickHouse, data: st.DataObject) -> None:
    """Bytes changed, cut, put in or doubled anywhere."""
    all_agree(store, [damaged(data.draw(EVENTS), data) for _ in range(data.draw(st.integers(1, 15)))])


@pytest.mark.thorough
@SEARCH
@given(st.lists(ROWS, min_size=1, max_size=100))
def test_the_store_names_the_rows_that_fail(store: ClickHouse, values: list[bytes]) -> None:
    """Where each record ends where it should, all that fail a check are named in one go, and no others."""
    faults = [fault_of(message(0, offset, value), SCHEMAS) for offset, value in enumerate(values)]
    named: set[tuple[int, int]] = set()
    with staged(store, STEP_EVENTS, batch_of(values), named.update) as stage:
        [left] = store.query(f"SELECT arraySort(groupArray(kafka_offset)) FROM {stage.table}")
        assert store.query(f"SELECT {stage.whole}") == [(1,)]
    assert named == {(0, offset) for offset, fault in enumerate(faults) if fault is not None}
    assert left == ([offset for offset, fault in enumerate(faults) if fault is None],)


@pytest.mark.thorough
@SEARCH
@given(st.lists(VALUES | EVENTS, min_size=1, max_size=60))
def test_without_a_look_into_texts_the_store_names_the_rest(store: ClickHouse, values: list[bytes]) -> None:
    """What such a prefilter leaves over is in its place for the store, which names what else is wrong."""
    faults = [fault_of(message(0, offset, value), SCHEMAS) for offset, value in enumerate(values)]
    found = {(0, offset) for offset in suspects(values, texts=False)}
    batch = batch_of(values).without(found)
    if batch.rows:
        with staged(store, STEP_EVENTS, batch, found.update):
            pass
    assert found == {(0, offset) for offset, fault in enumerate(faults) if fault is not None}


def test_what_is_valid_reaches_every_table(store: ClickHouse) -> None:
    """At the ends of all limits, at whatever broker time: none is refused later, where nobody looks for it."""
    nested = '{"a":' * MAX_JSON_DEPTH + "1" + "}" * MAX_JSON_DEPTH
    values = [
        *(event_value(timestamp=time) for time in (MIN_TIMESTAMP_US, -1, 0, MAX_TIMESTAMP_US)),
        *(event_value(attempt=attempt) for attempt in (1, 2**31 - 1)),
        *(event_value(sequence=sequence) for sequence in (0, 2**62 - 1)),
        *(event_value(duration_ms=ms) for ms in (-1.7976931348623157e308, 5e-324, 1.7976931348623157e308)),
        *(event_value(details=text, metrics=text) for text in (nested, '{"a":%s}' % ("9" * MAX_JSON_DIGITS))),
        *(event_value(doc_id=text, error_message=text) for text in ("", "\x00", "x" * 100_000, "\U0010ffff")),
    ]
    builder = BatchBuilder()
    for offset, value in enumerate(values):
        builder.add(0, offset, (TIME_MS, 0, -(2**63), 2**63 - 1)[offset % 4], value)
    batch = builder.build()
    for spec in (STEP_EVENTS, HEALTH_EVENTS):
        projection = Projection(store, spec, topic="made-up", topic_id="made-up")
        projection.open([0])
        assert projection.write(batch) == {0: len(values)}


def test_rows_that_are_set_aside_are_as_if_they_had_not_been_sent(store: ClickHouse) -> None:
    """An event that was sent again is written although one of them has its id; the ledger does not count them."""
    once = uuid7()
    builder = BatchBuilder()
    builder.add(0, 0, TIME_MS, event_value(event_id=once, attempt=0))
    builder.add(0, 1, TIME_MS, event_value(event_id=once), True)
    builder.add(0, 2, TIME_MS, event_value(details="{"))
    named: dict[tuple[int, int], str] = {}
    for spec, table in ((STEP_EVENTS, "steps"), (HEALTH_EVENTS, "health_events")):
        projection = Projection(store, spec, topic="set-aside", topic_id="set-aside")
        projection.open([0])
        assert projection.write(builder.build(), named.update) == {0: 3}
        assert named == {(0, 0): "attempt", (0, 2): "details"}
        assert store.query(f"SELECT kafka_offset FROM {table} WHERE topic_id = 'set-aside'") == [(1,)]
        ledger = "SELECT first_offset, last_offset, rows FROM projection_ledger WHERE topic_id = 'set-aside'"
        assert store.query(f"{ledger} AND projection_name = '{spec.name}'") == [(0, 2, 1)]


def test_nothing_is_written_of_a_batch_whose_rows_cannot_be_set_aside(store: ClickHouse) -> None:
    """While the dead-letter topic is away, the tables and the ledger stay as they are, and no stage is left."""
    builder = BatchBuilder()
    builder.add(0, 0, TIME_MS, event_value(attempt=0))
    builder.add(0, 1, TIME_MS, event_value())
    projection = Projection(store, STEP_EVENTS, topic="away", topic_id="away")
    projection.open([0])

    def away(_: object) -> None:
        raise InfrastructureError("away")

    with pytest.raises(InfrastructureError, match="away"):
        projection.write(builder.build(), away)
    for table in ("steps", "projection_ledger"):
        assert store.query(f"SELECT count() FROM {table} WHERE topic_id = 'away'") == [(0,)]
    stages = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'stage%'"
    assert store.query(stages) == [(0,)]


class Noting(ClickHouse):
    """A connection that keeps the statements of a batch, but for the values in them."""

    def __init__(self, store: ClickHouse) -> None:
        super().__init__(store.target)
        self.statements: list[str] = []

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        self.statements.append(sql)
        return super().query(sql, parameters, settings)

    def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.statements.append(sql)
        super().command(sql, parameters, data=data, settings=settings)


@pytest.mark.parametrize(("spec", "statements"), [(STEP_EVENTS, 8), (HEALTH_EVENTS, 6)])
def test_a_checked_batch_takes_few_statements(
    store: ClickHouse, spec: ProjectionSpec, statements: int
) -> None:
    """Its checks are not planned again: at low rates a batch costs what its statements cost."""
    noting = Noting(store)
    projection = Projection(noting, spec, topic="checked", topic_id="checked")
    projection.open([0])
    noting.statements.clear()
    batch = replace(batch_of([event_value() for _ in range(5)]), checked=True)
    assert projection.write(batch) == {0: 5}
    assert len(noting.statements) == statements
    assert not [sql for sql in noting.statements if "isValidJSON" in sql]
    for target in spec.targets:
        if target.keeps_offsets:
            offsets = f"SELECT kafka_offset FROM {target.table} WHERE topic_id = 'checked' ORDER BY 1"
            assert store.query(offsets) == [(n,) for n in range(5)]


def test_a_checked_batch_that_is_not_in_its_place_is_not_written(store: ClickHouse) -> None:
    """Nothing of it, whatever was believed of it; and tried again, it is checked, so that the bad one is found."""
    projection = Projection(store, STEP_EVENTS, topic="misplaced", topic_id="misplaced")
    projection.open([0])
    batch = replace(batch_of([event_value() for _ in range(5)]), checked=True, guard=b"another!")
    with pytest.raises(StoreRefused):
        projection.write(batch)
    projection.open([0])
    with pytest.raises(BatchRejected, match="guard in 5"):
        projection.write(batch)
    for table in ("steps", "projection_ledger"):
        assert store.query(f"SELECT count() FROM {table} WHERE topic_id = 'misplaced'") == [(0,)]
    assert projection.write(replace(batch_of([event_value()]), checked=True)) == {0: 1}
