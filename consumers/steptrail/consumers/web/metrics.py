"""What the API shows to Prometheus."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as _exposition

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 30.0)


class WebMetrics:
    """Every name begins with `steptrail_web`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "steptrail_web_requests", "Requests that were answered", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "steptrail_web_request_seconds",
            "Time until the answer began",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.statements = Counter(
            "steptrail_web_statements", "Statements that were asked of the store", ["lane"], registry=registry
        )
        self.kept_answers = Counter(
            "steptrail_web_kept_answers", "Questions that were answered with what was kept", registry=registry
        )
        self.streams = Gauge("steptrail_web_streams", "Live streams that are open", registry=registry)

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return _exposition(self.registry)


class Measured:
    """An ASGI application in front of another: counts and times requests by route, never by name or id."""

    def __init__(self, app: Any, metrics: WebMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def measured(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(route, str(message["status"])).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, measured)
