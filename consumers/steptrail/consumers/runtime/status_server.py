"""Metrics and health over HTTP, for Prometheus, probes and `steptrail lag`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

import orjson

from steptrail.consumers.runtime.status import State, Status

# A turn takes at most a second: a loop without one for this long hangs.
STALLED_AFTER_S = 60.0

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"


class Metrics(Protocol):
    """A source of metrics for Prometheus."""

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        ...


class StatusServer:
    """Serves `/metrics`, `/status` (JSON), `/healthz` (the loop runs) and `/readyz` (and it waits for nothing).

    The last two answer 503 with the reason otherwise. Listens on loopback unless another host is given; it exposes no
    secrets and is read-only. `port` 0 picks a free one. Raises OSError when the address is in use.
    """

    def __init__(self, status: Status, metrics: Metrics, *, host: str, port: int) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(status, metrics))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="steptrail-http",
            daemon=True,
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(status: Status, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    def show_metrics() -> tuple[int, str, bytes]:
        return 200, _TEXT, metrics.exposition()

    def show_status() -> tuple[int, str, bytes]:
        return 200, _JSON, orjson.dumps(status.as_dict())

    def alive() -> tuple[int, str, bytes]:
        quiet = time.monotonic() - status.last_turn
        if quiet > STALLED_AFTER_S and status.state is not State.STOPPED:
            return 503, _JSON, orjson.dumps({"ok": False, "reason": f"no turn for {quiet:.0f} s"})
        return 200, _JSON, orjson.dumps({"ok": True})

    def ready() -> tuple[int, str, bytes]:
        if status.state is not State.RUNNING:
            reason = status.waiting_for or status.state.value
            return 503, _JSON, orjson.dumps({"ok": False, "reason": reason})
        return 200, _JSON, orjson.dumps({"ok": True})

    routes: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/metrics": show_metrics,
        "/status": show_status,
        "/healthz": alive,
        "/readyz": ready,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                self.send_error(404)
                return
            code, kind, body = route()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: scrapes every few seconds would flood the log."""

    return Handler
