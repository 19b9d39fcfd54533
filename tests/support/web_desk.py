"""The application of the HTTP API without services: a store that counts, a clock that moves with its statements."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.app import create_app
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.kept_answers import KeptAnswers
from steptrail.projections.clickhouse.queries import query
from steptrail.schemas.configuration.settings import Settings

AS_OF = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@dataclass
class CountedStore:
    """Knows steps of two pipelines and nothing else; a statement takes `cost_s` by the clock."""

    now: list[float] = field(default_factory=lambda: [1000.0])
    cost_s: float = 0.1
    asked: int = 0
    problem: Exception | None = None
    go: threading.Event = field(default_factory=threading.Event)

    def rows(self, sql: str, parameters: object = None, settings: object = None) -> list[dict[str, Any]]:
        self.asked += 1
        assert self.go.wait(30)
        self.now[0] += self.cost_s
        if self.problem is not None:
            raise self.problem
        known = sql == query("steps_by_pipeline")
        return [{"pipeline": name, "step_name": "ocr"} for name in ("a", "b")] if known else []


class KnownFreshness:
    """Freshness that is as it is told to be."""

    def __init__(self) -> None:
        self.latest = Freshness(AS_OF, 0.0, 0)

    def current(self) -> Freshness:
        return self.latest

    def is_blind(self) -> bool:
        return self.latest.problem is not None

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Reply:
    """An answer of the application."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Application:
    """The application, its desk's store, clock and freshness in the hands of a test."""

    def __init__(self, settings: Settings) -> None:
        self.store, self.freshness = CountedStore(), KnownFreshness()
        self.store.go.set()
        self.desk = Desk(settings)
        self.desk.freshness.close()
        self.desk.store = self.store  # type: ignore[assignment]
        self.desk.freshness = self.freshness  # type: ignore[assignment]
        self.desk.answers = KeptAnswers(clock=lambda: self.store.now[0])
        self.app = create_app(settings, self.desk)
        self.app.state.desk = self.desk

    async def send(
        self, target: str, headers: dict[str, str] | None = None, *, method: str = "GET", body: bytes = b""
    ) -> Reply:
        """One request, below /api/v1."""
        path, _, query = f"/api/v1{target}".partition("?")
        named = {"host": "localhost", "content-length": str(len(body)), **(headers or {})}
        if body:
            named["content-type"] = "application/json"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "client": ("127.0.0.1", 5000),
            "server": ("localhost", 8321),
            "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
        }
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive, send)
        head = {name.decode(): value.decode() for name, value in told[0]["headers"]}
        return Reply(told[0]["status"], head, b"".join(each.get("body", b"") for each in told[1:]))

    def get(self, target: str, headers: dict[str, str] | None = None) -> Reply:
        """One request, in a loop of its own."""
        return asyncio.run(self.send(target, headers))

    def post(self, target: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        """One change."""
        return asyncio.run(self.send(target, headers, method="POST", body=json.dumps(body).encode()))


@contextlib.contextmanager
def application(**values: Any) -> Iterator[Application]:
    """An application whose broker and store are away, but for the counted one that questions are put to."""
    running = Application(Settings(kafka="127.0.0.1:1", clickhouse="http://127.0.0.1:1/x", **values))
    try:
        yield running
    finally:
        running.desk.close()
