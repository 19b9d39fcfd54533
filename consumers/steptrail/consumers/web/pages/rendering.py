"""The templates and what they can call."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from steptrail.consumers.web.pages.words import placeholders, short, sign, size

_PACKAGE = "steptrail.consumers.web.pages"
_WORTH_BYTES = 1_000
_LEVEL = 6


@cache
def environment() -> Environment:
    """Everything that a template writes is escaped; a name that is not there is an error, not nothing."""
    made = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(short=short, size=size, placeholders=placeholders)
    made.globals.update(sign=sign, static=static)
    return made


def render(template: str, **values: Any) -> str:
    """A page as HTML."""
    return environment().get_template(template).render(**values)


def compressed(request: Request, response: Response) -> Response:
    """The response, smaller where the browser takes that; only what is text and worth it."""
    body = bytes(response.body)
    if len(body) < _WORTH_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return response
    response.body = gzip.compress(body, _LEVEL)
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Vary"] = "Accept-Encoding, Cookie"
    return response


@cache
def static(name: str) -> str:
    """The address of a file in `static/`; it changes with the file, so that browsers may keep it for good."""
    digest = hashlib.sha256((files(_PACKAGE) / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"
