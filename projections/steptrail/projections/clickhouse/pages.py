"""Keyset pages: a page starts after a position in time, so that page 1000 costs what page 1 does."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from steptrail.schemas.errors import DataError
from steptrail.schemas.event import datetime_from_us

Item = TypeVar("Item")

_LAYOUT = struct.Struct(">Bq16s")
_VERSION = 1


class BadCursor(DataError, ValueError):
    """The text is not a cursor that a page gave: start again without one."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A position between two events: just at the event `event_id` of `micros` (µs since the epoch, UTC).

    `str()` gives an opaque text for a URL or a command line, `Cursor.parse` takes it back. A cursor names an
    event, not a query: it can be used with other filters, and in both directions.
    """

    micros: int
    event_id: UUID

    @property
    def timestamp(self) -> datetime:
        """The time of the event, aware, UTC."""
        return datetime_from_us(self.micros)

    def __str__(self) -> str:
        return seal(_LAYOUT.pack(_VERSION, self.micros, self.event_id.bytes))

    @classmethod
    def parse(cls, text: str | Cursor) -> Cursor:
        """The cursor that `text` stands for; a Cursor is given back as it is. Raises `BadCursor`."""
        if isinstance(text, Cursor):
            return text
        version, micros, event_id = _LAYOUT.unpack(unseal(text, _LAYOUT.size))
        if version != _VERSION:
            raise bad_cursor(text, f"it is of version {version}, this program knows {_VERSION}")
        return cls(micros, UUID(bytes=event_id))


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a longer list, in its order, and where to go on from here.

    `next` continues in the list's order (None: this is the end), `previous` goes back (None: nothing is before).
    Both are given to the same method again, as `after` and as `before`.
    """

    items: Sequence[Item]
    next: Cursor | None
    previous: Cursor | None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def seal(body: bytes) -> str:
    """`body` with a checksum, as a text that needs no escaping in a URL or a shell."""
    checked = body + struct.pack(">I", zlib.crc32(body))
    return base64.urlsafe_b64encode(checked).decode("ascii").rstrip("=")


def unseal(text: str, size: int | None = None) -> bytes:
    """The body, of `size` bytes if given, that `seal` made `text` of. Raises `BadCursor`, TypeError for no str."""
    if not isinstance(text, str):
        raise TypeError(f"a cursor is a str or a Cursor, not {type(text).__name__}")
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise bad_cursor(text, "it is not URL-safe base64") from error
    body, checksum = data[:-4], data[-4:]
    if len(data) < 4 or (size is not None and len(body) != size):
        raise bad_cursor(text, "it is cut or has something added")
    if struct.pack(">I", zlib.crc32(body)) != checksum:
        raise bad_cursor(text, "its checksum is wrong")
    if seal(body) != text:
        raise bad_cursor(text, "it is not written as a page writes it")
    return body


def bad_cursor(text: str, why: str) -> BadCursor:
    """The error that says why `text` is no cursor, and what to do."""
    shown = text if len(text) <= 60 else text[:57] + "…"
    return BadCursor(f"{shown!r} is not a page cursor: {why}; start again without a cursor")
