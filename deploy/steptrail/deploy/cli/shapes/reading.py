"""Of the commands that read: documents, errors, steps, workers."""

from __future__ import annotations

from steptrail.consumers.web.models import documents, operations, work
from steptrail.deploy.cli.shapes.building import (
    ANYTHING,
    BOOL,
    COUNT,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    Schema,
    Shape,
    either,
    fresh,
    list_of,
    maybe,
    more,
    of,
    record,
)
from steptrail.projections.reading.completeness import DocumentCompleteness
from steptrail.projections.reading.recent_error_groups import RecentErrorGroup
from steptrail.projections.reading.stalls import ObservedRecord
from steptrail.projections.reading.states import StepState
from steptrail.projections.stores import error_groups

_NEXT = {"next": maybe(TEXT)}
_OTHERS = {"other_groups": COUNT, "other_errors": COUNT}


def shapes() -> dict[str, Shape]:
    """By command."""
    event, observed, complete = of(documents.Event), of(ObservedRecord, named=True), of(DocumentCompleteness)
    group = _group()
    document = fresh(
        doc_id=TEXT,
        completeness=list_of(complete),
        state=list_of(of(StepState)),
        observations=list_of(observed),
        timeline=list_of(event),
        next=maybe(TEXT),
    )
    counts = {"documents": COUNT, "can_be_retried": COUNT}
    return {
        "doc": Shape(document, lines=False),
        "failing": Shape(of(work.FailingStep), about=_NEXT, watched=True),
        "failing --by-step": Shape(of(work.FailingCount), about=counts, watched=True),
        "in-progress": Shape(of(work.OpenStep), about=_NEXT, watched=True),
        "documents": Shape(of(documents.DocumentSummary), about=_NEXT, watched=True),
        "search": Shape(of(documents.Hit), about={"matched_errors": COUNT, "more": list_of(TEXT)}),
        "errors": Shape(either(event, observed), about=_NEXT, watched=True),
        "errors --group": Shape(of(RecentErrorGroup), about=_OTHERS, watched=True),
        "groups": Shape(
            group, about={**_OTHERS, "not_looked_at": COUNT, "judged_until": maybe(TIME)}, watched=True
        ),
        "groups show": Shape(
            more(
                group,
                examples=list_of(of(error_groups.Example)),
                actions=list_of(of(error_groups.TakenAction)),
            ),
            lines=False,
        ),
        **{
            f"groups {verb}": Shape(more(group, dry_run=BOOL), lines=False)
            for verb in ("resolve", "reopen", "mute")
        },
        "groups rule": Shape(
            record(new_for_seconds=NUMBER, silent_after_seconds=NUMBER, dry_run=BOOL), lines=False
        ),
        "steps": Shape(
            of(work.StepRow), about={"since": TIME, "until": TIME, "counted_until": maybe(TIME)}, watched=True
        ),
        "throughput": Shape(of(work.Point), about={"bucket_seconds": COUNT, "counted_until": maybe(TIME)}),
        "waits": Shape(of(work.WaitRow), about={"one_in": COUNT}),
        "incomplete": Shape(more(complete, cursor=TEXT), about=_NEXT, watched=True),
        "expect": Shape(
            record(
                pipeline=TEXT, steps=list_of(TEXT), declared_at=maybe(TIME), declared_now=BOOL, dry_run=BOOL
            )
        ),
        "emitters": Shape(of(operations.EmitterRow), about={}, watched=True),
        "losses": Shape(
            of(operations.WorkerLosses),
            about=dict.fromkeys(("missing", "dropped", "failed", "dead_letters_open"), COUNT),
            watched=True,
        ),
        "export": Shape(ANYTHING, about={"bytes": COUNT}),
        "sql": Shape(OBJECT),
    }


def _group() -> Schema:
    return of(error_groups.ErrorGroup, trend=list_of(record(hour=TIME, errors=COUNT)))
