"""The bounds of the engine server's HTTP, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from steptrail.deploy.engine.protocol import HEAD_SECONDS, Protocol


class Loop:
    """Keeps what was to be called later, for the test to call."""

    def __init__(self) -> None:
        self.later: list[tuple[float, asyncio.TimerHandle]] = []
        self._loop = asyncio.new_event_loop()

    def call_later(self, delay: float, function: Callable[[], object]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(delay, function, (), self._loop)
        self.later.append((delay, handle))
        return handle

    def create_task(self, coroutine: Any, **_: Any) -> Any:
        coroutine.close()
        return self._loop.create_future()

    def pass_time(self) -> list[float]:
        """Run every timer that was not cancelled; their delays."""
        due = [(delay, handle) for delay, handle in self.later if not handle.cancelled()]
        self.later = []
        for _, handle in due:
            handle._run()
        return [delay for delay, _ in due]

    def close(self) -> None:
        self._loop.close()


class Transport:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.said = b""
        self.closed = False

    def get_extra_info(self, _: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.said += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def _nothing(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture
def opened() -> Any:
    """A protocol on a transport, with its loop."""
    loop, transport = Loop(), Transport()
    config = uvicorn.Config(_nothing, lifespan="off", ws="none", log_config=None)
    protocol = Protocol(config, ServerState(), {}, _loop=loop)
    protocol.connection_made(transport)  # type: ignore[arg-type]
    yield protocol, transport, loop
    loop.close()


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b"])
def test_headers_that_never_end(opened: Any, sent: bytes) -> None:
    """A connection whose first headers are not here in time is answered 408 and closed."""
    protocol, transport, loop = opened
    if sent:
        protocol.data_received(sent)
    assert loop.pass_time() == [HEAD_SECONDS]
    assert transport.closed
    assert transport.said.startswith(b"HTTP/1.1 408 ")


def test_bytes_now_and_then_do_not_win_time(opened: Any) -> None:
    """The time runs from the start of the headers, not from their last byte."""
    protocol, transport, loop = opened
    for byte in b"GET / HTTP/1.1\r\nHost: l":
        protocol.data_received(bytes([byte]))
    assert len(loop.later) == 1
    loop.pass_time()
    assert transport.closed


def test_whole_headers_stop_the_clock(opened: Any) -> None:
    """Once the headers are here, a slow body or a slow statement is not cut off."""
    protocol, transport, loop = opened
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
    assert loop.pass_time() == []
    assert not transport.closed


def test_a_second_request_has_a_clock_too(opened: Any) -> None:
    """On a connection that was kept the headers of the next request are waited for as long."""
    protocol, transport, loop = opened
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    protocol.cycle.response_complete = True
    protocol.data_received(b"GET / HTTP/1.1\r\n")
    assert loop.pass_time() == [HEAD_SECONDS]
    assert transport.closed


def test_idling_is_for_who_showed_the_password(opened: Any) -> None:
    """After an answer a stranger's connection is kept as long as headers may take, an admitted one as configured."""
    protocol, _, loop = opened
    for admitted, delay in ((False, HEAD_SECONDS), (True, protocol.timeout_keep_alive)):
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if admitted:
            protocol.scope["state"]["admit"]()
        protocol.cycle.response_complete = True
        protocol.on_response_complete()
        assert [one for one, handle in loop.later if not handle.cancelled()] == [delay]
