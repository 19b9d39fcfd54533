"""What stands before every request, in front of an application that says what reached it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers.web.access.access import Access
from steptrail.consumers.web.access.guard import OF_DATA, OF_PAGES, Guard
from steptrail.consumers.web.access.tokens import new_token
from steptrail.schemas.configuration.settings import Settings


class Inner:
    """An application that answers 200 and remembers who came."""

    def __init__(self, kind: bytes = b"application/json") -> None:
        self.kind = kind
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope.get("state", {}).get("principal"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind)]})
        await send({"type": "http.response.body", "body": b"{}"})


def ask(
    guard: Guard, method: str = "GET", path: str = "/api/v1/x", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    told: list[Any] = []
    named = {"host": "localhost:8321", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": ("127.0.0.1", 5000),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody reads the body here")

    asyncio.run(guard(scope, receive, send))
    head = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], head, b"".join(each.get("body", b"") for each in told[1:])


def guard_of(inner: Inner, **values: Any) -> Guard:
    return Guard(inner, Access(Settings(kafka="127.0.0.1:1", clickhouse="http://127.0.0.1:1/x", **values)))


JSON = {"content_type": "application/json"}


def test_a_change_of_a_local_tool_reaches_the_application() -> None:
    """With JSON, and no page behind it."""
    inner = Inner()
    assert ask(guard_of(inner), "POST", **JSON)[0] == 200
    assert inner.seen[0].may_operate


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "ODD"])
def test_a_change_from_another_site_is_refused_by_every_method(method: str) -> None:
    """Whatever is not reading is a change."""
    inner = Inner()
    status, head, body = ask(guard_of(inner), method, **JSON, origin="http://evil.example")
    assert (status, head["content-type"], inner.seen) == (403, "application/problem+json", [])
    assert json.loads(body)["error"] == "foreign_origin"


def test_a_form_changes_nothing() -> None:
    """What a page can send without asking is no JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        inner = Inner()
        assert ask(guard_of(inner), "POST", content_type=kind)[0] == 415
        assert inner.seen == []


def test_a_rebound_name_reads_nothing() -> None:
    """421, and the application never hears of it."""
    inner = Inner()
    assert ask(guard_of(inner), host="evil.example")[0] == 421
    assert inner.seen == []


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    """The role read reads."""
    file = tmp_path / "tokens.toml"
    token = new_token(file, "ann", "read")
    inner = Inner()
    guard = guard_of(inner, web_tokens=str(file))
    assert ask(guard, authorization=f"Bearer {token}")[0] == 200
    assert ask(guard, "POST", authorization=f"Bearer {token}", **JSON)[0] == 403
    assert [principal.name for principal in inner.seen] == ["ann"]


def test_without_a_token_a_browser_is_asked_for_one(tmp_path: Path) -> None:
    """By the header that makes it ask."""
    file = tmp_path / "tokens.toml"
    new_token(file, "ann", "read")
    status, head, body = ask(guard_of(Inner(), web_tokens=str(file)))
    assert status == 401
    assert head["www-authenticate"].startswith("Basic ")
    assert json.loads(body)["status"] == 401


def test_a_body_that_is_too_long_is_refused() -> None:
    """Before it is read; a length that is no number, too."""
    for length in (str(2**40), "-1", "many"):
        inner = Inner()
        assert ask(guard_of(inner), "POST", content_length=length, **JSON)[0] == 413
        assert inner.seen == []


@pytest.mark.parametrize(
    ("kind", "policy"), [(b"text/html; charset=utf-8", OF_PAGES), (b"application/json", OF_DATA)]
)
def test_every_answer_carries_a_strict_policy(kind: bytes, policy: str) -> None:
    """No script from elsewhere or inline, no frame around it, no type guessed."""
    _, head, _ = ask(guard_of(Inner(kind)))
    assert head["content-security-policy"] == policy
    assert "unsafe" not in policy
    assert head["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in head
    refused = ask(guard_of(Inner(kind)), host="evil.example")[1]
    assert refused["content-security-policy"] == OF_DATA


def test_a_probe_needs_no_token(tmp_path: Path) -> None:
    """/healthz says nothing but that the server answers."""
    file = tmp_path / "tokens.toml"
    new_token(file, "ann", "read")
    assert ask(guard_of(Inner(), web_tokens=str(file)), path="/healthz")[0] == 200
    assert ask(guard_of(Inner(), web_tokens=str(file)), path="/healthz/../api/v1/x")[0] == 401
