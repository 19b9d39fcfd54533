"""What stands before every request: who it is from, whether it may, and the headers that every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from steptrail.consumers.web.access.access import Access, Refusal
from steptrail.consumers.web.problems import MEDIA_TYPE, ProblemError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("steptrail.consumers.web")

SAFE: Final = frozenset({"GET", "HEAD"})
OPEN_PATHS: Final = frozenset({"/healthz"})
MAX_BODY_BYTES: Final = 256 * 1024

OF_PAGES: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
OF_DATA: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Guard:
    """An ASGI application in front of another: refuses, or puts the principal in `scope["state"]` and goes on."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no websockets here
        guarded = _with_headers(send)
        try:
            self._check(scope)
        except ProblemError as refused:
            await _refuse(refused, guarded)
            return
        await self._app(scope, _bounded(receive), guarded)

    def _check(self, scope: Scope) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        if scope["path"] in OPEN_PATHS:
            return
        client = scope.get("client")
        found = self._access.identify(headers, None if client is None else client[0])
        if isinstance(found, Refusal):
            challenge = {"WWW-Authenticate": 'Basic realm="steptrail", charset="UTF-8"'}
            if found.status == 401:
                raise ProblemError(401, "unauthenticated", found.detail, headers=challenge)
            raise ProblemError(421, "foreign_host", found.detail)
        scope.setdefault("state", {})["principal"] = found
        if scope["method"] in SAFE:
            return
        if not self._access.same_site(headers):
            _log.warning(
                "refused a change from another site", extra={"path": scope["path"], "by": found.name}
            )
            raise ProblemError(
                403, "foreign_origin", "a change must be asked for by a page of this server, or by no page"
            )
        if not found.may_operate:
            raise ProblemError(403, "not_allowed", f"{found.name} may read, and change nothing")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ProblemError(
                415, "unacceptable_body", "a change is asked for with Content-Type: application/json"
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            raise _too_long()


def _too_long() -> ProblemError:
    return ProblemError(413, "unacceptable_body", f"a body has at most {MAX_BODY_BYTES} bytes")


def _bounded(receive: Receive) -> Receive:
    """The same, but no more than a body may have: one that comes in pieces does not say how long it is."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise _too_long()
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            given = {name.lower(): value for name, value in headers}
            page = given.get(b"content-type", b"").startswith(b"text/html")
            policy = OF_PAGES if page else OF_DATA
            headers += [pair for pair in _HEADERS if pair[0] not in given]
            if b"content-security-policy" not in given:
                headers.append((b"content-security-policy", policy.encode()))
            if b"cache-control" not in given:
                headers.append((b"cache-control", b"no-cache, private"))
            message = {**message, "headers": headers}
        await send(message)

    return guarded


async def _refuse(refused: ProblemError, send: Send) -> None:
    body = refused.problem.model_dump_json().encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
