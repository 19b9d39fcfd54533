from __future__ import annotations

import copy
from typing import Any

import pytest

from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA, released_schemas
from steptrail.schemas.wire.resolution import unreadable


def newer(*fields: dict[str, Any]) -> dict[str, Any]:
    schema = copy.deepcopy(STEP_EVENT_SCHEMA)
    schema["fields"] += fields
    return schema


def test_what_is_released_and_what_grew_by_the_rules_is_readable() -> None:
    """Nullable scalars at the end, with a default of null and whatever doc."""
    for schema in released_schemas().values():
        assert unreadable(schema) is None
    text = {"name": "region", "type": ["null", "string"], "default": None, "doc": "new"}
    time = {
        "name": "at",
        "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}],
        "default": None,
    }
    assert unreadable(newer(text, time)) is None


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "record", "name": "Other", "fields": []}, "that of Other"),
        (newer({"name": "a", "type": "string"}), "field a is no nullable scalar"),
        (newer({"name": "a", "type": ["null", "string"]}), "field a is no nullable scalar"),
        (newer({"name": "a", "type": ["null", "bytes"], "default": None}), "field a is no nullable scalar"),
        (newer({"name": "a", "type": {"type": "array", "items": "int"}}), "field a is no nullable scalar"),
    ],
)
def test_what_did_not_grow_so_is_not(schema: dict[str, Any], told: str) -> None:
    """The answer names the field."""
    assert told in (unreadable(schema) or "")


def test_fields_and_statuses_that_changed_are_not_readable() -> None:
    """Moved, left out, of another type, or with a status more."""
    moved, less, other, more = (copy.deepcopy(STEP_EVENT_SCHEMA) for _ in range(4))
    moved["fields"][1], moved["fields"][2] = moved["fields"][2], moved["fields"][1]
    assert "field doc_id is not this version's pipeline" in (unreadable(moved) or "")
    del less["fields"][-1]
    assert "field sequence is missing" in (unreadable(less) or "")
    other["fields"][-1]["type"] = "double"
    assert "field sequence is not" in (unreadable(other) or "")
    next(field for field in more["fields"] if field["name"] == "status")["type"]["symbols"].append("NEW")
    assert unreadable(more) == "it has other statuses"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        [],
        {"type": "record", "name": "StepEvent"},
        {"type": "record", "name": "StepEvent", "fields": None},
        {"type": "record", "name": "StepEvent", "fields": [1]},
        {"type": "record", "name": "StepEvent", "fields": [{"name": "a"}]},
        newer({"name": "a", "type": None}),
        newer({"name": "a", "type": []}),
        newer({"name": "a", "type": ["null", []], "default": None}),
        newer({"name": "a b", "type": ["null", "string"], "default": None}),
        newer({"name": 7, "type": ["null", "string"], "default": None}),
        newer({"name": "guard", "type": ["null", "string"], "default": None}),
        newer({"name": "doc_id", "type": ["null", "string"], "default": None}),
    ],
)
def test_whatever_stands_on_the_topic_it_is_an_answer(schema: Any) -> None:
    """What is no schema of an event is unreadable, and raises nothing."""
    assert unreadable(schema) is not None
