"""What the commands show of a day in an invoice pipeline, on a terminal of any width, for tests to compare."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.engine import Held
from steptrail.consumers.alerts.model.notification import Told
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.alerts.overview import Shown
from steptrail.consumers.dlq.explain import explain
from steptrail.consumers.health.check import HealthCheck
from steptrail.consumers.health.replay import Change
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding, Verdict
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import Member
from steptrail.consumers.kafka.topic_retention import TopicRetention
from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.loop.lag import LagReport, PartitionLag
from steptrail.deploy.cli.commands import (
    alerts,
    doc,
    emitters,
    erase,
    errors,
    expect,
    groups,
    incomplete,
    lag,
    retention,
    silences,
    stack,
)
from steptrail.deploy.cli.commands.dlq import dlq, show
from steptrail.deploy.cli.commands.health import health, replay
from steptrail.deploy.cli.main import run
from steptrail.deploy.cli.sql import formats
from steptrail.deploy.cli.sql.formats import Format
from steptrail.deploy.demo.report import print_report
from steptrail.deploy.stack.status import PartStatus, StackStatus
from steptrail.deploy.terminal import failures
from steptrail.deploy.terminal.freshness import show_freshness
from steptrail.deploy.terminal.output import note, say
from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.delivery.topic_gaps import TopicGap
from steptrail.projections.lifecycle.erasures import Erasure, ErasureState
from steptrail.projections.lifecycle.retention import Expired, Kept, Removed
from steptrail.projections.lifecycle.retention_rules import RetentionRule, RetentionRules
from steptrail.projections.reading.completeness import CompletenessState, DocumentCompleteness
from steptrail.projections.reading.emitters import EmitterState
from steptrail.projections.reading.recent_error_groups import RecentErrorGroup, RecentErrorGroups
from steptrail.projections.reading.records import StepRecord
from steptrail.projections.reading.stalls import ObservedRecord
from steptrail.projections.reading.states import StepState
from steptrail.projections.stores.dead_letter_store import StoredLetter
from steptrail.projections.stores.error_groups import (
    ErrorGroup,
    Example,
    GroupDetails,
    GroupList,
    GroupState,
    TakenAction,
)
from steptrail.projections.stores.expected_steps import ExpectedSteps
from steptrail.projections.stores.health_store import StoredVerdict
from steptrail.schemas.observation import Observed
from steptrail.schemas.status import ProcessingStatus
from support.cli_backup_screens import show_backup
from support.cli_list_screens import LISTS
from support.cli_rebuild_screens import show_rebuild
from support.cli_screen_texts import CJK, ID, NOW, PDF_ERROR, SCAN, SENTENCE, TEMPLATE, TRACE, URL, ago


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal, or not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class _At(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return NOW


@contextlib.contextmanager
def at_noon() -> Iterator[None]:
    """Ages are those at NOW."""
    with (
        patch("steptrail.deploy.terminal.times.datetime", _At),
        patch("steptrail.deploy.cli.commands.groups.datetime", _At),
        patch("steptrail.deploy.terminal.freshness.datetime", _At),
        patch("steptrail.deploy.cli.commands.alerts.time", SimpleNamespace(time=NOW.timestamp)),
        patch("steptrail.deploy.cli.commands.silences.time", SimpleNamespace(time=NOW.timestamp)),
    ):
        yield


def screen(name: str, width: int | None, **environment: str) -> str:
    """What the command shows in `width` columns, None for a pipe; answer and remarks in the order of writing."""
    stream = Terminal(width is not None)
    environ = {"TERM": "dumb", "COLUMNS": str(width or 80)} | environment
    with (
        at_noon(),
        patch.object(sys, "stdout", stream),
        patch.object(sys, "stderr", stream),
        patch.dict("os.environ", environ),
    ):
        SCREENS[name]()
    return stream.getvalue()


def _event(
    pipeline: str, document: str, step: str, status: str, ago_s: float, error: str | None = None, **more: Any
) -> StepRecord:
    at = ago(seconds=ago_s)
    values: dict[str, Any] = {
        "attempt": 1,
        "duration_ms": None if status == "RUNNING" else 1834.0,
        "error_type": None if error is None else "PdfError",
        "details": {},
    }
    return StepRecord(
        pipeline=pipeline,
        doc_id=document,
        step_name=step,
        status=ProcessingStatus(status),
        timestamp=at,
        broker_time=at,
        event_id=ID,
        execution_id=ID,
        error_message=error,
        metrics={},
        depends_on=[],
        trace_id=None,
        worker="host-1/4711",
        cursor=Cursor(0, ID),
        **(values | more),
    )


def _state(step: str, status: str, ago_s: float, error: str | None = None, **more: Any) -> StepState:
    values: dict[str, Any] = {"attempt": 1, "executions": 1, "duration_ms": 812.0, "stalled_since": None}
    return StepState(
        pipeline="invoices",
        queued_at=None,
        doc_id=SCAN,
        step_name=step,
        status=ProcessingStatus(status),
        execution_id=ID,
        started_at=ago(seconds=ago_s + 1),
        updated_at=ago(seconds=ago_s),
        error_type=None,
        error_message=error,
        details={},
        metrics={},
        depends_on=[],
        events=2,
        **(values | more),
    )


def _doc() -> None:
    states = [
        _state("fetch", "SUCCESS", 310),
        _state("ocr", "ERROR", 190, PDF_ERROR, attempt=2, executions=2, duration_ms=1834.0),
        _state("classify", "RUNNING", 95, duration_ms=None, stalled_since=ago(seconds=30)),
    ]
    events = [
        _event("invoices", SCAN, "fetch", "RUNNING", 312),
        _event("invoices", SCAN, "fetch", "SUCCESS", 310, details={"bytes": 1_204_311, "kind": "pdf"}),
        _event("invoices", SCAN, "ocr", "RUNNING", 305),
        _event("invoices", SCAN, "ocr", "ERROR", 301, "no answer from 10.0.3.17:8080 within 30 s"),
        _event("invoices", SCAN, "ocr", "RUNNING", 195, attempt=2),
        _event("invoices", SCAN, "ocr", "ERROR", 190, PDF_ERROR, attempt=2),
        _event("invoices", SCAN, "classify", "RUNNING", 95),
    ]
    doc.show_document(SCAN, states, events, [_completeness(SCAN)])


def _completeness(
    document: str, pipeline: str = "invoices", **parts: tuple[str, ...]
) -> DocumentCompleteness:
    values: dict[str, Any] = {
        "expected": ("fetch", "ocr", "classify", "index"),
        "done": ("fetch",),
        "failed": ("ocr",),
        "unfinished": ("classify",),
        "missing": ("index",),
        "unexpected": (),
    }
    return DocumentCompleteness(
        pipeline=pipeline,
        doc_id=document,
        state=CompletenessState.INCOMPLETE,
        updated_at=ago(minutes=3),
        **(values | parts),
    )


def _errors() -> None:
    errors.show_errors(
        [
            _event("invoices", SCAN, "ocr", "ERROR", 190, PDF_ERROR, attempt=2),
            _event("invoices", "invoice-17", "ocr", "FAILED", 301, "page [2] is [/bold] blank"),
            _event(
                "invoices",
                CJK,
                "index",
                "ERROR",
                320,
                "文字コードを判別できません: この文書はどの既知の文字集合にも属していないようです。",
            ),
            _event("letters", URL, "fetch", "ERROR", 1300, f"404 Not Found for url: {URL}", attempt=4),
            _event("letters", "letter-9", "ocr", "ERROR", 1500, TRACE),
            _event("letters", "letter-10", "ocr", "FAILED", 1700, "x" * 1_000_000),
        ]
    )
    note("6 errors since 2026-05-04 11:00:00 UTC, the newest 3 m 10 s ago.")
    show_freshness(Freshness(ago(seconds=2), 2.1, 311, ago(seconds=1)), stale=False)


def _stalled() -> None:
    sentence = "started 14 m ago, deadline 600 s, three times the 99th percentile of 1,204 endings"
    found = ObservedRecord(
        pipeline="invoices",
        doc_id=SCAN,
        step_name="classify",
        execution_id=ID,
        what=Observed.STALLED,
        number=1,
        observation_id=ID,
        status=ProcessingStatus.RUNNING,
        started_us=0,
        deadline_s=600.0,
        watermark=ago(minutes=4),
        decided_by="health",
        sentence=sentence,
        evidence={},
        stands=True,
    )
    errors.show_stalls([found, found])


def _errors_group() -> None:
    def one(group: str, step: str, kind: str, template: str, count: int, documents: int) -> RecentErrorGroup:
        seen = (ago(hours=5), ago(minutes=3))
        return RecentErrorGroup(
            group, "invoices", step, kind, template, count, documents, *seen, SCAN, template
        )

    rows = [
        one("3fa91c0d5e6b7a88", "ocr", "PdfError", "pdfium: cannot open page <num> of <num>", 1284, 611),
        one("90ab12cd34ef5678", "fetch", "HTTPError", "<num> Not Found for url: <url>", 40, 40),
    ]
    errors._show_groups(RecentErrorGroups(rows, 7, 21), ago(days=1), "errors")
    show_freshness(Freshness(ago(seconds=0), 0.0, 0, ago(seconds=1)), stale=False)


def _group(number: int, state: GroupState, step: str, kind: str, template: str) -> ErrorGroup:
    return ErrorGroup(
        group_id=f"{number:x}fa91c0d5e6b7a88",
        pipeline="invoices",
        step_name=step,
        error_type=kind,
        template=template,
        state=state,
        first_seen=ago(days=9, hours=3),
        last_seen=ago(seconds=190),
        count=48_211,
        documents=20_114,
        templates=1,
        acted_at=None,
        acted_by="",
        reason="",
        lately=1284,
        trend=[(ago(hours=hours), 3 + hours % 7) for hours in range(20)],
    )


def _groups() -> None:
    listed = [
        _group(3, GroupState.REGRESSED, "ocr", "pdfium.PdfError", TEMPLATE),
        _group(9, GroupState.NEW, "fetch", "HTTPError", "<num> Not Found for url: <url>"),
        _group(12, GroupState.MUTED, "classify", "", "no class is likely enough"),
    ]  # fmt: skip
    groups._show_list(GroupList(listed, 7, 21, 0), ago(days=1))
    show_freshness(Freshness(ago(minutes=3), 180.0, 4711, ago(minutes=3)), stale=True)


def _groups_show() -> None:
    group = _group(
        3, GroupState.REGRESSED, "ocr", "pdfium.PdfError", "pdfium: cannot open page <num> of <num>"
    )
    examples = [
        Example(ago(minutes=3), str(ID), SCAN, PDF_ERROR),
        Example(ago(minutes=9), str(ID), "invoice-17", "pdfium: cannot open page 1 of 1"),
    ]
    actions = [TakenAction("RESOLVE", "fixed in 1.4.2", "ada@build-7", ago(days=2))]
    groups._show_details(GroupDetails(group, examples, actions), ago(days=7))


def _incomplete() -> None:
    incomplete.show_incomplete(
        [
            _completeness(SCAN),
            _completeness("invoice-17", failed=(), unfinished=(), missing=("ocr", "classify", "index")),
            _completeness(CJK, failed=(), missing=("index",)),
        ]
    )
    note("3 documents.")
    away = "Kafka at kafka.example.com:9092 did not answer within 2 s"
    show_freshness(Freshness(problem=away), stale=True)


def _verdict(step: str, status: str, sentence: str) -> StoredVerdict:
    since = ago(minutes=14).timestamp()
    return StoredVerdict("invoices", step, 1, status, since, NOW.timestamp(), sentence, "[]")


def _health() -> None:
    finding = Finding("errors", HealthStatus.CRITICAL, f"invoices/ocr: {SENTENCE}")
    warning = Finding(
        "durations", HealthStatus.WARNING, "invoices/fetch: p95 is 4.2 s, usual is 0.8 s", silenced=True
    )
    since = ago(minutes=14).timestamp()
    check = HealthCheck(
        HealthStatus.CRITICAL,
        finding.sentence,
        (finding, warning),
        None,
        None,
        since,
        NOW.timestamp(),
        NOW.timestamp(),
    )
    stalled = "3 started executions are past their deadline of 600 s, the oldest for 14 m"
    health._show(
        check,
        [
            _verdict("ocr", "CRITICAL", SENTENCE),
            _verdict("classify", "WARNING", stalled),
            _verdict("", "CRITICAL", "ocr is CRITICAL, classify is WARNING"),
        ],
    )


def _health_replay() -> None:
    at = ago(hours=2).timestamp()
    finding = Finding("errors", HealthStatus.CRITICAL, SENTENCE)
    changes = [
        Change(Verdict("invoices", "ocr", HealthStatus.CRITICAL, at, at, (finding,)), HealthStatus.HEALTHY),
        Change(Verdict("invoices", "ocr", HealthStatus.HEALTHY, at + 900, at + 900), HealthStatus.CRITICAL),
    ]
    from collections import Counter

    replay._show(changes, Counter({("errors", "CRITICAL"): 1}))


def _health_rules() -> None:
    assert run(["health", "rules", "show", "--pipeline", "invoices", "--step", "ocr"]) == 0


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


def _alert(step: str, severity: HealthStatus, sentence: str, **more: Any) -> Alert:
    since = ago(minutes=14).timestamp()
    return Alert(
        "a1", "e1", "invoices", step, severity, "errors", sentence, since, since, owner="team-ocr", **more
    )


def _alerts_list() -> None:
    at = ago(minutes=12).timestamp()
    told = Told("ops", "a1", "e1", "firing", HealthStatus.CRITICAL, at, at)
    alerts._show(
        [
            Shown(_alert("ocr", HealthStatus.CRITICAL, SENTENCE), None, (told,), ("archive-team",)),
            Shown(_alert("", HealthStatus.WARNING, "ocr is CRITICAL"), Held("5f3a09c1", True), (), ()),
        ]
    )


def _silences() -> None:
    start, end = ago(hours=1).timestamp(), ago(hours=-2).timestamp()
    one = Silence(
        "5f3a09c1", "invoices", "ocr*", "*", start, end, "moving the archive to the new host", "ada@build-7"
    )
    silences.show_silences([one])


def _expect() -> None:
    steps = ("fetch", "ocr", "classify", "extract", "validate", "index", "notify", "archive", "report")
    expect._show([ExpectedSteps("invoices", steps, ago(days=3))], ["invoices"], changing=True)


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


def _mistakes() -> None:
    failures.report(
        failures.CommandError(
            f"no events of document {SCAN!r} in pipeline 'invoices'.",
            near=[SCAN.replace("45", "46"), "invoice-17", CJK],
            hint="events are readable about a second after they were emitted; `steptrail lag` shows how far behind the "
            "projection is.",
        ),
        as_json=False,
    )
    failures.report(
        failures.CommandError("health.toml, line 3: no such rule\nhealth.toml, line 9: not a number"),
        as_json=False,
    )
    run(["errors", "--frobnicate"])
    run(["error"])
    say("No errors in pipeline invoices since 2026-05-04 11:00:00 UTC.")


SCREENS: dict[str, Callable[[], None]] = {
    **LISTS,
    "doc": _doc,
    "errors": _errors,
    "errors-stalled": _stalled,
    "errors-group": _errors_group,
    "groups": _groups,
    "groups-show": _groups_show,
    "incomplete": _incomplete,
    "health": _health,
    "health-replay": _health_replay,
    "health-rules": _health_rules,
    "emitters": _emitters,
    "lag": _lag,
    "dlq-list": _dlq_list,
    "dlq-show": _dlq_show,
    "alerts-list": _alerts_list,
    "alerts-silences": _silences,
    "expect": _expect,
    "retention": _retention,
    "erase": _erase,
    "rebuild": show_rebuild,
    "backup": show_backup,
    "sql": _sql,
    "status": _status,
    "demo": _demo,
    "mistakes": _mistakes,
}
