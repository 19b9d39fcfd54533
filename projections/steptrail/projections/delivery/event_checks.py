"""What the store checks of staged events, made from the limits that the strict decoder keeps to.

Each check is SQL that is true for a row that must not pass; a size is SQL for how many bytes a field has in Avro.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from steptrail.schemas.limits import LIMITS, MAX_EVENT_BYTES, Between, Finite, Limit
from steptrail.schemas.values.json_text import MAX_JSON_DEPTH, MAX_JSON_DIGITS


def checks_of(schema: Mapping[str, Any], limits: Mapping[str, Limit] = LIMITS) -> dict[str, str]:
    """The checks of a record's fields: of each that has a limit, by its name; `utf8` is of all texts."""
    checks = {name: _check(name, limits[name]) for name in _types(schema) if name in limits}
    texts = (
        f"isValidUTF8(ifNull({name}, ''))" if isinstance(kind, list) else f"isValidUTF8({name})"
        for name, kind in _types(schema).items()
        if kind in ("string", ["null", "string"])
    )
    return {**checks, "utf8": f"NOT ({' AND '.join(texts)})"}


def sizes_of(schema: Mapping[str, Any]) -> dict[str, str]:
    """The size of each field as it is spelled shortest, by its name.

    All together are as long as the message where each of its numbers is spelled so and keeps to its limit.
    """
    return {name: _size(name, kind) for name, kind in _types(schema).items()}


def json_check(column: str, opening: str) -> str:
    """The check that a column holds the text of a JSON object or array, as `steptrail.schemas.values.json_text` has it.

    The engine's own parser judges all but two limits of ours; what could exceed those is looked at by regular
    expressions, which take no memory.
    """
    longer = f"length({column}) > {MAX_JSON_DIGITS}"
    brackets = f"countSubstrings({column}, '{{') + countSubstrings({column}, '[')"
    deep = f"({brackets}) > {MAX_JSON_DEPTH} AND NOT match({_without_strings(column)}, '{_NOT_TOO_DEEP}')"
    digits = f"[0-9]{{{MAX_JSON_DIGITS + 1}}}"
    long = f"match({column}, '{digits}') AND match({_without_strings(column)}, '{digits}')"
    return f"NOT startsWith({column}, '{opening}') OR NOT isValidJSON({column}) OR ({longer} AND ({deep} OR {long}))"


def _check(name: str, limit: Limit) -> str:
    if isinstance(limit, Between):
        return f"{name} < {limit.least} OR {name} > {limit.greatest}"
    if isinstance(limit, Finite):
        return f"NOT isFinite(ifNull({name}, 0))"
    return json_check(name, limit.opening)


def _without_strings(column: str) -> str:
    return f"replaceRegexpAll({column}, '{_STRING}', '\"\"')"


# In SQL's quotes, hence each backslash twice.
_STRING: Final = r'"(?:[^"\\\\]|\\\\.)*"'


def _not_too_deep() -> str:
    inside = "[^][{}]*"
    for _ in range(MAX_JSON_DEPTH - 1):
        inside = f"(?:[^][{{}}]|[[{{]{inside}[]}}])*"
    return f"^[[{{]{inside}[]}}][^][{{}}]*$"


_NOT_TOO_DEEP: Final = _not_too_deep()


def _types(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {field["name"]: field["type"] for field in schema["fields"]}


def _size(column: str, kind: Any) -> str:
    if isinstance(kind, list):
        return f"1 + ifNull({_size(column, kind[1])}, 0)"
    if isinstance(kind, dict) and kind["type"] == "fixed":
        return str(kind["size"])
    name = kind["type"] if isinstance(kind, dict) else kind
    if name == "string":
        return f"length({column}) + {_number_size(f'length({column})', MAX_EVENT_BYTES)}"
    if name == "double":
        return f"if({column} IS NULL, 0, 8)"
    limit = LIMITS.get(column)
    greatest = max(-limit.least, limit.greatest) if isinstance(limit, Between) else 2**63
    return _number_size(f"if({column} < 0, -1 - {column}, {column})", greatest)


def _number_size(number: str, greatest: int) -> str:
    """How many bytes a number has that is not negative: zigzag leaves 6 bits for the first, 7 for the others."""
    steps = [f"({number} >= {1 << bits})" for bits in range(6, 63, 7) if 1 << bits <= greatest]
    return f"({' + '.join(['1', *steps])})"
