import copy
from typing import Any

import pytest

from check_schemas import faults
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA, released_schemas

RELEASED = released_schemas()


def changed(field: str, **change: Any) -> dict[str, Any]:
    schema = copy.deepcopy(STEP_EVENT_SCHEMA)
    (found,) = (each for each in schema["fields"] if each["name"] == field)
    found.update(change)
    return schema


def with_field(**field: Any) -> dict[str, Any]:
    schema = copy.deepcopy(STEP_EVENT_SCHEMA)
    schema["fields"].append({"doc": "New.", **field})
    return schema


def test_the_schema_is_fully_compatible_with_every_release() -> None:
    """Old events are read by this version, and this version's by every older one."""
    assert faults(STEP_EVENT_SCHEMA, RELEASED) == []


def test_a_nullable_field_may_be_added() -> None:
    """The way that the schema grows: a nullable scalar with a default."""
    assert faults(with_field(name="cost", type=["null", "double"], default=None), RELEASED) == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (with_field(name="cost", type="double"), "step_event.v1.avsc writes"),
        (changed("sequence", type="int"), "step_event.v1.avsc writes"),
        (changed("attempt", type="long"), "step_event.v1.avsc cannot read"),
        (changed("worker", name="host"), "step_event.v1.avsc"),
        (
            changed("emitter_id", type={"type": "fixed", "name": "EmitterId", "size": 16}),
            "step_event.v1.avsc",
        ),
        (
            changed(
                "status", type={"type": "enum", "name": "ProcessingStatus", "symbols": ["PENDING", "LOST"]}
            ),
            "step_event.v1.avsc",
        ),
        (with_field(name="tags", type={"type": "array", "items": "string"}, default=[]), "no scalar"),
        (changed("worker", doc=""), "no doc"),
    ],
)
def test_an_incompatible_change_is_found(schema: dict[str, Any], told: str) -> None:
    """A change that some reader of some release could not bear is refused, in either direction."""
    assert any(told in fault for fault in faults(schema, RELEASED))
