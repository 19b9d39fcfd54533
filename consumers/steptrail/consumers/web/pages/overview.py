"""The overview: is it well, what is wrong, since when, which documents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.models.work import OverviewAnswer, StepRow
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Way
from steptrail.consumers.web.pages.series import charts
from steptrail.consumers.web.pages.step_table import step_rows
from steptrail.consumers.web.service.work import overview_answer
from steptrail.schemas.figures import counted, figure

_ROWS_SHOWN = 200
_FINDINGS_SHOWN = 10


async def overview(page: Page) -> HTMLResponse:
    """`/`."""
    chosen, pipeline = page.range.between, page.pipeline
    panels = await page.ask(
        overview=(
            ("overview", *page.scope),
            lambda: overview_answer(
                page.desk.store,
                page.desk.numbers.current(pipeline),
                lambda: page.desk.check(pipeline),
                pipeline,
                chosen,
            ),
        )
    )
    panel = panels["overview"]
    found: OverviewAnswer | None = panel.found
    known = panels["pipelines"].found
    way = Way("/overview", page.parameters(), ("health", *page.options(time=False)))
    steps = Way("/steps", page.parameters(), ("steps", *page.options()))
    return page.answer(
        "overview.html",
        pipeline or "Overview",
        nothing_yet=not panels["pipelines"].failed and not known,
        verdicts={
            "findings": _findings(page, found),
            "problem": panel.problem,
            "remedy": panel.remedy,
            "ways": page.ways(way),
        },
        charts=[] if found is None else charts(page, found.series, found.bucket_seconds),
        steps={
            "rows": step_rows(page, found.steps[:_ROWS_SHOWN]) if found else [],
            "problem": panel.problem,
            "remedy": panel.remedy,
            "more": f"and {len(found.steps) - _ROWS_SHOWN:,} more steps: choose a pipeline"
            if found and len(found.steps) > _ROWS_SHOWN
            else "",
            "ways": page.ways(steps),
        },
        clock_at=lambda ms: page.clock.when(datetime.fromtimestamp(ms / 1000, timezone.utc)),
    )


def _findings(page: Page, found: OverviewAnswer | None) -> list[dict[str, Any]]:
    check = page.health
    lines: list[dict[str, Any]] = []
    if check is not None and check.status.value == "UNKNOWN":
        lines.append(_line("UNKNOWN", "Whether all is well is not known", check.sentence))
    if found is None:
        return lines
    wrong = [_wrong(page, row) for row in found.steps if row.health in ("CRITICAL", "WARNING")]
    stuck = [_stuck(page, row) for row in found.steps if row.stalled]
    failing = [
        _failing(page, row) for row in found.steps if row.failing_documents and row.health == "HEALTHY"
    ]
    lines += _shortened(wrong, "steps are not well") + _shortened(stuck, "steps have stuck executions")
    lines += _shortened(failing[:3], "steps have failing documents")
    if check is not None and check.status.value in ("CRITICAL", "WARNING"):
        # What is no step's own: losses, clocks, a pipeline that is silent.
        lines += [
            _line(finding.status.value, finding.status.value, finding.sentence)
            for finding in check.findings
            if finding.rule != "parts"
            and finding.status.value in ("CRITICAL", "WARNING")
            and page.pipeline is None
        ]
    lines += _changed(page, found)
    healthy = sum(row.health == "HEALTHY" and not row.failing_documents for row in found.steps)
    if check is not None and check.is_healthy and not lines:
        rate = sum(row.per_minute for row in found.steps)
        lines.append(_line("HEALTHY", "Everything is healthy", f"{figure(rate)} executions a minute"))
    elif healthy and lines:
        lines.append(_line("HEALTHY", f"{counted(healthy, 'other step is', 'other steps are')} healthy", ""))
    return lines


def _wrong(page: Page, row: StepRow) -> dict[str, Any]:
    since = (
        f", since {page.clock.text(row.health_since)} ({page.clock.ago(row.health_since).striptags()})"
        if row.health_since
        else ""
    )
    return {
        **_line(row.health, row.health, f"{row.sentence or 'no evidence is kept'}{since}"),
        **_where(page, row),
        **_documents(page, row),
    }


def _stuck(page: Page, row: StepRow) -> dict[str, Any]:
    word = f"{counted(row.stalled, 'execution is', 'executions are')} stuck in"
    href = page.links.to("/steps/one", pipeline=row.pipeline, step=row.step_name) + "#stuck"
    return {**_line("STALLED", word, ""), **_where(page, row), "href": href, "link": "which"}


def _failing(page: Page, row: StepRow) -> dict[str, Any]:
    word = f"{counted(row.failing_documents, 'document is', 'documents are')} failing in"
    return {**_line("ERROR", word, row.last_error or ""), **_where(page, row), **_documents(page, row)}


def _where(page: Page, row: StepRow) -> dict[str, Any]:
    return {
        "where": f"{row.pipeline} / {row.step_name}",
        "where_href": page.step_href(row.pipeline, row.step_name),
    }


def _documents(page: Page, row: StepRow) -> dict[str, Any]:
    if not row.failing_documents:
        return {"href": "", "link": ""}
    return {
        "href": page.links.to("/failing", pipeline=row.pipeline, step=row.step_name),
        "link": counted(row.failing_documents, "document"),
    }


def _changed(page: Page, found: OverviewAnswer) -> list[dict[str, Any]]:
    lines = []
    for state, one, many in (
        ("NEW", "new error group", "new error groups"),
        ("REGRESSED", "error group came back", "error groups came back"),
    ):
        groups = [group for group in found.changed if group.state == state]
        if groups:
            first = groups[0]
            text = f"{first.pipeline} / {first.step_name}: {first.template}"
            lines.append(
                {
                    **_line("WARNING", counted(len(groups), one, many) + ":", text),
                    "href": page.links.to("/errors", state=state),
                    "link": "which",
                }
            )
    return lines


def _shortened(lines: Sequence[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    if len(lines) <= _FINDINGS_SHOWN:
        return list(lines)
    more = _line(lines[-1]["level"], f"{len(lines) - _FINDINGS_SHOWN:,} more {what}", "see the table below")
    return [*lines[:_FINDINGS_SHOWN], more]


def _line(level: str, word: str, text: str) -> dict[str, Any]:
    return {"level": level, "word": word, "where": "", "where_href": "", "text": text, "href": "", "link": ""}
