"""Health, error groups, alerts, losses, dead letters and lag."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from steptrail.consumers.web.answering import answered, desk_of, principal_of
from steptrail.consumers.web.models import operations
from steptrail.consumers.web.params import After, EverySince, LastDay, LastMonth, Limit, Pipeline, StepName
from steptrail.consumers.web.service import operations as of_operations
from steptrail.projections.stores.dead_letter_store import Selection
from steptrail.projections.stores.error_groups import GroupState

router = APIRouter()

EVERY_STATE = list(GroupState)
NO_REASONS: list[str] = []
ONLY_OPEN: list[Literal["OPEN", "REDRIVEN", "DROPPED"]] = ["OPEN"]

GroupId = Annotated[
    str, Path(pattern="^[0-9a-fA-F]{1,16}$", description="The group's id, or how it begins.", examples=["1f"])
]
LetterStates = Annotated[
    list[Literal["OPEN", "REDRIVEN", "DROPPED"]], Query(description="Only these states.")
]


@router.get("/health", response_model=operations.HealthAnswer, tags=["now"])
async def health(request: Request, pipeline: Pipeline, step_name: StepName = None) -> Response:
    """How everything is, or one pipeline or step, with live evidence; UNKNOWN where it cannot be known."""
    desk = desk_of(request)

    def question() -> operations.HealthAnswer:
        check = of_operations.check_health(desk.health, pipeline, step_name)
        return of_operations.health_answer(check, desk.store, pipeline)

    return await answered(request, ("health", pipeline, step_name), question, keep=False)


@router.get("/error-groups", response_model=operations.GroupsAnswer, tags=["errors"])
async def error_groups(
    request: Request,
    pipeline: Pipeline,
    span: LastDay,
    step_name: StepName = None,
    state: Annotated[
        list[GroupState], Query(description="Only these states: NEW and REGRESSED are what changed.")
    ] = EVERY_STATE,
    limit: Limit = 50,
) -> Response:
    """Errors that are the same but for numbers, names and places, those with most errors within the span first."""
    desk = desk_of(request)
    states = tuple(state)
    key = ("error-groups", pipeline, step_name, states, span.key, limit)
    return await answered(
        request,
        key,
        lambda: of_operations.groups_answer(desk.store, pipeline, step_name, states, span, limit),
    )


@router.get("/error-groups/{group_id}", response_model=operations.GroupAnswer, tags=["errors"])
async def error_group(request: Request, group_id: GroupId, span: LastMonth) -> Response:
    """One group: its trend by hour, its latest events, what was decided about it."""
    desk, mine = desk_of(request), principal_of(request).pipelines
    key = ("error-group", group_id, span.key, mine)
    return await answered(request, key, lambda: of_operations.group_answer(desk.store, group_id, span, mine))


@router.get("/alerts", response_model=operations.AlertsAnswer, tags=["alerts"])
async def alerts(
    request: Request,
    pipeline: Pipeline,
    resolved: Annotated[bool, Query(description="Also those that ended in the last week.")] = False,
) -> Response:
    """Alerts that fire, what holds them back, and who was told."""
    desk, mine = desk_of(request), principal_of(request).pipelines

    def question() -> operations.AlertsAnswer:
        policy = of_operations.policy_of(desk.settings)
        return of_operations.alerts_answer(desk.board.current(), policy, pipeline, resolved, mine)

    return await answered(request, ("alerts", pipeline, resolved, mine), question, keep=False)


@router.get("/silences", response_model=operations.SilencesAnswer, tags=["alerts"])
async def silences(
    request: Request,
    ended: Annotated[bool, Query(description="Also those that ended in the last week.")] = False,
) -> Response:
    """What nobody is told of for a while, and why."""
    desk, mine = desk_of(request), principal_of(request).pipelines
    return await answered(
        request,
        ("silences", ended, mine),
        lambda: of_operations.silences_answer(desk.board.current(), ended, mine),
        keep=False,
    )


@router.get("/losses", response_model=operations.LossesAnswer, tags=["operations"])
async def losses(
    request: Request,
    pipeline: Pipeline,
    span: LastDay,
    everyone: Annotated[bool, Query(description="Also workers that lost nothing.")] = False,
    limit: Limit = 100,
) -> Response:
    """What was lost, by which worker."""
    desk = desk_of(request)
    letters = of_operations.letter_store(desk.clickhouse, desk.settings)
    key = ("losses", pipeline, span.key, everyone, limit)
    return await answered(
        request,
        key,
        lambda: of_operations.losses_answer(desk.store, letters, pipeline, span, everyone, limit),
    )


@router.get("/emitters", response_model=operations.EmittersAnswer, tags=["operations"])
async def emitters(
    request: Request,
    pipeline: Pipeline,
    span: LastDay,
    clock_off: Annotated[bool, Query(description="Only those whose clock is certainly off.")] = False,
    limit: Limit = 100,
) -> Response:
    """Emitters: what became of their events, and how their clocks are."""
    desk = desk_of(request)
    key = ("emitters", pipeline, span.key, clock_off, limit)
    return await answered(
        request, key, lambda: of_operations.emitters_answer(desk.store, pipeline, span, limit, clock_off)
    )


@router.get("/dead-letters", response_model=operations.DeadLettersAnswer, tags=["operations"])
async def dead_letters(
    request: Request,
    pipeline: Pipeline,
    span: EverySince,
    reason: Annotated[list[str], Query(max_length=50, description="Only these reasons.")] = NO_REASONS,
    state: LetterStates = ONLY_OPEN,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Messages that are no events, in the order in which they were set aside."""
    desk = desk_of(request)
    letters = of_operations.letter_store(desk.clickhouse, desk.settings)
    selection = Selection(
        reasons=tuple(reason),
        pipelines=() if pipeline is None else (pipeline,),
        since=span.since,
        until=span.until,
        states=tuple(state),
    )
    place = None if after is None else of_operations.letter_after(after)
    key = ("dead-letters", pipeline, span.key, tuple(reason), tuple(state), place, limit)
    return await answered(
        request, key, lambda: of_operations.letters_answer(letters, selection, place, limit)
    )


@router.get("/lag", response_model=operations.LagAnswer, tags=["operations"])
async def lag(request: Request) -> Response:
    """How far the projection is behind the topic, by partition, and who reads it."""
    desk = desk_of(request)
    return await answered(request, ("lag",), lambda: of_operations.lag_answer(desk.settings))


@router.get("/freshness", response_model=operations.FreshnessAnswer, tags=["operations"])
async def freshness(request: Request) -> Response:
    """Up to when the tables know everything; never a problem, whatever is away."""
    desk = desk_of(request)
    return await answered(
        request,
        ("freshness",),
        lambda: operations.FreshnessAnswer(moved_at=desk.freshness.current().moved_at),
        keep=False,
    )


@router.get("/whoami", response_model=operations.WhoAmI, tags=["operations"])
async def whoami(request: Request) -> Response:
    """Who asks, and what they may do."""
    who = principal_of(request)
    mine = None if who.pipelines is None else list(who.pipelines)
    return await answered(
        request,
        ("whoami", who),
        lambda: operations.WhoAmI(name=who.name, role=who.role, pipelines=mine),
        keep=False,
    )
