"""From what a question found to an answer: freshness, an entity tag, headers, problems."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import TypeVar

from fastapi import Request, Response

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.access.tokens import Principal
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.problems import ProblemError

A = TypeVar("A", bound=Answer)

_OF_FRESHNESS = {"as_of", "behind_seconds", "behind_events", "freshness_problem"}
_OF_NOW = {*_OF_FRESHNESS, "since", "until", "checked_at"}


def desk_of(request: Request) -> Desk:
    """The desk of the application that got the request."""
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


def principal_of(request: Request) -> Principal:
    """Who asks, as the guard found out."""
    principal = request.scope["state"]["principal"]
    assert isinstance(principal, Principal)
    return principal


async def asked(request: Request, key: Hashable, question: Callable[[], A]) -> A:
    """What the question finds, saying how fresh it is; pages call it as the routes do.

    `key` is all that the answer depends on. Raises what the question does, and ProblemError.
    """
    freshness, found = await desk_of(request).ask(key, question)
    return fresh(found, freshness)


async def answered(request: Request, key: Hashable, question: Callable[[], A]) -> Response:
    """The same as a response: 304 where the entity tag is the one that was asked with."""
    return respond(request, await asked(request, key, question))


def fresh(answer: A, freshness: Freshness) -> A:
    """The answer, saying how fresh it is. One that says so already is of an earlier moment, and stays so."""
    if answer.as_of is not None and (freshness.as_of is None or answer.as_of <= freshness.as_of):
        return answer
    return answer.model_copy(
        update={
            "as_of": freshness.as_of,
            "behind_seconds": freshness.behind_seconds,
            "behind_events": freshness.behind_events,
            "freshness_problem": freshness.problem,
        }
    )


def respond(request: Request, answer: Answer) -> Response:
    """The answer as JSON. Its tag is of what was found, and not of how fresh it is: that is in the headers, too."""
    content = answer.model_dump_json(exclude=_OF_NOW).encode()
    tag = f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Vary": "Authorization, Cookie"}
    if answer.as_of is not None:
        headers["Steptrail-As-Of"] = answer.as_of.isoformat().replace("+00:00", "Z")
    if answer.behind_seconds is not None:
        headers["Steptrail-Behind-Seconds"] = f"{answer.behind_seconds:g}"
    if answer.freshness_problem is not None:
        headers["Steptrail-Freshness"] = "unknown"
    if request.method in ("GET", "HEAD") and _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    body = answer.model_dump_json(exclude_none=False).encode()
    return Response(body, media_type="application/json", headers=headers)


def _matches(asked_with: str, tag: str) -> bool:
    plain = tag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") in (plain, "*") for each in asked_with.split(","))


def refuse_others(principal: Principal, pipeline: str | None) -> str | None:
    """The pipeline that a question is about: the one that was named, or the only one that may be seen.

    Raises ProblemError (403) where others would be in the answer.
    """
    if principal.pipelines is None:
        return pipeline
    if pipeline is None and len(principal.pipelines) == 1:
        return principal.pipelines[0]
    if pipeline is None or not principal.may_see(pipeline):
        allowed = ", ".join(principal.pipelines)
        raise ProblemError(
            403, "not_allowed", f"{principal.name} may see {allowed} alone: name it as `pipeline`"
        )
    return pipeline
