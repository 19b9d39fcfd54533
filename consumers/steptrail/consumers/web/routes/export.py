"""Any list as a file, for a span of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from steptrail.consumers.web.answering import desk_of
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.params import LastDay, Pipeline, StepName
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.routes.questions import EVERY_STATUS, Statuses
from steptrail.consumers.web.service import documents as of_documents
from steptrail.consumers.web.service import operations as of_operations
from steptrail.consumers.web.service import work as of_work
from steptrail.consumers.web.service.export import MEDIA_TYPES, PAGE, names_of, rows, written
from steptrail.consumers.web.spans import Between
from steptrail.projections.reading.completeness import CompletenessState
from steptrail.projections.reading.exports import export_events
from steptrail.projections.reading.in_progress import OPEN
from steptrail.projections.stores.dead_letter_store import STATES, Selection
from steptrail.projections.stores.error_groups import GroupState
from steptrail.schemas.status import ProcessingStatus

router = APIRouter(tags=["export"])

What = Literal[
    "events", "failing", "in-progress", "documents", "steps", "throughput", "waits", "error-groups", "losses",
    "emitters", "dead-letters", "incomplete",
]  # fmt: skip
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A file.",
        "content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
    }
}
Pages = Callable[[str | None], Answer]


@router.get("/export/{what}", response_class=StreamingResponse, responses=_FILE)
async def export(
    request: Request,
    what: What,
    pipeline: Pipeline,
    span: LastDay,
    step_name: StepName = None,
    status: Statuses = EVERY_STATUS,
    format: Annotated[
        Literal["jsonl", "csv", "parquet"], Query(description="Parquet: events alone.")
    ] = "jsonl",
) -> StreamingResponse:
    """A list as JSON lines, CSV or Parquet. An answer that is cut off ends without its last piece, never silently."""
    desk = desk_of(request)
    if what == "events":
        pieces = await _first(desk, export_events(desk.clickhouse, pipeline, span.span, format, status))
    else:
        if format == "parquet":
            raise ProblemError(400, "bad_request", "only events come as Parquet: take jsonl or csv")
        ask = _pages(desk, what, pipeline, step_name, span, tuple(status))
        _, first = await desk.ask(("export", object()), lambda: ask(None))
        pieces = written(rows(first, ask), format, names_of(first))
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


def _pages(
    desk: Desk,
    what: What,
    pipeline: str | None,
    step_name: str | None,
    span: Between,
    statuses: tuple[ProcessingStatus, ...],
) -> Pages:
    store = desk.store
    letters = of_operations.letter_store(desk.clickhouse, desk.settings)
    bad = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)

    def dead_letters(after: str | None) -> Answer:
        chosen = Selection(
            pipelines=() if pipeline is None else (pipeline,),
            since=span.since,
            until=span.until,
            states=STATES,
        )
        place = None if after is None else of_operations.letter_after(after)
        return of_operations.letters_answer(letters, chosen, place, PAGE)

    asks: dict[str, Pages] = {
        "failing": lambda after: of_work.failing_answer(store, pipeline, step_name, span, bad, after, PAGE),
        "in-progress": lambda after: of_work.in_progress_answer(
            store, pipeline, step_name, OPEN, False, after, PAGE
        ),
        "documents": lambda after: of_documents.documents_answer(
            store, pipeline, "recent", "", statuses, span, after, PAGE
        ),
        "steps": lambda _: of_work.steps_answer(
            store, desk.numbers.current(pipeline), pipeline, step_name, span
        ),
        "throughput": lambda _: of_work.throughput_answer(store, pipeline, step_name, span, None, True),
        "waits": lambda _: of_work.waits_answer(store, pipeline, step_name, span),
        "error-groups": lambda _: of_operations.groups_answer(
            store, pipeline, step_name, tuple(GroupState), span, PAGE
        ),
        "losses": lambda _: of_operations.losses_answer(store, letters, pipeline, span, True, 10_000),
        "emitters": lambda _: of_operations.emitters_answer(store, pipeline, span, 10_000, False),
        "dead-letters": dead_letters,
        "incomplete": lambda after: of_documents.incomplete_answer(
            store, pipeline, tuple(CompletenessState), None, after, PAGE
        ),
    }
    return asks[what]
