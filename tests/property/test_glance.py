"""The quick look refuses what the strict decoder refuses, no more and no less."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.consumers.ingest.prefilter import suspects
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX, split_frame
from support.consumed import event_value
from support.effort import effort
from support.odd_events import EVENTS, VALUES, damaged, json_texts


def is_event(value: bytes) -> bool:
    try:
        decode_event(value[split_frame(value).length :])
    except EventDecodeError:
        return False
    return value.startswith(SINGLE_OBJECT_PREFIX)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(EVENTS)
def test_every_event_looks_right(value: bytes) -> None:
    """No event is a suspect."""
    assert is_event(value)
    assert not suspects([value])


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(100, 300), deadline=None)
@given(st.lists(VALUES | EVENTS, min_size=1, max_size=80))
def test_of_many_values_those_are_suspects_that_are_no_events(values: list[bytes]) -> None:
    """At and beyond every limit, whatever stands beside them."""
    assert suspects(values) == [number for number, value in enumerate(values) if not is_event(value)]


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(400, 1000), deadline=None)
@given(st.data())
def test_damaged_bytes_are_suspects_when_they_are_no_event(data: st.DataObject) -> None:
    """Bytes changed, cut, put in or doubled anywhere."""
    value = damaged(data.draw(EVENTS), data)
    assert suspects([value]) == ([] if is_event(value) else [0])


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(200, 500), deadline=None)
@given(st.lists(json_texts("{"), min_size=2, max_size=70))
def test_texts_that_are_json_only_together_are_suspects(texts: list[str]) -> None:
    """However one goes on where another ends."""
    values = [event_value(details=text) for text in texts]
    assert suspects(values) == [number for number, value in enumerate(values) if not is_event(value)]
