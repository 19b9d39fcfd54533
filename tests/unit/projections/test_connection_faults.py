"""Why a store cannot be reached, told in a few words, by real sockets that do what networks do."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import StoreUnavailable
from steptrail.schemas.configuration.settings import Settings


@contextmanager
def answering(what: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port where each connection is treated so."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=what, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def said_of(port: int, host: str = "127.0.0.1") -> str:
    target = Settings(clickhouse=f"http://default:secret@{host}:{port}/x").clickhouse_target()
    with ClickHouse(target, timeout=1) as store, pytest.raises(StoreUnavailable) as raised:
        store.ping()
    return str(raised.value)


def test_nobody_listens() -> None:
    """The address and the system's own words, without a library's chain around them."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert said_of(port) == f"ClickHouse at 127.0.0.1:{port} cannot be reached: Connection refused"


def test_nobody_answers() -> None:
    """A store that hangs is told from one that is not there."""
    with answering(lambda connection: threading.Event().wait(5)) as port:
        assert (
            said_of(port)
            == f"ClickHouse at 127.0.0.1:{port} cannot be reached: no answer within the time allowed"
        )


def test_the_connection_is_cut() -> None:
    """What closes amid a request says so."""
    with answering(lambda connection: connection.close()) as port:
        said = said_of(port)
    assert said.startswith(f"ClickHouse at 127.0.0.1:{port} cannot be reached: ")
    assert "closed" in said or "reset" in said.lower()


def test_a_program_without_logging_sees_no_line_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    """What is raised is enough; Python would print a library's record that nobody takes."""
    assert logging.getLogger("clickhouse_connect").hasHandlers()
    said_of(9)
    assert capsys.readouterr().err == ""
