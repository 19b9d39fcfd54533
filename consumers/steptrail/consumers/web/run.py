"""The HTTP API as a part that runs until it is stopped."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.consumers.runtime.service import Service
from steptrail.consumers.runtime.status import State, Status
from steptrail.consumers.web.app import create_app
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError

_log = logging.getLogger("steptrail.consumers.web")

_GRACE_S = 5


def run_web(
    settings: Settings, stop: threading.Event, *, on_ready: Callable[[str], None] = lambda _: None
) -> int:
    """Serve the API until `stop` is set, then end what is under way; returns 0. `on_ready` is told the address.

    Store and broker may be away: answers say what cannot be known. Raises ConfigurationError for settings that would
    let anybody in, and for an address that is taken.
    """
    app = create_app(settings)
    status = Status()
    with Service(settings, stop, status, app.state.metrics, log=_log) as service:
        listening = service.closing(_listen(settings))
        server = service.add(_HttpServer(app, listening, service.stopping))
        shown = f"[{settings.web_host}]" if ":" in settings.web_host else settings.web_host
        address = f"http://{shown}:{listening.getsockname()[1]}/"

        def watch(stopping: threading.Event) -> None:
            while not stopping.wait(0.1):
                if server.started and status.state is State.STARTING:
                    status.enter(State.RUNNING)
                    _log.info("serving", extra={"address": address})
                    on_ready(address)
                status.last_turn = time.monotonic()

        try:
            service.run(watch)
        finally:
            status.enter(State.STOPPING)
            server.end()
    status.enter(State.STOPPED)
    return 0


class _HttpServer(BackgroundPart):
    """uvicorn, in a thread beside the loop that watches it."""

    def __init__(self, app: FastAPI, listening: socket.socket, stop: threading.Event) -> None:
        super().__init__("web-server", stop, _log)
        self._listening = listening
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_S,
                timeout_keep_alive=30,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # `end` says when

    @property
    def started(self) -> bool:
        """Whether requests are answered."""
        return self._server.started

    def run(self) -> None:
        """Serve until `end`."""
        self._server.run(sockets=[self._listening])
        if not self._stop.is_set():
            raise RuntimeError("the HTTP server ended by itself")

    def end(self) -> None:
        """Take no more requests, and end when those under way are answered, or after a while."""
        self._server.should_exit = True


def _listen(settings: Settings) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.web_host, settings.web_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"STEPTRAIL_WEB_HOST and STEPTRAIL_WEB_PORT: {settings.web_host}:{settings.web_port} cannot be listened on:"
            f" {error.strerror or error}"
        ) from None
    return listening
