"""The Avro schemas bundled with the package, by the fingerprint in each message.

No registry is needed: a reader knows every schema released up to its own version.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

from fastavro.schema import fingerprint as _fingerprint
from fastavro.schema import to_parsing_canonical_form

_AVRO = resources.files("steptrail.schemas") / "avro"


def fingerprint(schema: dict[str, Any]) -> bytes:
    """A schema's 8-byte fingerprint on the wire: CRC-64-AVRO of its canonical form, little-endian."""
    return bytes.fromhex(_fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def released_schemas(record: str = "step_event") -> dict[str, dict[str, Any]]:
    """Every released version of a record's schema by its file name, oldest first."""
    files = [entry for entry in (_AVRO / "released").iterdir() if entry.name.startswith(f"{record}.v")]
    return {entry.name: json.loads(entry.read_text("utf-8")) for entry in sorted(files, key=_version)}


def schema_by_fingerprint(fp: bytes) -> dict[str, Any] | None:
    """The bundled event schema with this fingerprint (8 bytes as on the wire), None if there is none."""
    return _BY_FINGERPRINT.get(fp)


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A simpler schema for the same bytes: enums and ints as long, no logical types, docs or defaults.

    For readers that must not fail on a bad index or an oversized number, and must not spend time on logical types.
    """
    return {
        "type": "record",
        "name": schema["name"],
        "fields": [{"name": field["name"], "type": _plain_type(field["type"])} for field in schema["fields"]],
    }


def _plain_type(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_plain_type(branch) for branch in kind]
    if isinstance(kind, str):
        return "long" if kind == "int" else kind
    if kind["type"] == "enum":
        return "long"
    if kind["type"] == "fixed":
        return {"type": "fixed", "name": kind["name"], "size": kind["size"]}
    return kind["type"]


def _version(entry: Any) -> int:
    return int(entry.name.rsplit(".v", 1)[1].removesuffix(".avsc"))


STEP_EVENT_SCHEMA: Final[dict[str, Any]] = json.loads((_AVRO / "step_event.avsc").read_text("utf-8"))
"""The schema that this version writes; treat it as constant."""

STEP_EVENT_FIELDS: Final[tuple[str, ...]] = tuple(field["name"] for field in STEP_EVENT_SCHEMA["fields"])
"""The names of its fields, in order."""

STEP_EVENT_FINGERPRINT: Final[bytes] = fingerprint(STEP_EVENT_SCHEMA)
"""Its fingerprint, 8 bytes as on the wire."""

EMITTER_REPORT_SCHEMA: Final[dict[str, Any]] = json.loads((_AVRO / "emitter_report.avsc").read_text("utf-8"))
"""The schema of emitters' reports that this version writes; treat it as constant."""

EMITTER_REPORT_FINGERPRINT: Final[bytes] = fingerprint(EMITTER_REPORT_SCHEMA)
"""Its fingerprint, 8 bytes as on the wire."""

OBSERVATION_SCHEMA: Final[dict[str, Any]] = json.loads((_AVRO / "observation.avsc").read_text("utf-8"))
"""The schema of consumers' observations that this version writes; treat it as constant."""

OBSERVATION_FINGERPRINT: Final[bytes] = fingerprint(OBSERVATION_SCHEMA)
"""Its fingerprint, 8 bytes as on the wire."""

_BY_FINGERPRINT: Final[dict[bytes, dict[str, Any]]] = {
    **{fingerprint(schema): schema for schema in released_schemas().values()},
    STEP_EVENT_FINGERPRINT: STEP_EVENT_SCHEMA,
}
