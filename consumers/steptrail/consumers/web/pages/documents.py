"""Documents by state, those heard of last first."""

from __future__ import annotations

from fastapi.responses import HTMLResponse

from steptrail.consumers.web.models.documents import DocumentsAnswer
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Way
from steptrail.consumers.web.service.documents import documents_answer
from steptrail.projections.reading.document_summaries import WORST_FIRST

LIMIT = 50


async def documents(page: Page) -> HTMLResponse:
    """`/documents`."""
    state = page.request.query_params.get("state", "").upper()
    chosen = [status for status in WORST_FIRST if status.value == state] or list(WORST_FIRST)
    state = state if len(chosen) == 1 else ""
    store, span = page.desk.store, page.range.between
    panels = await page.ask(
        documents=(
            ("documents", *page.scope, state, page.after),
            lambda: documents_answer(store, page.pipeline, "recent", "", chosen, span, page.after, LIMIT),
        )
    )
    panel = panels["documents"]
    found: DocumentsAnswer | None = panel.found
    names = ["all", *(status.value for status in WORST_FIRST)]
    parameters = {**page.links.kept, **({"status": state} if state else {})}
    return page.answer(
        "documents.html",
        "Documents",
        documents={
            "rows": [
                {
                    "key": f"{each.pipeline}\x1f{each.doc_id}",
                    "href": page.doc_href(each.pipeline, each.doc_id),
                    "doc_id": each.doc_id,
                    "pipeline": each.pipeline,
                    "status": each.status,
                    "step_name": next(
                        (step.step_name for step in each.steps if step.status == each.status), ""
                    ),
                    "steps": len(each.steps),
                    "last": each.last_at,
                }
                for each in (found.items if found else ())
            ],
            "choices": [
                {
                    "name": name,
                    "is_current": (name if name != "all" else "") == state,
                    "href": page.links.here(state=None if name == "all" else name, after=None),
                }
                for name in names
            ],
            "problem": panel.problem,
            "remedy": panel.remedy,
            "summary": "those heard of last first; a document's state is the worst of its steps'",
            "export": page.api("/export/documents", **parameters, format="csv"),
            "next": page.links.here(after=found.next) if found and found.next else "",
            "ways": page.ways(
                Way(
                    "/documents",
                    page.parameters(status=state),
                    ("documents", *page.options(status=state)),
                )
            ),
        },
    )
