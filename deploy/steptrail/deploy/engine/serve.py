"""The process: bind, start the engine, serve, and on SIGTERM drain and close within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvicorn
import uvloop

from steptrail.deploy.engine.answer import BrokenAnswer
from steptrail.deploy.engine.app import App
from steptrail.deploy.engine.auth import Authenticator, is_loopback, load_password
from steptrail.deploy.engine.confine import confine
from steptrail.deploy.engine.handles import Engine
from steptrail.deploy.engine.http_query import Server
from steptrail.deploy.engine.protocol import Protocol
from steptrail.deploy.engine.reader import Limits
from steptrail.deploy.engine.running import Running
from steptrail.deploy.engine.sessions import Sessions
from steptrail.deploy.engine.space import lift_file_limits
from steptrail.schemas import ConfigurationError

_log = logging.getLogger("steptrail.engine")
_KEEP_ALIVE_S = 3600  # a client's idle connection must not close just when it is used again


@dataclass(frozen=True)
class Options:
    """How the server is started."""

    path: Path
    password_file: Path
    host: str = "127.0.0.1"
    port: int = 8123
    database: str = "steptrail"
    max_body: int = 1 << 30
    max_queries: int = 100
    drain_s: float = 3.0
    keep_free: int = 256 << 20
    memory_ratio: float = 0.5
    reader_password_file: Path | None = None
    reader_limits: Limits = field(default_factory=Limits)
    backups: Path | None = None
    """The folder of the disk `backups`; None: no backups."""


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are ours


def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; raises ConfigurationError when it cannot start."""
    if not is_loopback(options.host):
        raise ConfigurationError(
            f"--host {options.host}: only this machine's loopback (127.0.0.1, ::1) is served, since whoever has "
            "the password can write and read files through the engine; use a tunnel for other machines"
        )
    listener = _bind(options.host, options.port)
    with contextlib.closing(listener):
        password = load_password(options.password_file)
        found = options.reader_password_file
        authenticator = Authenticator(password, None if found is None else load_password(found))
        lift_file_limits()
        options.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        folders = [options.path.absolute()]
        if options.backups is not None:
            options.backups.mkdir(parents=True, exist_ok=True, mode=0o700)
            folders.append(options.backups.absolute())
        if not confine(*folders):
            _log.info("the kernel has no Landlock: only the engine's own checks keep statements from files")
        engine = Engine(
            options.path,
            options.database,
            keep_free=options.keep_free,
            memory_ratio=options.memory_ratio,
            limits=options.reader_limits,
            backups=options.backups,
        )
        try:
            loop = uvloop.new_event_loop()
            with contextlib.closing(loop):
                loop.run_until_complete(_serve(options, listener, engine, authenticator))
        finally:
            engine.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # Headers and body go out in two writes: without this the second waits 40 ms for the first's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; --port 0 takes a free one"
        ) from error
    return listener


async def _serve(
    options: Options, listener: socket.socket, engine: Engine, authenticator: Authenticator
) -> None:
    with ThreadPoolExecutor(options.max_queries, "query") as workers, ThreadPoolExecutor(4, "aside") as aside:
        server = Server(
            engine=engine,
            sessions=Sessions(engine),
            running=Running(options.max_queries, options.reader_limits.at_once),
            workers=workers,
            aside=aside,
            max_body=options.max_body,
            scratch=options.path,
        )
        config = uvicorn.Config(
            App(server, authenticator),
            http=Protocol,
            loop="none",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(options.drain_s) + 2,
        )
        logging.getLogger("uvicorn.error").addFilter(_without_broken_answers)
        http = _Uvicorn(config)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if http.should_exit:
                http.force_exit = True
            http.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        house = asyncio.ensure_future(_keep_house(server, http, options))
        announce = asyncio.ensure_future(_announce(http, listener, options))
        try:
            await http.serve(sockets=[listener])
        finally:
            announce.cancel()
            house.cancel()
            await _kill_all(server)
            server.sessions.close()


async def _announce(http: uvicorn.Server, listener: socket.socket, options: Options) -> None:
    while not http.started:
        await asyncio.sleep(0.005)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    line = {
        "ready": True,
        "url": f"http://{shown}:{port}",
        "host": host,
        "port": port,
        "database": options.database,
        "pid": os.getpid(),
    }
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


async def _keep_house(server: Server, http: uvicorn.Server, options: Options) -> None:
    """Close sessions whose time is over; when the server stops, kill what has not ended by itself."""
    waited = 0.0
    while True:
        await asyncio.sleep(0.25)
        server.sessions.expire()
        if http.should_exit:
            waited += 0.25
            if waited >= options.drain_s or http.force_exit:
                await _kill_all(server)


async def _kill_all(server: Server) -> None:
    loop = asyncio.get_running_loop()
    for query_id in server.running.ids():
        await loop.run_in_executor(server.aside, server.engine.kill, query_id)


def _without_broken_answers(record: logging.LogRecord) -> bool:
    """Drop the traceback of an answer that was broken off on purpose."""
    return record.exc_info is None or not isinstance(record.exc_info[1], BrokenAnswer)
