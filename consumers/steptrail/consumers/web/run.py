"""The HTTP API as a part that runs until it is stopped."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

import uvicorn

from steptrail.consumers.runtime.json_logging import configure_logging
from steptrail.consumers.runtime.status import State, Status
from steptrail.consumers.runtime.status_server import StatusServer
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
    if not logging.getLogger("steptrail").hasHandlers():
        configure_logging()
    app = create_app(settings)
    listening = _listen(settings)
    port = listening.getsockname()[1]
    shown = f"[{settings.web_host}]" if ":" in settings.web_host else settings.web_host
    address = f"http://{shown}:{port}/"
    status = Status()
    server = uvicorn.Server(
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
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # `stop` says when
    metrics = None
    if settings.metrics_port is not None:
        metrics = StatusServer(
            status, app.state.metrics, host=settings.metrics_host, port=settings.metrics_port
        )
        _log.info("serving metrics", extra={"host": settings.metrics_host, "port": metrics.port})
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="steptrail-web-server")
    thread.start()
    try:
        while thread.is_alive() and not stop.wait(0.1):
            if server.started and status.state is State.STARTING:
                status.enter(State.RUNNING)
                _log.info("serving", extra={"address": address})
                on_ready(address)
            status.last_turn = time.monotonic()
    finally:
        status.enter(State.STOPPING)
        server.should_exit = True
        thread.join(_GRACE_S + 5)
        status.enter(State.STOPPED)
        if metrics is not None:
            metrics.close()
        listening.close()
    return 0


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
