"""Erasing documents on the real engine: gone from every table and file, and nothing brings them back."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.lifecycle import erasure as erasure_module
from steptrail.projections.lifecycle.erasure import begin, finish, remove, rows_of, selected
from steptrail.projections.lifecycle.erasures import ErasureState, erasures, unfinished
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES, OTHER_TABLES, document_tables
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import ONLY_IN_TEST_ALL
from support.erased_document import DOC, MINUTE, NEEDLES, content, naming, records_of_documents, without
from support.erasing import Records, engine_on_a_folder, erase
from support.projected import T0, event
from support.waiting import until


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[ClickHouse, Path]]:
    with engine_on_a_folder() as found:
        yield found


@pytest.fixture
def records(engine: tuple[ClickHouse, Path]) -> Records:
    return records_of_documents(engine[0])


def test_a_document_is_gone_from_every_table_and_all_else_is_as_if_it_had_never_been(
    records: Records,
) -> None:
    """Counts, groups, examples and executions are those of the other documents alone."""
    clickhouse = records.clickhouse
    records.project()
    named = naming(clickhouse)
    assert {*(table.name for table in document_tables()), "error_group_hours", "step_metric_rows"} <= {*named}
    erased = erase(clickhouse, ("p", DOC))
    assert naming(clickhouse) == []
    after = content(clickhouse)
    assert erased.rows == {
        "steps": 24,
        "step_executions": 24,
        "health_events": 24,
        "dead_letters": 1,
        "observations": 1,
        "error_group_hours": 1,
    }
    for name in ("erased_documents", "erasures"):
        clickhouse.command(f"TRUNCATE TABLE {name}")
    without(records).replay()
    assert after == content(clickhouse)


@ONLY_IN_TEST_ALL
def test_no_file_of_the_store_has_its_name_or_text(records: Records, engine: tuple[ClickHouse, Path]) -> None:
    """Once replaced parts are removed: neither data, nor mutations, nor what the engine keeps beside them."""
    clickhouse, folder = engine
    # As plain text in the files, so that it would be found.
    for table in EVENT_TABLES:
        clickhouse.command(f"ALTER TABLE {table.name} MODIFY SETTING default_compression_codec = 'NONE'")
    for column, kind in (("doc_id", "String"), ("error_message", "Nullable(String)")):
        clickhouse.command(f"ALTER TABLE steps MODIFY COLUMN {column} {kind} CODEC(NONE)")
    records.project()
    assert files_with(folder, NEEDLES) != []
    erase(clickhouse, ("p", DOC))
    # The engine removes replaced parts when it gets to it, at the latest after some minutes.
    until(lambda: files_with(folder, NEEDLES) == [], "store without the name", timeout=500)


def files_with(folder: Path, needles: tuple[bytes, ...]) -> list[str]:
    """The files below the folder that hold one of the texts; what is removed while we look holds none."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            with contextlib.suppress(FileNotFoundError):
                data = path.read_bytes()
                if any(needle in data for needle in needles):
                    found.append(str(path.relative_to(folder)))
    return found


@ONLY_IN_TEST_ALL
def test_neither_a_replay_nor_building_everything_anew_brings_it_back(records: Records) -> None:
    """The same records under a ledger that knows nothing of them: all but the document's are there again."""
    clickhouse = records.clickhouse
    records.project()
    erase(clickhouse, ("p", DOC))
    before = content(clickhouse)
    records.replay()
    assert naming(clickhouse) == []
    assert content(clickhouse) == before


@ONLY_IN_TEST_ALL
def test_an_event_that_happened_before_is_kept_out_when_it_comes_late_and_a_later_one_is_stored(
    records: Records,
) -> None:
    """What counts is when it happened, or when the broker had it if that is earlier."""
    clickhouse = records.clickhouse
    records.project()
    erased_to_us = erase(clickhouse, ("p", DOC)).erased_to_us
    hour = 60 * MINUTE
    late = event(S.SUCCESS, erased_to_us - T0 - 1, doc_id=DOC, execution=901, sequence=20_001)
    new = event(S.SUCCESS, erased_to_us - T0 + hour, doc_id=DOC, execution=902, sequence=20_002)
    records.events += [(late, erased_to_us + hour), (new, erased_to_us + hour)]
    records.project()
    stored = clickhouse.query(f"SELECT toString(execution_id) FROM steps WHERE doc_id = '{DOC}'")
    assert stored == [(str(uuid.UUID(bytes=new.execution_id)),)]
    for table in ("step_executions", "health_events"):
        assert clickhouse.query(f"SELECT count() FROM {table} WHERE doc_id = '{DOC}'") == [(1,)]


def test_an_event_of_an_erased_document_is_no_lost_event(records: Records) -> None:
    """Its number in the emitter's sequence is known, whether it was stored before or kept out."""
    clickhouse = records.clickhouse
    erase(clickhouse, ("p", DOC))
    records.project()
    [(arrived,)] = clickhouse.query("SELECT sum(arrived) FROM emitters")
    assert arrived == len(records.events)


class Slow(ClickHouse):
    """A store in which inserting into one table takes until the test says so: the statement runs, and has begun."""

    def __init__(self, clickhouse: ClickHouse, table: str) -> None:
        super().__init__(clickhouse.target)
        self._slow_table = table

    def command(self, sql: str, parameters: Any = None, **more: Any) -> None:
        if sql.startswith(f"INSERT INTO {self._slow_table} "):
            sql = f"{sql} AND sleepEachRow(0.02) = 0"
            more["settings"] = {
                **(more.get("settings") or {}),
                "function_sleep_max_microseconds_per_block": 600_000_000,
            }
        super().command(sql, parameters, **more)


def test_who_was_open_before_the_first_erasure_obeys_it(records: Records) -> None:
    """Its statements fail where something was erased after all; the batch is written without what was erased."""
    projection = records.projection(STEP_EVENTS)
    projection.open([0])
    assert projection.write(records.batch(records.events[:100])) == {0: 100}
    erase(records.clickhouse, ("p", DOC))
    assert projection.write(records.batch(records.events[100:], first=100)) == {0: len(records.events)}
    stored = records.clickhouse.query("SELECT doc_id, count() FROM steps GROUP BY doc_id ORDER BY doc_id")
    assert stored == [(doc, 24) for doc in sorted({f"doc-{n}" for n in range(20) if n != 7})]


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("spec", [STEP_EVENTS, HEALTH_EVENTS], ids=lambda spec: str(spec.name))
def test_a_batch_that_is_being_written_while_the_erasure_runs_leaves_nothing(
    records: Records, spec: ProjectionSpec
) -> None:
    """Its statement began before the tombstone and ends after it: the erasure waits for it, then deletes."""
    clickhouse = records.clickhouse
    table = spec.targets[0].table
    slow = Slow(clickhouse, table)
    projection = records.projection(spec, slow)
    projection.open([0])
    writing = threading.Thread(target=projection.write, args=(records.batch(records.events),))
    writing.start()
    try:
        running = (
            "SELECT count() FROM system.processes WHERE startsWith(query, {begin:String}) "
            "AND startsWith(Settings['log_comment'], 'steptrail/')"
        )
        until(lambda: clickhouse.query(running, {"begin": f"INSERT INTO {table} "}) == [(1,)])
        erase(clickhouse, ("p", DOC))
    finally:
        writing.join()
    slow.close()
    assert naming(clickhouse) == []
    [(others,)] = clickhouse.query(f"SELECT uniqExact(doc_id) FROM {table}")
    assert others == 19


@ONLY_IN_TEST_ALL
def test_counts_are_right_when_the_health_consumer_counts_the_same_minutes_meanwhile(
    records: Records,
) -> None:
    """It writes batch after batch, of the document's minutes among others, and counts after each."""
    clickhouse = records.clickhouse
    half = len(records.events) // 2
    # Every second event now, the others meanwhile: the same minutes are counted again and again.
    order = [*records.events[::2], *records.events[1::2]]
    records.events = order[:half]
    records.project()
    stop = threading.Event()
    failures: list[BaseException] = []

    def go_on() -> None:
        try:
            for upto in range(half, len(order) + 1, 8):
                records.events = order[:upto]
                records.project()
            while not stop.is_set():
                records.forget_marks()
                records.project()
        except BaseException as error:
            failures.append(error)

    going_on = threading.Thread(target=go_on)
    going_on.start()
    try:
        erase(clickhouse, ("p", DOC))
    finally:
        stop.set()
        going_on.join()
    assert failures == []
    assert naming(clickhouse) == []
    after = content(clickhouse)
    clickhouse.command("TRUNCATE TABLE erased_documents")
    without(records).replay()
    assert after == content(clickhouse)


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("cut_off_in", ["wait_for_writers", "hide", "recount", "take_out"])
def test_an_erasure_that_was_cut_off_is_finished_without_the_documents_name(
    records: Records, monkeypatch: pytest.MonkeyPatch, cut_off_in: str
) -> None:
    """Wherever it stopped, and the counts are right in the end."""
    clickhouse = records.clickhouse
    records.project()

    class CutOffError(Exception):
        pass

    def cut_off(*_: Any, **__: Any) -> None:
        raise CutOffError

    monkeypatch.setattr(erasure_module, cut_off_in, cut_off)
    with pytest.raises(CutOffError):
        erase(clickhouse, ("p", DOC))
    monkeypatch.undo()
    [left] = unfinished(clickhouse)
    remove(clickhouse, finish(clickhouse, left))
    assert unfinished(clickhouse) == []
    assert naming(clickhouse) == []
    after = content(clickhouse)
    clickhouse.command("TRUNCATE TABLE erased_documents")
    without(records).replay()
    assert after == content(clickhouse)


@ONLY_IN_TEST_ALL
def test_many_documents_of_several_pipelines_are_erased_at_once_and_what_is_counted_before(
    records: Records,
) -> None:
    """The count is by document and table; a document of the same name in another pipeline stays."""
    clickhouse = records.clickhouse
    records.events += [
        (event(S.SUCCESS, 5, doc_id=DOC, pipeline="q", execution=801), T0 + 5),
        (event(S.SUCCESS, 6, doc_id="doc-3", pipeline="q", execution=802), T0 + 6),
    ]
    records.project()
    wanted = [("p", DOC), ("q", "doc-3"), ("p", "unknown")]
    with selected(clickhouse, wanted) as selection:
        found = rows_of(clickhouse, selection)
        assert {document: rows["steps"] for document, rows in found.items()} == {
            ("p", DOC): 24,
            ("q", "doc-3"): 1,
        }
        erasure = begin(clickhouse, selection, {}, requested_by="x")
    assert remove(clickhouse, finish(clickhouse, erasure)).state is ErasureState.DONE
    left = clickhouse.query(
        "SELECT pipeline, count() FROM steps WHERE (pipeline, doc_id) "
        f"IN (('p', '{DOC}'), ('q', '{DOC}'), ('p', 'doc-3'), ('q', 'doc-3')) GROUP BY pipeline ORDER BY pipeline"
    )
    assert left == [("p", 24), ("q", 1)]


def test_the_record_says_who_asked_when_and_how_much_and_names_no_document(records: Records) -> None:
    """One erasure, in its last state."""
    clickhouse = records.clickhouse
    records.project()
    erased = erase(clickhouse, ("p", DOC))
    [kept] = erasures(clickhouse)
    assert (kept.request, kept.state, kept.requested_by, kept.reason, kept.documents, kept.pipelines) == (
        erased.request,
        ErasureState.DONE,
        "somebody@somewhere",
        "asked to",
        1,
        ("p",),
    )
    assert kept.rows["steps"] == 24
    assert kept.at is not None


def test_every_table_is_known_to_hold_events_or_not(engine: tuple[ClickHouse, Path]) -> None:
    """A table that a migration adds has to be named in `stored_tables`, with what erasure and retention need of it."""
    clickhouse, _ = engine
    made = {
        str(name)
        for (name,) in clickhouse.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
            "AND NOT startsWith(name, 'stage_')"
        )
    }
    assert made == {table.name for table in EVENT_TABLES} | {*OTHER_TABLES}
    with_documents = {
        str(name)
        for (name,) in clickhouse.query(
            "SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() "
            "AND position(concat(name, type), 'doc_id') > 0 AND table IN {made:Array(String)}",
            {"made": sorted(made)},
        )
    }
    assert with_documents <= {table.name for table in EVENT_TABLES if table.happened or table.minute}


def test_queries_by_time_have_their_projection_again(records: Records) -> None:
    """Hiding rows leaves the projection by time out of a part; taking them out brings it back."""
    clickhouse = records.clickhouse
    records.project()
    erase(clickhouse, ("p", DOC))
    [(rows,)] = clickhouse.query("SELECT count() FROM steps")
    projected = (
        "SELECT sum(rows) FROM system.projection_parts WHERE database = currentDatabase() AND table = 'steps' "
        "AND active AND name = 'p_by_time'"
    )
    assert clickhouse.query(projected) == [(rows,)]


def test_without_an_erasure_a_statement_looks_at_no_document(records: Records) -> None:
    """The condition is a constant then: the stage is not read for it."""
    clickhouse = records.clickhouse
    target = STEP_EVENTS.targets[0]
    assert target.erasable is not None
    clickhouse.command(
        "CREATE OR REPLACE TABLE stage_probe (pipeline String, doc_id String, timestamp Int64, broker_ms Int64, "
        "kafka_partition Int32, kafka_offset Int64) ENGINE = Memory"
    )

    def plan() -> str:
        lines: list[tuple[str]] = clickhouse.query(
            "EXPLAIN SELECT count() FROM stage_probe WHERE " + target.erasable.condition("stage_probe")  # type: ignore[union-attr]
        )
        return "\n".join(line for (line,) in lines)

    try:
        assert "Join" not in plan()
        clickhouse.command(
            "INSERT INTO erased_documents SELECT toFixedString('x', 16), now64(6), generateUUIDv4()"
        )
        assert "Join" in plan()
    finally:
        clickhouse.command("DROP TABLE stage_probe")
