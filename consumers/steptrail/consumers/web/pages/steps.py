"""All steps, and one step: throughput, errors and durations over time, waits, what fails and what is stuck."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.models.work import (
    DurationsAnswer,
    FailingAnswer,
    InProgressAnswer,
    Point,
    StepRow,
    StepsAnswer,
    ThroughputAnswer,
    WaitsAnswer,
)
from steptrail.consumers.web.pages.drawing.sparkline import bars
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Panel, Way
from steptrail.consumers.web.pages.series import slots
from steptrail.consumers.web.pages.step_table import step_rows, step_state
from steptrail.consumers.web.pages.words import duration, percent
from steptrail.consumers.web.service.work import (
    durations_answer,
    failing_answer,
    in_progress_answer,
    steps_answer,
    throughput_answer,
    waits_answer,
)
from steptrail.consumers.web.spans import Between
from steptrail.projections.reading.failing import BAD
from steptrail.projections.reading.in_progress import OPEN
from steptrail.schemas.figures import counted, figure

_SHOWN = 10


async def steps(page: Page) -> HTMLResponse:
    """`/steps`."""
    store, span = page.desk.store, page.range.between
    panels = await page.ask(
        steps=(
            ("steps", *page.scope),
            lambda: steps_answer(store, page.desk.numbers.current(page.pipeline), page.pipeline, None, span),
        ),
        waits=(("waits", *page.scope), lambda: waits_answer(store, page.pipeline, None, span)),
    )
    panel = panels["steps"]
    found: StepsAnswer | None = panel.found
    waits: WaitsAnswer | None = panels["waits"].found
    longest: dict[tuple[str, str], float] = {}
    for each in waits.items if waits else ():
        key = each.pipeline, each.step_name
        longest[key] = max(longest.get(key, 0.0), each.p50_ms)
    rows = []
    for step, row in zip(found.items, step_rows(page, found.items), strict=True) if found else ():
        rows.append({**row, "wait": duration(longest.get((step.pipeline, step.step_name)))})
    return page.answer(
        "steps.html",
        "Steps",
        steps={
            "rows": rows,
            "problem": panel.problem,
            "remedy": panel.remedy,
            "summary": counted(len(rows), "step"),
            "ways": page.ways(Way("/steps", page.parameters(), ("steps", *page.options()))),
        },
    )


async def step(page: Page) -> HTMLResponse:
    """`/steps/one?pipeline=…&step=…`."""
    name = page.request.query_params.get("step", "")
    pipeline = page.pipeline or ""
    store, span = page.desk.store, page.range.between
    whole = Between(datetime.fromtimestamp(0, page.clock.now.tzinfo), page.clock.now)
    scope = (*page.scope, name)
    panels = await page.ask(
        row=(
            ("step", *scope),
            lambda: steps_answer(store, page.desk.numbers.current(pipeline), pipeline, name, span),
        ),
        series=(
            ("step series", *scope),
            lambda: throughput_answer(store, pipeline, name, span, None, by_step=True),
        ),
        waits=(("step waits", *scope), lambda: waits_answer(store, pipeline, name, span)),
        durations=(("step durations", *scope), lambda: durations_answer(store, pipeline, name, span)),
        failing=(
            ("failing", pipeline, name, None, _SHOWN),
            lambda: failing_answer(store, pipeline, name, whole, BAD, None, _SHOWN),
        ),
        stuck=(
            ("stuck", pipeline, name, _SHOWN),
            lambda: in_progress_answer(store, pipeline, name, OPEN, True, None, _SHOWN),
        ),
    )
    answer: StepsAnswer | None = panels["row"].found
    row = answer.items[0] if answer and answer.items else None
    if answer is not None and row is None:
        lines = [
            f"Nothing was heard of step {name!r} of pipeline {pipeline!r} in this time.",
            "A longer time range looks further back.",
        ]
        return page.answer("gone.html", "This step is not here", status=404, lines=lines, near=[])
    state, word = step_state(row) if row else ("UNKNOWN", "not known")
    return page.answer(
        "step.html",
        f"{pipeline} / {name}",
        step={
            "pipeline": pipeline,
            "step_name": name,
            "state": state,
            "state_word": word,
            "sentence": (row.sentence or "") if row else panels["row"].problem,
            "facts": _facts(page, row, panels["waits"].found) if row else [],
            "charts": _charts(page, panels["series"], name),
            "histogram": _histogram(panels["durations"].found),
            "failing": _failing(page, panels["failing"].found),
            "failing_href": page.links.to("/failing", pipeline=pipeline, step=name),
            "stuck": _stuck(page, panels["stuck"].found),
        },
    )


def _facts(page: Page, row: StepRow, waits: WaitsAnswer | None) -> list[tuple[str, str]]:
    facts = [
        ("ended", f"{row.ended:,}, {figure(row.per_minute)} a minute"),
        (
            "errors",
            f"{percent(row.error_ratio)} ({row.error + row.failed:,})" if row.ended else "nothing ended",
        ),
        ("p50", duration(row.p50_ms)),
        ("p95", duration(row.p95_ms)),
        ("p99", duration(row.p99_ms)),
        ("running", f"{row.running:,}"),
        ("queued", f"{row.queued:,}"),
        ("stuck", f"{row.stalled:,}"),
        ("failing now", counted(row.failing_documents, "document")),
    ]
    facts += [
        (f"waits after {each.after_step}", f"p50 {duration(each.p50_ms)}, p95 {duration(each.p95_ms)}")
        for each in (waits.items[:3] if waits else ())
    ]
    return [(name, text) for name, text in facts if text]


def _charts(page: Page, panel: Panel, name: str) -> list[dict[str, Any]]:
    way = Way(
        "/throughput",
        page.parameters(step_name=name),
        ("throughput", *page.options(step=name)),
        "throughput",
    )
    made: list[dict[str, Any]] = []
    found: ThroughputAnswer | None = panel.found
    for key, title in (("durations", "how long it takes"), ("ended", "executions ended, and errors")):
        chart: dict[str, Any] = {
            "id": f"chart-{key}",
            "title": title,
            "problem": panel.problem,
            "remedy": panel.remedy,
            "columns": [],
            "rows": [],
            "ways": page.ways(way),
        }
        if found is not None:
            points = {point.begins: point for point in found.items}
            moments = slots(page, found.bucket_seconds)
            chart.update(
                _duration_rows(page, moments, points)
                if key == "durations"
                else _count_rows(page, moments, points)
            )
        made.append(chart)
    return made


def _duration_rows(page: Page, moments: Sequence[datetime], points: dict[datetime, Point]) -> dict[str, Any]:
    rows = []
    for moment in moments:
        point = points.get(moment)
        values = (point.p50_ms, point.p95_ms, point.p99_ms) if point else (None, None, None)
        cells = [(None if value is None else value / 1000, duration(value)) for value in values]
        rows.append([(moment.timestamp(), page.clock.text(moment)), *cells])
    return {"columns": ["time", "p50, s", "p95, s", "p99, s"], "rows": rows}


def _count_rows(page: Page, moments: Sequence[datetime], points: dict[datetime, Point]) -> dict[str, Any]:
    rows = []
    for moment in moments:
        point = points.get(moment)
        counts = (point.ended, point.error + point.failed) if point else (0, 0)
        rows.append(
            [(moment.timestamp(), page.clock.text(moment)), *((count, f"{count:,}") for count in counts)]
        )
    return {"columns": ["time", "ended", "errors"], "rows": rows}


def _histogram(found: DurationsAnswer | None) -> dict[str, Any] | None:
    if found is None or not found.items:
        return None
    # Classes that nothing fell into have no row, and their place in the drawing all the same.
    ratio = found.items[0].to_ms / found.items[0].from_ms
    counts: list[float | None] = []
    edge = found.items[0].from_ms
    for each in found.items:
        while edge * ratio**0.5 < each.from_ms:
            counts.append(0.0)
            edge *= ratio
        counts.append(float(each.executions))
        edge = each.to_ms
    label = f"{counted(int(sum(count or 0 for count in counts)), 'execution')} by how long they took"
    return {
        "drawing": bars(counts, label),
        "least": duration(found.items[0].from_ms),
        "most": duration(found.items[-1].to_ms),
    }


def _failing(page: Page, found: FailingAnswer | None) -> list[dict[str, Any]]:
    return [
        {
            "key": each.execution_id,
            "href": page.doc_href(each.pipeline, each.doc_id),
            "doc_id": each.doc_id,
            "status": each.status,
            "error_message": each.error_message or "",
            "since": each.failing_since,
        }
        for each in (found.items if found else ())
    ]


def _stuck(page: Page, found: InProgressAnswer | None) -> list[dict[str, Any]]:
    return [
        {
            "key": each.execution_id,
            "href": page.doc_href(each.pipeline, each.doc_id),
            "doc_id": each.doc_id,
            "since": each.open_since,
            "sentence": each.sentence or "",
        }
        for each in (found.items if found else ())
    ]
