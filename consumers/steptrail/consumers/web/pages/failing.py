"""What is failing now: documents whose current state is bad, not events of the past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.models.work import FailingAnswer, FailingStep
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Way
from steptrail.consumers.web.service.now import Now
from steptrail.consumers.web.service.work import failing_answer
from steptrail.consumers.web.spans import Between
from steptrail.projections.reading.failing import BAD
from steptrail.schemas.figures import counted

LIMIT = 50
GROUPINGS = ("time", "error", "step")


async def failing(page: Page) -> HTMLResponse:
    """`/failing`."""
    step = page.request.query_params.get("step") or None
    grouping = page.request.query_params.get("by", "time")
    whole = Between(datetime.fromtimestamp(0, page.clock.now.tzinfo), page.clock.now)
    store = page.desk.store
    panels = await page.ask(
        failing=(
            ("failing", page.pipeline, step, page.after),
            lambda: failing_answer(store, page.pipeline, step, whole, BAD, page.after, LIMIT),
        ),
        # Counting goes through every execution: the numbers that all pages share, of a moment ago, do.
        counts=(("numbers", page.pipeline), lambda: page.desk.numbers.current(page.pipeline)),
    )
    found: FailingAnswer | None = panels["failing"].found
    numbers: Now | None = panels["counts"].found
    rows = [_row(page, each) for each in found.items] if found else []
    summary = ""
    if numbers is not None:
        counts = [each for (_, name), each in numbers.failing.items() if step in (None, name)]
        documents, can_be_retried = (
            sum(each.documents for each in counts),
            sum(each.can_be_retried for each in counts),
        )
        summary = f"{counted(documents, 'document')}, {can_be_retried:,} can be tried again"
        if step:
            summary += f", in step {step}"
    way = Way(
        "/failing", _scope(page, step), ("failing", *page.options(time=False, step=step)), "failing_steps"
    )
    return page.answer(
        "failing.html",
        "Failing now",
        documents={
            "rows": rows,
            "groups": _groups(rows, grouping),
            "groupings": [
                {"name": name, "is_current": name == grouping, "href": page.links.here(by=name)}
                for name in GROUPINGS
            ],
            "problem": panels["failing"].problem,
            "remedy": panels["failing"].remedy,
            "summary": summary,
            "nothing": f" in {page.pipeline}." if page.pipeline else ".",
            "export": page.api("/export/failing", **_scope(page, step), format="csv"),
            "next": page.links.here(after=found.next) if found and found.next else "",
            "ways": page.ways(way),
        },
    )


def _row(page: Page, each: FailingStep) -> dict[str, Any]:
    return {
        "key": each.execution_id,
        "href": page.doc_href(each.pipeline, each.doc_id),
        "doc_id": each.doc_id,
        "pipeline": each.pipeline,
        "step_name": each.step_name,
        "status": each.status,
        "tries": each.executions,
        "since": each.failing_since,
        "error_type": (each.error_type or "").rpartition(".")[2],
        "error_message": each.error_message or "",
        "retry": "yes" if each.can_be_retried else "no",
    }


def _groups(rows: Sequence[dict[str, Any]], grouping: str) -> list[dict[str, Any]]:
    if grouping not in ("error", "step"):
        return [{"title": "", "count": "", "rows": rows}] if rows else []
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        title = row["error_message"].partition("\n")[0][:200] or row["error_type"] or "no message"
        found.setdefault(
            title if grouping == "error" else f"{row['pipeline']} / {row['step_name']}", []
        ).append(row)
    ordered = sorted(found.items(), key=lambda each: -len(each[1]))
    return [{"title": title, "count": counted(len(of), "document"), "rows": of} for title, of in ordered]


def _scope(page: Page, step: str | None) -> dict[str, str]:
    return {
        **({"pipeline": page.pipeline} if page.pipeline else {}),
        **({"step_name": step} if step else {}),
    }
