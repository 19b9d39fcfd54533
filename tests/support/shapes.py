"""Whether what a command wrote with `--json` is as its JSON Schema says."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs

from steptrail.deploy.cli.commands.schema import all_shapes
from steptrail.deploy.cli.shapes.building import document


@cache
def schema_of(command: str) -> dict[str, Any]:
    """The schema that `steptrail schema` shows for a command."""
    return document(command, all_shapes()[command])


def check(schema: dict[str, Any], value: Any) -> None:
    """Raises jsonschema_rs.ValidationError, with the place, for a value that is not as the schema says."""
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(value)


def check_written(command: str, out: str, err: str = "") -> int:
    """Check a command's standard output and standard error; how many values there were on standard output."""
    schema, shape = schema_of(command), all_shapes()[command]
    values = [json.loads(line) for line in out.splitlines()] if shape.lines else [json.loads(out)]
    for value in values:
        check(schema, value)
    if shape.about is not None:
        check(schema["$defs"]["about"], json.loads(err.splitlines()[-1]))
    return len(values)
