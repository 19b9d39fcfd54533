"""A real HTTP listener that plays an alert target: it verifies signatures, keeps what it got, and can misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.waiting import PATIENCE_S

SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, no less").decode()


@dataclass(frozen=True)
class Got:
    """A request as it came; `signed` tells whether its signature is right, None where it had none."""

    path: str
    headers: dict[str, str]
    body: Any
    signed: bool | None
    at: float

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts of a body in our own format."""
        found: list[dict[str, Any]] = self.body["data"]["alerts"]
        return found


@dataclass
class Listener:
    """`got` is everything; `behave` says what to do with the request of that number (from 0).

    It returns a status, or a status and headers; it may also take its time.
    """

    port: int = 0
    got: list[Got] = field(default_factory=list)
    behave: Callable[[int], int | tuple[int, dict[str, str]]] = lambda _: 200
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def said(self) -> list[tuple[str, str, str]]:
        """Of each alert in each request: scope's step, episode, status."""
        return [
            (each["step"], each["episode"], each["status"]) for got in list(self.got) for each in got.alerts
        ]

    def once(self) -> list[tuple[str, str]]:
        """Step and status of what a receiver keeps that drops what it knows: alerts by id, episode and status."""
        kept = dict.fromkeys(
            (each["step"], each["id"], each["episode"], each["status"])
            for got in list(self.got)
            for each in got.alerts
        )
        return [(step, status) for step, _, _, status in kept]

    def wait(self, reached: Callable[[], bool], timeout: float = PATIENCE_S) -> None:
        """Wait until `reached`; fails with what was got."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while not reached():
                left = deadline - time.monotonic()
                assert left > 0, f"got only {[got.body for got in self.got]}"
                self.changed.wait(min(left, 0.5))


@contextmanager
def listening(secret: str | None = SECRET) -> Iterator[Listener]:
    """A listener on a free port."""
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with listener.changed:
                number = len(listener.got)
                signed = is_signed(headers, body, secret) if secret and "webhook-id" in headers else None
                listener.got.append(Got(self.path, headers, json.loads(body), signed, time.time()))
                listener.changed.notify_all()
            answer = listener.behave(number)
            status, more = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who hangs is hung up on

    server = Server(("127.0.0.1", 0), Handler)
    listener.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """Whether a request is signed as Standard Webhooks has it, written from its text and not from our code."""
    key = base64.b64decode(secret.split("_", 1)[1])
    content = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and f"v1,{expected}" in headers.get("webhook-signature", "").split(" ")
