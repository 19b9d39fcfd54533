"""The HTTP engine server as a process of its own, and a plain HTTP client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
from clickhouse_connect.driver.httpclient import HttpClient


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; `broken` tells that the connection ended before the answer did."""

    status: int
    headers: dict[str, str]
    body: bytes
    broken: bool = False

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class EngineServer:
    """A running engine server."""

    port: int
    password: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def user(self) -> dict[str, str]:
        return {"X-ClickHouse-User": "default", "X-ClickHouse-Key": self.password}

    @property
    def reader_password(self) -> str:
        return (self.folder / "reader-password").read_text().strip()

    @property
    def reader(self) -> dict[str, str]:
        return {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": self.reader_password}

    def client(self, database: str = "steptrail", **options: Any) -> HttpClient:
        """Connect as a user of clickhouse-connect does."""
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, password=self.password, database=database, **options
        )
        assert isinstance(client, HttpClient)
        return client

    def send(
        self,
        query: str | None = None,
        body: bytes | None = None,
        *,
        method: str = "POST",
        path: str = "/",
        headers: dict[str, str] | None = None,
        login: bool = True,
        **parameters: Any,
    ) -> Reply:
        """Send one request on a connection of its own."""
        given = {key: str(value) for key, value in parameters.items()}
        if query is not None:
            given["query"] = query
        target = f"{path}?{urlencode(given)}" if given else path
        all_headers = {**(self.user if login else {}), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        with contextlib.closing(connection):
            connection.request(method, target, body, all_headers)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            try:
                return Reply(response.status, told, response.read())
            except http.client.IncompleteRead as error:
                return Reply(response.status, told, error.partial, broken=True)

    def ask(self, query: str, **parameters: Any) -> str:
        """Run a statement in database steptrail; its TSV output without the last line end."""
        reply = self.send(body=query.encode(), **{"database": "steptrail", **parameters})
        assert reply.status == 200, reply.text
        return reply.text.rstrip("\n")


_PROGRAM = ("-m", "steptrail.deploy.engine")


def command_of(folder: Path, *options: str) -> list[str]:
    """The command that starts the server on a folder, on a free port."""
    return [sys.executable, *_PROGRAM, *_options(folder), *options]


def _options(folder: Path) -> list[str]:
    return [
        *("--path", str(folder / "data"), "--password-file", str(folder / "password"), "--port", "0"),
        *("--reader-password-file", str(folder / "reader-password")),
    ]


@contextlib.contextmanager
def running_engine(
    folder: Path,
    *options: str,
    before: Callable[[], None] | None = None,
    program: Sequence[str] = _PROGRAM,
    environ: Mapping[str, str] | None = None,
) -> Iterator[EngineServer]:
    """Start the server on a folder, or another `program` that takes its options; SIGTERM at the end."""
    with (folder / "said").open("a") as said:
        process = subprocess.Popen(
            [sys.executable, *program, *_options(folder), *options],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            preexec_fn=before,
            env={**os.environ, **(environ or {})},
        )
    try:
        assert process.stdout is not None
        with process.stdout as output:
            line = output.readline()
        assert line, (folder / "said").read_text()
        password = (folder / "password").read_text().strip()
        yield EngineServer(json.loads(line)["port"], password, folder, process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineServer]:
    """A server for the tests of one module."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-engine-"))
    try:
        with running_engine(folder, "--backups", str(folder / "backups")) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def table(engine: EngineServer) -> Iterator[str]:
    """A fresh name for a table, dropped afterwards."""
    name = f"t_{secrets.token_hex(4)}"
    yield name
    engine.ask(f"DROP TABLE IF EXISTS {name}")
