"""One vocabulary for JSON: the same thing has the same name in the answers of all commands (docs/json.md)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

_AS_GIVEN: Final = frozenset({"details", "metrics", "evidence", "data", "labels", "headers"})
"""Objects whose keys are other people's."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def named(value: Any) -> Any:
    """`value` with keys as docs/json.md has them, at any level: `step` is step_name, `x_s` x_seconds, `x_us` x_at."""
    if isinstance(value, Mapping):
        return dict(_named(str(key), item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [named(item) for item in value]
    return value


def named_key(key: str) -> str:
    """The name under which a key is written."""
    if key == "step":
        return "step_name"
    if key.endswith("_per_s"):
        return f"{key}econd"
    if key.endswith("_s"):
        return f"{key}econds"
    return f"{key[:-3]}_at" if key.endswith("_us") else key


def _named(key: str, value: Any) -> tuple[str, Any]:
    if key in _AS_GIVEN:
        return key, value
    name = named_key(key)
    if not key.endswith("_us"):
        return name, named(value) if name == key else value
    return (name, _EPOCH + timedelta(microseconds=value)) if isinstance(value, int) else (key, named(value))
