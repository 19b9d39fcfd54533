"""What the commands about documents and their errors show of a day in an invoice pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steptrail.consumers.loop.freshness import Freshness
from steptrail.deploy.cli.commands import (
    doc,
    errors,
    expect,
    groups,
    incomplete,
)
from steptrail.deploy.terminal.freshness import show_freshness
from steptrail.deploy.terminal.output import note
from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.reading.completeness import CompletenessState, DocumentCompleteness
from steptrail.projections.reading.recent_error_groups import RecentErrorGroup, RecentErrorGroups
from steptrail.projections.reading.records import StepRecord
from steptrail.projections.reading.stalls import ObservedRecord
from steptrail.projections.reading.states import StepState
from steptrail.projections.stores.error_groups import (
    ErrorGroup,
    Example,
    GroupDetails,
    GroupList,
    GroupState,
    TakenAction,
)
from steptrail.projections.stores.expected_steps import ExpectedSteps
from steptrail.schemas.observation import Observed
from steptrail.schemas.status import ProcessingStatus
from support.cli_screen_texts import CJK, ID, PDF_ERROR, SCAN, TEMPLATE, TRACE, URL, ago


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


def _expect() -> None:
    steps = ("fetch", "ocr", "classify", "extract", "validate", "index", "notify", "archive", "report")
    expect._show([ExpectedSteps("invoices", steps, ago(days=3))], ["invoices"], changing=True)


DOCUMENTS: dict[str, Callable[[], None]] = {
    "doc": _doc,
    "errors": _errors,
    "errors-stalled": _stalled,
    "errors-group": _errors_group,
    "groups": _groups,
    "groups-show": _groups_show,
    "incomplete": _incomplete,
    "expect": _expect,
}
