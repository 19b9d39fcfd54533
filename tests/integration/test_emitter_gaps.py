"""Lost events are known: who lost which, by reports and sequence numbers together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from confluent_kafka import Message, Producer

from steptrail.producers import StepEmitter
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas import ProcessingStatus, Settings, Topics
from steptrail.schemas.emitter_report import EmitterReport, ReportKind, encode_report
from support.consumed import event_value
from support.emitter_reports import reports_of
from support.projecting import produce, projected, projecting
from support.stack import environ_of
from support.waiting import PATIENCE_S, until

SUCCESS = ProcessingStatus.SUCCESS
LIMITED = {"message.max.bytes": "2000"}
LOST = (3, 4, 7, 64, 198, 199)


def rows(store: ClickHouse, sql: str, emitter_id: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in store.query(sql, {"id": emitter_id})]


def gaps_of(store: ClickHouse, emitter_id: str) -> list[tuple[Any, ...]]:
    sql = "SELECT first_sequence, last_sequence, events FROM emitter_gaps WHERE emitter_id = {id:String} ORDER BY 1"
    return rows(store, sql, emitter_id)


def emitter_of(store: ClickHouse, emitter_id: str) -> list[tuple[Any, ...]]:
    sql = """SELECT arrived, accepted, delivered, failed, dropped, missing, state
             FROM emitters WHERE emitter_id = {id:String}"""
    return rows(store, sql, emitter_id)


def arrived(store: ClickHouse, emitter_id: str) -> int:
    found = emitter_of(store, emitter_id)
    return int(found[0][0]) if found else 0


def test_who_lost_what_is_exact(workspace: Settings) -> None:
    """Dropped events are counted by their emitter and seen as gaps, at the end too; a late one fills its gap."""
    with StepEmitter(workspace, kafka_options=LIMITED) as emitter:
        for number in range(200):
            text = "x" * (3000 if number in LOST else 3)
            emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=SUCCESS, details={"text": text})
        assert emitter.flush(PATIENCE_S) == 0
    name = emitter.emitter_id.hex()
    with projected(workspace) as store, projecting(workspace):
        sql = "SELECT kind, accepted, dropped, pending, reasons FROM emitter_reports WHERE emitter_id = {id:String}"

        def closed() -> list[tuple[Any, ...]]:
            return [row for row in rows(store.clickhouse, sql, name) if row[0] == "CLOSED"]

        until(closed, "closing report")
        until(lambda: arrived(store.clickhouse, name) == 194, "projection")
        ((*counts, reasons),) = closed()
        assert counts == ["CLOSED", 200, 6, 0]
        # Beside the losses, the report may carry what was measured of the clock.
        assert json.loads(reasons).items() >= {"failed": {}, "dropped": {"too_large": 6}}.items()
        assert emitter_of(store.clickhouse, name) == [(194, 200, 194, 0, 6, 6, "closed")]
        assert gaps_of(store.clickhouse, name) == [(3, 4, 2), (7, 7, 1), (64, 64, 1), (198, 199, 2)]

        produce(workspace, [event_value(emitter_id=emitter.emitter_id, sequence=4)])
        produce(workspace, [event_value(emitter_id=emitter.emitter_id, sequence=199)])
        until(lambda: arrived(store.clickhouse, name) == 196, "late events")
        assert emitter_of(store.clickhouse, name)[0][5] == 4
        assert gaps_of(store.clickhouse, name) == [(3, 3, 1), (7, 7, 1), (64, 64, 1), (198, 198, 1)]


WORKER = """
import sys, time
from steptrail.producers import emit_only
from steptrail.schemas import ProcessingStatus
emitter = emit_only(kafka_options={"message.max.bytes": "2000"})
for number in range(30):
    text = "x" * (3000 if number == 10 else 3)
    emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.SUCCESS, details={"text": text})
assert emitter.flush(60) == 0
print(emitter.emitter_id.hex(), flush=True)
time.sleep(600)
"""


def test_a_killed_worker_is_known_up_to_where_it_spoke(workspace: Settings) -> None:
    """Without a last word, nobody can say what came after the last event: that is what the table says."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], env=environ_of(workspace), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            name = process.stdout.readline().strip()
            assert len(name) == 16
            until(lambda: name in reports_of(workspace), "first report")
        finally:
            os.kill(process.pid, signal.SIGKILL)
    with projected(workspace) as store, projecting(workspace):
        until(lambda: arrived(store.clickhouse, name) == 29, "projection")
        sql = "SELECT kind FROM emitter_reports WHERE emitter_id = {id:String}"
        until(lambda: rows(store.clickhouse, sql, name), "report")
        assert emitter_of(store.clickhouse, name)[0][-2:] == (1, "unknown after sequence 29")
        assert gaps_of(store.clickhouse, name) == [(10, 10, 1)]


def test_what_is_no_report_is_passed_over(workspace: Settings) -> None:
    """Rubbish on the topic of emitters stops nothing; what follows it is projected."""
    topic = Topics.from_settings(workspace).emitters.name
    report = EmitterReport(
        b"emitter1", "p", "w:1", ReportKind.CLOSED, 1_760_000_000_000_000, 2, 0, 0, 0, 2, 0, "{}"
    )
    good = encode_report(report)
    told: list[Message] = []
    producer = Producer(workspace.kafka_config())
    for value in (None, b"", b"rubbish", good[:-1], good + b"\0", event_value(), good):
        producer.produce(topic, value, on_delivery=lambda _, message: told.append(message))
    assert producer.flush(PATIENCE_S) == 0
    assert len(told) == 7
    with projected(workspace) as store, projecting(workspace):
        sql = "SELECT emitter_id, kafka_offset FROM emitter_reports"
        found = until(lambda: store.clickhouse.query(sql), "report")
        assert [tuple(row) for row in found] == [(b"emitter1".hex(), 6)]
        # Never arrived, and said to have been dropped: both are the gap.
        assert gaps_of(store.clickhouse, b"emitter1".hex()) == [(0, 1, 2)]
