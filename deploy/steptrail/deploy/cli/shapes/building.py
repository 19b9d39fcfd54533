"""Making JSON Schemas: of types, and of objects with named fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
COUNT: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
BOOL: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object"}
COUNTS: Final[Schema] = {"type": "object", "additionalProperties": COUNT}
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": schema}


def record(optional: Mapping[str, Schema] | None = None, /, **fields: Schema) -> Schema:
    """An object with these fields and no others; `optional` ones may be absent."""
    return {
        "type": "object",
        "properties": {**fields, **(optional or {})},
        "required": list(fields),
        "additionalProperties": False,
    }


def of(kind: Any, *, named: bool = False, **fields: Schema) -> Schema:
    """A model or dataclass as an object with all of its fields and no others.

    `named`: its keys as `terminal.vocabulary.named` writes them. `fields` are added, or stand in place of its own.
    """
    from pydantic import TypeAdapter

    raw = TypeAdapter(kind).json_schema(mode="serialization")
    made = _closed(_inlined(raw, raw.get("$defs", {})))
    made = _named(made) if named else made
    properties = made["properties"] | fields
    return {**made, "properties": properties, "required": list(properties)}


def either(*schemas: Schema) -> Schema:
    """One of these."""
    return {"anyOf": list(schemas)}


def more(schema: Schema, **fields: Schema) -> Schema:
    """An object with more fields."""
    return {
        **schema,
        "properties": schema["properties"] | fields,
        "required": list(dict.fromkeys([*schema["required"], *fields])),
    }


FRESH: Final[Mapping[str, Schema]] = {
    "as_of": maybe(TIME),
    "behind_seconds": maybe(NUMBER),
    "behind_events": maybe(COUNT),
}
_PROBLEM: Final[Mapping[str, Schema]] = {"freshness_problem": TEXT}


def fresh(**fields: Schema) -> Schema:
    """An object that also says up to when everything is known."""
    return record(_PROBLEM, **fields, **FRESH)


ERROR: Final = record({"hint": TEXT, "near": list_of(TEXT)}, error=TEXT, message=TEXT, exit_code=COUNT)


@dataclass(frozen=True)
class Shape:
    """What one command writes: `answer` is each line, or the one object; `about` what follows on standard error."""

    answer: Schema
    lines: bool = True
    about: Mapping[str, Schema] | None = field(default=None)
    """Fields of the object on standard error, besides `rows` and those of freshness; None: there is none."""
    watched: bool = False


def document(command: str, shape: Shape) -> Schema:
    """The whole schema of a command; `$defs` has what it writes besides its answer."""
    where = "Each line of standard output." if shape.lines else "Standard output."
    parts: dict[str, Schema] = {"error": {"description": "On standard error, of a failure.", **ERROR}}
    if shape.about is not None:
        rows = {"rows": maybe(COUNT)}
        about = fresh(**rows, **shape.about)
        parts["about"] = {
            "description": "On standard error, after the answer: about the whole of it.",
            **about,
        }
    if shape.watched:
        change = {"change": {"enum": ["new", "changed", "gone"]}, "item": shape.answer}
        freshness = {name: FRESH[name] for name in ("as_of", "behind_seconds")}
        parts["change"] = {"description": "Each line with --watch.", **record(**change, **freshness)}
    return {
        "$schema": DIALECT,
        "$id": f"urn:steptrail:command:{command.replace(' ', ':')}",
        "title": f"steptrail {command} --json",
        **shape.answer,
        "description": " ".join(filter(None, [where, shape.answer.get("description")])),
        "$defs": parts,
    }


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Without references and titles: none of these types contains itself."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        beside = {key: each for key, each in schema.items() if key != "$ref"}
        return _inlined({**target, **beside}, definitions)
    return {
        key: {name: _inlined(each, definitions) for name, each in value.items()}
        if key == "properties"
        else _inlined(value, definitions)
        for key, value in schema.items()
        if key not in ("$defs", "title", "default")
    }


def _closed(schema: Any) -> Any:
    """Every object with named fields has all of these and no others: that is what is written."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        found["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
        found |= {"required": list(schema["properties"]), "additionalProperties": False}
    return found


def _named(schema: Any) -> Any:
    from steptrail.deploy.terminal.vocabulary import named_key

    if isinstance(schema, list):
        return [_named(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _named(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        properties = {}
        for key, each in schema["properties"].items():
            name = named_key(key)
            properties[name] = TIME if name.endswith("_at") and key.endswith("_us") else _named(each)
        found |= {"properties": properties, "required": list(properties)}
    return found
