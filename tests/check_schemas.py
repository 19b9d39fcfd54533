"""Is each schema compatible, in both directions, with every version that was ever released?

`python tests/check_schemas.py` prints what it compared and exits with 1 when something is not: old events are
replayed to new readers, and new events reach readers that were not upgraded yet (FULL_TRANSITIVE).
"""

from __future__ import annotations

import json
import sys
from typing import Any

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from steptrail.schemas.wire.bundled import (
    EMITTER_REPORT_SCHEMA,
    OBSERVATION_SCHEMA,
    STEP_EVENT_SCHEMA,
    fingerprint,
    released_schemas,
)

_SCALARS = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string", "enum", "fixed"}
)


def faults(schema: dict[str, Any], released: dict[str, dict[str, Any]]) -> list[str]:
    """What is wrong with a schema, in words; empty when it may be released after all the others."""
    found = [
        f"{reader_name} cannot read what {writer_name} writes: {message}"
        for name, old in released.items()
        for reader_name, reader, writer_name, writer in (
            ("this version", schema, name, old),
            (name, old, "this version", schema),
        )
        for message in _incompatible(reader, writer)
    ]
    for field in schema["fields"]:
        if not field.get("doc"):
            found.append(f"field {field['name']} has no doc")
        if not _is_scalar(field["type"]):
            found.append(f"field {field['name']} is no scalar, string, fixed or nullable one")
    return found


def _incompatible(reader: dict[str, Any], writer: dict[str, Any]) -> list[str]:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(
        avro.schema.parse(json.dumps(reader)), avro.schema.parse(json.dumps(writer))
    )
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return sorted(result.messages) or ["the checker does not say why"]


def _is_scalar(kind: Any) -> bool:
    if isinstance(kind, list):
        return len(kind) == 2 and kind[0] == "null" and _is_scalar(kind[1])
    return (kind["type"] if isinstance(kind, dict) else kind) in _SCALARS


def main() -> int:
    """Print each comparison and each fault; the exit code."""
    wrong = []
    for record, schema in (
        ("step_event", STEP_EVENT_SCHEMA),
        ("emitter_report", EMITTER_REPORT_SCHEMA),
        ("observation", OBSERVATION_SCHEMA),
    ):
        released = released_schemas(record)
        print(f"{record}.avsc, fingerprint {fingerprint(schema).hex()}")
        for name, old in released.items():
            print(f"  against {name}, fingerprint {fingerprint(old).hex()}")
        wrong += faults(schema, released)
        if not released:
            wrong.append(f"no released schema of {record} was found: nothing was compared")
    for fault in wrong:
        print(f"  FAULT: {fault}")
    print("not compatible" if wrong else "fully compatible with every released version")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
