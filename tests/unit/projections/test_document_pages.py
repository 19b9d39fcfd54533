"""Cursors of documents: opaque texts that are checked before they are believed."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.projections.clickhouse.pages import BadCursor, Cursor, seal
from steptrail.projections.reading.completeness import DocumentCursor

NAMES = st.text(st.characters(codec="utf-8"), max_size=30)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(NAMES, NAMES)
def test_round_trip(pipeline: str, doc_id: str) -> None:
    """Every document's cursor survives its text, which needs no escaping in a URL or a shell."""
    cursor = DocumentCursor(pipeline, doc_id)
    assert DocumentCursor.parse(str(cursor)) == cursor
    assert DocumentCursor.parse(cursor) is cursor
    assert str(cursor).replace("-", "").replace("_", "").isalnum()


def test_every_changed_character_is_noticed() -> None:
    """No single changed, lost or added character leaves a cursor."""
    text = str(DocumentCursor("invoices", "invoice-17"))
    for at in range(len(text)):
        for other in ("A" if text[at] != "A" else "B", "é", "", "=", " "):
            with pytest.raises(BadCursor):
                DocumentCursor.parse(text[:at] + other + text[at + 1 :])


def test_cursors_of_events_and_of_documents_are_not_mixed_up() -> None:
    """A cursor of the one kind is refused where the other is wanted."""
    with pytest.raises(BadCursor, match="another kind"):
        DocumentCursor.parse(str(Cursor(5, UUID(int=7))))
    for doc_id in ("d", "d" * 21):  # the latter as long as an event's
        with pytest.raises(BadCursor):
            Cursor.parse(str(DocumentCursor("p", doc_id)))
    for body in (b"", b"D", b"D\x00\x01\xff", b"D\x00\x00\xff"):
        with pytest.raises(BadCursor):
            DocumentCursor.parse(seal(body))
    with pytest.raises(TypeError, match="not int"):
        DocumentCursor.parse(5)  # type: ignore[arg-type]
