"""What goes back: headers, a whole answer, a streamed one, an exception before or amid it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from steptrail.deploy.engine import formats
from steptrail.deploy.engine.blocks import BlockEncoder
from steptrail.deploy.engine.encoding import Chain, Encoder
from steptrail.deploy.engine.errors import EngineError
from steptrail.deploy.engine.handles import Stats

Send = Callable[[Any], Awaitable[None]]
_DISPLAY_NAME = socket.gethostname().encode("latin-1", "replace")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


class BrokenAnswer(Exception):
    """The answer ended amid its rows: the connection has to break, so that no client takes it for whole."""


class Answer:
    """The answer to one request: exactly one of `whole`, `fail`, or `begin` … `end`/`break_off`."""

    def __init__(self, send: Send, *, head_only: bool, version: str) -> None:
        self._send = send
        self._head_only = head_only
        self._version = version
        self._encoder: Encoder | None = None
        self._tag = "".join(secrets.choice(_ALPHABET) for _ in range(16))
        self.query_id: str | None = None
        self.timezone = "UTC"
        self.started = False
        self.closes = False

    def _headers(self, form: str | None, stats: Stats | None) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-clickhouse-server-display-name", _DISPLAY_NAME)]
        if self.query_id is not None:
            headers += [
                (b"x-clickhouse-query-id", self.query_id.encode("latin-1", "replace")),
                (b"x-clickhouse-timezone", self.timezone.encode("latin-1", "replace")),
                (b"x-clickhouse-exception-tag", self._tag.encode()),
            ]
        if form is not None:
            headers.append((b"x-clickhouse-format", form.encode("latin-1", "replace")))
        if stats is not None:
            headers.append((b"x-clickhouse-summary", _summary(stats)))
        return headers

    async def whole(
        self, body: bytes, form: str | None, stats: Stats | None, encoding: str | None, status: int = 200
    ) -> None:
        """Send an answer that is complete; `body` is already encoded."""
        headers = self._headers(form, stats)
        kind = formats.content_type(form) if form else "text/plain; charset=UTF-8"
        headers += [
            (b"content-type", kind.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        if self.closes:
            headers.append((b"connection", b"close"))
        if encoding is not None:
            headers.append((b"content-encoding", encoding.encode()))
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._head_only else body})

    async def fail(self, error: EngineError) -> None:
        """Send an exception as the whole answer."""
        body = self._text(error).encode("utf-8", "backslashreplace") + b"\n"
        headers = self._headers(None, None)
        headers += [
            (b"x-clickhouse-exception-code", b"%d" % error.code),
            (b"content-type", b"text/plain; charset=UTF-8"),
            (b"content-length", b"%d" % len(body)),
        ]
        if self.closes:
            headers.append((b"connection", b"close"))
        if error.status == 401:
            headers.append((b"www-authenticate", b'Basic realm="ClickHouse server HTTP API"'))
        self.started = True
        await self._send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._head_only else body})

    async def begin(self, form: str, stats: Stats, encoding: str | None, encoder: Encoder | None) -> None:
        """Send the headers of an answer that comes in pieces, each of which `encoder` encodes."""
        headers = [*self._headers(form, stats), (b"content-type", formats.content_type(form).encode())]
        if encoding is not None:
            headers.append((b"content-encoding", encoding.encode()))
        self._encoder = encoder
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def encode(self, data: bytes) -> bytes:
        """Encode a piece; work for a thread."""
        return data if self._encoder is None else self._encoder.encode(data)

    async def piece(self, encoded: bytes) -> None:
        """Send an encoded piece."""
        if encoded and not self._head_only:
            await self._send({"type": "http.response.body", "body": encoded, "more_body": True})

    async def end(self) -> None:
        """Send the last piece."""
        rest = b"" if self._encoder is None else self._encoder.finish()
        await self._send({"type": "http.response.body", "body": b"" if self._head_only else rest})

    async def break_off(self, error: EngineError) -> None:
        """End amid the rows: the tagged exception, then raise BrokenAnswer, which breaks the connection."""
        text = self._text(error).encode("utf-8", "backslashreplace")
        tag = self._tag.encode()
        block = b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (tag, text, len(text) + 1, tag)
        # Behind frames of ClickHouse's own compression it stands as it is: clients look for it there.
        outer = self._encoder.second if isinstance(self._encoder, Chain) else self._encoder
        if outer is not None and not isinstance(outer, BlockEncoder):
            block = outer.encode(block) + outer.finish()
        await self.piece(block)
        raise BrokenAnswer

    def _text(self, error: EngineError) -> str:
        text = str(error).rstrip()
        return text if "(version " in text[-60:] else f"{text} (version {self._version} (chDB))"


def _summary(stats: Stats) -> bytes:
    return orjson.dumps(
        {
            "read_rows": str(stats.read_rows),
            "read_bytes": str(stats.read_bytes),
            "written_rows": str(stats.written_rows),
            "written_bytes": str(stats.written_bytes),
            "total_rows_to_read": "0",
            "result_rows": str(stats.result_rows or stats.written_rows),
            "result_bytes": str(stats.result_bytes or stats.written_bytes),
            "elapsed_ns": str(stats.elapsed_ns),
        }
    )
