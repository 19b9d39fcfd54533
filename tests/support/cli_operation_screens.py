"""What the commands about the running of steptrail show: emitters, lag, dead letters, what is removed, the stack."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from steptrail.consumers.dlq.explain import explain
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import Member
from steptrail.consumers.kafka.topic_retention import TopicRetention
from steptrail.consumers.loop.lag import LagReport, PartitionLag
from steptrail.deploy.cli.commands import (
    emitters,
    erase,
    lag,
    retention,
    stack,
)
from steptrail.deploy.cli.commands.dlq import dlq, show
from steptrail.deploy.cli.sql import formats
from steptrail.deploy.cli.sql.formats import Format
from steptrail.deploy.demo.report import print_report
from steptrail.deploy.stack.status import PartStatus, StackStatus
from steptrail.deploy.terminal.output import note
from steptrail.projections.delivery.topic_gaps import TopicGap
from steptrail.projections.lifecycle.erasures import Erasure, ErasureState
from steptrail.projections.lifecycle.retention import Expired, Kept, Removed
from steptrail.projections.lifecycle.retention_rules import RetentionRule, RetentionRules
from steptrail.projections.reading.emitters import EmitterState
from steptrail.projections.stores.dead_letter_store import StoredLetter
from support.cli_screen_texts import CJK, ID, NOW, PDF_ERROR, SCAN, ago


def _emitters() -> None:
    def state(worker: str, offset_ms: float | None, dropped: int, kind: str) -> EmitterState:
        return EmitterState(
            emitter_id="018f2c3e7d1b7c3a",
            worker=worker,
            pipeline="invoices",
            state=kind,
            arrived=1_204_000,
            accepted=1_204_311 + dropped,
            delivered=1_204_311,
            failed=0,
            maybe_delivered=0,
            dropped=dropped,
            pending=0,
            missing=0,
            reasons={},
            last_event_at=ago(minutes=1),
            last_report_at=ago(minutes=1),
            clock_offset_ms=offset_ms,
            clock_uncertainty_ms=None if offset_ms is None else 12.0,
        )

    emitters._show(
        [
            state("ocr-worker-7d9c5b6f4-x2x9k.prod.example.com:4711", 90_004.0, 0, "running"),
            state("build-7:31", 3.0, 17, "closed"),
            state("laptop:1", None, 0, "closed"),
        ]
    )


def _lag() -> None:
    member = "steptrail-projector-build-7-4711-6b1f3c1e-9c1f-4f7e-8a55-0d6f2f1f9f01"
    partitions = tuple(
        PartitionLag(number, 1_204_311 + number, 0, 1_204_000, 311 + number, 2.4, member if number else None)
        for number in range(3)
    )
    report = LagReport(
        topic="steptrail.steps.v1",
        group="steptrail-projector",
        group_state="STABLE",
        members=(Member("m", "c", "/127.0.0.1", None, (0, 1, 2)),),
        partitions=(*partitions, PartitionLag(3)),
        waiting_for="ClickHouse at http://127.0.0.1:8123/steptrail: Connection refused; next try in 8 s",
        asked_at=NOW.timestamp(),
        gaps=(TopicGap(2, 100, 4099, "expired before they were read", ago(days=1)),),
    )
    lag._show(report)


def _letter(place: int, reason: str, **more: Any) -> StoredLetter:
    values: dict[str, Any] = {
        "position": 183,
        "field": "status",
        "doc_id": SCAN,
        "times_resent": 0,
        "state": "OPEN",
    }
    return StoredLetter(
        topic="steptrail.steps.v1",
        source_topic_id="x",
        source_partition=3,
        source_offset=1_730 + place,
        source_time=ago(minutes=9),
        reason=reason,
        explanation="17 is no status",
        stage="decode",
        pipeline="invoices",
        step_name="ocr",
        event_id=None,
        value_bytes=211,
        consumer="steptrail-projector@build-7",
        broker_time=ago(minutes=8),
        topic_id="x",
        letter_partition=0,
        letter_offset=0,
        decided_at=None,
        decided_by="",
        note="",
        **(values | more),
    )


def _dlq_list() -> None:
    dlq._show(
        [
            _letter(1, "BAD_STATUS"),
            _letter(2, "UNKNOWN_SCHEMA", position=None, field=None, doc_id="", times_resent=2),
            _letter(3, "BAD_JSON", field="details", doc_id="invoice-17"),
        ]
    )
    dlq._show_counts({"BAD_STATUS": 1, "UNKNOWN_SCHEMA": 1, "BAD_JSON": 1}, 3)


def _dlq_show() -> None:
    value = b"this is no event: " + bytes(range(60))
    letter: Any = SimpleNamespace(
        key=b"invoices/" + SCAN.encode(), value=value, own_headers=[("trace", b"\x00\xff\x1b[2J")]
    )
    show._show(_letter(1, "BAD_FRAME"), letter, explain(value, WriterSchemas()), full=False)


_KAFKA = [
    TopicRetention("steptrail.steps.v1", 30 * 86_400_000, 7 * 86_400_000, False),
    TopicRetention("steptrail.observations.v1", None, 7 * 86_400_000, False),
    TopicRetention("steptrail.alerts.v1", 7 * 86_400_000, 7 * 86_400_000, True),
]


def _erase() -> None:
    rows = {
        "steps": 48,
        "step_executions": 24,
        "health_events": 48,
        "observations": 1,
        "error_group_hours": 2,
    }
    found = {("invoices", SCAN): rows, ("invoices", "invoice-17"): {"steps": 2}, ("letters", CJK): rows}
    total = {name: 2 * count for name, count in rows.items()} | {"steps": 98}
    erasure = Erasure(
        ID,
        ErasureState.DONE,
        ("invoices", "letters"),
        3,
        total,
        int(NOW.timestamp() * 1e6),
        "ada@build-7",
        "",
    )
    erase._show(found, [], total, erasure, _KAFKA)


def _retention() -> None:
    rules = RetentionRules(
        RetentionRule("", 365, own=True),
        {
            "invoices": RetentionRule(
                "invoices", 14, own=True, reason="contract with the customer of 2024, § 7"
            ),
            "letters": RetentionRule("letters", 90, own=True, held=True, reason="case 4711"),
        },
    )
    stored = [
        Kept("invoices", 1_284_000, ago(days=40), ago(hours=1)),
        Kept("letters", 48_211_003, ago(days=400), ago(hours=1)),
        Kept("scans", 12, ago(days=10), ago(days=2)),
    ]
    going = [
        Expired("steps", "invoices", 812_000, ago(days=40), ago(days=15)),
        Expired("error_group_minutes", "invoices", 1204, ago(days=40), ago(days=15)),
    ]
    retention._show(rules, stored, _KAFKA)
    retention._show_change(going, [], yes=False)
    retention._show_change(going, [Removed("steps", 812_000, 700_000, 3)], yes=True)
    retention._warn(rules, _KAFKA)


def _sql() -> None:
    rows: list[tuple[Any, ...]] = [
        ("invoices", SCAN, 1284, 0.033, PDF_ERROR, ["a", "b"]),
        ("letters", "letter-9", 1, None, "blank", []),
    ]
    names = ["pipeline", "doc_id", "count()", "share", "any(error_message)", "tags"]
    formats.write(Format.TABLE, names, rows)
    note("2 rows")
    formats.write(Format.VERTICAL, names, rows)


def _status() -> None:
    found = StackStatus(
        "/home/ada/.local/share/steptrail", True, True, 4711, "127.0.0.1:9092", "http://127.0.0.1:8123/steptrail", None,
        (
            PartStatus("kafka", "ready", 4712, 0, 8123.0, "127.0.0.1:9092", None),
            PartStatus("clickhouse", "ready", 4713, 1, 310.0, "http://127.0.0.1:8123/steptrail", "killed by signal 9"),
            PartStatus("migrate", "done", None, 0, None, None, "0"),
            PartStatus("projector", "crashed", None, 3, None, "http://127.0.0.1:9108/metrics", "exit code 1"),
        ),
    )  # fmt: skip
    stack._show(found)


def _counted(events: int, step: str, kind: str, example: str) -> dict[str, Any]:
    return {"events": events, "step_name": step, "status": "ERROR", "error_type": kind, "example": example}


def _demo() -> None:
    step = {
        "success": 2804,
        "warning": 12,
        "error": 181,
        "failed": 3,
        "skipped": 0,
        "p50_ms": 2.1,
        "p95_ms": 48.3,
    }
    summary = SimpleNamespace(
        events=18_211,
        documents=3000,
        store_events=36_400,
        by_step=[{"step_name": name, **step} for name in ("read", "unpack", "parse", "count")],
        errors=[
            _counted(
                141,
                "parse",
                "xml.parsers.expat.ExpatError",
                "not well-formed (invalid token): line 12, column 4",
            ),
            _counted(40, "read", "FileNotFoundError", f"No such file or directory: '/data/{SCAN}'"),
        ],
    )
    result: Any = SimpleNamespace(
        agree=True,
        emitted=18_211,
        delivered=18_211,
        lost={},
        documents=3000,
        workers=2,
        working_s=9.4,
        projecting_s=0.6,
        events_per_s=1821.0,
        summary=summary,
    )
    print_report(result)


OPERATIONS: dict[str, Callable[[], None]] = {
    "emitters": _emitters,
    "lag": _lag,
    "dlq-list": _dlq_list,
    "dlq-show": _dlq_show,
    "retention": _retention,
    "erase": _erase,
    "sql": _sql,
    "status": _status,
    "demo": _demo,
}
