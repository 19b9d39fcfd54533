"""One document: its waterfall, its attempts side by side, what is missing, its events."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.models.documents import (
    Attempt,
    DocumentAnswer,
    DocumentIn,
    StepAttempts,
    StepNow,
)
from steptrail.consumers.web.pages.clock import span
from steptrail.consumers.web.pages.drawing.timescale import Timescale, timescale
from steptrail.consumers.web.pages.drawing.waterfall import Bar, axis, lane
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Way, option, positional
from steptrail.consumers.web.pages.words import duration
from steptrail.consumers.web.service.documents import document_answer
from steptrail.projections.reading.group_of_error import group_and_documents
from steptrail.schemas.figures import counted

_COMPARED = (
    ("status", "status"),
    ("duration_ms", "took"),
    ("worker", "worker"),
    ("error_type", "error type"),
    ("error_message", "error"),
    ("details", "details"),
    ("metrics", "metrics"),
)
_ATTEMPTS_COMPARED = 8
_BAD = ("ERROR", "FAILED")
_ONE_LINE = 160  # characters of JSON that are read at a glance
_PRECISE_BELOW_S = 60.0


async def document(page: Page) -> HTMLResponse:
    """`/document?doc=…`, with `pipeline` where several pipelines know the document."""
    doc_id = page.request.query_params.get("doc", "")
    store = page.desk.store
    panels = await page.ask(
        document=(("document", page.pipeline, doc_id), lambda: document_answer(store, doc_id, page.pipeline))
    )
    panel = panels["document"]
    if panel.failed:
        status = 404 if panel.status == 404 else 503
        lines = [panel.problem, *([panel.remedy] if panel.remedy else [])]
        if status == 404:
            lines.append("Retention may have removed it, or its events have not been projected yet.")
        return page.answer(
            "gone.html",
            f"{doc_id[:80]} is not here" if status == 404 else "Not known",
            status=status,
            lines=lines,
            near=[],
        )
    answer: DocumentAnswer = panel.found
    found = answer.items[0]
    values = _values(page, found)
    if len(answer.items) > 1:
        others = ", ".join(each.pipeline for each in answer.items[1:])
        values["summary"] += f" · a document of this id is also in {others}"
    values["group_href"], values["group_text"] = await _group(page, found)
    return page.answer("document.html", doc_id[:80], doc=values)


def _values(page: Page, found: DocumentIn) -> dict[str, Any]:
    bad = [step for step in found.steps if step.status in _BAD]
    stalled = [step for step in found.steps if step.stalled_since is not None]
    decides = max(bad or stalled or list(found.steps), key=lambda step: step.updated_at)
    state = found.status if bad or not stalled else "STALLED"
    complete = found.completeness
    scale, lanes = _lanes(page, found)
    total = (found.last_at - found.first_at).total_seconds()
    way = Way(
        "/document",
        {"doc_id": found.doc_id, "pipeline": found.pipeline},
        ("doc", *option("pipeline", found.pipeline), *positional(found.doc_id)),
    )
    return {
        "doc_id": found.doc_id,
        "pipeline": found.pipeline,
        "state": state,
        "state_word": "STALLED" if state == "STALLED" else found.status,
        "summary": _summary(page, decides, bool(bad), bool(stalled)),
        "missing": ", ".join(complete.missing) + " (declared)" if complete and complete.missing else "",
        "missing_steps": list(complete.missing) if complete else [],
        "error_message": decides.error_message if bad else "",
        "error_type": decides.error_type if bad else "",
        "span_text": f"{page.clock.text(found.first_at)} – {page.clock.text(found.last_at)}, {duration(total * 1000)}",
        "axis": _axis(page, scale),
        "lanes": lanes,
        "compared": [_compared(page, step) for step in found.attempts if len(step.attempts) > 1],
        "events": [_event(each) for each in found.events],
        "events_text": f"{counted(found.events_total, 'event')}, oldest first"
        + (f"; the first {len(found.events):,} are here" if found.events_total > len(found.events) else ""),
        "next": page.api("/events", doc_id=found.doc_id, pipeline=found.pipeline, after=found.next)
        if found.next
        else "",
        "ways": page.ways(way),
    }


def _summary(page: Page, step: StepNow, failed: bool, stalled: bool) -> str:
    ago = page.clock.ago(step.updated_at).striptags()
    tries = f", {_ordinal(step.executions)} try" if step.executions > 1 else ""
    if stalled and not failed:
        return f"at {step.step_name}{tries}, since {page.clock.text(step.stalled_since or step.updated_at)}"
    return f"at {step.step_name}{tries}, {ago}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _lanes(page: Page, found: DocumentIn) -> tuple[Timescale, list[dict[str, Any]]]:
    stalled = {step.step_name: step.stalled_since for step in found.steps}
    planned = []
    for step in found.attempts:
        for number, attempt in enumerate(step.attempts, 1):
            start, end, is_open = _extent(page, attempt)
            planned.append((step, number, attempt, start, end, is_open))
    # An open execution reaches to now on the line; the line itself is drawn to what happened, and a little on.
    scale = timescale([(start, end) for _, _, _, start, end, _ in planned])
    lanes = []
    for step, number, attempt, start, end, is_open in planned:
        state = attempt.status
        if is_open and stalled.get(step.step_name) and number == len(step.attempts):
            state = "STALLED"
        took = duration(attempt.duration_ms if attempt.duration_ms is not None else (end - start) * 1000)
        queued = attempt.queued_at.timestamp() if attempt.queued_at else None
        waited = duration((start - queued) * 1000) if queued is not None and queued < start else ""
        label = f"{step.step_name}, attempt {number}: {state}, {took}"
        bar = Bar(start, end, state.lower() if state != "STALLED" else "stalled", label, is_open, queued)
        lanes.append(
            {
                "anchor": f"execution-{attempt.execution_id}",
                "href": f"#execution-{attempt.execution_id}",
                "step_name": step.step_name,
                "attempt": str(number) if len(step.attempts) > 1 else "",
                "state": state,
                "state_word": state,
                "took": took if not is_open else f"{took} so far",
                "waited": waited,
                "drawing": lane([bar], scale),
            }
        )
    return scale, lanes


def _extent(page: Page, attempt: Attempt) -> tuple[float, float, bool]:
    """Seconds since the epoch from and until which an execution is drawn, and whether it goes on."""
    began = attempt.started_at or attempt.queued_at
    if attempt.ended_at is None:
        start = began or page.clock.now
        return start.timestamp(), max(page.clock.now, start).timestamp(), True
    end = attempt.ended_at.timestamp()
    if began is None or attempt.started_at is None:
        took = (attempt.duration_ms or 0) / 1000
        return end - took, end, False
    return min(began.timestamp(), end), end, False


def _axis(page: Page, scale: Timescale) -> str:
    precise = scale.stretches[-1].end - scale.stretches[0].start < _PRECISE_BELOW_S
    ticks = [
        page.clock.text(datetime.fromtimestamp(moment, page.clock.now.tzinfo), precise=precise)
        for moment in scale.ticks
    ]
    shown: list[str] = []
    last = -1.0
    for place, text in zip((scale.at(moment) for moment in scale.ticks), ticks, strict=True):
        # Labels that would run into one another: the earlier one stays.
        shown.append(text if place - last > 0.12 else "")
        last = place if shown[-1] else last
    return axis(scale, shown, [span(cut.seconds) for cut in scale.cuts])


def _compared(page: Page, step: StepAttempts) -> dict[str, Any]:
    attempts = step.attempts[-_ATTEMPTS_COMPARED:]
    first = len(step.attempts) - len(attempts) + 1
    lines = []
    for name, title in _COMPARED:
        cells = [_cell(getattr(attempt, name), name) for attempt in attempts]
        if any(cells):
            lines.append(
                {
                    "name": title,
                    "cells": cells,
                    "differs": name in step.differs,
                    "is_text": name in ("details", "metrics", "worker"),
                }
            )
    begun = [attempt.started_at or attempt.queued_at or attempt.ended_at for attempt in attempts]
    lines.insert(
        0,
        {
            "name": "begun",
            "cells": [page.clock.text(at, precise=True) if at else "" for at in begun],
            "differs": False,
            "is_text": False,
        },
    )
    return {
        "step_name": step.step_name,
        "attempts": [f"attempt {number}" for number in range(first, first + len(attempts))],
        "lines": lines,
    }


def _cell(value: Any, name: str) -> str:
    if name == "duration_ms":
        return duration(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=1) if value else ""
    return "" if value is None else str(value)


def _event(each: Any) -> dict[str, Any]:
    return {
        "event_id": each.event_id,
        "timestamp": each.timestamp,
        "step_name": each.step_name,
        "attempt": f"#{each.attempt}" if each.attempt > 1 else "",
        "status": each.status,
        "worker": each.worker,
        "error_message": each.error_message or "",
        "details": _json(each.details),
        "metrics": _json(each.metrics),
        "trace_id": each.trace_id or "",
    }


def _json(value: dict[str, Any]) -> str:
    if not value:
        return ""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= _ONE_LINE else json.dumps(value, ensure_ascii=False, indent=2)


async def _group(page: Page, found: DocumentIn) -> tuple[str, str]:
    """The error group that the document's error belongs to: a link and how many other documents it has."""
    bad = [step for step in found.steps if step.status in _BAD and step.error_message]
    if not bad:
        return "", ""
    latest = max(bad, key=lambda step: step.updated_at)
    panel = await page.question(
        ("group of", found.pipeline, found.doc_id, latest.step_name),
        lambda: group_and_documents(
            page.desk.store, found.pipeline, latest.step_name, latest.error_type, latest.error_message
        ),
    )
    if panel.failed or panel.found is None:  # its minute has not been counted yet
        return "", ""
    group_id, documents = panel.found
    others = max(documents - 1, 0)
    text = f"{counted(others, 'other document')} in this error group" if others else "its error group"
    return page.links.to(f"/errors/{group_id}"), text
