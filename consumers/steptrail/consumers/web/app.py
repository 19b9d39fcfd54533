"""The application: the guard, the addresses, and what becomes of errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from steptrail.consumers.web.access.access import Access
from steptrail.consumers.web.access.guard import Guard
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.metrics import Measured, WebMetrics
from steptrail.consumers.web.pages.router import router as pages
from steptrail.consumers.web.problems import MEDIA_TYPE, Problem, ProblemError, as_problem
from steptrail.consumers.web.routes import changes, export, live, operations, questions
from steptrail.schemas.configuration.settings import Settings

_log = logging.getLogger("steptrail.consumers.web")

API = "/api/v1"
_WORDS = {404: "not_found", 405: "method_not_allowed", 413: "unacceptable_body", 415: "unacceptable_body"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in {
        400: "The request is wrong.",
        401: "A token is needed.",
        403: "Not for this token, or asked for by another site.",
        404: "There is no such thing.",
        413: "The body is too long.",
        415: "The body is not JSON.",
        421: "Asked for under a foreign name.",
        422: "A parameter is wrong.",
        503: "Store or broker do not answer; what cannot be known is said.",
    }.items()
}


def create_app(settings: Settings, desk: Desk | None = None) -> FastAPI:
    """The application, with a desk of its own unless given; it closes that when it ends.

    Raises ConfigurationError for settings that would let anybody in.
    """
    access = Access(settings)
    metrics = WebMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.desk = desk or Desk(settings, metrics)
        try:
            yield
        finally:
            if desk is None:
                app.state.desk.close()

    app = FastAPI(
        title="steptrail",
        version="1",
        summary="What happened to every document, what is failing now, and whether that can be believed.",
        description="Every answer says up to when it knows everything (`as_of`) and how far it is behind"
        " (`behind_seconds`). Lists come in pages: give `next` back as `after`. Errors are RFC 9457 problems.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.metrics = metrics
    for module in (questions, operations, export, live, changes):
        app.include_router(module.router, prefix=API, responses=_ANSWERS)

    app.include_router(pages)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, bool]:
        return {"ok": True}

    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_error)
    app.add_middleware(_CatchErrors)
    app.add_middleware(Guard, access=access)
    app.add_middleware(Measured, metrics=metrics)
    _describe(app)
    return app


class _CatchErrors:
    """Makes problems of our errors before Starlette's outermost handler, which would raise them again."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            await _response_of(error)(scope, receive, send)


def _describe(app: FastAPI) -> None:
    """The OpenAPI document, with the schema of problems, and without the validation errors that we do not send."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            document["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            }
            document["security"] = [{}, {"token": []}, {"password": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _response_of(error: Exception) -> Response:
    problem = as_problem(error)
    if problem is None:
        _log.error("a question failed", exc_info=error)
        problem = ProblemError(500, "internal", "the log says what; nothing was changed")
    return _shown(problem)


def _shown(error: ProblemError) -> Response:
    body = error.problem.model_dump_json()
    return Response(body, error.problem.status, media_type=MEDIA_TYPE, headers=error.headers)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return _shown(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        {
            "name": ".".join(str(part) for part in each["loc"][1:]) or str(each["loc"][0]),
            "message": each["msg"],
        }
        for each in error.errors()
    ]
    detail = "; ".join(f"{each['name']}: {each['message']}" for each in wrong)[:2000]
    return _shown(ProblemError(422, "bad_request", detail, errors=wrong))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    word = _WORDS.get(error.status_code, "bad_request")
    headers = dict(error.headers or {})
    return _shown(ProblemError(error.status_code, word, str(error.detail), headers=headers))


async def _on_error(_: Request, error: Exception) -> Response:
    return _response_of(error)
