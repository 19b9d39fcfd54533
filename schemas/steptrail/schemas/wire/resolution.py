"""Decides which events of unknown schemas are readable: those of newer versions, by Avro's and steptrail's rules.

A newer version only adds nullable scalars at the end, with a default of null (`avro/README.md`). So its events' bytes
start with those of this version, and the rest is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA, plain_schema

_SCALARS: Final = ("string", "int", "long", "double")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN: Final = ("frame", "guard", "trailer")
"""The columns next to the fields where events are staged."""
_OURS: Final = plain_schema(STEP_EVENT_SCHEMA)["fields"]


def unreadable(schema: Mapping[str, Any]) -> str | None:
    """Why events written with `schema` are not readable; None if they are. Never raises."""
    try:
        return _difference(schema)
    except (AttributeError, IndexError, KeyError, TypeError):
        return "it has fields of kinds that an event does not have"


def _difference(schema: Mapping[str, Any]) -> str | None:
    if schema["type"] != "record" or schema["name"] != STEP_EVENT_SCHEMA["name"]:
        return f"it is that of {schema['name']}, not of {STEP_EVENT_SCHEMA['name']}"
    if _symbols(schema) != _symbols(STEP_EVENT_SCHEMA):
        return "it has other statuses"
    theirs = plain_schema(dict(schema))["fields"]
    for mine, other in zip(_OURS, theirs, strict=False):
        if mine != other:
            return f"field {other['name']} is not this version's {mine['name']}"
    if len(theirs) < len(_OURS):
        return f"field {_OURS[len(theirs)]['name']} is missing"
    names = [field["name"] for field in theirs]
    for name in names:
        if not _NAME.fullmatch(str(name)) or names.count(name) > 1 or name in _TAKEN:
            return f"no field can be called {name!r} here"
    for field in schema["fields"][len(_OURS) :]:
        kind = field["type"]
        nullable = isinstance(kind, list) and len(kind) == 2 and kind[0] == "null" and _scalar(kind[1])
        if not nullable or field.get("default", "") is not None:
            return f"field {field['name']} is no nullable scalar with a default of null"
    return None


def _scalar(kind: Any) -> bool:
    return (kind.get("type") if isinstance(kind, dict) else kind) in _SCALARS


def _symbols(schema: Mapping[str, Any]) -> Any:
    kinds = [field["type"] for field in schema["fields"] if field["name"] == "status"]
    return [kind.get("symbols") for kind in kinds if isinstance(kind, dict)]
