from __future__ import annotations

import json
from typing import Any

import pytest

from steptrail.producers import StepHandle
from steptrail.schemas import uuid7

GOOD: dict[str, Any] = {
    "doc_id": "d",
    "step_name": "s",
    "attempt": 1,
    "execution_id": "0" * 32,
    "event_id": "0" * 32,
}


def test_goes_through_json() -> None:
    """A handle is the same after a way through JSON."""
    handle = StepHandle(uuid7(), uuid7(), 3, "ä\u2028", "ocr")
    assert StepHandle.from_dict(json.loads(json.dumps(handle.to_dict()))) == handle


@pytest.mark.parametrize("missing", GOOD)
def test_says_what_is_missing(missing: str) -> None:
    """A handle from outside that lacks something raises ValueError with its name."""
    with pytest.raises(ValueError, match=missing):
        StepHandle.from_dict({name: value for name, value in GOOD.items() if name != missing})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execution_id", "x"),
        ("execution_id", 5),
        ("event_id", None),
        ("doc_id", 1),
        ("step_name", None),
        ("attempt", 0),
        ("attempt", "1"),
        ("attempt", True),
    ],
)
def test_says_what_is_wrong(field: str, value: Any) -> None:
    """A handle from outside with a wrong value raises ValueError with its name."""
    with pytest.raises(ValueError, match=field):
        StepHandle.from_dict({**GOOD, field: value})
