"""`steptrail run web` as a process of its own, on the store of ten million events."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from bench.session import Session
from bench.stack import STEPTRAIL

ANEW = {"Cache-Control": "no-cache"}

_PATIENCE_S = 60


@dataclass(frozen=True)
class Served:
    """The pages at `address`; `hours` are the parameters of the last hours that the store has events of."""

    address: str
    session: Session

    def url(self, path: str, **parameters: str) -> str:
        """The address of a page, or of an endpoint below /api/v1."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"{self.address}{path}{query}"

    def span(self, hours: float) -> dict[str, str]:
        """`since` and `until` around the store's last events."""
        end = self.session.store.last_event + timedelta(seconds=1)
        start = end - timedelta(hours=hours)
        return {"since": start.isoformat(), "until": end.isoformat()}

    def ask(self, path: str, **parameters: str) -> Any:
        """What an endpoint answers."""
        with urllib.request.urlopen(self.url(f"/api/v1{path}", **parameters), timeout=120) as answer:
            return json.load(answer)

    def ask_anew(self, path: str, **parameters: str) -> Any:
        """What an endpoint answers from the store, whatever it kept of earlier answers."""
        request = urllib.request.Request(self.url(f"/api/v1{path}", **parameters), headers=ANEW)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)


@contextmanager
def serving(session: Session) -> Iterator[Served]:
    """Start it, wait until it answers, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment: Mapping[str, str] = {
        **session.environment(session.workspace("web")),
        "STEPTRAIL_CLICKHOUSE": f"{session.store.url}/large",
        "STEPTRAIL_WEB_PORT": str(port),
    }
    process = subprocess.Popen(
        [*STEPTRAIL, "run", "web"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        served = Served(f"http://127.0.0.1:{port}", session)
        _wait(process, served)
        yield served
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _wait(process: subprocess.Popen[bytes], served: Served) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            served.ask("/pipelines")
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"steptrail run web did not answer within {_PATIENCE_S} s") from None
            time.sleep(0.1)
