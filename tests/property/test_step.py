"""The exact round trip of a step through JSON."""

import json
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep
from support.effort import effort

texts = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(texts, json_values, max_size=5)
zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(
    st.builds(
        dict,
        step_name=texts,
        status=st.sampled_from(ProcessingStatus),
        details=objects,
        metadata=objects,
        timestamp=st.datetimes(timezones=zones).filter(lambda moment: 1 < moment.year < 9999),
    )
)
def test_the_round_trip_is_exact(fields: dict[str, Any]) -> None:
    """Through a dict, and through its JSON text, a step comes back equal, its values and types included."""
    step = ProcessingStep(**fields)
    assert ProcessingStep.from_dict(step.to_dict()) == step
    again = ProcessingStep.from_dict(json.loads(json.dumps(step.to_dict())))
    assert again == step
    assert again.to_dict() == step.to_dict()
    assert json.dumps(again.details) == json.dumps(fields["details"])
    assert step.timestamp == fields["timestamp"]
