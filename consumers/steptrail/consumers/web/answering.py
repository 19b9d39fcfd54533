"""From what a question found to an answer: freshness, an entity tag, headers, problems."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from fastapi import Request, Response

from steptrail.consumers.web.access.tokens import Principal
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.found import Found
from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.problems import ProblemError

A = TypeVar("A", bound=Answer)


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


def key_of(request: Request, key: Hashable) -> Hashable:
    """The key of a question together with the pipelines that whoever asks may see."""
    return principal_of(request).pipelines, key


def wants_newest(request: Request) -> bool:
    """Whether the client asks for an answer that was kept by nobody: `Cache-Control: no-cache`."""
    wanted = request.headers.get("cache-control", "").lower().split(",")
    return any(each.strip() in ("no-cache", "no-store") for each in wanted)


async def answered(
    request: Request, key: Hashable, question: Callable[[], A], *, keep: bool = True
) -> Response:
    """The answer to a question as a response: 304 where its entity tag is the one that was asked with.

    `key` is all that the answer depends on, but for who asks. `keep`: it may be an answer of a moment ago. Raises what
    the question does, and ProblemError.
    """
    desk, whole = desk_of(request), key_of(request, key)
    if not keep:
        return respond(request, await desk.ask(whole, question))
    found = await desk.answer(whole, question, newest=wants_newest(request))
    response = respond(request, found)
    age = int(desk.answers.clock() - found.at)
    if age > 0:
        response.headers["Age"] = str(age)
    return response


def respond(request: Request, found: Found[A]) -> Response:
    """The answer as JSON, or 304; how fresh it is, is in the headers, too."""
    (tag, body), answer = found.rendered, found.result
    headers = {"ETag": tag, "Vary": "Authorization, Cookie"}
    if answer.as_of is not None:
        headers["Steptrail-As-Of"] = answer.as_of.isoformat().replace("+00:00", "Z")
    if answer.behind_seconds is not None:
        headers["Steptrail-Behind-Seconds"] = f"{answer.behind_seconds:g}"
    if answer.freshness_problem is not None:
        headers["Steptrail-Freshness"] = "unknown"
    if request.method in ("GET", "HEAD") and _matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
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
