"""The HTTP API as it runs, and a plain client of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from steptrail.consumers.web.run import run_web
from steptrail.schemas.configuration.settings import Settings


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Api:
    """A running API."""

    address: str
    metrics_port: int

    def exposition(self) -> str:
        """What it shows to Prometheus."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    @property
    def authority(self) -> str:
        return urlsplit(self.address).netloc

    def get(self, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> Reply:
        query = urlencode(parameters, doseq=True)
        return self.send("GET", f"{path}?{query}" if query else path, None, headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        return self.send(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    def send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own; `path` below /api/v1 unless it begins with two slashes."""
        target = path[1:] if path.startswith("//") else f"/api/v1{path}"
        connection = http.client.HTTPConnection(self.authority, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, told, answer.read())


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """The API in a thread of this process, on a free port; stopped, and joined, at the end."""
    stop, metrics_port = threading.Event(), _free_port()
    said: queue.Queue[str | BaseException] = queue.Queue()

    def run() -> None:
        try:
            run_web(settings.with_values(web_port=0, metrics_port=metrics_port), stop, on_ready=said.put)
        except BaseException as error:
            said.put(error)

    thread = threading.Thread(target=run, name="web")
    thread.start()
    try:
        told = said.get(timeout=120)
        if isinstance(told, BaseException):
            raise told
        yield Api(told, metrics_port)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
