"""uvicorn's HTTP/1.1 protocol with addresses as long as ClickHouse takes them, and an end to everything else.

httptools parses addresses of up to 64 KiB; clients put statements and parameters there, and ClickHouse takes 1 MiB.
It bounds nothing: neither the number nor the size of headers and trailers, nor the time that they take. All of this
comes before any password, so it is bounded here.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_ADDRESS = 1 << 20
MAX_HEAD = 64 << 10
"""Bytes of a request's headers, of its trailers, and between two pieces of its body."""
MAX_HEADERS = 200
HEAD_SECONDS = 30.0
"""Within this time a request's headers are here; a connection without a password may idle as long."""
MAX_STRANGERS = 256
"""Connections that have not shown the password; one more closes the oldest."""
_PARSED = 60_000
_PIECE = 16 << 10


class Protocol(HttpToolsProtocol):
    """Keeps a long query part from httptools. One past MAX_ADDRESS comes cut to just over it: refuse it."""

    _numbers = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stranger = True
        self.number = next(self._numbers)
        self._address = bytearray()
        self._address_size = 0
        self._silent = 0  # bytes since the last that led anywhere
        self._refusal = 400
        self._head_timer: asyncio.TimerHandle | None = None

    def admit(self) -> None:
        """Note that the password has been shown on this connection."""
        self.stranger = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room among the connections without a password, and give this one its time."""
        strangers = [one for one in self.connections if isinstance(one, Protocol) and one.stranger]
        if len(strangers) >= MAX_STRANGERS:
            min(strangers, key=lambda one: one.number).transport.abort()
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer too."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse piece by piece, so that nothing grows by more than one piece past its bound."""
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            piece = data[start : start + _PIECE]
            super().data_received(piece)
            self._silent += len(piece)
            if self._silent > MAX_HEAD and not self.transport.is_closing():
                self._refuse(431, "The headers are too large")
            elif self._address_size > 2 * MAX_ADDRESS and not self.transport.is_closing():
                self._refuse(414, "The address is too long")

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self.scope["state"] = {**self.app_state, "admit": self.admit}
        self._address = bytearray()
        self._address_size = self._silent = 0
        if self._head_timer is None:
            self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        """Collect the address, not without end."""
        self._silent -= len(url)
        self._address_size += len(url)
        if len(self._address) <= MAX_ADDRESS:
            self._address += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header or trailer."""
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = 431
            raise ValueError("too many headers")  # ends the parser, which has send_400_response called
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request; its task starts only after the scope is whole."""
        self._stop_head_timer()
        self._silent = 0
        self.url = bytes(self._address)
        path, mark, query = self.url.partition(b"?")
        if not mark or len(self.url) < _PARSED:
            super().on_headers_complete()
            return
        self.url = path
        super().on_headers_complete()
        self.scope["query_string"] = query.partition(b"#")[0]

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._silent = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Let a connection idle for long only once the password has been shown on it."""
        super().on_response_complete()
        if self.stranger and self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close."""
        self._refuse(self._refusal, "Too many headers" if self._refusal == 431 else msg)

    def _refuse(self, status: int, message: str) -> None:
        # Amid another request's answer there is nothing to say.
        if self.cycle is None or self.cycle.response_complete:
            body = message.encode()
            self.transport.write(
                b"%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (STATUS_LINE[status], len(body), body)
            )
        self.transport.close()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "The headers did not arrive in time")
