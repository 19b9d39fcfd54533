"""What comes before the password is bounded: headers, trailers, addresses, bodies, connections."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from steptrail.deploy.engine.protocol import MAX_ADDRESS, MAX_HEAD, MAX_HEADERS, MAX_STRANGERS
from support.engine import EngineServer, engine

__all__ = ["engine"]

# What the server may still take in after its refusal: both sides' socket buffers.
BUFFERS = 16 << 20
ENDLESS = 256 << 20


@contextlib.contextmanager
def connection(engine: EngineServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", engine.port), timeout=300) as raw:
        yield raw


def pour(raw: socket.socket, piece: bytes) -> int:
    """Send a piece over and over until the other side closes; how many bytes went."""
    sent = 0
    try:
        while sent < ENDLESS:
            raw.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


def status(raw: socket.socket) -> bytes:
    """The status line's number, b"" where the connection was closed without one."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := raw.recv(65536):
            data += more
    return data[9:12]


HEAD = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ADMITTED = (
    b"POST /?query=SELECT+1&password=%s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD, b"X-A: b\r\n" * 8000),
        (HEAD + b"X-A: ", b"b" * 65536),
        (HEAD, b"X" * 65536),
        (HEAD + b"X-A: b\r\n", b" folded\r\n" * 8000),
        (b"", b"\r\n" * 32768),
        (b"GET /?query=", b"1" * 65536),
        (b"G", b"E" * 65536),
        (b"GET / HTTP/1.1", b" " * 65536),
        (CHUNKED + b"1;", b"x" * 65536),
        (CHUNKED + b"0\r\n", b"X-A: b\r\n" * 8000),
        (CHUNKED + b"0\r\nX-A: ", b"b" * 65536),
        (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (POST + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536),
    ],
)
def test_endless_requests_are_cut_off(engine: EngineServer, start: bytes, piece: bytes) -> None:
    """Whatever has no end is closed after a bounded number of bytes, and the server goes on."""
    with connection(engine) as raw:
        raw.sendall(start)
        assert pour(raw, piece) <= BUFFERS + 2 * MAX_ADDRESS
    assert engine.send("SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    "endless",
    [b"0\r\n" + b"X-A: b\r\n" * 8000, b"0\r\nX-A: " + b"b" * 65536, b"1;" + b"x" * 65536],
)
def test_endless_trailers_behind_the_password(engine: EngineServer, endless: bytes) -> None:
    """Trailers and chunk extensions of a request that was let in have the same bound."""
    with connection(engine) as raw:
        raw.sendall(ADMITTED % engine.password.encode() + endless)
        assert pour(raw, b"x" * 65536) <= BUFFERS
    assert engine.send("SELECT 1").text == "1\n"


def test_too_many_headers(engine: EngineServer) -> None:
    """One header more than the bound is 431; the bound itself is served."""
    for number, expected in ((MAX_HEADERS - 2, b"200"), (MAX_HEADERS, b"431")):
        with connection(engine) as raw:
            raw.sendall(HEAD + b"X: 1\r\n" * number + b"Connection: close\r\n\r\n")
            assert status(raw) == expected


def test_too_large_headers(engine: EngineServer) -> None:
    """A header past the bound is 431; one below is served."""
    for size, expected in ((MAX_HEAD // 2, b"200"), (2 * MAX_HEAD, b"431")):
        with connection(engine) as raw:
            raw.sendall(HEAD + b"Connection: close\r\nX: " + b"x" * size + b"\r\n\r\n")
            assert status(raw) == expected


def test_byte_by_byte(engine: EngineServer) -> None:
    """A request that comes in single bytes is one request."""
    with connection(engine) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HEAD + b"Connection: close\r\n\r\n":
            raw.sendall(bytes([byte]))
        assert status(raw) == b"200"


def test_a_body_without_a_password_is_not_waited_for(engine: EngineServer) -> None:
    """The refusal comes before the body, is the last thing said, and nobody is told to go on."""
    with connection(engine) as raw:
        raw.sendall(POST + b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        assert status(raw) == b"401"


def test_strangers_make_room(engine: EngineServer) -> None:
    """Connections without a password are bounded: the oldest goes, one that showed it stays."""
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(connection(engine))
        asked = b"GET /?query=SELECT+1&password=%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        known.sendall(asked % (engine.password.encode(), b""))
        answer = b""
        while not answer.endswith(b"\r\n\r\n1\n"):  # it may come in pieces
            answer += known.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        first = stack.enter_context(connection(engine))
        for _ in range(MAX_STRANGERS):
            stack.enter_context(connection(engine))
        assert status(first) == b""
        known.sendall(asked % (engine.password.encode(), b"Connection: close\r\n"))
        assert status(known) == b"200"
        assert engine.send("SELECT 1").text == "1\n"
