"""What the commands that list what is and what was show of a day in an invoice pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.models import documents as document_models
from steptrail.consumers.web.models import operations, work
from steptrail.deploy.cli.commands import documents, failing, losses, search, steps
from steptrail.deploy.terminal.freshness import show_freshness
from support.cli_screen_texts import CJK, ID, PDF_ERROR, SCAN, SENTENCE, TEMPLATE, ago


def _failing() -> None:
    def one(
        pipeline: str, document: str, status: str, ago_s: float, error: str, tries: int
    ) -> work.FailingStep:
        return work.FailingStep(
            pipeline=pipeline,
            step_name="ocr",
            doc_id=document,
            status=status,
            can_be_retried=status == "ERROR",
            failing_since=ago(seconds=ago_s * 3),
            failed_at=ago(seconds=ago_s),
            attempt=tries,
            executions=tries,
            execution_id=str(ID),
            duration_ms=1834.0,
            error_type="PdfError",
            error_message=error,
            worker="host-1/4711",
            trace_id=None,
            cursor="x",
        )

    found = [
        one("invoices", SCAN, "ERROR", 190, PDF_ERROR, 2),
        one("invoices", "invoice-17", "FAILED", 301, "page [2] is [/bold] blank", 1),
        one("letters", CJK, "ERROR", 8000, "文字コードを判別できません", 4),
    ]
    failing._draw_failing(found, "AAAB")
    show_freshness(Freshness(ago(seconds=2), 2.1, 311, ago(seconds=1)), stale=False)


def _failing_by_step() -> None:
    count = work.FailingCount(
        pipeline="invoices",
        step_name="ocr",
        documents=1284,
        can_be_retried=611,
        failing_since=ago(days=2),
        last_failed_at=ago(seconds=190),
    )
    other = count.model_copy(update={"pipeline": "letters", "documents": 1, "can_be_retried": 0})
    failing._draw_counts([count, other], 1285, 611)


def _in_progress() -> None:
    sentence = "started 14 m ago, deadline 600 s, three times the 99th percentile of 1,204 endings"
    stuck = work.OpenStep(
        pipeline="invoices",
        step_name="classify",
        doc_id=SCAN,
        status="RUNNING",
        open_since=ago(minutes=14),
        attempt=1,
        executions=1,
        execution_id=str(ID),
        stalled_since=ago(minutes=4),
        deadline_seconds=600.0,
        sentence=sentence,
    )
    fresh = {"stalled_since": None, "sentence": None, "status": "PENDING", "doc_id": "invoice-17"}
    failing._draw_open([stuck, stuck.model_copy(update=fresh)], None, False)


def _documents() -> None:
    def one(
        document: str, status: str, steps_now: dict[str, str], ago_s: float
    ) -> document_models.DocumentSummary:
        return document_models.DocumentSummary(
            pipeline="invoices",
            doc_id=document,
            status=status,
            steps=[
                document_models.DocumentStep(step_name=name, status=each) for name, each in steps_now.items()
            ],
            events=9,
            first_at=ago(hours=3),
            last_at=ago(seconds=ago_s),
            updated_at=ago(seconds=ago_s),
        )

    whole = dict.fromkeys(("fetch", "ocr", "classify", "extract", "validate", "index"), "SUCCESS")
    found = [
        one(SCAN, "ERROR", {"fetch": "SUCCESS", "ocr": "ERROR"}, 190),
        one("invoice-17", "SUCCESS", whole, 301),
        one(CJK, "RUNNING", {"fetch": "RUNNING"}, 8000),
    ]
    documents._draw(found, "AAAB")
    show_freshness(Freshness(ago(seconds=0), 0.0, 0, ago(seconds=1)), stale=False)


def _search() -> None:
    nothing: dict[str, Any] = dict.fromkeys(document_models.Hit.model_fields)
    hits: list[dict[str, Any]] = [
        {"kind": "documents", "pipeline": "invoices", "doc_id": SCAN},
        {
            "kind": "errors", "pipeline": "invoices", "doc_id": SCAN, "step_name": "ocr", "status": "ERROR",
            "text": PDF_ERROR, "at": ago(minutes=3),
        },
        {
            "kind": "groups", "pipeline": "letters", "step_name": "ocr", "group_id": "3fa91c0d5e6b7a88",
            "text": TEMPLATE, "at": ago(hours=2),
        },
        {"kind": "workers", "pipeline": "letters", "worker": "pdf-worker-7:4711", "at": ago(hours=2)},
        {"kind": "traces", "pipeline": "letters", "doc_id": "letter-9", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
    ]  # fmt: skip
    found = [document_models.Hit(**{**nothing, **hit}) for hit in hits]
    search._draw(document_models.SearchAnswer(items=found, more=["errors"], matched_errors=1284))


def _steps() -> None:
    broken = work.StepRow(
        pipeline="invoices", step_name="ocr", health="CRITICAL", sentence=SENTENCE, health_since=ago(minutes=14),
        ended=48_211, success=40_000, warning=12, error=8_000, failed=199, skipped=0, error_ratio=0.17006,
        per_minute=803.5, p50_ms=812.0, p95_ms=4_210.0, p99_ms=61_000.0, max_ms=90_000.0, running=31, queued=1_204,
        stalled=3, failing_documents=611, can_be_retried=600, failing_since=ago(hours=3), last_error=TEMPLATE,
        last_error_group="3fa91c0d5e6b7a88", last_error_at=ago(minutes=3),
    )  # fmt: skip
    well = broken.model_copy(
        update={
            "step_name": "extract-and-validate", "health": "HEALTHY", "error_ratio": None, "ended": 0,
            "last_error": None,
            "p50_ms": None, "p95_ms": None, "p99_ms": None, "stalled": 0, "failing_documents": 0, "per_minute": 0.0,
        }
    )  # fmt: skip
    steps._draw_steps([broken, well], ago(hours=1), ago(seconds=5))


def _throughput() -> None:
    point = work.Point(
        begins=ago(minutes=60), pipeline="", step_name="", ended=48_211, success=40_000, warning=12, error=8_000,
        failed=199, skipped=0, running=48_000, pending=0, error_ratio=0.17006, p50_ms=812.0, p95_ms=4_210.0,
        p99_ms=61_000.0, max_ms=90_000.0,
    )  # fmt: skip
    later = point.model_copy(
        update={"begins": ago(minutes=59), "error_ratio": None, "ended": 0, "p99_ms": None}
    )
    steps._draw_points([point, later], 60, None)


def _waits() -> None:
    wait = work.WaitRow(
        pipeline="invoices", step_name="ocr", after_step="fetch", waits=48_211, p50_ms=0.4, p95_ms=812.0,
        p99_ms=61_000.0, max_ms=7_200_000.0,
    )  # fmt: skip
    steps._draw_waits([wait, wait.model_copy(update={"pipeline": "letters", "after_step": "ocr"})], 4)


def _losses() -> None:
    row = operations.WorkerLosses(
        worker="ocr-worker-7d9c5b6f4-x2x9k.prod.example.com:4711", pipeline="invoices", emitters=3, not_closed=1,
        accepted=1_204_311, arrived=1_204_294, missing=17, dropped=12, failed=5,
        reasons={"queue_full": 12, "too_large": 5}, last_heard_at=ago(minutes=1),
    )  # fmt: skip
    answer = operations.LossesAnswer(
        since=ago(days=1), missing=17, dropped=12, failed=5, dead_letters_open=3, items=[row, row]
    )
    losses._draw(answer)


LISTS: Final[dict[str, Callable[[], None]]] = {
    "failing": _failing,
    "failing-by-step": _failing_by_step,
    "in-progress": _in_progress,
    "documents": _documents,
    "search": _search,
    "steps": _steps,
    "throughput": _throughput,
    "waits": _waits,
    "losses": _losses,
}
