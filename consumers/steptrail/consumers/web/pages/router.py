"""The addresses of the pages."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import unquote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from steptrail.consumers.web.answering import desk_of, principal_of, refuse_others
from steptrail.consumers.web.pages.document import document
from steptrail.consumers.web.pages.documents import documents
from steptrail.consumers.web.pages.errors import errors, group
from steptrail.consumers.web.pages.failing import failing
from steptrail.consumers.web.pages.finding import palette, search_page
from steptrail.consumers.web.pages.operations import operations, redrive_plan
from steptrail.consumers.web.pages.overview import overview
from steptrail.consumers.web.pages.page import Page, refusal
from steptrail.consumers.web.pages.rendering import compressed, static
from steptrail.consumers.web.pages.steps import step, steps
from steptrail.consumers.web.problems import ProblemError

router = APIRouter(include_in_schema=False)
_STATIC = files("steptrail.consumers.web.pages") / "static"


def _serve(
    path: str, current: str, show: Callable[[Page], Awaitable[Response]], *, has_range: bool = True
) -> None:
    async def endpoint(request: Request) -> Response:
        return await _shown(request, current, show, has_range=has_range)

    router.add_api_route(path, endpoint, methods=["GET"])


async def _shown(
    request: Request, current: str, show: Callable[[Page], Awaitable[Response]], *, has_range: bool = True
) -> Response:
    """The page, or one that says what is wrong with its address."""
    try:
        page = Page(request, desk_of(request), current, has_range=has_range)
        page.pipeline = refuse_others(principal_of(request), page.pipeline)
        return await show(page)
    except ProblemError as error:
        said = error.problem
        return refusal(said.title, [said.detail], said.status, request, desk_of(request))


_serve("/", "overview", overview)
_serve("/failing", "failing", failing, has_range=False)
_serve("/documents", "documents", documents)
_serve("/document", "documents", document, has_range=False)
_serve("/errors", "errors", errors)
_serve("/steps", "steps", steps)
_serve("/steps/one", "steps", step)
_serve("/search", "", search_page)
_serve("/palette", "", palette)
_serve("/operations", "operations", operations)
_serve("/operations/redrive-plan", "operations", redrive_plan)


@router.get("/errors/{group_id}")
async def _group(request: Request, group_id: str) -> Response:
    return await _shown(request, "errors", lambda page: group(page, group_id))


@router.get("/pipelines/{rest:path}")
async def _linked(request: Request, rest: str) -> Response:
    """The addresses that alerts link to: `/pipelines/<pipeline>` and `/pipelines/<pipeline>/steps/<step>`."""
    # A name may hold a slash: the address is cut where it was before it was decoded.
    raw = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1").partition("?")[0]
    parts = [unquote(part) for part in raw.removeprefix("/pipelines/").split("/")]
    if len(parts) == 1:
        return RedirectResponse(f"/?{urlencode({'pipeline': parts[0]})}", 302)
    if len(parts) == 3 and parts[1] == "steps":
        return RedirectResponse(f"/steps/one?{urlencode({'pipeline': parts[0], 'step': parts[2]})}", 302)
    return refusal("There is no such page", [f"/pipelines/{rest}"[:200]], 404, request, desk_of(request))


@router.get("/static/{name:path}")
async def _file(request: Request, name: str) -> Response:
    """A file of the pages. One whose address names its content may be kept for good."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return Response(status_code=404)
    file = _STATIC.joinpath(*parts)
    if not file.is_file():
        return Response(status_code=404)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    kept = request.url.query == static(name).partition("?")[2]
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache",
        "ETag": f'"{static(name)[-12:]}"',
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return compressed(request, Response(file.read_bytes(), media_type=kind, headers=headers))
