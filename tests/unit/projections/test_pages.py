"""Cursors: opaque texts that are checked before they are believed."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.projections.clickhouse.pages import BadCursor, Cursor, Page
from steptrail.schemas.errors import DataError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US

CURSOR = Cursor(1_750_000_000_123_456, UUID("01970000-0000-7000-8000-000000000001"))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.integers(MIN_TIMESTAMP_US, MAX_TIMESTAMP_US), st.uuids())
def test_round_trip(micros: int, event_id: UUID) -> None:
    """Every event's cursor survives its text, which needs no escaping in a URL or a shell."""
    cursor = Cursor(micros, event_id)
    assert Cursor.parse(str(cursor)) == cursor
    assert str(cursor).replace("-", "").replace("_", "").isalnum()


def test_every_changed_character_is_noticed() -> None:
    """No single changed, lost or added character leaves a cursor."""
    text = str(CURSOR)
    for at in range(len(text)):
        for other in ("A" if text[at] != "A" else "B", "é", "", "=", " "):
            with pytest.raises(BadCursor):
                Cursor.parse(text[:at] + other + text[at + 1 :])
    for added in ("A", "=", "\n", "AAAA"):
        with pytest.raises(BadCursor):
            Cursor.parse(text + added)


@pytest.mark.parametrize("text", ["", "page2", "0", "'; DROP TABLE steps", "a" * 10_000, "\ud800"])
def test_other_texts_are_refused(text: str) -> None:
    """What is no cursor is refused with a short message that says what to do."""
    with pytest.raises(BadCursor, match="start again without a cursor") as caught:
        Cursor.parse(text)
    assert len(str(caught.value)) < 300
    assert isinstance(caught.value, DataError)


def test_a_later_version_is_named() -> None:
    """A cursor of a version that this program does not know is refused as such."""
    import struct
    import zlib

    body = struct.pack(">Bq16s", 9, CURSOR.micros, CURSOR.event_id.bytes)
    text = base64.urlsafe_b64encode(body + struct.pack(">I", zlib.crc32(body))).decode().rstrip("=")
    with pytest.raises(BadCursor, match="version 9"):
        Cursor.parse(text)


def test_a_cursor_is_taken_as_it_is() -> None:
    """parse takes a Cursor too, and names the type of anything else."""
    assert Cursor.parse(CURSOR) is CURSOR
    with pytest.raises(TypeError, match="not int"):
        Cursor.parse(5)  # type: ignore[arg-type]


def test_a_page_is_iterated() -> None:
    """A page is its items."""
    page = Page((1, 2, 3), None, CURSOR)
    assert (list(page), len(page)) == ([1, 2, 3], 3)
