"""Events of a version that does not exist yet: ours and a field more, written by fastavro."""

from __future__ import annotations

import copy
import dataclasses
from io import BytesIO
from typing import Any, Final

import fastavro

from steptrail.schemas.event import StepEvent
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA, fingerprint
from steptrail.schemas.wire.framing import single_object_prefix
from support.consumed import event

NEWER: Final[dict[str, Any]] = copy.deepcopy(STEP_EVENT_SCHEMA)
NEWER["fields"].append(
    {"name": "region", "type": ["null", "string"], "default": None, "doc": "Where it ran."}
)
_PARSED = fastavro.parse_schema(copy.deepcopy(NEWER), _force=True)


def newer_value(what: StepEvent | None = None, region: str | None = None) -> bytes:
    """The Kafka value of an event of that version."""
    what = what or event()
    fields = {field.name: getattr(what, field.name) for field in dataclasses.fields(what)}
    out = BytesIO()
    fastavro.schemaless_writer(out, _PARSED, {**fields, "status": what.status.value, "region": region})
    return single_object_prefix(fingerprint(NEWER)) + out.getvalue()
