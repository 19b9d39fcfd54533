"""The questions, one address each; every one is asked by a function of `service`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from steptrail.consumers.web.answering import answered, desk_of, principal_of
from steptrail.consumers.web.models import documents, work
from steptrail.consumers.web.params import (
    After,
    DocId,
    EverySince,
    LastDay,
    LastHour,
    LastMonth,
    Limit,
    Name,
    Pipeline,
    StepName,
)
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.service import documents as of_documents
from steptrail.consumers.web.service import work as of_work
from steptrail.projections.reading.completeness import CompletenessState
from steptrail.schemas.status import ProcessingStatus

router = APIRouter()

EVERY_STATUS = list(ProcessingStatus)
EVERY_BAD: list[Literal["ERROR", "FAILED"]] = ["ERROR", "FAILED"]
EVERY_OPEN: list[Literal["RUNNING", "PENDING"]] = ["RUNNING", "PENDING"]
ONLY_INCOMPLETE = [CompletenessState.INCOMPLETE]
Kind = Literal["documents", "errors", "groups", "workers", "traces", "executions"]
EVERY_KIND: list[Kind] = ["documents", "errors", "groups", "workers", "traces", "executions"]

Bad = Annotated[list[Literal["ERROR", "FAILED"]], Query(description="Only these states.")]
Open = Annotated[list[Literal["RUNNING", "PENDING"]], Query(description="Only these states.")]
Statuses = Annotated[list[ProcessingStatus], Query(description="Only these states.")]


@router.get("/overview", response_model=work.OverviewAnswer, tags=["now"])
async def overview(request: Request, pipeline: Pipeline, span: LastHour) -> Response:
    """Everything that the first page shows, as of one moment: verdicts, what fails, what is stuck, what changed."""
    desk = desk_of(request)

    def question() -> work.OverviewAnswer:
        now = desk.numbers.current(pipeline)
        return of_work.overview_answer(desk.store, now, lambda: desk.check(pipeline), pipeline, span)

    return await answered(request, ("overview", pipeline, span.key), question)


@router.get("/pipelines", response_model=work.PipelinesAnswer, tags=["now"])
async def pipelines(request: Request) -> Response:
    """The pipelines and steps of which anything was ever heard."""
    desk, mine = desk_of(request), principal_of(request).pipelines
    return await answered(request, ("pipelines", mine), lambda: of_work.pipelines_answer(desk.store, mine))


@router.get("/steps", response_model=work.StepsAnswer, tags=["now"])
async def steps(request: Request, pipeline: Pipeline, span: LastHour, step_name: StepName = None) -> Response:
    """Each step: how it fared within the span, its verdict, what runs, waits, is stuck and fails now."""
    desk = desk_of(request)
    key = ("steps", pipeline, step_name, span.key)
    return await answered(
        request,
        key,
        lambda: of_work.steps_answer(desk.store, desk.numbers.current(pipeline), pipeline, step_name, span),
    )


@router.get("/failing", response_model=work.FailingAnswer, tags=["now"])
async def failing(
    request: Request,
    pipeline: Pipeline,
    span: EverySince,
    step_name: StepName = None,
    status: Bad = EVERY_BAD,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Documents that are failing now, the latest failure first, with the last error and whether it can be retried."""
    desk = desk_of(request)
    statuses = tuple(ProcessingStatus(each) for each in status)
    key = ("failing", pipeline, step_name, span.key, statuses, after, limit)
    return await answered(
        request,
        key,
        lambda: of_work.failing_answer(desk.store, pipeline, step_name, span, statuses, after, limit),
    )


@router.get("/failing/counts", response_model=work.FailingCountsAnswer, tags=["now"])
async def failing_counts(
    request: Request, pipeline: Pipeline, span: EverySince, step_name: StepName = None
) -> Response:
    """How many documents are failing now, by step."""
    desk = desk_of(request)
    key = ("failing/counts", pipeline, step_name, span.key)
    return await answered(
        request,
        key,
        lambda: of_work.failing_counts_answer(desk.store, pipeline, step_name, span),
    )


@router.get("/in-progress", response_model=work.InProgressAnswer, tags=["now"])
async def in_progress(
    request: Request,
    pipeline: Pipeline,
    step_name: StepName = None,
    status: Open = EVERY_OPEN,
    only_stalled: Annotated[
        bool, Query(description="Only what is known to be stuck, or never picked up.")
    ] = False,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """What runs, and what waits to be begun, that which began first in front."""
    desk = desk_of(request)
    statuses = tuple(ProcessingStatus(each) for each in status)
    key = ("in-progress", pipeline, step_name, statuses, only_stalled, after, limit)
    return await answered(
        request,
        key,
        lambda: of_work.in_progress_answer(
            desk.store, pipeline, step_name, statuses, only_stalled, after, limit
        ),
    )


@router.get("/in-progress/counts", response_model=work.InProgressCountsAnswer, tags=["now"])
async def in_progress_counts(request: Request, pipeline: Pipeline, step_name: StepName = None) -> Response:
    """How much runs and waits now, by step."""
    desk = desk_of(request)
    key = ("in-progress/counts", pipeline, step_name)
    return await answered(
        request,
        key,
        lambda: of_work.in_progress_counts_answer(desk.store, pipeline, step_name),
    )


@router.get("/throughput", response_model=work.ThroughputAnswer, tags=["over time"])
async def throughput(
    request: Request,
    pipeline: Pipeline,
    span: LastHour,
    step_name: StepName = None,
    bucket_seconds: Annotated[
        int | None, Query(ge=60, le=86_400, description="60, 120, 300, 600, 900, …")
    ] = None,
    by_step: Annotated[bool, Query(description="Each step alone.")] = False,
) -> Response:
    """Throughput, error ratio, p50, p95 and p99 over time."""
    desk = desk_of(request)
    key = ("throughput", pipeline, step_name, span.key, bucket_seconds, by_step)
    return await answered(
        request,
        key,
        lambda: of_work.throughput_answer(desk.store, pipeline, step_name, span, bucket_seconds, by_step),
    )


@router.get("/waits", response_model=work.WaitsAnswer, tags=["over time"])
async def waits(request: Request, pipeline: Pipeline, span: LastHour, step_name: StepName = None) -> Response:
    """How long documents wait between steps."""
    desk = desk_of(request)
    key = ("waits", pipeline, step_name, span.key)
    return await answered(request, key, lambda: of_work.waits_answer(desk.store, pipeline, step_name, span))


@router.get("/durations", response_model=work.DurationsAnswer, tags=["over time"])
async def durations(
    request: Request,
    pipeline: Pipeline,
    span: LastHour,
    step_name: Annotated[Name, Query(min_length=1, max_length=4096, description="The step.")],
) -> Response:
    """How long the executions of one step took: a histogram. It needs a `pipeline`."""
    if pipeline is None:
        raise ProblemError(400, "bad_request", "of which pipeline? Name it as `pipeline`.")
    desk = desk_of(request)
    key = ("durations", pipeline, step_name, span.key)
    return await answered(
        request, key, lambda: of_work.durations_answer(desk.store, pipeline, step_name, span)
    )


@router.get("/documents", response_model=documents.DocumentsAnswer, tags=["documents"])
async def documents_(
    request: Request,
    pipeline: Pipeline,
    span: LastMonth,
    order: Annotated[
        of_documents.Order, Query(description="Those heard of last first, or by name.")
    ] = "recent",
    prefix: Annotated[Name, Query(max_length=4096, description="How their names begin.")] = "",
    status: Statuses = EVERY_STATUS,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Documents with the state of each of their steps."""
    desk = desk_of(request)
    statuses = tuple(status)
    key = ("documents", pipeline, span.key, order, prefix, statuses, after, limit)
    return await answered(
        request,
        key,
        lambda: of_documents.documents_answer(
            desk.store, pipeline, order, prefix, statuses, span, after, limit
        ),
    )


@router.get("/document", response_model=documents.DocumentAnswer, tags=["documents"])
async def document(request: Request, doc_id: DocId, pipeline: Pipeline) -> Response:
    """One document: each step's state, attempts side by side, what is missing, what was observed, its events."""
    desk, mine = desk_of(request), principal_of(request).pipelines
    key = ("document", doc_id, pipeline, mine)
    return await answered(
        request, key, lambda: of_documents.document_answer(desk.store, doc_id, pipeline, mine)
    )


@router.get("/events", response_model=documents.EventsAnswer, tags=["documents"])
async def events(
    request: Request,
    pipeline: Pipeline,
    span: LastMonth,
    doc_id: Annotated[
        Name | None, Query(min_length=1, max_length=4096, description="Only this document.")
    ] = None,
    status: Statuses = EVERY_STATUS,
    after: After = None,
    before: Annotated[
        Name | None, Query(max_length=12_000, description="`previous` of the page behind.")
    ] = None,
    newest_first: bool = True,
    limit: Limit = 100,
) -> Response:
    """Events as the workers sent them, of all documents or of one, each once."""
    desk = desk_of(request)
    statuses = tuple(status)
    key = ("events", pipeline, span.key, doc_id, statuses, after, before, newest_first, limit)
    return await answered(
        request,
        key,
        lambda: of_documents.events_answer(
            desk.store, pipeline, doc_id, statuses, span, after, before, limit, newest_first
        ),
    )


@router.get("/event", response_model=documents.EventAnswer, tags=["documents"])
async def event(
    request: Request,
    pipeline: Pipeline,
    cursor: Annotated[
        Name, Query(min_length=1, max_length=200, description="As `event` or `cursor` has it.")
    ],
) -> Response:
    """One event: the address of a link that lasts."""
    desk = desk_of(request)
    key = ("event", pipeline, cursor)
    return await answered(request, key, lambda: of_documents.event_answer(desk.store, cursor, pipeline))


@router.get("/incomplete", response_model=documents.IncompleteAnswer, tags=["documents"])
async def incomplete(
    request: Request,
    pipeline: Pipeline,
    span: LastHour,
    state: Annotated[list[CompletenessState], Query()] = ONLY_INCOMPLETE,
    quiet: Annotated[bool, Query(description="Only those of which nothing was heard since `since`.")] = False,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Documents that lack some of the steps that their pipeline declared."""
    desk = desk_of(request)
    states = tuple(state)
    key = ("incomplete", pipeline, states, quiet and span.key, after, limit)
    return await answered(
        request,
        key,
        lambda: of_documents.incomplete_answer(
            desk.store, pipeline, states, span if quiet else None, after, limit
        ),
    )


@router.get("/search", response_model=documents.SearchAnswer, tags=["documents"])
async def search(
    request: Request,
    pipeline: Pipeline,
    span: LastDay,
    q: Annotated[Name, Query(min_length=2, max_length=500, description="What to look for.")],
    kind: Annotated[
        list[Kind],
        Query(description="What to look among."),
    ] = EVERY_KIND,
    limit: Annotated[int, Query(ge=1, le=100, description="How many of each kind, at most.")] = 20,
) -> Response:
    """Search by whatever is in hand: part of an id or of an error's message, a worker, a trace, an execution."""
    desk = desk_of(request)
    kinds = tuple(kind)
    key = ("search", pipeline, span.key, q, kinds, limit)
    return await answered(
        request,
        key,
        lambda: of_documents.search_answer(desk.store, q, pipeline, span, kinds, limit),
    )
