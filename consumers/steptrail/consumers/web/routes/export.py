"""Any list as a file, for a span of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from steptrail.consumers.web.answering import desk_of
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.limited_store import Lane, in_lane
from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.params import LastDay, Pipeline, StepName
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.routes.questions import EVERY_STATUS, Statuses
from steptrail.consumers.web.service.export import MEDIA_TYPES, names_of, rows, written
from steptrail.consumers.web.service.lists import ListName, Sources, list_pages
from steptrail.projections.reading.exports import export_events, export_executions

router = APIRouter(tags=["export"])

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A file.",
        "content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
    }
}


@router.get("/export/{what}", response_class=StreamingResponse, responses=_FILE)
async def export(
    request: Request,
    what: Literal["events", "executions"] | ListName,
    pipeline: Pipeline,
    span: LastDay,
    step_name: StepName = None,
    status: Statuses = EVERY_STATUS,
    format: Annotated[
        Literal["jsonl", "csv", "parquet"], Query(description="Parquet: events and executions alone.")
    ] = "jsonl",
) -> StreamingResponse:
    """A list as JSON lines, CSV or Parquet. An answer that is cut off ends without its last piece, never silently."""
    desk = desk_of(request)
    if what == "events":
        pieces = await _first(
            desk, export_events(desk.clickhouse, pipeline, span.span, format, status, step_name)
        )
    elif what == "executions":
        pieces = await _first(
            desk, export_executions(desk.clickhouse, pipeline, span.span, format, status, step_name)
        )
    else:
        if format == "parquet":
            detail = "only events and executions come as Parquet: take jsonl or csv"
            raise ProblemError(400, "bad_request", detail)
        sources = Sources(desk.store, desk.clickhouse, desk.settings, desk.numbers.current)
        ask = list_pages(sources, what, pipeline, step_name, span, tuple(status))

        def page(after: str | None) -> Answer:
            return in_lane(Lane.LONG, lambda: ask(after))()

        first = (await desk.ask(("export", object()), lambda: page(None))).result
        pieces = written(rows(first, page), format, names_of(first))
    headers = {
        "Content-Disposition": f'attachment; filename="steptrail-{what}.{format}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(pieces, media_type=MEDIA_TYPES[format], headers=headers)


async def _first(desk: Desk, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, once the first is there: what is wrong from the start becomes a problem."""
    piece = await desk.wait(desk.work.submit(object(), lambda: next(pieces, b"")))

    def all_of_them() -> Iterator[bytes]:
        yield piece
        yield from pieces

    return all_of_them()
