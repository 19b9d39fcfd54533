"""A request's body as it comes in: decoded, bounded, and never held whole unless it must be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from steptrail.deploy.engine.blocks import BlockDecoder
from steptrail.deploy.engine.encoding import Decoder
from steptrail.deploy.engine.errors import EngineError

Receive = Callable[[], Awaitable[Any]]


class Body:
    """The pieces of one body. Raises EngineError: 210 when the client goes away, 309 past `limit` bytes."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], limit: int) -> None:
        name = headers.get("content-encoding", "").strip().lower()
        self._receive = receive
        self._decoders: list[Decoder | BlockDecoder] = [] if name in ("", "identity") else [Decoder(name)]
        self._limit = limit
        self._size = 0
        self._pushed_back = b""
        self.ended = False

    def decode_blocks(self, *, checked: bool) -> None:
        """Take the body, from its beginning, as frames of ClickHouse's own block compression."""
        self._decoders.append(BlockDecoder(checked=checked))

    async def next(self) -> bytes:
        """Return the next decoded piece, `b""` after the last one."""
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back, b""
            return data
        while not self.ended:
            message = await self._receive()
            if message["type"] != "http.request":
                raise EngineError(210, "The client closed the connection before its request was complete")
            data = message.get("body", b"")
            self.ended = not message.get("more_body", False)
            for decoder in self._decoders:
                data = decoder.decode(data) if data else b""
            if self.ended:
                for decoder in self._decoders:
                    decoder.finish()
            self._size += len(data)
            if self._size > self._limit:
                raise EngineError(
                    309, f"The body is larger than {self._limit} bytes (--max-body of the engine server)"
                )
            if data:
                return data
        return b""

    async def gather(self, size: int) -> bytes:
        """Return at least `size` bytes in one piece, fewer only at the end."""
        parts: list[bytes] = []
        have = 0
        while have < size:
            data = await self.next()
            if not data:
                break
            parts.append(data)
            have += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read(self, limit: int) -> bytes:
        """Return the whole rest; raises EngineError 309 past `limit` bytes."""
        data = await self.gather(limit + 1)
        if len(data) > limit:
            raise EngineError(309, f"A statement of more than {limit} bytes is refused")
        return data
