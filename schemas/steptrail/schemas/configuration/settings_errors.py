"""Formats pydantic's errors about settings: names the variables and shows no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from steptrail.schemas.configuration.settings_names import ENV_PREFIX
from steptrail.schemas.near_names import or_near
from steptrail.schemas.redact import redacted


def described(error: ValidationError, given: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    """Which settings are wrong and why, by variable name, or by argument name for those in `given`."""
    lines = []
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        text = item["msg"].removeprefix("Value error, ")
        if not name:
            lines.append(text)
            continue
        if name not in fields:
            lines.append(f"{name}: there is no such setting{or_near(name, fields)}")
            continue
        field = fields[name]
        secret = "SecretStr" in str(field.annotation) or name == "kafka_options"
        shown = "" if secret else f" (given: {redacted(repr(item['input']))[:200]})"
        variable = name if name in given else ENV_PREFIX + name.upper()
        lines.append(f"{variable}: {text}{shown}")
    return "; ".join(lines)
