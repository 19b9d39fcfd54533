"""Search by whatever is in hand, as a page and for the palette."""

from __future__ import annotations

from typing import Any

from fastapi.responses import HTMLResponse, JSONResponse

from steptrail.consumers.web.models.documents import Hit, SearchAnswer
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Panel, Way, positional
from steptrail.consumers.web.pages.words import short
from steptrail.consumers.web.service.documents import search_answer
from steptrail.projections.reading.search import KINDS
from steptrail.schemas.figures import counted

_KIND_WORDS = {
    "documents": "document",
    "errors": "error",
    "groups": "error group",
    "workers": "worker",
    "traces": "trace",
    "executions": "execution",
}
_LIMIT, _PALETTE_LIMIT = 30, 6


async def search_page(page: Page) -> HTMLResponse:
    """`/search?q=…`."""
    text = page.request.query_params.get("q", "").strip()
    panel = Panel(SearchAnswer(items=[], more=[], matched_errors=0))
    if text:
        panel = (await page.ask(found=_question(page, text, _LIMIT)))["found"]
    else:
        await page.ask()
    found: SearchAnswer | None = panel.found
    more = found.more if found else []
    way = Way("/search", page.parameters(q=text), ("search", *page.options(), *positional(text)))
    return page.answer(
        "search.html",
        f"Search: {text[:60]}" if text else "Search",
        query=text,
        found={
            "rows": [_row(page, each) for each in (found.items if found else ())],
            "problem": panel.problem,
            "remedy": panel.remedy,
            "summary": counted(len(found.items), "hit") if found and text else "",
            "more": f"There is more, or not all was looked through in time: {', '.join(more)}."
            if more
            else "",
            "ways": page.ways(way) if text else [],
        },
    )


async def palette(page: Page) -> JSONResponse:
    """`/palette?q=…`: {"results": [{"href", "text"}]}."""
    text = page.request.query_params.get("q", "").strip()
    panel = await page.question(*_question(page, text, _PALETTE_LIMIT)) if len(text) > 1 else Panel()
    found: SearchAnswer | None = panel.found
    rows = [_row(page, each) for each in (found.items if found else ())]
    return JSONResponse(
        {
            "results": [
                {
                    "href": row["href"],
                    "text": " · ".join(filter(None, (row["kind"], row["doc_id"], short(row["text"], 100)))),
                }
                for row in rows
            ]
        }
    )


def _question(page: Page, text: str, limit: int) -> Any:
    span = page.range.between
    return (
        ("search", *page.scope, text, limit),
        lambda: search_answer(page.desk.store, text, page.pipeline, span, KINDS, limit),
    )


def _row(page: Page, hit: Hit) -> dict[str, Any]:
    if hit.group_id:
        href = page.links.to(f"/errors/{hit.group_id}")
    elif hit.doc_id is not None:
        href = page.doc_href(hit.pipeline, hit.doc_id)
        if hit.execution_id:
            href += f"#execution-{hit.execution_id}"
    else:
        href = page.links.to("/operations", pipeline=hit.pipeline) + "#section-workers"
    return {
        "key": "\x1f".join(
            map(
                str,
                (
                    hit.kind,
                    hit.pipeline,
                    hit.doc_id,
                    hit.group_id,
                    hit.worker,
                    hit.trace_id,
                    hit.execution_id,
                    hit.event,
                ),
            )
        ),
        "kind": _KIND_WORDS.get(hit.kind, hit.kind),
        "href": href,
        "doc_id": hit.doc_id or hit.worker or hit.group_id or "",
        "pipeline": hit.pipeline,
        "step_name": hit.step_name or "",
        "status": hit.status or "",
        "text": hit.text
        or hit.trace_id
        or hit.execution_id
        or (hit.worker if hit.kind != "workers" else "")
        or "",
        "timestamp": hit.at,
    }
