"""The changes: a POST each, by who may operate, from pages of this server or from no page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Path, Request, Response

from steptrail.consumers.web.answering import desk_of, principal_of, respond
from steptrail.consumers.web.found import Found, fresh
from steptrail.consumers.web.models import actions, operations
from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.routes.operations import GroupId
from steptrail.consumers.web.service import actions as of_actions

router = APIRouter(tags=["changes"])

A = TypeVar("A", bound=Answer)
_LONGEST_S = 120.0

SilenceId = Annotated[str, Path(pattern="^[0-9a-f]{1,64}$", examples=["5f3a09c1"])]
Verb = Annotated[Literal["resolve", "mute", "reopen"], Path(description="What is decided.")]
_ACTION: dict[str, Literal["RESOLVE", "MUTE", "REOPEN"]] = {
    "resolve": "RESOLVE",
    "mute": "MUTE",
    "reopen": "REOPEN",
}


async def _do(request: Request, change: Callable[[], A]) -> Response:
    desk = desk_of(request)

    def task() -> Found[A]:
        freshness = desk.freshness.current()
        try:
            return Found(freshness, fresh(change(), freshness))
        finally:
            desk.changed()  # before anybody hears of it; a change that failed may have been made in part

    return respond(request, await desk.wait(desk.work.submit(object(), task), _LONGEST_S))  # never shared


@router.post("/error-groups/{group_id}/{verb}", response_model=operations.GroupAnswer)
async def act(request: Request, group_id: GroupId, verb: Verb, body: actions.GroupAction) -> Response:
    """Resolve (mended: tell me if it comes back), mute (known: say no more) or reopen an error group."""
    desk, who = desk_of(request), principal_of(request)
    return await _do(
        request, lambda: of_actions.act_on_group(desk.clickhouse, group_id, _ACTION[verb], body, who)
    )


@router.post("/silences", response_model=operations.SilenceAnswer)
async def silence(request: Request, body: actions.NewSilence) -> Response:
    """Tell nobody of some alerts for a while. They fire all the same; who heard of one hears of its end."""
    desk, who = desk_of(request), principal_of(request)
    return await _do(request, lambda: of_actions.silence(desk.board, body, who))


@router.post("/silences/{silence_id}/expire", response_model=operations.SilenceAnswer)
async def expire(request: Request, silence_id: SilenceId) -> Response:
    """End a silence now. What fires then is told."""
    desk, who = desk_of(request), principal_of(request)
    return await _do(request, lambda: of_actions.expire(desk.board, silence_id, who))


@router.post("/dead-letters/redrive", response_model=actions.RedriveAnswer)
async def redrive(request: Request, body: actions.Redrive) -> Response:
    """Send dead letters again; unless `dry_run` is false, only say which can go, and which cannot and why."""
    desk, who = desk_of(request), principal_of(request)
    return await _do(request, lambda: of_actions.redrive(desk.settings, body, who))


@router.post("/dead-letters/drop", response_model=actions.DropAnswer)
async def drop(request: Request, body: actions.Drop) -> Response:
    """Write down that nothing more is to be done about dead letters; unless `dry_run` is false, only count them."""
    desk, who = desk_of(request), principal_of(request)
    return await _do(request, lambda: of_actions.drop(desk.clickhouse, desk.settings, body, who))
